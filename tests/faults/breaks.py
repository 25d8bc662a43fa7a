"""What a break is: one fault at one moment of one submission."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from tests.faults.house import House, told
from tests.faults.judge import Story, Try
from tests.faults.outcome import Outcome, complaints_about_next_client, complaints_about_servers, doubts, surprises
from tests.faults.style import Style
from tests.faults.submissions import Draft, Submission


@dataclass(frozen=True)
class Attempt:
    """A draft that was submitted, maybe more than once, and the answers; None where the connection broke before."""

    draft: Draft
    told: tuple[str | None, ...]


Play: TypeAlias = Callable[[House], Sequence[Attempt]]
# Submits once, and returns the answer.
Submit: TypeAlias = "Callable[[House, Draft], str | None]"


@dataclass(frozen=True)
class Break:
    """One fault, which ``play`` brings about; what it changes at the servers is undone afterwards.

    ``style``: the house it wants. ``is_taken``: whether the SMTP server keeps what comes whole meanwhile.
    ``is_window``: what it says of that may be lost; ``is_behind_354``: it may not get the message whole. ``is_sent``:
    whether the first try alone must have sent the message, None where that depends; ``may_lack_copy``: that try may not
    have filed it; ``is_long``: it takes minutes, in which nothing happens.
    """

    name: str
    style: Style
    play: Play
    is_taken: bool = True
    is_window: bool = False
    is_behind_354: bool = False
    is_sent: bool | None = None
    may_lack_copy: bool = False
    is_long: bool = False

    def outcome(self, house: House) -> Outcome:
        """Bring the fault about, undo it, have the same client try again, and another one come; tell the story."""
        house.begin()
        log_size = house.log_size()
        attempts = self.play(house)
        if not self.is_taken:
            house.smtp.messages.clear()
        copies_when_told = [house.copies(attempt.draft) for attempt in attempts]
        house.mend()
        told_again = [house.submit(attempt.draft) for attempt in attempts]
        complaints = [
            *([] if house.met.is_set() else ["it did not come to the point where it was to break"]),
            *complaints_about_servers(house, [attempt.draft for attempt in attempts]),
            *complaints_about_next_client(house),
            *surprises(house.logged_since(log_size)),
        ]
        log = house.logged_since(log_size)
        stories = [
            Story(
                tries=tuple(Try(told, before) for told in attempt.told),
                told_again=again,
                copies=house.copies(attempt.draft),
                windows=int(self.is_window),
                doubts=doubts(log, attempt.draft),
                is_behind_354=self.is_behind_354,
                is_sent=self.is_sent,
                is_filed=attempt.draft.submission.style.is_filed,
                filed=house.filed(attempt.draft),
                may_lack_copy=self.may_lack_copy,
            )
            for attempt, before, again in zip(attempts, copies_when_told, told_again, strict=True)
        ]
        return Outcome(stories, complaints, log)


def break_of(submission: Submission, name: str, attempt: Submit) -> Break:
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


def prepared(prepare: Callable[[House], object]) -> Submit:
    """Submit by a client that has logged in before the fault is prepared."""

    def attempt(house: House, draft: Draft) -> str | None:
        with house.client() as client:
            prepare(house)
            return told(client, draft)

    return attempt
