"""What is wrong at the end of a soak, besides what the book knows: clients that died or did nothing, leaks, log lines.

Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.soak.watch import Holdings

# What a soak is for: each of these must have happened.
NEEDED = (
    "commands",
    "copies in Sent",
    "drafts with a reference",
    "octets appended",
    "octets fetched",
    "reloads",
    "sessions",
    "submissions refused",
    "submissions sent",
    "told of an earlier acceptance",
    "vanished",
)

_UNEXPECTED = re.compile(r"(?m)^.*(?: (?:WARNING|ERROR|CRITICAL) (?!privileges-kept)|Traceback|session-failed).*$")


def deaths(lived: int, wanted: int) -> Iterator[str]:
    """Complain unless ``wanted`` clients lived to the end.

    A client, or a crowd, that dies of something unforeseen tells nothing: it would pass for one that found nothing.
    """
    if lived != wanted:
        yield f"{wanted - lived} of {wanted} clients did not live to the end"


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be held at rest: so many threads, and so much more memory than before (in units of 1,000 octets)."""

    threads: int
    growth: float


def idleness(figures: Mapping[str, int]) -> Iterator[str]:
    """Complain of what should have happened, and did not: nothing was tested of it."""
    if missed := [what for what in NEEDED if not figures.get(what)]:
        yield f"never happened: {', '.join(missed)}"


def leaks(began: Holdings, ended: Holdings, limits: Limits) -> Iterator[str]:
    """Complain of what is held at the end, beyond what was held before and what may be."""
    if ended.threads > limits.threads or ended.descriptors > began.descriptors or ended.processes > began.processes:
        yield f"more is held than before: {began} became {ended}"
    if ended.kilobytes - began.kilobytes > limits.growth:
        yield f"memory grew by {(ended.kilobytes - began.kilobytes) / 1000:.1f} MB"


def surprises(log: str) -> Iterator[str]:
    """Complain of lines in the proxy's log that no client's doing explains."""
    unexpected = _UNEXPECTED.findall(log)
    if unexpected:
        yield f"{len(unexpected)} lines in the log that should not be there, such as: {unexpected[0]}"
