"""A worker that has been taken over: the parent, which is root, neither ends nor waits nor grows, and replaces it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.net.status import figures_from
from tests.functional.fake_imap import REWRITTEN_GREETING, FakeImap, connect, well_behaved
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.process import PATIENCE, public_directory
from tests.functional.program import Program, children, program
from tests.functional.proxy_process import Options, configuration
from tests.functional.scripted import DRAFT, descriptors, eventually, status_number
from tests.functional.taken_over import command
from tests.net.lingering import LINGER

# What the parent may grow by, whatever the worker says; it has 40 MiB itself.
MOST_GROWTH = 16 * 1024  # KiB

KILLED = {
    "no json": "this word is not expected now",
    "no json when asked": "this is no JSON",
    "no text": "this word is not expected now",
    "a word of its own": "this word is not expected now",
    "ready again": "this word is not expected now",
    "a report nobody asked for": "this word is not expected now",
    "a report of another number": "this is not the report that was asked for",
    "a report of another shape": "this is not the report that was asked for",
    "a session of other types": "this is no session",
    "totals that are no counts": "this is not the report that was asked for",
    "NaN": "this is no JSON",
    "a number without end": "this is no session",
    "a huge number": "this is no JSON",
    "a deep nesting": "this is no JSON",
    "totals at the end that are none": "these are no totals",
    "an end that is none": "this word is not expected now",
    "retired without being told": "this word is not expected now",
    "an endless line": "a line is too long",
    "an endless line when asked": "a line is too long",
    "a flood of sessions": "there are more sessions than it can have",
    "a flood of messages": "this word is not expected now",
    "no question": "this is no question",
    "a long question": "a question is too long",
    "a flood of questions, and no answer read": "it does not read its answers",
}


@pytest.fixture(scope="module")
def smtp() -> Iterator[FakeSmtp]:
    with FakeSmtp() as server:
        yield server


@pytest.fixture(scope="module")
def imap() -> Iterator[FakeImap]:
    with FakeImap(well_behaved) as server:
        yield server


class Site:
    """The program with a worker that has been taken over, and as many others as are wanted."""

    def __init__(self, it: Program, directory: Path) -> None:
        self.it = it
        self._control = str(directory / "control")
        self._size = status_number(it.process.pid, "VmHWM")

    def ask(self) -> int:
        """Return how many workers tell their state."""
        return len(figures_from(self._control)["workers"])

    def is_open(self) -> bool:
        """Return True if a client is let in."""
        with connect(self.it.ports()[0]) as client:
            return client.line() == REWRITTEN_GREETING

    def submit(self) -> None:
        """Log in and submit, for each of which the parent is asked."""
        with connect(self.it.ports()[0]) as client:
            assert client.line() == REWRITTEN_GREETING
            client.send(b"L LOGIN fred secret\r\nS SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
            assert client.line().startswith(b"L OK")
            assert client.line() == b"S OK SUBMIT completed\r\n"

    def growth(self) -> int:
        """Return by how much the parent has ever grown since the start, in KiB."""
        return status_number(self.it.process.pid, "VmHWM") - self._size


@contextmanager
def taken_over(parts: Sequence[str], imap: FakeImap, smtp: FakeSmtp, workers: int = 1) -> Iterator[Site]:
    with public_directory("imapproxy-") as directory:
        options: Options = {
            "listen": {"listen": "127.0.0.1:0", "workers": str(workers), "max-clients-per-ip": "100"},
            "submit": {"mail-domain": "example.com", "max-submissions-per-hour": "100000"},
            "status": {"control-socket": str(directory / "control")},
            "process": {"user": "nobody"} if os.geteuid() == 0 else {},
        }
        with program(directory, imap, smtp, options, command(*parts)) as it:
            yield Site(it, directory)
            if it.process.poll() is None:  # that worker would not stop when it is told to
                for pid in it.workers():
                    os.kill(pid, signal.SIGKILL)


def test_workers_that_say_what_they_may_not_are_killed_and_replaced(imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over(list(KILLED), imap, smtp) as site:
        it = site.it
        # Some speak only when they are asked.
        assert eventually(lambda: site.ask() >= 0 and it.count("worker-killed") == len(KILLED)), it.log()
        assert [line.split(" reason=")[1].strip('"') for line in it.lines("worker-killed")] == list(KILLED.values())
        assert eventually(lambda: it.count("worker-started") == len(KILLED) + 1)
        assert it.count("worker-ended") == len(KILLED)
        assert all(line.endswith(" signal=9") for line in it.lines("worker-ended"))
        site.submit()
        assert site.ask() == 1
        assert site.growth() < MOST_GROWTH


def test_a_worker_that_never_is_ready_is_not_waited_for_without_end(tmp_path: Path) -> None:
    config = tmp_path / "imapproxy.conf"
    config.write_text(configuration(1, 1, {}), encoding="utf-8")
    arguments = [sys.executable, *command("never ready"), "-c", str(config)]
    started = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert started.returncode == 2
    assert 'reason="it does not start"' in started.stderr
    assert started.stderr.endswith("imapproxy: a worker could not start; the log says why\n")


@pytest.mark.parametrize("part", ["a flood of news", "a flood in the memory", "orders that are never read"])
def test_what_a_worker_may_say_and_do_keeps_nobody_from_being_served(part: str, imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over([part], imap, smtp, workers=2) as site:
        it = site.it
        assert eventually(lambda: len(it.workers()) == 2)
        if part == "a flood in the memory":  # which is right again when that worker has ended
            os.kill(it.workers()[0], signal.SIGKILL)
            assert eventually(lambda: it.count("worker-started") == 3)
            assert eventually(site.is_open)
        for _ in range(3):
            site.submit()
        assert site.ask() >= 1
        assert it.count("worker-killed") == 0
        assert site.growth() < MOST_GROWTH


def test_a_worker_that_does_not_retire_does_not_hold_up_a_reload(imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over(["orders that are never read"], imap, smtp) as site:
        it = site.it
        for _ in range(2):
            it.reload()
            site.submit()
        assert [line.split(" reason=")[1] for line in it.lines("worker-killed")] == ['"it does not retire"']
        assert site.ask() == 1


def test_descriptors_at_the_control_socket_are_not_waited_for(imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over(["descriptors"], imap, smtp, workers=2) as site:
        it = site.it
        open_before = descriptors(it.process.pid)
        began = monotonic()
        site.ask()
        while monotonic() - began < 4:  # twice as long as each of them has for reading
            site.submit()
        assert site.ask() == 1
        assert (it.count("worker-killed"), it.count("worker-ended")) == (0, 0)
        assert eventually(lambda: len(children(it.process.pid)) == 2)
        assert descriptors(it.process.pid) <= open_before
        it.reload()


def test_listening_sockets_that_were_made_connections_are_not_waited_for(imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over(["listeners"], imap, smtp) as site:
        it = site.it
        assert eventually(lambda: it.count("worker-started") == 1)
        began = monotonic()
        os.kill(it.workers()[0], signal.SIGKILL)
        it.stop()
        assert monotonic() - began < LINGER


def test_what_a_worker_leaves_behind_has_no_say(imap: FakeImap, smtp: FakeSmtp) -> None:
    with taken_over(["a haunting child"], imap, smtp) as site:
        it = site.it
        assert eventually(lambda: it.count("worker-started") == 2)
        site.submit()
        assert site.ask() == 1
        assert site.growth() < MOST_GROWTH
