"""``make demo`` keeps its word: it shows what happened, fails where something did not, and leaves nothing behind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 90.0

# Two programs in the proxy's place.
ENDS_AT_ONCE = "raise SystemExit('no such port')"
IS_NO_PROXY = """
import os, pathlib, sys
server = pathlib.Path(__file__).parents[1] / "docs/demo/imap_server.py"
os.execv(sys.executable, [sys.executable, str(server), "foobar", "lemonade"])
"""


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where the demo puts its temporary files."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    return directory


def environment(temporary: Path, **further: str) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(temporary), "KEEP": "", **further}


def run_demo(root: Path, temporary: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, root / "docs/demo/demo.py"],
        env=environment(temporary), capture_output=True, text=True, timeout=TIMEOUT, check=False,
    )  # fmt: skip


@contextmanager
def kept_demo(temporary: Path) -> Iterator[subprocess.Popen[str]]:
    command: list[str | Path] = [sys.executable, ROOT / "docs/demo/demo.py"]
    with subprocess.Popen(command, env=environment(temporary, KEEP="1"), stdout=subprocess.PIPE, text=True) as demo:
        try:
            yield demo
        finally:
            demo.terminate()


def read_until(demo: subprocess.Popen[str], beginning: str) -> list[str]:
    """Return the demo's lines up to the one with that beginning."""
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line.rstrip("\n"))
        if line.lstrip().startswith(beginning):
            return lines
    pytest.fail("the demo ended: " + "\n".join(lines))


def step(output: str, number: int) -> list[str]:
    """Return one step's lines, without their margin."""
    lines = [line.strip() for line in output.splitlines()]
    starts = [index for index, line in enumerate(lines) if re.match(r"\d+\. ", line)]
    return lines[starts[number - 1] : starts[number] if number < len(starts) else None]


def said(lines: Sequence[str], speaker: str) -> list[str]:
    return [line[3:] for line in lines if line.startswith(f"{speaker}:")]


def with_other_proxy(program: str, place: Path) -> Path:
    """Return the root of a tree that holds the demo, and another program instead of the proxy."""
    shutil.copytree(ROOT / "docs/demo", place / "docs/demo")
    (place / "bin").mkdir()
    (place / "bin/imapproxy").write_text(program)
    return place


def test_demo_shows_that_it_works(temporary: Path) -> None:
    demo = run_demo(ROOT, temporary)

    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert demo.stderr == ""
    assert "[FAILED]" not in demo.stdout
    assert "lemonade" not in demo.stdout
    assert max(map(len, demo.stdout.splitlines())) < 80
    assert said(step(demo.stdout, 4), "S") == ["A004 OK SUBMIT completed"]
    assert said(step(demo.stdout, 5), "S")[-2] == "A005 NO ,badUser@example.com,unknownUser@example.com"
    assert list(temporary.iterdir()) == []


def costs(output: str, row: str) -> list[list[int]]:
    """Return what the table says in the rows that begin so: octets sent and received, and round trips."""
    found = [line.split()[-3:] for line in step(output, 10) if line.startswith(row)]
    return [[int(figure.replace(",", "")) for figure in figures] for figures in found]


def octets(lines: Sequence[str]) -> int:
    return sum(len(line) + len("\r\n") for line in lines)


def test_cost_is_that_of_the_conversations_shown(temporary: Path) -> None:
    output = run_demo(ROOT, temporary).stdout

    letter, forwarded = step(output, 4), step(output, 7)
    submit = said(forwarded, "C")[1:-1]  # between two looks at the flags
    answer = said(forwarded, "S")[2:-2]
    assert costs(output, "SUBMIT") == [
        [octets(said(letter, "C")), octets(said(letter, "S")), 1],
        [octets(submit), octets(answer), 1],
    ]
    # TCP, greeting, EHLO, MAIL, two RCPT, DATA, the text
    assert [figures[2] for figures in costs(output, "SMTP")] == [8, 8]


def test_forwarding_by_reference_spares_the_link_the_attachment(temporary: Path) -> None:
    output = run_demo(ROOT, temporary).stdout

    four_mebibytes_encoded = 4 * 1024 * 1024 * 4 // 3
    [(_, fetched, _)] = costs(output, "FETCH")
    assert fetched > four_mebibytes_encoded
    for sent in (costs(output, "SMTP")[1][0], costs(output, "APPEND")[1][0]):
        assert sent > four_mebibytes_encoded
    assert sum(costs(output, "SUBMIT")[1][:2]) < 1024


def test_kept_demo_can_be_used_as_it_says(temporary: Path) -> None:
    with kept_demo(temporary) as demo:
        explained = read_until(demo, "and an empty line")
        host, port = next(line.split()[1:] for line in explained if line.lstrip().startswith("telnet "))
        start = next(index for index, line in enumerate(explained) if line.lstrip().startswith("a LOGIN"))
        typed = [line.strip() for line in explained[start:-2]]
        with socket.create_connection((host, int(port)), TIMEOUT) as client:
            client.sendall("".join(f"{line}\r\n" for line in [*typed, ""]).encode())
            arrived = read_until(demo, "Arrived: ")
        demo.send_signal(signal.SIGINT)

        assert arrived[-1] == "Arrived: 5.eml from foobar@example.com to joe@example.net"
        assert demo.wait(TIMEOUT) == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_kept_demo_ends_all_it_started(temporary: Path, number: int, status: int) -> None:
    with kept_demo(temporary) as demo:
        servers = re.findall(r"127\.0\.0\.1:(\d+)", "\n".join(read_until(demo, "and an empty line")))[:3]
        demo.send_signal(number)

        assert demo.wait(TIMEOUT) == status
    assert list(temporary.iterdir()) == []
    for port in servers:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(port)), TIMEOUT)


def test_demo_fails_when_the_proxy_does_not_start(tmp_path: Path, temporary: Path) -> None:
    demo = run_demo(with_other_proxy(ENDS_AT_ONCE, tmp_path), temporary)

    assert demo.returncode == 1
    assert "imapproxy ended with status 1 instead of listening" in demo.stdout
    assert "no such port" in demo.stdout
    assert list(temporary.iterdir()) == []


def test_demo_fails_and_says_why_without_a_proxy(tmp_path: Path, temporary: Path) -> None:
    demo = run_demo(with_other_proxy(IS_NO_PROXY, tmp_path), temporary)

    assert demo.returncode == 1
    failures = demo.stdout.partition("The demo failed:\n")[2]
    assert "CAN-SUBMIT is announced" in failures
    assert "one message arrived" in failures
    assert "All of this really happened" not in demo.stdout
    assert list(temporary.iterdir()) == []
