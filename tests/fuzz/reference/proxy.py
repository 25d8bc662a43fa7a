"""A PROXY header, versions 1 and 2, octet by octet as HAProxy's ``proxy-protocol.txt`` has it (2.1, 2.2)."""

import string
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
# Octets of the longest header of each version that is taken; HAProxy's own is shorter.
LONGEST_LINE = 107
LONGEST = 4096

_DIGITS = string.digits.encode("ascii")
_IN_ADDRESSES = {"4": string.digits + ".", "6": string.hexdigits + ":."}


class Malformed(Exception):
    """It is no PROXY header."""


@dataclass(frozen=True, slots=True)
class Header:
    """What it says, and how many octets it has; ``client`` and ``server`` are None where it does not say them."""

    client: tuple[str, int] | None
    server: tuple[str, int] | None
    is_tls: bool
    size: int


def read_header(stream: bytes) -> Header | None:
    """Return the header that a stream begins with; None where it may become one when more has come."""
    for beginning, read in ((SIGNATURE, _read_binary), (b"PROXY ", _read_line)):
        if stream.startswith(beginning):
            return read(stream)
        if beginning.startswith(stream):
            return None
    raise Malformed


def _read_line(stream: bytes) -> Header | None:
    line, end, _ = stream[:LONGEST_LINE].partition(b"\n")
    if not end:
        if len(stream) >= LONGEST_LINE:
            raise Malformed
        return None
    size = len(line) + 1
    if not line.endswith(b"\r"):
        raise Malformed
    words = line[:-1].split(b" ")
    if words[1] == b"UNKNOWN":
        if b"\r" in line[:-1]:
            raise Malformed
        return Header(None, None, is_tls=False, size=size)
    if len(words) != 6 or words[1] not in {b"TCP4", b"TCP6"}:
        raise Malformed
    client, server = (_address(word, words[1][3:].decode("ascii")) for word in words[2:4])
    return Header((client, _port(words[4])), (server, _port(words[5])), is_tls=False, size=size)


def _address(word: bytes, family: str) -> str:
    text = word.decode("latin-1")
    if not text or not all(char in _IN_ADDRESSES[family] for char in text):
        raise Malformed
    try:
        return _plain(IPv4Address(text) if family == "4" else IPv6Address(text))
    except ValueError:
        raise Malformed from None


def _plain(address: IPv4Address | IPv6Address) -> str:
    """Return an address, IPv4's where it is one that stands in IPv6's (RFC 4291, 2.5.5.2)."""
    if address.version == 6 and int(address) >> 32 == 0xFFFF:
        return str(IPv4Address(int(address) & 0xFFFFFFFF))
    return str(address)


def _port(word: bytes) -> int:
    if not word or not all(octet in _DIGITS for octet in word) or (word != b"0" and word.startswith(b"0")):
        raise Malformed
    if len(word) > 5 or int(word) > 65535:
        raise Malformed
    return int(word)


def _read_binary(stream: bytes) -> Header | None:
    if len(stream) < 16:
        return None
    version_and_command, family = stream[12], stream[13]
    size = 16 + stream[14] * 256 + stream[15]
    if size > LONGEST:
        raise Malformed
    if len(stream) < size:
        return None
    said = stream[16:size]
    if version_and_command == 0x20:
        return Header(None, None, is_tls=False, size=size)
    if version_and_command != 0x21 or family not in {0x00, 0x11, 0x21, 0x31}:
        raise Malformed
    if family in {0x00, 0x31}:
        return Header(None, None, is_tls=False, size=size)
    length = 4 if family == 0x11 else 16
    if len(said) < 2 * length + 4:
        raise Malformed
    hosts = [_plain(_kind(family)(said[start : start + length])) for start in (0, length)]
    ports = [said[start] * 256 + said[start + 1] for start in (2 * length, 2 * length + 2)]
    is_tls = _says_tls(said[2 * length + 4 :])
    return Header((hosts[0], ports[0]), (hosts[1], ports[1]), is_tls=is_tls, size=size)


def _kind(family: int) -> type[IPv4Address] | type[IPv6Address]:
    return IPv4Address if family == 0x11 else IPv6Address


def _says_tls(values: bytes) -> bool:
    """Return whether the last of the values about TLS (PP2_TYPE_SSL) says that the client speaks it."""
    is_tls = False
    while values:
        if len(values) < 3:
            raise Malformed
        kind, size = values[0], values[1] * 256 + values[2]
        value, values = values[3 : 3 + size], values[3 + size :]
        if len(value) != size or (kind == 0x20 and size < 5):
            raise Malformed
        if kind == 0x20:
            is_tls = value[0] % 2 == 1
    return is_tls
