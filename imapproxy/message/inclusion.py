"""What lies on the IMAP server and becomes part of a message, and how it gets there: streamed, or kept first.

streamed  window after window of it goes straight to the SMTP server. Nothing can be changed any more, and its size has
          been declared: what turns out to be unfit on the way ends the transaction before its final dot (`Unfit`).
kept      all of it lies in a temporary file first, its line ends made CRLF, and is converted like a draft's own parts.

What is included is never searched for references, and never for the boundaries of what encloses it.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import MAX_LINE, Octets, has_long_line, with_crlf
from imapproxy.message.fields import MAX_FIELDS, Field, named


class Unfit(Exception):
    """What is included cannot go out as it is, or is not of the size that was announced: keep it, and try again."""


class Content(Protocol):
    """What a reference names, where it lies."""

    @property
    def size(self) -> int | None:
        """Octets, as the server announced; None where they cannot be known before all is read."""

    def chunks(self) -> Iterator[bytes]:
        """Read it, in pieces of bounded size; SubmissionRefused if that fails. It may be read again and again."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of normalised octets: a content that is kept."""

    octets: Octets
    start: int
    end: int


# Reads all of these into one file, line ends made CRLF, and returns where each lies.
Keep = Callable[[Sequence[Content]], Sequence[Span]]


@dataclass(frozen=True, slots=True)
class Named:
    """What a reference names: the octets of the header that describes it (b"" where it needs none), and itself.

    `kind` is its media type, which the header need not say: in a digest a part is a message by default.
    """

    header: bytes
    content: Content
    kind: str = "text/plain"


@dataclass(frozen=True, slots=True)
class Streamed:
    """Content that passes as it is, as a segment of a message; it is looked at on its way."""

    content: Content

    @property
    def size(self) -> int:
        """The number of octets that were announced."""
        return self.content.size or 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets; Unfit if they are not of this size in CRLF lines that SMTP carries, without NUL."""
        check = _Check()
        for chunk in self.content.chunks():
            check.take(chunk)
            if check.octets > self.size:
                raise Unfit
            yield chunk
        if check.is_inside_line_end or check.octets != self.size:
            raise Unfit


@dataclass(frozen=True, slots=True)
class EndingInLine:
    """A streamed segment that ends a message: Unfit if its last line has no end."""

    content: Content

    @property
    def size(self) -> int:
        """The number of octets that were announced."""
        return self.content.size or 0

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets."""
        last = b"\r\n"
        for chunk in Streamed(self.content).chunks():
            last = (last + chunk)[-2:]
            yield chunk
        if last != b"\r\n":
            raise Unfit


class _Check:
    """What is known of the octets that passed."""

    def __init__(self) -> None:
        self.octets = 0
        self.is_inside_line_end = False
        self._line = 0  # octets of the line under way

    def take(self, chunk: bytes) -> None:
        self.octets += len(chunk)
        lines = b"\r" + chunk if self.is_inside_line_end else chunk
        self.is_inside_line_end = lines.endswith(b"\r")
        if self.is_inside_line_end:
            lines = lines[:-1]
        if b"\0" in lines or not lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n"):
            raise Unfit
        self._measure(lines)

    def _measure(self, lines: bytes) -> None:
        first_end, last_end = lines.find(b"\r\n"), lines.rfind(b"\r\n")
        if first_end < 0:
            self._line += len(lines)
        elif self._line + first_end > MAX_LINE or has_long_line(lines, first_end + 2, last_end + 2):
            raise Unfit
        else:
            self._line = len(lines) - last_end - 2
        if self._line > MAX_LINE:
            raise Unfit


@dataclass(frozen=True, slots=True)
class Inclusion:
    """What stands in a message where a reference stood in its draft: these fields, and this body."""

    fields: tuple[Field, ...]
    kind: str
    content: Content | Span
    is_wrapped: bool  # a whole message that becomes a part: the header around it is ours

    def fields_where(self, default_kind: str) -> Sequence[Field]:
        """Return the fields where parts are of this type by default: the type is stated, unless it is that one."""
        if self.kind == default_kind or named(self.fields, "content-type"):
            return self.fields
        return (Field.of("Content-Type", self.kind), *self.fields)


# RFC 2045, 3: the fields that describe a body. Content-Length is none of them; some mailboxes have it in their headers.
_CONTENT_FIELD = re.compile(
    rb"^(?!content-length[ \t]*:)(content-[!-9;-~]+)[ \t]*:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*",
    re.IGNORECASE | re.MULTILINE,
)

# RFC 2017, 4: what a client may say of a part in the phantom header of its reference; all else is the part's own.
_OVERRIDING = ("content-disposition", "content-description", "content-id", "content-language", "content-location")


def inclusion_of(found: Named, phantom: Sequence[Field]) -> Inclusion:
    """Return what a named part, or the body of a named message, becomes."""
    fields = _overridden(content_fields(found.header), phantom)
    return Inclusion(fields, found.kind, found.content, is_wrapped=False)


def wrapped_inclusion_of(content: Content, phantom: Sequence[Field]) -> Inclusion:
    """Return what a whole message becomes: a part that holds it."""
    kind = "message/rfc822"
    return Inclusion(_overridden([Field.of("Content-Type", kind)], phantom), kind, content, is_wrapped=True)


def content_fields(header: bytes) -> list[Field]:
    """Return the Content- fields of a header as it is stored; what else stands there, well-formed or not, is left."""
    found = islice(_CONTENT_FIELD.finditer(with_crlf(header + b"\n")), MAX_FIELDS)
    fields = [Field(match[1].decode("ascii"), match[0]) for match in found]
    if any(b"\0" in field.raw for field in fields):
        raise SubmissionRefused("5.6.0 NUL in the header of what is referred to")
    return fields


def is_content_field(field: Field) -> bool:
    """Tell whether a field describes the body."""
    return field.key.startswith("content-")


def _overridden(fields: Sequence[Field], phantom: Sequence[Field]) -> tuple[Field, ...]:
    said = {key: found[0] for key in _OVERRIDING if (found := named(phantom, key))}
    return (*(field for field in fields if field.key not in said), *said.values())
