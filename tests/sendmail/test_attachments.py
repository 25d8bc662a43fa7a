from email import message_from_bytes
from email.policy import SMTP
from os import EX_DATAERR

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.fields import MAX_FIELDS, MAX_HEADER
from imapproxy.message.mime import MAX_PARTS
from imapproxy.message.reference_part import reference_part
from imapproxy.sendmail.attachments import with_attachments
from imapproxy.sendmail.failure import Failure
from tests.message.samples import draft

ONE = b"Content-Type: text/x-one\r\n\r\n1\r\n"
TWO = b"Content-Type: text/x-two\r\n\r\n2\r\n"
BOUNDARY = "=_imap-submit_000000000"


def attached(text: str, *parts: bytes) -> str:
    octets = with_attachments(draft(text), parts or (ONE, TWO))
    assert octets.count(b"\r\n") == octets.count(b"\r") == octets.count(b"\n")
    return octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def enclosed(fields: str, first: str, boundary: str = BOUNDARY) -> str:
    """Return a multipart/mixed of our own with this first part, and the two behind it."""
    parts = "".join(
        f"--{boundary}\n{part}\n"
        for part in (first, "Content-Type: text/x-one\n\n1\n", "Content-Type: text/x-two\n\n2\n")
    )
    return f"{fields}\n{parts}--{boundary}--\n"


MIXED_FIELD = f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"\n'
NEW_FIELDS = f"{MIXED_FIELD}MIME-Version: 1.0\n"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("To: a\n\nhello\n\n", enclosed(f"To: a\n{NEW_FIELDS}", "\nhello\n\n")),
        ("To: a\n", enclosed(f"To: a\n{NEW_FIELDS}", "\n")),
        (
            "MIME-Version: 1.0\nContent-Type: text/html;\n x=y\nTo: a\ncontent-transfer-encoding: base64\n\nPGI+\n",
            enclosed(
                f"MIME-Version: 1.0\nTo: a\n{MIXED_FIELD}",
                "Content-Type: text/html;\n x=y\ncontent-transfer-encoding: base64\n\nPGI+\n",
            ),
        ),
        (
            "To: josé\n\nJos\udce9\n",
            enclosed(f"To: josé\n{MIXED_FIELD}Content-Transfer-Encoding: 8bit\nMIME-Version: 1.0\n", "\nJos\udce9\n"),
        ),
    ],
    ids=["text", "nothing", "described", "8-bit"],
)
def test_a_body_becomes_the_first_part_with_the_fields_that_describe_it(text: str, want: str) -> None:
    assert attached(text) == want


@pytest.mark.parametrize("kind", ["signed", "encrypted", "alternative", "related", "report", "digest"])
def test_another_multipart_becomes_the_first_part_octet_for_octet(kind: str) -> None:
    entity = f"Content-Type: multipart/{kind}; boundary=x\n\n p\n--x\n\n1 \n--x\n\n2\n--x--\ne\n"
    assert attached(f"To: a\n{entity}") == enclosed(f"To: a\n{NEW_FIELDS}", entity)


def test_a_multipart_without_an_end_becomes_the_first_part() -> None:
    entity = "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n1\n"
    assert attached(f"To: a\n{entity}") == enclosed(f"To: a\n{NEW_FIELDS}", entity)


@pytest.mark.parametrize("before", ["p\n\n--x\n\ntext\n", "--x\n\n--x\n\n", "--x \n\n--x2--\n", ""])
@pytest.mark.parametrize("behind", ["\n", " \t\n\nepilogue\n--x--\n"])
def test_parts_are_added_behind_those_that_are_there(before: str, behind: str) -> None:
    fields = "MIME-version: 1.0\nContent-Type: Multipart/Mixed; boundary=x\n\n"
    assert attached(f"{fields}{before}--x--{behind}", ONE, TWO) == (
        f"{fields}{before}--x\nContent-Type: text/x-one\n\n1\n\n--x\nContent-Type: text/x-two\n\n2\n\n--x--{behind}"
    )


def test_a_multipart_that_did_not_say_so_is_said_to_speak_mime() -> None:
    text = attached('Content-Type: multipart/mixed; boundary="a b"\n\n--a b\n\n--a b--\n', ONE)
    assert text == (
        'Content-Type: multipart/mixed; boundary="a b"\nMIME-Version: 1.0\n\n'
        "--a b\n\n--a b\nContent-Type: text/x-one\n\n1\n\n--a b--\n"
    )


def test_a_boundary_stands_nowhere_in_what_it_encloses() -> None:
    body = f"--{BOUNDARY}--\n{BOUNDARY.replace('00', '01')}\n=_imap-submit_0000000022\n"
    assert 'boundary="=_imap-submit_000000001"' in attached(f"To: a\n\n{body}").partition("\n\n")[0]
    part = ONE + b"=_imap-submit_000000001"
    assert 'boundary="=_imap-submit_000000003"' in attached(f"To: a\n\n{body}=_imap-submit_000000002", part)


def test_a_message_of_too_many_parts_is_refused() -> None:
    text = "Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\n" * (MAX_PARTS + 1) + "--x--\n"
    with pytest.raises(Failure, match=r"5\.6\.0 too many parts in the message") as caught:
        attached(text)
    assert caught.value.status == EX_DATAERR


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("X: y\n" * (MAX_FIELDS + 1) + "\n", "5.3.4 too many header fields"),
        (f"X: {'y' * MAX_HEADER}\n\n", "5.3.4 message header too large"),
        (f"{'X' * 2000}: y\n\n", "not a message"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused(text: str, want: str) -> None:
    """One that only became so by the fields that were added, too."""
    with pytest.raises(Failure) as caught:
        attached(text)
    assert (caught.value.status, str(caught.value)) == (EX_DATAERR, want)


LINES = st.lists(st.sampled_from(["", "text", "--x", "--x--", "Content-Type: text/plain", f"--{BOUNDARY}", "é"]))
KINDS = st.sampled_from(
    ["", "Content-Type: multipart/mixed; boundary=x\n", "Content-Type: multipart/signed; boundary=x\n"]
)


@given(KINDS, LINES)
def test_another_reader_finds_the_parts_last(kind: str, lines: list[str]) -> None:
    octets = with_attachments(draft(f"To: a@b\n{kind}\n" + "".join(f"{line}\n" for line in lines)), [
        ONE, reference_part("/INBOX/;UID=20", "plans.pdf")
    ])  # fmt: skip
    parts = list(message_from_bytes(octets, policy=SMTP).iter_parts())
    assert [part.get_content_type() for part in parts[-2:]] == ["text/x-one", "message/external-body"]
