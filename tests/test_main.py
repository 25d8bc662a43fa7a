"""The program from its command line to its exit status."""

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapproxy import __version__
from imapproxy.main import main
from tests.net.peers import Background, Log, listening, logged, port_of

GOOD = """
[listen]
listen = 127.0.0.1:{port}
[imap]
imap-server = 127.0.0.1:1
[smtp]
smtp-server = 127.0.0.1:25
[submit]
mail-domain = example.com
"""


@pytest.fixture(autouse=True)
def log() -> Iterator[Log]:
    """Leave this process as it was: the program makes settings for the rest of its life."""
    limits, stack_size = resource.getrlimit(resource.RLIMIT_NOFILE), threading.stack_size()
    with logged() as log:
        yield log
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    threading.stack_size(stack_size)


def written(directory: Path, text: str) -> str:
    file = directory / "imapproxy.conf"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_a_good_configuration_is_said_to_be_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, GOOD.format(port=1143))
    assert main(["--check-config", "-c", file]) == 0
    assert capsys.readouterr() == (f"{file}: configuration is good\n", "")


def test_flags_alone_make_a_configuration_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check-config", "--mail-domain", "example.com", "--listen", "127.0.0.1:1143"]) == 0
    assert capsys.readouterr().out == "command line: configuration is good\n"


def test_what_is_wrong_is_said_with_file_and_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, GOOD.format(port=1143) + "max-recipients = none\n")
    assert main(["--check-config", "-c", file]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"imapproxy: {file}: [submit] max-recipients: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(tmp_path / "missing.conf")
    assert main(["-c", file]) == 2
    assert file in capsys.readouterr().err


def test_a_doubt_is_said_and_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, GOOD.format(port=1143).replace("[submit]", "smtp-username = fred\n[submit]"))
    assert main(["--check-config", "-c", file]) == 0
    said = capsys.readouterr()
    assert said.out == f"{file}: configuration is good\n"
    assert said.err.startswith(f"imapproxy: warning: {file}: [smtp] smtp-username: has no effect ")


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.split()[-1] == __version__


def test_a_flag_that_is_none_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--no-such-flag"]) == 2
    assert capsys.readouterr().err == "imapproxy: unrecognized arguments: --no-such-flag\n"


@pytest.mark.parametrize("log_to", ["stderr", "a file"])
def test_a_busy_port_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str], log_to: str) -> None:
    with listening() as other:
        port = port_of(other)
        target = log_to if log_to == "stderr" else str(tmp_path / "log")
        file = written(tmp_path, GOOD.format(port=port) + f"[log]\nlog-to = {target}\n")
        # In a thread of its own, whose signals only are blocked.
        assert Background(lambda: main(["-c", file])).result() == 2
    assert capsys.readouterr() == (
        "",
        f"imapproxy: listen: cannot listen on 127.0.0.1:{port}: Address already in use\n",
    )


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "missing" / "log"
    file = written(tmp_path, GOOD.format(port=0) + f"[log]\nlog-to = {target}\n")
    assert main(["-c", file]) == 2
    assert capsys.readouterr().err == f"imapproxy: log-to: cannot log to {target}: {os.strerror(2)}\n"
