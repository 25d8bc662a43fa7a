"""Who sends the message: From and Sender, or Resent-From and Resent-Sender in a message that is sent on.

``prefix`` is that of the fields' names: "Resent-", or "". What is there and says what is wanted keeps its octets.
"""

import re
from collections.abc import Sequence
from os import EX_USAGE

from imapproxy.message.address import Address, AddressError, AddressList, parse_address_list
from imapproxy.message.fields import Field, named
from imapproxy.message.tokens import ATEXT
from imapproxy.sendmail.failure import Failure

# What no line of a header may hold; surrogates that stand for no octet.
_NO_TEXT = re.compile(r"[\0-\x1F\x7F-\x9F\u2028\u2029\uD800-\uDC7F\uDD00-\uDFFF]")
# phrase = 1*word ; word = atom / quoted-string
_ATOMS = re.compile(rf"{ATEXT}+(?: {ATEXT}+)*")
_QUOTED_SPECIAL = re.compile(r'(["\\])')


def author_of(fields: Sequence[Field], prefix: str) -> Address | None:
    """Return the first address in From, if it can be read and none of its names is bare."""
    mailboxes = _authors(fields, prefix).mailboxes
    return mailboxes[0].address if mailboxes else None


def phrase_of(full_name: str) -> str:
    """Return a person's name as it stands before an address; Failure (EX_USAGE) where no header can hold it."""
    if _NO_TEXT.search(full_name):
        raise Failure(EX_USAGE, f"-F {full_name!a}: control character")
    return _quoted_where_needed(full_name)


def _quoted_where_needed(name: str) -> str:
    text = name.strip()
    if not text or _ATOMS.fullmatch(text):
        return text
    return '"' + _QUOTED_SPECIAL.sub(r"\\\1", text) + '"'


def with_author(fields: Sequence[Field], prefix: str, author: Address | None, full_name: str) -> list[Field]:
    """Return the fields with a From: the author's if there was none; with the name (a phrase) if it had none."""
    present = named(fields, f"{prefix}From".lower())
    if not present:
        return [*fields, *([_mailbox_field(f"{prefix}From", author, full_name)] if author else [])]
    authors = _authors(fields, prefix)
    is_nameless = len(present) == len(authors.mailboxes) == 1 and not _name_in(authors)
    if not (full_name and is_nameless):
        return [*fields]
    return _replaced(fields, _mailbox_field(present[0].name, authors.mailboxes[0].address, full_name))


def with_own_author(fields: Sequence[Field], prefix: str, own: Address, full_name: str) -> list[Field]:
    """Return the fields with one's own address in From, the name kept that it had, and without a Sender."""
    authors = _authors(fields, prefix)
    kept = [field for field in fields if field.key != f"{prefix}Sender".lower()]
    if _is_alone(own, authors):
        return with_author(kept, prefix, own, full_name)
    return _replaced(kept, _mailbox_field(f"{prefix}From", own, _name_in(authors) or full_name))


def with_sender(fields: Sequence[Field], prefix: str, sender: Address) -> list[Field]:
    """Return the fields with this Sender, unless From says so already (RFC 5322, 3.6.2)."""
    if _is_alone(sender, _authors(fields, prefix)):
        return [*fields]
    return _replaced(fields, Field.of(f"{prefix}Sender", sender.smtp))


def _authors(fields: Sequence[Field], prefix: str) -> AddressList:
    """Return whom From names; nobody, where it cannot be read: the server says so."""
    text = next((field.text for field in named(fields, f"{prefix}From".lower())), "")
    try:
        return parse_address_list(text)
    except AddressError:
        return parse_address_list("")


def _name_in(authors: AddressList) -> str:
    """Return the first author's name as a phrase; before there were display names, it stood in a comment."""
    if not authors.mailboxes:
        return ""
    comment = next((comment.meaning for comment in authors.comments), "")
    return authors.mailboxes[0].display_name or _quoted_where_needed(comment)


def _is_alone(address: Address, authors: AddressList) -> bool:
    return [mailbox.address.key for mailbox in authors.mailboxes] == [address.key]


def _mailbox_field(name: str, address: Address, full_name: str) -> Field:
    return Field.of(name, f"{full_name} <{address.smtp}>" if full_name else address.smtp)


def _replaced(fields: Sequence[Field], new: Field) -> list[Field]:
    """Return the fields with this one, and no other of its name: where the first one stood, else at the end."""
    first = next((index for index, field in enumerate(fields) if field.key == new.key), len(fields))
    return [*fields[:first], new, *(field for field in fields[first:] if field.key != new.key)]
