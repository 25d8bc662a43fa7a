"""What a message is judged by besides its own octets: the site, who submits, when, and what the next server offers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal


@dataclass(frozen=True, slots=True)
class Site:
    """The administrator's rules."""

    mail_domains: tuple[str, ...]  # at least one; the first completes bare names
    from_policy: Literal["check", "rewrite", "trust"]
    identities: Mapping[str, tuple[str, ...]]  # user name (casefolded) -> further addresses
    max_recipients: int
    host_name: str  # in Received and Message-ID
    received_client_address: bool
    references: bool  # whether what a draft refers to is included
    max_composed_size: int  # octets of a message with what it refers to
    sent_mailbox: str  # where the Sent copy goes: a mailbox's name, "auto", or "" for nowhere
    server_names: frozenset[str]  # in lower case: what the IMAP server is called in a URL


@dataclass(frozen=True, slots=True)
class Submitter:
    """Who submits: the user who logged in, from where, and at which of our addresses."""

    user: str
    client_address: str | None
    local_address: str | None


@dataclass(frozen=True, slots=True)
class Stamp:
    """The time (aware of its zone) of a submission, and a fresh random word, [a-z0-9]{16,}, that names it."""

    now: datetime
    unique: str


@dataclass(frozen=True, slots=True)
class Extensions:
    """What the SMTP server's EHLO offered."""

    eight_bit_mime: bool
    smtputf8: bool

    @property
    def internationalized(self) -> bool:
        """Whether UTF-8 may stand in a header; SMTPUTF8 without 8BITMIME is none (RFC 6531, 3.1)."""
        return self.smtputf8 and self.eight_bit_mime
