"""The demo's IMAP server answers as RFC 3501 has it where the proxy, or a client, reads parts of messages."""

import imaplib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).resolve().parents[2] / "docs/demo/imap_server.py"
NEWEST = "105"  # the UID of the first message that is added to the demo's mailbox

MESSAGE = b"""\
Subject: parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

no line end
--b
Content-Type: text/plain

one line

--b
Content-Type: message/rfc822

Subject: nested

below
--b
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAEC
--b--
""".replace(b"\n", b"\r\n")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    command: list[str | Path] = [sys.executable, SERVER, "fred", "secret"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        try:
            listening = re.fullmatch(r"listening address=127\.0\.0\.1:(\d+)\n", server.stderr.readline())
            assert listening is not None
            yield int(listening[1])
        finally:
            server.kill()


@pytest.fixture(scope="module")
def client(port: int) -> Iterator[imaplib.IMAP4]:
    with imaplib.IMAP4("127.0.0.1", port) as client:
        client.login("fred", "secret")
        client.append("INBOX", "", "", MESSAGE)
        yield client


@pytest.fixture
def reader(port: int, client: imaplib.IMAP4) -> Iterator[imaplib.IMAP4]:
    """A second connection of the same user, which has nothing but looked into the inbox."""
    with imaplib.IMAP4("127.0.0.1", port) as reader:
        reader.login("fred", "secret")
        reader.select("INBOX", readonly=True)
        yield reader


def fetched(reader: imaplib.IMAP4, item: str) -> bytes:
    """Return the octets of a message's section."""
    _, (answer, *_) = reader.uid("FETCH", NEWEST, f"({item})")
    assert isinstance(answer, tuple)
    return bytes(answer[1])


@pytest.mark.parametrize(
    ("item", "octets"),
    [
        ("BODY.PEEK[1]", b"no line end"),
        ("BODY.PEEK[2]", b"one line\r\n"),
        ("BODY.PEEK[3]", b"Subject: nested\r\n\r\nbelow"),
        ("BODY.PEEK[4]", b"AAEC"),
        ("BODY.PEEK[4]<1.2>", b"AE"),
        ("BODY.PEEK[4.MIME]", b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        ("BODY.PEEK[]", MESSAGE),
    ],
)
def test_another_connection_reads_octet_for_octet(reader: imaplib.IMAP4, item: str, octets: bytes) -> None:
    assert fetched(reader, item) == octets


def test_body_structure_gives_the_octets_and_lines_of_bodies(reader: imaplib.IMAP4) -> None:
    _, (answer, *_) = reader.uid("FETCH", NEWEST, "(BODYSTRUCTURE)")

    assert isinstance(answer, bytes)
    sizes = re.findall(rb'"(?:7BIT|base64)" (\d+)(?: (\d+))?', answer)
    assert sizes == [(b"11", b"0"), (b"10", b"1"), (b"24", b""), (b"5", b"0"), (b"4", b"")]


def test_reading_leaves_no_flag(reader: imaplib.IMAP4, client: imaplib.IMAP4) -> None:
    fetched(reader, "BODY.PEEK[]")

    client.select("INBOX", readonly=True)
    _, (answer, *_) = client.uid("FETCH", NEWEST, "(FLAGS)")
    assert isinstance(answer, bytes)
    assert b"FLAGS ()" in answer
