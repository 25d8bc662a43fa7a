"""A small IMAP client that speaks SUBMIT, and lets the demo watch every line of the conversation."""

from collections.abc import Callable
from dataclasses import dataclass

from link import Link

Watcher = Callable[[str, bytes], None]  # who says it ("C" or "S"), and a line


@dataclass(frozen=True, slots=True)
class Answer:
    """The untagged lines that came, and the tagged one that completed the command."""

    untagged: list[bytes]
    tagged: bytes

    @property
    def status(self) -> bytes:
        """The tagged line without its tag: ``OK …``, ``NO …`` or ``BAD …``."""
        return self.tagged.partition(b" ")[2]

    @property
    def is_ok(self) -> bool:
        """Tell whether the command succeeded."""
        return self.status.startswith(b"OK")


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

    def _answer(self, tag: bytes, line: bytes | None = None) -> Answer:
        untagged = []
        line = self._hear() if line is None else line
        while not line.startswith(tag + b" "):
            untagged.append(line)
            line = self._hear()
        return Answer(untagged, line)
