"""What the site does to a message's header; what is not named here stays as it is, octet for octet.

goes     Bcc, Resent-Bcc (RFC 5322, 3.6.3), Return-Path, the client's Received and Delivered-To
comes    one Received (RFC 5321, 4.4); Date and Message-ID where none can be read
depends  From and Sender, on the site's policy; in a message that was resent, Resent-From and Resent-Sender of
         the newest block instead (RFC 5322, 3.6.6)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from email.utils import format_datetime, parsedate_to_datetime

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import AddressError, Mailbox, parse_address_list
from imapproxy.message.display_name import readdressed
from imapproxy.message.envelope import User, first_resent_block
from imapproxy.message.fields import Field, named
from imapproxy.message.host import bare_address
from imapproxy.message.site import Site, Stamp, Submitter
from imapproxy.message.tokens import without_comments

_GOING = frozenset({"bcc", "resent-bcc", "return-path", "received", "delivered-to"})

# msg-id = [CFWS] "<" id-left "@" id-right ">" [CFWS]           ; id-right may be a domain literal
_MESSAGE_ID = re.compile(r"<[!-;=?-~]+@[!-;=?-~]+>")
# "Message-ID: " and this fill a line.
_MAX_MESSAGE_ID = 900


def site_fields(
    fields: Sequence[Field], user: User, site: Site, submitter: Submitter, stamp: Stamp
) -> tuple[Field, ...]:
    """Return the header as it leaves the site."""
    kept = [field for field in _with_originator(fields, user, site, stamp) if field.key not in _GOING]
    dated = _with_valid(kept, "Date", _is_date, format_datetime(stamp.now))
    identified = _with_valid(dated, "Message-ID", _is_message_id, f"<{stamp.unique}@{site.host_name}>")
    return (_received(site, submitter, stamp), *identified)


def message_id_of(fields: Sequence[Field]) -> str:
    """Return the Message-ID that the header is known to have."""
    return without_comments(named(fields, "message-id")[0].text).strip()


def _received(site: Site, submitter: Submitter, stamp: Stamp) -> Field:
    """Return our trace line; it says neither who nor how he logged in."""
    came_from = site.host_name
    if site.received_client_address and submitter.client_address is not None:
        came_from = _address_literal(submitter.client_address)
    clauses = f"from {came_from}\r\n\tby {site.host_name} with IMAP id {stamp.unique};"
    return Field.of("Received", f"{clauses}\r\n\t{format_datetime(stamp.now)}")


def _address_literal(text: str) -> str:
    """Write address-literal = "[" ( IPv4-address-literal / "IPv6:" IPv6-addr ) "]"; it names no zone of ours."""
    address = bare_address(text)
    return f"[{address}]" if address.version == 4 else f"[IPv6:{address}]"


def _with_valid(fields: Sequence[Field], name: str, is_valid: Callable[[Field], bool], text: str) -> list[Field]:
    """Return the fields without those of this name that cannot be read; with one of ours where none is left."""
    kept = [field for field in fields if field.key != name.lower() or is_valid(field)]
    return kept if named(kept, name.lower()) else [*kept, Field.of(name, text)]


def _is_date(field: Field) -> bool:
    try:
        parsedate_to_datetime(without_comments(field.text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return False
    return field.text.isascii()


def _is_message_id(field: Field) -> bool:
    text = without_comments(field.text).strip()
    return len(text) <= _MAX_MESSAGE_ID and _MESSAGE_ID.fullmatch(text) is not None and field.text.isascii()


def _with_originator(fields: Sequence[Field], user: User, site: Site, stamp: Stamp) -> list[Field]:
    block = first_resent_block(fields)
    if block is None:
        return _originator(fields, "", user, site)
    resent = _originator(fields[block.start : block.stop], "Resent-", user, site)
    if not named(resent, "resent-date"):
        resent.append(Field.of("Resent-Date", format_datetime(stamp.now)))
    return [*fields[: block.start], *resent, *fields[block.stop :]]


def _originator(fields: Sequence[Field], prefix: str, user: User, site: Site) -> list[Field]:
    """Return the fields with a From and a Sender (or Resent-From and -Sender) as the site's policy wants them."""
    names = (f"{prefix}From", f"{prefix}Sender")
    for name in names:
        if len(named(fields, name.lower())) > 1:
            raise SubmissionRefused(f"5.6.0 more than one {name}")
    present = [*fields]
    if not named(fields, names[0].lower()):
        present.append(Field.of(names[0], user.address.smtp))
    return _POLICIES[site.from_policy](present, names, user)


def _checked(fields: list[Field], names: tuple[str, str], user: User) -> list[Field]:
    for name in names:
        for field in named(fields, name.lower()):
            if not user.owns([mailbox.address for mailbox in _read(field)]):
                raise SubmissionRefused(f"5.7.1 {name} is not one of your addresses")
    return fields


def _rewritten(fields: list[Field], names: tuple[str, str], user: User) -> list[Field]:
    keys = [name.lower() for name in names]
    return [_in_own_name(field, user) if field.key in keys else field for field in fields]


def _in_own_name(field: Field, user: User) -> Field:
    """Return the field as it is where it names the user; else with his address and the display name it had."""
    try:
        mailboxes = _read(field)
    except SubmissionRefused:
        mailboxes = ()
    if user.owns([mailbox.address for mailbox in mailboxes]):
        return field
    return Field.of(field.name, readdressed(field.text, user.address))


def _trusted(fields: list[Field], names: tuple[str, str], user: User) -> list[Field]:
    """Return the fields with the user as Sender, unless all that is said of who sends is his own."""
    author, sender = (named(fields, name.lower()) for name in names)
    if user.owns([mailbox.address for field in (sender or author) for mailbox in _read(field)]):
        return fields
    return [*(field for field in fields if field not in sender), Field.of(names[1], user.address.smtp)]


_POLICIES: Mapping[str, Callable[[list[Field], tuple[str, str], User], list[Field]]] = {
    "check": _checked,
    "rewrite": _rewritten,
    "trust": _trusted,
}


def _read(field: Field) -> tuple[Mailbox, ...]:
    """Return who the field names; a bare name is nobody here, since what completes it is not ours to know."""
    try:
        return parse_address_list(field.text).mailboxes
    except AddressError:
        raise SubmissionRefused(f"5.1.7 {field.name} cannot be read") from None
