"""What a message looks like to who gets it, read by splitters of our own that know nothing of the proxy's.

They are as simple as a careless recipient's: a delimiter is any line that begins with two hyphens and the boundary.
"""

import email
import email.policy
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage

BOUNDARY = re.compile(rb"(?im)^Content-Type: *multipart/[^\r\n]*(?:\r\n[ \t][^\r\n]*)*?boundary=\"?([^\"\r\n;]+)")
# Trace fields, as Postfix and the proxy put before the header.
TRACE = re.compile(rb"(?:Received: [^\r]+\r\n(?:[ \t][^\r]+\r\n)*)+")


@dataclass(frozen=True)
class Seen:
    """A message or a part: its header with the end of its last line, its body."""

    header: bytes
    body: bytes

    @property
    def fields(self) -> Mapping[str, str]:
        """Each field by its name in lower case, unfolded; a name that stands twice is an error."""
        unfolded = re.sub(rb"\r\n(?=[ \t])", b"", self.header).decode("utf-8", "surrogateescape")
        pairs = [(name.lower(), text.strip()) for name, _, text in (line.partition(":") for line in lines_of(unfolded))]
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    @property
    def boundary(self) -> bytes:
        found = BOUNDARY.search(self.header)
        assert found, self.header
        return found[1]

    @property
    def parts(self) -> list["Seen"]:
        """What stands between its delimiters."""
        return [seen(piece) for piece in self._pieces()[1:-1]]

    @property
    def around(self) -> tuple[bytes, bytes]:
        """Preamble and epilogue."""
        pieces = self._pieces()
        return pieces[0], pieces[-1]

    def _pieces(self) -> list[bytes]:
        assert self.body.count(b"\n--" + self.boundary + b"--") == 1
        return re.split(rb"(?:\A|\r?\n|\r)--" + re.escape(self.boundary) + rb"(?:--)?[ \t]*(?:\r?\n|\r|\Z)", self.body)


def lines_of(header: str) -> list[str]:
    return [line for line in header.split("\r\n") if line]


def seen(octets: bytes) -> Seen:
    if octets.startswith(b"\r\n"):
        return Seen(b"", octets[2:])
    header, empty_line, body = octets.partition(b"\r\n\r\n")
    assert empty_line, octets[:200]
    return Seen(header + b"\r\n", body)


def without_trace(content: bytes) -> bytes:
    """Return a message as it was before the trace fields came, of which there must be some."""
    trace = TRACE.match(content)
    assert trace, content[:200]
    return content[trace.end() :]


def parsed(content: bytes) -> EmailMessage:
    """Return what Python's parser makes of it."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message
