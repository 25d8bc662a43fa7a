"""The pidfile: it names the parent, and its lock keeps a second instance out.

The lock decides, not the number in the file: the kernel gives it back when the parent ends, however that happens, so a
file without a lock is stale. It is flock(2)'s, which belongs to the open file: a forked worker must close the file,
else it would hold the lock for a parent that is gone.
"""

import contextlib
import fcntl
import os
import re
from types import TracebackType

from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record

# What a pidfile may hold; one that holds more is another file, named by mistake.
_CONTENT = re.compile(rb"\s*([0-9]{0,10})\s*")
_LONGEST = 64


class Pidfile:
    """A locked pidfile, from ``__enter__`` to ``__exit__``; then it is gone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def __enter__(self) -> "Pidfile":
        """Take the file and write our number there; raise ConfigError where it cannot be had."""
        try:
            self._fd = self._locked()
            self._check_content()
            os.fchmod(self._fd, 0o644)  # whatever the umask: init scripts of others look at it
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError as failure:
            self.close()
            raise ConfigError(f"pidfile: cannot write {self._path}: {failure.strerror}") from failure
        except ConfigError:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the file, then let go of the lock: who waits for it finds that it is another file's."""
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        self.close()

    def close(self) -> None:
        """Close the file and leave it where it is, as a forked child does."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _locked(self) -> int:
        while True:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if self._is_there(fd):
                    return fd
            except BlockingIOError:
                holder = _pid_in(os.pread(fd, _LONGEST, 0)) or "of unknown number"
                os.close(fd)
                raise ConfigError(
                    f"pidfile: {self._path} is held by process {holder}: imapproxy runs already;"
                    " stop it, or give this one a pidfile of its own"
                ) from None
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _is_there(self, fd: int) -> bool:
        """Tell whether the file that was locked still has its name: its last owner may just have removed it."""
        try:
            return os.path.samestat(os.fstat(fd), os.stat(self._path))
        except FileNotFoundError:
            return False

    def _check_content(self) -> None:
        content = os.pread(self._fd, _LONGEST, 0)
        previous = _pid_in(content)
        if previous is None:
            raise ConfigError(f"pidfile: {self._path} is there and is no pidfile; it is left as it is")
        if previous:
            LOGGER.warning(record("pidfile-stale", pidfile=self._path, pid=previous))


def _pid_in(content: bytes) -> str | None:
    """Return the number in a pidfile, "" where it is empty, or None where it is no pidfile."""
    match = _CONTENT.fullmatch(content)
    return match[1].decode("ascii") if match else None
