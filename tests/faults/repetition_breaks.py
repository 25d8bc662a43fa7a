"""The program is told to end, or loses its parent, while a client waits for what becomes of its first try.

The client has lost its connection, or was too impatient, and submits the same on a new one: the first try is still
under way, so that the proxy lets the second wait for its result. The second is under way, too: it must be answered.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from tests.faults.breaks import Attempt, Break, once
from tests.faults.house import House, told
from tests.faults.judge import SENT, SENT_EARLIER
from tests.faults.process_breaks import BLOWS, ended_by
from tests.faults.steps import Moment, imap_moments, smtp_moments
from tests.faults.submissions import PLAIN, USUAL
from tests.functional.fake_smtp import RESET, Turns

# Those that let submissions under way come to their end.
ORDERLY_BLOWS = ("SIGTERM to the worker", "SIGTERM to the parent", "SIGKILL of the parent")
# Seconds that the SMTP server may take until the second client waits, too.
SMTP_TIMEOUT = 20
# The proxy waits for the answers to these for a second only, and all is done by then.
FAREWELLS = ("LOGOUT", "QUIT")
# Steps at which the first try fails after the blow, so that the second has to send the message.
FAILING_STEPS = ("MAIL", "DATA")


def blows_while_a_repetition_waits(name: str) -> Iterator[Break]:
    """Yield the blow at each step, with a client that has left and one that has not; last where the first try fails."""
    for submission in USUAL:
        for moment in (*smtp_moments(submission), *imap_moments(submission)):
            if not moment.name.endswith(FAREWELLS):
                yield _blow(name, moment, has_left=True)
                yield _blow(name, moment, has_left=False)
    for step in FAILING_STEPS:
        moment = Moment(f"SMTP {step}, which fails", PLAIN, partial(_arm_failing, step))
        yield _blow(name, moment, has_left=True, is_failing=True)


def _arm_failing(step: str, house: House, act: Callable[[], object]) -> None:
    house.at_smtp(step, Turns(RESET, house.usual_at_smtp(step)), act)


def _blow(blow: str, moment: Moment, has_left: bool, is_failing: bool = False) -> Break:
    def play(house: House) -> list[Attempt]:
        draft = house.new_draft(moment.submission)
        repetitions: list[Future[str | None]] = []

        def repeat_and_blow() -> None:
            repetitions.append(pool.submit(house.submit, draft))
            house.await_submitting(2)
            BLOWS[blow](house)

        with ended_by(BLOWS[blow], house), ThreadPoolExecutor(1) as pool, house.client() as client:
            moment.arm(house, once(repeat_and_blow))
            if has_left:
                client.send(draft.command)
                house.await_met()
                client.reset()
                first = None
            else:
                first = told(client, draft)
        (repetition,) = repetitions
        second = repetition.result()
        expected = SENT if is_failing else SENT_EARLIER
        assert expected.fullmatch(second or ""), f"the repetition is told {second!r}"
        return [Attempt(draft, (first, second))]

    name = f"{moment.submission.name}: at {moment.name}, the first client {'left' if has_left else 'stays'}"
    return Break(name, replace(moment.submission.style, smtp_timeout=SMTP_TIMEOUT), play, is_sent=True)
