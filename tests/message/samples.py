"""What the tests of the mail side share: a site, its users, and drafts written in plain text."""

import mmap
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from imapproxy.message.draft import LineEnds
from imapproxy.message.message import Extensions, Message, Site, Stamp, Submitter, message_from_draft

SITE = Site(
    mail_domains=("example.com", "example.org"),
    from_policy="check",
    identities={"fred": ("sales@example.com",)},
    max_recipients=5,
    host_name="mail.example.com",
    received_client_address=True,
)
FRED = Submitter("fred", "192.0.2.1")
STAMP = Stamp(datetime(2026, 11, 24, 3, 34, 42, tzinfo=UTC), "k3xo9qlm2v7ab4cd")

ALL = Extensions(eight_bit_mime=True, smtputf8=True)
EIGHT_BIT = Extensions(eight_bit_mime=True, smtputf8=False)
SEVEN_BIT = Extensions(eight_bit_mime=False, smtputf8=False)

DATE = "Tue, 24 Nov 2026 03:34:42 +0000"
RECEIVED = f"Received: from [192.0.2.1]\r\n\tby mail.example.com with IMAP id k3xo9qlm2v7ab4cd;\r\n\t{DATE}\r\n"
MESSAGE_ID = "<k3xo9qlm2v7ab4cd@mail.example.com>"


def normalised(*chunks: bytes) -> bytes:
    """Return the chunks as a spool takes them."""
    line_ends = LineEnds()
    return b"".join([*map(line_ends.feed, chunks), line_ends.finish()])


def draft(text: str) -> bytes:
    """Return a text as a draft, in UTF-8 and surrogates as the octets they stand for."""
    return normalised(text.encode("utf-8", "surrogateescape"))


def mapped(octets: bytes) -> mmap.mmap:
    """Return the octets as a spool holds them that has more than fits."""
    mapping = mmap.mmap(-1, len(octets))
    mapping.write(octets)
    return mapping


def message(text: str, *, policy: str = "check", user: str = "fred") -> Message:
    """Return what a draft becomes on our site."""
    site = replace(SITE, from_policy=policy)  # type: ignore[arg-type]
    return message_from_draft(draft(text), site, replace(FRED, user=user), STAMP)


def sent(text: str, extensions: Extensions = ALL) -> bytes:
    """Return a draft as it is sent, checked for what holds of every rendering."""
    rendering = message(text).rendering(extensions)
    return checked(rendering.chunks(), rendering.size)


def checked(chunks: Iterable[bytes], size: int) -> bytes:
    """Return the chunks in one: of bounded size, as many octets as was said, in lines that SMTP carries."""
    pieces = list(chunks)
    octets = b"".join(pieces)
    assert max(map(len, pieces)) <= 256 * 1024
    assert len(octets) == size
    assert octets.endswith(b"\r\n")
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    return octets
