"""One client's life, top to bottom: connect upstream, relay, submit, say goodbye, log. The one place that catches."""

import secrets
import socket
import threading
import time
from dataclasses import dataclass
from datetime import datetime

from imapproxy.errors import ClientError, LimitExceeded, SubmissionRefused, UpstreamError
from imapproxy.logs import LOGGER, record
from imapproxy.message.message import Message, Site, Stamp, Submitter
from imapproxy.net.connection import Connection
from imapproxy.net.deliver import Accepted, SmtpServer, deliver
from imapproxy.net.mailboxes import ImapServer, Mailboxes
from imapproxy.net.relay import Patience, Relay
from imapproxy.net.spool import Spool
from imapproxy.net.upstream import connect_upstream
from imapproxy.protocol import response
from imapproxy.protocol.action import Action, DraftOctets, DropDraft, LoggedIn, LoginRefused, Submit
from imapproxy.protocol.capability import Policy
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.login import Credentials
from imapproxy.submission import Submitted, submit

# How often the client hears something while it waits, in seconds: a phone takes a silent connection for a dead one.
WAITING_INTERVAL = 20


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions share.

    ``announced`` are the capabilities of the proxy's own. ``running_submissions`` bounds how many submissions speak to
    the SMTP server and on side connections to the IMAP server at once: each costs descriptors, and a Postfix takes 50
    connections from one address. ``stop_fd`` becomes readable when the program stops.
    """

    imap: ImapServer
    may_offer: Policy
    announced: tuple[bytes, ...]
    patience: Patience
    max_message_size: int
    site: Site
    smtp: SmtpServer
    running_submissions: threading.Semaphore
    stop_fd: int


class Session:
    """One client's session; ``run`` returns when it is over."""

    __slots__ = ("_address", "_dialogue", "_draft", "_draft_failure", "_relay", "_service", "_user")

    def __init__(self, stream: socket.socket, upstream: socket.socket, address: str, service: Service) -> None:
        self._address = address
        self._service = service
        self._dialogue = Dialogue(service.max_message_size, service.may_offer, service.announced)
        self._relay = Relay(
            Connection(stream), Connection(upstream), self._dialogue, self._handle, service.patience, service.stop_fd
        )
        self._draft: Spool | None = None
        self._draft_failure: ClientError | SubmissionRefused | None = None
        self._user: str | None = None

    def run(self) -> None:
        """Relay until both sides are done, submitting what is to be submitted."""
        began = time.monotonic()
        try:
            while self._relay_on():
                pass
            self._relay.client.end()
        finally:
            self._drop_draft()
            self._log_end(time.monotonic() - began)

    def _relay_on(self) -> bool:
        try:
            wanted = self._relay.run()
            if wanted is None:
                return False
            self._relay.perform(self._submit(wanted))
        except LimitExceeded as failure:
            self._relay.stop(str(failure), "client went past a limit")
        except UpstreamError as failure:
            self._relay.stop("The IMAP server sent what cannot be understood", str(failure))
        return True

    def _log_end(self, seconds: float) -> None:
        client = self._relay.client
        LOGGER.info(
            record(
                "disconnect",
                user=self._user,
                client=self._address,
                reason=self._relay.end,
                received=client.received,
                sent=client.sent,
                seconds=f"{seconds:.1f}",
            )
        )

    # What the dialogue wants beyond passing octets on ---------------------------------------------------------------

    def _handle(self, action: Action) -> None:
        if isinstance(action, DraftOctets):
            self._write_draft(action.octets)
        elif isinstance(action, DropDraft):
            self._drop_draft()
        elif isinstance(action, LoggedIn):
            self._user = _user_of(action.credentials)
            self._log_login("login", action.credentials)
        elif isinstance(action, LoginRefused):
            self._log_login("login-refused", action.credentials)

    def _log_login(self, event: str, credentials: Credentials | None) -> None:
        mechanism = credentials.mechanism if credentials else None
        LOGGER.info(record(event, user=_user_of(credentials), client=self._address, mechanism=mechanism))

    def _write_draft(self, octets: memoryview) -> None:
        if self._draft_failure is not None:
            return
        if self._draft is None:
            self._draft = Spool()
        try:
            self._draft.write(octets)
        except (ClientError, SubmissionRefused) as failure:
            # The rest of the literal still has to come before the client can be answered.
            self._drop_draft()
            self._draft_failure = failure

    def _drop_draft(self) -> None:
        self._draft_failure = None
        if self._draft is not None:
            self._draft.close()
            self._draft = None

    # Submitting -------------------------------------------------------------------------------------------------------

    def _submit(self, wanted: Submit) -> list[Action]:
        try:
            submitted = self._submitted(wanted.user)
        except (ClientError, SubmissionRefused) as failure:
            LOGGER.info(record("submission-refused", user=self._user, client=self._address, answer=str(failure)))
            return self._dialogue.not_submitted(failure)
        finally:
            self._drop_draft()
        self._log_submission(submitted)
        reason = submitted.sent_failure
        return self._dialogue.submitted(f"no copy in Sent ({reason})" if reason else "")

    def _log_submission(self, submitted: Submitted) -> None:
        filed = "failed" if submitted.sent_failure else "filed"
        LOGGER.info(
            record(
                "submission",
                user=self._user,
                client=self._address,
                message_id=submitted.message_id,
                size=submitted.size,
                recipients=submitted.recipients,
                references=submitted.references,
                sent=filed if self._service.site.sent_mailbox else None,
                reply=submitted.reply,
            )
        )
        if submitted.sent_failure:
            LOGGER.warning(
                record(
                    "sent-copy-failed",
                    user=self._user,
                    client=self._address,
                    message_id=submitted.message_id,
                    reason=submitted.sent_failure,
                )
            )

    def _submitted(self, user: Credentials) -> Submitted:
        if self._draft_failure is not None:
            raise self._draft_failure
        if self._draft is None:
            raise ClientError("The message is empty")
        service = self._service
        submitter = Submitter(user.user, self._address, self._relay.client.socket.getsockname()[0])
        stamp = Stamp(datetime.now().astimezone(), secrets.token_hex(12))

        def deliver_for_user(message: Message) -> Accepted:
            return deliver(message, service.smtp, user, self._still_submitting)

        while not service.running_submissions.acquire(timeout=WAITING_INTERVAL):
            self._still_submitting()
        try:
            with Mailboxes(service.imap, user, service.site.max_composed_size, self._still_submitting) as mailboxes:
                return submit(self._draft.content(), service.site, submitter, stamp, mailboxes, deliver_for_user)
        finally:
            service.running_submissions.release()

    def _still_submitting(self) -> None:
        client = self._relay.client
        client.send(response.STILL_SUBMITTING)
        client.send_backlog()


def _user_of(credentials: Credentials | None) -> str | None:
    return credentials.user if credentials else None


def serve(stream: socket.socket, address: str, service: Service) -> None:
    """Serve one client on ``stream`` until the session is over; both its sockets are closed then."""
    with stream:
        try:
            upstream = connect_upstream(service.imap.host, service.imap.port)
        except UpstreamError as failure:
            LOGGER.warning(record("upstream-unreachable", client=address, reason=str(failure)))
            turn_away(stream, "[UNAVAILABLE] The mail server is not reachable; try again later")
            return
        with upstream:
            try:
                Session(stream, upstream, address, service).run()
            except Exception:
                LOGGER.exception(record("session-failed", client=address))


def turn_away(stream: socket.socket, text: str) -> None:
    """Greet a client with BYE, without ever waiting for it."""
    connection = Connection(stream)
    connection.send(response.bye(text))
    connection.end()
