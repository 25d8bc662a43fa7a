"""The program from its command line to its exit status."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic

import pytest

from imapproxy import __version__
from imapproxy.main import main
from tests.net.peers import PATIENCE, listening, port_of

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


PROGRAM = [sys.executable, "-c", "import sys; from imapproxy.main import main; sys.exit(main(sys.argv[1:]))"]


def run(*arguments: str) -> tuple[int, str]:
    """Run the program in a process of its own; return its exit status and what it says to standard error."""
    ended = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert ended.stdout == ""
    return ended.returncode, ended.stderr


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


@pytest.mark.parametrize(("log_to", "daemon"), [("stderr", "off"), ("a file", "off"), ("a file", "on")])
def test_a_busy_port_gives_one_sentence(tmp_path: Path, log_to: str, daemon: str) -> None:
    with listening() as other:
        port = port_of(other)
        target = log_to if log_to == "stderr" else str(tmp_path / "log")
        file = written(tmp_path, GOOD.format(port=port) + f"[log]\nlog-to = {target}\n[process]\ndaemon = {daemon}\n")
        status, said = run("-c", file)
    assert status == 2
    last = said.splitlines()[-1]
    assert last == f"imapproxy: listen: cannot listen on 127.0.0.1:{port}: Address already in use"
    assert "Traceback" not in said


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD.format(port=0) + f"[log]\nlog-to = {tmp_path}\n")
    assert run("-c", file) == (2, f"imapproxy: log-to: cannot log to {tmp_path}: {os.strerror(errno.EISDIR)}\n")


def test_a_journal_that_is_none_is_named_by_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = tmp_path / "journal"
    file = written(tmp_path, GOOD.format(port=1143) + f"journal = {journal}\n")
    assert main(["--check-config", "-c", file]) == 0
    assert not journal.exists()
    journal.write_text("no database\n" * 100, encoding="ascii")
    capsys.readouterr()
    assert main(["--check-config", "-c", file]) == 2
    assert capsys.readouterr().err == (
        f"imapproxy: journal: cannot use {journal}: file is not a database; mend that, or name another file\n"
    )


def test_a_certificate_that_is_none_is_named_by_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.write_text("nothing\n", encoding="ascii")
    file = written(tmp_path, GOOD.format(port="0\nlisten-tls = 127.0.0.1:0\ntls-cert = " + str(certificate)))
    assert main(["--check-config", "-c", file]) == 2
    assert str(certificate) in capsys.readouterr().err


def test_the_status_of_a_program_that_does_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "control"
    file = written(tmp_path, GOOD.format(port=0) + f"[status]\ncontrol-socket = {path}\n")
    assert main(["--status", "-c", file]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert str(path) in said.err


def test_a_doubt_at_a_reload_is_logged(tmp_path: Path) -> None:
    """Nobody looks at the terminal any more."""
    log = tmp_path / "log"
    file = written(tmp_path, GOOD.format(port=0) + f"[log]\nlog-to = {log}\n")
    with subprocess.Popen([*PROGRAM, "-c", file]) as process:
        try:
            await_line(log, " listening ")
            written(tmp_path, GOOD.format(port=0).replace("[submit]", "smtp-username = fred\n[submit]"))
            process.send_signal(signal.SIGHUP)
            assert "smtp-username: has no effect" in await_line(log, " configuration-doubtful ")
        finally:
            process.terminate()
    assert process.returncode == 0


def await_line(log: Path, event: str) -> str:
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        if found := [line for line in lines if event in line]:
            return found[0]
    raise AssertionError(f"{event} is not logged")
