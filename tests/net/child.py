"""A process that does something, says so, and waits to be killed: what dies in the middle of its work."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

from tests.net.peers import PATIENCE

Say = Callable[[str], None]


class Child:
    """The process, as its parent sees it."""

    def __init__(self, pid: int, channel: "Connection[str, str]") -> None:
        self._pid = pid
        self._channel = channel
        self._is_there = True

    def said(self) -> str:
        """Return what it says next."""
        assert self._channel.poll(PATIENCE), "it says nothing"
        return self._channel.recv()

    def kill(self) -> None:
        """End it by SIGKILL, and return when it has ended."""
        if self._is_there:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._is_there = False


@contextmanager
def child(work: Callable[[Say], object]) -> Iterator[Child]:
    """Have ``work`` done in a child, which then waits; it is killed in the end, if not before."""
    ours, theirs = get_context("fork").Pipe()
    pid = os.fork()
    if not pid:
        _work(work, theirs)
    theirs.close()
    with ours:
        running = Child(pid, ours)
        try:
            yield running
        finally:
            running.kill()


def _work(work: Callable[[Say], object], channel: "Connection[str, str]") -> None:
    try:
        kept = work(channel.send)  # kept from being closed
        signal.pause()
        del kept
    finally:
        os._exit(1)
