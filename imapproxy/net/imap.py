r"""A connection to the IMAP server beside the client's own, that cannot hang or be flooded (RFC 9051).

``imaplib`` as it comes waits without end, reads a literal of any size that the server claims, takes CR and LF in an
argument, wants a message to APPEND in memory, and keeps the last commands for its debugging. Here each answer has its
time and its bounds, ``waiting`` is called while the server keeps us waiting (``patient``), and nothing piles up.

Of ``imaplib`` this uses its commands, the methods it has to be overridden by (``open``, ``read``, ``readline``,
``send``, ``shutdown``) and the way AUTHENTICATE goes there: a bound method in ``literal`` is asked for octets at each
continuation request, and these octets are never logged.
"""

import imaplib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from imapproxy.errors import SubmissionRefused
from imapproxy.message.mailbox_name import modified_utf7
from imapproxy.net.cleanup import cleanup
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.patient import (
    WAITING_INTERVAL,
    Insecure,
    Lost,
    Overlong,
    PatientStream,
    PeerFailure,
    Silent,
    Unreachable,
    Unverified,
)
from imapproxy.net.upstream import Garbled, TurnedAway, UpstreamServer, account_of, begin
from imapproxy.protocol.condition import RespText
from imapproxy.protocol.fetched import Fetched, Listed, ResponseError, fetched, listed
from imapproxy.protocol.namespace import MAX_NAMESPACES, MAX_PREFIX, Namespaces, namespaces

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FAREWELL_PATIENCE = 1.0  # seconds for the answer to LOGOUT, which changes nothing any more
MAX_ANSWER = 1 << 20  # octets of an answer's lines: a message of 5000 parts is described in so many
MAX_LINES = 20_000  # of an answer: flags that another session changes meanwhile are told in a line each

# resp-cond-state = ("OK" / "NO" / "BAD") SP resp-text, BYE and PREAUTH likewise; what ends such a text is no literal
_STATUS_LIKE_LITERAL = re.compile(rb"\* (?:OK|NO|BAD|BYE|PREAUTH) .*\}\r\n", re.DOTALL)
_NZ_NUMBER = re.compile(rb"[1-9][0-9]{0,9}(?![0-9])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# What a server that does not do its part ends in: imaplib makes numbers, and text, of what it is told.
_SERVERS = (PeerFailure, imaplib.IMAP4.error, ResponseError, ValueError)
# RFC 3463 codes of what is not: try later, whoever administers the servers has to see to it.
GARBLED = "4.5.0"
_CODES: dict[type[BaseException], str] = {
    Unreachable: "4.4.1",
    Silent: "4.4.2",
    Lost: "4.4.2",
    TurnedAway: "4.4.2",
    Insecure: "4.7.5",
    Unverified: "4.7.5",
}


class SideConnectionError(Exception):
    """The dialogue cannot go on, and the connection is closed: an RFC 3463 code, and why, as a client may read it."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


def out_of_step() -> SideConnectionError:
    """Return the failure of a server that does not speak IMAP, or not about what it was asked."""
    return SideConnectionError(GARBLED, account_of(Garbled()))


class ImapRefusal(Exception):
    """The server answered a command with NO or BAD: its response code in upper case, if any, and its words."""

    def __init__(self, text: bytes) -> None:
        self.code, words = RespText.of(text)
        self.words = words or self.code or "refused without a reason"
        super().__init__(self.words)


class Sized(Protocol):
    """A message of known size, streamed (``message.segments.Rendering``)."""

    @property
    def size(self) -> int:
        """Octets."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets."""


class BoundedIMAP(imaplib.IMAP4):
    """``imaplib.IMAP4``, connected and not logged in, with bounds.

    Whatever fails, but for a command that is refused (``ImapRefusal``), closes the connection; what is the server's
    or the network's failure is a ``SideConnectionError``.
    """

    def __init__(
        self,
        server: UpstreamServer,
        client: ClientAddress,
        waiting: Callable[[], None],
        interval: float = WAITING_INTERVAL,
    ) -> None:
        self._server = server
        self._client = client
        self._waiting = waiting
        self._raised_while_waiting: BaseException | None = None
        self._stream = PatientStream(self._wait, interval)
        self._patience = server.timeout
        self._last_line = b""
        self._announced: frozenset[str] | None = None
        self.untagged_responses = {}
        self.expect_answer(0)
        with self._closed_if_it_fails():
            super().__init__(server.host, server.port)

    # What imaplib reads and writes by ---------------------------------------------------------------------------------

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Connect to the first of the host's addresses that can be reached, and say what comes before all else."""
        self._stream.connect(host, port, self._patience)
        said = begin(self._stream, self._server, self._client, monotonic() + self._patience)
        self._stream.give_back(said.for_client)

    def read(self, size: int) -> bytes:
        """Return a literal, if the answer may hold so much in literals."""
        if size > self._literals_left:
            raise Overlong
        self._literals_left -= size
        return self._stream.exactly(size, self._deadline)

    def readline(self) -> bytes:
        """Return a line, if the answer may be so long; a status response never ends in what looks like a literal."""
        if self._lines_left == 0:
            raise Overlong
        # imaplib looks for it at an answer's end only, and a server that stays open behind it never comes to that.
        if "BYE" in self.untagged_responses and self.state != "LOGOUT":
            raise Lost
        line = self._last_line = self._stream.line(self._octets_left, self._deadline)
        self._lines_left -= 1
        self._octets_left -= len(line)
        return line[:-2] + b" \r\n" if _STATUS_LIKE_LITERAL.fullmatch(line) else line

    def send(self, data: "ReadableBuffer") -> None:
        """Send octets; each piece that the server takes is progress."""
        self._stream.send(data, self._patience)

    def shutdown(self) -> None:
        """Close the connection, without a word; raise nothing."""
        with cleanup("close"):
            self._stream.close()
            self._stream.hush()  # it refers to us: what was answered is free now, not when the collector comes by

    def _log(self, line: str) -> None:
        """Keep nothing of the dialogue, which imaplib would print when it is debugged."""

    # Commands ---------------------------------------------------------------------------------------------------------

    def expect_answer(self, literals: int) -> None:
        """Begin to count what an answer takes: time, lines, and no more than so many octets in literals."""
        self.begin_patience()
        self._octets_left = MAX_ANSWER
        self._lines_left = MAX_LINES
        self._literals_left = literals

    def begin_patience(self) -> None:
        """Give the server its time again."""
        self._deadline = monotonic() + self._patience

    def ask(
        self,
        command: Callable[..., tuple[str, list[Any]]],
        *arguments: str,
        literals: int = 0,
        more: Callable[[bytes], bytes] | None = None,
    ) -> list[Any]:
        """Have one of imaplib's commands answered with OK, and return what it gives; ImapRefusal for NO and BAD.

        The answer may hold so many octets in ``literals``. ``more``, a bound method, is called with each continuation
        request, and returns what the server then gets.
        """
        if any(map(_CONTROL.search, arguments)):
            raise SubmissionRefused("5.5.2 control character in an IMAP command")
        self.literal = more  # type: ignore[assignment] # a string in the stubs, which stands for nothing
        self.untagged_responses.clear()
        self.expect_answer(literals)
        with self._closed_if_it_fails():
            try:
                status, data = command(*arguments)
            except self.abort:
                raise
            except self.error:  # imaplib makes one of BAD
                status, data = "BAD", [self._last_line.partition(b" BAD ")[2]]
        if status != "OK":
            raise ImapRefusal(data[-1] or b"")
        return data

    def examine(self, mailbox: str) -> int | None:
        """Select a mailbox (by its argument) for reading, and return its UIDVALIDITY (RFC 9051 6.3.3)."""
        self.ask(lambda name: self.select(name, readonly=True), mailbox)
        said = self.untagged_responses.get("UIDVALIDITY", [b""])[-1]
        match = _NZ_NUMBER.match(said) if isinstance(said, bytes) else None
        return int(match[0]) if match else None

    def fetch_message(self, uid: int, items: str, literals: int) -> Fetched | None:
        """Return these items of one message, None if there is no such message (RFC 9051 6.4.8, 6.4.5)."""
        pieces = self.ask(self.uid, "FETCH", str(uid), f"({items})", literals=literals)
        with self._closed_if_it_fails():
            ours = [answer for answer in fetched(pieces) if answer.number_of("UID") == uid]
        # A server may tell of a message piecemeal, and of flags at any time.
        return Fetched(ours[0].number, {k: v for answer in ours for k, v in answer.items.items()}) if ours else None

    def list_mailboxes(self, selection: str = "") -> list[Listed]:
        """Return all mailboxes, or those that have what ``selection`` says (RFC 5258)."""
        pieces = self.ask(self.list, f'{selection} ""'.lstrip(), '"*"', literals=MAX_ANSWER)
        with self._closed_if_it_fails():
            return listed(pieces)

    def announced(self) -> frozenset[str]:
        """Return what the server can do for this user, in upper case; it may be more than it said before the login.

        Once the user is logged in it stays the same, and the server is asked once.
        """
        if self._announced is None:
            words = self.ask(self.capability)[-1] or b""
            self._announced = frozenset(words.decode("ascii", "replace").upper().split())
        return self._announced

    def namespaces(self) -> Namespaces:
        """Return where mailbox names begin (RFC 2342)."""
        pieces = self.ask(self.namespace, literals=MAX_NAMESPACES * MAX_PREFIX)
        with self._closed_if_it_fails():
            return namespaces(pieces)

    def append_seen(self, mailbox: str, message: Sized) -> None:
        r"""APPEND a message with \Seen, as a stream (RFC 9051 6.3.12); what its chunks raise passes."""
        size = f"{{{message.size}}}"
        self.ask(self.xatom, "APPEND", mailbox, r"(\Seen)", size, more=_Literal(self, message).octets)

    def append_catenated(self, mailbox: str, pieces: Sequence[Sized | str]) -> None:
        r"""APPEND with \Seen a message of texts and of what the server has, by its URL (RFC 4469 section 3)."""
        catenation = _Catenation(self, pieces)
        beginning = f"({catenation.said()}"
        self.ask(self.xatom, "APPEND", mailbox, r"(\Seen)", "CATENATE", beginning, more=catenation.more)

    def farewell(self) -> None:
        """Log out, without waiting long for the answer, which changes nothing, and close the connection.

        Raise nothing.
        """
        with cleanup("LOGOUT"), suppress(SideConnectionError, ImapRefusal):
            self._stream.hush()
            self._patience = min(self._patience, FAREWELL_PATIENCE)
            self.ask(self.logout)
        self.shutdown()

    @contextmanager
    def _closed_if_it_fails(self) -> Iterator[None]:
        """Close the connection, which is out of step, and say why if it is the server or the network."""
        try:
            yield
        except BaseException as failure:
            self.shutdown()
            raised, self._raised_while_waiting = self._raised_while_waiting, None
            if raised is not None:
                raise raised from None
            if isinstance(failure, _SERVERS):
                raise self._account_of(failure) from failure
            raise

    def _wait(self) -> None:
        """Tell that the server keeps us waiting; what that raises passes, even if imaplib takes it for its own."""
        try:
            self._waiting()
        except BaseException as failure:
            self._raised_while_waiting = failure
            raise

    def _account_of(self, failure: BaseException) -> SideConnectionError:
        bye = self.untagged_responses.get("BYE", [None])[-1]
        if isinstance(bye, bytes):
            failure = TurnedAway(ImapRefusal(bye).words)
        if not isinstance(failure, PeerFailure):
            return out_of_step()
        return SideConnectionError(_CODES.get(type(failure), GARBLED), account_of(failure))


class _Literal:
    """A message on its way to the server: sent once, when the server asks for it."""

    def __init__(self, imap: BoundedIMAP, message: Sized) -> None:
        self._imap = imap
        self._message = message
        self._is_sent = False

    def octets(self, _: bytes) -> bytes:
        """Send the message; nothing is left of it for imaplib to send."""
        if self._is_sent:
            raise out_of_step()
        self._is_sent = True
        rest = self._message.size
        for chunk in self._message.chunks():
            rest -= len(chunk)
            if rest < 0:
                break
            self._imap.send(chunk)
        if rest != 0:
            raise SubmissionRefused("4.3.0 the message is not of the size that it was said to be")
        self._imap.expect_answer(0)
        return b""


class _Catenation:
    """A message in pieces on its way to the server, which asks for each text."""

    def __init__(self, imap: BoundedIMAP, pieces: Iterable[Sized | str]) -> None:
        self._imap = imap
        self._pieces = iter(pieces)
        self._text: _Literal | None = None

    def said(self) -> str:
        """Return what is said up to the next text, or to the end.

        catenate-data = "CATENATE" SP "(" cat-part *(SP cat-part) ")" ; cat-part = text-literal / url
        text-literal = "TEXT" SP literal ; url = "URL" SP astring
        """
        parts: list[str] = []
        for piece in self._pieces:
            if not isinstance(piece, str):
                self._text = _Literal(self._imap, piece)
                return " ".join([*parts, f"TEXT {{{piece.size}}}"])
            parts.append(f"URL {quoted(piece)}")
        return " ".join(parts) + ")"

    def more(self, request: bytes) -> bytes:
        """Send the text that was announced, and return what is said behind it."""
        if self._text is None:
            raise out_of_step()
        self._text.octets(request)
        said = self.said()
        return said.encode("ascii") if said == ")" else f" {said}".encode("ascii")


def mailbox_argument(name: str) -> str:
    """Return a mailbox's name as commands take it."""
    return quoted(name_on_the_wire(name))


def name_on_the_wire(name: str) -> str:
    """Return a mailbox's name in the form that is quoted in commands."""
    try:
        return modified_utf7(name)
    except ValueError as failure:
        raise SubmissionRefused("5.6.6 no such mailbox; its name is no text") from failure


def quoted(text: str) -> str:
    """Return printable text as a quoted string (RFC 9051 section 9)."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
