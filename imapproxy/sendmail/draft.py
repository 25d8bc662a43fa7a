"""From what a program hands to sendmail to the draft that SUBMIT takes, whose header is its only envelope.

    standard input -> original: its fields, its body
    fields         -> bare names completed, originator, recipients: those of a message that is sent on in its newest
                      block of Resent- fields (RFC 5322, 3.6.6), and nothing else of it is touched
    draft          -> attachments

What is not named here stays octet for octet; line ends become CRLF.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from os import EX_CONFIG, EX_USAGE

from imapproxy.message.address import Address, AddressError, parse_address
from imapproxy.message.envelope import first_resent_block
from imapproxy.message.fields import Field
from imapproxy.sendmail.attachments import with_attachments
from imapproxy.sendmail.bare_names import completed
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.original import read_original
from imapproxy.sendmail.originator import author_of, phrase_of, with_author, with_own_author, with_sender
from imapproxy.sendmail.recipients import NOWHERE, asked_for, check_none_left_out, recipients_in, with_recipients


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends and to whom, as the command line and the account say it."""

    recipients: tuple[str, ...]  # arguments: each an address, or a list of them
    header_recipients: bool  # -t: the header's recipients are meant, arguments are more of them
    sender: str | None  # -f
    full_name: str  # -F, or ""
    from_: str  # the account's address, which completes bare names, or ""
    set_from: bool  # whoever the message says it is from, it is from ``from_``


@dataclass(frozen=True, slots=True)
class _Originator:
    """What the envelope says of who sends."""

    own: Address | None
    sender: Address | None
    full_name: str  # a phrase
    set_from: bool


def from_address(octets: bytes) -> str | None:
    """Return the address of who sends the message (of several, the first); None if it does not say, or not where.

    Failure (EX_DATAERR) where the octets can be no message.
    """
    fields = read_original(octets).fields
    block, prefix = _sending_block(fields)
    author = author_of(fields[block.start : block.stop], prefix)
    return author.smtp if author else None


def draft_of(octets: bytes, envelope: Envelope, parts: Sequence[bytes]) -> bytes:
    """Return the draft that is sent to those whom the envelope names, and to nobody else.

    ``octets`` is what a program wrote to standard input, ``parts`` are whole parts to attach, as
    `client.reference_part` makes them. Failure: EX_DATAERR for what can be no message, EX_CONFIG for an account's
    address that is none, EX_USAGE for all that the command line asks for in vain.
    """
    original = read_original(octets)
    block, prefix = _sending_block(original.fields)
    sending = _addressed(original.fields[block.start : block.stop], prefix, envelope)
    fields = [*original.fields[: block.start], *sending, *original.fields[block.stop :]]
    draft = b"".join([*(field.raw for field in fields), b"\r\n", original.body])
    return with_attachments(draft, parts) if parts else draft


def _sending_block(fields: Sequence[Field]) -> tuple[range, str]:
    """Return where the fields stand that say who sends the message now and to whom, and their names' prefix."""
    block = first_resent_block(fields)
    return (range(len(fields)), "") if block is None else (block, "Resent-")


def _addressed(fields: Sequence[Field], prefix: str, envelope: Envelope) -> list[Field]:
    originator = _originator_of(envelope)
    domain = originator.own.domain if originator.own else NOWHERE
    if originator.own:
        fields = [completed(field, domain) for field in fields]
    stated, asked = recipients_in(fields, prefix, domain), asked_for(envelope.recipients, domain)
    if not envelope.header_recipients:
        check_none_left_out(stated, asked)
    return with_recipients(_originated(fields, prefix, originator), prefix, stated, asked)


def _originated(fields: Sequence[Field], prefix: str, originator: _Originator) -> list[Field]:
    own, sender, full_name = originator.own, originator.sender, originator.full_name
    if originator.set_from and own:
        return with_own_author(fields, prefix, own, full_name)
    authored = with_author(fields, prefix, sender or own, full_name)
    return with_sender(authored, prefix, sender) if sender else authored


def _originator_of(envelope: Envelope) -> _Originator:
    own = _own_address(envelope.from_)
    if envelope.set_from and own is None:
        raise Failure(EX_CONFIG, "set-from needs the account's own address (from)")
    domain = own.domain if own else None
    return _Originator(own, _sender(envelope.sender, domain), phrase_of(envelope.full_name), envelope.set_from)


def _own_address(text: str) -> Address | None:
    try:
        return parse_address(text) if text else None
    except AddressError as error:
        raise Failure(EX_CONFIG, f"from = {text!a}: {error}") from None


def _sender(text: str | None, domain: str | None) -> Address | None:
    try:
        return None if text is None else parse_address(text, domain)
    except AddressError as error:
        raise Failure(EX_USAGE, f"-f {text!a}: {error}") from None
