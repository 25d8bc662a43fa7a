"""The most memory that the proxy holds at a time, as the kernel has seen it: not a look at one moment."""

from bench.processes import peak_kibibytes, reset_peak


class Peak:
    """The most that a process has held since this was made, over what it held then, in KiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        reset_peak(pid)
        self._before = peak_kibibytes(pid)

    def rise(self) -> int:
        """Return it, as it is by now."""
        return peak_kibibytes(self._pid) - self._before
