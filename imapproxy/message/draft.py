r"""A draft's octets: line ends made CRLF as they come in, and searches that hold on to nothing.

What is checked must be what is sent. CRLF, a lone CR and a lone LF each are one line end for us, and are made CRLF
before anything is read (RFC 5321, 2.3.8), so that no reader behind us can see a line where we saw none (SMTP
smuggling, CVE-2023-51764; a From hidden behind a bare CR). Several CRs before an LF are one line end with it, as CRLF
becomes CR CR LF where a program ends lines that are ended already; CRs before anything else are a line end each.

A draft may be a mapped file of 50 MB: no function here copies it, loops in Python over its octets or lines, or leaves
more than some windows of it in memory. A `re.Match` holds its subject, and a mapping that is held cannot be closed:
matches never leave this module.
"""

import mmap
import re
from collections.abc import Iterator
from itertools import islice

from imapproxy.errors import ClientError

# A normalised draft: in memory, or a mapped temporary file.
Octets = bytes | mmap.mmap

# Pieces in which a draft is searched and sent.
BLOCK = 64 * 1024

# The regular expression engine lets no other thread run before it returns: this much is searched at a time. Of a
# mapped file some such windows stay in memory; each begins at a page.
_WINDOW = 1024 * 1024

# RFC 5321, 4.5.3.1.6: a line has at most 1000 octets, CRLF included.
MAX_LINE = 998


class LineEnds:
    """Make every line end of a stream CRLF, whatever the chunk borders.

    Each call returns pieces of bounded size: a run of CRs that turn out to be lone ones becomes twice as long.
    """

    def __init__(self) -> None:
        self._held_crs = 0
        self._inside_line = False

    def feed(self, octets: bytes | bytearray | memoryview) -> list[bytes]:
        """Return what can be said already; CRs at the end of a chunk wait for what follows."""
        chunk = bytes(octets)
        if b"\0" in chunk:
            raise ClientError("NUL in the message")
        return self._taken(chunk)

    def flush(self) -> list[bytes]:
        """Return what was held; an unfinished last line stays one."""
        held = _line_ends(self._held_crs)
        if held:
            self._held_crs, self._inside_line = 0, False
        return held

    def finish(self) -> list[bytes]:
        """Return what was held; an unfinished last line ends here."""
        if self._inside_line and not self._held_crs:
            self._held_crs = 1
        return self.flush()

    def _taken(self, chunk: bytes) -> list[bytes]:
        return [piece for at in range(0, len(chunk), BLOCK) for piece in self._ended(chunk[at : at + BLOCK])]

    def _ended(self, block: bytes) -> list[bytes]:
        text = block.rstrip(b"\r")
        if not text:
            self._held_crs += len(block)
            return []
        before = self._before(text) if self._held_crs else []
        self._held_crs = len(block) - len(text)
        self._inside_line = not text.endswith(b"\n")
        return [*before, _normalised(text)]

    def _before(self, text: bytes) -> list[bytes]:
        """Return what the held CRs are: part of the line end that they have before LF, else a line end each."""
        return [] if text.lstrip(b"\r").startswith(b"\n") else _line_ends(self._held_crs)


def with_crlf(octets: bytes) -> bytes:
    """Return the octets with every line end made CRLF; an unfinished last line stays one, and NUL passes."""
    line_ends = LineEnds()
    return b"".join([*line_ends._taken(octets), *line_ends.flush()])


_LINE_ENDS = b"\r\n" * (BLOCK // 2)


def _line_ends(count: int) -> list[bytes]:
    """Return so many line ends in pieces, the long ones of which are one object."""
    blocks_full, rest = divmod(count, len(_LINE_ENDS) // 2)
    return [_LINE_ENDS] * blocks_full + [b"\r\n" * rest] * bool(rest)


def _normalised(text: bytes) -> bytes:
    """Return text that does not end in CR with every line end made CRLF, in linear time."""
    if text.count(b"\r\n") == text.count(b"\r") == text.count(b"\n"):
        return text
    if b"\r\r\n" in text:
        text = b"\n".join([line.rstrip(b"\r") for line in text.split(b"\n")])
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


def blocks(octets: Octets, start: int, end: int) -> Iterator[bytes]:
    """Yield the octets from ``start`` to ``end`` in pieces of bounded size."""
    for position in range(start, end, BLOCK):
        yield block_at(octets, position, end)


def block_at(octets: Octets, start: int, end: int) -> bytes:
    """Return the octets from ``start`` on, a block of them or up to ``end``."""
    behind = min(start + BLOCK, end)
    block = octets[start:behind]
    _let_go(octets, start, behind)
    return block


def _let_go(octets: Octets, start: int, end: int) -> None:
    """Drop from memory what of a mapped file was passed, once a window is; it is there to be read again."""
    window = end // _WINDOW * _WINDOW
    if start < window and isinstance(octets, mmap.mmap):
        first = max(start // _WINDOW * _WINDOW - _WINDOW, 0)
        octets.madvise(mmap.MADV_DONTNEED, first, window - first)


def is_ascii(octets: Octets, start: int, end: int) -> bool:
    """Tell whether no octet has its highest bit set."""
    return all(block.isascii() for block in blocks(octets, start, end))


def has_long_line(octets: Octets, start: int, end: int) -> bool:
    """Tell whether a line is longer than SMTP carries, going to the last line end in reach, not to the next."""
    position = start
    while end - position > MAX_LINE:
        line_end = octets.rfind(b"\n", position, min(position + MAX_LINE + 2, end))
        if line_end < 0:
            return True
        _let_go(octets, position, line_end)
        position = line_end + 1
    return False


def contains(octets: Octets, word: bytes) -> bool:
    """Tell whether the (lower-case) word occurs, in either case."""
    held = b""
    for block in blocks(octets, 0, len(octets)):
        searched = held + block.lower()
        if word in searched:
            return True
        held = searched[-(len(word) - 1) :]
    return False


def find_spans(
    pattern: re.Pattern[bytes], octets: Octets, start: int, end: int, most: int
) -> list[tuple[int, int, bool]]:
    """Return start, end, and whether its group 1 took part, of the first ``most`` matches within one line."""
    return [
        (found.start(), found.end(), found[1] is not None)
        for found in islice(_found(pattern, octets, start, end), most)
    ]


def _found(pattern: re.Pattern[bytes], octets: Octets, start: int, end: int) -> Iterator[re.Match[bytes]]:
    """Yield the matches, window after window; one that begins in a window may end behind it."""
    for window in range(start, end, _WINDOW):
        behind = min(window + _WINDOW, end)
        for found in pattern.finditer(octets, window, min(behind + BLOCK, end)):
            if found.start() >= behind:
                break
            yield found
        _let_go(octets, window, behind)
