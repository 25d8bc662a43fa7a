"""The control socket: reports of all workers for whoever asks, and nobody waited for."""

import json
import os
import re
import socket
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any, cast

import pytest

from imapproxy import __version__
from imapproxy.errors import ConfigError
from imapproxy.net import control as control_module
from imapproxy.net.board import Board
from imapproxy.net.channel import channel_pair
from imapproxy.net.children import EndingChildren
from imapproxy.net.control import MOST_ASKING, ControlSocket
from imapproxy.net.loop import Loop
from imapproxy.net.worker_message import Hearing
from imapproxy.net.workers import Assignment, Worker
from tests.net.lingering import fill, unread
from tests.net.peers import PATIENCE


class Site:
    """A parent's control socket, and workers that answer as the test says."""

    def __init__(self, path: Path, workers: int) -> None:
        self.loop = Loop()
        self.path = path
        pairs = [channel_pair() for _ in range(workers)]
        self.ends = [end for _, end in pairs]
        self.workers = [
            Worker(number, near, near, Board().seat(), cast(Assignment, None), 0.0, Hearing(1), "serving")
            for number, (near, _) in enumerate(pairs, start=1)
        ]
        self.ended: dict[str, int] = {}
        self.ending = EndingChildren()
        self.control = ControlSocket(str(path), None, self.loop, lambda: self.workers, self.ended, self.ending.close)

    def ask(self) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(str(self.path))
        return stream

    def turn_until(self, condition: Callable[[], Any]) -> None:
        deadline = monotonic() + PATIENCE
        while not condition():
            assert monotonic() < deadline
            self.loop.later(0.01, lambda: None)
            self.loop.turn()

    def asked(self, worker: int) -> int:
        """Return the number of the next question to a worker."""
        number: int = json.loads(self.ends[worker].receive(100) or b"")["report"]
        return number

    def report(self, worker: int, number: int, report: object) -> None:
        self.workers[worker].is_asked = False
        self.control.reported(self.workers[worker], number, json.dumps(report).encode())

    def answer_to(self, stream: socket.socket) -> Any:
        heard = bytearray()
        stream.setblocking(False)

        def is_over() -> bool:
            try:
                octets = stream.recv(1 << 16)
            except BlockingIOError:
                return False
            except ConnectionResetError:  # what we sent was not read
                return True
            heard.extend(octets)
            return not octets

        self.turn_until(is_over)
        return json.loads(heard) if heard else None

    def close(self) -> None:
        self.control.close()
        self.turn_until(self.ending.reap)
        for channel in (*self.ends, *(worker.control for worker in self.workers)):
            channel.close()


@contextmanager
def opened(path: Path, workers: int) -> Iterator[Site]:
    site = Site(path, workers)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control"


def test_the_reports_of_all_workers_are_told(path: Path) -> None:
    with opened(path, 2) as site, site.ask() as stream:
        site.loop.turn()
        site.workers[1].state = "retiring"
        site.report(1, site.asked(1), {"b": 2})
        site.report(0, site.asked(0), {"a": 1})
        assert site.answer_to(stream) == {
            "version": __version__,
            "pid": os.getpid(),
            "workers": [
                {"pid": 1, "retiring": False, "report": {"a": 1}},
                {"pid": 2, "retiring": True, "report": {"b": 2}},
            ],
            "ended": {},
        }


def test_who_does_not_answer_or_dies_is_left_out(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "REPORT_PATIENCE", 0.05)
    with opened(path, 3) as site, site.ask() as stream:
        site.loop.turn()
        number = site.asked(0)
        site.control.gone(site.workers[0])
        site.report(1, number, "here")
        assert [told["pid"] for told in site.answer_to(stream)["workers"]] == [2]
        site.report(2, number, "too late")
        site.report(2, 99, "to nobody")


def test_without_workers_the_answer_comes_at_once(path: Path) -> None:
    with opened(path, 0) as site, site.ask() as stream:
        assert site.answer_to(stream)["workers"] == []


def test_what_ended_workers_had_counted_is_told(path: Path) -> None:
    with opened(path, 0) as site, site.ask() as stream:
        site.ended["sessions"] = 7
        assert site.answer_to(stream)["ended"] == {"sessions": 7}


def test_a_report_counts_once(path: Path) -> None:
    with opened(path, 2) as site, site.ask() as stream:
        site.loop.turn()
        number = site.asked(0)
        for _ in range(2):
            site.report(0, number, "me")
        site.report(1, number, "and me")
        assert [told["report"] for told in site.answer_to(stream)["workers"]] == ["me", "and me"]


def test_a_long_answer_is_written_as_it_is_read(path: Path) -> None:
    report = "x" * 4_000_000
    with opened(path, 1) as site, site.ask() as stream:
        site.loop.turn()
        site.report(0, site.asked(0), report)
        assert site.answer_to(stream)["workers"][0]["report"] == report


def test_a_reader_that_does_not_read_is_let_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_module, "READ_PATIENCE", 0.05)
    with opened(path, 1) as site, site.ask() as stream:
        site.loop.turn()
        site.report(0, site.asked(0), "x" * 4_000_000)
        site.turn_until(lambda: len(site.control.streams()) == 1)
        assert len(site.control.streams()) == 1
        assert stream.recv(10)


def test_one_who_goes_before_the_answer_is_no_harm(path: Path) -> None:
    with opened(path, 1) as site:
        site.ask().close()
        site.loop.turn()
        site.report(0, site.asked(0), "x" * 4_000_000)
        site.turn_until(lambda: len(site.control.streams()) == 1)


def test_no_more_than_some_may_ask_at_once(path: Path) -> None:
    with opened(path, 1) as site:
        streams = [site.ask() for _ in range(MOST_ASKING)]
        site.turn_until(lambda: len(site.control.streams()) == 1 + MOST_ASKING)
        with site.ask() as one_more:
            assert site.answer_to(one_more) is None
        for stream in streams:
            stream.close()


@contextmanager
def poisoned(site: Site, flags: int = 0) -> Iterator[socket.socket]:
    """Ask, and send along a descriptor that whoever closes it last has to wait for."""
    with unread() as listener, site.ask() as stream:
        with socket.socket() as poison:
            fill(poison, listener)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", poison.fileno()))
            stream.sendmsg([b"x"], [rights], flags)  # send_fds() of Python 3.11 drops the flags
        yield stream


@pytest.mark.parametrize("flags", [0, socket.MSG_OOB])
def test_a_descriptor_that_is_sent_along_is_not_waited_for(path: Path, flags: int) -> None:
    with opened(path, 0) as site, poisoned(site, flags) as stream:
        began = monotonic()
        assert site.answer_to(stream)["workers"] == []
        assert monotonic() - began < PATIENCE
        site.turn_until(site.ending.reap)


def test_a_descriptor_that_was_sent_by_one_too_many_or_never_accepted_is_not_waited_for_either(path: Path) -> None:
    with ExitStack() as stack:
        site = stack.enter_context(opened(path, 1))
        for _ in range(MOST_ASKING):
            stack.enter_context(site.ask())
        site.turn_until(lambda: len(site.control.streams()) == 1 + MOST_ASKING)
        began = monotonic()
        one_too_many = stack.enter_context(poisoned(site))
        assert site.answer_to(one_too_many) is None
        stack.enter_context(poisoned(site))
        site.control.close()
        assert monotonic() - began < PATIENCE
        site.turn_until(site.ending.reap)


def test_one_who_only_asks_costs_no_process(path: Path) -> None:
    with opened(path, 0) as site, site.ask() as stream:
        assert site.answer_to(stream)["workers"] == []
        assert site.ending.reap()


def test_it_is_for_owner_and_group_and_goes_at_the_end(path: Path) -> None:
    umask = os.umask(0)
    try:
        with opened(path, 0):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(umask)
    assert not path.exists()


def test_closing_it_twice_leaves_the_next_ones_alone(path: Path) -> None:
    with opened(path, 0) as site:
        site.control.close()
        with opened(path, 0):
            site.control.close()
            assert path.exists()


def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    with opened(path, 0) as site, site.ask() as stream:
        assert site.answer_to(stream)


def test_one_that_is_in_use_is_left_alone(path: Path) -> None:
    with opened(path, 0) as site:
        with pytest.raises(ConfigError, match=f"^control-socket: {path} belongs to an imapproxy that runs"):
            Site(path, 0)
        with site.ask() as stream:
            site.turn_until(lambda: len(site.control.streams()) == 1)
            assert stream


def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine", encoding="ascii")
    with pytest.raises(ConfigError, match=f"^control-socket: {path} is there and is no socket"):
        Site(path, 0)
    assert path.read_text(encoding="ascii") == "mine"


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "control"
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConfigError, match=re.escape(f"control-socket: cannot make {path}: No such file or directory")):
        Site(path, 0)
    assert os.listdir("/proc/self/fd") == before
