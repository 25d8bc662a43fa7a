"""Many octets, many sessions, slow peers: what they may cost, and that they cost nothing once they are gone."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapproxy.protocol.intake import MAX_LINE_BEFORE_LOGIN
from tests.functional.fake_imap import FakeImap, Peer, Stage, connect, well_behaved
from tests.functional.fake_smtp import FakeSmtp, Turns
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.scripted import (
    DRAFT,
    HEADER,
    Theatre,
    descriptors,
    eventually,
    open_files,
    pid_of,
    resident_kib,
    status_number,
    theatre,
)

MIB = 1 << 20

# What the process may hold more than before, in KiB: a few buffers and a backlog (256 KiB each), and what the
# allocator keeps. Far under what the peers move, so that anything that piles up shows.
FEW_BUFFERS = 4 * 1024
# What the allocator keeps for the threads that have held a draft of up to 1 MiB in memory, in KiB.
KEPT_BY_THREADS = 24 * 1024
SPARE_THREADS = 64  # finished threads that wait for the next session


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("load")) as opened:
        opened.submit(DRAFT)  # what is imported or allocated at first use is there now
        yield opened


class Flow:
    """Octets on their way in one direction, by a thread; the end of a ``with`` waits for it."""

    def __init__(self, sender: Peer, octets: bytes) -> None:
        self._thread = threading.Thread(target=sender.send, args=(octets,), daemon=True)

    def __enter__(self) -> "Flow":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        assert not self._thread.is_alive()


def numbered_lines(size: int) -> bytes:
    """Return so many octets, no line like another, so that nothing lost or doubled goes unseen."""
    return b"".join(b"%062d\r\n" % number for number in range(size // 64))


def same(octets: bytes, expected: bytes) -> bool:
    """Compare without a megabyte of explanation when they differ."""
    return hashlib.sha256(octets).digest() == hashlib.sha256(expected).digest()


def test_upload_is_not_held_up_by_a_download_that_is_left_unread(house: Theatre) -> None:
    """30 MiB each way, and hardly any of it in the proxy."""
    pid = pid_of(house.proxy)
    body = numbered_lines(30 * MIB)
    download = b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\nF OK done\r\n" % (len(body), body)
    upload = b"A APPEND x {%d+}\r\n%b\r\n" % (len(body), body)
    with house.fred() as stage:
        before = resident_kib(pid)
        stage.client.send(b"F FETCH 1 BODY[]\r\n")
        stage.server.expect(b"F FETCH 1 BODY[]\r\n")
        with Flow(stage.server, download):
            with Flow(stage.client, upload):
                assert same(stage.server.read(len(upload)), upload)
            assert resident_kib(pid) - before < FEW_BUFFERS
            assert same(stage.client.read(len(download)), download)
        assert resident_kib(pid) - before < FEW_BUFFERS


def test_slow_reader_is_waited_for(house: Theatre) -> None:
    """And the others are not: what is not read stays with the server."""
    pid = pid_of(house.proxy)
    body = numbered_lines(8 * MIB)
    download = b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(body), body)
    with connect(house.proxy.port, receive_buffer=4096) as client, house.imap.accept() as server:
        slow = Stage(client, server)
        slow.log_in()
        before = resident_kib(pid)
        with Flow(slow.server, download):
            slow.client.read(1000)
            for _ in range(3):
                assert house.submit(DRAFT) == b"OK SUBMIT completed"
            assert resident_kib(pid) - before < FEW_BUFFERS
            assert same(slow.client.read(len(download) - 1000), download[1000:])


def test_slow_server_is_waited_for(house: Theatre) -> None:
    """And what it says meanwhile gets through."""
    pid = pid_of(house.proxy)
    upload = b"A APPEND x {%d+}\r\n%b\r\n" % (30 * MIB, numbered_lines(30 * MIB))
    with house.fred() as stage:
        before = resident_kib(pid)
        with Flow(stage.client, upload):
            stage.server.expect(upload[:1000])
            for number in range(100):
                stage.server.send(b"* %d EXISTS\r\n" % number)
                stage.client.expect(b"* %d EXISTS\r\n" % number)
            assert resident_kib(pid) - before < FEW_BUFFERS
            assert same(stage.server.read(len(upload) - 1000), upload[1000:])


def test_client_that_only_asks_and_never_reads(house: Theatre) -> None:
    """Our own refusals do not pile up without end: it is no longer read."""
    pid = pid_of(house.proxy)
    nonsense = b"A SUBMIT\r\n" * 100_000
    with house.fred() as stage:
        before = resident_kib(pid)
        with Flow(stage.client, nonsense):
            assert house.submit(DRAFT) == b"OK SUBMIT completed"
            assert resident_kib(pid) - before < FEW_BUFFERS
            answer = b"A BAD SUBMIT takes one argument: the message as a literal\r\n"
            assert same(stage.client.read(len(answer) * 100_000), answer * 100_000)


def test_thousands_of_outstanding_commands(house: Theatre) -> None:
    """They are bounded, and none is lost."""
    pid = pid_of(house.proxy)
    commands = b"".join(b"%d NOOP\r\n" % number for number in range(100_000))
    with house.fred() as stage:
        before = resident_kib(pid)
        with Flow(stage.client, commands):
            for number in range(100_000):
                tag = stage.server.line().split()[0]
                assert tag == b"%d" % number
                stage.server.send(tag + b" OK\r\n")
                if number % 100 == 99:
                    stage.client.expect(b"".join(b"%d OK\r\n" % n for n in range(number - 99, number + 1)))
        assert resident_kib(pid) - before < FEW_BUFFERS


def test_large_draft_is_not_held_in_memory(house: Theatre) -> None:
    """It lies in an unlinked file: while it comes in nearly nothing of it is in memory, and afterwards too."""
    pid = pid_of(house.proxy)
    body = numbered_lines(30 * MIB)
    draft = HEADER + b"\r\n" + body
    with house.performance(), house.fred() as stage:
        before = resident_kib(pid)
        stage.client.send(b"A SUBMIT {%d+}\r\n" % len(draft))
        stage.client.send(draft[:-1])
        assert eventually(lambda: spooled(pid) >= len(draft) - 2 * MIB)
        assert resident_kib(pid) - before < FEW_BUFFERS
        assert not list(Path("/tmp").glob("tmp*imapproxy*"))
        stage.client.send(draft[-1:] + b"\r\n")
        stage.client.expect(b"A OK SUBMIT completed\r\n")
        assert same(house.smtp.messages[0].content[-len(draft) :], draft)
        assert status_number(pid, "RssAnon") < before + FEW_BUFFERS
        assert spooled(pid) == 0
        assert resident_kib(pid) - before < FEW_BUFFERS


def spooled(pid: int) -> int:
    """Return how many octets lie in the process's unlinked files."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    sizes = [file.stat().st_size for file in files if "(deleted)" in str(file.readlink())]
    return sum(sizes)


# Two hundred sessions


def logs_out(peer: Peer) -> None:
    peer.send(b"A LOGIN fred secret\r\n")
    peer.answer(b"A")
    peer.send(b"B LOGOUT\r\n")
    assert peer.answer(b"B") == b"OK done"
    assert peer.rest() == b""


def leaves_at_once(_: Peer) -> None:
    pass


def leaves_after_the_greeting(peer: Peer) -> None:
    peer.line()


def breaks_off(peer: Peer) -> None:
    peer.send(b"A LOGIN fred secret\r\nB NOOP\r\n")
    peer.answer(b"A")
    peer.reset()


def submits(peer: Peer) -> None:
    peer.send(b"A LOGIN fred secret\r\nB SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
    assert peer.answer(b"B").split()[0] in {b"OK", b"NO"}


def leaves_within_a_large_draft(peer: Peer) -> None:
    peer.send(b"A LOGIN fred secret\r\nB SUBMIT {9000000}\r\n")
    peer.answer(b"A")
    assert peer.line().startswith(b"+ ")
    peer.send(b"x" * 2_000_000)


def is_thrown_out(peer: Peer) -> None:
    peer.send(b"A" * (MAX_LINE_BEFORE_LOGIN + 1))
    peer.rest()


SESSIONS = (
    logs_out,
    leaves_at_once,
    leaves_after_the_greeting,
    breaks_off,
    submits,
    leaves_within_a_large_draft,
    is_thrown_out,
)


def run_sessions(proxy: Proxy, number: int) -> None:
    """Have so many clients, ten at once, each of another kind than the one before."""
    failures: list[BaseException] = []

    def take_turns(first: int) -> None:
        try:
            for turn in range(first, number, 10):
                with connect(proxy.port) as peer:
                    SESSIONS[turn % len(SESSIONS)](peer)
        except BaseException as failure:  # it is raised in the test's thread
            failures.append(failure)

    clients = [threading.Thread(target=take_turns, args=(first,), daemon=True) for first in range(10)]
    for client in clients:
        client.start()
    for client in clients:
        client.join(30)
    assert not failures, failures


def test_two_hundred_sessions_leave_nothing_behind(tmp_path: Path) -> None:
    """No descriptor, no thread but spare ones, no memory worth mentioning."""
    replies = {".": Turns(*["250 ok", "450 later"] * 20), "RCPT": Turns(*["250 ok", "250 ok", "550 no"] * 20)}
    with (
        FakeImap(well_behaved) as imap,
        FakeSmtp(replies=replies) as smtp,
        running_proxy(tmp_path, imap.port, smtp.port) as proxy,
    ):
        pid = pid_of(proxy)
        descriptors_before = descriptors(pid)
        run_sessions(proxy, 70)
        assert eventually(lambda: proxy.log().count(" disconnect ") == 70)
        memory_before = resident_kib(pid)
        run_sessions(proxy, 210)
        assert eventually(lambda: proxy.log().count(" disconnect ") == 280)
        # A session is logged first, and closed then.
        assert eventually(lambda: descriptors(pid) == descriptors_before), open_files(pid)
        assert status_number(pid, "Threads") < SPARE_THREADS
        assert resident_kib(pid) - memory_before < KEPT_BY_THREADS
        assert "session-failed" not in proxy.log()
