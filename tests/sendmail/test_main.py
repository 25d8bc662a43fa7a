"""The program's own part: its input, its output, and what it ends with; sending is in test_scripted_imap_submit."""

import os
import platform
import re
from contextlib import nullcontext
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from imapproxy import __version__
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.main import main, print_lines, read_message


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without a configuration."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


# --- the message -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"To: a\n\nHi\n.\nnot this\n", b"To: a\n\nHi\n"),
        (b"To: a\r\n\r\nHi\r\n.\r\nnot this\r\n", b"To: a\r\n\r\nHi\r\n"),
        (b"To: a\n\nHi\n.", b"To: a\n\nHi\n"),
        (b"To: a\n\n..\n. \n .\n.Hi\n", b"To: a\n\n..\n. \n .\n.Hi\n"),
        (b".\n", b""),
        (b"", b""),
        (b"To: a", b"To: a"),
    ],
)
def test_a_lone_dot_ends_the_message(octets: bytes, want: bytes) -> None:
    assert read_message(BytesIO(octets), dot_ends=True) == want


@pytest.mark.parametrize("octets", [b"", b"To: a\n\nHi\n.\nand this\n", b".\n", b"To: a\r\n\r\n.\r\n\r\n"])
def test_with_i_a_lone_dot_does_not(octets: bytes) -> None:
    assert read_message(BytesIO(octets), dot_ends=False) == octets


def test_no_more_memory_is_asked_for_than_a_message_needs() -> None:
    class Stream(BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert 0 <= size <= 1 << 16
            return super().read(size)

    octets = b"x" * 200_000
    assert read_message(Stream(octets), dot_ends=False) == octets


@pytest.mark.parametrize("dot_ends", [False, True])
@pytest.mark.parametrize("octets", [b"To: a\n", b"To: \n\n"])
def test_a_message_may_be_as_large_as_that(octets: bytes, dot_ends: bool) -> None:
    assert read_message(BytesIO(octets), dot_ends, most=6) == octets


@pytest.mark.parametrize("dot_ends", [False, True])
@pytest.mark.parametrize("octets", [b"To: ab\n", b"To: a\n\n", b"\n" * 100, b"x" * 100])
def test_a_larger_message_is_refused_and_not_read_to_its_end(octets: bytes, dot_ends: bool) -> None:
    stream = BytesIO(octets)
    with pytest.raises(Failure) as caught:
        read_message(stream, dot_ends, most=6)
    assert (caught.value.status, str(caught.value)) == (os.EX_DATAERR, "the message has more than 6 octets")
    assert stream.tell() == 7


@pytest.mark.parametrize("dot_ends", [False, True])
def test_what_cannot_be_read_is_said(dot_ends: bool) -> None:
    with (
        open(os.devnull, "wb") as unreadable,
        open(unreadable.fileno(), "rb", closefd=False) as stream,
        pytest.raises(Failure) as caught,
    ):
        read_message(stream, dot_ends)
    assert (caught.value.status, str(caught.value)) == (os.EX_IOERR, "standard input: Bad file descriptor")


# --- what is printed ---------------------------------------------------------------------------------------------


def test_what_is_found_is_printed_a_line_each(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_lines(["/INBOX/;UID=20\tAnna", "/INBOX/;UID=20/;SECTION=2\tpläne.pdf"])
    assert capfdbinary.readouterr().out == "/INBOX/;UID=20\tAnna\n/INBOX/;UID=20/;SECTION=2\tpläne.pdf\n".encode()


def test_nothing_is_printed_of_nothing(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    print_lines([])
    assert capfdbinary.readouterr().out == b""


# --- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ([], os.EX_USAGE, "no recipients: name them, or give -t if the message does\n"),
        (["-bp"], os.EX_USAGE, "argument -b: 'p' is not what imap-submit does: it sends a message\n"),
        (["--find", "ALL", "--server", "nowhere", "--user=a"], os.EX_CONFIG, "--server: 'nowhere' is not"),
        (["--find", ""], os.EX_USAGE, "--find: nothing to look for (ALL finds all)\n"),
        (["--find", "ALL", "-C", "none"], os.EX_CONFIG, "there is no file none\n"),
    ],
)
def test_what_is_wrong_is_said_and_is_the_exit_status(
    arguments: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == status
    assert capsys.readouterr().err.startswith(f"imap-submit: {said}")


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (Failure(os.EX_NOUSER, "refused\njoe@example.org"), os.EX_NOUSER, "imap-submit: refused\njoe@example.org\n"),
        (KeyboardInterrupt(), 130, "imap-submit: interrupted\n"),
    ],
)
def test_whatever_happens_no_traceback_is_shown(
    failure: BaseException,
    status: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("imapproxy.sendmail.main.account_of", fail)
    assert main(["--find", "ALL"]) == status
    assert capsys.readouterr().err == said


def test_an_error_that_nobody_foresaw_is_said_with_what_can_be_reported_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("imapproxy.sendmail.main.account_of", fail)
    assert main(["--find", "ALL"]) == os.EX_SOFTWARE
    first, versions, kind, *calls = capsys.readouterr().err.splitlines()
    assert first == "imap-submit: unexpected ZeroDivisionError; please report it with these lines:"
    assert versions == f"  imap-submit {__version__}, Python {platform.python_version()}"
    assert kind == "  ZeroDivisionError"
    assert re.fullmatch(r"    imapproxy\.sendmail\.main, line \d+, in main", calls[0])
    assert calls[-1].endswith(
        "in test_an_error_that_nobody_foresaw_is_said_with_what_can_be_reported_of_it.<locals>.fail"
    )
    assert "secret" not in "".join(calls)


@pytest.mark.parametrize(("may_have_sent", "said"), [(True, "the message may have been sent; "), (False, "")])
def test_an_error_after_the_message_has_left_says_that_it_may_have_been_sent(
    may_have_sent: bool, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FailingConnection(nullcontext[None]):
        def submit(self, *_: object) -> str:
            self.may_have_sent = may_have_sent
            raise ZeroDivisionError

    monkeypatch.setattr("imapproxy.sendmail.main._connection", lambda _: FailingConnection())
    monkeypatch.setattr("sys.stdin", TextIOWrapper(BytesIO(b"To: joe@example.org\n\nHello\n")))
    assert main(["-t", "--server=127.0.0.1:1", "--user=fred", "--from=fred@example.com"]) == os.EX_SOFTWARE
    first = capsys.readouterr().err.partition("\n")[0]
    assert first == f"imap-submit: unexpected ZeroDivisionError; {said}please report it with these lines:"
