"""A message put together from its header, the draft's own parts, and what stands for the references among them.

Only references and the multiparts around them are changed here; all other parts are the converter's, which leaves them
as they are where it can. A multipart around something included gets a fresh random boundary: whoever wrote what is
included wrote it before that boundary was made, and cannot end the part that holds it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import Address
from imapproxy.message.draft import Octets, is_ascii
from imapproxy.message.encoding import Converter, labelled, with_mime_version, written
from imapproxy.message.fields import Field, Header, named, read_header
from imapproxy.message.inclusion import (
    EndingInLine,
    Inclusion,
    Keep,
    Named,
    Span,
    Streamed,
    inclusion_of,
    is_content_field,
    wrapped_inclusion_of,
)
from imapproxy.message.mime import PARAMETER, UNENCODED, Part, read_entity, transfer_encoding
from imapproxy.message.reference import Outline, Referring
from imapproxy.message.segments import Rendering, Segment, Slice, rendering_of, whole
from imapproxy.message.site import Extensions
from imapproxy.message.tokens import without_comments
from imapproxy.message.words import Repertoire


@dataclass(frozen=True, slots=True)
class Composition:
    """A draft's own parts, and what is included in place of some of them, by where they begin."""

    tree: Part
    inclusions: Mapping[int, Inclusion]
    unique: str  # a word that nobody knew when what is included was written

    @property
    def is_streamable(self) -> bool:
        """Whether the size of all that is included is known before it is read."""
        return all(isinstance(found.content, Span) or found.content.size is not None for found in self._included)

    @property
    def _included(self) -> Sequence[Inclusion]:
        return tuple(self.inclusions.values())

    def kept(self, keep: Keep) -> "Composition":
        """Return it with all that is included kept; what is kept already is not read again."""
        contents = [found.content for found in self._included if not isinstance(found.content, Span)]
        if not contents:
            return self
        spans = iter(keep(contents))
        inclusions = {
            start: found if isinstance(found.content, Span) else replace(found, content=next(spans))
            for start, found in self.inclusions.items()
        }
        return replace(self, inclusions=inclusions)

    def holds(self, part: Part) -> bool:
        """Tell whether something is included in place of the part, or within it."""
        return any(part.start <= start < part.end for start in self.inclusions)

    def boundary(self, part: Part) -> str:
        """Return the fresh boundary of a multipart; all of them have one length, so that none begins another."""
        return f"{self.unique}-{part.start:012x}"


def composition_of(outline: Outline, draft: Octets, found: Sequence[Named], unique: str) -> Composition:
    """Return a draft with what its references name, in their order."""
    return Composition(
        outline.tree,
        {
            referring.part.start: _inclusion(referring, draft, what)
            for referring, what in zip(outline.referring, found, strict=True)
        },
        unique,
    )


def _inclusion(referring: Referring, draft: Octets, found: Named) -> Inclusion:
    phantom = _phantom_fields(referring.part, draft)
    if referring.reference.header_section is None:
        return wrapped_inclusion_of(found.content, phantom)
    return inclusion_of(found, phantom)


def _phantom_fields(part: Part, draft: Octets) -> Sequence[Field]:
    """Return the header that a reference has for body (RFC 2046, 5.2.3)."""
    return read_header(draft, part.body, part.end).fields if part.encoding in UNENCODED else ()


def render(
    header: Header, draft: Octets, composition: Composition | None, envelope: Sequence[Address], extensions: Extensions
) -> Rendering:
    """Return a message as a server with these extensions can take it; the envelope's first address is the sender's."""
    _check_envelope(envelope, extensions)
    converter = Converter(draft, extensions.eight_bit_mime)
    fields, segments = (
        converter.message(header) if composition is None else _Composer(composition, converter).message(header)
    )
    repertoire: Repertoire = "utf-8" if extensions.internationalized else "us-ascii"
    head = written(fields, repertoire)
    smtputf8 = not head.isascii() or any(address.needs_smtputf8 for address in envelope)
    return rendering_of([whole(head), *segments], smtputf8)


def _check_envelope(envelope: Sequence[Address], extensions: Extensions) -> None:
    if extensions.internationalized:
        return
    sender, *recipients = envelope
    if sender.needs_smtputf8:
        raise SubmissionRefused("5.6.7 your address needs a mail server with SMTPUTF8")
    refused = [recipient.printable for recipient in recipients if recipient.needs_smtputf8]
    if refused:
        raise SubmissionRefused("", refused)


@dataclass(frozen=True, slots=True)
class _Composer:
    """Goes down a draft's own parts, as far as something is included."""

    composition: Composition
    converter: Converter

    def message(self, header: Header) -> tuple[Sequence[Field], list[Segment]]:
        """Return a message's fields and what follows them."""
        tree = replace(self.composition.tree, fields=with_mime_version(header.fields))
        fields, body = self._content(tree, "text/plain")
        return fields, [whole(b"\r\n"), *body]

    def _part(self, part: Part, default_kind: str) -> list[Segment]:
        if not self.composition.holds(part):
            return self.converter.part(part)
        return self.converter.headed(*self._content(part, default_kind))

    def _content(self, part: Part, default_kind: str) -> tuple[Sequence[Field], list[Segment]]:
        """Return the fields and the body of a reference, or of a multipart around one."""
        inclusion = self.composition.inclusions.get(part.start)
        if inclusion is None:
            return self._enclosing(part)
        if part.is_whole:
            return self._whole(part, inclusion)
        return self._included(inclusion, default_kind)

    def _enclosing(self, part: Part) -> tuple[Sequence[Field], list[Segment]]:
        if not part.is_closed:
            raise SubmissionRefused("5.6.0 a multipart that refers to something has no end")
        boundary = self.composition.boundary(part)
        fields = _with_boundary(part.fields, boundary)
        return self._relabelled(fields), list(self._parts(part, boundary.encode("ascii")))

    def _relabelled(self, fields: Sequence[Field]) -> Sequence[Field]:
        """Let no multipart say that all within it is 7-bit, which the client could not know (RFC 2045, 6.4)."""
        if not self.converter.eight_bit:
            return self.converter.container_fields(fields)
        says_7bit = named(fields, "content-transfer-encoding") and transfer_encoding(fields) == "7bit"
        return labelled(fields, "8bit") if says_7bit else fields

    def _parts(self, part: Part, boundary: bytes) -> Iterator[Segment]:
        """Yield the parts, and what stands between them, with the fresh boundary for the draft's."""
        default_kind = "message/rfc822" if part.content_type.kind == "multipart/digest" else "text/plain"
        *opening, (closing_start, closing_end) = part.boundaries
        position = part.body
        for inner, (old_start, old_end) in zip(part.parts, opening, strict=True):
            yield self.converter.between(position, old_start)
            yield whole(boundary)
            yield self.converter.between(old_end, inner.start)
            yield from self._part(inner, default_kind)
            position = inner.end
        yield self.converter.between(position, closing_start)
        yield whole(boundary)
        yield self.converter.between(closing_end, part.end)

    def _whole(self, part: Part, inclusion: Inclusion) -> tuple[Sequence[Field], list[Segment]]:
        """Return a message that consists of what is included; none of its own fields describes the body."""
        kept = [field for field in part.fields if not is_content_field(field)]
        fields, segments = self._included(inclusion, "text/plain")
        if isinstance(inclusion.content, Span):
            return [*kept, *fields], [*segments, *_line_end(inclusion.content)]
        return [*kept, *fields], [EndingInLine(inclusion.content)]

    def _included(self, inclusion: Inclusion, default_kind: str) -> tuple[Sequence[Field], list[Segment]]:
        fields = inclusion.fields_where(default_kind)
        if not isinstance(inclusion.content, Span):
            return self._labelled(fields, inclusion), [Streamed(inclusion.content)]
        octets, start, end = inclusion.content.octets, inclusion.content.start, inclusion.content.end
        if not is_ascii(octets, start, end):
            fields = self._labelled(fields, inclusion)
        converter = replace(self.converter, octets=octets)
        if converter.is_fit(start, end):
            return fields, [Slice(octets, start, end)]
        return converter.content(read_entity(fields, octets, start, end))

    def _labelled(self, fields: Sequence[Field], inclusion: Inclusion) -> Sequence[Field]:
        """Say that a message may hold 8-bit text, in the header around it that is ours (RFC 2046, 5.2.1)."""
        return labelled(fields, "8bit") if inclusion.is_wrapped and self.converter.eight_bit else fields


def _line_end(span: Span) -> list[Segment]:
    """Return what a message lacks whose last line has no end."""
    last = span.octets[max(span.end - 2, span.start) : span.end]
    return [whole(b"\r\n")] if last not in {b"", b"\r\n"} else []


def _with_boundary(fields: Sequence[Field], boundary: str) -> list[Field]:
    """Return a multipart's fields with another boundary, the other parameters as they were."""
    if len(named(fields, "content-type")) > 1:
        raise SubmissionRefused("5.6.0 more than one Content-Type")
    return [_bounded(field, boundary) if field.key == "content-type" else field for field in fields]


def _bounded(field: Field, boundary: str) -> Field:
    text = PARAMETER.sub(
        lambda found: "" if found[1].partition("*")[0].lower() == "boundary" else found[0], without_comments(field.text)
    )
    kept = text.rstrip("; \t")
    return Field.of(field.name, f'{kept};\r\n\tboundary="{boundary}"')
