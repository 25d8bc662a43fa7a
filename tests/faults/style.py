"""How the program and its servers are set up for a break. Pure."""

from dataclasses import dataclass
from typing import Literal

# What NAMESPACE says on Courier.
PREFIX = b"INBOX."


@dataclass(frozen=True)
class Style:
    """What differs from a plain program with one worker, whose servers have nothing but what every server has.

    ``sent_mailbox``: the option, by which the proxy files a copy. ``is_sent_missing``: that mailbox has to be created
    first, each time. ``is_prefixed``: the names of all mailboxes have a prefix. ``is_catenating``: the IMAP server puts
    together what it has itself. ``is_authenticating``: the SMTP server takes mail from a user who has logged in.
    ``is_told_of_client``: it takes XCLIENT. ``is_secured``: the client and both servers speak TLS after STARTTLS.
    ``is_on_small_disk``: log and journal are on a disk that can be full. ``is_wired``: client, proxy and servers are
    connected by wires (``wire``). ``smtp_timeout``: seconds, more than a step takes on a busy machine; the proxy waits
    twice as long for the reply to the final dot.
    """

    sent_mailbox: Literal["", "Sent", "auto"] = ""
    is_sent_missing: bool = False
    is_prefixed: bool = False
    is_catenating: bool = False
    is_authenticating: bool = False
    is_told_of_client: bool = False
    is_secured: bool = False
    is_on_small_disk: bool = False
    is_wired: bool = False
    workers: int = 1
    smtp_timeout: int = 5

    @property
    def is_filed(self) -> bool:
        """Whether the proxy files a copy of what is sent."""
        return self.sent_mailbox != ""

    @property
    def sent_name(self) -> bytes:
        """The mailbox in which the copy must then be: with "auto", the one that the server marks."""
        name = b"Sent Messages" if self.sent_mailbox == "auto" else b"Sent"
        return PREFIX + name if self.is_prefixed else name
