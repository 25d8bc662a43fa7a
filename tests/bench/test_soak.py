"""Soak itself, for a moment: with real servers, nothing is lost, doubled or left behind, and it can be ended."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.soak.__main__ import CROWDS
from tests.functional.dovecot import PROGRAM
from tests.functional.packages import require
from tests.functional.postfix import MASTER
from tests.functional.process import public_directory
from tests.functional.scripted import eventually

ROOT = Path(__file__).resolve().parents[2]
RUN_TIME = 240.0  # seconds
END_TIME = 60.0  # seconds for all that it has started to be ended


@contextmanager
def soaking(*arguments: str, directory: Path | None = None) -> Iterator["subprocess.Popen[str]"]:
    """Run a soak; what is not over at the end of the block is told to end, so that no server of it stays behind."""
    with subprocess.Popen(
        [sys.executable, "-m", "bench.soak", *arguments],
        cwd=ROOT,
        env=os.environ | ({} if directory is None else {"TMPDIR": str(directory)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_TIME)
            except subprocess.TimeoutExpired:
                process.kill()


def test_a_short_soak_finds_nothing() -> None:
    require(PROGRAM, MASTER)
    with soaking("6", "24") as process:
        said, _ = process.communicate(timeout=RUN_TIME)
    assert process.returncode == 0, said
    assert "nothing lost, nothing doubled, nothing left behind" in said


def test_a_soak_that_is_told_to_end_leaves_no_process_and_no_file_behind() -> None:
    require(PROGRAM, MASTER)
    with public_directory("soak-") as directory, soaking("600", "24", directory=directory) as process:
        assert eventually(lambda: f"login user=reloads{CROWDS - 1}-" in log_in(directory))
        assert len(started_in(directory)) > CROWDS
        process.terminate()
        said, _ = process.communicate(timeout=END_TIME)
        assert (process.returncode, said) == (130, "interrupted\n")
        assert started_in(directory) == []
        assert list(directory.iterdir()) == []


def log_in(directory: Path) -> str:
    """Return the proxy's log."""
    return "".join(log.read_text(encoding="utf-8") for log in directory.glob("*/imapproxy.log"))


def started_in(directory: Path) -> list[bytes]:
    """Return the command lines that name a file in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes()
        except OSError:  # it has ended since
            continue
        if os.fsencode(directory) in line:
            found.append(line)
    return found
