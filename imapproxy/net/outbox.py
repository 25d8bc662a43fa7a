"""A session's draft while it comes in, and its way out: included, composed, delivered and filed in the user's name.

What is in the journal already does not go out again.
"""

import secrets
from collections.abc import Callable
from datetime import datetime
from time import monotonic, sleep

from imapproxy.errors import ClientError, DeliveryUncertain, SubmissionRefused
from imapproxy.logs import LOGGER, record
from imapproxy.message.draft import Octets
from imapproxy.message.identity import identity_of
from imapproxy.message.message import Message, Stamp, Submitter
from imapproxy.net.cleanup import cleanup
from imapproxy.net.client_address import User
from imapproxy.net.deliver import UNCERTAIN, Accepted, deliver
from imapproxy.net.journal import Claim, Earlier, Journal, Key, Unrecorded, key_of
from imapproxy.net.mailboxes import Mailboxes
from imapproxy.net.patient import WAITING_INTERVAL
from imapproxy.net.service import Service
from imapproxy.net.spool import Spool
from imapproxy.submission import Submitted, submit

# Seconds between two looks at what becomes of the same submission, under way elsewhere.
CLAIM_INTERVAL = 0.5


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
        draft, self._draft = self._draft, None
        if draft is not None:
            with cleanup("close"):
                draft.close()

    def submit(self, user: User) -> Submitted | Earlier:
        """Submit the draft, and forget it; raise ClientError or SubmissionRefused where nobody gets it."""
        try:
            return self._submit(user)
        finally:
            self.drop()

    def _submit(self, user: User) -> Submitted | Earlier:
        if self._failure is not None:
            raise self._failure
        if self._draft is None:
            raise ClientError("The message is empty")
        content, journal = self._draft.content(), self._service.journal
        identity = identity_of(content) if journal else ""
        if journal is None or not identity:
            return self._send(content, user, Unrecorded())
        found = self._claim(journal, key_of(user.credentials.account, self._draft.digest()))
        if isinstance(found, Earlier):
            return found
        with found as claim:
            if claim.is_doubtful:
                _log_doubt(user, identity)
            submitted = self._send(content, user, claim)
            if self._service.site.sent_mailbox and not submitted.sent_failure:
                with cleanup("journal"):
                    claim.filed()
            return submitted

    def _claim(self, journal: Journal, key: Key) -> Claim | Earlier:
        """Return the right to send, or what came of the same earlier; wait while that is under way elsewhere."""
        found = journal.claim(key)
        if found is not None:
            return found
        try:
            found = self._awaited_claim(journal, key)
        except SubmissionRefused as failure:  # the one that we waited for may have been accepted
            raise DeliveryUncertain(UNCERTAIN) from failure
        if isinstance(found, Claim) and found.is_doubtful:
            with found:  # as the one that we waited for was answered
                raise DeliveryUncertain(UNCERTAIN)
        return found

    def _awaited_claim(self, journal: Journal, key: Key) -> Claim | Earlier:
        """Wait for as long as another's submission may take, be it that the program stops: so may ours, then."""
        due = monotonic() + WAITING_INTERVAL
        while (found := journal.claim(key)) is None:
            sleep(CLAIM_INTERVAL)
            if monotonic() >= due:
                self._waiting()
                due = monotonic() + WAITING_INTERVAL
        return found

    def _send(self, content: Octets, user: User, claim: Claim | Unrecorded) -> Submitted:
        service, site = self._service, self._service.site
        if not service.ledger.may_submit(user.credentials.account):
            raise SubmissionRefused("4.7.1 too many submissions; try again later")
        submitter = Submitter(user.credentials.user, user.address.host, user.address.server_host)
        stamp = Stamp(datetime.now().astimezone(), secrets.token_hex(12))

        def deliver_for_user(message: Message) -> Accepted:
            return deliver(message, service.smtp, user, claim, self._waiting)

        while not service.running_submissions.acquire(timeout=WAITING_INTERVAL):
            self._waiting()
        try:
            with Mailboxes(service.imap, user, site.max_composed_size, self._waiting) as mailboxes:
                return submit(content, site, submitter, stamp, mailboxes, deliver_for_user)
        finally:
            service.running_submissions.release()


def _log_doubt(user: User, identity: str) -> None:
    LOGGER.warning(record("double-possible", user=user.credentials.account, client=user.address.host, message=identity))
