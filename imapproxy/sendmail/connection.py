"""The connection to the server: what is found by it, and what is sent. Every wait and every answer is bounded.

All failures are ``Failure``, with the server's words as far as they are printable.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import EX_CONFIG, EX_DATAERR, EX_NOINPUT, EX_NOPERM, EX_PROTOCOL, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE
from types import TracebackType
from typing import TYPE_CHECKING

from imapproxy import client
from imapproxy.errors import ConfigError, SubmissionRefused
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.imap import MAX_ANSWER, BoundedIMAP, ImapRefusal, SideConnectionError, mailbox_argument
from imapproxy.net.imap_login import Answers, NothingFits, is_temporary, log_in
from imapproxy.net.tls import client_context
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.fetched import Fetched, ResponseError, fetched
from imapproxy.protocol.login import Credentials
from imapproxy.sendmail.accounts import Account
from imapproxy.sendmail.candidates import ITEMS, lines
from imapproxy.sendmail.exit_status import status_of_connection, status_of_refusal
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.search import criteria

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Signs of life while the server submits, of which the proxy gives one every 20 s: an hour of them.
MAX_SIGNS_OF_LIFE = 180
# Messages that are described by one answer, which is bounded.
_BATCH = 20

# The server is not told where we are: it sees that.
_UNTOLD = ClientAddress(host="127.0.0.1", port=0, server_host="127.0.0.1", server_port=0, is_tls=False)


class SendingIMAP(BoundedIMAP):
    """A connection by which messages are sent: the server has its time from the last that it was sent, or said."""

    def __init__(self, server: UpstreamServer) -> None:
        self._signs_of_life = 0
        super().__init__(server, _UNTOLD, waiting=lambda: None)

    def send(self, data: "ReadableBuffer") -> None:
        """Send octets; the answer's time begins when they are sent, however long that takes."""
        super().send(data)
        self.begin_patience()

    def readline(self) -> bytes:
        """Return a line; the server that says that it is still at work has its time again."""
        line = super().readline()
        if line.startswith(b"* OK ") and self._signs_of_life < MAX_SIGNS_OF_LIFE:
            self._signs_of_life += 1
            self.begin_patience()
        return line

    def submit(self, message: bytes, progress: Callable[[int], None]) -> str:
        """Have a message sent; raise SubmitError, or SideConnectionError where the connection fails."""
        self.expect_answer(literals=0)
        with self._closed_if_it_fails():
            try:
                return client.submit(self, message, progress)
            except client.SubmitError as failure:
                refusal = failure  # the connection is as good as before
        raise refusal

    def described(self, uids: Sequence[int]) -> list[Fetched]:
        """Return what describes these messages."""
        uid_set = ",".join(map(str, uids))
        pieces = self.ask(self.uid, "FETCH", uid_set, f"({ITEMS})", literals=MAX_ANSWER)
        with self._closed_if_it_fails():
            return [answer for answer in fetched(pieces) if answer.number_of("UID") in uids]

    def leave(self) -> None:
        """Say goodbye, and do not wait for the answer, which changes nothing."""
        with suppress(SideConnectionError), self._closed_if_it_fails():
            self.send(b"%b LOGOUT\r\n" % self._new_tag())
        self.shutdown()


class Connection:
    """An account's connection to its server, on which its user is logged in; for one ``with``."""

    def __init__(self, account: Account, credentials: Credentials) -> None:
        with _accounted_for():
            self._imap = SendingIMAP(_server(account))
        try:
            with _accounted_for():
                _log_in(self._imap, credentials)
        except BaseException:
            self._imap.leave()
            raise

    def __enter__(self) -> "Connection":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._imap.leave()

    def submit(self, message: bytes, progress: Callable[[int], None]) -> str:
        """Send a message to all who are in its header, and return what the server says to that.

        ``progress`` is called with the octets that have been sent. A Failure of several lines names, after the first,
        who was refused.
        """
        sent = 0

        def note(octets: int) -> None:
            nonlocal sent
            sent = octets
            progress(octets)

        try:
            with _accounted_for():
                return self._imap.submit(message, note)
        except client.Unsupported as failure:
            raise Failure(EX_UNAVAILABLE, str(failure)) from failure
        except client.NotAMessage as failure:
            raise Failure(EX_DATAERR, f"the server takes it for no message: {failure}") from failure
        except client.Refused as refused:
            raise _account_of_refusal(refused) from refused
        except Failure as failure:
            if sent == len(message):
                raise Failure(failure.status, f"{failure}; the message may have been sent") from failure
            raise

    def found(self, mailbox: str, wanted: str, limit: int) -> list[str]:
        """Return lines about the newest messages in a mailbox that match the criteria, and about their parts."""
        asked = criteria(wanted)
        with _accounted_for(ResponseError, ValueError):
            with _if_refused(EX_NOINPUT, mailbox):
                uidvalidity = self._imap.examine(mailbox_argument(mailbox))
            with _if_refused(EX_USAGE, "--find"):
                uids = self._search(asked)[:limit]
            batches = (uids[start : start + _BATCH] for start in range(0, len(uids), _BATCH))
            answers = (answer for batch in batches for answer in self._imap.described(batch))
            with _if_refused(EX_UNAVAILABLE, "the server does not describe its messages"):
                return [*lines(mailbox, uidvalidity, answers)]

    def _search(self, asked: Sequence[bytes]) -> list[int]:
        """Return the UIDs of the messages that match, the newest first."""
        more = Answers(asked[1:]).next if asked[1:] else None
        found = self._imap.ask(self._imap.uid, "SEARCH", asked[0].decode("ascii"), more=more)[-1]
        return sorted(map(int, (found or b"").split()), reverse=True)


def _server(account: Account) -> UpstreamServer:
    try:
        context = None if account.tls == "off" else client_context(account.tls_ca, account.tls_verify)
    except ConfigError as failure:
        raise Failure(EX_CONFIG, f"tls-ca: {failure}") from failure
    host, port = account.server
    return UpstreamServer(host, port, tls=account.tls, context=context, timeout=account.timeout)


def _log_in(imap: BoundedIMAP, credentials: Credentials) -> None:
    try:
        log_in(imap, credentials)
    except NothingFits as failure:
        raise Failure(EX_NOPERM, "the server offers no way to log in for which there is a secret") from failure
    except ImapRefusal as refusal:
        status = EX_TEMPFAIL if is_temporary(refusal) else EX_NOPERM
        raise Failure(status, f"login refused: {refusal}") from refusal


@contextmanager
def _if_refused(status: int, what: str) -> Iterator[None]:
    """Make a Failure of a command that the server refuses: its words, behind what they are about."""
    try:
        yield
    except ImapRefusal as refusal:
        raise Failure(status, f"{what}: {refusal}") from refusal


@contextmanager
def _accounted_for(*garbled: type[Exception]) -> Iterator[None]:
    """Make Failures of what goes wrong with a connection, and of what the server says that makes no sense."""
    try:
        yield
    except SideConnectionError as failure:
        raise Failure(status_of_connection(failure.code), failure.reason) from failure
    except SubmissionRefused as refused:
        raise Failure(EX_USAGE, refused.text) from refused
    except garbled as failure:
        raise Failure(EX_PROTOCOL, str(failure)) from failure


def _account_of_refusal(refused: client.Refused) -> Failure:
    text = refused.text or "recipients were refused; nobody got the message"
    return Failure(
        status_of_refusal(refused.code, refused.is_temporary, refused.recipients),
        "\n".join((text, *refused.recipients)),
    )
