"""The demo's servers as child processes: started, waited for, ended, and their logs kept apart in files."""

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from link import Address

START_TIMEOUT = 20.0
STOP_TIMEOUT = 10.0

# What each of them writes to standard error as soon as it accepts connections.
LISTENING = re.compile(r"\blistening address=(\S+):(\d+)")


class StartError(Exception):
    """A server ended, or did not begin to listen in time."""


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator[Address]:
    """Run a server as long as the context lasts; its output goes to ``log``.

    It gets a process group of its own, so that a Ctrl-C reaches the demo alone, which then ends the server.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, process_group=0
        )
    try:
        yield _wait_until_listening(process, log)
    finally:
        _end(process)


def _wait_until_listening(process: subprocess.Popen[bytes], log: Path) -> Address:
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        match = LISTENING.search(log.read_text(errors="replace"))
        if match:
            return Address(match[1], int(match[2]))
        if process.poll() is not None:
            raise StartError(f"{log.stem} ended with status {process.returncode} instead of listening")
        time.sleep(0.02)
    raise StartError(f"{log.stem} did not listen within {START_TIMEOUT:.0f} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
