"""The part tree of a message, by offsets into its octets (RFC 2045, RFC 2046).

The tree is read only where something must be done to a part; nothing of it is ever written back from its values. It
is bounded in depth and in parts. Each level is searched once for its boundary, by the regular expression engine.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from urllib.parse import unquote_to_bytes

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import Octets, find_spans
from imapproxy.message.fields import Field, Header, named, read_header
from imapproxy.message.tokens import without_comments

# Each level costs a search of all below it, and a Python frame; a forward of a forward … has ten.
MAX_DEPTH = 32
# Each costs an object; a digest of a year's mailing list has a thousand.
MAX_PARTS = 5000

# RFC 2045, 6.2: what stands for itself.
UNENCODED = frozenset({"7bit", "8bit", "binary"})

# type "/" subtype ; token = 1*<any CHAR except SPACE, CTLs, or tspecials>      (RFC 2045, 5.1)
_TYPE = re.compile(r"[ \t]*([!#-'*+.0-9A-Z^-~-]+/[!#-'*+.0-9A-Z^-~-]+)")
# parameter = attribute "=" value ; value = token / quoted-string
PARAMETER = re.compile(r';[ \t]*([^ \t=;"]+)[ \t]*=[ \t]*(?:"([^"\\]*+(?:\\.[^"\\]*+)*+)"|([^ \t;"]*))')
# attribute [ "*" section ] [ "*" ]                             (RFC 2231, 7)
_SECTION = re.compile(r"([^*]+)(?:\*(\d{1,3}))?(\*)?")
_QUOTED_PAIR = re.compile(r"\\(.)")
# encoding := "Content-Transfer-Encoding" ":" mechanism         (RFC 2045, 6.1); mechanism = token
_TOKEN = re.compile(r"[ \t]*([!#-'*+.0-9A-Z^-~-]+)")


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type's value: type and subtype, and the parameters by name, both in lower case."""

    kind: str
    parameters: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Part:
    """A message or a part: where its header (`start`) and its body begin, its end, and the parts within it."""

    fields: Sequence[Field]
    start: int
    body: int
    end: int
    content_type: ContentType
    is_readable: bool  # has a header that says what follows it
    is_whole: bool  # is a message itself, not a part of one
    parts: tuple["Part", ...] = ()
    boundaries: tuple[tuple[int, int], ...] = ()  # of a multipart: where its boundary stands in its body
    is_closed: bool = False  # a multipart whose last boundary says so

    @property
    def is_multipart(self) -> bool:
        """Whether its body is a sequence of parts."""
        return self.content_type.kind.startswith("multipart/")

    @property
    def is_message(self) -> bool:
        """Whether its body is a message."""
        return self.content_type.kind == "message/rfc822"

    @property
    def is_signed(self) -> bool:
        """Whether its octets must stay as they are (RFC 1847)."""
        return self.content_type.kind == "multipart/signed"

    @property
    def encoding(self) -> str:
        """The Content-Transfer-Encoding, in lower case."""
        return transfer_encoding(self.fields)

    def own_parts(self) -> Iterator["Part"]:
        """Yield it and what its multiparts consist of; an attached message is one part."""
        yield self
        if self.is_multipart:
            for part in self.parts:
                yield from part.own_parts()


def read_parts(header: Header, octets: Octets) -> Part:
    """Return the tree of a message whose header was read already."""
    return _Reader(octets).message(header, header.end, len(octets), MAX_DEPTH)


def read_entity(fields: Sequence[Field], octets: Octets, start: int, end: int) -> Part:
    """Return the tree of a part whose fields stand elsewhere; its body begins a line of the octets."""
    return _Reader(octets).entity(Header(tuple(fields), start, start), end)


def read_content_type(text: str, default: str) -> ContentType:
    """Return what a Content-Type field's text says; one that cannot be read says the default (RFC 2045, 5.2)."""
    plain = without_comments(text)
    kind = _TYPE.match(plain)
    if kind is None:
        return ContentType(default, MappingProxyType({}))
    return ContentType(kind[1].lower(), _parameters(plain))


def transfer_encoding(fields: Sequence[Field]) -> str:
    """Return the Content-Transfer-Encoding that the fields state, in lower case; `7bit` where they state none."""
    for field in named(fields, "content-transfer-encoding"):
        mechanism = _TOKEN.match(without_comments(field.text))
        return mechanism[1].lower() if mechanism else ""
    return "7bit"


def _parameters(text: str) -> Mapping[str, str]:
    """Return the parameters, those that are cut into sections (RFC 2231, 3) whole; the first of a name counts."""
    sections: dict[str, dict[int, str]] = {}
    for found in PARAMETER.finditer(text):
        value = found[3] if found[2] is None else _QUOTED_PAIR.sub(r"\1", found[2])
        section = _SECTION.fullmatch(found[1].lower())
        if section is None:
            continue
        extended = _unquoted(value, section[2] in {None, "0"}) if section[3] else value
        sections.setdefault(section[1], {}).setdefault(int(section[2] or 0), extended)
    return MappingProxyType({name: "".join(pieces[key] for key in sorted(pieces)) for name, pieces in sections.items()})


def _unquoted(value: str, first: bool) -> str:
    """Read extended-value = [charset] "'" [language] "'" extended-other-values."""
    encoded = value.split("'", 2)[-1] if first else value
    return unquote_to_bytes(encoded.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


class _Reader:
    """Counts the parts of one tree while it is read."""

    def __init__(self, octets: Octets) -> None:
        self._octets = octets
        self._parts = 0

    def message(self, header: Header, start: int, end: int, depth: int) -> Part:
        return replace(self._part(header, start, end, "text/plain", depth), is_whole=True)

    def entity(self, header: Header, end: int) -> Part:
        return self._part(header, header.end, end, "text/plain", MAX_DEPTH)

    def _part(self, header: Header, start: int, end: int, default: str, depth: int) -> Part:
        self._count(depth)
        stated = named(header.fields, "content-type")
        content_type = read_content_type(stated[0].text if stated else "", default)
        part = Part(header.fields, start, header.body, end, content_type, is_readable=True, is_whole=False)
        if part.is_multipart:
            return self._multipart(part, depth - 1)
        if part.is_message and part.encoding in UNENCODED:
            return replace(part, parts=(self._attached(part, depth - 1),))
        return part

    def _count(self, depth: int) -> None:
        self._parts += 1
        if depth == 0 or self._parts > MAX_PARTS:
            raise SubmissionRefused("5.6.0 too many parts in the message")

    def _multipart(self, part: Part, depth: int) -> Part:
        default = "message/rfc822" if part.content_type.kind == "multipart/digest" else "text/plain"
        boundary = part.content_type.parameters.get("boundary", "").encode("utf-8", "surrogateescape")
        lines = self._delimiters(boundary, part) if boundary else []
        found: list[Part] = []
        for start, end in _ranges(lines, part.end):
            header = self._header(start, end)
            found.append(self._part(header, start, end, default, depth) if header else _unreadable(start, end))
        return replace(
            part,
            parts=tuple(found),
            boundaries=tuple((start + 3, start + 3 + len(boundary)) for start, _, _ in lines),
            is_closed=any(closing for _, _, closing in lines),
        )

    def _attached(self, part: Part, depth: int) -> Part:
        header = self._header(part.body, part.end)
        return self.message(header, part.body, part.end, depth) if header else _unreadable(part.body, part.end)

    def _header(self, start: int, end: int) -> Header | None:
        try:
            return read_header(self._octets, start, end)
        except SubmissionRefused:
            return None

    def _delimiters(self, boundary: bytes, part: Part) -> list[tuple[int, int, bool]]:
        """Return start, end, and whether it is the last, of each delimiter line.

        delimiter         := CRLF "--" boundary
        close-delimiter   := delimiter "--"
        transport-padding := *LWSP-char
        """
        delimiter = re.compile(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r\n|\Z)")
        lines = find_spans(delimiter, self._octets, max(part.body - 1, 0), part.end, MAX_PARTS + 1)
        last = next((index for index, (_, _, closing) in enumerate(lines, 1) if closing), len(lines))
        return lines[:last]


def _ranges(lines: Sequence[tuple[int, int, bool]], end: int) -> Iterator[tuple[int, int]]:
    """Yield where the parts between delimiter lines stand; the CRLF before a boundary is the boundary's."""
    for (_, line_end, closing), (following, _, _) in pairwise([*lines, (end + 1, end, True)]):
        if closing:
            return
        start = min(line_end + 2, end)
        yield start, max(following - 1, start)


def _unreadable(start: int, end: int) -> Part:
    return Part((), start, start, end, ContentType("", MappingProxyType({})), is_readable=False, is_whole=False)
