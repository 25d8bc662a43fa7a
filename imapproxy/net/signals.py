"""Signals as something to poll: each comes as an octet, its number, on a descriptor."""

import os
import signal
from collections.abc import Iterable
from types import FrameType, TracebackType

_MOST_AT_ONCE = 512


class Signals:
    """Takes the signals ``numbers`` for the main thread, until ``__exit__``."""

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._usual: list[object] = []
        self._previous_fd = -1
        self.fd = -1
        self._writer = -1

    def __enter__(self) -> "Signals":
        self.fd, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # A full pipe holds enough of them: they say that something is to be done, not how often.
        self._previous_fd = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._usual = [signal.signal(number, _taken) for number in self._numbers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in zip(self._numbers, self._usual, strict=True):
            signal.signal(number, handler)  # type: ignore[arg-type]
        signal.set_wakeup_fd(self._previous_fd)
        self.close()

    def come(self) -> list[signal.Signals]:
        """Return the signals that came since, in order."""
        try:
            return [signal.Signals(octet) for octet in os.read(self.fd, _MOST_AT_ONCE)]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Close the descriptors, as a forked child does, after set_wakeup_fd(-1)."""
        os.close(self.fd)
        os.close(self._writer)


def _taken(number: int, frame: FrameType | None) -> None:
    """Do nothing: that a handler is there makes Python write the number to the wakeup descriptor."""


def leave_to_parent() -> None:
    """In a forked child: what concerns the whole program is the parent's affair."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
