"""A message made fit for the server it goes to: 7-bit where 8BITMIME is not offered, no line over 998 octets.

header  text that is not US-ASCII: as it is with SMTPUTF8, else encoded (words)
body    as it is where it is fit; else the parts that are not, and no others, in a content transfer encoding that
        every reader undoes (RFC 2045, 6): the charset is kept, nested messages are gone through too
never   a signed part (RFC 1847): SubmissionRefused
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import Octets, has_long_line, is_ascii
from imapproxy.message.fields import Field, Header, named
from imapproxy.message.mime import UNENCODED, Part, read_parts
from imapproxy.message.segments import (
    Base64,
    Base64OfQuotedPrintable,
    Segment,
    Slice,
    WrappedBase64,
    quoted_printable,
    whole,
)
from imapproxy.message.words import Repertoire, transportable


def written(fields: Sequence[Field], repertoire: Repertoire) -> bytes:
    """Return the octets of header fields, in lines that SMTP carries; SubmissionRefused where that cannot be."""
    return b"".join(transportable(field, repertoire).raw for field in fields)


@dataclass(frozen=True, slots=True)
class Converter:
    """Goes down a part tree of these octets, as far as there is something to convert."""

    octets: Octets
    eight_bit: bool

    def message(self, header: Header) -> tuple[Sequence[Field], list[Segment]]:
        """Return a message's fields and what follows them."""
        if self.is_fit(header.end, len(self.octets)):
            return header.fields, [Slice(self.octets, header.end, len(self.octets))]
        fields, body = self.content(read_parts(header, self.octets))
        return fields, [whole(b"\r\n"), *body]

    def is_fit(self, start: int, end: int) -> bool:
        """Tell whether the octets can go as they are."""
        return (self.eight_bit or is_ascii(self.octets, start, end)) and not has_long_line(self.octets, start, end)

    def part(self, part: Part) -> list[Segment]:
        """Return a part with its header."""
        if self.is_fit(part.start, part.end):
            return [Slice(self.octets, part.start, part.end)]
        return self.headed(*self.content(part))

    def headed(self, fields: Sequence[Field], body: Sequence[Segment]) -> list[Segment]:
        """Return a part that has these fields and this body."""
        return [whole(written(fields, "any" if self.eight_bit else "us-ascii") + b"\r\n"), *body]

    def content(self, part: Part) -> tuple[Sequence[Field], list[Segment]]:
        """Return a part's fields and its body, as much of both changed as must be."""
        if not part.is_readable:
            raise SubmissionRefused("5.6.3 a part without a readable header cannot be converted")
        if self.is_fit(part.body, part.end):
            return part.fields, [Slice(self.octets, part.body, part.end)]
        if part.is_signed:
            raise SubmissionRefused("5.6.3 a signed part cannot be converted")
        fields = with_mime_version(part.fields) if part.is_whole else part.fields
        if not part.parts:
            return self._leaf(part, fields)
        return self.container_fields(fields), list(self._container(part))

    def container_fields(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Return the fields of what consists of converted parts."""
        return fields if self.eight_bit else _relabelled(fields)

    def between(self, start: int, end: int) -> Slice:
        """Return what stands between parts; no encoding could be stated for it."""
        if not self.is_fit(start, end):
            raise SubmissionRefused("5.6.3 text between the parts cannot be converted")
        return Slice(self.octets, start, end)

    def _container(self, part: Part) -> Iterator[Segment]:
        """Yield the parts, and between them what belongs to none: boundaries, and text that no reader shows."""
        position = part.body
        for inner in part.parts:
            yield self.between(position, inner.start)
            yield from self.part(inner)
            position = inner.end
        yield self.between(position, part.end)

    def _leaf(self, part: Part, fields: Sequence[Field]) -> tuple[Sequence[Field], list[Segment]]:
        kind, span = part.content_type.kind, (self.octets, part.body, part.end)
        if part.is_multipart:
            raise SubmissionRefused("5.6.3 a multipart without parts cannot be converted")
        if part.encoding == "base64":
            return fields, [WrappedBase64(*span)]
        if part.encoding == "quoted-printable":
            return labelled(fields, "base64"), [Base64OfQuotedPrintable(*span)]
        if part.encoding not in UNENCODED:
            raise SubmissionRefused("5.6.3 a part in an unknown encoding cannot be converted")
        if kind.startswith("message/") and not kind.startswith("message/global"):  # RFC 2045, 6.4; RFC 6532, 3.7
            raise SubmissionRefused("5.6.3 a message part of this type cannot be converted")
        fields = _typed(fields, is_ascii(*span))
        base64 = Base64(*span)
        if kind.startswith(("text/", "message/")):
            quoted = quoted_printable(*span)
            if quoted.size <= base64.size:
                return labelled(fields, "quoted-printable"), [quoted]
        return labelled(fields, "base64"), [base64]


def with_mime_version(fields: Sequence[Field]) -> Sequence[Field]:
    """Return the fields of a message with the one that says that MIME is spoken (RFC 2045, 4)."""
    return fields if named(fields, "mime-version") else [*fields, Field.of("MIME-Version", "1.0")]


def _typed(fields: Sequence[Field], ascii_only: bool) -> Sequence[Field]:
    """Return the fields with what a part without Content-Type is: plain text, in whatever charset (RFC 1428, 3)."""
    if named(fields, "content-type"):
        return fields
    charset = "us-ascii" if ascii_only else "unknown-8bit"
    return [*fields, Field.of("Content-Type", f"text/plain; charset={charset}")]


def labelled(fields: Sequence[Field], encoding: str) -> list[Field]:
    """Return the fields with this Content-Transfer-Encoding, and no other."""
    label = Field.of("Content-Transfer-Encoding", encoding)
    kept = [field for field in fields if field.key != label.key]
    return [*kept, label]


def _relabelled(fields: Sequence[Field]) -> Sequence[Field]:
    """Return the fields of what consists of parts that are 7-bit now; the default needs no label."""
    return labelled(fields, "7bit") if named(fields, "content-transfer-encoding") else fields
