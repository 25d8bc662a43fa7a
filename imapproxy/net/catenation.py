r"""A message to be filed, in pieces: text of ours, and what the IMAP server has already (CATENATE, RFC 4469).

What a message includes from the user's mailboxes need not be read again, to be sent back to where it came from: the
server is told its URL. URLs are relative to the mailbox that is selected (RFC 5092 section 7.2), never absolute: for an
absolute one Cyrus opens the mailbox read-write, which takes \Recent from every message in it, even from a mailbox that
is EXAMINEd.
"""

from collections.abc import Iterator
from itertools import groupby

from imapproxy.message.inclusion import EndingInLine, Streamed
from imapproxy.message.segments import Rendering, Segment, rendering_of
from imapproxy.net.reading import Stored

# Text, or the URL of what the server has.
Piece = Rendering | str


def mailboxes_of(message: Rendering) -> set[str]:
    """Return the names of the mailboxes that the message includes something of."""
    return {stored.reference.url.mailbox for stored in map(_stored, message.segments) if stored is not None}


def pieces_of(message: Rendering) -> list[Piece]:
    """Return the pieces of a message that includes something of one mailbox, which is selected; in order."""
    return [piece for stored, segments in groupby(message.segments, _stored) for piece in _pieces(stored, [*segments])]


def _pieces(stored: Stored | None, segments: list[Segment]) -> Iterator[Piece]:
    if stored is None:
        yield rendering_of(segments, smtputf8=False)
    else:  # the same may be included more than once
        yield from [stored.relative_url] * len(segments)


def _stored(segment: Segment) -> Stored | None:
    if isinstance(segment, Streamed | EndingInLine) and isinstance(segment.content, Stored):
        return segment.content
    return None
