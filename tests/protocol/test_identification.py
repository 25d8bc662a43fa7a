"""A client's ID without what only a proxy may say; the rest is what it was."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.protocol.identification import FORWARDING, without_forwarding


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (b"NIL", [b"NIL"]),
        (b"nil", [b"nil"]),
        (b"()", [b"()"]),
        (b'("name" "mutt" "version" NIL)', [b'("name" "mutt" "version" NIL)']),
        (b'( "name"  "m\\"u\\\\tt" )', [b'( "name"  "m\\"u\\\\tt" )']),
        (b"(name mutt)", [b"(name mutt)"]),
        (b'("x-originating-ip" "127.0.0.1")', [b"NIL"]),
        (b'("x-originating-ip" "1" "X-ORIGINATING-PORT" "2")', [b"NIL"]),
        (b'("name" "m" "x-connected-ip" NIL "os" "x")', [b'("name" "m" "os" "x")']),
        (b'("X-Proxy-TTL" "9" "name"  "m")', [b'("name"  "m")']),
        (b'("name" "m" "x-session-id" "9")', [b'("name" "m")']),
        (b"(x-forward-user fred name m)", [b"(name m)"]),
        (b'("x-client-transport" "TLS" "name" "m" "X-Multiplex" "0")', [b'("name" "m")']),
        (b'("x\\"-originating-ip" "1")', [b'("x\\"-originating-ip" "1")']),
        (b'("name" "x-originating-ip")', [b'("name" "x-originating-ip")']),
        # Literals: what is cut behind a synchronizing one's mark waits for the server's "+".
        (b'({4+}\r\nname {4+}\r\nm) ")', [b'({4+}\r\nname {4+}\r\nm) ")']),
        (b"({4}\r\nname {3}\r\na\r\n)", [b"({4}\r\n", b"name {3}\r\n", b"a\r\n)"]),
        (b'({16}\r\nx-originating-ip {9}\r\n127.0.0.1 "name" {1}\r\nm)', [b'("name" {1}\r\n', b"m)"]),
        (b'({16+}\r\nx-ORIGINATING-ip "1" {4}\r\nname {0+}\r\n)', [b"({4}\r\n", b"name {0+}\r\n)"]),
        (b'({20+}\r\nx-originating-ip\x00foo "1")', [b"NIL"]),
        (b'("name" {18}\r\n"x-originating-ip")', [b'("name" {18}\r\n', b'"x-originating-ip")']),
    ],
)
def test_what_stays(arguments: bytes, want: list[bytes]) -> None:
    *pieces, last = want
    assert without_forwarding(arguments + b"\r\n") == [*pieces, last + b"\r\n"]


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b'"name"',
        b"{3}\r\nNIL",
        b"name",
        b'("name")',
        b'("name" "m" "os")',
        b'("name" "m"',
        b'"name" "m")',
        b'("name" "m"))',
        b'(("x-originating-ip" "1"))',
        b'("name" ("x-originating-ip" "1"))',
        b'("name""m")',
        b'("a" "b""x-originating-ip" "1")',
        b'("a""x-originating-ip" "1" "b")',
        b'("name" "m" )x',
        b'("na\\me" "m")',
        b'("name" "m)',
        b'("name" ~{1}\r\nm)',
        b'("name" {9}\r\nm)',
        b'("name" "m") ',
        b'("name"\t"m")',
    ],
)
def test_what_is_not_of_ids_form(arguments: bytes) -> None:
    assert without_forwarding(arguments + b"\r\n") is None


def test_without_an_end_it_is_none() -> None:
    assert without_forwarding(b'("name" "m")') is None


def quoted(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def literal(text: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(text), text)


def literal_plus(text: bytes) -> bytes:
    return b"{%d+}\r\n%b" % (len(text), text)


NAMES = st.sampled_from([b"name", b"os", b"x-originating-ip", b"X-Proxy-TTL", b"x-forward-", b"x-session"])
STRINGS = st.sampled_from([quoted, literal, literal_plus])
FIELDS = st.lists(st.tuples(STRINGS, NAMES, STRINGS, st.sampled_from([b"", b"x", b') "', b"x-proxy-ttl"])))


Form = Callable[[bytes], bytes]
Field = tuple[Form, bytes, Form, bytes]


def written(fields: list[Field]) -> bytes:
    return b"(" + b" ".join(b"%b %b" % (form(name), of(value)) for form, name, of, value in fields) + b")"


@given(FIELDS)
def test_whatever_the_form_of_its_strings_a_field_stays_whole_or_goes(fields: list[Field]) -> None:
    kept = [field for field in fields if not field[1].lower().startswith(FORWARDING)]
    pieces = without_forwarding(written(fields) + b"\r\n")
    assert pieces is not None
    assert b"".join(pieces) == (b"NIL" if fields and not kept else written(kept)) + b"\r\n"
    assert all(piece.endswith(b"}\r\n") and not piece.endswith(b"+}\r\n") for piece in pieces[:-1])


@given(st.binary(max_size=200))
def test_any_octets_come_to_something(octets: bytes) -> None:
    pieces = without_forwarding(octets + b"\r\n")
    assert pieces is None or b"".join(pieces) == octets + b"\r\n" or b"x-" in octets.lower()


# What copies all that it keeps with each field would take minutes here.
def test_many_fields_are_gone_through_once() -> None:
    arguments = b"(" + b" ".join([b"a b"] * 300_000) + b")\r\n"
    assert without_forwarding(arguments) == [arguments]
