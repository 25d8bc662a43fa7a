"""What is reported of an error that nobody foresaw: enough to find it, and nothing of the user's."""

from collections.abc import Callable

import pytest

from imapproxy.sendmail.crash_report import MAX_CALLS, MAX_ERRORS, crash_report

SECRET = "pencil"


def fail(text: str) -> None:
    raise ValueError(text)


def fail_because_of_another(text: str) -> None:
    try:
        fail(text)
    except ValueError as failure:
        raise KeyError(text) from failure


def fail_beside_another(text: str) -> None:
    try:
        fail(text)
    except ValueError:
        raise KeyError(text)  # noqa: B904 - what Python then makes of it is the point


def fail_and_hide_another(text: str) -> None:
    try:
        fail(text)
    except ValueError:
        raise KeyError(text) from None


def fail_deep(text: str, depth: int = 100) -> None:
    if depth:
        fail_deep(text, depth - 1)
    fail(text)


def fail_again_and_again(text: str, times: int = 100) -> None:
    try:
        fail_again_and_again(text, times - 1) if times else fail(text)
    except ValueError as failure:
        raise ValueError(text) from failure


def report_of(function: Callable[[str], None]) -> list[str]:
    with pytest.raises((ValueError, KeyError)) as caught:
        function(SECRET)
    return crash_report(caught.value, "1.2", "3.11.2").split("\n")


def calls(report: list[str]) -> list[str]:
    """Return the report's lines without the numbers of lines, which change with this file."""
    return [f"{line.partition(',')[0]} {line.rpartition(' ')[2]}" if ", line " in line else line for line in report]


def test_it_names_the_versions_the_error_and_the_calls_that_led_to_it() -> None:
    report = report_of(fail)
    assert calls(report) == [
        "  imap-submit 1.2, Python 3.11.2",
        "  ValueError",
        f"    {__name__} report_of",
        f"    {__name__} fail",
    ]
    assert f", line {fail.__code__.co_firstlineno + 1}, in fail" in report[-1]


@pytest.mark.parametrize("function", [fail_because_of_another, fail_beside_another])
def test_it_names_the_error_that_led_to_the_error(function: Callable[[str], None]) -> None:
    assert calls(report_of(function))[1:] == [
        "  KeyError",
        f"    {__name__} report_of",
        f"    {__name__} {function.__name__}",
        "  ValueError",
        f"    {__name__} {function.__name__}",
        f"    {__name__} fail",
    ]


def test_it_does_not_name_an_error_that_was_hidden() -> None:
    assert "  ValueError" not in report_of(fail_and_hide_another)


@pytest.mark.parametrize("function", [fail, fail_because_of_another, fail_beside_another, fail_deep])
def test_it_holds_no_text_of_the_error(function: Callable[[str], None]) -> None:
    assert SECRET not in "\n".join(report_of(function))


def test_of_many_calls_it_names_the_last() -> None:
    report = calls(report_of(fail_deep))
    assert len(report) == 2 + MAX_CALLS
    assert report[-1] == f"    {__name__} fail"


def test_of_many_errors_it_names_the_last() -> None:
    assert report_of(fail_again_and_again).count("  ValueError") == MAX_ERRORS
