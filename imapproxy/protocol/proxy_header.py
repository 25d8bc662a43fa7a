"""The PROXY protocol, versions 1 and 2: who a connection comes from, said before its first octet.

HAProxy's ``proxy-protocol.txt`` is the specification. What is not wholly of its form is an error: the header is
believed, so it may come from trusted networks only, and there is no guessing at it.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct

from imapproxy.errors import ProxyError

# Section 2.1: the longest line of version 1, CRLF included.
MAX_V1 = 107
# Version 2 could have 64 KiB behind its beginning; HAProxy sends some hundred octets, a certificate's name included.
MAX_V2 = 4096

_V1_BEGINNING = b"PROXY "
_SHORTEST_V1 = len(b"PROXY UNKNOWN\r\n")
# Section 2.1: "PROXY" SP ("TCP4" / "TCP6") SP address SP address SP port SP port CRLF, or "PROXY UNKNOWN" and anything
_V1 = re.compile(rb"PROXY TCP(?P<family>[46]) ([0-9A-Fa-f.:]+) ([0-9A-Fa-f.:]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*)\r\n")
_V1_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: [^\r\n]*)?\r\n")

# Section 2.2: signature, version and command, family and transport, length of what follows
_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_BEGINNING = Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX = 0x00, 0x11, 0x21, 0x31
_TCP4_ADDRESSES = Struct("!4s4sHH")
_TCP6_ADDRESSES = Struct("!16s16sHH")
# Section 2.2.6: type and length of a value; PP2_TYPE_SSL's begins with flags and the outcome of a verification
_VALUE = Struct("!BH")
_SSL = 0x20
_SSL_VALUE = Struct("!BI")
_CLIENT_SPEAKS_TLS = 0x01
_NOT_VERIFIED = 1

Address = tuple[str, int]


class ProxyHeaderError(ProxyError):
    """A connection does not begin with the PROXY header that it must begin with."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """Where a client's connection came from, and where it went; None where the header does not say or is a proxy's own.

    ``is_tls``: the client spoke TLS with the proxy that says so.
    """

    client: Address | None
    server: Address | None
    is_tls: bool


_NOBODY = ProxyHeader(None, None, is_tls=False)


class ProxyHeaderReader:
    """Takes a connection's first octets, until the header is whole."""

    __slots__ = ("_octets", "leftover")

    def __init__(self) -> None:
        self._octets = bytearray()
        self.leftover = b""  # what came behind the header

    @property
    def wanted(self) -> int:
        """How many octets may be read, one at least, and be sure to be the header's: behind it TLS may begin."""
        octets = self._octets
        if len(octets) < _SHORTEST_V1:
            return _SHORTEST_V1 - len(octets)
        if octets.startswith(_SIGNATURE):
            return max(_V2_BEGINNING.size, self._size_of_v2()) - len(octets)
        return 1 if octets.endswith(b"\r") else 2

    def feed(self, octets: bytes) -> ProxyHeader | None:
        """Take octets; return the header once it is whole. Raise ProxyHeaderError for what can be none."""
        self._octets += octets
        if self._octets[: len(_SIGNATURE)] == _SIGNATURE[: len(self._octets)]:
            return self._read_v2()
        if self._octets[: len(_V1_BEGINNING)] == _V1_BEGINNING[: len(self._octets)]:
            return self._read_v1()
        raise ProxyHeaderError("no PROXY header")

    def _read_v1(self) -> ProxyHeader | None:
        size = self._octets.find(b"\n", 0, MAX_V1) + 1
        if size:
            line, self.leftover = bytes(self._octets[:size]), bytes(self._octets[size:])
            return _header_of_v1(line)
        if len(self._octets) >= MAX_V1:
            raise ProxyHeaderError("PROXY header too long")
        return None

    def _size_of_v2(self) -> int:
        """Return how long the header is, or 0 where that has not come."""
        if len(self._octets) < _V2_BEGINNING.size:
            return 0
        size: int = _V2_BEGINNING.size + _V2_BEGINNING.unpack_from(self._octets)[3]
        if size > MAX_V2:
            raise ProxyHeaderError("PROXY header too long")
        return size

    def _read_v2(self) -> ProxyHeader | None:
        size = self._size_of_v2()
        if not size or len(self._octets) < size:
            return None
        header, self.leftover = bytes(self._octets[:size]), bytes(self._octets[size:])
        _, command, family, _ = _V2_BEGINNING.unpack_from(header)
        return _header_of_v2(command, family, header[_V2_BEGINNING.size :])


def _header_of_v1(line: bytes) -> ProxyHeader:
    if _V1_UNKNOWN.fullmatch(line):
        return _NOBODY
    match = _V1.fullmatch(line)
    if match is None:
        raise ProxyHeaderError("malformed PROXY header")
    family, *hosts, client_port, server_port = match.groups()
    kind = IPv4Address if family == b"4" else IPv6Address
    try:
        client, server = (_text(kind(host.decode("ascii"))) for host in hosts)
    except ValueError as failure:
        raise ProxyHeaderError("malformed PROXY header") from failure
    return ProxyHeader((client, _port(client_port)), (server, _port(server_port)), is_tls=False)


def _port(digits: bytes) -> int:
    port = int(digits)
    if port > 0xFFFF:
        raise ProxyHeaderError("malformed PROXY header")
    return port


def _header_of_v2(command: int, family: int, rest: bytes) -> ProxyHeader:
    if command == _LOCAL:  # a health check: the proxy's own connection, whatever follows
        return _NOBODY
    if command != _PROXY or family not in {_UNSPECIFIED, _TCP4, _TCP6, _UNIX}:
        raise ProxyHeaderError("PROXY header of an unknown kind")
    if family in {_UNSPECIFIED, _UNIX}:
        return _NOBODY
    addresses = _TCP4_ADDRESSES if family == _TCP4 else _TCP6_ADDRESSES
    if len(rest) < addresses.size:
        raise ProxyHeaderError("malformed PROXY header")
    client, server, client_port, server_port = addresses.unpack_from(rest)
    return ProxyHeader(
        (_text(ip_address(client)), client_port),
        (_text(ip_address(server)), server_port),
        _says_tls(rest[addresses.size :]),
    )


def _says_tls(values: bytes) -> bool:
    is_tls, position = False, 0
    while position < len(values):
        start = position + _VALUE.size
        if start > len(values):
            raise ProxyHeaderError("malformed PROXY header")
        kind, size = _VALUE.unpack_from(values, position)
        position = start + size
        if position > len(values) or (kind == _SSL and size < _SSL_VALUE.size):
            raise ProxyHeaderError("malformed PROXY header")
        if kind == _SSL:
            is_tls = bool(values[start] & _CLIENT_SPEAKS_TLS)
    return is_tls


def _text(address: IPv4Address | IPv6Address) -> str:
    """Return an address as text; IPv4's own form where it stands in an IPv6 address, so that it is counted once."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def proxy_v2(client: Address, server: Address, is_tls: bool = False) -> bytes:
    """Return the header that says a connection is forwarded: from ``client``, who spoke TLS or not, to ``server``.

    The addresses are IPv4 or IPv6 ones as text; a scope (``fe80::1%eth0``) is left out, since it means nothing abroad.
    """
    hosts = [ip_address(host.partition("%")[0]) for host, _ in (client, server)]
    if all(isinstance(host, IPv4Address) for host in hosts):
        family, addresses = _TCP4, _TCP4_ADDRESSES
    else:
        family, addresses = _TCP6, _TCP6_ADDRESSES
        hosts = [IPv6Address(f"::ffff:{host}") if isinstance(host, IPv4Address) else host for host in hosts]
    rest = addresses.pack(hosts[0].packed, hosts[1].packed, client[1], server[1])
    if is_tls:
        value = _SSL_VALUE.pack(_CLIENT_SPEAKS_TLS, _NOT_VERIFIED)
        rest += _VALUE.pack(_SSL, len(value)) + value
    return _V2_BEGINNING.pack(_SIGNATURE, _PROXY, family, len(rest)) + rest
