"""Messages put together from parts: their octets, and what an IMAP server says of them, by construction.

Nothing here reads a message. So what is known of its sections is not what some parser, the proxy's too, makes of it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

CRLF = b"\r\n"


@dataclass(frozen=True)
class Entity:
    """A message or a part: its header, each line ended, and its body; of what consists of parts, also these.

    An attached message is the one part of the part that holds it.
    """

    header: bytes
    body: bytes
    kind: str = "text/plain"
    parts: tuple["Entity", ...] = ()

    @property
    def head(self) -> bytes:
        """The header as FETCH tells it: with the empty line."""
        return self.header + CRLF

    @property
    def octets(self) -> bytes:
        return self.head + self.body

    def headed(self, fields: bytes) -> "Entity":
        """Return it with these fields before its own: a part becomes a message so."""
        return Entity(fields + self.header, self.body, self.kind, self.parts)


def leaf(kind: str, body: bytes, fields: bytes = b"") -> Entity:
    return Entity(b"Content-Type: %b\r\n" % kind.encode() + fields, body, kind.partition(";")[0])


def multipart(boundary: bytes, *parts: Entity, subtype: str = "mixed", fields: bytes = b"") -> Entity:
    header = b'Content-Type: multipart/%b; boundary="%b"\r\n' % (subtype.encode(), boundary)
    body = b"".join(b"--%b\r\n%b\r\n" % (boundary, part.octets) for part in parts) + b"--%b--\r\n" % boundary
    return Entity(header + fields, body, f"multipart/{subtype}", parts)


def attached(message: Entity, fields: bytes = b"") -> Entity:
    return Entity(b"Content-Type: message/rfc822\r\n" + fields, message.octets, "message/rfc822", (message,))


# RFC 9051, 6.4.5.1: how parts are numbered.


def sections(message: Entity) -> dict[str, bytes]:
    """Return section name -> octets of all the sections that a message has."""
    return {"": message.octets, "HEADER": message.head, "TEXT": message.body, **dict(_numbered(message, ""))}


def _numbered(message: Entity, prefix: str) -> Iterator[tuple[str, bytes]]:
    """Yield what lies in a message; one that is not multipart is its own first part."""
    parts = message.parts if message.kind.startswith("multipart/") else (message,)
    for number, part in enumerate(parts, 1):
        yield from _section(part, f"{prefix}{number}")


def _section(part: Entity, name: str) -> Iterator[tuple[str, bytes]]:
    yield name, part.body
    yield f"{name}.MIME", part.head
    if part.kind.startswith("multipart/"):
        yield from _numbered(part, f"{name}.")
    elif part.kind == "message/rfc822":
        (message,) = part.parts
        yield f"{name}.HEADER", message.head
        yield f"{name}.TEXT", message.body
        yield from _numbered(message, f"{name}.")


def part_of(message: Entity, name: str) -> Entity:
    """Return the part that a section of numbers names; "" is the message."""
    part = around = message
    for number in map(int, filter(None, name.split("."))):
        part = around.parts[number - 1] if around.kind.startswith("multipart/") else around
        around = part.parts[0] if part.kind == "message/rfc822" else part
    return part


def structure(part: Entity) -> bytes:
    """Return its BODYSTRUCTURE (RFC 9051, 7.5.2), which states what is asked for here: kinds, sizes, nesting."""
    kind, _, subtype = part.kind.upper().encode().partition(b"/")
    if kind == b"MULTIPART":
        return b'(%b "%b" ("BOUNDARY" "x)(\\"") NIL NIL)' % (b"".join(map(structure, part.parts)), subtype)
    encoding = re.search(rb"(?mi)^Content-Transfer-Encoding: ([^\r]+)", part.header)
    fields = b'"%b" "%b" ("CHARSET" "x") NIL "a \\"b\\\\ ()" "%b" %d' % (
        kind,
        subtype,
        encoding[1] if encoding else b"7BIT",
        len(part.body),
    )
    lines = b" %d" % part.body.count(b"\n")
    if part.kind == "message/rfc822":
        envelope = b"(" + b" ".join([b"NIL"] * 10) + b")"
        return b"(%b %b %b%b)" % (fields, envelope, structure(part.parts[0]), lines)
    return b"(%b%b)" % (fields, lines if kind == b"TEXT" else b"")
