"""The machine has no more of something: descriptors, or room on the disk, from each point of a submission on."""

import os
import resource
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import count, islice

from tests.faults.breaks import Break, Submit, break_of
from tests.faults.house import House, told
from tests.faults.submissions import LARGE, PLAIN, REFERRING, REFERRING_AND_FILED, USUAL, Draft, Submission

# More than what a session takes, or a submission of one: some connections, a file for the draft.
DESCRIPTORS = 6
MOMENT = 0.5  # seconds
# A page of the journal in its write-ahead log, with its header; a submission writes some of them, and at three times.
FRAME = 4096 + 24
FRAMES = 12
KIB = 1024

Limits = Callable[[House], int]


def without_descriptors() -> Iterator[Break]:
    """So many descriptors are left to the worker when a client that has logged in submits."""
    for submission in USUAL:
        for left in range(DESCRIPTORS):
            broken = _limited(submission, f"{left} left", resource.RLIMIT_NOFILE, partial(_descriptors, left))
            yield replace(broken, may_lack_copy=True)


def without_descriptors_for_a_moment() -> Iterator[Break]:
    """So many are left when a client comes; after a moment, there are more."""
    for submission in USUAL:
        for left in range(DESCRIPTORS):
            yield replace(break_of(submission, f"{left} left", _come(left)), may_lack_copy=True)


def _come(left: int) -> Submit:
    def attempt(house: House, draft: Draft) -> str | None:
        with ThreadPoolExecutor(1) as client:
            with house.limited(resource.RLIMIT_NOFILE, _descriptors(left, house)):
                house.met.set()
                answer = client.submit(house.submit, draft)
                wait([answer], MOMENT)
            return answer.result()

    return attempt


def _descriptors(left: int, house: House) -> int:
    return descriptors_limit(left, house.worker)


def descriptors_limit(left: int, worker: int) -> int:
    """Return the limit by which as many can be opened: what is opened gets the lowest numbers that are free."""
    taken = {int(name) for name in os.listdir(f"/proc/{worker}/fd")}
    free = (number for number in count() if number not in taken)
    return next(islice(free, left, None))


def without_room_for_the_draft() -> Iterator[Break]:
    """No file of the worker's may become longer, while a draft comes that is too long for memory."""
    for kib in (0, 64, 512, *range(1024, 2560, 128)):
        yield _limited(LARGE, f"{kib} KiB a file", resource.RLIMIT_FSIZE, partial(_octets, kib * KIB))


def _octets(most: int, _: House) -> int:
    return most


def without_room_for_the_journal() -> Iterator[Break]:
    """The journal's write-ahead log may grow by so many half pages only."""
    for submission in (PLAIN, REFERRING, REFERRING_AND_FILED):
        for halves in range(2 * FRAMES):
            octets = halves * FRAME // 2
            yield _limited(submission, f"{halves / 2} pages", resource.RLIMIT_FSIZE, partial(_growth, octets))


def _growth(octets: int, house: House) -> int:
    return house.write_ahead_log_size() + octets


def _limited(submission: Submission, name: str, limit: int, most: Limits) -> Break:
    def attempt(house: House, draft: Draft) -> str | None:
        with house.client() as client, house.limited(limit, most(house)):
            house.met.set()
            return told(client, draft)

    return break_of(submission, name, attempt)
