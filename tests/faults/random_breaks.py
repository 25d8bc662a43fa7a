"""A break at random, by a plan: the clients try as real ones do, until they are told OK, and then once more.

A client that hears nothing, or NO, submits the same octets again on a new connection after a short while: its first try
may still be under way. What supervises the program starts it again when it has ended. At the end nothing is broken, and
each client submits once more what was accepted, as one does that never got the OK.
"""

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from time import monotonic, sleep

from tests.faults.house import House, told, told_in_steps
from tests.faults.judge import Story, Told, Try
from tests.faults.outcome import Outcome, complaints_about_servers, doubts, surprises
from tests.faults.questions import asked_for_status
from tests.faults.random_kinds import RANDOM_KINDS, RandomKind, Scene
from tests.faults.random_plan import Fault, Plan, plan
from tests.faults.small_disk import can_mount
from tests.faults.style import Style
from tests.faults.submissions import Draft
from tests.faults.wire import Stretch, Trap

# Seconds that a client waits before it tries again, at first; each time it waits twice as long, up to the second one.
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0
# Seconds within which a client must have been told OK: a fault lasts for two, the proxy waits for ten at most.
TIME_FOR_ALL = 90.0
# Seconds within which a fault comes about after its octet, which may have been the last one.
TIME_FOR_FAULT = 2.0
# Octets by which a dialogue may be shorter than the one that was recorded: a mark is missing, a signature is shorter.
SLACK, SLACK_OF_TLS = 1, 64
# Clients that ask for the status meanwhile: there are many houses at a time.
ASKING = 2


@dataclass(frozen=True)
class RandomBreak:
    """What the runner does."""

    plan: Plan

    @property
    def name(self) -> str:
        """What it takes to do it once more."""
        return self.plan.name

    @property
    def style(self) -> Style:
        """The house that it wants."""
        return self.plan.style

    @property
    def is_long(self) -> bool:
        """Few of these wait for long."""
        return False

    def outcome(self, house: House) -> Outcome:
        """Have clients submit until all are told OK while it breaks, and then once more; tell the stories."""
        house.begin()
        log_size, commands = house.log_size(), len(house.smtp.commands)
        drafts = [house.new_draft(submission) for submission in self.plan.submissions]
        with _Performance(house, self.plan) as performance, ThreadPoolExecutor(len(drafts)) as pool:
            tries = [*pool.map(performance.tries, drafts)]
        house.wires.mend()
        house.mend()
        told_again = [house.submit(draft) for draft in drafts]
        log = house.logged_since(log_size)
        complaints = [
            *([] if performance.is_met else ["it did not come to the octet where it was to break"]),
            *([] if all(of[-1].heard is Told.SENT for of in tries) else ["no OK for too long"]),
            *complaints_about_servers(house, drafts),
            *surprises(log),
        ]
        was_begun = any(command.upper() == "DATA" for command in house.smtp.commands[commands:])
        kinds = performance.kinds
        stories = [
            Story(
                tries=tuple(of),
                told_again=again,
                copies=house.copies(draft),
                windows=house.unfollowed(draft) if any(kind.loses_reply for kind in kinds) else 0,
                doubts=doubts(log, draft),
                is_behind_354=was_begun and any(kind.loses_reply or kind.hides_result for kind in kinds),
                is_filed=draft.submission.style.is_filed,
                filed=house.filed(draft),
                may_lack_copy=any(kind.hinders_copy for kind in kinds),
            )
            for draft, of, again in zip(drafts, tries, told_again, strict=True)
        ]
        return Outcome(stories, complaints, log)


def random_breaks(seed: str, numbers: Sequence[int]) -> Mapping[str, Sequence[RandomBreak]]:
    """Return those of these breaks that are possible here, by their row of the table; each row is there."""
    found: dict[str, list[RandomBreak]] = {f"random: {kind}": [] for kind in RANDOM_KINDS}
    for one in (plan(seed, number) for number in numbers):
        if can_mount() or not one.style.is_on_small_disk:
            found[one.kind].append(RandomBreak(one))
    return found


class _Performance:
    """The clients' tries while it breaks; at the end of the ``with`` nothing is broken but lines."""

    def __init__(self, house: House, plan: Plan) -> None:
        self._house = house
        self._plan = plan
        self._lock = threading.Lock()
        self._undone = ExitStack()
        self._met: list[threading.Event] = []
        self._to_come = list(plan.faults)
        self._asking = ExitStack()

    @property
    def kinds(self) -> list[RandomKind]:
        """What has broken, or may have."""
        return [RANDOM_KINDS[fault.kind] for fault in self._plan.faults[: len(self._met)]]

    @property
    def is_met(self) -> bool:
        """Whether the first fault has come about."""
        return self._met[0].is_set()

    def __enter__(self) -> "_Performance":
        self._arm(self._to_come.pop(0))
        if any(RANDOM_KINDS[fault.kind].is_asked for fault in self._plan.faults):
            self._asking.enter_context(asked_for_status(self._house.setup.control_socket, ASKING))
        return self

    def __exit__(self, *_: object) -> None:
        self._met[0].wait(TIME_FOR_FAULT)
        with self._asking, self._undone:
            self._house.wires.disarm()

    def _arm(self, fault: Fault) -> None:
        """Have a fault come about when its octet passes."""
        kind, house = RANDOM_KINDS[fault.kind], self._house
        dialogue = house.dialogues[self._plan.submissions[0].text]
        stretch, octets = fault.place.octet(kind.stretches(dialogue))
        most = _passing(stretch, dialogue) - (SLACK_OF_TLS if self._plan.style.is_secured else SLACK)
        octets = 0 if kind.is_from_start else min(octets, most)
        scene = Scene(house, self._undone, is_alone=len(self._plan.submissions) == 1)
        trap = Trap(stretch.wire, stretch.is_up, octets, lambda line: kind.act(scene, fault, line), fault.delay)
        house.wires.arm(trap)
        self._met.append(trap.met)

    def tries(self, draft: Draft) -> list[Try]:
        """Have a client try until it is told OK."""
        house, deadline, pause = self._house, monotonic() + TIME_FOR_ALL, FIRST_PAUSE
        tries: list[Try] = []
        while True:
            answer = self._told(draft)
            tries.append(Try(answer, house.copies(draft)))
            if tries[-1].heard is Told.SENT or monotonic() > deadline:
                return tries
            self._go_on()
            sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _told(self, draft: Draft) -> str | None:
        with suppress(EOFError, OSError), self._house.client(self._plan.patience) as client:
            try:
                return (told_in_steps if self._plan.waits else told)(client, draft)
            except TimeoutError:
                if self._plan.resets:
                    client.reset()
        return None

    def _go_on(self) -> None:
        """Have the next fault come about in the next try, if the first one has, and the program run."""
        with self._lock:
            if self._to_come and self.is_met:
                self._arm(self._to_come.pop(0))
            self._house.revive()


def _passing(stretch: Stretch, dialogue: Sequence[Stretch]) -> int:
    """Return how many octets pass in the direction of a stretch during the whole dialogue."""
    return sum(one.length for one in dialogue if (one.wire, one.is_up) == (stretch.wire, stretch.is_up))
