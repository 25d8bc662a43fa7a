"""A few breaks at random (``python -m tests.faults --random`` does more): nothing is lost, nothing doubled."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

import imapproxy
from tests.faults.judge import GOOD, Verdict
from tests.faults.outcome import Result
from tests.faults.random_breaks import RandomBreak, random_breaks
from tests.faults.runner import run
from tests.faults.style import Style
from tests.faults.submissions import PLAIN

SEED = "make test"
COUNT = 30
PACKAGE = Path(imapproxy.__file__).parent


def test_what_breaks_at_random_ends_in_one_copy_when_it_is_tried_again(tmp_path: Path) -> None:
    breaks = random_breaks(SEED, range(COUNT))
    came = outcome(breaks, tmp_path)
    assert [result for result in came if result.verdict not in GOOD] == []
    assert len(came) == sum(map(len, breaks.values()))


def outcome(breaks: Mapping[str, Sequence[RandomBreak]], directory: Path, program: Path | None = None) -> list[Result]:
    came: list[Result] = []
    run(breaks, directory, came.append, program)
    return came


@dataclass(frozen=True)
class Bug:
    """What is added to a module of the program; what breaks; the worst that comes of it."""

    module: str
    code: str
    kind: str
    verdict: Verdict


BUGS = {
    "the journal forgets": Bug(
        "net/outbox.py",
        """
_real_key_of = key_of

def key_of(user, digest):
    return _real_key_of(user, __import__("os").urandom(32))
""",
        "client RST",
        Verdict.DOUBLED,
    ),
    "no reply to the dot is an OK": Bug(
        "net/deliver.py",
        """
_reply_or_failure = _final_reply

def _final_reply(smtp):
    try:
        return _reply_or_failure(smtp)
    except DeliveryUncertain:
        return "250 2.0.0 ok"
""",
        "SMTP no reply to the dot",
        Verdict.LOST,
    ),
    "no reply to the dot is a NO": Bug(
        "net/deliver.py",
        """
_reply_or_failure = _final_reply

def _final_reply(smtp):
    try:
        return _reply_or_failure(smtp)
    except DeliveryUncertain as failure:
        raise SubmissionRefused("4.4.2 connection to the mail server lost") from failure
""",
        "SMTP no reply to the dot",
        Verdict.DOUBLED,
    ),
}


@pytest.mark.parametrize("bug", BUGS.values(), ids=BUGS.keys())
def test_a_program_with_a_bug_does_not_pass(bug: Bug, tmp_path: Path) -> None:
    mutant = shutil.copytree(PACKAGE, tmp_path / "mutant" / PACKAGE.name)
    with (mutant / bug.module).open("a", encoding="utf-8") as module:
        module.write(f"\n\n{bug.code}\n")
    came = outcome(simple_breaks(bug.kind, 6), tmp_path / "houses", mutant.parent)
    assert bug.verdict in {result.verdict for result in came}


def simple_breaks(kind: str, count: int) -> Mapping[str, Sequence[RandomBreak]]:
    """Return some breaks of a kind that can be done in one house, by clients with patience."""
    ((row, breaks),) = [
        (row, breaks) for row, breaks in random_breaks(SEED, range(2000)).items() if row == f"random: {kind}"
    ]
    plain = [one for one in breaks if one.plan.submissions == (PLAIN,) and len(one.plan.faults) == 1]
    simple = [one for one in plain if one.style == plain[0].style and one.style.workers == Style().workers]
    return {row: simple[:count]}
