"""Who gets the message: SUBMIT knows no recipients but the header's, sendmail's callers name them as arguments.

Arguments that are not in the header are added to Bcc, which nobody is shown: a program that names them outside of the
header does not ask for more. To whom the header alone would send, nothing is sent: SUBMIT could not leave him out.
"""

from collections.abc import Iterable, Sequence
from os import EX_DATAERR, EX_USAGE

from imapproxy.message.address import Address, AddressError, parse_address_list
from imapproxy.message.fields import Field, named
from imapproxy.sendmail.failure import Failure

# Where bare names are while nobody knows their domain: the server does. No host can be called so.
NOWHERE = "_"

# Of names in a refusal: what a terminal shows.
_MAX_SHOWN = 20


def recipients_in(fields: Sequence[Field], prefix: str, domain: str) -> tuple[Address, ...]:
    """Return whom the fields name, bare names at the domain; Failure (EX_DATAERR) where one cannot be read.

    ``prefix`` is that of the fields' names: "Resent-", or "".
    """
    found: list[Address] = []
    for field in named(fields, *(f"{prefix}{name}".lower() for name in ("To", "Cc", "Bcc"))):
        try:
            found += _addresses(field.text, domain)
        except AddressError as error:
            raise Failure(EX_DATAERR, f"{field.name} cannot be read: {error}") from None
    return tuple(found)


def asked_for(arguments: Sequence[str], domain: str) -> tuple[Address, ...]:
    """Return whom the arguments name, each a list of addresses; Failure (EX_USAGE) where one cannot be read."""
    found: list[Address] = []
    for argument in arguments:
        try:
            found += _addresses(argument, domain)
        except AddressError as error:
            raise Failure(EX_USAGE, f"recipient {argument!a} cannot be read: {error}") from None
    return tuple(found)


def _addresses(text: str, domain: str) -> Iterable[Address]:
    found = parse_address_list(text, domain)
    if any(written.meaning == NOWHERE for written in found.domains):  # it would lose its domain, and get another
        raise AddressError("not a domain")
    return (mailbox.address for mailbox in found.mailboxes)


def check_none_left_out(stated: Sequence[Address], asked: Sequence[Address]) -> None:
    """Raise Failure (EX_USAGE) where the header names somebody that the arguments do not."""
    left_out = _not_among(stated, asked)
    if left_out:
        shown = [_bare_again(address.printable) for address in left_out[:_MAX_SHOWN]]
        more = [f"{len(left_out) - len(shown)} more"] if len(left_out) > _MAX_SHOWN else []
        raise Failure(
            EX_USAGE,
            f"the header names recipients that the arguments leave out: {', '.join([*shown, *more])} "
            "(SUBMIT sends to all whom the header names: name them too, or give -t)",
        )


def with_recipients(
    fields: Sequence[Field], prefix: str, stated: Sequence[Address], asked: Sequence[Address]
) -> list[Field]:
    """Return the fields with those in Bcc who are asked for and not stated; Failure (EX_USAGE) if there is nobody."""
    if not (stated or asked):
        raise Failure(EX_USAGE, "no recipients: neither the arguments nor the header name any")
    added = [_bare_again(address.smtp) for address in _not_among(asked, stated)]
    if not added:
        return [*fields]
    present = named(fields, f"{prefix}Bcc".lower())
    if not present:
        return [*fields, Field.of(f"{prefix}Bcc", _listed(added))]
    # The same field twice would begin another block of Resent- fields.
    longer = _extended(present[0], added)
    return [longer if field is present[0] else field for field in fields]


def _extended(field: Field, added: Sequence[str]) -> Field:
    if not field.text:
        return Field.of(field.name, _listed(added))
    return Field(field.name, field.raw.removesuffix(b"\r\n") + f",\r\n\t{_listed(added)}\r\n".encode())


def _listed(addresses: Iterable[str]) -> str:
    return ",\r\n\t".join(addresses)


def _not_among(addresses: Iterable[Address], others: Iterable[Address]) -> list[Address]:
    """Return those who are not among the others, once each, in their order."""
    keys = {address.key for address in others}
    found: dict[str, Address] = {}
    for address in addresses:
        if address.key not in keys:
            found.setdefault(address.key, address)
    return [*found.values()]


def _bare_again(address: str) -> str:
    return address.removesuffix(f"@{NOWHERE}")
