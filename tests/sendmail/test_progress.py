"""What who waits at a terminal sees of a large message's way."""

from io import StringIO

import pytest

from imapproxy.sendmail.progress import LARGE, Progress


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def seen(total: int, *steps: int) -> str:
    terminal = Terminal()
    with Progress(total, terminal) as progress:
        for octets in steps:
            progress.sent(octets)
    return terminal.getvalue()


def test_each_line_goes_over_the_last_and_the_last_one_ends() -> None:
    assert seen(4 * LARGE, LARGE, 2 * LARGE, 4 * LARGE) == (
        "\rimap-submit:  25 % of 4.0 MiB sent\rimap-submit:  50 % of 4.0 MiB sent\rimap-submit: 100 % of 4.0 MiB sent\n"
    )


def test_a_line_ends_that_is_cut_short() -> None:
    terminal = Terminal()
    with Progress(2 * LARGE, terminal) as progress:
        progress.sent(LARGE)
    assert terminal.getvalue().endswith("50 % of 2.0 MiB sent\n")


def test_nothing_is_told_twice() -> None:
    assert seen(400 * LARGE, LARGE, LARGE + 1) == "\rimap-submit:   0 % of 400.0 MiB sent\n"


@pytest.mark.parametrize("total", [1, LARGE])
def test_nothing_is_told_of_what_is_small(total: int) -> None:
    assert seen(total, total) == ""


def test_nothing_is_told_to_a_file() -> None:
    file = StringIO()
    with Progress(2 * LARGE, file) as progress:
        progress.sent(LARGE)
    assert file.getvalue() == ""


class Gone(Terminal):
    def write(self, _: str, /) -> int:
        raise OSError


def test_a_terminal_that_is_gone_changes_nothing() -> None:
    terminal = Gone()
    with Progress(2 * LARGE, terminal) as progress:
        progress.sent(LARGE)
    assert terminal.getvalue() == ""
