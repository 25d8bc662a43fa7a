"""PROXY headers: read whole or octet by octet, never believed by halves, and written as another reads them."""

from ipaddress import IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proxyprotocol.v2 import ProxyProtocolV2  # an independent reader; pymap brings it along

from imapproxy.protocol.proxy_header import (
    MAX_V1,
    MAX_V2,
    Address,
    ProxyHeader,
    ProxyHeaderError,
    ProxyHeaderReader,
    proxy_v2,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
NOBODY = ProxyHeader(None, None, is_tls=False)
V4 = ProxyHeader(("192.0.2.1", 56324), ("192.0.2.2", 143), is_tls=False)
V6 = ProxyHeader(("2001:db8::1", 56324), ("2001:db8::2", 143), is_tls=False)
V4_ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2]) + b"\xdc\x04\x00\x8f"


def v2(command: int, family: int, rest: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + len(rest).to_bytes(2, "big") + rest


def value(kind: int, octets: bytes) -> bytes:
    return bytes([kind]) + len(octets).to_bytes(2, "big") + octets


HEADERS = [
    (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 143\r\n", V4),
    (b"PROXY TCP6 2001:db8::1 2001:DB8:0::2 56324 143\r\n", V6),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 56324 143\r\n", V4),
    (b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n", ProxyHeader(("0.0.0.0", 0), ("255.255.255.255", 65535), False)),
    (b"PROXY UNKNOWN\r\n", NOBODY),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", NOBODY),
    (b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 16) + b"\r\n", NOBODY),
    (v2(0x21, 0x11, V4_ADDRESSES), V4),
    (v2(0x21, 0x21, IPv6Address("2001:db8::1").packed + IPv6Address("2001:db8::2").packed + b"\xdc\x04\x00\x8f"), V6),
    (v2(0x20, 0x00), NOBODY),
    (v2(0x20, 0x11, V4_ADDRESSES), NOBODY),
    (v2(0x20, 0xFF, b"whatever"), NOBODY),
    (v2(0x21, 0x00, b"whatever"), NOBODY),
    (v2(0x21, 0x31, b"/run/x".ljust(216, b"\0")), NOBODY),
    (v2(0x21, 0x11, V4_ADDRESSES + value(0x04, b"\0\0") + value(0x02, b"imap.example.com")), V4),
    (v2(0x21, 0x11, V4_ADDRESSES + value(0x20, b"\x00\x00\x00\x00\x00")), V4),
    (v2(0x21, 0x11, V4_ADDRESSES + value(0x20, b"\x01\x00\x00\x00\x01" + value(0x21, b"TLSv1.3"))), "tls"),
    (v2(0x21, 0x11, V4_ADDRESSES + value(0x20, b"\x07\x00\x00\x00\x00")), "tls"),
    (v2(0x21, 0x11, V4_ADDRESSES + value(0x04, b"\0" * (MAX_V2 - 16 - 12 - 3))), V4),
]


@pytest.mark.parametrize(("octets", "want"), HEADERS)
def test_a_header_whole_octet_by_octet_and_with_more_behind_it(octets: bytes, want: ProxyHeader | str) -> None:
    if want == "tls":
        want = ProxyHeader(V4.client, V4.server, is_tls=True)
    reader = ProxyHeaderReader()
    assert reader.feed(octets) == want
    assert reader.leftover == b""
    reader = ProxyHeaderReader()
    assert [reader.feed(octets[at : at + 1]) for at in range(len(octets))] == [None] * (len(octets) - 1) + [want]
    reader = ProxyHeaderReader()
    assert reader.feed(octets + b"a NOOP\r\n") == want
    assert reader.leftover == b"a NOOP\r\n"


@pytest.mark.parametrize(("octets", "want"), HEADERS)
def test_who_reads_what_is_wanted_reads_nothing_behind_it(octets: bytes, want: ProxyHeader | str) -> None:
    stream, reader, header = octets + b"\x16\x03\x01", ProxyHeaderReader(), None
    while header is None:
        assert reader.wanted > 0
        piece, stream = stream[: reader.wanted], stream[reader.wanted :]
        header = reader.feed(piece)
    assert stream == b"\x16\x03\x01"
    assert reader.leftover == b""
    assert want in {"tls", header}


@pytest.mark.parametrize(
    "octets",
    [
        b"a LOGIN fred secret\r\n",
        b"\x16\x03\x01\x02\x00",
        b"P NOOP\r\n",
        b"PROXY\r\n",
        b"proxy TCP4 192.0.2.1 192.0.2.2 56324 143\r\n",
        b"\r\n\r\n\x00\r\nQUIT\r",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY UNKNOWN a\rb\r\n",
        b"PROXY UNKNOWN\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 56324 143\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 143\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 143 x\r\n",
        b"PROXY TCP4  192.0.2.1 192.0.2.2 56324 143\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 65536\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 143\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 143\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.256 56324 143\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 56324 143\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 56324 143\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 56324 143\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2 56324 143\r\n",
        b"PROXY TCP4 " + b"1" * MAX_V1,
        b"PROXY UNKNOWN " + b"x" * (MAX_V1 - 15) + b"\r\n",
        v2(0x11, 0x11, V4_ADDRESSES),
        v2(0x22, 0x11, V4_ADDRESSES),
        v2(0x21, 0x12, V4_ADDRESSES),
        v2(0x21, 0x41, V4_ADDRESSES),
        v2(0x21, 0x11, V4_ADDRESSES[:-1]),
        v2(0x21, 0x21, V4_ADDRESSES),
        v2(0x21, 0x11, V4_ADDRESSES + b"\x04"),
        v2(0x21, 0x11, V4_ADDRESSES + b"\x04\x00\x02x"),
        v2(0x21, 0x11, V4_ADDRESSES + value(0x20, b"\x01\x00\x00\x00")),
        SIGNATURE + b"\x21\x11" + (MAX_V2 - 15).to_bytes(2, "big"),
        SIGNATURE + b"\x21\x11\xff\xff",
    ],
)
def test_what_is_no_header_is_refused_at_the_latest_when_it_is_whole(octets: bytes) -> None:
    with pytest.raises(ProxyHeaderError, match="PROXY header"):
        ProxyHeaderReader().feed(octets)
    reader = ProxyHeaderReader()
    with pytest.raises(ProxyHeaderError, match="PROXY header"):
        assert any(reader.feed(octets[at : at + 1]) for at in range(len(octets)))


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_octets_are_a_header_or_the_beginning_of_one_or_none(octets: bytes, beginning: bytes) -> None:
    reader = ProxyHeaderReader()
    try:
        header = reader.feed(beginning + octets)
    except ProxyHeaderError:
        return
    assert header is not None or reader.wanted > 0


V4_TEXT = st.ip_addresses(v=4).map(str)
V6_TEXT = st.ip_addresses(v=6).map(str)
PORT = st.integers(0, 0xFFFF)
ENDS = st.one_of(
    st.tuples(st.tuples(V4_TEXT, PORT), st.tuples(V4_TEXT, PORT)),
    st.tuples(st.tuples(V6_TEXT, PORT), st.tuples(V6_TEXT, PORT)),
)


@given(ENDS, st.booleans())
def test_what_is_written_is_read_here_and_by_others(ends: tuple[Address, Address], is_tls: bool) -> None:
    octets = proxy_v2(*ends, is_tls)
    header = ProxyHeaderReader().feed(octets)
    assert header is not None
    assert header.is_tls is is_tls
    theirs = ProxyProtocolV2().unpack(octets)
    for ours, said, sent in ((header.client, theirs.source, ends[0]), (header.server, theirs.dest, ends[1])):
        assert ours is not None
        assert said == (ip_address(sent[0]), sent[1])
        assert ours[1] == sent[1]
    assert theirs.tlv.ssl.has_ssl is is_tls


@pytest.mark.parametrize(
    ("client", "server", "want"),
    [
        (("192.0.2.1", 1), ("2001:db8::2", 2), ProxyHeader(("192.0.2.1", 1), ("2001:db8::2", 2), is_tls=False)),
        (("2001:db8::2", 2), ("192.0.2.1", 1), ProxyHeader(("2001:db8::2", 2), ("192.0.2.1", 1), is_tls=False)),
        (("fe80::1%eth0", 1), ("fe80::2%1", 2), ProxyHeader(("fe80::1", 1), ("fe80::2", 2), is_tls=False)),
    ],
)
def test_addresses_of_two_kinds_and_scopes(client: Address, server: Address, want: ProxyHeader) -> None:
    assert ProxyHeaderReader().feed(proxy_v2(client, server)) == want


def test_an_ipv4_client_is_one_however_it_is_written() -> None:
    header = ProxyHeaderReader().feed(proxy_v2(("::ffff:192.0.2.1", 1), ("::ffff:192.0.2.2", 2)))
    assert header is not None
    assert header.client == ("192.0.2.1", 1)
