"""The dialogue, as scripts: see ``script``. What is not mentioned passes byte for byte."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import UpstreamError
from imapproxy.protocol.capability import CAN_SUBMIT, CAN_SUBMIT_SENT, CAN_SUBMIT_URL
from imapproxy.protocol.framing import MAX_HELD_LINE
from tests.protocol.script import GREETING, LOGIN, TERMS, Scene, play


def test_everything_else_passes_untouched() -> None:
    play(
        GREETING
        + LOGIN
        + r"""
        C: a1 SELECT INBOX
        U: a1 SELECT INBOX
        S: * 3 EXISTS
        P: * 3 EXISTS
        S: * OK [UIDVALIDITY 1] that ends in {5}
        P: * OK [UIDVALIDITY 1] that ends in {5}
        S: a1 OK [READ-WRITE] done
        P: a1 OK [READ-WRITE] done
        C: a2 UID FETCH 1 BODY[]
        U: a2 UID FETCH 1 BODY[]
        S: * 1 FETCH (UID 1 BODY[] {32}\r\n* CAPABILITY IMAP4rev1\r\na2 OK no\r\n FLAGS ())
        P: * 1 FETCH (UID 1 BODY[] {32}\r\n* CAPABILITY IMAP4rev1\r\na2 OK no\r\n FLAGS ())
        S: a2 OK done
        P: a2 OK done
        """
    )


def test_can_submit_is_announced_wherever_capabilities_stand() -> None:
    play(
        r"""
        S: * OK [CAPABILITY IMAP4rev1 STARTTLS] hi
        P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] hi
        C: a CAPABILITY
        U: a CAPABILITY
        S: * capability IMAP4rev1 LOGINDISABLED
        P: * capability IMAP4rev1 CAN-SUBMIT
        S: a OK [CAPABILITY IMAP4rev1] done
        P: a OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] done
        """
    )


def test_what_more_is_done_for_a_message_is_announced_too() -> None:
    scene = Scene(terms=replace(TERMS, announced=(CAN_SUBMIT, CAN_SUBMIT_URL, CAN_SUBMIT_SENT)))
    scene.play(
        r"""
        S: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT=URL IDLE] hi
        P: * OK [CAPABILITY IMAP4rev1 IDLE CAN-SUBMIT CAN-SUBMIT=URL CAN-SUBMIT=SENT] hi
        """
    )


@pytest.mark.parametrize(
    ("remark", "answer"),
    [
        ("", b"a OK SUBMIT completed\r\n"),
        ("no copy in Sent (why)", b"a OK SUBMIT completed; no copy in Sent (why)\r\n"),
    ],
)
def test_a_submission_is_answered_with_a_remark_where_there_is_one(remark: str, answer: bytes) -> None:
    scene = Scene()
    scene.play(GREETING + LOGIN)
    scene.client(b"a SUBMIT {5+}\r\nTo: x\r\n")
    scene.take(scene.dialogue.submitted(remark))
    assert scene.to_client == answer


def test_a_submission_that_was_accepted_before_is_answered_as_one_that_is_accepted() -> None:
    scene = Scene()
    scene.play(GREETING + LOGIN)
    scene.client(b"a SUBMIT {5+}\r\nTo: x\r\nb NOOP\r\n")
    scene.take(scene.dialogue.submitted_earlier(datetime(2026, 11, 24, 10, 0, 7, tzinfo=UTC)))
    assert scene.to_client == b"a OK SUBMIT completed (accepted earlier, at 2026-11-24 10:00:07 UTC)\r\n"
    assert scene.to_upstream.endswith(b"b NOOP\r\n")


def test_a_client_that_speaks_before_the_greeting_is_held() -> None:
    play(
        r"""
        C: a NOOP
        S: * OK hi
        P: * OK hi
        U: a NOOP
        """
    )


@pytest.mark.parametrize(
    "greeting", [b"* 1 EXISTS\r\n", b"220 smtp.example.com ESMTP\r\n", b"+ OK\r\n", b"* FLAGS ()\r\n"]
)
def test_what_greets_otherwise_is_no_imap_server(greeting: bytes) -> None:
    scene = Scene()
    with pytest.raises(UpstreamError, match="greet"):
        scene.server(greeting)
    scene.take(scene.dialogue.farewell("no"))
    scene.play("P: * BYE no\n!: Close")


def test_a_refused_upstream_connection_is_passed_on() -> None:
    scene = play("S: * BYE too many\nP: * BYE too many")
    assert scene.dialogue.upstream_said_bye
    scene.take(scene.dialogue.farewell("closed"))
    scene.play("!: Close")


@pytest.mark.parametrize(("rest", "is_said"), [(b"", True), (b"* 1 FETCH (BODY[] {5}\r\nab", False)])
def test_farewell_after_an_endless_line_follows_what_was_passed_on(rest: bytes, is_said: bool) -> None:
    """What the server said with that line, such as the end of a literal, is not passed on."""
    scene = Scene()
    scene.play(GREETING)
    scene.server(rest)
    scene.to_client = b""
    with pytest.raises(UpstreamError):
        scene.server((b"cde)\r\n" if rest else b"* 1 EXISTS\r\n") + b"* CAPABILITY " + b"x" * MAX_HELD_LINE)
    scene.take(scene.dialogue.farewell("garbled"))
    scene.play("P: * BYE garbled\n!: Close" if is_said else "!: Close")


def test_farewell_is_not_said_inside_a_response() -> None:
    scene = Scene()
    scene.play(GREETING)
    scene.server(b"* 1 FETCH (X {3}\r\na")
    scene.to_client = b""
    scene.take(scene.dialogue.farewell("stopping"))
    scene.play("!: Close")


# If each octet were searched again with each that follows, the two tests below would take many minutes.
LONG = b"12345678," * 7000
UNFINISHED = [
    *(b"* OK ", b"* OK [COPYUID 1 ", b"* OK [CAPABILITY ", b"* NO ", b"* BAD ", b"* BYE ", b"* PREAUTH "),
    *(b"* CAPABILITY ", b"a OK ", b"a OK [COPYUID 1 ", b"a OK [CAPABILITY ", b"a NO ", b"+ ", b"* SEARCH ", b"a"),
]


@pytest.mark.parametrize("beginning", UNFINISHED)
def test_a_servers_line_may_come_one_octet_at_a_time(beginning: bytes) -> None:
    scene = Scene(chunk=1)
    scene.play(GREETING + LOGIN)
    scene.server(beginning + LONG)
    assert (beginning + LONG).startswith(scene.to_client)
    scene.server(b" x\r\n")
    scene.server(b"* OK next\r\n")
    assert scene.to_client.startswith(beginning + LONG + b" x")
    assert scene.to_client.endswith(b"\r\n* OK next\r\n")


def test_a_greeting_may_come_one_octet_at_a_time() -> None:
    scene = Scene(chunk=1)
    scene.server(b"* OK [CAPABILITY IMAP4rev1] " + LONG + b"\r\n")
    assert scene.to_client == b"* OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] " + LONG + b"\r\n"


@pytest.mark.parametrize(
    "status",
    [
        *(b"* OK [COPYUID 1 %b 1:9] x", b"a OK [COPYUID 1 %b 1:9] x", b"a OK [MODIFIED %b] x", b"a NO [MODIFIED %b] x"),
        *(b"a OK [APPENDUID 1 %b] {3}", b"* BYE %b", b"a BAD %b"),
    ],
)
@pytest.mark.parametrize("chunk", [1 << 20, 65536, 1000, 7])
def test_a_status_response_of_any_length_passes_and_completes_its_command(status: bytes, chunk: int) -> None:
    scene = Scene(chunk)
    scene.play(GREETING + LOGIN + "C: a UID COPY 1:* x\nU: a UID COPY 1:* x")
    line = status % (b"1234567," * 25_000) + b"\r\n"
    scene.server(line)
    assert scene.to_client == line
    assert scene.dialogue.doing == ("uid" if line.startswith(b"*") else "idle")
    assert scene.dialogue.upstream_said_bye == line.startswith(b"* BYE")


def test_a_line_of_ours_does_not_stand_inside_a_long_status_response() -> None:
    play(
        GREETING
        + LOGIN
        + r"""
        S: * OK [COPYUID 1 1,3\
        P: * OK [COPYUID 1 1,3\
        C: b SUBMIT x
        S: ,5 7:9] done
        P: ,5 7:9] done
        P: b BAD SUBMIT takes one argument: the message as a literal
        """
    )


PIECES = [
    b"a NOOP\r\n",
    b"b APPEND x {4+}\r\nc NO\r\n",
    b"d SUBMIT {5+}\r\nTo: x\r\n",
    b"e STARTTLS\r\n",
    b"f SUBMIT x {3+}\r\nabc\r\n",
    b"\r\n",
    b"g SUBMIT {2000+}\r\n" + b"x" * 2000 + b"\r\n",
    b"h LOGIN a b\r\n",
    b"i COMPRESS DEFLATE\r\n",
    b"j ID (x-proxy-ttl {1}\r\n9 y {2}\r\nab)\r\n",
]


def answered(pieces: list[bytes], cuts: list[int]) -> tuple[bytes, bytes, bytes]:
    """Play a client's stream, cut there, against a server that answers every command at once."""
    scene, stream = Scene(terms=replace(TERMS, hides_forwarding_ids=True)), b"".join(pieces)
    scene.play(GREETING + LOGIN)
    upstream, seen = b"", 0
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in pairwise(edges):
        scene.client(stream[start:end])
        while seen < len(scene.to_upstream) or scene.other:
            upstream, seen = scene.to_upstream, len(scene.to_upstream)
            for _ in range(len(scene.other)):
                if scene.other.pop(0) == "Compress":
                    scene.client(scene.dialogue.taken_back())
                else:
                    scene.take(scene.dialogue.submitted())
            scene.server(b"".join(line[:1] + b" OK\r\n" for line in upstream.splitlines() if line[1:2] == b" "))
    return scene.to_upstream, b"".join(sorted(set(scene.to_client.splitlines(keepends=True)))), scene.draft


@given(st.lists(st.sampled_from(PIECES), max_size=6), st.lists(st.integers(0, 6000), max_size=10))
def test_any_chunking_of_a_client_comes_to_the_same(pieces: list[bytes], cuts: list[int]) -> None:
    assert answered(pieces, cuts) == answered(pieces, [])


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=8))
def test_no_octets_of_a_server_end_in_anything_but_its_own_fault(stream: bytes, cuts: list[int]) -> None:
    scene = Scene()
    scene.play(GREETING)
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    for start, end in pairwise(edges):
        scene.server(stream[start:end])
    if b"APABILITY" not in stream.upper():
        assert stream.startswith(scene.to_client)
