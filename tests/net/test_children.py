"""Children that are to end, and sockets that are closed by one."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapproxy.net.children import EndingChildren, await_end
from tests.net.lingering import fill, in_child, unread
from tests.net.peers import PATIENCE, nothing_left, open_descriptors


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def sleeper() -> int:
    pid = os.fork()
    if not pid:
        signal.pause()
        os._exit(1)
    return pid


def is_there(pid: int) -> bool:
    """Return True while there is such a process, or what is left of it."""
    return Path(f"/proc/{pid}").exists()


def eventually_gone(pid: int, children: EndingChildren) -> None:
    deadline = time.monotonic() + PATIENCE
    while not children.reap():
        assert time.monotonic() < deadline
    assert not is_there(pid)


def test_an_end_is_awaited_for_so_long() -> None:
    pid = sleeper()
    assert not await_end(pid, 0.01)
    os.kill(pid, signal.SIGKILL)
    assert await_end(pid, PATIENCE)
    assert not is_there(pid)


def test_a_child_that_is_killed_is_gone() -> None:
    pid = sleeper()
    EndingChildren().kill(pid)
    assert not is_there(pid)


def test_one_that_the_kernel_does_not_let_go_of_is_reaped_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "kill", lambda pid, number: None)  # as if it waited for a disk
    pid, children = sleeper(), EndingChildren()
    children.kill(pid, 0)
    assert not children.reap()
    assert is_there(pid)
    monkeypatch.undo()
    os.kill(pid, signal.SIGKILL)
    eventually_gone(pid, children)


def test_sockets_are_closed() -> None:
    children = EndingChildren()
    near, far = socket.socketpair()
    with far:
        children.close([near, near])
        assert near.fileno() < 0
        assert far.recv(1) == b""
        children.close([near])
    (pid,) = children._pids
    eventually_gone(pid, children)


def test_a_listening_socket_that_became_a_connection_is_not_waited_for() -> None:
    children = EndingChildren()
    shared = socket.create_server(("127.0.0.1", 0))
    with unread() as listener:

        def take_over() -> None:
            shared.shutdown(socket.SHUT_RDWR)
            fill(shared, listener)

        in_child(take_over)
        began = time.monotonic()
        children.close([shared])
        assert time.monotonic() - began < PATIENCE
        (pid,) = children._pids
        eventually_gone(pid, children)


@pytest.mark.parametrize("what", ["pipe", "fork"])
def test_what_cannot_be_closed_now_is_closed_the_next_time(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    def fail(*_: object) -> int:
        raise BlockingIOError

    children = EndingChildren()
    near, far = socket.socketpair()
    with far:
        before = open_descriptors()
        with monkeypatch.context() as patched:
            patched.setattr(os, what, fail)
            children.close([near])
        assert open_descriptors() == before
        children.close([])
        assert far.recv(1) == b""
    (pid,) = children._pids
    eventually_gone(pid, children)
