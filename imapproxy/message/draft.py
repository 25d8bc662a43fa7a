r"""A draft's octets: line ends made CRLF as they come in, and searches that hold on to nothing.

What is checked must be what is sent. CRLF, a lone CR and a lone LF each are one line end for us, and are made CRLF
before anything is read (RFC 5321, 2.3.8), so that no reader behind us can see a line where we saw none (SMTP
smuggling, CVE-2023-51764; a From hidden behind a bare CR).

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
    """Make every line end of a stream CRLF, whatever the chunk borders."""

    def __init__(self) -> None:
        self._held_cr = False
        self._inside_line = False

    def feed(self, octets: bytes | bytearray | memoryview) -> bytes:
        """Return what can be said already; a CR at the end of a chunk waits for what follows."""
        chunk = b"\r" + bytes(octets) if self._held_cr and octets else bytes(octets)
        if not chunk:
            return b""
        if b"\0" in chunk:
            raise ClientError("NUL in the message")
        self._held_cr = chunk.endswith(b"\r")
        if self._held_cr:
            chunk = chunk[:-1]
        self._inside_line = bool(chunk) and not chunk.endswith(b"\n")
        return _with_crlf(chunk)

    def flush(self) -> bytes:
        """Return what was held; an unfinished last line stays one."""
        if not self._held_cr:
            return b""
        self._held_cr = self._inside_line = False
        return b"\r\n"

    def finish(self) -> bytes:
        """Return what was held; an unfinished last line ends here."""
        if not (self._held_cr or self._inside_line):
            return b""
        self._held_cr = self._inside_line = False
        return b"\r\n"


def _with_crlf(chunk: bytes) -> bytes:
    if chunk.count(b"\r\n") == chunk.count(b"\r") == chunk.count(b"\n"):
        return chunk
    return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")


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
