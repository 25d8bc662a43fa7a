"""SUBMIT in one function (draft-royer-lemonade-submit-00 section 3): from a draft to what came of it.

Pure wiring: the outside world comes in as arguments. What cannot be sent raises ``ClientError`` (it was no message)
or ``SubmissionRefused`` (nobody got it).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import Octets
from imapproxy.message.inclusion import Content, Named, Span, Unfit
from imapproxy.message.message import Message, Rendering, Site, Stamp, Submitter, read_draft
from imapproxy.message.reference import Reference


class Mailboxes(Protocol):
    """The submitter's mailboxes on the IMAP server; each method raises SubmissionRefused with the reason."""

    def named(self, reference: Reference) -> Named:
        """Return what a reference names."""

    def kept(self, contents: Sequence[Content]) -> Sequence[Span]:
        """Read all of these into a temporary file, their line ends made CRLF."""

    def append(self, mailbox: str, message: Rendering) -> None:
        """File a message, as one that was read; "auto" is the mailbox for what was sent."""


class Acceptance(Protocol):
    """What the SMTP side knows of a message that it has handed over."""

    @property
    def reply(self) -> str:
        """The SMTP server's words."""

    @property
    def rendering(self) -> Rendering:
        """The message as it was sent."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What there is to say of a message that was accepted for all of its recipients.

    ``sent_failure`` is why there is no Sent copy, empty where there is one or none was wanted.
    """

    message_id: str
    size: int
    recipients: int
    references: int
    reply: str
    sent_failure: str


def submit(  # noqa: PLR0913, PLR0917 - the outside world, each side of it one argument
    draft: Octets,
    site: Site,
    submitter: Submitter,
    stamp: Stamp,
    mailboxes: Mailboxes,
    deliver: Callable[[Message], Acceptance],
) -> Submitted:
    """Send a draft, and what it refers to, to all the recipients that it names, or to none; file the Sent copy."""
    read = read_draft(draft, site, submitter, stamp)
    message = read.message([mailboxes.named(reference) for reference in read.references], mailboxes.kept)
    try:
        accepted = deliver(message)
    except Unfit:  # nothing was sent: the final dot was never written
        message = message.kept()
        accepted = deliver(message)
    return Submitted(
        message_id=message.message_id,
        size=accepted.rendering.size,
        recipients=len(message.recipients),
        references=len(read.references),
        reply=accepted.reply,
        sent_failure=_sent_failure(message, accepted.rendering, site.sent_mailbox, mailboxes),
    )


def _sent_failure(message: Message, sent: Rendering, mailbox: str, mailboxes: Mailboxes) -> str:
    """File the message as it was sent; whatever becomes of that, it was sent."""
    if not mailbox:
        return ""
    try:
        mailboxes.append(mailbox, message.sent_copy(sent))
    except SubmissionRefused as failure:
        return failure.text
    except Unfit:
        return "4.4.2 what is included has changed meanwhile"
    except Exception as failure:  # a client that is not told that the message was sent would send it again
        return f"4.3.0 unexpected {type(failure).__name__}"
    return ""
