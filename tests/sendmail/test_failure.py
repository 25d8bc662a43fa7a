"""Why the program ends: an exit status for its caller, and what it says."""

from os import EX_USAGE

from imapproxy.sendmail.failure import Failure


def test_failure_has_a_status_and_says_why() -> None:
    failure = Failure(EX_USAGE, "no recipients")
    assert failure.status == EX_USAGE
    assert str(failure) == "no recipients"
