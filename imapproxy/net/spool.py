"""Where text lies while it is needed as a whole: a little in memory, more of it in a file that has no name.

A file is unlinked as soon as it is made: whatever becomes of the process, nothing of a draft stays behind. A disk that
is full raises ``SubmissionRefused``.
"""

import hashlib
import mmap
from collections.abc import Iterable
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from types import TracebackType

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.draft import LineEnds, Octets
from imapproxy.message.inclusion import Span

MEMORY_LIMIT = 1 << 20  # octets of a draft that are held in memory: text is seldom more, attachments are

_NO_ROOM = "4.3.1 no room for the message; try again later"
_TOO_LARGE = "5.3.4 message too large"
_NUL = "5.6.0 NUL in what is referred to"


class Spool:
    """A draft on its way in: written in chunks of any size, its line ends made CRLF, then read as a whole.

    Raises ``ClientError`` for a draft that is no text (``LineEnds``).
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()  # of what came, before its line ends were touched
        self._line_ends = LineEnds()
        self._store = _Store()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, octets: bytes | bytearray | memoryview) -> None:
        """Take the next octets of the draft."""
        self._digest.update(octets)
        self._store_all(self._line_ends.feed(octets))

    def digest(self) -> bytes:
        """Return SHA-256 of the octets as they came."""
        return self._digest.digest()

    def content(self) -> Octets:
        """Return the whole draft, once it is written: octets in memory, or the file mapped for reading."""
        self._store_all(self._line_ends.finish())
        return self._store.content()

    def close(self) -> None:
        """Give memory and file back; a message that still holds a piece of the map keeps the map alive."""
        self._store.close()

    def _store_all(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            self._store.write(piece)


class Keep:
    """Texts one after the other, each on a line of its own; of each only the line ends change, to CRLF.

    ``most`` bounds how many octets all of them take.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._store = _Store()

    def spans(self, texts: Iterable[Iterable[bytes]]) -> list[Span]:
        """Take all the texts there will be, each in chunks of any size, and return where each lies."""
        ranges = [self._added(text) for text in texts]
        content = self._store.content()
        return [Span(content, start, end) for start, end in ranges]

    def close(self) -> None:
        """Give memory and file back; a message that still holds a piece of the map keeps the map alive."""
        self._store.close()

    def _added(self, text: Iterable[bytes]) -> tuple[int, int]:
        self._write([b"\r\n"])  # what begins with a boundary begins a line
        start = self._store.size
        line_ends = LineEnds()
        try:
            for chunk in text:
                self._write(line_ends.feed(chunk))
        except ClientError as failure:  # the client did not write it: it has just named it
            raise SubmissionRefused(_NUL) from failure
        self._write(line_ends.flush())
        return start, self._store.size

    def _write(self, pieces: Iterable[bytes]) -> None:
        for piece in pieces:
            if self._store.size + len(piece) > self._most:
                raise SubmissionRefused(_TOO_LARGE)
            self._store.write(piece)


class _Store:
    """Octets that are written first, and then read."""

    def __init__(self) -> None:
        self.size = 0
        self._file = SpooledTemporaryFile(max_size=MEMORY_LIMIT)  # noqa: SIM115 - close() closes it
        self._content: Octets | None = None

    def write(self, octets: bytes) -> None:
        try:
            self.size += self._file.write(octets)
        except OSError as error:
            raise SubmissionRefused(_NO_ROOM) from error

    def content(self) -> Octets:
        """Return all that was written, once it is; a map has a descriptor of its own, and the file is closed."""
        try:
            self._content = self._read()
        except OSError as error:
            raise SubmissionRefused(_NO_ROOM) from error
        self._file.close()
        return self._content

    def close(self) -> None:
        with suppress(OSError):  # a full disk's last word: what was written goes anyway
            self._file.close()
        if isinstance(self._content, mmap.mmap):
            with suppress(BufferError):
                self._content.close()

    def _read(self) -> Octets:
        if self.size <= MEMORY_LIMIT:
            self._file.seek(0)
            return self._file.read()
        self._file.flush()
        return mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
