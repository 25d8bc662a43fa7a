"""What a break is: one fault at one moment of one submission."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from tests.faults.house import House, told
from tests.faults.style import Style
from tests.faults.submissions import Draft, Submission


@dataclass(frozen=True)
class Attempt:
    """A draft that was submitted, maybe more than once, and the answers; None where the connection broke before."""

    draft: Draft
    told: tuple[str | None, ...]


Play: TypeAlias = Callable[[House], Sequence[Attempt]]
# Submits once, and returns the answer.
Try: TypeAlias = "Callable[[House, Draft], str | None]"


@dataclass(frozen=True)
class Break:
    """One fault, which ``play`` brings about. What it changes at the servers is the runner's to undo.

    ``style``: the house it wants. ``is_taken``: whether the SMTP server keeps what comes whole meanwhile.
    ``is_window``: what it says of that may be lost; ``is_behind_354``: it may not get the message whole. ``is_sent``:
    whether the first try alone must have sent the message, None where that depends; ``may_lack_copy``: that try may not
    have filed it.
    """

    name: str
    style: Style
    play: Play
    is_taken: bool = True
    is_window: bool = False
    is_behind_354: bool = False
    is_sent: bool | None = None
    may_lack_copy: bool = False


def break_of(submission: Submission, name: str, attempt: Try) -> Break:
    """Return a break of one submission, in the house for its sort."""

    def play(house: House) -> Sequence[Attempt]:
        draft = house.new_draft(submission)
        return [Attempt(draft, (attempt(house, draft),))]

    return Break(f"{submission.name}: {name}", submission.style, play)


def once(act: Callable[[], object]) -> Callable[[], None]:
    """Return what acts the first time only: a step may come again, on another connection or in another try."""
    is_due = Lock()

    def act_once() -> None:
        if is_due.acquire(blocking=False):
            act()

    return act_once


def prepared(prepare: Callable[[House], object]) -> Try:
    """Submit by a client that has logged in before the fault is prepared."""

    def attempt(house: House, draft: Draft) -> str | None:
        with house.client() as client:
            prepare(house)
            return told(client, draft)

    return attempt
