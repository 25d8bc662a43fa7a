import pytest

from imapproxy.net.cleanup import cleanup
from tests.net.peers import Log


@pytest.mark.parametrize("failure", [OSError(5, "I/O error"), UnicodeError("x"), KeyError("secret"), AssertionError()])
def test_what_fails_is_logged_and_changes_nothing(log: Log, failure: Exception) -> None:
    with cleanup("QUIT"):
        raise failure
    (line,) = log.lines
    assert line.startswith("cleanup-failed step=QUIT\nTraceback ")


def test_what_does_not_fail_is_not_logged(log: Log) -> None:
    with cleanup("QUIT"):
        pass
    assert log.lines == []


@pytest.mark.parametrize("failure", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_program_passes(log: Log, failure: type[BaseException]) -> None:
    with pytest.raises(failure), cleanup("QUIT"):
        raise failure
    assert log.lines == []
