"""The budget of work: an octet costs the same whatever came before it (DESIGN 3), so an input may be grown at will.

Lines of Python cannot be counted for it: an expression that goes back over what it has passed is one line. So it is
measured, in processor time, which other programs hardly change, and as ratios within one process: an input whose middle
is repeated is compared with others that hold an eighth, a quarter and a half of it. Where the first comparison looks
bad, all are measured again, several times, and the least of each counts. Linear work gives ratios about 1 then, and
work that grows with the square of the octets gives 2 for each doubling.
"""

import gc
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import thread_time
from types import FrameType

# What takes an input, in packets of so many octets (WHOLE: in one), and does with it what the program would.
Work = Callable[[bytes, int], None]
WHOLE = 0

# Octets that the middle of an input is grown to, by the octets of a packet. The first finds work that is done once more
# with each packet, the second the copying of all that is held, which only then weighs as much as a packet itself.
SIZES = {1: 4 * 1024, 64: 256 * 1024, WHOLE: 32 * 1024}

# By how much an octet may cost more than in an input of an eighth of the size: linear work shows 1, other work 8.
GROWTH = 2.5
# By how much it must cost more than in an input of half the size, twice in a row, for the work to be called growing.
GROWTH_EACH_TIME = 1.25
# What looks like growth once, measured on a busy machine, is measured again so many times.
SUSPICIOUS = 1.8
MEASUREMENTS = 3
# Seconds below which nothing is compared: they are made up of what does not depend on the input.
TOO_SHORT = 0.005
# Seconds that an octet may cost in any case: thirty times what the most expensive ones do.
OCTET_SECONDS = 300e-6
# Seconds after which a measurement is broken off.
LONGEST = 10.0


@dataclass(frozen=True, slots=True)
class Grown:
    """An input that can be grown: its middle is repeated."""

    head: bytes
    middle: bytes
    tail: bytes

    def of(self, size: int) -> bytes:
        """Return the input with so many octets in its middle, or a little more."""
        return self.head + self.middle * -(-size // len(self.middle)) + self.tail


class _Endless(BaseException):
    """A measurement was broken off."""


def excess(work: Work, grown: Grown, packet: int) -> str:
    """Return how far the work on an input goes over the budget; nothing if it does not."""
    size = SIZES[packet]
    try:
        small, large = (_measured(work, grown.of(octets), packet) for octets in (size // 8, size))
        if large.seconds <= TOO_SHORT or large.per_octet <= SUSPICIOUS * small.per_octet:
            return ""
        costs = _measured_again(work, [grown.of(octets) for octets in (size // 8, size // 4, size // 2, size)], packet)
    except _Endless:
        return f"more than {OCTET_SECONDS * 1e6:.0f} us of processor time an octet {_told(packet)}"
    eighth, quarter, half, whole = costs
    if whole < GROWTH * eighth or whole < GROWTH_EACH_TIME * half or half < GROWTH_EACH_TIME * quarter:
        return ""
    told = ", ".join(f"{cost * 1e6:.2f}" for cost in costs)
    return f"us of processor time an octet, each time of twice as many octets: {told} {_told(packet)}"


def _told(packet: int) -> str:
    return f"in packets of {packet}" if packet else "in one packet"


@dataclass(frozen=True, slots=True)
class _Cost:
    seconds: float
    octets: int

    @property
    def per_octet(self) -> float:
        return self.seconds / self.octets


def _measured_again(work: Work, inputs: list[bytes], packet: int) -> list[float]:
    """Return the least cost of an octet of each input, all of them measured in turn."""
    costs = [[_measured(work, octets, packet).per_octet for octets in inputs] for _ in range(MEASUREMENTS)]
    return [min(those) for those in zip(*costs, strict=True)]


def _measured(work: Work, octets: bytes, packet: int) -> _Cost:
    with _undisturbed(min(LONGEST, 1 + len(octets) * OCTET_SECONDS)):
        start = thread_time()
        work(octets, packet)
        return _Cost(thread_time() - start, len(octets))


@contextmanager
def _undisturbed(seconds: float) -> Iterator[None]:
    """Let no garbage be collected, and raise _Endless after so many seconds of processor time.

    Expressions look for signals now and then; nothing else that an octet leads to takes long without coming back.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        raise _Endless

    previous = signal.signal(signal.SIGPROF, end)
    gc.disable()
    try:
        signal.setitimer(signal.ITIMER_PROF, seconds)
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        gc.enable()
        signal.signal(signal.SIGPROF, previous)


def cut(octets: bytes, packet: int) -> Iterator[bytes]:
    """Yield the octets in packets."""
    step = packet or len(octets) or 1
    return (octets[start : start + step] for start in range(0, len(octets), step))
