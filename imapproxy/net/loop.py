"""The parent's one loop: what waits to be read or written, and what is to be done at a time. It never blocks longer."""

import heapq
import select
import time
from collections.abc import Callable
from itertools import count
from typing import NamedTuple, Protocol

Callback = Callable[[], None]


class Watched(Protocol):
    """A socket or a channel."""

    def fileno(self) -> int:
        """Return its descriptor, -1 once it is closed."""

    def close(self) -> None:
        """Close it; once more is no harm."""


class Timer(NamedTuple):
    """Something to do at a time of ``time.monotonic``; ``number`` orders those for the same moment."""

    due: float
    number: int
    callback: Callback


class Loop:
    """Calls back; one callback after another, so that none may wait for anything."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._callbacks: dict[int, Callback] = {}
        self._timers: list[Timer] = []
        self._order = count()

    def when_readable(self, fd: int, callback: Callback) -> None:
        """Call back whenever something is there to read, the end of the stream included."""
        self._callbacks[fd] = callback
        self._poll.register(fd, select.POLLIN)

    def when_writable(self, fd: int, callback: Callback) -> None:
        """Call back whenever something can be written."""
        self._callbacks[fd] = callback
        self._poll.register(fd, select.POLLOUT)

    def forget(self, stream: "Watched") -> None:
        """Close a stream, and call back no more about it."""
        self.unwatch(stream)
        stream.close()

    def unwatch(self, stream: "Watched") -> None:
        """Call back no more about a stream, which stays open."""
        if self._callbacks.pop(stream.fileno(), None) is not None:
            self._poll.unregister(stream.fileno())

    def later(self, seconds: float, callback: Callback) -> "Timer":
        """Call back once, after so many seconds."""
        timer = Timer(time.monotonic() + seconds, next(self._order), callback)
        heapq.heappush(self._timers, timer)
        return timer

    def cancel(self, timer: "Timer") -> None:
        """Do not call back, if that has not been done already."""
        if timer in self._timers:
            self._timers.remove(timer)
            heapq.heapify(self._timers)

    def turn(self) -> None:
        """Wait for something to do, and do it."""
        for fd, _ in self._poll.poll(self._patience()):
            # One called back before may have had it forgotten.
            if callback := self._callbacks.get(fd):
                callback()
        while self._timers and self._timers[0].due <= time.monotonic():
            heapq.heappop(self._timers).callback()

    def _patience(self) -> float | None:
        """Return for how long to wait, in milliseconds."""
        return max(0.0, self._timers[0].due - time.monotonic()) * 1000 + 1 if self._timers else None
