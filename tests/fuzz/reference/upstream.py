"""What an IMAP server reads of what it is sent, octet by octet and in the strictest way (RFC 9051, 2.2, 4.3 and 6.2).

It knows what was said to its client, so it knows when octets are data and when they are commands. What no two servers
would read in the same way, and what a proxy must keep from it, fails.
"""

import base64
import binascii
from dataclasses import dataclass, field

from tests.fuzz.reference.login import login_user, sasl_user
from tests.fuzz.reference.stream import Mark, mark_of

# What the proxy does itself.
KEPT_FROM_IT = {b"SUBMIT", b"STARTTLS", b"COMPRESS"}
# What may not stand in a tag or a command's name (RFC 9051, 9: atom-specials, but for "]", which astrings have).
_SPECIALS = b'(){ %*"\\'


@dataclass(slots=True, eq=False)
class Command:
    """A command: its octets, and as lists what stands outside of its literals, what in them, and data sent after it."""

    tag: bytes
    name: bytes
    octets: bytearray
    lines: list[bytes] = field(default_factory=list)
    literals: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    is_whole: bool = False
    began_authenticated: bool = False

    @property
    def logs_in(self) -> bool:
        """Whether an OK to it is that to a login."""
        return self.name == b"AUTHENTICATE" or (self.name == b"LOGIN" and not self.began_authenticated)


class Upstream:
    """The server's side of a connection."""

    def __init__(self) -> None:
        self.outstanding: list[Command] = []
        self.pieces: list[bytearray] = []  # commands whole, and lines of data: each as one client sent it, in order
        self.authenticated = False
        self.user: bytes | None = None
        self.decides = False  # "+" or a tagged response must come before anything else
        self._current: Command | None = None
        self._line = b""
        self._literal = 0
        self._takes_unasked = False

    @property
    def asks_for_id(self) -> bool:
        """Whether a ``+`` now asks for a literal of an ID."""
        return self.decides and self._current is not None and self._current.name == b"ID"

    # What it is sent ------------------------------------------------------------------------------------------------

    def read(self, octets: bytes) -> None:
        """Read what it is sent."""
        for index in range(len(octets)):
            assert not self.decides, f"sent unasked: {octets[index:]!r}"
            self._octet(octets[index : index + 1])

    def _octet(self, octet: bytes) -> None:
        if self._literal:
            assert self._current is not None
            self._current.octets += octet
            self._current.literals[-1] += octet
            self._literal -= 1
            return
        self._line += octet
        if octet == b"\n":
            line, self._line = self._line, b""
            assert line.endswith(b"\r\n"), line
            assert not {*line[:-2]} & {*b"\0\r\n"}, line
            self._take_line(line)

    def _take_line(self, line: bytes) -> None:
        command = self._current
        if command is not None and command.is_whole:
            self.pieces.append(bytearray(line))
            command.data.append(line.removesuffix(b"\r\n"))
            self.decides = command.name == b"AUTHENTICATE"
            self._current = command if self.decides else None
            return
        if command is None:
            command = self._begin(line)
        command.octets += line
        command.lines.append(line.removesuffix(b"\r\n"))
        self._go_on(command, mark_of(line))

    def _begin(self, line: bytes) -> Command:
        tag, space, rest = line.removesuffix(b"\r\n").partition(b" ")
        name = rest.partition(b" ")[0].upper()
        assert tag, line
        assert space, line
        assert name, line
        for octet in tag + name:
            assert 0x20 < octet < 0x7F, line
            assert octet not in _SPECIALS, line
        assert b"+" not in tag, line
        assert name not in KEPT_FROM_IT, line
        self._current = Command(tag, name, bytearray(), began_authenticated=self.authenticated)
        is_guess = self._current.logs_in and not self.authenticated
        assert not is_guess or not any(command.logs_in for command in self.outstanding), "many passwords by one write"
        self.pieces.append(self._current.octets)
        self.outstanding.append(self._current)
        return self._current

    def _go_on(self, command: Command, mark: Mark | None) -> None:
        if mark is not None:
            self._check_literal(command, mark)
            command.literals.append(b"")
            self._literal = mark.size
            self.decides = mark.synchronizing
            return
        command.is_whole = True
        self.decides = command.name in {b"IDLE", b"AUTHENTICATE"}
        self._current = command if self.decides else None

    def _check_literal(self, command: Command, mark: Mark) -> None:
        """Fail where a server that does not take it would read the literal as commands, before anybody is logged in."""
        assert command.name not in {b"IDLE", b"AUTHENTICATE"}, command
        if not command.began_authenticated and not self.authenticated:
            assert command.name in {b"LOGIN", b"ID"}, command
            assert mark.synchronizing or (command.name == b"LOGIN" and self._takes_unasked), command

    # What it says ---------------------------------------------------------------------------------------------------

    def greet(self, line: bytes) -> None:
        """Say the greeting."""
        self._announce(line)
        self.authenticated = line[2:10].upper() == b"PREAUTH "

    def say(self, line: bytes) -> None:
        """Say a line that is no data."""
        if line[:1] == b"*":
            self._announce(line)
        elif line[:1] == b"+":
            self.decides = False
        else:
            tag, _, state = line.partition(b" ")
            self._complete(tag, state[:2].upper() == b"OK")
            self._announce(line)

    def _announce(self, line: bytes) -> None:
        if b"CAPABILITY" in line.upper():
            self._takes_unasked |= any(word in line.upper() for word in (b"LITERAL+", b"LITERAL-", b"IMAP4REV2"))

    def _complete(self, tag: bytes, ok: bool) -> None:
        command = next((command for command in self.outstanding if command.tag == tag), None)
        if command is None:
            return
        self.outstanding.remove(command)
        if command is self._current and (self.decides or command.is_whole):
            self.decides = False
            self._literal = 0
            self._current = None
        if ok and command.logs_in and not self.authenticated:
            self.authenticated = True
            self.user = _user(command)
        elif ok and command.name == b"UNAUTHENTICATE":
            self.authenticated = False
            self.user = None


def _user(command: Command) -> bytes | None:
    if command.name == b"LOGIN":
        return login_user(command.lines, command.literals)
    mechanism, _, initial = command.lines[0].split(b" ", 2)[2].partition(b" ")
    written = ([initial] if initial else []) + command.data
    try:
        responses = [base64.b64decode(b"" if response == b"=" else response, validate=True) for response in written]
        return sasl_user(mechanism.upper(), responses)
    except (binascii.Error, ValueError):
        return None
