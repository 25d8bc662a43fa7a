import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import chain, repeat
from time import monotonic

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.net.smtp import (
    GARBLED,
    LOST,
    MAX_REPLY_LINE,
    MAX_REPLY_LINES,
    MAX_REPLY_TEXT,
    NOT_RESPONDING,
    BoundedSMTP,
    Reply,
    SmtpError,
    dot_stuffed,
)
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, FakeSmtp, Script
from tests.net.peers import until

AMPLE = 20.0  # seconds, for what is to succeed on a busy machine too
TIMEOUT = 0.3  # seconds, for what is to fail
INTERVAL = 0.05  # seconds


class Waits:
    """Counts the calls of ``waiting``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@contextmanager
def connection(waiting: Waits | None = None, timeout: float = AMPLE) -> Iterator[BoundedSMTP]:
    with closing(BoundedSMTP("proxy.example", timeout, waiting or Waits(), INTERVAL)) as smtp:
        yield smtp


def answer_to_noop(script: Script, timeout: float = AMPLE) -> tuple[int, bytes]:
    with FakeSmtp(replies={"NOOP": script}) as server, connection(timeout=timeout) as smtp:
        smtp.connect("127.0.0.1", server.port)
        return smtp.docmd("NOOP")


@pytest.mark.parametrize(
    ("script", "reply"),
    [
        ("250 ok", (250, b"ok")),
        ("250", (250, b"")),
        ("250-first\n250-second\n250 third", (250, b"first\nsecond\nthird")),
        ("250-\n250", (250, b"\n")),
        ((b"25", b"0 o", b"k\r", b"\n"), (250, b"ok")),
        (b"450 4.2.0 a bare line feed\n", (450, b"4.2.0 a bare line feed")),
    ],
)
def test_reads_a_reply(script: Script, reply: tuple[int, bytes]) -> None:
    assert answer_to_noop(script) == reply


@pytest.mark.parametrize(
    "script",
    [
        "hello",
        "25 ok",
        "650 ok",
        "250ok",
        "250-one\n550 and another",
        b"\r\n",
        repeat(b"250-and so on\r\n"),
        chain(repeat(b"250-and so on\r\n", MAX_REPLY_LINES), ["250 the end, too late"]),
        repeat(b"250 a line without end"),
        b"2" * (2 * MAX_REPLY_LINE) + b"\r\n",
    ],
)
def test_a_reply_out_of_bounds_ends_the_connection(script: Script) -> None:
    with pytest.raises(SmtpError, match=GARBLED):
        answer_to_noop(script)


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (CLOSE, LOST),
        (RESET, LOST),
        ((b"250 half a li", CLOSE), LOST),
        (("250-half a reply", RESET), LOST),
        (SILENCE, NOT_RESPONDING),
        ((b"250 half a li", SILENCE), NOT_RESPONDING),
    ],
)
def test_no_reply(script: Script, text: str) -> None:
    with pytest.raises(SmtpError, match=text):
        answer_to_noop(script, TIMEOUT)


def test_a_reply_that_comes_drop_by_drop_is_bounded_as_a_whole() -> None:
    began = monotonic()
    with pytest.raises(SmtpError, match=NOT_RESPONDING):
        answer_to_noop((step for _ in range(1000) for step in (b"2", INTERVAL)), TIMEOUT)
    assert monotonic() - began < AMPLE


def test_a_connection_that_failed_stays_closed() -> None:
    with FakeSmtp(replies={"NOOP": CLOSE}) as server, connection() as smtp:
        smtp.connect("127.0.0.1", server.port)
        for _ in range(2):
            with pytest.raises(SmtpError, match=LOST):
                smtp.docmd("NOOP")


def test_waiting_is_called_while_a_reply_does_not_come() -> None:
    waiting = Waits()
    with (
        FakeSmtp(replies={"NOOP": chain(until(lambda: waiting.count >= 3), ["250 ok"])}) as server,
        connection(waiting) as smtp,
    ):
        smtp.connect("127.0.0.1", server.port)
        assert smtp.docmd("NOOP") == (250, b"ok")


def test_many_short_waits_are_a_long_one() -> None:
    waiting = Waits()
    with FakeSmtp(replies={"NOOP": (INTERVAL / 3, "250 ok")}) as server, connection(waiting) as smtp:
        smtp.connect("127.0.0.1", server.port)
        for _ in range(12):
            smtp.docmd("NOOP")
    assert waiting.count >= 2


def test_waiting_is_called_while_nobody_accepts_and_the_attempt_ends() -> None:
    waiting = Waits()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Connections in the queue: Linux drops the SYN of whoever comes next, as a dead host would.
        waiting_in_line = [socket.socket() for _ in range(4)]
        for client in waiting_in_line:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with connection(waiting, 2.0) as smtp, pytest.raises(SmtpError, match=NOT_RESPONDING):
            smtp.connect("127.0.0.1", port)
        for client in waiting_in_line:
            client.close()
    assert waiting.count >= 3


def test_output_that_is_not_taken_is_waited_for_and_bounded() -> None:
    waiting = Waits()
    with FakeSmtp(replies={"NOOP": SILENCE}) as server, connection(waiting, 2.0) as smtp:
        smtp.connect("127.0.0.1", server.port)
        smtp.putcmd("NOOP")
        with pytest.raises(SmtpError, match=NOT_RESPONDING):
            smtp.send(bytes(1 << 26))
    assert waiting.count >= 3


def test_the_last_words_of_a_server_that_stops_reading() -> None:
    with FakeSmtp(replies={"NOOP": ("421 4.3.2 shutting down", CLOSE)}) as server, connection(timeout=5) as smtp:
        smtp.connect("127.0.0.1", server.port)
        smtp.putcmd("NOOP")
        with pytest.raises(SmtpError, match=r"^421 4\.3\.2 shutting down$"):
            send_without_end(smtp)


@pytest.mark.parametrize("words", ["250 gone", RESET])
def test_a_server_that_stops_reading_without_a_reason(words: Script) -> None:
    with FakeSmtp(replies={"NOOP": (words, CLOSE)}) as server, connection(timeout=5) as smtp:
        smtp.connect("127.0.0.1", server.port)
        smtp.putcmd("NOOP")
        with pytest.raises(SmtpError, match=LOST):
            send_without_end(smtp)


def send_without_end(smtp: BoundedSMTP) -> None:
    while True:
        smtp.send(b"x" * 1000)


def test_a_server_that_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "255.255.255.255", "no such host"):
        with connection() as smtp, pytest.raises(SmtpError, match=NOT_RESPONDING):
            smtp.connect(host, port)


@pytest.mark.parametrize("hostile", ["a\r\nRSET", "a\nRSET", "a\rRSET", "a\0", "a\x1b", "a\x7f"])
def test_no_command_holds_a_control_character(hostile: str) -> None:
    with FakeSmtp() as server, connection() as smtp:
        smtp.connect("127.0.0.1", server.port)
        with pytest.raises(SubmissionRefused, match=r"^5\.5\.2"):
            smtp.docmd("RCPT", f"TO:<{hostile}@example.com>")
        with pytest.raises(SubmissionRefused, match=r"^5\.5\.2"):
            smtp.docmd(f"RCPT TO:<{hostile}@example.com>")
        smtp.docmd("NOOP")
    assert server.commands == ["NOOP"]


def test_a_command_is_ascii_until_smtputf8_is_spoken() -> None:
    with FakeSmtp() as server, connection() as smtp:
        smtp.connect("127.0.0.1", server.port)
        with pytest.raises(SubmissionRefused, match=r"^5\.6\.7"):
            smtp.docmd("RCPT TO:<é@example.com>")
        smtp.command_encoding = "utf-8"
        smtp.docmd("RCPT TO:<é@example.com>")
        with pytest.raises(SubmissionRefused, match=r"^5\.6\.7"):
            smtp.docmd("RCPT TO:<\udce9@example.com>")
    assert server.commands == ["RCPT TO:<é@example.com>"]


def test_a_farewell_fails_silently() -> None:
    with FakeSmtp(replies={"RSET": SILENCE}) as server, connection(timeout=TIMEOUT) as smtp:
        smtp.connect("127.0.0.1", server.port)
        smtp.farewell("RSET")
        smtp.farewell("QUIT")
    assert server.commands == ["RSET"]


@pytest.mark.parametrize(
    ("code", "text", "want"),
    [
        (250, b"ok", "250 ok"),
        (250, b"", "250"),
        (550, b"5.1.1 no such\n5.1.1 user", "550 5.1.1 no such 5.1.1 user"),
        (550, b"tab\there \xc3\xa9 \x1b[0m", "550 tab here ?? ?[0m"),
        (550, b"x" * 5000, ("550 " + "x" * 5000)[:MAX_REPLY_TEXT]),
    ],
)
def test_a_reply_is_one_bounded_printable_line(code: int, text: bytes, want: str) -> None:
    assert Reply.of(code, text) == (code, want)


@pytest.mark.parametrize(
    ("chunks", "want"),
    [
        ([], b""),
        ([b""], b""),
        ([b".\r\n"], b"..\r\n"),
        ([b"", b".", b"\r\n"], b"..\r\n"),
        ([b"a.b\r\n"], b"a.b\r\n"),
        ([b"a\r\n", b"", b".b\r\n"], b"a\r\n..b\r\n"),
        ([b"a\r", b"\n..b\r\n"], b"a\r\n...b\r\n"),
        ([memoryview(b"a\r\n"), memoryview(b".\r\n")], b"a\r\n..\r\n"),
    ],
)
def test_dot_stuffing(chunks: list[bytes | memoryview], want: bytes) -> None:
    assert b"".join(dot_stuffed(chunks)) == want


@given(st.lists(st.lists(st.sampled_from([b".", b"\r\n", b"a", b"..", b""])).map(b"".join)), st.data())
def test_dot_stuffing_is_the_same_for_any_chunking(lines: list[bytes], data: st.DataObject) -> None:
    message = b"".join(line + b"\r\n" for line in lines)
    borders = sorted(data.draw(st.lists(st.integers(0, len(message)))))
    chunks = [message[a:b] for a, b in zip([0, *borders], [*borders, len(message)], strict=True)]
    stuffed = b"".join(dot_stuffed(chunks))
    assert stuffed == b"".join(b"." * line.startswith(b".") + line for line in message.splitlines(keepends=True))
    assert b"\r\n.\r\n" not in b"\r\n" + stuffed
