from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from imapproxy.message.imap_url import parse_imap_url
from imapproxy.message.inclusion import Content, EndingInLine, Streamed
from imapproxy.message.reference import Reference
from imapproxy.message.segments import Rendering, Segment, rendering_of, whole
from imapproxy.net.catenation import mailboxes_of, pieces_of
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
        ";UID=1",
        ";UID=1",
        "=bc",
        ";UID=2",
        "=d",
    ]


@pytest.mark.parametrize(
    ("content", "url"),
    [
        (stored("imap://fred@mail.example.com:143/INBOX/;UID=1"), ";UID=1"),
        (stored("/INBOX;UIDVALIDITY=7/;UID=1/;SECTION=2.1", "2.1"), ";UID=1/;SECTION=2.1"),
        (stored("/INBOX/;UID=1", "TEXT"), ";UID=1/;SECTION=TEXT"),
        (stored("/Entw%C3%BCrfe%20%22x%22/;UID=4294967295"), ";UID=4294967295"),
    ],
)
def test_its_url_is_relative_to_the_selected_mailbox(content: Stored, url: str) -> None:
    r"""For an absolute one Cyrus opens the mailbox read-write, and takes \Recent from all messages in it."""
    assert pieces(Streamed(content)) == [url]


def test_the_mailboxes_that_a_message_includes_something_of() -> None:
    contents: list[Content] = [
        stored("/INBOX/;UID=1"),
        stored("/INBOX/;UID=2", "TEXT"),
        stored("/Entw%C3%BCrfe/;UID=1", "2"),
        Elsewhere(),
    ]
    message = rendering_of([whole(b"a"), *map(Streamed, contents)], smtputf8=False)
    assert mailboxes_of(message) == {"INBOX", "Entwürfe"}
    assert mailboxes_of(rendering_of([whole(b"a"), Streamed(Elsewhere())], smtputf8=False)) == set()
