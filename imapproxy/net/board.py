"""Memory that the parent and its workers share, so that what every login needs costs no question.

How many clients each worker has, which it alone writes; and what the parent has to say to all: the limits, and which
addresses have failed to log in. Each number is written by one process only, so there is nothing to lock.

A worker that has been taken over can write anything anywhere in this memory. So the parent only writes here and never
reads, and a worker reads nothing that it uses for more than to count: it can turn clients away that there is room for,
or let in as many as it has threads for. Whenever a worker ends, the parent writes all that is its own once more, and
has the other workers do so: what was wrong is right again.
"""

import mmap
import zlib
from array import array

# Workers that there can be at once, those included that retire.
MAX_WORKERS = 4096

# The board's cells: the limits, how many of the workers' cells are in use, how many addresses have failed that have the
# same checksum, and then those of the workers.
_CLIENTS, _CLIENTS_PER_ADDRESS, _SUBMISSIONS_PER_HOUR, _IN_USE, _FAILING = range(5)
_CHECKSUMS = 4096
_FIRST = _FAILING + _CHECKSUMS


def _failing_cell(address: str) -> int:
    return _FAILING + zlib.crc32(address.encode("utf-8", "surrogateescape")) % _CHECKSUMS


class Board:
    """Numbers in memory that a forked worker shares with its parent; each is written by one process only."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 8 * (_FIRST + MAX_WORKERS))).cast("q")
        self._own = array("q", bytes(8 * _FIRST))  # what is the parent's, as it is to be
        self._free: list[int] = []

    def announce(self, clients: int, clients_per_address: int, submissions_per_hour: int) -> None:
        """Let all workers know the limits."""
        self._write(_CLIENTS, clients)
        self._write(_CLIENTS_PER_ADDRESS, clients_per_address)
        self._write(_SUBMISSIONS_PER_HOUR, submissions_per_hour)

    def note_failing(self, address: str, change: int) -> None:
        """Count addresses that have failures, so that workers can see whether a success is of any interest."""
        cell = _failing_cell(address)
        self._write(cell, self._own[cell] + change)

    def has_seats(self, workers: int) -> bool:
        """Tell whether there is a place for so many new workers."""
        return self._own[_IN_USE] - len(self._free) + workers <= MAX_WORKERS

    def seat(self) -> "Seat":
        """Return a place for a new worker's count; the parent takes it back with ``vacate``."""
        if self._free:
            cell = self._free.pop()
        else:
            cell = _FIRST + self._own[_IN_USE]
            self._write(_IN_USE, self._own[_IN_USE] + 1)
        self._cells[cell] = 0
        return Seat(self._cells, cell)

    def vacate(self, seat: "Seat") -> None:
        """Forget what a worker that is gone has counted."""
        self._free.append(seat.cell)
        self._cells[:_FIRST] = memoryview(self._own)
        for cell in self._free:
            self._cells[cell] = 0

    def _write(self, cell: int, number: int) -> None:
        self._own[cell] = self._cells[cell] = number


class Seat:
    """The board as one worker sees it."""

    def __init__(self, cells: "memoryview[int]", cell: int) -> None:
        self.cell = cell
        self._cells = cells
        self._count = 0

    def has_room(self) -> bool:
        """Tell whether one more client may be had. Two workers that ask at once may both take the last place."""
        cells = self._cells
        return sum(cells[_FIRST : _FIRST + cells[_IN_USE]]) < cells[_CLIENTS]

    def add(self, clients: int) -> None:
        """Count clients of this worker in, or out."""
        self._count += clients
        self._cells[self.cell] = self._count

    @property
    def counts_addresses(self) -> bool:
        """Whether the parent wants to know who has how many clients."""
        return self._cells[_CLIENTS_PER_ADDRESS] > 0

    @property
    def counts_submissions(self) -> bool:
        """Whether the parent wants to know who submits how often."""
        return self._cells[_SUBMISSIONS_PER_HOUR] > 0

    def may_have_failures(self, address: str) -> bool:
        """Tell whether there may be something to forgive to an address."""
        return self._cells[_failing_cell(address)] > 0
