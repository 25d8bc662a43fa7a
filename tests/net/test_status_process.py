"""The status process: replaced, ended, and started anew when it dies."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.config import HostPort
from imapproxy.net import status_process as status_process_module
from imapproxy.net.children import EndingChildren
from imapproxy.net.loop import Loop
from imapproxy.net.status_process import StatusProcess, body_of
from tests.net.peers import PATIENCE, Log, listening, port_of


class Site:
    """A status process that answers whoever connects with its body's name."""

    def __init__(self, listener: socket.socket) -> None:
        self.loop = Loop()
        self.listener = listener
        self.process = StatusProcess(self.loop, EndingChildren(), lambda kept: None)

    def replace(self, name: bytes) -> None:
        def body() -> None:
            while True:
                stream, _ = self.listener.accept()
                with stream:
                    stream.sendall(name + b" %d" % os.getpid())

        self.process.replace(self.listener, body)

    def ask(self) -> tuple[bytes, int]:
        with socket.create_connection(self.listener.getsockname(), PATIENCE) as stream:
            name, pid = stream.recv(100).split()
            return name, int(pid)


@pytest.fixture
def site() -> Iterator[Site]:
    with listening() as listener:
        listener.settimeout(None)
        site = Site(listener)
        yield site
        site.process.end()


def test_a_new_one_takes_the_place_of_the_old(site: Site) -> None:
    site.replace(b"old")
    name, old = site.ask()
    assert name == b"old"
    site.replace(b"new")
    assert not Path(f"/proc/{old}").exists()
    assert site.ask()[0] == b"new"


def test_one_that_dies_is_started_anew_after_a_pause(site: Site, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_process_module, "RESPAWN_PAUSE", 0.01)
    site.replace(b"it")
    _, first = site.ask()
    site.process.reap()
    assert site.ask() == (b"it", first)
    os.kill(first, signal.SIGKILL)
    deadline = monotonic() + PATIENCE
    while not log.lines and monotonic() < deadline:
        site.process.reap()
    assert log.lines == [f"status-process-ended pid={first}"]
    site.loop.turn()
    assert site.ask()[1] != first


def test_one_that_is_not_wanted_any_more_is_not_started_anew(site: Site) -> None:
    site.replace(b"it")
    _, pid = site.ask()
    site.process.end()
    assert not Path(f"/proc/{pid}").exists()
    site.process.end()
    site.process.reap()


def test_the_real_one_serves_health(tmp_path: Path) -> None:
    with listening() as listener, listening() as imap:
        process = StatusProcess(Loop(), EndingChildren(), lambda kept: None)
        upstreams = (HostPort("127.0.0.1", port_of(imap)), HostPort("127.0.0.1", 1))
        process.replace(listener, body_of(listener, str(tmp_path / "none"), None, upstreams))
        try:
            with socket.create_connection(listener.getsockname(), PATIENCE) as stream:
                stream.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert b" 503 " in stream.recv(1000).splitlines()[0]
        finally:
            process.end()
