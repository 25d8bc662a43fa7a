import base64
import quopri
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.draft import BLOCK, Octets
from imapproxy.message.segments import (
    Base64,
    Base64OfQuotedPrintable,
    Segment,
    Slice,
    WrappedBase64,
    quoted_printable,
    rendering_of,
    whole,
)
from tests.message.samples import mapped, normalised

LINES = st.lists(
    st.one_of(
        st.binary(max_size=90),
        st.sampled_from([b"x" * length + end for length in range(70, 80) for end in (b"", b" ", b"\t", b"  ", b"=")]),
        st.sampled_from([b".", b"From x", b"", b" ", b"=20", b"caf\xe9 " * 20]),
    )
).map(b"\r\n".join)
LONG = [
    b"x" * 3 * BLOCK,
    b"\xe9" * 3 * BLOCK,
    b"y " * BLOCK + b"\r\n" + b"z\t" * BLOCK,
    b"a" * (BLOCK - 1) + b"\r\n" + b"b" * 9,
    b"=E9" * BLOCK,
    b"=\r\n" * BLOCK,
    b"a" * (BLOCK - 1) + b"=E9",
    b"a" * BLOCK + b" \r\n",
    b"x" * (BLOCK - 2) + b" \r\n",
]


def octets_of(segment: Segment) -> bytes:
    pieces = list(segment.chunks())
    assert max(map(len, pieces), default=0) <= 4 * BLOCK
    octets = b"".join(pieces)
    assert segment.size == len(octets)
    assert max(map(len, octets.split(b"\r\n"))) <= 76
    assert octets.isascii()
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    return octets


def within(octets: bytes, make: Callable[[Octets, int, int], Segment]) -> Segment:
    """Make a segment of octets that have neighbours."""
    return make(mapped(b"\xe9ab" + octets + b"\r\ncd"), 3, len(octets) + 3)


def check_quoted_printable(octets: bytes) -> None:
    quoted = octets_of(within(octets, quoted_printable))
    assert quopri.decodestring(quoted) == octets
    assert b" \r\n" not in quoted
    assert b"\t\r\n" not in quoted
    assert not quoted.endswith((b" ", b"\t"))


@given(LINES)
def test_quoted_printable_is_undone_by_a_reader(octets: bytes) -> None:
    check_quoted_printable(normalised(octets.replace(b"\0", b"")))
    check_quoted_printable(normalised(octets.replace(b"\0", b"")).removesuffix(b"\r\n"))


@pytest.mark.parametrize("octets", LONG)
def test_quoted_printable_of_lines_longer_than_a_block(octets: bytes) -> None:
    check_quoted_printable(octets)


@given(st.binary(max_size=300))
def test_base64_is_undone_by_a_reader(octets: bytes) -> None:
    assert base64.b64decode(octets_of(within(octets, Base64))) == octets


def test_base64_is_what_the_standard_library_makes_of_it() -> None:
    octets = b"\xe9" * (3 * BLOCK + 1)
    assert octets_of(within(octets, Base64)).replace(b"\r\n", b"\n") == base64.encodebytes(octets)


@given(LINES.map(lambda octets: octets.replace(b"\0", b"")))
def test_quoted_printable_in_base64_says_the_same(octets: bytes) -> None:
    assert base64.b64decode(octets_of(within(octets, Base64OfQuotedPrintable))) == quopri.decodestring(octets)


@pytest.mark.parametrize("octets", LONG)
def test_quoted_printable_in_base64_of_lines_longer_than_a_block(octets: bytes) -> None:
    assert base64.b64decode(octets_of(within(octets, Base64OfQuotedPrintable))) == quopri.decodestring(octets)


@pytest.mark.parametrize("size", [0, 1, 57, 58, 3 * BLOCK])
def test_base64_on_one_line_is_wrapped(size: int) -> None:
    octets = b"x" * size
    written = b"\xe9 " + base64.b64encode(octets)
    assert octets_of(within(written, WrappedBase64)).replace(b"\r\n", b"\n") == base64.encodebytes(octets)


def test_a_rendering_is_its_segments_in_a_row_again_and_again() -> None:
    octets = bytes(range(256)) * 1024
    rendering = rendering_of([whole(b"head"), Slice(octets, 256, len(octets)), whole(b""), whole(b"tail")], True)
    assert rendering.size == len(octets) - 256 + 8
    assert rendering.smtputf8
    for _ in range(2):
        assert all(0 < len(chunk) <= BLOCK for chunk in rendering.chunks())
        assert b"".join(rendering.chunks()) == b"head" + octets[256:] + b"tail"
