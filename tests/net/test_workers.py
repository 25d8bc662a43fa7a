"""A worker: what its parent orders, and how it ends."""

import json
import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import Any, cast

import pytest

from imapproxy.config import HostPort, parse_command_line
from imapproxy.net import privileges
from imapproxy.net import workers as workers_module
from imapproxy.net.board import Board
from imapproxy.net.channel import channel_pair
from imapproxy.net.contexts import TlsContexts
from imapproxy.net.ledger import Book, Limits
from imapproxy.net.privileges import Owner
from imapproxy.net.registry import LONGEST_USER, Registry, SessionReport
from imapproxy.net.server import bind
from imapproxy.net.worker_message import Ended, Failed, Hearing, Message, Ready, Reported, Retired, encode
from imapproxy.net.workers import Assignment, Door, Place, Worker, fork, fork_worker
from tests.net.figures import session as session_report
from tests.net.peers import PATIENCE, Background, Peer, accepted_by, listening, port_of

STOPPED = b"* BYE The server is shutting down\r\n"


class Site:
    """A worker, the IMAP server behind it, and the parent's part, which the test plays."""

    def __init__(self, owner: Owner | None = None, max_clients: int = 10) -> None:
        self._imap_context = listening()
        self.imap = self._imap_context.__enter__()
        flags = ["--mail-domain=example.com", f"--imap-server=127.0.0.1:{port_of(self.imap)}"]
        self.door = Door(Place(HostPort("127.0.0.1", 0)), False, bind(HostPort("127.0.0.1", 0), "listen"))
        self.book = Book(Limits(10, 0, 0))
        assignment = Assignment(
            parse_command_line(flags).config,
            "proxy.example",
            TlsContexts(None, None, None),
            owner,
            max_clients,
            (self.door,),
        )
        self.worker = fork_worker(assignment, self.book.board.seat(), lambda: None)
        self._heard: list[Message] = []

    def hear(self) -> Message:
        while not self._heard:
            self.await_word()
            self._heard.extend(self.worker.hear())
        return self._heard.pop(0)

    def await_word(self) -> None:
        """Return once the worker has said something, or has ended."""
        assert select.select([self.worker.control], [], [], PATIENCE)[0], "it says nothing"

    def connect(self) -> Peer:
        return Peer(socket.create_connection(self.door.stream.getsockname()[:2], timeout=PATIENCE))

    def exit_code(self) -> int:
        deadline = monotonic() + PATIENCE
        while True:
            pid, status = os.waitpid(self.worker.pid, os.WNOHANG)
            if pid:
                self.worker.pid = 0
                return os.waitstatus_to_exitcode(status)
            assert monotonic() < deadline, "it hangs"

    def close(self) -> None:
        if self.worker.pid:
            os.kill(self.worker.pid, signal.SIGKILL)
            os.waitpid(self.worker.pid, 0)
        for stream in (self.door.stream, self.worker.control, self.worker.ledger):
            stream.close()
        self._imap_context.__exit__(None, None, None)


@contextmanager
def at_work(owner: Owner | None = None) -> Iterator[Site]:
    site = Site(owner)
    try:
        yield site
    finally:
        site.close()


@pytest.fixture
def site() -> Iterator[Site]:
    with at_work() as site:
        assert site.hear() == Ready()
        yield site


@contextmanager
def session(site: Site) -> Iterator[tuple[Peer, Peer]]:
    with site.connect() as client, accepted_by(site.imap) as server:
        server.say(b"* OK ready\r\n")
        client.expect(b"* OK ready\r\n")
        yield client, server


def test_it_reports_what_it_does(site: Site) -> None:
    assert report_of(site) == Registry().report()
    with session(site):
        (running,) = report_of(site)["sessions"]
        assert running["client"] == "127.0.0.1"


def report_of(site: Site) -> Any:
    site.worker.ask()
    told = site.hear()
    assert isinstance(told, Reported)
    assert told.number == site.worker.asked
    return json.loads(told.report)


def ended(site: Site) -> dict[str, int]:
    told = site.hear()
    assert isinstance(told, Ended)
    return told.totals


def test_a_report_of_more_sessions_than_a_pipe_holds_at_once_is_whole() -> None:
    registry = Registry()
    reader, writer = channel_pair()
    with ExitStack() as stack, reader, writer:
        for number in range(500):
            one = stack.enter_context(registry.entered(Sitting(number)))
            assert one is None
        reporting = Background(lambda: workers_module.send_report(writer, registry, 1))
        reader.set_blocking(is_blocking=False)
        worker = Worker(1, reader, reader, Board().seat(), cast(Assignment, None), 0.0, Hearing(500))
        worker.hearing.expect_report(1)
        heard: list[Message] = []
        while not heard:
            select.select([reader], [], [], PATIENCE)
            heard.extend(worker.hear())
        reporting.result()
    assert isinstance(heard[0], Reported)
    assert {one["received"] for one in json.loads(heard[0].report)["sessions"]} == set(range(500))


class Sitting:
    """A session that runs."""

    def __init__(self, received: int) -> None:
        self._received = received

    def report(self) -> SessionReport:
        return session_report(user="x" * LONGEST_USER, received=self._received)


def test_it_is_asked_for_one_report_at_a_time() -> None:
    near, far = channel_pair()
    near.set_blocking(is_blocking=False)
    with near, far:
        worker = Worker(1, near, near, Board().seat(), cast(Assignment, None), 0.0, Hearing(1))
        for _ in range(1000):
            worker.ask()
        assert far.receive(1000) == b'{"report": 1}\n'
        far.send_all(encode("report", [1, Registry().report()["totals"]]))
        assert [type(message) for message in worker.hear()] == [Reported]
        worker.ask()
        assert far.receive(1000) == b'{"report": 2}\n'


def test_it_retires_when_the_last_session_ends(site: Site) -> None:
    with session(site) as (client, server):
        site.worker.retire([])
        assert site.hear() == Retired()
        server.say(b"* 1 EXISTS\r\n")
        client.expect(b"* 1 EXISTS\r\n")
        assert len(report_of(site)["sessions"]) == 1
        with site.connect() as other:  # it waits for another worker
            assert not other.is_spoken_to()
    assert ended(site)["sessions"] == 1
    assert site.exit_code() == 0


def test_it_retires_at_once_without_sessions(site: Site) -> None:
    site.worker.retire([0])
    assert site.hear() == Retired()
    assert site.exit_code() == 0
    assert ended(site)["sessions"] == 0
    with pytest.raises(EOFError):
        site.hear()


def test_who_waits_at_a_door_that_nobody_opens_any_more_is_let_in(site: Site) -> None:
    os.kill(site.worker.pid, signal.SIGSTOP)
    with site.connect() as client:
        site.worker.retire([0])
        os.kill(site.worker.pid, signal.SIGCONT)
        with accepted_by(site.imap) as server:
            server.say(b"* BYE hello\r\n")
            assert client.hear_line() == b"* BYE hello\r\n"
        client.hear_rest()
    assert site.exit_code() == 0


@pytest.mark.parametrize("how", ["told", "SIGTERM", "no parent", "no parent to read its report", "told while retiring"])
def test_it_stops_in_order(site: Site, how: str) -> None:
    with session(site) as (client, server):
        match how:
            case "no parent to read its report":
                site.worker.ask()
                site.await_word()
                site.worker.control.close()
            case "told while retiring":
                site.worker.retire([])
                assert site.hear() == Retired()
                site.worker.stop()
            case "told":
                site.worker.stop()
            case "SIGTERM":
                os.kill(site.worker.pid, signal.SIGTERM)
            case _:
                site.worker.control.close()
        assert client.hear_rest() == STOPPED
        assert server.hear_rest() == b""
    assert site.exit_code() == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_what_is_for_the_parent_is_left_to_it(site: Site, number: signal.Signals) -> None:
    os.kill(site.worker.pid, number)
    with session(site):
        pass


def test_sessions_that_take_too_long_are_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "STOP_PATIENCE", 0.1)
    with at_work() as site:
        assert site.hear() == Ready()
        with session(site) as (client, server):
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server.say_what_is_taken(b"* 1 EXISTS\r\n" * 2_000_000)  # its last words are not read
            site.worker.stop()
            assert site.exit_code() == 0


def test_its_clients_count_at_its_seat(site: Site) -> None:
    board = site.book.board
    with session(site):
        board.announce(1, 0, 0)
        assert not site.worker.seat.has_room()
    board.announce(1, 0, 0)
    deadline = monotonic() + PATIENCE
    while not site.worker.seat.has_room():
        assert monotonic() < deadline


def test_it_writes_its_count_once_more_when_it_is_told_to(site: Site) -> None:
    cells, cell = site.worker.seat._cells, site.worker.seat.cell
    with session(site):
        cells[cell] = 1 << 40  # by another worker
        site.worker.recount()
        deadline = monotonic() + PATIENCE
        while cells[cell] != 1:
            assert monotonic() < deadline


def test_what_keeps_it_from_starting_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(owner: Owner) -> None:
        raise PermissionError(1, f"cannot become {owner.user}")

    monkeypatch.setattr(privileges, "drop", drop)
    with at_work(Owner("nobody", 1, 1)) as site:
        assert site.hear() == Failed("[Errno 1] cannot become nobody")
        assert site.exit_code() == 1


# Its parent's side.


def test_half_a_line_waits_for_the_rest() -> None:
    near, far = channel_pair()
    near.set_blocking(is_blocking=False)
    with near, far:
        worker = Worker(1, near, near, Board().seat(), cast(Assignment, None), 0.0, Hearing(1))
        assert list(worker.hear()) == []
        far.send(b"ready nu")
        assert list(worker.hear()) == []
        far.send(b"ll\nre")
        assert list(worker.hear()) == [Ready()]
        far.close()
        with pytest.raises(EOFError):
            list(worker.hear())
        worker.stop()  # to nobody


def test_a_child_ends_with_its_bodys_status() -> None:
    assert os.waitstatus_to_exitcode(os.waitpid(fork(lambda: 3), 0)[1]) == 3


def test_a_child_never_returns_whatever_goes_wrong(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise RuntimeError("broken")

    assert os.waitstatus_to_exitcode(os.waitpid(fork(fail), 0)[1]) == 1


def test_signals_reach_the_parent_again_afterwards() -> None:
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    os.waitpid(fork(lambda: 0), 0)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
