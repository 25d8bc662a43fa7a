"""Who is still there: each who wants others to know holds one byte of a file, as a lock.

The kernel lets go of a lock when the process that holds it ends, however that happens, and no number of a process that
ended can be taken for another's. The locks belong to the open file (F_OFD_SETLK in fcntl(2)), not to the process, so
that two who have opened the file in one process are two, and closing another descriptor of the file frees nothing.
"""

import fcntl
import os
import secrets
import struct
import threading

# struct flock { short l_type; short l_whence; off_t l_start; off_t l_len; pid_t l_pid; }, with padding behind it
_LOCK = struct.Struct("hhqqi0q")

# Offsets that a file may have; the byte need not be there to be locked.
_OFFSETS = 1 << 62


class Presence:
    """Marks in a file that is there already; for several threads. Each method may raise OSError, and none waits."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._marks: set[int] = set()
        self._lock = threading.RLock()

    def enter(self) -> int:
        """Return a new mark, which is there until ``leave`` or the end of this process."""
        with self._lock:
            self._open()
            mark = 1 + secrets.randbelow(_OFFSETS - 1)
            self._ask(fcntl.F_OFD_SETLK, fcntl.F_WRLCK, mark)
            self._marks.add(mark)
            return mark

    def leave(self, mark: int) -> None:
        """Give up a mark of ours, if it is not given up yet."""
        with self._lock:
            if mark in self._marks:
                self._marks.discard(mark)
                self._ask(fcntl.F_OFD_SETLK, fcntl.F_UNLCK, mark)

    def is_there(self, mark: int) -> bool:
        """Tell whether whoever has the mark, be it we, is there."""
        with self._lock:
            if mark in self._marks:  # no lock is in its own owner's way
                return True
            self._open()
            return self._ask(fcntl.F_OFD_GETLK, fcntl.F_WRLCK, mark) != fcntl.F_UNLCK

    def close(self) -> None:
        """Give up all marks."""
        with self._lock:
            self._marks.clear()
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1

    def _open(self) -> None:
        """Have the file that has the name now: marks in one that was removed tell nobody anything."""
        if self._fd >= 0 and os.path.samestat(os.fstat(self._fd), os.stat(self._path)):
            return
        opened = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        self.close()
        self._fd = opened

    def _ask(self, command: int, kind: int, mark: int) -> int:
        """Return the kind of the lock that is in the way, of those that F_OFD_GETLK knows."""
        asked = _LOCK.pack(kind, os.SEEK_SET, mark, 1, 0)  # no l_pid, as F_OFD_ commands demand
        found: int = _LOCK.unpack(fcntl.fcntl(self._fd, command, asked))[0]
        return found
