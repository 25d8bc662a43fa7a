"""The table of real IMAP servers: in what each differs from the others where a test can see it."""

import re
from dataclasses import dataclass
from typing import Protocol


class RealImapServer(Protocol):
    """A running server, whichever it is."""

    @property
    def port(self) -> int:
        """Where it speaks IMAP."""

    @property
    def prefix(self) -> str:
        """What the names of a user's mailboxes begin with, but for INBOX."""

    def new_user(self) -> str:
        """Return a user that no other test has."""

    def deliver(self, user: str, octets: bytes, mailbox: str) -> None:
        """Put a message into a user's mailbox as new mail comes: it is \\Recent."""


@dataclass(frozen=True)
class ImapServer:
    """A row of the table; ``name`` is the fixture's, too."""

    name: str
    varying: re.Pattern[bytes]  # what differs between two sessions that say the same
    has_modseq: bool  # CONDSTORE (RFC 7162)
    has_catenate: bool  # RFC 4469
    has_unasked_literals: bool  # LITERAL+ (RFC 7888)
    stores_lone_line_ends: bool  # a message with a CR or LF of its own
    folds_user_names: bool  # ALICE logs in as alice
    refused_names: tuple[str, ...] = ()  # of mailboxes, on the wire
    odd_name: str = 'My "Sent" & mäil'  # as odd a mailbox name as it takes
    after_attached_text: bytes = b""  # what is taken for the end of an attached message's text, besides


DOVECOT = ImapServer(
    "dovecot",
    varying=re.compile(rb"\b\d{10}\b"),
    has_modseq=True,
    has_catenate=True,
    has_unasked_literals=True,
    stores_lone_line_ends=True,
    folds_user_names=True,
)
CYRUS = ImapServer(
    "cyrus",
    varying=re.compile(rb"\b\d{10}\b|MAILBOXID \(\w+\)|\d\.\d+ secs?|SESSIONID=<[^>]+>"),
    has_modseq=True,
    has_catenate=True,
    has_unasked_literals=True,
    stores_lone_line_ends=False,
    folds_user_names=True,
    odd_name="My Sent & mäil",
    refused_names=(r'"say \"hello\""', r'"back\\slash"', '"100% {5}"'),
)
COURIER = ImapServer(
    "courier",
    varying=re.compile(rb"\b\d{9,10}\b"),
    has_modseq=False,
    has_catenate=False,
    has_unasked_literals=False,
    stores_lone_line_ends=True,
    folds_user_names=False,
    refused_names=('"&2D3eAA-"',),  # beyond the Basic Multilingual Plane
    after_attached_text=b"\r\n",  # the line end that belongs to the delimiter
)

IMAP_SERVERS = (DOVECOT, CYRUS, COURIER)
