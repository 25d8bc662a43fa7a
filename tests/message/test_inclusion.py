import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import Field
from imapproxy.message.inclusion import (
    EndingInLine,
    Inclusion,
    Named,
    Streamed,
    Unfit,
    content_fields,
    inclusion_of,
    wrapped_inclusion_of,
)
from tests.message.samples import Stored

LINE = b"x" * 998 + b"\r\n"


def streamed(octets: bytes, window: int = 7) -> bytes:
    segment = Streamed(Stored(octets, len(octets), window))
    assert segment.size == len(octets)
    return b"".join(segment.chunks())


@pytest.mark.parametrize("window", [1, 2, 3, 997, 998, 999, 1000, 5000])
@pytest.mark.parametrize(
    "octets", [b"", b"a", b"a\r\n", b"\r\n\r\na\r\nb", LINE, b"a\r\n" + LINE * 3 + LINE[:-2], b"\xe9\r\n"]
)
def test_what_is_fit_passes_as_it_is_whatever_the_windows(octets: bytes, window: int) -> None:
    assert streamed(octets, window) == octets


@pytest.mark.parametrize("window", [1, 2, 3, 997, 998, 999, 1000, 5000])
@pytest.mark.parametrize(
    "octets",
    [
        *(b"a\nb", b"\n", b"a\rb", b"\r", b"a\r\n\r", b"\r\r\n", b"\n\r", b"a\0b", b"\r\n\n", b"a\r\n.\r.\r\n"),
        *(b"x" * 999, b"x" + LINE, LINE + b"x" + LINE, LINE + b"x" * 999 + b"\r\n" + LINE, LINE + b"x" * 999),
    ],
)
def test_what_smtp_does_not_carry_is_seen_on_its_way(octets: bytes, window: int) -> None:
    with pytest.raises(Unfit):
        streamed(octets, window)


@pytest.mark.parametrize("size", [0, 2, 4, 100])
def test_a_size_that_was_not_announced_is_seen(size: int) -> None:
    with pytest.raises(Unfit):
        b"".join(Streamed(Stored(b"a\r\n", size)).chunks())


@given(
    st.binary(max_size=30) | st.text("\r\n\0.a\xe9", max_size=30).map(lambda text: text.encode("latin-1")),
    st.integers(1, 9),
)
def test_what_passes_has_crlf_lines_without_nul(octets: bytes, window: int) -> None:
    clean = octets.replace(b"\r\n", b"")
    is_fit = b"\r" not in clean and b"\n" not in clean and b"\0" not in clean
    # Taking CRLFs out may join a CR and an LF that were apart: those are lone ones too.
    assert is_fit == (octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n") and b"\0" not in octets)
    try:
        assert streamed(octets, window) == octets
    except Unfit:
        assert not is_fit
    else:
        assert is_fit


@pytest.mark.parametrize("octets", [b"", b"a\r\n", b"\r\n"])
def test_what_ends_a_message_ends_in_a_line(octets: bytes) -> None:
    segment = EndingInLine(Stored(octets, len(octets), 1))
    assert (b"".join(segment.chunks()), segment.size) == (octets, len(octets))


@pytest.mark.parametrize("octets", [b"a", b"a\r\nb"])
def test_what_does_not_end_in_a_line_ends_no_message(octets: bytes) -> None:
    with pytest.raises(Unfit):
        b"".join(EndingInLine(Stored(octets, len(octets))).chunks())


@pytest.mark.parametrize(
    ("header", "want"),
    [
        (b"", b""),
        (b"Content-Type: text/plain\r\n\r\n", b"Content-Type: text/plain\r\n"),
        (b"From: a@b\r\ncontent-id : <a@b>\r\nSubject: Content-Type: x\r\n", b"content-id : <a@b>\r\n"),
        (b"Content-Type: a/b;\r\n\tc=d\r\n e\r\nTo: b\r\n", b"Content-Type: a/b;\r\n\tc=d\r\n e\r\n"),
        (b"X: y\r\n Content-Type: folded/away\r\n", b""),
        (b"Content-Length: 20\r\nContent-Lengthy: 1\r\nCONTENT-LENGTH :3\r\n", b"Content-Lengthy: 1\r\n"),
        (b"no field at all\r\nContent-MD5: Q2hlY2s=", b"Content-MD5: Q2hlY2s=\r\n"),
        (b"Subject: a\nContent-Type: a/b\rContent-ID: c\n", b"Content-Type: a/b\r\nContent-ID: c\r\n"),
        (
            b"Content-Type: a/b;\r\r\n c=d\r\r\r\nContent-ID: e\r\r\n\r\r\n",
            b"Content-Type: a/b;\r\n c=d\r\nContent-ID: e\r\n",
        ),
        (b"Content-: x\r\nContent Type: y\r\nX-Content-Type: z\r\n", b""),
    ],
)
def test_only_content_fields_come_along(header: bytes, want: bytes) -> None:
    assert b"".join(field.raw for field in content_fields(header)) == want


def test_a_content_field_with_nul_is_refused() -> None:
    with pytest.raises(SubmissionRefused, match="NUL"):
        content_fields(b"Content-Type: a\0b\r\n")
    assert content_fields(b"Subject: a\0b\r\n") == []


@given(st.binary(max_size=200))
def test_content_fields_of_anything_are_fields(header: bytes) -> None:
    for field in content_fields(header.replace(b"\0", b"")):
        assert field.key.startswith("content-")
        assert field.raw.endswith(b"\r\n")
        assert field.raw.count(b"\r\n") == field.raw.count(b"\r") == field.raw.count(b"\n")
        assert all(line.startswith((b" ", b"\t")) for line in field.raw.split(b"\r\n")[1:-1])


def fields(inclusion: Inclusion, default_kind: str = "text/plain") -> str:
    return b"".join(field.raw for field in inclusion.fields_where(default_kind)).decode()


HEADER = (
    b"Content-Type: image/png; name=a\r\nContent-ID: <own@b>\r\n"
    b"Content-Transfer-Encoding: base64\r\nSubject: secret\r\n"
)
PHANTOM = [
    Field.of("Content-Type", "text/html"),
    Field.of("content-disposition", "attachment; filename=b"),
    Field.of("Content-Disposition", "inline"),
    Field.of("Content-ID", "<new@b>"),
    Field.of("Content-Description", "d"),
    Field.of("Content-Language", "la"),
    Field.of("Content-Location", "l"),
    Field.of("Content-MD5", "m"),
    Field.of("Content-Transfer-Encoding", "binary"),
    Field.of("Subject", "s"),
]
OVERRIDES = (
    "content-disposition: attachment; filename=b\r\nContent-Description: d\r\nContent-ID: <new@b>\r\n"
    "Content-Language: la\r\nContent-Location: l\r\n"
)
CONTENT = Stored(b"", 0)


def test_a_part_brings_its_own_fields() -> None:
    assert fields(inclusion_of(Named(HEADER, CONTENT), [])) == (
        "Content-Type: image/png; name=a\r\nContent-ID: <own@b>\r\nContent-Transfer-Encoding: base64\r\n"
    )


def test_the_phantom_header_overrides_five_of_them_and_no_other() -> None:
    assert fields(inclusion_of(Named(HEADER, CONTENT), PHANTOM)) == (
        f"Content-Type: image/png; name=a\r\nContent-Transfer-Encoding: base64\r\n{OVERRIDES}"
    )


def test_a_whole_message_becomes_a_part_that_holds_it() -> None:
    assert fields(wrapped_inclusion_of(CONTENT, PHANTOM)) == f"Content-Type: message/rfc822\r\n{OVERRIDES}"


@pytest.mark.parametrize(
    ("kind", "default_kind", "want"),
    [
        ("text/plain", "text/plain", ""),
        ("message/rfc822", "message/rfc822", ""),
        ("text/plain", "message/rfc822", "Content-Type: text/plain\r\n"),
        ("message/rfc822", "text/plain", "Content-Type: message/rfc822\r\n"),
    ],
)
def test_the_type_that_a_part_had_by_default_is_stated_where_another_is_the_default(
    kind: str, default_kind: str, want: str
) -> None:
    assert fields(inclusion_of(Named(b"", CONTENT, kind), []), default_kind) == want
