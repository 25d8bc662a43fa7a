"""How far a large message is on its way, for who waits at a terminal."""

from contextlib import suppress
from types import TracebackType
from typing import TextIO

# Octets from which on it is worth telling.
LARGE = 1 << 20


class Progress:
    """Told by one line that is written over again and again, and ends with the ``with`` that it is told in.

    Nothing is told of what is small, nor to a file.
    """

    def __init__(self, total: int, terminal: TextIO) -> None:
        self._total = total
        self._terminal = terminal
        self._is_told = total > LARGE and terminal.isatty()
        self._percent: int | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._percent is not None:
            self._write("\n")

    def sent(self, octets: int) -> None:
        """Tell that so many octets have been sent."""
        percent = octets * 100 // self._total
        if self._is_told and percent != self._percent:
            self._percent = percent
            self._write(f"\rimap-submit: {percent:3d} % of {self._total / LARGE:.1f} MiB sent")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a terminal that is gone changes nothing
            self._terminal.write(text)
            self._terminal.flush()
