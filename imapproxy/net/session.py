"""One client's life, top to bottom: arrive, connect upstream, relay, submit, say goodbye, log.

It is the one place that catches.
"""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace

from imapproxy.errors import ClientError, LimitExceeded, SubmissionRefused, UpstreamError, UpstreamUnavailable
from imapproxy.logs import LOGGER, record
from imapproxy.net.arrival import NoHeader, client_of, refuse, turn_away
from imapproxy.net.client_address import ClientAddress, User
from imapproxy.net.connection import Connection
from imapproxy.net.deflate import DeflatedConnection
from imapproxy.net.journal import Earlier
from imapproxy.net.outbox import Outbox
from imapproxy.net.registry import SessionReport
from imapproxy.net.relay import Relay
from imapproxy.net.service import Service
from imapproxy.net.tls import HandshakeFailed, accept_tls
from imapproxy.net.upstream import Said, connect_upstream
from imapproxy.protocol import response
from imapproxy.protocol.action import (
    Action,
    Compress,
    DraftOctets,
    DropDraft,
    LoggedIn,
    LoggedOut,
    LoginRefused,
    StartTls,
    Submit,
)
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.login import Credentials
from imapproxy.submission import Submitted

UNAVAILABLE = "[UNAVAILABLE] The mail server is not reachable; try again later"


def serve(stream: socket.socket, host: str, service: Service, is_tls: bool) -> None:
    """Serve a client from ``host`` on ``stream`` until its session is over; all its sockets are closed then.

    ``is_tls``: it speaks TLS from the first octet.
    """
    with stream:
        deadline = time.monotonic() + service.patience.login
        try:
            client = client_of(stream, host, is_tls, service, deadline)
        except NoHeader as failure:
            if str(failure):
                LOGGER.warning(record("proxy-header-refused", client=host, reason=str(failure)))
            return
        except OSError:  # it has left
            return
        if limit := service.ledger.admit(client.host):
            refuse(stream, limit, client, is_tls, service)
            return
        try:
            Session(stream, client, service).run(is_tls, deadline)
        except Exception:
            LOGGER.exception(record("session-failed", client=client.host))
        finally:
            service.ledger.leave(client.host)


class Session:
    """One client's session, from when it has been let in; ``run`` returns when it is over."""

    __slots__ = (
        "_client",
        "_compress",
        "_dialogue",
        "_outbox",
        "_relay",
        "_service",
        "_since",
        "_stage",
        "_stream",
        "_tls",
        "_user",
    )

    def __init__(self, stream: socket.socket, client: ClientAddress, service: Service) -> None:
        self._stream = stream
        self._client = client
        self._service = service
        self._since = time.time()
        self._stage = "connecting"  # what it is about before there is a dialogue
        self._tls = "proxy" if client.is_tls else None  # until our own handshake says more: it ends at a proxy
        self._compress: str | None = None
        self._user: str | None = None
        self._relay: Relay | None = None
        self._dialogue = Dialogue(service.terms, client.is_tls)
        self._outbox = Outbox(service, self._still_submitting)

    def run(self, is_tls: bool, deadline: float) -> None:
        """Live. ``is_tls``: the client begins with TLS; by ``deadline``, of ``time.monotonic``, it has to log in."""
        try:
            with self._service.registry.entered(self):
                if not is_tls or self._start_tls(deadline):
                    self._go_upstream(deadline)
        finally:
            self._stream.close()  # by now another than the one that came, where TLS has taken that over
            # These refer to us, and we to them: all that a session held is free now, not when the collector comes by.
            self._relay = None
            del self._outbox

    def report(self) -> SessionReport:
        """Return what others may know; any thread may ask."""
        relay = self._relay  # which is gone at the next look if the session ends meanwhile
        connection = relay.client if relay else None
        return SessionReport(
            user=self._user,
            client=self._client.host,
            tls=self._tls,
            compress=self._compress,
            since=self._since,
            received=connection.received if connection else 0,
            sent=connection.sent if connection else 0,
            doing=self._dialogue.doing if connection else self._stage,
        )

    def _start_tls(self, deadline: float) -> bool:
        """Do the handshake; tell whether it came about in time."""
        service = self._service
        assert service.tls is not None
        self._stage = "handshake"
        try:
            secured = accept_tls(self._stream, service.tls, deadline, service.stop_fd)
        except HandshakeFailed as failure:
            if not self._client.is_check:
                service.registry.count("handshakes_failed")
                LOGGER.warning(record("handshake-failed", client=self._client.host, reason=str(failure)))
            return False
        self._stage = "connecting"
        self._stream = secured
        self._tls = secured.version()
        self._client = replace(self._client, is_tls=True)
        return True

    def _go_upstream(self, deadline: float) -> None:
        try:
            upstream, said = connect_upstream(self._service.imap, self._client, deadline)
        except UpstreamUnavailable as failure:
            self._warn_of_server(failure)
            turn_away(self._stream, UNAVAILABLE)
            return
        with upstream:
            self._converse(upstream, said, deadline)

    def _warn_of_server(self, failure: UpstreamUnavailable) -> None:
        LOGGER.warning(record("upstream-unreachable", client=self._client.host, reason=str(failure)))

    # Relaying ---------------------------------------------------------------------------------------------------------

    def _converse(self, upstream: socket.socket, said: Said, deadline: float) -> None:
        """Relay until both sides are done, doing what else is to be done; the server has ``said`` so much already."""
        began, service = time.monotonic(), self._service
        relay = Relay(
            *(Connection(self._stream), Connection(upstream), self._dialogue, self._handle),
            *(service.patience, deadline, service.stop_fd),
        )
        self._relay = relay
        try:
            self._unless_beyond(relay, lambda: self._begin(relay, said))
            while self._unless_beyond(relay, lambda: self._go_on(relay)):
                pass
            relay.client.end()
        finally:
            self._outbox.drop()
            self._log_end(relay, time.monotonic() - began)

    def _unless_beyond(self, relay: Relay, step: Callable[[], bool]) -> bool:
        """Do a step, and say goodbye where a peer goes beyond what can be borne; tell whether there is another."""
        try:
            return step()
        except LimitExceeded as failure:
            relay.stop(str(failure), "client went past a limit")
        except UpstreamUnavailable as failure:
            self._warn_of_server(failure)
            relay.stop(UNAVAILABLE, str(failure))
        except UpstreamError as failure:
            relay.stop("The IMAP server sent what cannot be understood", str(failure))
        return True

    def _begin(self, relay: Relay, said: Said) -> bool:
        self._dialogue.identified(said.answer_to_id)
        if said.for_client:
            relay.perform(self._dialogue.from_upstream(said.for_client, len(said.for_client)))
        return True

    def _go_on(self, relay: Relay) -> bool:
        wanted = relay.run()
        if isinstance(wanted, Submit):
            relay.perform(self._submit(wanted))
        elif isinstance(wanted, StartTls):
            return self._start_tls_amid(relay)
        elif isinstance(wanted, Compress):
            assert isinstance(relay.client, Connection)  # it is done once
            relay.replace_client(DeflatedConnection(relay.client, self._dialogue.taken_back()))
            self._compress = "deflate"
        return wanted is not None

    def _start_tls_amid(self, relay: Relay) -> bool:
        plain = relay.client
        assert isinstance(plain, Connection)  # who compresses has logged in, and it is too late for STARTTLS
        if not self._start_tls(time.monotonic() + relay.patience_left()):
            relay.end = "TLS handshake failed"
            plain.give_up()
            return False
        assert isinstance(self._stream, ssl.SSLSocket)
        relay.replace_client(plain.continued_over(self._stream))
        self._dialogue.tls_started()
        return True

    def _log_end(self, relay: Relay, seconds: float) -> None:
        if self._client.is_check and not self._dialogue.authenticated:  # it comes every other second
            return
        self._log(
            "disconnect",
            reason=relay.end,
            received=relay.client.received,
            sent=relay.client.sent,
            seconds=f"{seconds:.1f}",
            tls=self._tls,
            compress=self._compress,
        )

    def _log(self, event: str, **fields: object) -> None:
        LOGGER.info(record(event, user=self._user, client=self._client.host, **fields))

    # What the dialogue wants beyond passing octets on -----------------------------------------------------------------

    def _handle(self, action: Action) -> None:
        if isinstance(action, DraftOctets):
            self._outbox.write(action.octets)
        elif isinstance(action, DropDraft):
            self._outbox.drop()
        elif isinstance(action, LoggedIn):
            self._log_in(action.credentials)
        elif isinstance(action, LoggedOut):
            self._log_out()
        elif isinstance(action, LoginRefused):
            self._refuse_login(action.credentials)

    def _log_in(self, credentials: Credentials | None) -> None:
        self._user = credentials.account if credentials else None
        self._service.registry.count("logins_accepted")
        self._service.ledger.login_succeeded(self._client.host)
        self._log(
            "login",
            tls=self._tls,
            mechanism=credentials.mechanism if credentials else None,
            written=_written_otherwise(credentials),
        )

    def _log_out(self) -> None:
        self._log("logout")
        self._user = None

    def _refuse_login(self, credentials: Credentials | None) -> None:
        """Count a failed login; the client's next octets are read only once it has waited for what that costs."""
        assert self._relay is not None
        self._service.registry.count("logins_refused")
        seconds = self._service.ledger.login_failed(self._client.host)
        if seconds:
            self._relay.hold_client(seconds)
        LOGGER.info(
            record(
                "login-refused",
                user=credentials.account if credentials else None,
                client=self._client.host,
                tls=self._tls,
                mechanism=credentials.mechanism if credentials else None,
                wait=seconds or None,
                written=_written_otherwise(credentials),
            )
        )

    # Submitting -------------------------------------------------------------------------------------------------------

    def _submit(self, wanted: Submit) -> list[Action]:
        try:
            submitted = self._outbox.submit(User(wanted.user, self._client))
        except (ClientError, SubmissionRefused) as failure:
            self._service.registry.count("submissions_refused")
            self._log("submission-refused", answer=str(failure))
            return self._dialogue.not_submitted(failure)
        if isinstance(submitted, Earlier):
            return self._answer_repetition(submitted)
        self._service.registry.count("submissions_accepted")
        self._log_submission(submitted)
        reason = submitted.sent_failure
        return self._dialogue.submitted(f"no copy in Sent ({reason})" if reason else "")

    def _answer_repetition(self, earlier: Earlier) -> list[Action]:
        self._service.registry.count("submissions_repeated")
        at = earlier.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        is_missed = bool(self._service.site.sent_mailbox) and not earlier.is_filed
        self._log("submission-repeated", accepted=at, sent="unknown" if is_missed else None, reply=earlier.reply)
        return self._dialogue.submitted_earlier(earlier.at, "perhaps no copy in Sent" if is_missed else "")

    def _log_submission(self, submitted: Submitted) -> None:
        filed = "failed" if submitted.sent_failure else "filed"
        self._log(
            "submission",
            message_id=submitted.message_id,
            size=submitted.size,
            recipients=submitted.recipients,
            references=submitted.references,
            sent=filed if self._service.site.sent_mailbox else None,
            reply=submitted.reply,
        )
        if submitted.sent_failure:
            LOGGER.warning(
                record(
                    "sent-copy-failed",
                    user=self._user,
                    client=self._client.host,
                    message_id=submitted.message_id,
                    reason=submitted.sent_failure,
                )
            )

    def _still_submitting(self) -> None:
        assert self._relay is not None
        client = self._relay.client
        client.send(response.STILL_SUBMITTING)
        client.send_backlog()


def _written_otherwise(credentials: Credentials | None) -> str | None:
    """Return the user's name as the client wrote it, for the log, if that differs from the account's."""
    return credentials.user if credentials and credentials.user != credentials.account else None
