"""A check in a child: its outcome, its time, and nothing that is left of it."""

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.errors import ConfigError
from imapproxy.net import checker as checker_module
from imapproxy.net.channel import Channel
from imapproxy.net.checker import LONGEST_REASON, Check, Checker
from imapproxy.net.children import EndingChildren
from imapproxy.net.loop import Loop
from tests.net.checks import outcome
from tests.net.peers import PATIENCE, nothing_left


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def check(body: object, seconds: float = PATIENCE) -> Check:
    return Check(body, seconds, "it is late", "it is broken")  # type: ignore[arg-type]


def children() -> set[str]:
    """Return this process's children, ended ones until they are reaped: other tests' servers may be among them."""
    return {pid for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def failing(failure: Exception) -> Check:
    def fail() -> None:
        raise failure

    return check(fail)


def test_what_is_good_is_good() -> None:
    assert outcome(check(lambda: None)) == ""


@pytest.mark.parametrize("failure", [ConfigError("listen: a\nsmtp-server: b"), PermissionError("no right")])
def test_why_it_is_not_good_is_told(failure: Exception) -> None:
    assert outcome(failing(failure)) == str(failure)


def test_a_reason_has_a_bound_and_is_printable() -> None:
    assert outcome(failing(ConfigError("x" * 1_000_000))) == "x" * LONGEST_REASON
    assert outcome(failing(ConfigError("\x1b[2J\nmore\x07"))) == "?[2J\nmore?"


def test_a_check_that_breaks_is_told_from_one_that_finds_something() -> None:
    assert outcome(failing(RuntimeError("surprise"))) == "it is broken"
    assert outcome(check(lambda: os.kill(os.getpid(), signal.SIGKILL))) == "it is broken"


def test_a_check_that_does_not_end_is_killed_and_reaped() -> None:
    before = children()
    assert outcome(check(signal.pause, seconds=0.05)) == "it is late"
    assert children() == before


def test_one_that_sends_a_descriptor_has_been_taken_over_and_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    def send_all(channel: Channel, data: bytes) -> None:
        socket.send_fds(channel._stream, [data], [0])

    monkeypatch.setattr(Channel, "send_all", send_all)
    assert outcome(failing(ConfigError("listen: no"))) == "it is broken"


def test_others_are_served_meanwhile() -> None:
    loop, ending, told = Loop(), EndingChildren(), list[str]()
    checker = Checker(loop, ending, lambda: None)
    checker.run(check(signal.pause), told.append)
    began = monotonic()
    loop.later(0, lambda: told.append("somebody else"))
    loop.turn()
    assert monotonic() - began < PATIENCE
    assert (told, checker.is_running) == (["somebody else"], True)
    checker.cancel()
    while not ending.reap():
        pass
    assert (told, checker.is_running) == (["somebody else"], False)
    checker.cancel()
    checker.reap()


def test_without_room_for_a_child_nothing_is_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(body: object) -> int:
        raise BlockingIOError(11, "no room")

    monkeypatch.setattr(checker_module, "fork", fail)
    checker = Checker(Loop(), EndingChildren(), lambda: None)
    with pytest.raises(ConfigError, match=r"^cannot start a process that checks the configuration: no room$"):
        checker.run(check(lambda: None), print)
    assert not checker.is_running
    checker.close()
