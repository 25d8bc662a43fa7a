"""Do breaks, each in a house in which nothing else happens meanwhile; several houses at a time."""

import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, nullcontext
from math import ceil
from pathlib import Path
from threading import Semaphore
from typing import TypeAlias

from tests.faults.house import House
from tests.faults.outcome import Breakable, Result, result
from tests.faults.style import Style

# Houses of a style: most of a break's time is the silence of a server, so that there are more than processors.
HOUSES = 10
# Houses in all where the breaks are random: few of these wait, and who waits too long for a processor is told NO.
WIRED_HOUSES = 20
# How many are opened at a time: if all were, no server would answer within the SMTP timeout, though nothing is broken.
OPENING = 4
# Breaks under way at a time, but for those that only wait: more would be too slow for those timeouts, too.
UNDER_WAY = 20


Jobs: TypeAlias = "queue.SimpleQueue[tuple[str, Breakable]]"
Report: TypeAlias = Callable[[Result], None]


def run(
    kinds: Mapping[str, Sequence[Breakable]],
    directory: Path,
    report: Report,
    python_path: Path | None = None,
    at_least: int = 1,
) -> None:
    """Do the breaks of all kinds, and report what came of each as it ends; raise what goes wrong with a house.

    ``python_path``: where the program is that is broken, if it is another than that of this tree. ``at_least``: breaks
    that a house is opened for, which takes as long as some of them.
    Whatever ends it sooner, the houses are closed in order, once the breaks under way are over.
    """
    directory.mkdir(exist_ok=True)
    waiting: dict[Style, Jobs] = {}
    for kind, breaks in kinds.items():
        for one in breaks:
            waiting.setdefault(one.style, queue.SimpleQueue()).put((kind, one))
    lanes = [(style, jobs) for style, jobs in waiting.items() for _ in range(_houses(style, jobs, waiting, at_least))]
    turns, under_way = Semaphore(OPENING), Semaphore(UNDER_WAY)
    with ThreadPoolExecutor(max(1, len(lanes))) as pool:
        served = [
            pool.submit(_serve, House(directory / str(number), style, python_path), turns, under_way, jobs, report)
            for number, (style, jobs) in enumerate(lanes)
        ]
        try:
            wait(served)
        finally:
            for jobs in waiting.values():
                deque(_taken(jobs), maxlen=0)
    for lane in served:
        lane.result()


def _houses(style: Style, jobs: Jobs, waiting: Mapping[Style, Jobs], at_least: int) -> int:
    """Return how many houses of a style there are: of those with wires, by its share of all that is to be done."""
    if not style.is_wired:
        return min(HOUSES, ceil(jobs.qsize() / at_least))
    wired = sum(others.qsize() for other, others in waiting.items() if other.is_wired)
    return ceil(WIRED_HOUSES * jobs.qsize() / wired)


def _serve(house: House, turns: Semaphore, under_way: Semaphore, jobs: Jobs, report: Report) -> None:
    """Open a house when there is a turn for it, and do there what is to be done, until nothing is left."""
    with ExitStack() as stack:
        with turns:
            if jobs.empty():
                return
            stack.enter_context(house.open())
        for kind, one in _taken(jobs):
            with nullcontext() if one.is_long else under_way:
                came = result(house, kind, one)
            report(came)


def _taken(jobs: Jobs) -> Iterator[tuple[str, Breakable]]:
    while True:
        try:
            yield jobs.get_nowait()
        except queue.Empty:
            return
