from os import EX_DATAERR

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.fields import MAX_FIELDS, MAX_HEADER
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.original import read_original


def parts(octets: bytes) -> tuple[list[bytes], bytes]:
    original = read_original(octets)
    return [field.raw for field in original.fields], original.body


@pytest.mark.parametrize(
    ("octets", "fields", "body"),
    [
        (b"To: a\nX: b\n c\n\ntext\n", [b"To: a\r\n", b"X: b\r\n c\r\n"], b"text\r\n"),
        (b"To: a\r\n\r\ntext\r\n", [b"To: a\r\n"], b"text\r\n"),
        (b"To: a\r\rtext\r", [b"To: a\r\n"], b"text\r\n"),
        (b"To: a\n\n\n\ntext", [b"To: a\r\n"], b"\r\n\r\ntext\r\n"),
        (b"To : a\nx:\n \n\tb\n\n", [b"To : a\r\n", b"x:\r\n \r\n\tb\r\n"], b""),
        (b"X: \xff\n\n\xe9\n", [b"X: \xff\r\n"], b"\xe9\r\n"),
    ],
)
def test_header_and_body_with_whatever_line_ends(octets: bytes, fields: list[bytes], body: bytes) -> None:
    assert parts(octets) == (fields, body)


@pytest.mark.parametrize("octets", [b"To: a", b"To: a\n", b"To: a\n\n", b"To: a\r\n\r\n"])
def test_a_header_needs_no_body(octets: bytes) -> None:
    assert parts(octets) == ([b"To: a\r\n"], b"")


@pytest.mark.parametrize(
    ("octets", "body"),
    [
        (b"", b""),
        (b"\n", b""),
        (b"\nTo: a\n", b"To: a\r\n"),
        (b"text only", b"text only\r\n"),
        (b"Dear Anna: hello\n\nTo: a\n", b"Dear Anna: hello\r\n\r\nTo: a\r\n"),
        (b" To: a\n", b" To: a\r\n"),
        (b": a\n", b": a\r\n"),
        (b"\xef\xbb\xbfTo: a\n", b"\xef\xbb\xbfTo: a\r\n"),
    ],
)
def test_a_body_needs_no_header(octets: bytes, body: bytes) -> None:
    assert parts(octets) == ([], body)


@pytest.mark.parametrize("line", [b"hello", b"Dear Anna: hello", b"-- ", b"From anna Mon Nov 23"])
def test_the_first_line_that_is_no_field_begins_the_body(line: bytes) -> None:
    assert parts(b"To: a\n" + line + b"\nBcc: b\n\nc\n") == ([b"To: a\r\n"], line + b"\r\nBcc: b\r\n\r\nc\r\n")


@pytest.mark.parametrize("line", [b"From anna Mon Nov 23 10:00:00 2026\n", b"From \r\n", b"From a: b\n"])
def test_an_mbox_line_on_top_is_dropped(line: bytes) -> None:
    assert parts(line + b"To: a\n\ntext\n") == ([b"To: a\r\n"], b"text\r\n")
    assert parts(line + b"text\n") == ([], b"text\r\n")
    assert parts(line) == ([], b"")


@pytest.mark.parametrize("field", [b"From: a\r\n", b"From : a\r\n", b"From \t : a\r\n"])
def test_a_from_field_on_top_is_none(field: bytes) -> None:
    assert parts(field) == ([field], b"")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"To: a\n\n\0", "NUL in the message"),
        (b"a: b\n" * (MAX_FIELDS + 1), "5.3.4 too many header fields"),
        (b"a: b\n" * MAX_HEADER, "5.3.4 message header too large"),
        (b"a: b\n" + b" c\n" * MAX_HEADER, "5.3.4 message header too large"),
        (b"a: " + b"b" * MAX_HEADER, "5.3.4 message header too large"),
    ],
    ids=["NUL", "fields", "lines", "continuations", "line"],
)
def test_what_can_be_no_message(octets: bytes, reason: str) -> None:
    with pytest.raises(Failure, match=reason) as caught:
        read_original(octets)
    assert caught.value.status == EX_DATAERR


LINES = st.lists(st.sampled_from([b"To: a", b" b", b"\tc", b"", b"x", b"From a", b"From: d", b"e : f", b": g"]))


@given(LINES)
def test_no_line_is_lost_but_the_mbox_line_and_the_empty_one(lines: list[bytes]) -> None:
    octets = b"".join(line + b"\r\n" for line in lines)
    fields, body = parts(octets)
    header = b"".join(fields)
    mbox_line = b"From a\r\n" if lines[:1] == [b"From a"] else b""
    assert octets in {mbox_line + header + b"\r\n" + body, mbox_line + header + body}
