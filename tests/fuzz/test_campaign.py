"""What is made of libFuzzer's log, and of what growing inputs says: a finding in CI leaves nothing else."""

from base64 import b64encode
from pathlib import Path

import pytest

from tests.fuzz.campaign import MAX_INPUT, Growth, Outcome, growth_of, outcome_of

PROGRESS = "#2\tINITED cov: 400 ft: 1 corp: 1/1b\n#99\tNEW cov: 431 ft: 2\n"
STATISTICS = "stat::number_of_executed_units: 1234\n"
UNCAUGHT = """
 === Uncaught Python exception: ===
AssertionError: b'x'
Traceback (most recent call last):
  File "check.py", line 1, in check

==77== ERROR: libFuzzer: fuzz target exited
"""
TIMEOUT = "==77== ERROR: libFuzzer: timeout after 10 seconds\n"


@pytest.fixture
def finding(tmp_path: Path) -> Path:
    """Return an input that failed, too long for libFuzzer to print."""
    path = tmp_path / "crash-0123456789abcdef"
    path.write_bytes(b"\x00\xff" * (MAX_INPUT // 2))
    return path


def test_nothing_found() -> None:
    assert outcome_of(PROGRESS + STATISTICS, 0) == Outcome(1234, 431, "")


@pytest.mark.parametrize(("said", "status", "reason"), [(UNCAUGHT, 77, "AssertionError: b'x'"), (TIMEOUT, 70, TIMEOUT)])
def test_a_failure_holds_the_input_that_led_to_it(finding: Path, said: str, status: int, reason: str) -> None:
    written = f"artifact_prefix='{finding.parent}/'; Test unit written to {finding}\n"
    failure = outcome_of(PROGRESS + said + written, status).failure
    assert reason.strip() in failure
    assert failure.endswith(f"Base64 of the input: {b64encode(finding.read_bytes()).decode()}")


def test_a_process_that_does_not_even_begin_is_a_failure() -> None:
    assert outcome_of("No module named atheris\n", 1).failure == "No module named atheris\n"


def test_inputs_that_were_grown_are_counted() -> None:
    assert growth_of("37 inputs\n", 0) == Growth(37, "")


def test_an_input_over_the_budget_of_work_is_a_failure() -> None:
    assert growth_of("us an octet: 1, 2, 4, 8\n", 1) == Growth(0, "us an octet: 1, 2, 4, 8\n")
