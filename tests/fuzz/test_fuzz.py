"""Each target's corpus again, a few seconds of fuzzing, and some inputs grown: what holds of any octets."""

import importlib.util
from pathlib import Path

import pytest

from tests.fuzz.campaign import fuzz, grow
from tests.fuzz.target import TARGETS, Target

SECONDS = 2
# Inputs that are grown of each target, the same each time, and for how long at most on a machine that is busy.
GROWN = 25
MOST_SECONDS = 60


def described(target: Target) -> str:
    return target.name


@pytest.mark.parametrize("target", TARGETS, ids=described)
def test_the_rules_hold_for_the_corpus(target: Target) -> None:
    inputs = sorted(target.corpus.iterdir())
    assert inputs
    for path in inputs:
        target.check(path.read_bytes())


@pytest.mark.parametrize("target", TARGETS, ids=described)
def test_the_rules_hold_for_what_is_thought_up_in_a_few_seconds(target: Target, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("needs atheris: 'make test' installs it where there is one for this machine")
    outcome = fuzz(target, SECONDS, tmp_path)
    if outcome.failure:
        pytest.fail(outcome.failure, pytrace=False)  # an assertion would cut it, and the input goes with tmp_path
    assert outcome.executions > len(list(target.corpus.iterdir()))


@pytest.mark.parametrize("target", TARGETS, ids=described)
def test_an_octet_costs_the_same_whatever_came_before_it(target: Target, tmp_path: Path) -> None:
    growth = grow(target, MOST_SECONDS, tmp_path, [f"--inputs={GROWN}", "--seed=1"])
    if growth.failure:
        pytest.fail(growth.failure, pytrace=False)
    assert growth.inputs
