"""A session's life and the process's, from the outside: limits, timeouts, half-closes, and an end in order."""

import os
import re
import resource
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.net.server import DESCRIPTORS_PER_CLIENT, DESCRIPTORS_PER_SUBMISSION
from tests.functional.drafts import draft, reference
from tests.functional.fake_imap import GREETING, REWRITTEN_GREETING, FakeImap, Peer, Stage, connect, well_behaved
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.forwarding import post_office
from tests.functional.mail_tree import leaf
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.scripted import (
    DRAFT,
    Theatre,
    await_exit,
    descriptors,
    eventually,
    pid_of,
    refusing_port,
    theatre,
)

STOPPED = b"* BYE The server is shutting down\r\n"
IN_ORDER = 5  # seconds that an end without anything to wait for may take, on a busy machine
SOON = 20  # seconds in which what takes one must have happened, on a busy machine; else it takes half an hour


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    listen = {"login-timeout": "1", "idle-timeout": "2", "max-clients": "3"}
    with theatre(tmp_path_factory.mktemp("session"), {"listen": listen}) as opened:
        yield opened


@dataclass(frozen=True)
class Stopped:
    """A proxy that was told to stop, and when."""

    pid: int
    since: float


@pytest.fixture(scope="module", autouse=True)
def stopped_beside_one_who_does_not_read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stopped]:
    """It has patience with his last words, while the other tests run."""
    with (
        theatre(tmp_path_factory.mktemp("stopped")) as house,
        connect(house.proxy.port, receive_buffer=4096) as client,
        house.imap.accept() as server,
    ):
        Stage(client, server).log_in()
        sender = threading.Thread(target=sent_in_vain, args=(server,), daemon=True)
        sender.start()
        client.read(1000)
        os.kill(house.proxy.pid, signal.SIGTERM)
        yield Stopped(house.proxy.pid, monotonic())
        sender.join()


def sent_in_vain(server: Peer) -> None:
    with pytest.raises(ConnectionError):
        server.send(b"* 1 EXISTS\r\n" * 2_000_000)


@pytest.fixture
def fred(house: Theatre) -> Iterator[Stage]:
    with house.fred() as stage:
        yield stage


# Limits


def test_upstream_is_not_there(tmp_path: Path) -> None:
    """The client is told so, each time; it is no failure of the program."""
    with refusing_port() as port, FakeSmtp() as smtp, running_proxy(tmp_path, port, smtp.port) as proxy:
        for _ in range(3):
            with connect(proxy.port) as client:
                assert client.rest() == b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"
        assert proxy.log().count("upstream-unreachable client=127.0.0.1") == 3


def test_too_many_clients(house: Theatre) -> None:
    """One more is told so and let go; when another has gone there is room again."""
    with house.scene(), house.scene(), house.scene() as third, connect(house.proxy.port) as fourth:
        assert fourth.rest() == b"* BYE Too many clients; try again later\r\n"
        third.server.send(GREETING)
        third.client.expect(REWRITTEN_GREETING)
    assert eventually(lambda: house.proxy.log().count("disconnect") >= 3)
    with house.scene() as stage:
        stage.server.send(GREETING)
        stage.client.expect(REWRITTEN_GREETING)


def test_descriptors_run_out(tmp_path: Path) -> None:
    """It neither ends nor spins, and lets clients in again when some have gone."""
    with (
        FakeImap(well_behaved) as imap,
        FakeSmtp() as smtp,
        running_proxy(tmp_path, imap.port, smtp.port) as proxy,
        ExitStack() as clients,
    ):
        pid = pid_of(proxy)
        limit = descriptors(pid) + 6  # two a session
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(3):
            clients.enter_context(connect(proxy.port)).expect(REWRITTEN_GREETING)
        clients.enter_context(connect(proxy.port))
        before = processor_time(pid)
        assert eventually(lambda: proxy.log().count("accept-failed") >= 3)
        assert processor_time(pid) - before < 0.3
        clients.close()
        assert eventually(lambda: is_greeted(proxy))


def test_a_submission_takes_no_more_descriptors_than_are_reserved_for_it(tmp_path: Path) -> None:
    """Not even one whose draft and whose content lie in files, and which is filed."""
    stored = leaf("text/plain; charset=utf-8", "Grüße\r\n".encode() * 200_000)
    text = b"Content-Type: text/plain\r\n\r\n" + b"Hello, hello, hello.\r\n" * 60_000
    counts = []

    def counted(peer: Peer, _: bytes, usual: bytes) -> None:
        counts.append(descriptors(pid))
        peer.send(usual)

    options = {"submit": {"sent-mailbox": "Sent"}}
    with post_office(tmp_path, {b"INBOX": {20: stored}}, options) as office, office.performance():
        pid = pid_of(office.proxy)
        before = descriptors(pid)
        office.smtp.script["EHLO"] = "250 fake"  # no 8BITMIME
        office.imap.replies = dict.fromkeys(("GREETING", "LOGIN", "EXAMINE", "FETCH", "APPENDED"), counted)
        assert office.submit(draft(text, reference("/INBOX/;UID=20"))) == "OK SUBMIT completed"
    assert max(counts) - before <= DESCRIPTORS_PER_CLIENT + DESCRIPTORS_PER_SUBMISSION


def is_greeted(proxy: Proxy) -> bool:
    with connect(proxy.port) as client:
        return client.line() == REWRITTEN_GREETING


def processor_time(pid: int) -> float:
    """Return how many seconds the process has computed."""
    ticks = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


# Timeouts


@pytest.mark.parametrize(
    ("greeting", "heard"),
    [
        (b"", b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"),
        (b"* OK hi\r\n", b"* OK hi\r\n* BYE Login takes too long\r\n"),
    ],
)
def test_login_timeout(house: Theatre, greeting: bytes, heard: bytes) -> None:
    with house.scene() as stage:
        began = monotonic()
        stage.server.send(greeting)
        assert stage.client.rest() == heard
        assert stage.server.rest() == b""
        assert monotonic() - began < SOON


def test_login_timeout_is_not_put_off_by_talking(house: Theatre) -> None:
    with house.scene() as stage:
        stage.server.send(b"* OK hi\r\n")
        said = b""
        while b"BYE" not in (line := stage.client.line()):
            said += line
            stage.client.send(b"A LOGIN {1000000}\r\n")
        assert line == b"* BYE Login takes too long\r\n"


def test_idle_timeout(fred: Stage) -> None:
    began = monotonic()
    assert fred.client.rest() == b"* BYE Nothing happened for too long\r\n"
    assert fred.server.rest() == b""
    assert 1.9 < monotonic() - began < SOON


def test_idle_timeout_within_a_response(fred: Stage) -> None:
    """No goodbye can be said inside a literal."""
    fred.server.send(b"* 1 FETCH (BODY[] {100}\r\nabc")
    assert fred.client.rest() == b"* 1 FETCH (BODY[] {100}\r\nabc"


def test_submission_is_not_idle(house: Theatre) -> None:
    with house.performance(), house.fred() as stage:
        house.script({".": (1.5, "250 2.0.0 ok")})
        assert stage.submit(DRAFT) == b"OK SUBMIT completed"
        stage.play(r"""
            C: A NOOP
            U: A NOOP
        """)


# Ends


def test_client_ends_its_output_and_still_reads(fred: Stage) -> None:
    """As ``printf ... | nc -N`` does: the server is told, and answers to the end."""
    fred.client.send(b"A FETCH 1 BODY[]\r\nB LOGOUT\r\n")
    fred.client.end_output()
    assert fred.server.rest() == b"A FETCH 1 BODY[]\r\nB LOGOUT\r\n"
    said = b"* 1 FETCH (BODY[] {1000000}\r\n" + bytes(1_000_000) + b")\r\nA OK done\r\n* BYE bye\r\nB OK done\r\n"
    fred.server.send(said)
    fred.server.close()
    assert fred.client.rest() == said


def test_client_ends_its_output_with_octets_held(fred: Stage) -> None:
    fred.client.send(b"A APPEND x {3}\r\nabc\r\nB LOGOUT\r\n")
    fred.client.end_output()
    fred.server.expect(b"A APPEND x {3}\r\n")
    fred.server.send(b"+ go\r\n")
    assert fred.server.rest() == b"abc\r\nB LOGOUT\r\n"
    fred.server.send(b"A OK done\r\n* BYE bye\r\nB OK done\r\n")
    fred.server.close()
    assert fred.client.rest() == b"+ go\r\nA OK done\r\n* BYE bye\r\nB OK done\r\n"


def test_server_says_goodbye_and_completes_the_logout(fred: Stage) -> None:
    fred.play(r"""
        C: A LOGOUT
        U: A LOGOUT
        S: * BYE bye\r\nA OK done
        P: * BYE bye\r\nA OK done
    """)
    fred.server.close()
    assert fred.client.rest() == b""


@pytest.mark.parametrize("before", [b"", b"A LOGI", b"A APPEND x {10}\r\n", b"A APPEND x {10+}\r\nabc", b"A IDLE\r\n"])
def test_client_leaves(house: Theatre, fred: Stage, before: bytes) -> None:
    """The server sees what was sent so far, and then the end."""
    fred.client.send(before)
    fred.client.close()
    passed = b"" if before == b"A LOGI" else before
    assert fred.server.rest() == passed


def test_client_breaks_off(house: Theatre, fred: Stage) -> None:
    ended = house.proxy.log().count(" disconnect ")
    fred.client.reset()
    assert fred.server.rest() == b""
    assert eventually(lambda: house.proxy.log().count(" disconnect ") > ended)


def test_what_a_vanished_client_sent_is_passed_on(fred: Stage) -> None:
    """The server was slow to read it: the end of an APPEND is worth more than a quick end."""
    upload = b"A APPEND x {4000000+}\r\n" + bytes(4_000_000) + b"\r\n"
    fred.client.send(upload[:200_000])
    fred.server.expect(upload[:200_000])
    fred.client.send(upload[200_000:300_000])
    fred.client.close()
    fred.server.expect(upload[200_000:300_000])
    assert fred.server.rest() == b""


# SIGTERM


def test_sigterm_says_goodbye_to_all(tmp_path: Path) -> None:
    with theatre(tmp_path) as house:
        pid = house.proxy.pid
        with house.scene() as silent, house.fred() as idle, house.fred() as reading, house.fred() as held:
            reading.server.send(b"* 1 FETCH (BODY[] {100}\r\nabc")
            reading.client.expect(b"* 1 FETCH (BODY[] {100}\r\nabc")
            held.client.send(b"A APPEND x {3}\r\nB NOOP\r\n")
            held.server.expect(b"A APPEND x {3}\r\n")
            os.kill(pid, signal.SIGTERM)
            assert silent.client.rest() == idle.client.rest() == held.client.rest() == STOPPED
            assert reading.client.rest() == b""
            assert idle.server.rest() == held.server.rest() == b""
            assert await_exit(pid, IN_ORDER) == 0
        assert "stopping signal=SIGTERM" in house.proxy.log()
        assert house.proxy.log().count("reason=stopped") == 4


def test_sigterm_lets_a_submission_finish(tmp_path: Path) -> None:
    """It is answered, and then comes the goodbye; nobody new is let in meanwhile."""
    with theatre(tmp_path) as house, house.fred() as stage:
        pid = house.proxy.pid
        house.script({".": (1, "250 2.0.0 ok")})
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\nB NOOP\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: bool(house.smtp.messages))
        os.kill(pid, signal.SIGTERM)
        assert stage.client.rest() == b"A OK SUBMIT completed\r\n" + STOPPED
        assert stage.server.rest() in {b"", b"B NOOP\r\n"}
        assert await_exit(pid, IN_ORDER) == 0
        assert len(house.smtp.messages) == 1


def test_sigterm_leaves_behind_submissions_that_wait_for_one_under_way(tmp_path: Path) -> None:
    """However many the client has sent at once: else they could outlast the 30 s, and be cut off anywhere."""
    with theatre(tmp_path) as house, house.fred() as stage:
        pid = house.proxy.pid
        house.script({".": (1, "250 2.0.0 ok")})
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT) * 5)
        assert eventually(lambda: bool(house.smtp.messages))
        os.kill(pid, signal.SIGTERM)
        assert stage.client.rest() == b"A OK SUBMIT completed\r\n" + STOPPED
        assert await_exit(pid, IN_ORDER) == 0
        assert len(house.smtp.messages) == 1


def test_sigterm_leaves_behind_a_submission_that_has_not_begun(tmp_path: Path) -> None:
    with theatre(tmp_path) as house, house.fred() as stage:
        pid = house.proxy.pid
        stage.client.send(b"A SUBMIT {5}\r\nabcde")
        stage.client.expect(b"+ Ready for the message\r\n")
        os.kill(pid, signal.SIGTERM)
        assert stage.client.rest() == STOPPED
        assert await_exit(pid, IN_ORDER) == 0
        assert not house.smtp.commands


def test_second_sigterm_changes_nothing(tmp_path: Path) -> None:
    with theatre(tmp_path) as house, house.fred() as stage:
        pid = house.proxy.pid
        house.script({".": (0.5, "250 2.0.0 ok")})
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: bool(house.smtp.messages))
        os.kill(pid, signal.SIGTERM)
        assert eventually(lambda: "stopping" in house.proxy.log())
        os.kill(pid, signal.SIGTERM)
        assert stage.client.rest() == b"A OK SUBMIT completed\r\n" + STOPPED
        assert await_exit(pid, IN_ORDER) == 0


def test_sigterm_is_not_held_up_by_one_who_does_not_read(stopped_beside_one_who_does_not_read: Stopped) -> None:
    """For longer than ten seconds (FAREWELL_PATIENCE)."""
    proxy = stopped_beside_one_who_does_not_read
    assert await_exit(proxy.pid, max(1, proxy.since + 10 + IN_ORDER - monotonic())) == 0


# What is logged of a session


def test_session_in_the_log(tmp_path: Path) -> None:
    with theatre(tmp_path) as house:
        with house.fred() as stage:
            assert stage.submit(DRAFT) == b"OK SUBMIT completed"
            house.script({"RCPT": "550 5.1.1 no"})
            assert stage.submit(DRAFT) == b"NO ,joe@example.org"
            stage.client.close()
            assert stage.server.rest() == b""
        assert eventually(lambda: " disconnect " in house.proxy.log())
        events = re.findall(r"(?m)^\S+ imapproxy\[\d+\]: INFO (.+)$", house.proxy.log())
    assert events[2] == "login user=fred client=127.0.0.1 mechanism=LOGIN"
    assert re.fullmatch(
        r"submission user=fred client=127\.0\.0\.1 message_id=<1@example\.com> size=\d+ recipients=1"
        r' references=0 reply="250 2\.0\.0 ok: queued as FAKE1"',
        events[3],
    )
    assert events[4] == "submission-refused user=fred client=127.0.0.1 answer=,joe@example.org"
    assert re.fullmatch(
        r'disconnect user=fred client=127\.0\.0\.1 reason="[a-z ]+" received=\d+ sent=\d+ seconds=\d+\.\d',
        events[5],
    )
    assert "secret" not in house.proxy.log()


def test_several_addresses(tmp_path: Path) -> None:
    """IPv6 too; the log names each as it is bound."""
    with theatre(tmp_path, {"listen": {"listen": "127.0.0.1:0, [::1]:0"}}) as house:
        port = re.search(r'listening address="?\[::1\]:(\d+)', house.proxy.log())
        assert port
        with Peer(socket.create_connection(("::1", int(port[1])))) as client, house.imap.accept() as server:
            stage = Stage(client, server)
            stage.log_in()
            assert stage.submit(DRAFT) == b"OK SUBMIT completed"
        assert house.smtp.messages[0].content.startswith(b"Received: from [IPv6:::1]\r\n")
        assert "login user=fred client=::1 " in house.proxy.log()
