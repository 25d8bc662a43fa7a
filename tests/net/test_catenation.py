from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from imapproxy.message.imap_url import parse_imap_url
from imapproxy.message.inclusion import EndingInLine, Streamed
from imapproxy.message.reference import Reference
from imapproxy.message.segments import Rendering, Segment, rendering_of, whole
from imapproxy.net.catenation import pieces_of
from imapproxy.net.imap import BoundedIMAP
from imapproxy.net.reading import Reader, Stored


def unconnected() -> BoundedIMAP:
    raise AssertionError


def stored(url: str, content_section: str = "", uidvalidity: int | None = 7) -> Stored:
    return Stored(Reader(unconnected, 0), Reference(parse_imap_url(url), url, None, content_section), uidvalidity, 5)


@dataclass(frozen=True)
class Elsewhere:
    size: int = 5

    def chunks(self) -> Iterator[bytes]:
        yield b"12345"


def pieces(*segments: Segment) -> list[str]:
    """Return URLs as they are, and texts behind a `=`."""
    found = pieces_of(rendering_of(segments, smtputf8=False))
    for piece in found:
        assert isinstance(piece, str) or piece.size == len(b"".join(piece.chunks()))
    return [f"={b''.join(piece.chunks()).decode()}" if isinstance(piece, Rendering) else piece for piece in found]


def test_a_message_of_text_is_one_piece() -> None:
    assert pieces(whole(b"a"), whole(b""), whole(b"b"), Streamed(Elsewhere())) == ["=ab12345"]


@pytest.mark.parametrize("kind", [Streamed, EndingInLine])
def test_what_the_server_has_is_a_piece_of_its_own(kind: Callable[[Stored], Segment]) -> None:
    first, second = kind(stored("/INBOX/;UID=1")), kind(stored("/INBOX/;UID=2"))
    assert pieces(whole(b"a"), first, first, whole(b"b"), whole(b"c"), second, whole(b"d")) == [
        "=a",
        "/INBOX;UIDVALIDITY=7/;UID=1",
        "/INBOX;UIDVALIDITY=7/;UID=1",
        "=bc",
        "/INBOX;UIDVALIDITY=7/;UID=2",
        "=d",
    ]


@pytest.mark.parametrize(
    ("content", "url"),
    [
        (stored("imap://fred@mail.example.com:143/INBOX/;UID=1"), "/INBOX;UIDVALIDITY=7/;UID=1"),
        (stored("/INBOX;UIDVALIDITY=7/;UID=1/;SECTION=2.1", "2.1"), "/INBOX;UIDVALIDITY=7/;UID=1/;SECTION=2.1"),
        (stored("/INBOX/;UID=1", "TEXT"), "/INBOX;UIDVALIDITY=7/;UID=1/;SECTION=TEXT"),
        (stored("/INBOX/;UID=1", uidvalidity=None), "/INBOX/;UID=1"),
        (stored("/Entw%C3%BCrfe%20%22x%22/;UID=1"), "/Entw%C3%BCrfe%20%22x%22;UIDVALIDITY=7/;UID=1"),
    ],
)
def test_its_url_is_the_servers_own(content: Stored, url: str) -> None:
    assert pieces(Streamed(content)) == [url]
