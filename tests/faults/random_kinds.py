"""The list of what breaks at random: what each fault does when its octet has passed, and what may come of it."""

import os
import resource
import signal
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from tests.faults.breaks import once
from tests.faults.house import Cue, House, await_end
from tests.faults.journal_trouble import Trouble, garbled, held_by_another, moved_away
from tests.faults.random_plan import CLIENT, DISK_FULL, IMAP, SMTP, WIRES, Fault
from tests.faults.resource_breaks import DESCRIPTORS, descriptors_limit
from tests.faults.smtp_breaks import FAILURES
from tests.faults.wire import Line, Stretch
from tests.functional.fake_smtp import Turns
from tests.functional.process import PATIENCE, ended
from tests.functional.program import children

GARBAGE = FAILURES["garbage"]
assert isinstance(GARBAGE, bytes)


@dataclass(frozen=True)
class Scene:
    """Where a fault comes about: the house, and what is undone when the fault ends.

    ``is_alone``: no other client submits.
    """

    house: House
    undone: ExitStack
    is_alone: bool


# What a fault does to the line on which its octet came, or to something else.
Act: TypeAlias = Callable[[Scene, Fault, Line], object]


@dataclass(frozen=True)
class RandomKind:
    """What breaks: on which wires its octet may be, and what it does then.

    ``is_from_start``: it is prepared before the client's first octet. ``aims_at_dot``: every other one comes between
    the final dot and the SMTP server's farewell, where most is at stake. ``loses_reply``: that the SMTP server took a
    message may not be known to the proxy. ``hides_result``: a client that waits for its first try may not hear what
    came of it. ``hinders_copy``: there may be no copy in Sent, if that is said. ``is_asked``: the status is asked for
    meanwhile.
    """

    act: Act
    wires: Set[str] = frozenset(WIRES)
    is_from_start: bool = False
    aims_at_dot: bool = False
    loses_reply: bool = False
    hides_result: bool = False
    hinders_copy: bool = False
    is_asked: bool = False

    def stretches(self, dialogue: Sequence[Stretch]) -> Sequence[Stretch]:
        """Return where it may come, each stretch as often as is likely."""
        possible = [stretch for stretch in dialogue if stretch.wire in self.wires]
        # What ends in the final dot, the reply, QUIT, the reply.
        behind = [stretch for stretch in dialogue if stretch.wire == SMTP][-4:]
        return possible + behind * (len(possible) // len(behind)) * self.aims_at_dot


# Lines ----------------------------------------------------------------------------------------------------------------


def _finish(_: Scene, __: Fault, line: Line) -> None:
    line.finish()


def _reset(_: Scene, __: Fault, line: Line) -> None:
    line.reset()


def _stall(_: Scene, __: Fault, line: Line) -> None:
    line.stall()


def _pause(scene: Scene, fault: Fault, line: Line) -> None:
    line.stall()
    scene.house.wires.later(fault.duration, line.resume)


def _garble(_: Scene, __: Fault, line: Line) -> None:
    assert isinstance(GARBAGE, bytes)
    line.garble(GARBAGE)


def _cut(scene: Scene, fault: Fault, line: Line) -> None:
    """Have the server gone for a while, with all its connections."""
    wires, wire = scene.house.wires, line.wire
    wires.cut(wire)
    wires.later(fault.duration, lambda: wires.restore(wire))


def _fail_at_the_dot(scene: Scene, fault: Fault, _: Line) -> None:
    """Have the SMTP server fail when the next message has come whole, which it takes or not."""
    smtp = scene.house.smtp
    failures = [*FAILURES.values()]
    is_taken = not scene.is_alone or fault.choice < 0.5
    failure = failures[int(fault.choice * 2 * len(failures)) % len(failures)]
    act = once(lambda: None if is_taken else smtp.messages.pop())
    smtp.script["."] = Turns(Cue(scene.house.met, act, failure), smtp.script["."])


# Processes ------------------------------------------------------------------------------------------------------------


def _kill_worker(scene: Scene, fault: Fault, _: Line) -> None:
    if (worker := _worker(scene, fault)) is not None:
        os.kill(worker, signal.SIGKILL)
        await_end(worker)


def _stop_worker(scene: Scene, fault: Fault, _: Line) -> None:
    if (worker := _worker(scene, fault)) is not None:
        os.kill(worker, signal.SIGTERM)
        scene.undone.callback(await_end, worker)  # until then it may take another client, and send it away


def _worker(scene: Scene, fault: Fault) -> int | None:
    """Return one of the workers, None where there is none at the moment."""
    process = scene.house.program.process
    workers = children(process.pid) if process.poll() is None else []
    return int(workers[int(fault.choice * len(workers))]) if workers else None


def _kill_parent(scene: Scene, _: Fault, __: Line) -> None:
    scene.house.program.process.kill()
    await_end(scene.house.program.process.pid)


def _stop_parent(scene: Scene, _: Fault, __: Line) -> None:
    process = scene.house.program.process
    process.terminate()
    scene.undone.callback(ended, process, PATIENCE)


def _reload(scene: Scene, _: Fault, __: Line) -> None:
    scene.house.program.process.send_signal(signal.SIGHUP)


# What a process needs -------------------------------------------------------------------------------------------------


def _fill_disk(scene: Scene, fault: Fault, _: Line) -> None:
    disk = scene.house.disk
    scene.undone.callback(disk.clear)
    disk.fill()
    scene.house.wires.later(fault.duration, scene.undone.close)


def _trouble_journal(trouble: Trouble, scene: Scene, fault: Fault, _: Line) -> None:
    scene.undone.enter_context(trouble(scene.house.setup.journal))
    scene.house.wires.later(fault.duration, scene.undone.close)


def _take_descriptors(scene: Scene, fault: Fault, _: Line) -> None:
    if (worker := _worker(scene, fault)) is not None:
        left = descriptors_limit(int(fault.choice * DESCRIPTORS), worker)
        scene.undone.enter_context(scene.house.limited(resource.RLIMIT_NOFILE, left, worker))
        scene.house.wires.later(fault.duration, scene.undone.close)


_OF_CLIENT, _OF_SMTP, _OF_IMAP = frozenset({CLIENT}), frozenset({SMTP}), frozenset({IMAP})

RANDOM_KINDS: Mapping[str, RandomKind] = {
    "client FIN": RandomKind(_finish, _OF_CLIENT),
    "client RST": RandomKind(_reset, _OF_CLIENT),
    "client stalls": RandomKind(_stall, _OF_CLIENT),
    "SMTP FIN": RandomKind(_finish, _OF_SMTP, loses_reply=True),
    "SMTP RST": RandomKind(_reset, _OF_SMTP, loses_reply=True),
    "SMTP stalls": RandomKind(_stall, _OF_SMTP, loses_reply=True),
    "SMTP garbage": RandomKind(_garble, _OF_SMTP, loses_reply=True),
    "SMTP outage": RandomKind(_cut, _OF_SMTP, loses_reply=True),
    "SMTP no reply to the dot": RandomKind(_fail_at_the_dot, _OF_CLIENT, is_from_start=True, loses_reply=True),
    "IMAP FIN": RandomKind(_finish, _OF_IMAP, hinders_copy=True),
    "IMAP RST": RandomKind(_reset, _OF_IMAP, hinders_copy=True),
    "IMAP pauses": RandomKind(_pause, _OF_IMAP),
    "IMAP outage": RandomKind(_cut, _OF_IMAP, hinders_copy=True),
    "SIGKILL of the worker": RandomKind(
        _kill_worker, aims_at_dot=True, loses_reply=True, hinders_copy=True, is_asked=True
    ),
    "SIGTERM to the worker": RandomKind(_stop_worker, is_asked=True),
    "SIGKILL of the parent": RandomKind(_kill_parent, is_asked=True),
    "SIGTERM to the parent": RandomKind(_stop_parent, is_asked=True),
    "SIGHUP to the parent": RandomKind(_reload, is_asked=True),
    DISK_FULL: RandomKind(_fill_disk, aims_at_dot=True, hides_result=True),
    "journal moved away": RandomKind(partial(_trouble_journal, moved_away), aims_at_dot=True, hides_result=True),
    "journal garbled": RandomKind(partial(_trouble_journal, garbled), aims_at_dot=True, hides_result=True),
    "journal held by another": RandomKind(
        partial(_trouble_journal, held_by_another), aims_at_dot=True, hides_result=True
    ),
    "no descriptors": RandomKind(_take_descriptors, hides_result=True, hinders_copy=True),
}
