"""Peers that lie, flood and drip, in each role: what the worst costs in memory, and that others notice nothing.

Whoever floods does so until the proxy breaks off, which it must do soon, or for FLOOD_TIME where it may go on: each
lie says which. Others are served all the while. Memory is the peak that the kernel has seen meanwhile, and at the end
what is left of all of them.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from operator import attrgetter
from time import monotonic
from typing import TypeAlias

import pytest

from tests.functional.fake_imap import Peer, Stage
from tests.functional.fake_smtp import Script
from tests.functional.flood import Flood
from tests.functional.peak import Peak
from tests.functional.scripted import (
    DRAFT,
    HEADER,
    Theatre,
    descriptors,
    eventually,
    open_files,
    pid_of,
    resident_kib,
    theatre,
)

MIB = 1 << 20
FLOOD = 48 * MIB  # many times what the proxy may hold
CHUNK = 1 << 18
FLOOD_TIME = 0.5  # seconds
PROMPT = 5.0  # seconds for all of what a neighbour asks for at a time, on a busy machine
# Until the proxy has had enough, on a busy machine (s): login-timeout and smtp-timeout are two here, and a draft of
# 16 MB takes a few seconds of a processor's.
SOON = 60.0

# What the process may hold more than before, at the worst moment, in KiB: the README says so.
WORST = 16 * 1024

OPTIONS = {
    "listen": {"listen": "127.0.0.1:0", "login-timeout": "2"},
    "smtp": {"smtp-timeout": "2"},
    "submit": {"mail-domain": "example.com", "max-message-size": "16M"},
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """A theatre that, after all that was played in it, is as it was: nothing of any peer is kept for good."""
    with theatre(tmp_path_factory.mktemp("hostile"), OPTIONS) as opened:
        pid = pid_of(opened.proxy)
        descriptors_before = descriptors(pid)
        opened.submit(DRAFT)  # what is imported or allocated at first use is there now
        memory_before = resident_kib(pid)
        yield opened
        assert eventually(lambda: descriptors(pid) <= descriptors_before), open_files(pid)
        assert resident_kib(pid) < memory_before + 2 * WORST


@pytest.fixture
def neighbour(house: Theatre) -> Iterator[Stage]:
    """Somebody else, whose session goes on whatever happens beside it; nothing is ever said in it that is not his."""
    with house.performance(), house.fred() as stage:
        yield stage


def assert_undisturbed(neighbour: Stage) -> None:
    began = monotonic()
    for number in range(5):
        neighbour.play(f"""
            C: N{number} NOOP
            U: N{number} NOOP
            S: N{number} OK done
            P: N{number} OK done
        """)
    assert monotonic() - began < PROMPT


def assert_undisturbed_until(neighbour: Stage, is_over: Callable[[], object]) -> None:
    """See that the neighbour is served until something is over, and then, and that it soon is."""
    deadline = monotonic() + SOON
    while not is_over():
        assert monotonic() < deadline, "it goes on and on"
        assert_undisturbed(neighbour)
    assert_undisturbed(neighbour)


def assert_broken_off(flood: Flood, neighbour: Stage) -> None:
    assert_undisturbed_until(neighbour, lambda: flood.is_broken_off)


def assert_borne(flood: Flood, neighbour: Stage) -> None:
    end = monotonic() + FLOOD_TIME
    assert_undisturbed_until(neighbour, lambda: monotonic() > end)
    assert not flood.is_broken_off


Scene: TypeAlias = Callable[[Theatre], AbstractContextManager[Stage]]


@contextmanager
def greeted(house: Theatre) -> Iterator[Stage]:
    """A scene in which the client has not logged in."""
    with house.scene() as stage:
        stage.play("""
            S: * OK hello
            P: * OK hello
        """)
        yield stage


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


# What a server may say to one who has logged in, as long as it likes: how it is framed is known, and it is passed on.
BORNE_FROM_SERVERS = {
    "literal of 2^63",
    "literal of 2^63 - 1",
    "literal of a size without end",
    "line without end",
    "capability lists without end",
    "untagged responses without end",
    "literals without end",
    "empty literals without end",
    "continuation requests without end",
    "tagged responses that nobody asked for",
    "line ends only",
}


@pytest.mark.parametrize("lie", FROM_SERVERS)
@pytest.mark.parametrize("scene", [Theatre.scene, Theatre.fred], ids=["greeting", "session"])
def test_imap_server_that_floods(house: Theatre, neighbour: Stage, scene: Scene, lie: str) -> None:
    """Whatever it greets with, there is an end of it; a session bears what can be passed on."""
    check = assert_borne if scene is Theatre.fred and lie in BORNE_FROM_SERVERS else assert_broken_off
    with scene(house) as stage:
        peak = Peak(pid_of(house.proxy))
        with Flood(stage.server, *FROM_SERVERS[lie], sink=stage.client) as flood:
            check(flood, neighbour)
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


# What a client may say to a server that never answers: it is passed on, or waits until there is an answer.
BORNE_FROM_CLIENTS = {
    "literal of 2^63",
    "literals without end",
    "empty literals without end",
    "messages that are too large, without end",
    "empty messages without end",
    "commands without end",
    "logins without end",
    "IDLE within IDLE",
    "AUTHENTICATE that never ends",
}


@pytest.mark.parametrize("lie", FROM_CLIENTS)
@pytest.mark.parametrize("scene", [greeted, Theatre.fred], ids=["login", "session"])
def test_client_that_floods(house: Theatre, neighbour: Stage, scene: Scene, lie: str) -> None:
    """The server reads everything and never answers. Before the login there is an end of it, by login-timeout even."""
    check = assert_borne if scene is Theatre.fred and lie in BORNE_FROM_CLIENTS else assert_broken_off
    with scene(house) as stage:
        peak = Peak(pid_of(house.proxy))
        with Flood(stage.client, *FROM_CLIENTS[lie], sink=stage.server) as flood:
            check(flood, neighbour)
        assert peak.rise() < WORST


@pytest.mark.parametrize(
    ("scene", "who"),
    [
        pytest.param(Theatre.scene, attrgetter("server"), id="server"),
        pytest.param(greeted, attrgetter("client"), id="client"),
    ],
)
def test_peer_that_drips(house: Theatre, neighbour: Stage, scene: Scene, who: Callable[[Stage], Peer]) -> None:
    """An octet now and then is neither greeting nor login, however lively it is: login-timeout is for both of them."""
    with scene(house) as stage:

        def is_over() -> bool:
            with suppress(OSError):
                who(stage).send(b"A")
            return stage.client.ended_within(0.1)

        assert_undisturbed_until(neighbour, is_over)
        stage.server.rest()


def endless(octets: bytes) -> Iterator[bytes]:
    for _ in range(FLOOD // CHUNK):
        yield octets * (CHUNK // len(octets))


def dripping(octets: bytes) -> Iterator[Script]:
    for _ in range(200):
        yield octets
        yield 0.1


FLOODS = {
    "reply without end": b"250-x\r\n",
    "line without end": b"250 x",
    "replies without end": b"250 x\r\n",
    "NUL only": b"\0",
    "line ends only": b"\r\n",
}


def answer_to(house: Theatre, neighbour: Stage, draft: bytes) -> bytes:
    """Return the answer to a SUBMIT: it comes soon, in little memory, while others are served; the session goes on."""
    with house.fred() as stage:
        peak = Peak(pid_of(house.proxy))
        stage.client.send(b"S SUBMIT {%d+}\r\n" % len(draft))
        stage.client.send(draft + b"\r\n")
        assert_undisturbed_until(neighbour, stage.client.at_hand)
        answer = stage.client.answer(b"S")
        assert peak.rise() < WORST
        assert_undisturbed(stage)
    return answer


@pytest.mark.parametrize("lie", FLOODS)
@pytest.mark.parametrize("step", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_smtp_server_that_floods(house: Theatre, neighbour: Stage, step: str, lie: str) -> None:
    """A submission ends by a NO; or it was taken, and what comes after that is not even read."""
    house.script({step: endless(FLOODS[lie])})
    answer = answer_to(house, neighbour, DRAFT)
    taken = step == "." and lie == "replies without end"
    assert answer == b"OK SUBMIT completed" if taken else answer.startswith(b"NO "), answer
    if step != ".":
        assert house.smtp.messages == []


@pytest.mark.parametrize(
    ("step", "octets"), [("EHLO", b"250 "), ("EHLO", b"250-x\r\n"), (".", b"250-x\r\n")], ids=["line", "reply", "last"]
)
def test_smtp_server_that_drips(house: Theatre, neighbour: Stage, step: str, octets: bytes) -> None:
    """A reply has smtp-timeout as a whole, before the message and after it."""
    house.script({step: dripping(octets)})
    assert answer_to(house, neighbour, DRAFT).startswith(b"NO ")


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
    """It is sent or refused."""
    assert answer_to(house, neighbour, draft).split()[0] in {b"OK", b"NO", b"BAD"}
