"""A FETCH response of the IMAP server's, read as a slow reader reads it, and what ``imap-submit --find`` shows of it.

The input is what stands behind the word FETCH. imaplib, which cuts a response behind its literals, is played here.
"""

from imapproxy.message.imap_url import parse_imap_url
from imapproxy.protocol.fetched import Fetched, Piece, ResponseError, fetched
from imapproxy.sendmail.candidates import lines
from tests.fuzz.reference.fetch import Unreadable, read_fetch
from tests.fuzz.reference.stream import mark_of


def check(octets: bytes) -> None:
    """Read a response."""
    pieces, response = _as_imaplib_collects(octets)
    try:
        found = fetched(pieces)
    except ResponseError:
        found = None
    try:
        expected = read_fetch(response)
    except Unreadable:
        expected = None
    if found is None or expected is None:
        assert (found, expected) == (None, None)
        return
    (answer,) = found
    assert (answer.number, {name.encode("ascii"): value for name, value in answer.items.items()}) == expected
    _check_lines(answer)


def work(octets: bytes, _packet: int) -> None:
    """Read a response."""
    pieces, _ = _as_imaplib_collects(octets)
    try:
        for line in lines("INBOX", 1, fetched(pieces)):
            assert line
    except ResponseError:
        return


def _as_imaplib_collects(octets: bytes) -> tuple[list[Piece], bytes]:
    """Return a response's pieces, and all its octets but for the line end; what stands behind it is left."""
    pieces: list[Piece] = []
    position = 0
    while True:
        line_end = octets.find(b"\r\n", position)
        if line_end < 0:
            return [*pieces, octets[position:]], octets
        mark = mark_of(octets[position : line_end + 2])
        if mark is None or not mark.synchronizing:
            return [*pieces, octets[position:line_end]], octets[:line_end]
        literal = octets[line_end + 2 : line_end + 2 + mark.size]
        if len(literal) < mark.size:  # the connection was lost
            return [*pieces, b"("], b"("
        pieces.append((octets[position:line_end], literal))
        position = line_end + 2 + mark.size


def _check_lines(answer: Fetched) -> None:
    try:
        shown = list(lines("INBOX", 1, [answer]))
    except ResponseError:
        return
    for line in shown:
        url, *columns = line.split("\t")
        assert parse_imap_url(url).mailbox == "INBOX"
        assert len(columns) in {3, 4}
        assert "".join(columns).isprintable(), columns
