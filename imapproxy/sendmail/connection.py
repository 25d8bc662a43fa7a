"""The connection to the server: what is found by it, and what is sent. Every wait and every answer is bounded.

All failures are ``Failure``, with the server's words as far as they are printable.
"""

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import EX_CONFIG, EX_DATAERR, EX_NOINPUT, EX_NOPERM, EX_PROTOCOL, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE
from types import TracebackType
from typing import TYPE_CHECKING, Any, assert_never

from imapproxy import client
from imapproxy.errors import ConfigError, SubmissionRefused
from imapproxy.message.imap_url import ImapUrl
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.imap import MAX_ANSWER, BoundedIMAP, ImapRefusal, SideConnectionError, mailbox_argument
from imapproxy.net.imap_login import Answers, NothingFits, is_temporary, log_in
from imapproxy.net.patient import Overlong
from imapproxy.net.tls import client_context
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.fetched import Fetched, ResponseError, fetched
from imapproxy.protocol.login import Credentials
from imapproxy.sendmail.accounts import Account
from imapproxy.sendmail.candidates import ITEMS, lines
from imapproxy.sendmail.exit_status import status_of_connection, status_of_refusal
from imapproxy.sendmail.failure import Failure

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Signs of life while the server submits, of which the proxy gives one every 20 s: an hour of them.
MAX_SIGNS_OF_LIFE = 180
# Octets of what a SEARCH finds: the numbers of a million and a half messages.
MAX_FOUND = 16 << 20
# Messages that are described by one answer, which is bounded.
_BATCH = 20
# Of messages whose description is too long, each costs a login: who has so many looks for something else.
MAX_LEFT_OUT = 20

_WORD = re.compile(rb"[^ ]+")

# The server is not told where we are: it sees that.
_UNTOLD = ClientAddress(host="127.0.0.1", port=0, server_host="127.0.0.1", server_port=0, is_tls=False)


class TooLong(SideConnectionError):
    """The server answers at more length than it may."""


class SendingIMAP(BoundedIMAP):
    """A connection by which messages are sent: the server has its time from the last that it was sent, or said."""

    def __init__(self, server: UpstreamServer) -> None:
        self._signs_of_life = 0
        self._unsent = math.inf  # octets of the message; commands before it count as if they were of it, too
        super().__init__(server, _UNTOLD, waiting=lambda: None)

    def send(self, data: "ReadableBuffer") -> None:
        """Send octets; the answer's time begins when they are sent, however long that takes."""
        self._unsent -= memoryview(data).nbytes  # before: whoever is interrupted does not know how far it came
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
        self._unsent = len(message)
        with self._closed_if_it_fails():
            try:
                return client.submit(self, message, progress)
            except client.SubmitError as failure:
                refusal = failure  # the connection is as good as before
        raise refusal

    @property
    def may_have_sent(self) -> bool:
        """Whether the last octets of a message are on their way, or may be."""
        return self._unsent <= 0

    def matching(self, asked: Sequence[bytes]) -> list[int]:
        """Return the UIDs of the messages that match the criteria, the newest first; TooLong if they are too many."""
        more = Answers(asked[1:]).next if asked[1:] else None
        pieces = self.ask(self._search, asked[0].decode("ascii"), more=more)
        with self._closed_if_it_fails():
            # Some servers tell a great many on several lines.
            return sorted({int(word[0]) for piece in pieces for word in _WORD.finditer(piece or b"")}, reverse=True)

    def _search(self, asked: str) -> tuple[str, list[Any]]:
        self._octets_left = MAX_FOUND
        return self.uid("SEARCH", asked)

    def described(self, uids: Sequence[int]) -> list[Fetched]:
        """Return what describes these messages, or raise TooLong."""
        uid_set = ",".join(map(str, uids))
        pieces = self.ask(self.uid, "FETCH", uid_set, f"({ITEMS})", literals=MAX_ANSWER)
        with self._closed_if_it_fails():
            return [answer for answer in fetched(pieces) if answer.number_of("UID") in uids]

    def leave(self) -> None:
        """Say goodbye, and do not wait for the answer, which changes nothing."""
        with suppress(SideConnectionError), self._closed_if_it_fails():
            self.send(b"%b LOGOUT\r\n" % self._new_tag())
        self.shutdown()

    def _account_of(self, failure: BaseException) -> SideConnectionError:
        account = super()._account_of(failure)
        return TooLong(account.code, account.reason) if isinstance(failure, Overlong) else account


@dataclass(frozen=True, slots=True)
class Found:
    """What was looked for: lines for a person, and what is to be said about them."""

    lines: tuple[str, ...]
    notes: tuple[str, ...]


class Connection:
    """An account's connection to its server, on which its user is logged in; for one ``with``."""

    def __init__(self, account: Account, credentials: Credentials) -> None:
        self._account = account
        self._credentials = credentials
        self._imap = _logged_in(account, credentials)

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

    @property
    def may_have_sent(self) -> bool:
        """Whether a message may have been sent, as far as an interruption leaves that open."""
        return self._imap.may_have_sent

    def found(self, mailbox: str, asked: Sequence[bytes], limit: int) -> Found:
        """Return the newest messages in a mailbox that match the criteria (``search.criteria``), and their parts.

        What the server describes at too much length is left out, which is noted.
        """
        with _accounted_for(ResponseError, ValueError):
            uidvalidity = self._examine(mailbox)
            uids = self._matching(asked)[:limit]
            with _if_refused(EX_UNAVAILABLE, "the server does not describe its messages"):
                listed, left_out = self._listed(mailbox, uidvalidity, uids)
            urls = [ImapUrl(mailbox, uid, uidvalidity) for uid in left_out]
        return Found(tuple(listed), tuple(f"{url} is left out: its description is too long" for url in urls))

    def _examine(self, mailbox: str) -> int | None:
        with _if_refused(EX_NOINPUT, mailbox):
            return self._imap.examine(mailbox_argument(mailbox))

    def _matching(self, asked: Sequence[bytes]) -> list[int]:
        try:
            with _if_refused(EX_USAGE, "--find"):
                return self._imap.matching(asked)
        except TooLong as failure:
            raise Failure(EX_USAGE, "--find: more messages match than can be looked at") from failure

    def _listed(self, mailbox: str, uidvalidity: int | None, uids: Sequence[int]) -> tuple[list[str], list[int]]:
        """Return lines about these messages, and those of them that are left out."""
        listed: list[str] = []
        left_out: list[int] = []
        size = _BATCH
        while uids:
            batch = uids[:size]
            try:
                listed += lines(mailbox, uidvalidity, self._imap.described(batch))
            except TooLong:
                if len(left_out) == MAX_LEFT_OUT:
                    raise
                self._reopen(mailbox)
                size = 1  # the others may be like it, and alone they need not be too long
                if len(batch) > 1:
                    continue
                left_out += batch
            uids = uids[len(batch) :]
        return listed, left_out

    def _reopen(self, mailbox: str) -> None:
        """Log in once more: behind an answer that was not read to its end nothing can be asked."""
        self._imap = _logged_in(self._account, self._credentials)
        self._examine(mailbox)


def _logged_in(account: Account, credentials: Credentials) -> SendingIMAP:
    """Return a connection on which the account's user is logged in."""
    with _accounted_for():
        imap = SendingIMAP(_server(account))
    try:
        with _accounted_for():
            _log_in(imap, credentials)
    except BaseException:
        imap.leave()
        raise
    return imap


def _server(account: Account) -> UpstreamServer:
    host, port = account.server
    match account.tls:
        case "off":
            return UpstreamServer(host, port, timeout=account.timeout)
        case "on" | "starttls":
            try:
                context = client_context(account.tls_ca, account.tls_verify)
            except ConfigError as failure:
                raise Failure(EX_CONFIG, f"{account.place('tls-ca')}: {failure}") from failure
            return UpstreamServer(host, port, tls=account.tls, context=context, timeout=account.timeout)
    assert_never(account.tls)  # what is none of these must not become a connection on which the password can be read


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
    text = refused.text or (
        "recipients were refused; nobody got the message"
        if refused.recipients
        else "the server refused the message, and did not say why"
    )
    return Failure(
        status_of_refusal(refused.code, refused.is_temporary, refused.recipients),
        "\n".join((text, *refused.recipients)),
    )
