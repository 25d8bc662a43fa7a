"""A message as an ordered list of segments: sizes known beforehand, content streamed in bounded pieces.

A segment's octets may be told again and again: `size` is known before MAIL FROM, `chunks` come after DATA.
"""

import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from imapproxy.message.draft import Octets, block_at, blocks


class Segment(Protocol):
    """A stretch of the message as it is sent."""

    @property
    def size(self) -> int:
        """The number of octets that `chunks` yields."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets, in pieces of about `BLOCK`."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Octets of a draft, or of a header of ours, as they are."""

    octets: Octets
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of octets."""
        return self.end - self.start

    def chunks(self) -> Iterator[bytes]:
        """Yield the octets."""
        return blocks(self.octets, self.start, self.end)


def whole(octets: bytes) -> Slice:
    """Return all of the octets as one segment."""
    return Slice(octets, 0, len(octets))


@dataclass(frozen=True, slots=True)
class Rendering:
    """A message as it is sent to a server that offers what it was rendered for."""

    segments: Sequence[Segment]
    size: int
    smtputf8: bool

    def chunks(self) -> Iterator[bytes]:
        """Yield the message in CRLF lines, not dot-stuffed."""
        for segment in self.segments:
            yield from filter(None, segment.chunks())


def rendering_of(segments: Sequence[Segment], smtputf8: bool) -> Rendering:
    """Return the segments in a row, their sizes added up."""
    return Rendering(segments, sum(segment.size for segment in segments), smtputf8)


# RFC 2045, 6.7 and 6.8: an encoded line has at most 76 characters.
_LINE = 76
# Octets that make a line of base64.
_TRIPLETS = _LINE // 4 * 3
# What base64 decoders skip (RFC 2045, 6.8).
_NO_BASE64 = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="))
# A line that binascii makes too long: it counts a space at the end as one octet and writes three.
_OVERLONG = re.compile(rb"=(?:20|09)(?=\r\n|\Z)(?<=[^\r\n]{77})")


@dataclass(frozen=True, slots=True)
class Base64:
    """Octets in base64 (RFC 2045, 6.8), the last line ended too."""

    octets: Octets
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of octets, line ends included."""
        return _size_in_lines((self.end - self.start + 2) // 3 * 4)

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines."""
        return _in_base64(blocks(self.octets, self.start, self.end))


@dataclass(frozen=True, slots=True)
class Base64OfQuotedPrintable:
    """What lines in quoted-printable say, in base64: not every octet of theirs can be quoted once more."""

    octets: Octets
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of octets, line ends included; it costs a pass over them."""
        return sum(map(len, self.chunks()))

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines."""
        return _in_base64(self._decoded())

    def _decoded(self) -> Iterator[bytes]:
        held = b""
        for block, _ in _line_blocks(self.octets, self.start, self.end):
            cut = block.rfind(b"=", len(block) - 2)  # what a quoted octet may begin at a block's end
            quoted, held = (held + block, b"") if cut < 0 else (held + block[:cut], block[cut:])
            yield binascii.a2b_qp(quoted)
        yield binascii.a2b_qp(held)


@dataclass(frozen=True, slots=True)
class WrappedBase64:
    """What is base64 already, in lines of the proper length."""

    octets: Octets
    start: int
    end: int

    @property
    def size(self) -> int:
        """The number of octets, line ends included; it costs a pass over them."""
        return _size_in_lines(sum(len(block.translate(None, _NO_BASE64)) for block in self._blocks()))

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines."""
        held = b""
        for block in self._blocks():
            held += block.translate(None, _NO_BASE64)
            whole_lines = len(held) // _LINE * _LINE
            yield _in_lines(held[:whole_lines])
            held = held[whole_lines:]
        yield _in_lines(held)

    def _blocks(self) -> Iterator[bytes]:
        return blocks(self.octets, self.start, self.end)


@dataclass(frozen=True, slots=True)
class QuotedPrintable:
    """Octets in CRLF lines, in quoted-printable (RFC 2045, 6.7); make one with `quoted_printable`."""

    octets: Octets
    start: int
    end: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        """Yield whole lines as they were; a line over `BLOCK` octets in pieces."""
        for block, is_ended in _line_blocks(self.octets, self.start, self.end):
            yield _quoted_lines(block) if is_ended else _quoted_piece(block)


def _line_blocks(octets: Octets, start: int, end: int) -> Iterator[tuple[bytes, bool]]:
    """Yield blocks of whole lines, and True; of a line that is longer than a block, pieces, and False."""
    position = start
    while position < end:
        block = block_at(octets, position, end)
        is_last = position + len(block) == end
        lines = block if is_last else block[: block.rfind(b"\n") + 1]
        piece = lines or block.removesuffix(b"\r")
        yield piece, bool(lines)
        position += len(piece)


def quoted_printable(octets: Octets, start: int, end: int) -> QuotedPrintable:
    """Return the octets in quoted-printable; to know the size costs a pass over them."""
    unmeasured = QuotedPrintable(octets, start, end, 0)
    return replace(unmeasured, size=sum(map(len, unmeasured.chunks())))


def _quoted_lines(block: bytes) -> bytes:
    quoted = binascii.b2a_qp(block, quotetabs=False, istext=True, header=False)
    if b"\n" not in block:  # where binascii sees no CRLF, it breaks lines with LF
        quoted = quoted.replace(b"\n", b"\r\n")
    return _OVERLONG.sub(rb"=\r\n\g<0>", quoted)


def _quoted_piece(block: bytes) -> bytes:
    """Quote a piece of a line that goes on: a letter after it shows binascii that this is not the line's end."""
    quoted = _quoted_lines(block + b"x")[:-1]
    return quoted if quoted.endswith(b"=\r\n") else quoted + b"=\r\n"


def _in_base64(pieces: Iterable[bytes]) -> Iterator[bytes]:
    held = b""
    for piece in pieces:
        held += piece
        whole_lines = len(held) // _TRIPLETS * _TRIPLETS
        yield _in_lines(binascii.b2a_base64(held[:whole_lines], newline=False))
        held = held[whole_lines:]
    yield _in_lines(binascii.b2a_base64(held, newline=False))


def _in_lines(octets: bytes) -> bytes:
    return b"".join([octets[position : position + _LINE] + b"\r\n" for position in range(0, len(octets), _LINE)])


def _size_in_lines(octets: int) -> int:
    return octets + (octets + _LINE - 1) // _LINE * 2
