"""A host's address as others know it."""

from ipaddress import IPv4Address, IPv6Address, ip_address


def bare_address(host: str) -> IPv4Address | IPv6Address:
    """Return an address without its zone, which is this host's alone, and IPv4 where it is (RFC 4291 2.5.5.2).

    ValueError for what is no address.
    """
    address = ip_address(host.partition("%")[0])
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
