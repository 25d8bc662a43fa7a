"""Children that the parent has no more use for. It kills them, or they end by themselves, and it waits for none.

Also a way to close what a worker may have tampered with. Closing the last descriptor of a TCP socket can take as long
as its SO_LINGER says (socket(7)), and a worker can bring that about: it sends such a descriptor along with a connection
to the control socket, or makes a connection of a listening socket that it shares with the parent. A process that ends
never waits so, whatever is closed with it. So a child does it.
"""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterable

from imapproxy.net.workers import fork

# How long a killed child may take to be gone before the parent goes on, in seconds. It takes a moment, unless the
# kernel waits for a disk or a file system that does not answer.
KILL_PATIENCE = 1.0
# How often it is looked whether a child has ended, in seconds: few ends are waited for.
LOOK_INTERVAL = 0.005


def has_ended(pid: int) -> int | None:
    """Return the exit status of a child (as waitpid(2) has it) if it has ended, and reap it; else None."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    return status if ended else None


def await_end(pid: int, seconds: float) -> bool:
    """Wait for a child's end; return True if it has ended within so many seconds, and is reaped."""
    deadline = time.monotonic() + seconds
    while has_ended(pid) is None:
        if time.monotonic() >= deadline:
            return False
        time.sleep(LOOK_INTERVAL)
    return True


class EndingChildren:
    """The children that have not ended, and are to."""

    def __init__(self) -> None:
        self._pids: set[int] = set()
        self._unclosed: list[socket.socket] = []

    def kill(self, pid: int, seconds: float = KILL_PATIENCE) -> None:
        """End a child; one that the kernel does not let go of in so many seconds is reaped later."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        if not await_end(pid, seconds):
            self._pids.add(pid)

    def reap(self) -> bool:
        """See which of them have ended, after SIGCHLD; return True if all have."""
        self._pids = {pid for pid in self._pids if has_ended(pid) is None}
        return not self._pids

    def close(self, streams: Iterable[socket.socket]) -> None:
        """Close sockets, whatever a worker did to them: a child has them a moment longer than the parent."""
        self._unclosed += (stream for stream in streams if stream.fileno() >= 0)
        if not self._unclosed:
            return
        try:
            reader, writer = os.pipe()
        except OSError:  # no descriptor left: they stay open until the next time
            return

        def hold() -> int:
            os.close(writer)
            os.read(reader, 1)  # the end of the file: the parent has closed them
            return 0

        try:
            self._pids.add(fork(hold))
            while self._unclosed:
                self._unclosed.pop().close()
        except OSError:  # no process to be had
            return
        finally:
            os.close(writer)
            os.close(reader)
