"""What happens in a random break, all of it drawn from the seed and the break's number. Pure."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from tests.faults.style import Style
from tests.faults.submissions import (
    AUTHENTICATED,
    AUTOMATIC,
    CATENATED,
    CREATING,
    FILED,
    LARGE,
    PLAIN,
    REFERRING,
    REFERRING_AND_FILED,
    SECURED,
    TOLD_OF_CLIENT,
    Submission,
)
from tests.faults.wire import Stretch

_Chosen = TypeVar("_Chosen")

CLIENT, SMTP, IMAP = WIRES = ("client", "smtp", "imap")

# What is broken -> of how many in a hundred or so breaks.
LINKS: Mapping[str, int] = {
    "client FIN": 6,
    "client RST": 6,
    "client stalls": 6,
    "SMTP FIN": 7,
    "SMTP RST": 7,
    "SMTP stalls": 4,
    "SMTP garbage": 5,
    "SMTP outage": 5,
    "SMTP no reply to the dot": 5,
    "IMAP FIN": 6,
    "IMAP RST": 6,
    "IMAP pauses": 5,
    "IMAP outage": 5,
}
PROCESSES: Mapping[str, int] = {
    "SIGKILL of the worker": 8,
    "SIGTERM to the worker": 4,
    "SIGKILL of the parent": 3,
    "SIGTERM to the parent": 3,
    "SIGHUP to the parent": 4,
}
DISK_FULL = "disk full"
RESOURCES: Mapping[str, int] = {
    DISK_FULL: 4,
    "journal moved away": 2,
    "journal garbled": 2,
    "journal held by another": 1,
    "no descriptors": 3,
}
KINDS = {**LINKS, **PROCESSES, **RESOURCES}

_SUBMISSIONS: Mapping[Submission, int] = {
    PLAIN: 3,
    REFERRING: 3,
    LARGE: 1,
    FILED: 3,
    REFERRING_AND_FILED: 3,
    CATENATED: 1,
    AUTHENTICATED: 1,
    CREATING: 1,
    AUTOMATIC: 1,
    TOLD_OF_CLIENT: 1,
    SECURED: 2,
}
# Those of which several are submitted at the same time.
_SEVERAL = {PLAIN: (PLAIN, REFERRING), FILED: (FILED, REFERRING_AND_FILED)}

# How likely it is that a second fault hits one of the next tries; that a client loses its patience, or waits until it
# is asked for the message; that several clients submit at the same time; that there are two workers.
SECOND = 0.25
IMPATIENT = 0.2
SYNCHRONIZING = 0.25
SEVERAL = 0.2
TWO_WORKERS = 0.25
# Seconds: that a client waits for an answer, that pass between an octet and the fault, that a fault lasts.
PATIENCE = 20.0
SHORT_PATIENCES = (0.2, 2.0)
DELAYS = (0.0, 0.0, 0.001, 0.003, 0.01, 0.03)
DURATIONS = (0.05, 2.0)


@dataclass(frozen=True)
class Place:
    """A moment of a dialogue: ``share`` says in which of its stretches, ``within`` at which of that one's octets.

    Where ``from_end`` is given it says that: so many octets before the end of the stretch.
    """

    share: float
    within: float
    from_end: int | None

    def octet(self, stretches: Sequence[Stretch]) -> tuple[Stretch, int]:
        """Return the stretch, and how many octets of its direction have passed by then."""
        stretch = stretches[int(self.share * len(stretches))]
        offset = round(self.within * stretch.length) if self.from_end is None else stretch.length - self.from_end
        return stretch, stretch.start + max(0, offset)


@dataclass(frozen=True)
class Fault:
    """One thing that breaks: where, how long after that octet, and how long it lasts if it does; ``choice`` is more."""

    kind: str
    place: Place
    delay: float
    duration: float
    choice: float

    def __str__(self) -> str:
        return f"{self.kind} {self.delay * 1000:.0f} ms after its octet, for {self.duration:.2f} s if it lasts"


@dataclass(frozen=True)
class Plan:
    """A random break: who submits, what breaks in the first try, and maybe what in the next.

    ``patience``: seconds that a client waits for an answer. ``resets``: whether it then leaves by an RST. ``waits``:
    whether it sends the message only when it is asked for it.
    """

    seed: str
    number: int
    submissions: tuple[Submission, ...]
    style: Style
    faults: tuple[Fault, ...]
    patience: float
    resets: bool
    waits: bool

    @property
    def kind(self) -> str:
        """The row of the table."""
        return f"random: {self.faults[0].kind}"

    @property
    def name(self) -> str:
        """What it takes to do it once more, and what it does."""
        submitted = " + ".join(submission.name for submission in self.submissions)
        faults = "; then ".join(map(str, self.faults))
        return f"--seed {self.seed} --replay {self.number}: {submitted}: {faults}; patience {self.patience:.1f} s"


def plan(seed: str, number: int) -> Plan:
    """Return what happens in this break."""
    dice = random.Random(f"{seed}/{number}")
    first = _weighted(dice, KINDS)
    submissions, style = _submitted(dice, first)
    kinds = [first]
    if dice.random() < SECOND:
        # Of a program that is started while its journal or its disk is missing, nothing is promised.
        kinds.append(_weighted(dice, {**LINKS, **PROCESSES} if first in LINKS else LINKS))
    return Plan(
        seed=seed,
        number=number,
        submissions=submissions,
        style=style,
        faults=tuple(_fault(dice, kind) for kind in kinds),
        patience=dice.uniform(*SHORT_PATIENCES) if dice.random() < IMPATIENT or first == "client stalls" else PATIENCE,
        resets=dice.random() < 0.5,
        waits=dice.random() < SYNCHRONIZING,
    )


def _submitted(dice: random.Random, kind: str) -> tuple[tuple[Submission, ...], Style]:
    submission = FILED if kind == DISK_FULL else _weighted(dice, _SUBMISSIONS)
    submissions: tuple[Submission, ...] = (submission,)
    if submission in _SEVERAL and dice.random() < SEVERAL:
        submissions = tuple(dice.choices(_SEVERAL[submission], k=dice.randint(2, 3)))
    workers = 2 if submission in _SEVERAL and kind != DISK_FULL and dice.random() < TWO_WORKERS else 1
    style = replace(submission.style, workers=workers, is_wired=True)
    return submissions, replace(style, is_on_small_disk=kind == DISK_FULL)


def _fault(dice: random.Random, kind: str) -> Fault:
    return Fault(
        kind=kind,
        place=Place(dice.random(), dice.random(), dice.choice((None, None, None, 0, 0, 1))),
        delay=dice.choice(DELAYS),
        duration=dice.uniform(*DURATIONS),
        choice=dice.random(),
    )


def _weighted(dice: random.Random, weights: Mapping[_Chosen, int]) -> _Chosen:
    (chosen,) = dice.choices([*weights], [*weights.values()])
    return chosen
