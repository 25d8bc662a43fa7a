"""A message's header, line by line (RFC 5322, 2.2), and which of its fields say where it goes (3.6.3, 3.6.6)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its name in lower case, its octets, and its unfolded value."""

    name: str
    octets: bytes
    value: str


@dataclass(frozen=True, slots=True)
class Header:
    """The fields, and how many octets they are together."""

    fields: Sequence[Field]
    size: int

    def named(self, *names: str) -> list[Field]:
        """Return the fields with one of these names, in their order."""
        return [field for field in self.fields if field.name in names]


def read_header(message: bytes) -> Header | None:
    """Return the header of a message in CRLF lines; None where a line of it is neither a field nor goes on with one."""
    gathered: list[list[bytes]] = []
    size = 0
    for line in message.split(b"\r\n"):
        if not line:
            break
        if line[:1] in b" \t" and gathered:
            gathered[-1].append(line)
        elif _name_of(line):
            gathered.append([line])
        else:
            return None
        size += len(line) + 2
    return Header([_field(lines) for lines in gathered], min(size, len(message)))


def _name_of(line: bytes) -> bytes:
    """Return the name of the field that begins with the line; nothing where none does."""
    name, colon, _ = line.partition(b":")
    name = name.rstrip(b" \t")
    return name if colon and all(0x21 <= octet <= 0x7E for octet in name) else b""


def _field(lines: Sequence[bytes]) -> Field:
    value = b"".join(lines).partition(b":")[2].decode("utf-8", "surrogateescape")
    return Field(_name_of(lines[0]).decode().lower(), b"".join(line + b"\r\n" for line in lines), value)


def resent_block(fields: Sequence[Field]) -> Sequence[Field]:
    """Return the newest block of Resent- fields: the first run of them in which no name stands twice."""
    block: list[Field] = []
    for field in fields:
        is_resent = field.name.startswith("resent-")
        if block and (not is_resent or any(field.name == other.name for other in block)):
            break
        if is_resent:
            block.append(field)
    return block


def destinations(header: Header) -> list[Field]:
    """Return the fields that say who gets the message."""
    block = resent_block(header.fields)
    if block:
        return [field for field in block if field.name in {"resent-to", "resent-cc", "resent-bcc"}]
    return header.named("to", "cc", "bcc")
