"""What came of a break in a house: what clients were told, what arrived, what the log says; ``judge`` judges it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tests.faults.house import House
from tests.faults.judge import GOOD, Story, Told, Verdict
from tests.faults.style import Style
from tests.faults.submissions import PLAIN, Draft

# Lines of the log that are shown where something went wrong, the last ones.
LOG_LINES = 60


@dataclass(frozen=True)
class Outcome:
    """The story of each submission, what else there is to say, and what the program logged meanwhile."""

    stories: Sequence[Story]
    complaints: Sequence[str]
    log: str


class Breakable(Protocol):
    """Something that can be broken in a house of that style."""

    @property
    def name(self) -> str:
        """What it is."""

    @property
    def style(self) -> Style:
        """The house that it wants."""

    @property
    def is_long(self) -> bool:
        """Whether it takes minutes, in which nothing happens."""

    def outcome(self, house: House) -> Outcome:
        """Bring the fault about, undo it, have the same client try again; whatever goes wrong is raised."""


@dataclass(frozen=True)
class Result:
    """What came of a break: the worst of its submissions, what the clients heard, and what there is to say of it."""

    kind: str
    name: str
    verdict: Verdict
    heard: tuple[Told, ...] = ()
    complaints: tuple[str, ...] = ()


def result(house: House, kind: str, one: Breakable) -> Result:
    """Do it; what goes wrong with that is a result, too, since the other breaks are to be done."""
    try:
        return _judged(kind, one.name, one.outcome(house))
    except Exception as failure:
        complaints = [f"{type(failure).__name__}: {failure}"]
        try:
            house.mend()
        except AssertionError as more:
            complaints.append(f"at a server: {more}")
        return Result(kind, one.name, Verdict.WRONG, complaints=tuple(complaints))


def _judged(kind: str, name: str, outcome: Outcome) -> Result:
    order = list(Verdict)
    stories = outcome.stories
    verdicts = [story.verdict() for story in stories] + [Verdict.WRONG] * bool(outcome.complaints)
    complaints = [*outcome.complaints, *(complaint for story in stories for complaint in story.complaints())]
    if not {*verdicts} <= GOOD:
        complaints += [*map(str, stories), *outcome.log.splitlines()[-LOG_LINES:]]
    heard = tuple(story.tries[0].heard for story in stories)
    return Result(kind, name, max(verdicts, key=order.index), heard, tuple(complaints))


def complaints_about_servers(house: House, drafts: Collection[Draft]) -> Iterator[str]:
    """Yield what the servers were given, that nobody submitted."""
    if house.arrived() != sum(map(house.copies, drafts)):
        yield "a message arrived that is not what was submitted, or not for all recipients"
    if house.appended() != sum(map(house.filed, drafts)):
        yield "a copy in Sent is not what was sent"


def complaints_about_next_client(house: House) -> Iterator[str]:
    """Have another client submit; yield what is not as it must be."""
    stranger = house.new_draft(PLAIN)
    answer = house.submit(stranger)
    if answer is None or not answer.startswith("OK SUBMIT completed") or house.copies(stranger) != 1:
        yield f"the next client is told {answer!r}"


def surprises(log: str) -> Iterator[str]:
    """Yield what must never be in the log."""
    for surprise in ("Traceback", "session-failed", "thread-failed"):
        if surprise in log:
            yield f"{surprise} in the log"


def doubts(log: str, draft: Draft) -> int:
    """Return how often the log says that this may have been sent before."""
    return log.count(f"double-possible user=fred client=127.0.0.1 message={draft.name}")
