"""The real program between the two scripted servers, and what the tests with them want of its process."""

import os
import re
import select
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.functional.fake_imap import Listener, Stage, scene
from tests.functional.fake_smtp import FakeSmtp, Script
from tests.functional.process import PATIENCE, POLL_INTERVAL
from tests.functional.proxy_process import Options, Proxy, running_proxy

HEADER = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n"
    b"From: Fred <fred@example.com>\r\n"
    b"To: joe@example.org\r\n"
    b"Message-ID: <1@example.com>\r\n"
)
DRAFT = HEADER + b"\r\nHello\r\n"


@dataclass(frozen=True)
class Theatre:
    """A proxy that plays scenes one after another with the test as its IMAP server, and a scripted SMTP server."""

    proxy: Proxy
    imap: Listener
    smtp: FakeSmtp

    def scene(self) -> AbstractContextManager[Stage]:
        return scene(self.proxy.port, self.imap)

    @contextmanager
    def fred(self) -> Iterator[Stage]:
        """A scene in which fred has logged in."""
        with self.scene() as stage:
            stage.log_in()
            yield stage

    def submit(self, draft: bytes) -> bytes:
        """Have fred SUBMIT a draft; return the answer without its tag."""
        with self.fred() as stage:
            return stage.submit(draft)

    @contextmanager
    def performance(self) -> Iterator["Theatre"]:
        """One test's time: it begins with nothing received, and what it scripts is forgotten."""
        usual = dict(self.smtp.script)
        for received in (self.smtp.commands, self.smtp.messages, self.smtp.unfinished):
            received.clear()
        yield self
        self.smtp.script = usual

    def script(self, replies: Mapping[str, Script]) -> None:
        """Have the SMTP server act like that, for this test."""
        self.smtp.script |= replies


@contextmanager
def theatre(directory: Path, options: Options | None = None) -> Iterator[Theatre]:
    """Open a theatre; ``options`` are the proxy's."""
    with (
        Listener() as imap,
        FakeSmtp() as smtp,
        running_proxy(directory, imap.port, smtp.port, options) as proxy,
    ):
        yield Theatre(proxy, imap, smtp)


@contextmanager
def refusing_port() -> Iterator[int]:
    """Take a port on which nobody listens, and nobody else can meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def eventually(condition: Callable[[], bool], within: float = PATIENCE) -> bool:
    """Wait until the condition holds, for so many seconds at most, and say whether it does."""
    deadline = monotonic() + within
    poll = select.poll()
    while not condition():
        if monotonic() > deadline:
            return False
        poll.poll(POLL_INTERVAL * 1000)
    return True


def pid_of(proxy: Proxy) -> int:
    """Return the number of the process that serves, the only one or the newest: not its parent's."""
    workers = re.findall(r"worker-started pid=(\d+)", proxy.log())
    return int(workers[-1]) if workers else proxy.pid


def await_exit(pid: int, within: float = PATIENCE) -> int:
    """Return the exit status of our child within so many seconds, and leave it to be reaped by who started it."""
    descriptor = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        assert poll.poll(within * 1000), "it does not end"
    finally:
        os.close(descriptor)
    result = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert result is not None
    return result.si_status


def resident_kib(pid: int) -> int:
    """Return how much memory of the machine a process has."""
    return status_number(pid, "VmRSS")


def status_number(pid: int, key: str) -> int:
    match = re.search(rf"^{key}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text(encoding="ascii"), re.MULTILINE)
    assert match
    return int(match[1])


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def open_files(pid: int) -> str:
    """Return what a process has open, for a test that finds more of it than there should be."""
    directory = Path(f"/proc/{pid}/fd")
    with suppress(FileNotFoundError):  # one that was closed meanwhile
        return ", ".join(f"{link.name}: {link.readlink()}" for link in directory.iterdir())
    return "it changes"
