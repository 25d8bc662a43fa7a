"""A session's draft while it comes in, and its way out: included, composed, delivered and filed in the user's name."""

import secrets
from collections.abc import Callable
from datetime import datetime

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.message import Message, Stamp, Submitter
from imapproxy.net.client_address import User
from imapproxy.net.deliver import Accepted, deliver
from imapproxy.net.mailboxes import Mailboxes
from imapproxy.net.patient import WAITING_INTERVAL
from imapproxy.net.service import Service
from imapproxy.net.spool import Spool
from imapproxy.submission import Submitted, submit


class Outbox:
    """Holds one draft at most. ``waiting`` is called each WAITING_INTERVAL seconds that a submission takes."""

    __slots__ = ("_draft", "_failure", "_service", "_waiting")

    def __init__(self, service: Service, waiting: Callable[[], None]) -> None:
        self._service = service
        self._waiting = waiting
        self._draft: Spool | None = None
        self._failure: ClientError | SubmissionRefused | None = None

    def write(self, octets: memoryview) -> None:
        """Add to the draft."""
        if self._failure is not None:
            return
        if self._draft is None:
            self._draft = Spool()
        try:
            self._draft.write(octets)
        except (ClientError, SubmissionRefused) as failure:
            # The rest of the literal still has to come before the client can be answered.
            self.drop()
            self._failure = failure

    def drop(self) -> None:
        """Forget the draft."""
        self._failure = None
        if self._draft is not None:
            self._draft.close()
            self._draft = None

    def submit(self, user: User) -> Submitted:
        """Submit the draft, and forget it; raise ClientError or SubmissionRefused where nobody gets it."""
        try:
            return self._submit(user)
        finally:
            self.drop()

    def _submit(self, user: User) -> Submitted:
        if self._failure is not None:
            raise self._failure
        if self._draft is None:
            raise ClientError("The message is empty")
        service, site, content = self._service, self._service.site, self._draft.content()
        name, client = user.credentials.user, user.address
        if not service.ledger.may_submit(name):
            raise SubmissionRefused("4.7.1 too many submissions; try again later")
        submitter = Submitter(name, client.host, client.server_host)
        stamp = Stamp(datetime.now().astimezone(), secrets.token_hex(12))

        def deliver_for_user(message: Message) -> Accepted:
            return deliver(message, service.smtp, user, self._waiting)

        while not service.running_submissions.acquire(timeout=WAITING_INTERVAL):
            self._waiting()
        try:
            with Mailboxes(service.imap, user, site.max_composed_size, self._waiting) as mailboxes:
                return submit(content, site, submitter, stamp, mailboxes, deliver_for_user)
        finally:
            service.running_submissions.release()
