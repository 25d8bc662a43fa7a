"""The program is told to end, to begin anew, or is killed: at each step of a submission, and at any time under load."""

import os
import random
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from time import sleep

from tests.faults.breaks import Attempt, Break, Play, break_of, prepared
from tests.faults.house import House, await_end
from tests.faults.questions import asked_for_status
from tests.faults.steps import Moment, imap_moments, smtp_moments
from tests.faults.style import Style
from tests.faults.submissions import ALL, FILED, REFERRING_AND_FILED, Draft

WORKERS_UNDER_LOAD = 2
LOAD = (FILED, REFERRING_AND_FILED) * 4  # submissions at the same time
COMMANDS_OF_LOAD = 100  # to both servers: with a few more, all is done
BLOWS_UNDER_LOAD = 16  # of each sort
LOOK_INTERVAL = 0.001  # seconds

Blow = Callable[[House], None]


def _kill_worker(house: House) -> None:
    pid = house.worker
    os.kill(pid, signal.SIGKILL)
    await_end(pid)


def _stop_worker(house: House) -> None:
    os.kill(house.worker, signal.SIGTERM)


def _kill_parent(house: House) -> None:
    house.program.process.kill()


def _stop_parent(house: House) -> None:
    house.program.process.terminate()


def _reload(house: House) -> None:
    house.program.reload()


KILL = "SIGKILL of the worker"
BLOWS: Mapping[str, Blow] = {
    KILL: _kill_worker,
    "SIGTERM to the worker": _stop_worker,
    "SIGKILL of the parent": _kill_parent,
    "SIGTERM to the parent": _stop_parent,
    "SIGHUP to the parent": _reload,
}
_BLOWS_TO_ALL = frozenset({_kill_parent, _stop_parent})


def blows(name: str) -> Iterator[Break]:
    """The blow comes at each step; but for the worker that is killed, the submission comes to its end."""
    for submission in ALL:
        for moment in (*smtp_moments(submission), *imap_moments(submission)):
            if name == KILL:
                yield from _killings(moment)
            else:
                yield _blow(name, moment, is_sent=True)


def _killings(moment: Moment) -> Iterator[Break]:
    """Yield what it is to be killed then: once more, where the server may or may not take what it has got."""
    if moment.is_in_doubt:
        yield _blow(KILL, moment, is_window=True)
        yield _blow(KILL, moment, is_window=True, is_taken=False, is_sent=False)
    else:
        yield _blow(KILL, moment, is_sent=moment.is_settled)


def _blow(
    name: str, moment: Moment, *, is_sent: bool | None = None, is_window: bool = False, is_taken: bool = True
) -> Break:
    blow = BLOWS[name]
    submit = prepared(lambda house: moment.arm(house, lambda: blow(house)))

    def attempt(house: House, draft: Draft) -> str | None:
        with asked_for_status(house.setup.control_socket), ended_by(blow, house):
            return submit(house, draft)

    broken = break_of(moment.submission, f"at {moment.name}{'' if is_taken else ', not taken'}", attempt)
    return replace(broken, is_taken=is_taken, is_window=is_window, is_sent=is_sent, may_lack_copy=name == KILL)


@contextmanager
def ended_by(blow: Blow, house: House) -> Iterator[None]:
    """See that what is to end by the blow is gone afterwards: until then it may let in another client."""
    if blow in _BLOWS_TO_ALL:
        ending = [house.program.process.pid, *house.program.workers()]
    else:
        ending = [house.worker] if blow is _stop_worker else []
    yield
    for pid in ending:
        await_end(pid)


def blows_under_load(name: str) -> Iterator[Break]:
    """The blow comes at a random moment while many clients submit; the same number of commands each time."""
    for commands in sorted(random.Random(0).sample(range(COMMANDS_OF_LOAD), BLOWS_UNDER_LOAD)):
        yield Break(
            f"after {commands} commands for {len(LOAD)} clients",
            Style("Sent", workers=WORKERS_UNDER_LOAD),
            _loaded(BLOWS[name], commands),
            is_window=name == KILL,
            may_lack_copy=name == KILL,
        )


def _loaded(blow: Blow, commands: int) -> Play:
    def play(house: House) -> Sequence[Attempt]:
        drafts = [house.new_draft(submission) for submission in LOAD]
        with (
            asked_for_status(house.setup.control_socket),
            ended_by(blow, house),
            ThreadPoolExecutor(len(drafts)) as pool,
        ):
            due = house.commands() + commands
            answers = [pool.submit(house.submit, draft) for draft in drafts]
            while house.commands() < due and not _are_done(answers):
                sleep(LOOK_INTERVAL)
            if not _are_done(answers):
                house.met.set()
            blow(house)
        return [Attempt(draft, (answer.result(),)) for draft, answer in zip(drafts, answers, strict=True)]

    return play


def _are_done(answers: Iterable[Future[str | None]]) -> bool:
    return all(answer.done() for answer in answers)
