"""Peers that lie, flood and drip, in each role: what the worst costs in memory, and that others notice nothing.

Whoever floods does so until the proxy breaks off, or for FLOOD octets, many times what it may hold, or for FLOOD_TIME
where it is slow work to take them. Memory is the peak that the kernel has seen meanwhile, not a look at one moment.
"""

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.functional.fake_imap import READ_SIZE, Peer, Stage
from tests.functional.fake_smtp import Script
from tests.functional.scripted import DRAFT, HEADER, Theatre, pid_of, status_number, theatre

MIB = 1 << 20
FLOOD = 48 * MIB
FLOOD_TIME = 1.0  # seconds
CHUNK = 1 << 18

# What the process may hold more than before, at the worst moment, in KiB: the README says so.
WORST = 16 * 1024

OPTIONS = {
    "listen": {"listen": "127.0.0.1:0", "login-timeout": "2"},
    "smtp": {"smtp-timeout": "2"},
    "submit": {"mail-domain": "example.com", "max-message-size": "16M"},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("hostile"), OPTIONS) as opened:
        opened.submit(DRAFT)  # what is imported or allocated at first use is there now
        yield opened


@pytest.fixture
def neighbour(house: Theatre) -> Iterator[Stage]:
    """Somebody else, whose session goes on whatever happens beside it; nothing is ever said in it that is not his."""
    with house.performance(), house.fred() as stage:
        yield stage


class Peak:
    """The most memory that a process holds while this is open, over what it held before, in KiB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = 0

    def __enter__(self) -> "Peak":
        Path(f"/proc/{self._pid}/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew: proc(5)
        self._before = status_number(self._pid, "VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def rise(self) -> int:
        return status_number(self._pid, "VmHWM") - self._before


class Flood:
    """One end of a session says ``head`` and then ``filler`` again and again; what both hear is read, and forgotten.

    The session is over afterwards.
    """

    def __init__(self, source: Peer, head: bytes, filler: bytes, sink: Peer) -> None:
        self._source = source
        self._sink = sink
        self._head = head
        self._filler = filler * max(1, CHUNK // len(filler))
        self._threads = [
            threading.Thread(target=self._pour, daemon=True),
            *(threading.Thread(target=drain, args=(end,), daemon=True) for end in (source, sink)),
        ]

    def __enter__(self) -> "Flood":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._threads[0].join(FLOOD_TIME)  # it may stand still, with nobody to read it
        self._source.hang_up()
        self._sink.hang_up()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()

    def _pour(self) -> None:
        with suppress(OSError):
            self._source.send(self._head)
            for _ in range(FLOOD // len(self._filler)):
                self._source.send(self._filler)


def drain(peer: Peer) -> None:
    """Read until the other end stops or breaks off."""
    with suppress(OSError):
        while peer.drain(READ_SIZE):
            pass


def assert_undisturbed(neighbour: Stage, times: int = 20) -> None:
    for number in range(times):
        neighbour.play(f"""
            C: N{number} NOOP
            U: N{number} NOOP
            S: N{number} OK done
            P: N{number} OK done
        """)


FROM_SERVERS = {
    "literal of 2^63": (b"* 1 FETCH (BODY[] {9223372036854775808}\r\n", b"x"),
    "literal of 2^63 - 1": (b"* 1 FETCH (BODY[] {9223372036854775807}\r\n", b"x\r\n"),
    "literal of a size without end": (b"* 1 FETCH (BODY[] {", b"9"),
    "line without end": (b"* OK ", b"x"),
    "capabilities without end": (b"* CAPABILITY IMAP4rev1", b" X-CAPABILITY"),
    "capabilities in a status response, without end": (b"* OK [CAPABILITY IMAP4rev1", b" X-CAPABILITY"),
    "capability lists without end": (b"", b"* CAPABILITY IMAP4rev1 " + b"X " * 1000 + b"\r\n"),
    "untagged responses without end": (b"", b"* 1 EXISTS\r\n"),
    "literals without end": (b"", b"* 1 FETCH (X {10}\r\n0123456789)\r\n"),
    "empty literals without end": (b"* 1 FETCH (X ", b"{0}\r\n"),
    "continuation requests without end": (b"", b"+ go on\r\n"),
    "tagged responses that nobody asked for": (b"", b"A1 OK done\r\n"),
    "line ends only": (b"", b"\r\n"),
    "NUL only": (b"", b"\0"),
}


@pytest.mark.parametrize("lie", FROM_SERVERS.values(), ids=FROM_SERVERS)
def test_imap_server_that_floods_a_session(house: Theatre, neighbour: Stage, lie: tuple[bytes, bytes]) -> None:
    with house.scene() as stage, Peak(pid_of(house.proxy)) as peak:
        stage.log_in()
        with Flood(stage.server, *lie, sink=stage.client):
            assert_undisturbed(neighbour)
        assert peak.rise() < WORST


@pytest.mark.parametrize("lie", FROM_SERVERS.values(), ids=FROM_SERVERS)
def test_imap_server_that_floods_before_the_login(house: Theatre, neighbour: Stage, lie: tuple[bytes, bytes]) -> None:
    with house.scene() as stage, Peak(pid_of(house.proxy)) as peak:
        with Flood(stage.server, *lie, sink=stage.client):
            assert_undisturbed(neighbour)
        assert peak.rise() < WORST


FROM_CLIENTS = {
    "line without end": (b"A NOOP ", b"x"),
    "tag without end": (b"", b"A"),
    "arguments without end": (b"A FETCH ", b"1,"),
    "literal of 2^63": (b"A APPEND x {9223372036854775808+}\r\n", b"x"),
    "literal of a size without end": (b"A APPEND x {", b"9"),
    "literals without end": (b"A X ", b"{10+}\r\n0123456789 "),
    "empty literals without end": (b"A X ", b"{0+}\r\n"),
    "message of 2^63": (b"A SUBMIT {9223372036854775808+}\r\n", b"x"),
    "message of 2^32": (b"A SUBMIT {4294967296+}\r\n", b"x"),
    "messages that are too large, without end": (b"", b"A SUBMIT {99999999}\r\n"),
    "empty messages without end": (b"", b"A SUBMIT {0+}\r\n\r\n"),
    "commands without end": (b"", b"A NOOP\r\n"),
    "no commands without end": (b"", b"\r\n"),
    "bare LF without end": (b"", b"A NOOP\n"),
    "NUL only": (b"", b"\0"),
    "logins without end": (b"", b"A LOGIN fred {1000+}\r\n" + b"x" * 1000 + b"\r\n"),
    "IDLE within IDLE": (b"", b"A IDLE\r\n"),
    "AUTHENTICATE that never ends": (b"A AUTHENTICATE PLAIN\r\n", b"AAAA"),
    "ID of any size": (b"A ID (", b'"x-originating-ip" "1" '),
}


@pytest.mark.parametrize("lie", FROM_CLIENTS.values(), ids=FROM_CLIENTS)
def test_client_that_floods_a_server(house: Theatre, neighbour: Stage, lie: tuple[bytes, bytes]) -> None:
    """The server reads everything and never answers."""
    with house.fred() as stage, Peak(pid_of(house.proxy)) as peak:
        with Flood(stage.client, *lie, sink=stage.server):
            assert_undisturbed(neighbour)
        assert peak.rise() < WORST


@pytest.mark.parametrize("lie", FROM_CLIENTS.values(), ids=FROM_CLIENTS)
def test_client_that_floods_before_its_login(house: Theatre, neighbour: Stage, lie: tuple[bytes, bytes]) -> None:
    with house.scene() as stage, Peak(pid_of(house.proxy)) as peak:
        stage.server.send(b"* OK hello\r\n")
        with Flood(stage.client, *lie, sink=stage.server):
            assert_undisturbed(neighbour)
        assert peak.rise() < WORST


def test_client_that_drips(house: Theatre, neighbour: Stage) -> None:
    """An octet now and then is no login: it has login-timeout (two seconds here), however lively it is."""
    with house.scene() as stage:
        stage.play("""
            S: * OK hello
            P: * OK hello
        """)
        drips = 0
        while not stage.client.ended_within(0.1):
            drips += 1
            with suppress(OSError):
                stage.client.send(b"A")
            assert drips < 100
        stage.server.rest()
    assert_undisturbed(neighbour)


def endless(octets: bytes) -> Iterator[bytes]:
    for _ in range(FLOOD // CHUNK):
        yield octets * (CHUNK // len(octets))


def dripping(octets: bytes) -> Iterator[Script]:
    for _ in range(200):
        yield octets
        yield 0.1


FROM_SMTP_SERVERS = {
    "reply without end": (endless, b"250-x\r\n"),
    "line without end": (endless, b"250 x"),
    "replies without end": (endless, b"250 x\r\n"),
    "NUL only": (endless, b"\0"),
    "line ends only": (endless, b"\r\n"),
    "a line that drips": (dripping, b"250 "),
    "a reply that drips": (dripping, b"250-x\r\n"),
}


@pytest.mark.parametrize("lie", FROM_SMTP_SERVERS)
@pytest.mark.parametrize("step", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_smtp_server_that_floods_or_drips(house: Theatre, neighbour: Stage, step: str, lie: str) -> None:
    """A submission ends by a NO, and soon; or it was taken, and what comes after that is not even read."""
    said, octets = FROM_SMTP_SERVERS[lie]
    house.script({step: said(octets)})
    with house.fred() as stage, Peak(pid_of(house.proxy)) as peak:
        stage.client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert_undisturbed(neighbour)
        answer = stage.client.answer(b"S")
        assert peak.rise() < WORST
    taken = step == "." and lie == "replies without end"
    assert answer == b"OK SUBMIT completed" if taken else answer.startswith(b"NO "), answer
    if step != ".":
        assert house.smtp.messages == []


DRAFTS = {
    "fields": HEADER + b"X: y\r\n" * 1_000_000 + b"\r\n",
    "one field": HEADER + b"X: y\r\n" + b" y\r\n" * 1_000_000 + b"\r\n",
    "one line": HEADER + b"X: " + b"y" * 8 * MIB + b"\r\n\r\n",
    "recipients": HEADER + b"Cc: " + b",\r\n ".join(b"a%d@example.com" % n for n in range(300_000)) + b"\r\n\r\n",
    "comments": HEADER + b"Cc: " + b"(" * 900_000 + b"\r\n\r\n",
    "quoted pairs": HEADER + b'Cc: "' + b"\\a" * 450_000 + b"\r\n\r\n",
    "parts": HEADER
    + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\n\r\nx\r\n" * 1_000_000
    + b"Content-Type: message/external-body; access-type=URL; URL=/INBOX/;UID=1\r\n",
    "multiparts within each other": HEADER
    + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(100_000))
    + b"Content-Type: message/external-body; access-type=URL; URL=/INBOX/;UID=1\r\n",
    "references": HEADER
    + b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    + b"--b\r\nContent-Type: message/external-body; access-type=URL; URL=/INBOX/;UID=1\r\n\r\n\r\n" * 100_000
    + b"--b--\r\n",
    "parameters": HEADER + b"Content-Type: multipart/mixed" + b"; a=b" * 180_000 + b"\r\n\r\n",
    "dots": HEADER + b"\r\n" + b".\r\n" * 5_000_000,
    "bare CR": HEADER + b"\r\n" + b"\r" * 15_000_000,
    "encoded words": HEADER + b"Subject: " + b"=?utf-8?q?=C3=BC?=\r\n " * 45_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("draft", DRAFTS.values(), ids=DRAFTS)
def test_client_whose_draft_is_all_it_can_be(house: Theatre, neighbour: Stage, draft: bytes) -> None:
    """It is sent or refused, and its session goes on."""
    with house.fred() as stage, Peak(pid_of(house.proxy)) as peak:
        stage.client.send(b"S SUBMIT {%d+}\r\n" % len(draft))
        stage.client.send(draft + b"\r\n")
        assert_undisturbed(neighbour)
        answer = stage.client.answer(b"S")
        assert peak.rise() < WORST
        assert answer.split()[0] in {b"OK", b"NO", b"BAD"}
        assert_undisturbed(stage, times=1)
