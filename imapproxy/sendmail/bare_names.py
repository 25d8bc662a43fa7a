"""Bare names in address fields (cron's `root`), completed where they stand; all else keeps its octets, folding too."""

from itertools import pairwise

from imapproxy.message.address import AddressError, parse_address_list
from imapproxy.message.fields import Field

_ADDRESS_FIELDS = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})


def completed(field: Field, domain: str) -> Field:
    """Return the field with its bare names at the domain; one that names nobody, or cannot be read, as it is."""
    if field.key.removeprefix("resent-") not in _ADDRESS_FIELDS:
        return field
    name, _, value = field.raw.decode("utf-8", "surrogateescape").partition(":")
    try:
        # As long as before: what is found in it stands at the same place in the folded value.
        bare_names = parse_address_list(value.replace("\r\n", "  "), domain).bare_names
    except AddressError:
        return field
    borders = [0, *(bare.end for bare in bare_names), len(value)]
    completed_value = f"@{domain}".join(value[start:end] for start, end in pairwise(borders))
    return Field(field.name, f"{name}:{completed_value}".encode("utf-8", "surrogateescape"))
