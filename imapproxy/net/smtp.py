"""An SMTP connection that cannot hang, be flooded, or be made to say more than one line at a time (RFC 5321).

``smtplib`` as it comes blocks in one piece, reads replies without end and asks the DNS for our own name. Here each
step has its time, each reply its bounds, and ``waiting`` is called while the server keeps us waiting (``patient``).
"""

import re
import smtplib
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from imapproxy.errors import SubmissionRefused
from imapproxy.net.cleanup import cleanup
from imapproxy.net.patient import Insecure, Lost, Overlong, PatientStream, PeerFailure, Silent

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

FAREWELL_PATIENCE = 1.0  # seconds for the answers to RSET and QUIT, which change nothing any more
MAX_REPLY_LINES = 128  # EHLO's, the longest reply there is, has a line an extension
MAX_REPLY_LINE = 12_288  # octets; a SASL challenge may be so long (RFC 4954 section 4), other lines have 512
MAX_REPLY_TEXT = 1000  # characters of a reply that are passed on

INSECURE = "4.7.5 no secure connection to the mail server"
NOT_RESPONDING = "4.4.1 mail server not responding"
LOST = "4.4.2 connection to the mail server lost"
GARBLED = "4.5.0 mail server does not speak SMTP"

_TOLD_AS: dict[type[PeerFailure], str] = {Silent: NOT_RESPONDING, Lost: LOST, Overlong: GARBLED}

# Reply-line = Reply-code [ ( "-" / SP ) [ textstring ] ] CRLF    ; RFC 5321 4.2
# Reply-code = %x32-35 %x30-35 %x30-39
_REPLY_LINE = re.compile(rb"(?P<code>[2-5][0-5][0-9])(?:(?P<mark>[- ])(?P<text>.*))?\r?\n")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NOT_PRINTABLE = re.compile(r"[^ -~]")


class SmtpError(Exception):
    """The dialogue cannot go on, and the connection is closed; the text says why as a client is to read it."""


class Reply(NamedTuple):
    """What the server answered: its code, and all of its words with that code in front."""

    code: int
    text: str

    @classmethod
    def of(cls, code: int, text: bytes) -> "Reply":
        """Make printable what ``getreply`` and its kin return."""
        words = " ".join([str(code), *text.decode("ascii", "replace").split()])
        return cls(code, _NOT_PRINTABLE.sub("?", words)[:MAX_REPLY_TEXT])

    @property
    def positive(self) -> bool:
        """Whether what was asked for is done."""
        return self.code // 100 == 2


class BoundedSMTP(smtplib.SMTP):
    """``smtplib.SMTP``, not yet connected, with bounds; ``timeout`` is how long a step may take.

    A step is a connection attempt to one address, a piece of output that the server does not take, or a whole reply.
    Once a step fails the connection is closed and ``SmtpError`` raised.
    """

    def __init__(self, host_name: str, timeout: float, waiting: Callable[[], None], interval: float) -> None:
        super().__init__(local_hostname=host_name, timeout=timeout)
        self._stream = PatientStream(waiting, interval)

    def connect(self, host: str = "localhost", port: int = 0, source_address: object = None) -> tuple[int, bytes]:
        """Connect to the first of the host's addresses that can be reached, and return the greeting."""
        self._reach(host, port)
        return self.getreply()

    def connect_by_tls(self, host: str, port: int, context: ssl.SSLContext) -> tuple[int, bytes]:
        """Connect likewise, by TLS from the first octet on (RFC 8314 3.3)."""
        self._reach(host, port)
        self.speak_tls(context, host)
        return self.getreply()

    def speak_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Speak TLS from here on; the server is to be asked for its extensions anew (RFC 3207 4.2)."""
        try:
            self._stream.start_tls(context, server_name, monotonic() + self.timeout)
        except Insecure as failure:
            raise self._failure(f"{INSECURE}: {failure}") from failure
        except Silent as failure:
            raise self._failure(NOT_RESPONDING) from failure

    def send(self, s: "ReadableBuffer | str") -> None:
        """Send octets, or text in ``command_encoding``; each piece that the server takes is progress."""
        try:
            self._stream.send(self._encoded(s) if isinstance(s, str) else s, self.timeout)
        except Lost as failure:
            raise self._last_words() from failure
        except PeerFailure as failure:
            raise self._failure(NOT_RESPONDING) from failure

    def putcmd(self, cmd: str, args: str = "") -> None:
        """Send a command, which is one line whatever it was made of."""
        if _CONTROL.search(cmd) or _CONTROL.search(args):
            raise SubmissionRefused("5.5.2 control character in an SMTP command")
        super().putcmd(cmd, args)

    def getreply(self) -> tuple[int, bytes]:
        """Return the code and the text of the next reply, its lines joined by LF."""
        deadline = monotonic() + self.timeout
        lines: list[bytes] = []
        codes: set[bytes] = set()
        while len(lines) < MAX_REPLY_LINES:
            match = _REPLY_LINE.fullmatch(self._line(deadline))
            if match is None:
                break
            lines.append((match["text"] or b"").strip())
            codes.add(match["code"])
            if len(codes) > 1:
                break
            if match["mark"] != b"-":
                return int(match["code"]), b"\n".join(lines)
        raise self._failure(GARBLED)

    def reply(self) -> Reply:
        """Return the next reply as printable text."""
        return Reply.of(*self.getreply())

    def ask(self, command: str, arguments: str = "") -> Reply:
        """Send a command and return the reply to it."""
        return Reply.of(*self.docmd(command, arguments))

    def farewell(self, command: str) -> None:
        """Send a command whose answer changes nothing, nor does any failure; too short a wait to be told of."""
        with cleanup(command), suppress(SmtpError):
            self._stream.hush()
            self.timeout = min(self.timeout, FAREWELL_PATIENCE)
            self.docmd(command)

    def close(self) -> None:
        """Close the connection, without a word; raise nothing."""
        with cleanup("close"):
            self._stream.close()
            super().close()

    def _reach(self, host: str, port: int) -> None:
        try:
            self._stream.connect(host, port, self.timeout)
        except PeerFailure as failure:
            raise self._failure(NOT_RESPONDING) from failure

    def _encoded(self, text: str) -> bytes:
        try:
            return text.encode(self.command_encoding)
        except UnicodeEncodeError as error:
            raise SubmissionRefused("5.6.7 non-ASCII address; the mail server takes none") from error

    def _line(self, deadline: float) -> bytes:
        """Return the next line with its end."""
        try:
            return self._stream.line(MAX_REPLY_LINE, deadline)
        except PeerFailure as failure:
            raise self._failure(_TOLD_AS[type(failure)]) from failure

    def _last_words(self) -> SmtpError:
        """Return why the server stopped reading: what it said before it went, such as 421, if it said anything."""
        try:
            reply = self.reply()
        except SmtpError as failure:
            return failure
        return self._failure(reply.text if reply.code >= 400 else LOST)

    def _failure(self, text: str) -> SmtpError:
        self.close()
        return SmtpError(text)


def require(reply: Reply) -> None:
    """Go on if what was asked for is done, else raise SubmissionRefused with the server's own words."""
    if not reply.positive:
        raise SubmissionRefused(reply.text)


def dot_stuffed(chunks: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    """Yield the chunks with a second dot before each that begins a line (RFC 5321 4.5.2), wherever the borders fall."""
    at_line_start = True
    for chunk in chunks:
        octets = bytes(chunk)
        if not octets:
            continue
        if at_line_start and octets.startswith(b"."):
            yield b"."
        yield octets.replace(b"\n.", b"\n..")
        at_line_start = octets.endswith(b"\n")
