"""A few breaks of each kind (``python -m tests.faults`` does all): nothing is lost, nothing doubled."""

import sys
from collections.abc import Sequence
from itertools import pairwise

import pytest

from tests.faults.judge import GOOD
from tests.faults.kinds import KINDS, sample
from tests.faults.outcome import Result
from tests.faults.runner import run

# Each of its breaks takes the two minutes for which the proxy bears a silent server.
TOO_LONG = "IMAP: silence at a step"
SAMPLED = [kind for kind in KINDS if kind != TOO_LONG]
MOST = 4  # breaks of a kind
AT_LEAST = 4  # breaks in a house


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Result]:
    """Return what came of all the samples, which are taken at the same time."""
    came: list[Result] = []
    samples = {kind: sample(kind, MOST) for kind in SAMPLED}
    run(samples, tmp_path_factory.mktemp("faults"), came.append, at_least=AT_LEAST)
    return came


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_broken_submission_ends_in_one_copy_when_it_is_tried_again(kind: str, results: Sequence[Result]) -> None:
    if not sample(kind, MOST):
        pytest.skip("needs root that may mount a file system")
    came = [result for result in results if result.kind == kind]
    assert len(came) == len(sample(kind, MOST))
    assert [result for result in came if result.verdict not in GOOD] == []


@pytest.mark.parametrize("most", [1, 2, 3, MOST])
def test_a_sample_is_the_first_the_last_and_others_evenly_between(most: int) -> None:
    kind = "client: FIN within the command"
    names = [one.name for one in KINDS[kind]()]
    places = [names.index(one.name) for one in sample(kind, most)]
    assert places[0] == 0
    assert most == 1 or places[-1] == len(names) - 1
    assert len(places) == most
    steps = {after - before for before, after in pairwise(places)}
    assert max(steps, default=0) - min(steps, default=0) <= 1


def test_a_sample_of_a_few_is_all_of_them() -> None:
    kind = "client: RST before the literal"
    names = [one.name for one in KINDS[kind]()]
    assert [one.name for one in sample(kind, sys.maxsize)] == names


def test_all_of_them_are_at_least_500_different_ones() -> None:
    names = [f"{kind}: {one.name}" for kind, breaks in KINDS.items() for one in breaks()]
    assert len(names) >= 500
    assert len(set(names)) == len(names)
