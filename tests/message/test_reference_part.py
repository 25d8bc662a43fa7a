"""Parts that refer to something: as they are written, and as the proxy and the standard library read them back."""

from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.envelope import user_of
from imapproxy.message.fields import read_draft_header
from imapproxy.message.imap_url import MAX_URL, ImapUrl, UrlError, parse_imap_url
from imapproxy.message.reference import Reference, outline_of
from imapproxy.message.reference_part import MAX_TEXT, reference_part
from tests.message.samples import FRED, SITE


def references_in(draft: bytes) -> list[Reference]:
    """Return what the proxy finds in a draft."""
    outline = outline_of(read_draft_header(draft), draft, user_of(FRED.user, SITE), SITE, FRED)
    return [referring.reference for referring in outline.referring] if outline else []


def within(*parts: bytes) -> bytes:
    opened = b"".join(b"--b\r\n%b\r\n" % part for part in parts)
    return b"Content-Type: multipart/mixed; boundary=b\r\n\r\n%b--b--\r\n" % opened


def attached(part: bytes) -> bytes:
    """Return a message of the standard library's that the part is attached to."""
    message = EmailMessage()
    message["To"] = "joe@example.org"
    message.set_content("See the plans.\n")
    message.make_mixed()
    message.attach(message_from_bytes(part, policy=policy.SMTP))
    return message.as_bytes(policy=policy.SMTP)


def phantom(part: bytes) -> EmailMessage:
    """Return the part's inner header as the standard library reads it."""
    inner = message_from_bytes(part.partition(b"\r\n\r\n")[2], policy=policy.SMTP)
    assert isinstance(inner, EmailMessage)
    return inner


def test_a_part_with_a_name_becomes_an_attachment_called_so() -> None:
    assert reference_part("/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2", "plans.pdf", "The plans") == (
        b"Content-Type: message/external-body; access-type=URL;\r\n"
        b'\tURL="/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2"\r\n'
        b"\r\n"
        b"Content-Disposition: attachment;\r\n"
        b'\tfilename="plans.pdf"\r\n'
        b"Content-Description: The plans\r\n"
        b"\r\n"
    )


def test_a_part_without_a_name_stays_what_it_was() -> None:
    assert reference_part("/INBOX/;UID=20") == (
        b'Content-Type: message/external-body; access-type=URL;\r\n\tURL="/INBOX/;UID=20"\r\n\r\n\r\n'
    )


@pytest.mark.parametrize(
    "url",
    [
        "/INBOX/;UID=20",
        "imap://fred@mail.example.com/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=1.2",
        "/~peter/%E6%97%A5%E6%9C%AC/;UID=20",
        "/-._~!$'()*+,&=:@/;UID=20",
        "/%22%5C%7B5%7D/;UID=20",
        f"/{'a' * (MAX_URL - 8)}/;UID=1",
    ],
    ids=lambda url: url[:40],
)
@pytest.mark.parametrize("draft_of", [within, attached])
def test_the_proxy_reads_back_what_was_referred_to(url: str, draft_of: Callable[[bytes], bytes]) -> None:
    (reference,) = references_in(draft_of(reference_part(url, "plans.pdf")))
    assert reference.url == parse_imap_url(url)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=MAX_TEXT))
def test_any_name_is_read_back(name: str) -> None:
    disposition = phantom(reference_part("/INBOX/;UID=20", name))["Content-Disposition"]
    assert disposition.content_disposition == "attachment"
    assert disposition.params["filename"] == name


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ('rep "ort" \\ x.pdf', b'\tfilename="rep \\"ort\\" \\\\ x.pdf"\r\n'),
        ("räport.pdf", b"Content-Disposition: attachment; filename*=utf-8''r%C3%A4port.pdf\r\n"),
        ("r\udce4port.pdf", b"Content-Disposition: attachment; filename*=unknown-8bit''r%E4port.pdf\r\n"),
        ("報告" * 6, b"\r\n filename*0*=utf-8''%E5%A0%B1"),
    ],
)
def test_names_that_need_it_are_quoted_or_encoded(name: str, want: bytes) -> None:
    part = reference_part("/INBOX/;UID=20", name)
    assert want in part
    assert part.isascii()


def test_a_description_is_encoded_where_it_needs_it() -> None:
    part = reference_part("/INBOX/;UID=20", description="Pläne für Anna")
    assert part.isascii()
    assert phantom(part)["Content-Description"] == "Pläne für Anna"
    assert "Content-Disposition" not in phantom(part)


@given(
    st.builds(
        ImapUrl,
        mailbox=st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=100),
        uid=st.integers(1, 2**32 - 1),
        uidvalidity=st.none() | st.integers(1, 2**32 - 1),
        section=st.sampled_from(["", "1", "2.1"]),
    ),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=MAX_TEXT),
    st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=MAX_TEXT),
)
def test_whatever_is_asked_for_is_one_part_of_short_lines(url: ImapUrl, name: str, description: str) -> None:
    part = reference_part(str(url), name, description)
    assert part.isascii()
    assert part.endswith(b"\r\n\r\n")
    *lines, end = part.split(b"\r\n")
    assert end == b""
    assert max(map(len, lines)) <= 998
    assert b"\r" not in b"".join(lines)
    assert b"\n" not in b"".join(lines)
    assert [reference.url for reference in references_in(within(part))] == [url]


@pytest.mark.parametrize("url", ["", "INBOX/;UID=20", "imaps://h/INBOX/;UID=20", '/a"b/;UID=20', "/INBOX/;UID=0"])
def test_a_url_that_names_nothing_is_a_value_error(url: str) -> None:
    with pytest.raises(UrlError):
        reference_part(url)


@pytest.mark.parametrize("text", ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\0b", "a\x85b", "a\u2028b", "\ud800", "x" * 256])
def test_control_characters_and_endless_texts_are_value_errors(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A[ -~]+\Z"):
        reference_part("/INBOX/;UID=20", text)
    with pytest.raises(ValueError, match=r"\A[ -~]+\Z"):
        reference_part("/INBOX/;UID=20", description=text)
