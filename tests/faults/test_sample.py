"""A few breaks of each kind (``python -m tests.faults`` does all): nothing is lost, nothing doubled."""

from collections.abc import Sequence

import pytest

from tests.faults.judge import GOOD
from tests.faults.kinds import KINDS, sample
from tests.faults.runner import Result, run

# Each of its breaks takes the two minutes for which the proxy bears a silent server.
TOO_LONG = "IMAP: silence at a step"
SAMPLED = [kind for kind in KINDS if kind != TOO_LONG]
MOST = 5  # breaks of a kind


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Result]:
    """Return what came of all the samples, which are taken at the same time."""
    came: list[Result] = []
    run({kind: sample(kind, MOST) for kind in SAMPLED}, tmp_path_factory.mktemp("faults"), came.append)
    return came


@pytest.mark.parametrize("kind", SAMPLED)
def test_a_broken_submission_ends_in_one_copy_when_it_is_tried_again(kind: str, results: Sequence[Result]) -> None:
    came = [result for result in results if result.kind == kind]
    assert len(came) == len(sample(kind, MOST))
    assert [result for result in came if result.verdict not in GOOD] == []


def test_all_of_them_are_at_least_500_different_ones() -> None:
    names = [f"{kind}: {one.name}" for kind, breaks in KINDS.items() for one in breaks()]
    assert len(names) >= 500
    assert len(set(names)) == len(names)
