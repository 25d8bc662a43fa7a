"""One SMTP transaction: MAIL, every RCPT, and only when all are accepted DATA (RFC 5321 3.3); else RSET.

All or none: whatever goes wrong before the final dot is written, nobody has got the message; it must never be
written after a message that was cut short. What is the SMTP server's failure is told in its own words, codes
included; our own texts begin with an RFC 3463 code.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

from imapproxy.errors import DeliveryUncertain, SubmissionRefused
from imapproxy.message.address import Address
from imapproxy.message.segments import Rendering
from imapproxy.message.site import Extensions
from imapproxy.net.cleanup import cleanup
from imapproxy.net.client_address import User
from imapproxy.net.patient import WAITING_INTERVAL
from imapproxy.net.smtp import BoundedSMTP, Reply, SmtpError, dot_stuffed, require
from imapproxy.net.smtp_opening import SmtpServer, begin

__all__ = ["UNCERTAIN", "Accepted", "Deliverable", "Notes", "SmtpServer", "deliver"]

FINAL_DOT_PATIENCE = 2  # times the timeout of a step, as RFC 5321 4.5.3.2 gives 10 min here and 5 min elsewhere

UNCERTAIN = "4.4.2 delivery uncertain; no reply from the mail server"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A message that the server took for all: its reply to the final dot, and what it was sent."""

    reply: str
    rendering: Rendering


class Deliverable(Protocol):
    """What delivery needs of a message (``message.message.Message``)."""

    @property
    def sender(self) -> Address:
        """The envelope sender."""

    @property
    def recipients(self) -> Sequence[Address]:
        """All recipients, in the order of the message."""

    def rendering(self, extensions: Extensions) -> Rendering:
        """Return the message in the form that a server with these extensions takes, or raise SubmissionRefused."""


class Notes(Protocol):
    """Where it is written down how far a message has come (``journal.Claim``)."""

    def sending(self) -> None:
        """Note that all is sent but the final dot, and that it comes next."""

    def accepted(self, reply: str) -> None:
        """Note that the server took the message for all, with its reply; raise nothing."""


def deliver(  # noqa: PLR0913, PLR0917 - both sides, and what is to be done meanwhile
    message: Deliverable,
    server: SmtpServer,
    user: User,
    notes: Notes,
    waiting: Callable[[], None],
    interval: float = WAITING_INTERVAL,
) -> Accepted:
    """Hand the user's message over for all of its recipients, or raise SubmissionRefused.

    What ``notes.sending`` raises, or the message's chunks, passes, with the connection closed before the final dot.

    ``waiting`` is called each ``interval`` seconds that the server keeps us waiting; what it raises ends it all.
    """
    with closing(BoundedSMTP(server.host_name, server.timeout, waiting, interval)) as smtp:
        try:
            begin(smtp, server, user)
            accepted = _transact(smtp, message, notes)
        except SmtpError as failure:
            raise SubmissionRefused(str(failure)) from failure
        except SubmissionRefused:
            smtp.farewell("QUIT")
            raise
        smtp.farewell("QUIT")
        return accepted


def _transact(smtp: BoundedSMTP, message: Deliverable, notes: Notes) -> Accepted:
    rendering = message.rendering(_extensions(smtp))
    _check_size(smtp, rendering.size)
    if rendering.smtputf8:
        smtp.command_encoding = "utf-8"
    require(smtp.ask(f"MAIL FROM:<{message.sender.smtp}>{_mail_parameters(smtp, rendering)}"))
    _name_recipients(smtp, message.recipients)
    return Accepted(_send(smtp, rendering, notes), rendering)


def _extensions(smtp: BoundedSMTP) -> Extensions:
    return Extensions(eight_bit_mime=smtp.has_extn("8bitmime"), smtputf8=smtp.has_extn("smtputf8"))


def _check_size(smtp: BoundedSMTP, size: int) -> None:
    """Refuse what is over the size that the server announced; none or 0 is no limit (RFC 1870 section 4)."""
    limit = smtp.esmtp_features.get("size", "")
    # size-value = 1*20DIGIT
    if limit.isdecimal() and len(limit) <= 20 and 0 < int(limit) < size:
        raise SubmissionRefused("5.3.4 message too large for the mail server")


def _mail_parameters(smtp: BoundedSMTP, rendering: Rendering) -> str:
    parameters = {
        f" SIZE={rendering.size}": smtp.has_extn("size"),
        " BODY=8BITMIME": smtp.has_extn("8bitmime"),
        " SMTPUTF8": rendering.smtputf8,
    }
    return "".join(parameter for parameter, wanted in parameters.items() if wanted)


def _name_recipients(smtp: BoundedSMTP, recipients: Sequence[Address]) -> None:
    """Name every recipient, so that a client learns of all that are refused at once; undo it all if any is.

    A temporary refusal is told in the server's words, since a client that tries again later may succeed.
    """
    refused: list[str] = []
    temporary = ""
    for recipient in recipients:
        reply = _name_recipient(smtp, recipient, refused)
        if reply.positive:
            continue
        refused.append(recipient.printable)
        if reply.code < 500:
            temporary = temporary or reply.text
    if refused:
        smtp.farewell("RSET")
        raise SubmissionRefused(temporary, refused)


def _name_recipient(smtp: BoundedSMTP, recipient: Address, refused: Sequence[str]) -> Reply:
    """Return the server's word on one recipient; its last word (421), or none, is about the whole message."""
    try:
        reply = smtp.ask(f"RCPT TO:<{recipient.smtp}>")
    except SmtpError as failure:
        raise SubmissionRefused(str(failure), refused) from failure
    if reply.code == 421:
        raise SubmissionRefused(reply.text, refused)
    return reply


def _send(smtp: BoundedSMTP, rendering: Rendering, notes: Notes) -> str:
    """Send the message, and return the server's reply to its final dot."""
    reply = smtp.ask("DATA")
    if reply.code != 354:
        raise SubmissionRefused(reply.text)
    try:
        for octets in dot_stuffed(rendering.chunks()):
            smtp.send(octets)
        notes.sending()
        smtp.send(b".\r\n")
    except BaseException:
        # Anything more, QUIT too, would be read as part of the message.
        smtp.close()
        raise
    accepted = _final_reply(smtp)
    with cleanup("journal"):
        notes.accepted(accepted)  # before QUIT, whose answer may take its time: what is not noted is in doubt
    return accepted


def _final_reply(smtp: BoundedSMTP) -> str:
    """Return the reply to the final dot. Without one nobody can tell whether the message was taken."""
    smtp.timeout *= FINAL_DOT_PATIENCE
    try:
        reply = smtp.reply()
    except SmtpError as failure:
        raise DeliveryUncertain(UNCERTAIN) from failure
    require(reply)
    return reply.text
