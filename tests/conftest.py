"""What holds for every test: in CI nothing is skipped, and Hypothesis does the same each time."""

import os
from collections.abc import Generator

import hypothesis
import pytest

IN_CI = bool(os.environ.get("CI"))

# No deadline: a busy machine must not fail a test. In CI the examples are fixed; new ones are found on desks.
hypothesis.settings.register_profile("imapproxy", deadline=None, derandomize=IN_CI)
hypothesis.settings.load_profile("imapproxy")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skipped test into a failed one in CI."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
