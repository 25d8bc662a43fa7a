"""A message to be filed, in pieces: text of ours, and what the IMAP server has already (CATENATE, RFC 4469).

What a message includes from the user's mailboxes need not be read again, to be sent back to where it came from: the
server is told its URL.
"""

from collections.abc import Iterator
from itertools import groupby

from imapproxy.message.inclusion import EndingInLine, Streamed
from imapproxy.message.segments import Rendering, Segment, rendering_of
from imapproxy.net.reading import Stored

# Text, or the URL of what the server has.
Piece = Rendering | str


def pieces_of(message: Rendering) -> list[Piece]:
    """Return the pieces of a message, in order; one piece of text where the server has nothing of it."""
    return [piece for url, segments in groupby(message.segments, _url) for piece in _pieces(url, list(segments))]


def _pieces(url: str | None, segments: list[Segment]) -> Iterator[Piece]:
    if url is None:
        yield rendering_of(segments, smtputf8=False)
    else:  # the same may be included more than once
        yield from [url] * len(segments)


def _url(segment: Segment) -> str | None:
    if isinstance(segment, Streamed | EndingInLine) and isinstance(segment.content, Stored):
        return segment.content.url
    return None
