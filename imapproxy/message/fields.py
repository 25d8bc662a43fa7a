"""A header as its fields (RFC 5322, 2.2), each with the octets it came in.

An MTA ends the header at the first line that is neither a field nor a continuation. What we read behind such a line
would not be what is sent: there is none in a header that is read here.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.draft import MAX_LINE, Octets

# A header is held in memory, several times: ten times what any message has, a fiftieth of a draft.
MAX_HEADER = 1024 * 1024
# Each costs an object; mail that went through many hands has a hundred.
MAX_FIELDS = 2000

# field-name = 1*ftext ; ftext = %d33-57 / %d59-126             ; obs-optional: white space before the colon
_NAME = re.compile(rb"([!-9;-~]+)[ \t]*:")
# field      = field-name ":" unstructured CRLF                 ; continuation lines begin with white space
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


@dataclass(frozen=True, slots=True)
class Field:
    """A header field: its name as written, and all its octets, name and last CRLF included."""

    name: str
    raw: bytes

    @classmethod
    def of(cls, name: str, text: str) -> "Field":
        """Make a field on one line, or on several where the text is folded."""
        return cls(name, f"{name}: {text}\r\n".encode("utf-8", "surrogateescape"))

    @property
    def key(self) -> str:
        """The name as it is compared."""
        return self.name.lower()

    @property
    def text(self) -> str:
        """The unfolded value; octets that are no UTF-8 are surrogates ("surrogateescape")."""
        value = self.raw[self.raw.index(b":") + 1 :].replace(b"\r\n", b"")
        return value.decode("utf-8", "surrogateescape").strip(" \t")


@dataclass(frozen=True, slots=True)
class Header:
    """Fields, where the octets after them begin (the empty line, or the end), and where the body begins."""

    fields: tuple[Field, ...]
    end: int
    body: int


def read_draft_header(draft: Octets) -> Header:
    """Return the header of a draft; what does not begin with a field is no message at all (BAD)."""
    if _NAME.match(draft[: MAX_LINE + 2]) is None:
        raise ClientError("not a message")
    return read_header(draft, 0, len(draft))


def read_header(octets: Octets, start: int, end: int) -> Header:
    """Return the header that begins at ``start``, of a message or of a part of one; a header needs no body."""
    if octets[start : min(start + 2, end)] in {b"", b"\r\n"}:
        return Header((), start, min(start + 2, end))
    blank = octets.find(b"\r\n\r\n", start, min(start + MAX_HEADER + 4, end))
    header_end, body = (blank + 2, blank + 4) if blank >= 0 else (end, end)
    if header_end - start > MAX_HEADER:
        raise SubmissionRefused("5.3.4 message header too large")
    header = octets[start:header_end]
    return Header(tuple(_fields(header if header.endswith(b"\r\n") else header + b"\r\n")), header_end, body)


def _fields(header: bytes) -> Iterator[Field]:
    position = 0
    for _ in range(MAX_FIELDS):
        found = _FIELD.match(header, position)
        if found is None:
            raise SubmissionRefused("5.6.0 malformed header line")
        yield Field(found[1].decode("ascii"), found[0])
        position = found.end()
        if position == len(header):
            return
    raise SubmissionRefused("5.3.4 too many header fields")


def named(fields: Iterable[Field], *keys: str) -> list[Field]:
    """Return the fields with one of these names (lower-case), in their order."""
    return [field for field in fields if field.key in keys]
