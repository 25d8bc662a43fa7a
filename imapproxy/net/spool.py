"""Where a draft lies while it comes in: a small one in memory, a larger one in a file that has no name."""

import mmap
from contextlib import suppress
from tempfile import SpooledTemporaryFile
from types import TracebackType

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import LineEnds, Octets

MEMORY_LIMIT = 1 << 20  # octets of a draft that are held in memory: text is seldom more, attachments are

_NO_ROOM = "4.3.1 no room for the message; try again later"


class Spool:
    """A draft on its way in: written in chunks of any size, its line ends made CRLF, then read as a whole.

    The file of a draft over ``MEMORY_LIMIT`` is unlinked as soon as it is made: whatever becomes of the process,
    nothing of the draft stays behind. Raises ``ClientError`` for a draft that is no text (``LineEnds``) and
    ``SubmissionRefused`` when the disk is full.
    """

    def __init__(self) -> None:
        self.received = 0  # octets as they came, before their line ends were touched
        self._line_ends = LineEnds()
        self._file = SpooledTemporaryFile(max_size=MEMORY_LIMIT)  # noqa: SIM115 - close() closes it
        self._map: mmap.mmap | None = None

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write(self, octets: bytes | bytearray | memoryview) -> None:
        """Take the next octets of the draft."""
        self.received += len(octets)
        self._store(self._line_ends.feed(octets))

    def content(self) -> Octets:
        """Return the whole draft, once it is written: octets in memory, or the file mapped for reading."""
        self._store(self._line_ends.finish())
        try:
            return self._read()
        except OSError as error:
            raise SubmissionRefused(_NO_ROOM) from error

    def close(self) -> None:
        """Give memory and file back; a message that still holds a piece of the map keeps the map alive."""
        with suppress(OSError):  # a full disk's last word: what was written goes anyway
            self._file.close()
        if self._map is not None:
            with suppress(BufferError):
                self._map.close()

    def _store(self, octets: bytes) -> None:
        try:
            self._file.write(octets)
        except OSError as error:
            raise SubmissionRefused(_NO_ROOM) from error

    def _read(self) -> Octets:
        if self._file.tell() <= MEMORY_LIMIT:
            self._file.seek(0)
            return self._file.read()
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._map
