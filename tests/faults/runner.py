"""Do breaks, each in a house in which nothing else happens meanwhile; several houses at a time."""

import queue
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Semaphore
from typing import TypeAlias

from tests.faults.breaks import Attempt, Break
from tests.faults.house import House
from tests.faults.judge import GOOD, Story, Told, Try, Verdict
from tests.faults.style import Style
from tests.faults.submissions import PLAIN

# Houses of a style: most of a break's time is somebody's silence, so that there are more than processors.
HOUSES = 10
# How many are opened at a time: if all were, nobody would be answered within SMTP_TIMEOUT, though nothing is broken.
OPENING = 4


@dataclass(frozen=True)
class Result:
    """What came of a break: the worst of its submissions, what the clients heard, and what there is to say of it."""

    kind: str
    name: str
    verdict: Verdict
    heard: tuple[Told, ...] = ()
    complaints: tuple[str, ...] = ()


Jobs: TypeAlias = "queue.SimpleQueue[tuple[str, Break]]"
Report: TypeAlias = Callable[[Result], None]


def run(kinds: Mapping[str, Sequence[Break]], directory: Path, report: Report) -> None:
    """Do the breaks of all kinds, and report what came of each as it ends; raise what goes wrong with a house.

    Whatever ends it sooner, the houses are closed in order, once the breaks under way are over.
    """
    waiting: dict[Style, Jobs] = {}
    for kind, breaks in kinds.items():
        for one in breaks:
            waiting.setdefault(one.style, queue.SimpleQueue()).put((kind, one))
    lanes = [jobs_of_style for jobs_of_style in waiting.items() for _ in range(min(HOUSES, jobs_of_style[1].qsize()))]
    turns = Semaphore(OPENING)
    with ThreadPoolExecutor(len(lanes)) as pool:
        served = [
            pool.submit(_serve, House(directory / str(number), style), turns, jobs, report)
            for number, (style, jobs) in enumerate(lanes)
        ]
        try:
            wait(served)
        finally:
            for jobs in waiting.values():
                deque(_taken(jobs), maxlen=0)
    for lane in served:
        lane.result()


def _serve(house: House, turns: Semaphore, jobs: Jobs, report: Report) -> None:
    """Open a house when there is a turn for it, and do there what is to be done, until nothing is left."""
    with ExitStack() as stack:
        with turns:
            if jobs.empty():
                return
            stack.enter_context(house.open())
        for kind, one in _taken(jobs):
            report(_result(house, kind, one))


def _taken(jobs: Jobs) -> Iterator[tuple[str, Break]]:
    while True:
        try:
            yield jobs.get_nowait()
        except queue.Empty:
            return


def _result(house: House, kind: str, one: Break) -> Result:
    try:
        return _told_of(house, kind, one)
    except Exception as failure:  # whatever it is, the other breaks are to be done
        complaints = [f"{type(failure).__name__}: {failure}"]
        try:
            house.mend()
        except AssertionError as more:
            complaints.append(f"at a server: {more}")
        return Result(kind, one.name, Verdict.WRONG, complaints=tuple(complaints))


def _told_of(house: House, kind: str, one: Break) -> Result:
    """Bring the fault about, undo it, have the same client try again, and another one come; tell the story."""
    house.begin()
    log_size = house.log_size()
    attempts = one.play(house)
    if not one.is_taken:
        house.smtp.messages.clear()
    copies_when_told = [house.copies(attempt.draft) for attempt in attempts]
    house.mend()
    told_again = [house.submit(attempt.draft) for attempt in attempts]
    complaints = [*_complaints(house, attempts), *_surprises(house.logged_since(log_size))]
    log = house.logged_since(log_size)
    stories = [
        Story(
            tries=tuple(Try(told, before) for told in attempt.told),
            told_again=again,
            copies=house.copies(attempt.draft),
            windows=int(one.is_window),
            doubts=log.count(f"double-possible user=fred client=127.0.0.1 message={attempt.draft.name}"),
            is_behind_354=one.is_behind_354,
            is_sent=one.is_sent,
            is_filed=attempt.draft.submission.style.is_filed,
            filed=house.filed(attempt.draft),
            may_lack_copy=one.may_lack_copy,
        )
        for attempt, before, again in zip(attempts, copies_when_told, told_again, strict=True)
    ]
    return _judged(kind, one.name, stories, complaints)


def _complaints(house: House, attempts: Sequence[Attempt]) -> Iterator[str]:
    """Have another client submit; yield what is not as it must be, whatever was broken."""
    if not house.met.is_set():
        yield "it did not come to the point where it was to break"
    if house.arrived() != sum(house.copies(attempt.draft) for attempt in attempts):
        yield "a message arrived that is not what was submitted, or not for all recipients"
    if house.appended() != sum(house.filed(attempt.draft) for attempt in attempts):
        yield "a copy in Sent is not what was sent"
    stranger = house.new_draft(PLAIN)
    answer = house.submit(stranger)
    if answer is None or not answer.startswith("OK SUBMIT completed") or house.copies(stranger) != 1:
        yield f"the next client is told {answer!r}"


def _surprises(log: str) -> Iterator[str]:
    for surprise in ("Traceback", "session-failed", "thread-failed"):
        if surprise in log:
            yield f"{surprise} in the log"


def _judged(kind: str, name: str, stories: Sequence[Story], complaints: Sequence[str]) -> Result:
    order = list(Verdict)
    verdicts = [story.verdict() for story in stories] + [Verdict.WRONG] * bool(complaints)
    all_complaints = [*complaints, *(complaint for story in stories for complaint in story.complaints())]
    if not {*verdicts} <= GOOD:
        all_complaints += map(str, stories)
    heard = tuple(story.tries[0].heard for story in stories)
    return Result(kind, name, max(verdicts, key=order.index), heard, tuple(all_complaints))
