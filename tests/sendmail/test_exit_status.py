"""From why a message was not sent to the status by which a mail program goes on."""

import os

import pytest

from imapproxy.sendmail.exit_status import status_of_connection, status_of_refusal


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("5.1.1", os.EX_NOUSER),
        ("5.1.3", os.EX_NOUSER),
        ("5.3.4", os.EX_DATAERR),
        ("5.3.0", os.EX_UNAVAILABLE),
        ("5.3.41", os.EX_UNAVAILABLE),
        ("5.5.2", os.EX_PROTOCOL),
        ("5.6.6", os.EX_NOINPUT),
        ("5.6.0", os.EX_DATAERR),
        ("5.7.1", os.EX_NOPERM),
        ("5.0.0", os.EX_UNAVAILABLE),
        ("554", os.EX_UNAVAILABLE),
        ("", os.EX_UNAVAILABLE),
    ],
)
def test_a_message_that_is_refused_for_good(code: str, want: int) -> None:
    assert status_of_refusal(code, is_temporary=False, recipients=()) == want


@pytest.mark.parametrize("code", ["5.1.7", "5.1.8"])
def test_what_is_wrong_with_the_sender_is_no_recipients_fault(code: str) -> None:
    assert status_of_refusal(code, is_temporary=False, recipients=()) == os.EX_DATAERR


def test_that_there_are_too_many_recipients_is_no_fault_of_the_dialogue() -> None:
    assert status_of_refusal("5.5.3", is_temporary=False, recipients=()) == os.EX_DATAERR


@pytest.mark.parametrize("code", ["", "5.1.1", "5.7.1", "550"])
def test_recipients_that_are_refused_for_good(code: str) -> None:
    assert status_of_refusal(code, is_temporary=False, recipients=("joe@example.org",)) == os.EX_NOUSER


@pytest.mark.parametrize("recipients", [(), ("joe@example.org",)])
@pytest.mark.parametrize("code", ["4.2.0", "450"])
def test_what_may_be_taken_later(code: str, recipients: tuple[str, ...]) -> None:
    assert status_of_refusal(code, is_temporary=True, recipients=recipients) == os.EX_TEMPFAIL


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ("4.4.1", os.EX_TEMPFAIL),
        ("4.4.2", os.EX_TEMPFAIL),
        ("4.5.0", os.EX_PROTOCOL),
        ("4.7.5", os.EX_PROTOCOL),
    ],
)
def test_a_connection_that_fails(code: str, want: int) -> None:
    assert status_of_connection(code) == want
