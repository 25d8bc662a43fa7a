"""SUBMIT in one function (draft-royer-lemonade-submit-00 section 3): from a draft to what came of it.

Pure wiring: the outside world comes in as arguments. What cannot be sent raises ``ClientError`` (it was no message)
or ``SubmissionRefused`` (nobody got it).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from imapproxy.message.draft import Octets
from imapproxy.message.message import Message, Site, Stamp, Submitter, message_from_draft


class Acceptance(Protocol):
    """What the SMTP side knows of a message that it has handed over."""

    @property
    def reply(self) -> str:
        """The SMTP server's words."""

    @property
    def size(self) -> int:
        """Octets of the message as sent."""

    @property
    def recipients(self) -> int:
        """How many recipients were accepted: all."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What there is to say of a message that was accepted for all of its recipients."""

    message_id: str
    size: int
    recipients: int
    reply: str


def submit(
    draft: Octets, site: Site, submitter: Submitter, stamp: Stamp, deliver: Callable[[Message], Acceptance]
) -> Submitted:
    """Send a draft to all the recipients that it names, or to none."""
    message = message_from_draft(draft, site, submitter, stamp)
    accepted = deliver(message)
    return Submitted(message.message_id, accepted.size, accepted.recipients, accepted.reply)
