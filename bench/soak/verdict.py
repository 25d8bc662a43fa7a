"""What is wrong at the end of a soak, besides what the book knows: clients that died, leaks, lines in the log."""

import re
from collections.abc import Iterator

from bench.soak.watch import Holdings

# What memory may have grown by, in units of 1,000 octets: the allocator's, of which 64 spare threads keep some each.
MOST_GROWTH = 25_000

_UNEXPECTED = re.compile(r"(?m)^.*(?: (?:WARNING|ERROR|CRITICAL) (?!privileges-kept)|Traceback|session-failed).*$")


def deaths(lived: int, wanted: int) -> Iterator[str]:
    """Complain unless ``wanted`` clients lived to the end.

    A client, or a crowd, that dies of something unforeseen tells nothing: it would pass for one that found nothing.
    """
    if lived != wanted:
        yield f"{wanted - lived} of {wanted} clients did not live to the end"


def leaks(began: Holdings, ended: Holdings, threads: int) -> Iterator[str]:
    """Complain of what is held at the end, beyond what was held before and so many threads."""
    if ended.threads > threads or ended.descriptors > began.descriptors or ended.processes > began.processes:
        yield f"more is held than before: {began} became {ended}"
    if ended.kilobytes - began.kilobytes > MOST_GROWTH:
        yield f"memory grew by {(ended.kilobytes - began.kilobytes) / 1000:.1f} MB"


def surprises(log: str) -> Iterator[str]:
    """Complain of lines in the proxy's log that no client's doing explains."""
    unexpected = _UNEXPECTED.findall(log)
    if unexpected:
        yield f"{len(unexpected)} lines in the log that should not be there, such as: {unexpected[0]}"
