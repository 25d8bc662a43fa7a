"""A small IMAP client that speaks SUBMIT, and lets the demo watch the conversation, but for what literals hold."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from link import Link

Watcher = Callable[[str, bytes], None]  # who says it ("C" or "S"), and a line

# literal = "{" number "}" CRLF *CHAR8 (RFC 3501 section 9)
LITERAL = re.compile(rb"\{(\d+)\}$")


@dataclass(frozen=True, slots=True)
class Answer:
    """The untagged lines that came, the literals in them, and the tagged line that completed the command."""

    untagged: list[bytes]
    literals: list[bytes]
    tagged: bytes

    @property
    def status(self) -> bytes:
        """The tagged line without its tag: ``OK …``, ``NO …`` or ``BAD …``."""
        return self.tagged.partition(b" ")[2]

    @property
    def is_ok(self) -> bool:
        """Tell whether the command succeeded."""
        return self.status.startswith(b"OK")

    def number(self, name: bytes) -> int:
        """Return the number that follows a name in the untagged lines: ``[UIDVALIDITY 4711]``."""
        for line in self.untagged:
            if match := re.search(rb"\b%b (\d+)" % name, line):
                return int(match[1])
        raise ConnectionError(f"the IMAP server did not say {name.decode()}")


class ImapClient:
    """A client that gives one command at a time."""

    def __init__(self, link: Link, watch: Watcher) -> None:
        self.link = link
        self._watch = watch
        self._number = 0
        self._hear()  # the greeting

    def login(self, user: str, password: str) -> Answer:
        """Log in; the watcher does not see the password."""
        tag = self._next_tag()
        self._watch("C", b"%b LOGIN %b ********" % (tag, user.encode()))
        self.link.send(b"%b LOGIN %b %b\r\n" % (tag, user.encode(), password.encode()))
        return self._answer(tag)

    def command(self, text: bytes) -> Answer:
        """Give a command without literals."""
        tag = self._next_tag()
        self._say(b"%b %b\r\n" % (tag, text))
        return self._answer(tag)

    def submit(self, draft: bytes) -> Answer:
        """Send mail as the SUBMIT draft writes it: the server asks for the literal with ``+``."""
        tag = self._next_tag()
        self._say(b"%b SUBMIT {%d}\r\n" % (tag, len(draft)))
        first = self._hear()
        if not first.startswith(b"+"):
            return self._answer(tag, first)
        self._say(draft + b"\r\n")
        return self._answer(tag)

    def submit_at_once(self, draft: bytes) -> Answer:
        """Send mail without waiting for ``+`` (LITERAL+, RFC 7888)."""
        tag = self._next_tag()
        self._say(b"%b SUBMIT {%d+}\r\n%b\r\n" % (tag, len(draft), draft))
        return self._answer(tag)

    def append(self, mailbox: bytes, flags: bytes, message: bytes) -> Answer:
        """File a message without waiting for ``+``."""
        tag = self._next_tag()
        start = b"%b APPEND %b (%b) {%d+}" % (tag, mailbox, flags, len(message))
        self._watch("C", start)
        self._watch("C", _size_of(message))
        self.link.send(b"%b\r\n%b\r\n" % (start, message))
        return self._answer(tag)

    def _next_tag(self) -> bytes:
        self._number += 1
        return b"A%03d" % self._number

    def _say(self, octets: bytes) -> None:
        for line in octets.removesuffix(b"\r\n").split(b"\r\n"):
            self._watch("C", line)
        self.link.send(octets)

    def _hear(self) -> bytes:
        line = self.link.read_line()
        self._watch("S", line)
        return line

    def _hear_literal(self, size: int) -> bytes:
        octets = self.link.read(size)
        self._watch("S", _size_of(octets))
        return octets

    def _answer(self, tag: bytes, line: bytes | None = None) -> Answer:
        untagged: list[bytes] = []
        literals: list[bytes] = []
        line = self._hear() if line is None else line
        while not line.startswith(tag + b" "):
            untagged.append(line)
            if announced := LITERAL.search(line):
                literals.append(self._hear_literal(int(announced[1])))
            line = self._hear()
        return Answer(untagged, literals, line)


def _size_of(octets: bytes) -> bytes:
    """Return what is shown instead of a literal."""
    return f"({len(octets):,} octets)".encode()
