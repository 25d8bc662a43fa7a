from collections.abc import Sequence
from dataclasses import replace
from email import message_from_bytes
from email.policy import SMTP
from os import EX_CONFIG, EX_DATAERR, EX_USAGE

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import parse_address_list
from imapproxy.message.envelope import recipients_of
from imapproxy.message.fields import read_draft_header
from imapproxy.message.message import read_draft
from imapproxy.message.reference_part import reference_part
from imapproxy.sendmail.draft import Envelope, draft_of, from_address
from imapproxy.sendmail.failure import Failure
from tests.message.samples import FRED, SITE, STAMP

TO_ANNA = Envelope(
    recipients=("anna@example.net",),
    header_recipients=False,
    sender=None,
    full_name="",
    from_="fred@example.com",
    set_from=False,
)
FROM_HEADER = replace(TO_ANNA, recipients=(), header_recipients=True)
MANY = replace(SITE, max_recipients=1000)


def drafted(text: str, envelope: Envelope, parts: Sequence[bytes] = ()) -> str:
    octets = draft_of(text.encode("utf-8", "surrogateescape"), envelope, parts)
    return octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


def refusal(text: str, envelope: Envelope) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        drafted(text, envelope)
    return caught.value.status, str(caught.value)


def test_what_says_all_itself_stays_octet_for_octet() -> None:
    text = (
        "X-One:  a\n\t b \nFrom: Fred\n <Fred@Example.com>\nTo : Anna <anna@EXAMPLE.net> (x)\n"
        "Subject: Jos\udce9 é\nMIME-Version: 1.0\nContent-Type: multipart/signed; boundary=x\n\n"
        "--x\n\nFrom anna\n.\n \n--x--\n\n"
    )
    assert drafted(text, TO_ANNA) == text
    assert drafted(text, FROM_HEADER) == text


def test_line_ends_are_crlf_whatever_they_were() -> None:
    assert draft_of(b"From: fred@example.com\nTo: a@b\r\n\na\rb\nc", FROM_HEADER, []) == (
        b"From: fred@example.com\r\nTo: a@b\r\n\r\na\r\nb\r\nc\r\n"
    )


def test_as_cron_calls() -> None:
    text = "From: root (Cron Daemon)\nTo: root\nSubject: Cron <root@vm> date\nX-Cron-Env: <HOME=/root>\n\nout\n"
    envelope = replace(TO_ANNA, recipients=("root",), full_name="CronDaemon")
    completed = text.replace("To: root\n", "To: root@example.com\n")
    assert drafted(text, envelope) == completed.replace("From: root ", "From: root@example.com ")
    assert drafted(text, replace(envelope, set_from=True)) == completed.replace(
        "From: root (Cron Daemon)", "From: Cron Daemon <fred@example.com>"
    )


def test_as_mutt_calls_with_a_bcc_that_the_header_does_not_show() -> None:
    text = "From: Fred <fred@example.com>\nTo: anna@example.net\nCc: c@example.net\n\nhello\n"
    envelope = replace(TO_ANNA, recipients=("anna@example.net", "c@example.net", "hidden@example.net"))
    assert drafted(text, envelope) == text.replace("\n\n", "\nBcc: hidden@example.net\n\n")


def test_as_mailutils_calls_with_an_address_that_is_nobodys() -> None:
    text = "To: <anna@example.net>,<b@example.net>\nBcc: <hidden@example.net>\nSubject: é\n\nhello\n"
    envelope = replace(FROM_HEADER, sender="root@vm")
    assert drafted(text, envelope) == text.replace("\n\n", "\nFrom: root@vm\n\n")
    assert drafted(text, replace(envelope, set_from=True)) == text.replace("\n\n", "\nFrom: fred@example.com\n\n")


def test_as_one_line_of_shell_calls() -> None:
    assert drafted("hello\n", replace(TO_ANNA, full_name="Fred, B.")) == (
        'From: "Fred, B." <fred@example.com>\nBcc: anna@example.net\n\nhello\n'
    )
    assert drafted("", TO_ANNA) == "From: fred@example.com\nBcc: anna@example.net\n\n"


def test_with_recipients_of_the_header_arguments_are_more_of_them() -> None:
    text = "From: fred@example.com\nTo: b@c\n\n"
    envelope = replace(FROM_HEADER, recipients=("anna@example.net", "B@c"))
    assert drafted(text, envelope) == "From: fred@example.com\nTo: b@c\nBcc: anna@example.net\n\n"


def test_without_them_arguments_that_leave_one_out_are_refused() -> None:
    status, text = refusal("To: anna@example.net, bob\n\n", TO_ANNA)
    assert (status, text.partition(" (")[0]) == (
        EX_USAGE,
        "the header names recipients that the arguments leave out: bob@example.com",
    )


@pytest.mark.parametrize(
    ("sender", "want"),
    [
        ("boss@example.com", "Sender: boss@example.com\n"),
        ("Boss <boss>", "Sender: boss@example.com\n"),
        ("FRED@example.com", ""),
    ],
)
def test_a_sender_who_is_not_the_author_is_named(sender: str, want: str) -> None:
    text = "From: fred\nTo: anna@example.net\n"
    assert drafted(text, replace(TO_ANNA, sender=sender)) == (f"From: fred@example.com\nTo: anna@example.net\n{want}\n")


def test_a_message_that_is_sent_on_is_touched_in_its_newest_resent_block_only() -> None:
    resent = "Resent-From: fred\nResent-To: anna@example.net\n"
    older = "Resent-From: x\nResent-To: y\nResent-Bcc: z\n"
    text = "Received: from a\n{}" + f"{older}From: boss\nSender: chief\nTo: bob\nBcc: c\n\nhello\n"
    envelope = replace(TO_ANNA, recipients=("anna@example.net", "d@e"), sender="me@example.com")
    assert drafted(text.format(resent), envelope) == text.format(
        "Resent-From: fred@example.com\nResent-To: anna@example.net\nResent-Sender: me@example.com\nResent-Bcc: d@e\n"
    )


def test_without_an_address_of_ones_own_the_server_completes_what_is_bare() -> None:
    envelope = replace(TO_ANNA, recipients=("bob", "root"), from_="", full_name="Fred")
    assert drafted("To: root\n\n", envelope) == "To: root\nBcc: bob\n\n"
    assert drafted("To: root\n\n", replace(envelope, sender="a@b")) == "To: root\nFrom: Fred <a@b>\nBcc: bob\n\n"


def test_parts_are_attached() -> None:
    text = drafted("hello\n", TO_ANNA, [reference_part("/INBOX/;UID=20/;SECTION=2", "a.pdf")])
    message = message_from_bytes(text.encode(), policy=SMTP)
    body, attachment = message.iter_parts()
    assert body.get_content() == "hello\n"
    assert attachment["Content-Type"].params["url"] == "/INBOX/;UID=20/;SECTION=2"


def test_the_server_finds_the_references_that_were_attached() -> None:
    parts = [reference_part("/INBOX/;UID=20"), reference_part("/INBOX/;UID=21/;SECTION=2", "a.pdf")]
    octets = draft_of(b"hello\n", TO_ANNA, parts)
    references = read_draft(octets, SITE, FRED, STAMP).references
    assert [reference.text for reference in references] == ["/INBOX/;UID=20", "/INBOX/;UID=21/;SECTION=2"]


@pytest.mark.parametrize(
    ("changed", "status", "text"),
    [
        ({"recipients": ("a b",)}, EX_USAGE, "recipient 'a b' cannot be read: not an address"),
        ({"recipients": (",",)}, EX_USAGE, "no recipients: neither the arguments nor the header name any"),
        ({"sender": "a b"}, EX_USAGE, "-f 'a b': not an address"),
        ({"sender": ""}, EX_USAGE, "-f '': not one address"),
        ({"sender": "a@b, c@d"}, EX_USAGE, "-f 'a@b, c@d': not one address"),
        ({"sender": "fred", "from_": ""}, EX_USAGE, "-f 'fred': address without a domain"),
        ({"sender": "a@b\nBcc: c@d"}, EX_USAGE, r"-f 'a@b\nBcc: c@d': control character"),
        ({"full_name": "F\r\nBcc: c@d"}, EX_USAGE, r"-F 'F\r\nBcc: c@d': control character"),
        ({"from_": "fred"}, EX_CONFIG, "from = 'fred': address without a domain"),
        ({"from_": "a@b, c@d"}, EX_CONFIG, "from = 'a@b, c@d': not one address"),
        ({"from_": "", "set_from": True}, EX_CONFIG, "set-from needs the account's own address (from)"),
    ],
)
def test_an_envelope_that_cannot_be(changed: dict[str, object], status: int, text: str) -> None:
    assert refusal("X: y\n\n", replace(TO_ANNA, **changed)) == (status, text)  # type: ignore[arg-type]


def test_octets_that_can_be_no_message() -> None:
    assert refusal("\0", TO_ANNA) == (EX_DATAERR, "NUL in the message")
    with pytest.raises(Failure) as caught:
        from_address(b"\0")
    assert caught.value.status == EX_DATAERR


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (b"From anna Mon\nfrom: Fred <fred@Example.com>, b@c\n", "fred@Example.com"),
        (b"Resent-From: a@b\nFrom: c@d\n", "a@b"),
        (b"Resent-To: a@b\nFrom: c@d\n", None),
        (b"From: root (Cron Daemon)\n", None),
        (b"From: a b\n", None),
        (b"hello\n", None),
        (b"", None),
    ],
)
def test_the_address_that_chooses_the_account(text: bytes, want: str | None) -> None:
    assert from_address(text) == want


ADDRESSES = ["a@example.net", "A@EXAMPLE.net", "root", '"x,y"@example.net', "j@[192.0.2.1]", "josé@müller.example"]
LISTED = ["{}", "N <{}>", "{} (x)", "G: {};", "\r\n\t{}", ",{},"]
NAMES = ["To", "cc", "BCC", "Reply-To", "Resent-To", "Resent-Bcc", "X"]

HEADERS = st.lists(
    st.builds(
        lambda name, listed, address: f"{name}: {listed.format(address)}\r\n",
        st.sampled_from(NAMES),
        st.sampled_from(LISTED),
        st.sampled_from(ADDRESSES),
    )
).map("".join)
ARGUMENTS = st.lists(st.sampled_from(ADDRESSES), min_size=1).map(tuple)
OWN = st.sampled_from(["fred@example.com", ""])


def keys(addresses: Sequence[str]) -> set[str]:
    return {mailbox.address.key for text in addresses for mailbox in parse_address_list(text, "example.com").mailboxes}


def read_by_the_server(octets: bytes) -> set[str]:
    try:
        return {address.key for address in recipients_of(read_draft_header(octets).fields, MANY)}
    except SubmissionRefused:
        return set()


def draft_or_failure(octets: bytes, envelope: Envelope) -> bytes | Failure:
    try:
        return draft_of(octets, envelope, [])
    except Failure as failure:
        return failure


@given(HEADERS, ARGUMENTS, OWN)
def test_the_server_reads_exactly_the_recipients_that_the_arguments_name(
    header: str, arguments: tuple[str, ...], own: str
) -> None:
    octets = f"{header}X: y\r\n\r\ntext".encode()
    found = draft_or_failure(octets, replace(TO_ANNA, recipients=arguments, from_=own))
    if read_by_the_server(octets) <= keys(arguments):
        assert isinstance(found, bytes)
        assert read_by_the_server(found) == keys(arguments)
    else:
        assert "the arguments leave out" in str(found)


@given(HEADERS, ARGUMENTS, OWN)
def test_the_server_reads_exactly_the_headers_recipients_and_the_arguments(
    header: str, arguments: tuple[str, ...], own: str
) -> None:
    octets = f"{header}X: y\r\n\r\ntext".encode()
    found = draft_of(octets, replace(FROM_HEADER, recipients=arguments, from_=own), [])
    assert read_by_the_server(found) == read_by_the_server(octets) | keys(arguments)


HOSTILE = st.text(st.sampled_from('ab@.,;:<>()"\\ \t\r\n\0é\udce9\u2028\x85=?_'), max_size=20)


@given(HOSTILE, HOSTILE, HOSTILE, st.booleans())
def test_no_argument_makes_a_field_of_its_own(recipient: str, sender: str, full_name: str, set_from: bool) -> None:
    envelope = Envelope((recipient, "a@b"), False, sender, full_name, "fred@example.com", set_from)
    found = draft_or_failure(b"Subject: x\n\ntext\n", envelope)
    if isinstance(found, Failure):
        assert str(found).isprintable()
        return
    assert {field.name for field in read_draft_header(found).fields} == {"Subject", "From", "Bcc"}
    assert found.endswith(b"\r\n\r\ntext\r\n")
    assert read_by_the_server(found) == keys([recipient, "a@b"])
