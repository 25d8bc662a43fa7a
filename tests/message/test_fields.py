import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.fields import MAX_FIELDS, MAX_HEADER, Field, named, read_draft_header, read_header
from tests.message.samples import draft, mapped


def test_fields_keep_their_octets() -> None:
    octets = draft("To : a\n\tb\nSUBJECT:\n x\nX-Empty:\n\nTo: body\n")
    header = read_draft_header(octets)
    assert [(field.key, field.text) for field in header.fields] == [("to", "a\tb"), ("subject", "x"), ("x-empty", "")]
    assert b"".join(field.raw for field in header.fields) == octets[: header.end]
    assert octets[header.end : header.body] == b"\r\n"
    assert octets[header.body :] == b"To: body\r\n"
    assert read_draft_header(mapped(octets)) == header


def test_a_header_needs_no_body() -> None:
    header = read_draft_header(b"To: a\r\n")
    assert (header.end, header.body) == (7, 7)


def test_a_line_of_white_space_continues_a_field() -> None:
    header = read_draft_header(b"To: a\r\n \r\nCc: b\r\n\r\n")
    assert [field.raw for field in header.fields] == [b"To: a\r\n \r\n", b"Cc: b\r\n"]


def test_octets_that_are_no_utf8_can_be_written_back() -> None:
    field = Field("Subject", b"Subject: \xe9\r\n")
    assert field.text == "\udce9"
    assert Field.of("Subject", field.text) == field


@pytest.mark.parametrize(
    "text",
    ["", "\n", "\nTo: a\n", "hello\n", " To: a\n", ": a\n", "From fred Mon Jan  1 00:00:00 2026\nTo: a\n", "Tö: a\n",
     "a" * 2000 + ": b\n"],
)  # fmt: skip
def test_what_does_not_begin_with_a_field_is_no_message(text: str) -> None:
    with pytest.raises(ClientError, match="not a message"):
        read_draft_header(draft(text))


@pytest.mark.parametrize(
    "line",
    ["hello", "From fred Mon Jan  1 00:00:00 2026", ">From fred Mon Jan  1 00:00:00 2026", "Su bject: x", "Sübject: x",
     ": x", "."],
)  # fmt: skip
def test_a_line_that_ends_the_header_for_an_mta_is_refused(line: str) -> None:
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.0 malformed header line$"):
        read_draft_header(draft(f"To: a\n{line}\nFrom: boss@example.com\n\nbody\n"))


def test_a_from_hidden_behind_a_bare_cr_is_a_from() -> None:
    header = read_draft_header(draft("To: a\nSubject: x\rFrom: boss@example.com\n\nbody\n"))
    assert [field.name for field in header.fields] == ["To", "Subject", "From"]


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"A: b\r\n" * MAX_FIELDS + b"\r\n", ""),
        (b"A: b\r\n" * (MAX_FIELDS + 1) + b"\r\n", "5.3.4 too many header fields"),
        (b"A: b\r\n" + b" c\r\n" * (MAX_HEADER // 4) + b"\r\n", "5.3.4 message header too large"),
    ],
)
def test_a_header_is_bounded(octets: bytes, want: str) -> None:
    refusal = ""
    try:
        read_draft_header(octets)
    except SubmissionRefused as error:
        refusal = error.text
    assert refusal == want


@pytest.mark.parametrize(
    ("octets", "fields", "body"),
    [(b"", 0, 0), (b"\r\nbody", 0, 2), (b"A: b", 1, 4), (b"A: b\r\n", 1, 6), (b"A: b\r\n\r\n", 1, 8)],
)
def test_a_parts_header_may_be_short(octets: bytes, fields: int, body: int) -> None:
    header = read_header(b"--x\r\n" + octets + b"\r\n--x", 5, 5 + len(octets))
    assert (len(header.fields), header.body) == (fields, body + 5)


def test_fields_are_found_by_name() -> None:
    fields = [Field.of("To", "a"), Field.of("CC", "b"), Field.of("to", "c")]
    assert named(fields, "to", "bcc") == [fields[0], fields[2]]
