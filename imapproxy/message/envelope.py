"""Who sends a message, and to whom: the envelope, taken from the header before Bcc goes (RFC 5321, 2.3.1).

A message that was resent goes where its newest block of Resent- fields says (RFC 5322, 3.6.6).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import Address, AddressError, address_of, parse_address, parse_address_list
from imapproxy.message.fields import Field, named
from imapproxy.message.site import Site

_DESTINATIONS = ("to", "cc", "bcc")


@dataclass(frozen=True, slots=True)
class User:
    """The logged-in user as mail knows him: his own address, and the keys of all that are his."""

    address: Address
    keys: frozenset[str]

    def owns(self, addresses: Sequence[Address]) -> bool:
        """Tell whether there are addresses, and each is one of his."""
        return bool(addresses) and all(address.key in self.keys for address in addresses)


def user_of(name: str, site: Site) -> User:
    """Return the addresses of the user who logged in with this name.

    A name with a domain that is not ours is refused: a server that strips domains at login would let any user send in
    the name of a stranger.
    """
    address = _own_address(name, site)
    try:
        is_at_home = address.domain.lower() in {*map(_spelled, site.mail_domains)}
        identities = _identities(name, address, site)
    except AddressError:
        raise SubmissionRefused("5.3.5 mail domain or identities are not configured properly") from None
    if identities is None and not is_at_home:
        raise SubmissionRefused("5.7.1 your login name is in no domain of this site")
    return User(address, frozenset({address.key, *(identity.key for identity in identities or ())}))


def _own_address(name: str, site: Site) -> Address:
    local, at, domain = name.rpartition("@")
    try:
        if not at:
            return address_of(name, site.mail_domains[0])
        return address_of(local, domain)
    except AddressError:
        raise SubmissionRefused("5.7.1 your login name makes no mail address") from None


def _spelled(domain: str) -> str:
    """Return a domain as domains are compared."""
    return address_of("postmaster", domain).domain.lower()


def _identities(name: str, address: Address, site: Site) -> list[Address] | None:
    """Return what is listed for the user under a spelling of his name, or None if nothing is.

    Where the login server strips domains, he is listed without his: he is known then if his address is listed there.
    """
    spellings = [name, address.smtp]
    if address.domain.lower() == _spelled(site.mail_domains[0]):
        spellings.append(address.local)
    for key in map(str.casefold, spellings):
        if key in site.identities:
            return _parsed(site.identities[key], site)
    stripped = _parsed(site.identities.get(name.rpartition("@")[0].casefold(), ()), site)
    return [] if address.key in {identity.key for identity in stripped} else None


def _parsed(texts: Iterable[str], site: Site) -> list[Address]:
    return [parse_address(text, site.mail_domains[0]) for text in texts]


def first_resent_block(fields: Sequence[Field]) -> range | None:
    """Return where the newest block of Resent- fields stands; it ends where a name comes again, or another field."""
    start = next((index for index, field in enumerate(fields) if _is_resent(field)), None)
    if start is None:
        return None
    seen: set[str] = set()
    end = start
    while end < len(fields) and _is_resent(fields[end]) and fields[end].key not in seen:
        seen.add(fields[end].key)
        end += 1
    return range(start, end)


def _is_resent(field: Field) -> bool:
    return field.key.startswith("resent-")


def recipients_of(fields: Sequence[Field], site: Site) -> tuple[Address, ...]:
    """Return all who get the message, in the order of the message, once each."""
    found: dict[str, Address] = {}
    for address in _destinations(fields, site.mail_domains[0]):
        found.setdefault(address.key, address)
        if len(found) > site.max_recipients:
            raise SubmissionRefused("5.5.3 too many recipients")
    if not found:
        raise SubmissionRefused("5.1.3 no recipients")
    return tuple(found.values())


def _destinations(fields: Sequence[Field], default_domain: str) -> Iterator[Address]:
    block = first_resent_block(fields)
    if block is None:
        chosen = named(fields, *_DESTINATIONS)
    else:
        chosen = named(fields[block.start : block.stop], *(f"resent-{key}" for key in _DESTINATIONS))
    for field in chosen:
        try:
            mailboxes = parse_address_list(field.text, default_domain).mailboxes
        except AddressError:
            raise SubmissionRefused(f"5.1.3 {field.name} cannot be read") from None
        yield from (mailbox.address for mailbox in mailboxes)
