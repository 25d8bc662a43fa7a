"""The message on its way (DESIGN 4.1), as it leaves the real program: each rule seen once from the outside."""

import email
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.fake_smtp import Received
from tests.functional.proxy_process import Options
from tests.functional.scripted import Theatre, theatre

COMMON = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nMessage-ID: <1@example.com>\r\nTo: joe@example.org\r\n"
FRED = b"From: Fred <fred@example.com>\r\n"
IDENTITIES = "fred fred@foobar.example sales@example.com\nalien@elsewhere.example alien@elsewhere.example\n"

# Received: what the proxy adds, before all else.
TRACE = re.compile(
    rb"Received: from \[127\.0\.0\.1\]\r\n\tby [^ \r]+ with IMAP id [a-z0-9]{16,};\r\n\t[A-Z][a-z]{2}, [^\r]+\r\n"
)

SMTPUTF8 = "250-fake\n250-8BITMIME\n250 SMTPUTF8"
SEVEN_BIT = "250 fake"


def opened(directory: Path, policy: str) -> Iterator[Theatre]:
    identities = directory / "identities"
    identities.write_text(IDENTITIES, encoding="utf-8")
    submit = {"from-policy": policy, "identities": str(identities), "mail-domain": "example.com, second.example"}
    options: Options = {"submit": submit | {"max-recipients": "3"}}
    with theatre(directory, options) as house:
        yield house


@pytest.fixture(scope="module")
def checking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    yield from opened(tmp_path_factory.mktemp("check"), "check")


@pytest.fixture(scope="module")
def rewriting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    yield from opened(tmp_path_factory.mktemp("rewrite"), "rewrite")


@pytest.fixture(scope="module")
def trusting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    yield from opened(tmp_path_factory.mktemp("trust"), "trust")


@pytest.fixture
def check(checking: Theatre) -> Iterator[Theatre]:
    with checking.performance():
        yield checking


@pytest.fixture
def rewrite(rewriting: Theatre) -> Iterator[Theatre]:
    with rewriting.performance():
        yield rewriting


@pytest.fixture
def trust(trusting: Theatre) -> Iterator[Theatre]:
    with trusting.performance():
        yield trusting


def submitted(house: Theatre, draft: bytes, user: bytes = b"fred") -> bytes:
    """Have a user submit a draft, and return the answer."""
    with house.scene() as stage:
        stage.log_in(user)
        return stage.submit(draft)


def received(house: Theatre, draft: bytes, user: bytes = b"fred") -> Received:
    """Return what arrives of a draft."""
    assert submitted(house, draft, user) == b"OK SUBMIT completed"
    (arrived,) = house.smtp.messages
    return arrived


def sent(house: Theatre, draft: bytes, user: bytes = b"fred") -> bytes:
    """Return what arrives of a draft, the trace field taken off."""
    content = received(house, draft, user).content
    trace = TRACE.match(content)
    assert trace, content
    return content[trace.end() :]


# Whose name it is in


@pytest.mark.parametrize(
    ("user", "sender"),
    [
        (b"fred", "fred@example.com"),
        (b"Fred@Example.COM", "Fred@Example.COM"),
        (b"fred@second.example", "fred@second.example"),
        (b'"fred o\'connor"', '"fred o\'connor"@example.com'),
        (b"alien@elsewhere.example", "alien@elsewhere.example"),
    ],
)
def test_envelope_sender_is_the_users_address(check: Theatre, user: bytes, sender: str) -> None:
    arrived = received(check, COMMON + b"\r\nHello\r\n", user)
    assert arrived.mail.startswith(f"MAIL FROM:<{sender}>")
    assert b"\r\nFrom: %b\r\n" % sender.encode() in arrived.content


@pytest.mark.parametrize(
    ("user", "answer"),
    [
        (b"joe@foreign.example", b"NO 5.7.1 your login name is in no domain of this site,"),
        (b"fred@example.com.evil.example", b"NO 5.7.1 your login name is in no domain of this site,"),
        (b"fred@", b"NO 5.7.1 your login name makes no mail address,"),
        (b'"fred>\\" <x@example.com"', b"NO 5.7.1 your login name makes no mail address,"),
    ],
)
def test_user_of_a_foreign_domain_sends_nothing(check: Theatre, user: bytes, answer: bytes) -> None:
    assert submitted(check, COMMON + b"\r\nHello\r\n", user) == answer
    assert not check.smtp.commands


@pytest.mark.parametrize(
    "address", [b"fred@example.com", b"FRED@EXAMPLE.com", b"fred@foobar.example", b"sales@example.com"]
)
def test_own_address_as_author(check: Theatre, address: bytes) -> None:
    header = b"From: F <%b>\r\nSender: fred@example.com\r\n" % address
    assert sent(check, header + COMMON + b"\r\nHello\r\n") == header + COMMON + b"\r\nHello\r\n"


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (b"From: boss@example.com\r\n", b"NO 5.7.1 From is not one of your addresses,"),
        (b"From: fred@example.com, boss@example.com\r\n", b"NO 5.7.1 From is not one of your addresses,"),
        (FRED + b"Sender: boss@example.com\r\n", b"NO 5.7.1 Sender is not one of your addresses,"),
        (FRED + b"From: boss@example.com\r\n", b"NO 5.6.0 more than one From,"),
        (FRED + b"Subject: x\rFrom: boss@example.com\r\n", b"NO 5.6.0 more than one From,"),
        (FRED + b"Subject: x\nFrom: boss@example.com\r\n", b"NO 5.6.0 more than one From,"),
        (
            FRED + b"Resent-From: boss@example.com\r\nResent-To: a@b.example\r\n",
            b"NO 5.7.1 Resent-From is not one of your addresses,",
        ),
        (b"From: <<fred>>\r\n", b"NO 5.1.7 From cannot be read,"),
    ],
)
def test_foreign_author_is_refused(check: Theatre, header: bytes, answer: bytes) -> None:
    assert submitted(check, header + COMMON + b"\r\nHello\r\n") == answer
    assert not check.smtp.commands


def test_rewriting_keeps_the_display_name(rewrite: Theatre) -> None:
    draft = COMMON + b"From: The Boss <boss@example.com>\r\nSubject: x\r\n\r\nHello\r\n"
    assert sent(rewrite, draft) == draft.replace(b"boss@", b"fred@")


@pytest.mark.parametrize(
    ("written", "leaves"),
    [
        (b"Fred Foobar", b"Fred Foobar <fred@example.com>"),
        (b"Fred Foobar <>", b"Fred Foobar <fred@example.com>"),
        (b"Fred Foobar <fred>", b"Fred Foobar <fred@example.com>"),
        (b"Foobar, Fred <fred@example.com>", b'"Foobar, Fred" <fred@example.com>'),
        (b"=?utf-8?q?Fr=C3=A9d?= Foobar <>", b"=?utf-8?q?Fr=C3=A9d?= Foobar <fred@example.com>"),
    ],
)
def test_rewriting_keeps_the_display_name_of_what_is_no_address(
    rewrite: Theatre, written: bytes, leaves: bytes
) -> None:
    draft = COMMON + b"From: %b\r\nSubject: x\r\n\r\nHello\r\n" % written
    assert sent(rewrite, draft) == draft.replace(written, leaves)


def test_rewriting_encodes_a_name_for_a_server_that_takes_ascii_only(rewrite: Theatre) -> None:
    rewrite.script({"EHLO": "250 fake"})
    arrived = sent(rewrite, COMMON + "From: Foobär, Fred\r\nSubject: x\r\n\r\nHello\r\n".encode())
    assert b"\r\nFrom: =?utf-8?q?Foob=C3=A4r=2C_Fred?= <fred@example.com>\r\n" in arrived


def test_trusting_names_the_sender(trust: Theatre) -> None:
    draft = COMMON + b"From: The Boss <boss@example.com>\r\nSubject: x\r\n\r\nHello\r\n"
    arrived = sent(trust, draft)
    assert b"\r\nSender: fred@example.com\r\n" in arrived
    assert arrived.replace(b"Sender: fred@example.com\r\n", b"") == draft
    assert trust.smtp.messages[0].mail.startswith("MAIL FROM:<fred@example.com>")


# To whom


def test_recipients_of_all_fields_once_each(check: Theatre) -> None:
    draft = (
        b"to: Joe <joe@example.org>, friends: al@example.org;\r\nCC:\r\n JOE@example.org\r\n"
        b"bcc: secret@example.org\r\n" + FRED + b"\r\nHello\r\n"
    )
    arrived = received(check, draft)
    assert [recipient.split(" ")[1] for recipient in arrived.recipients] == [
        "TO:<joe@example.org>",
        "TO:<al@example.org>",
        "TO:<secret@example.org>",
    ]
    assert b"secret" not in arrived.content


@pytest.mark.parametrize(
    ("header", "answer"),
    [
        (b"Subject: x\r\n", b"NO 5.1.3 no recipients,"),
        (b"To: undisclosed-recipients:;\r\n", b"NO 5.1.3 no recipients,"),
        (b"To: " + b", ".join(b"%d@example.org" % n for n in range(4)) + b"\r\n", b"NO 5.5.3 too many recipients,"),
        (b"To: <joe@example.org\r\n", b"NO 5.1.3 To cannot be read,"),
        (b"To: joe@exa\0mple.org\r\n", b"BAD NUL in the message"),
        (b'To: "a\rRCPT TO:<b>"@example.org\r\n', b"NO 5.6.0 malformed header line,"),
    ],
)
def test_recipients_that_cannot_be(check: Theatre, header: bytes, answer: bytes) -> None:
    assert submitted(check, header + FRED + b"\r\nHello\r\n") == answer
    assert not check.smtp.commands


def test_recipient_that_needs_smtputf8(check: Theatre) -> None:
    header = FRED + "To: jörg@example.org, joe@bücher.example\r\n".encode()
    check.script({"EHLO": "250-fake\n250 8BITMIME"})
    assert submitted(check, header + b"\r\nHello\r\n") == b"NO ,j\\x{F6}rg@example.org"
    check.script({"EHLO": SMTPUTF8})
    arrived = received(check, header + b"\r\nHello\r\n")
    assert arrived.mail.endswith(" SMTPUTF8")
    assert arrived.recipients == ("RCPT TO:<jörg@example.org>", "RCPT TO:<joe@xn--bcher-kva.example>")
    assert header in arrived.content


# What of the header goes and comes


def test_untouched_but_for_the_trace(check: Theatre) -> None:
    draft = (
        b"date:Mon, 7 Feb 1994 21:52:25 -0800\r\nFROM:  Fred   Foobar <fred@example.com>  \r\n"
        b"X-Odd: one\r\n\t two  \r\nMessage-Id: <1@example.com>\r\nTo:joe@example.org\r\n"
        b"\r\n.\r\n..\r\nFrom x\r\n \r\n.dot\r\n\r\n\r\n"
    )
    assert sent(check, draft) == draft


def test_fields_that_go(check: Theatre) -> None:
    gone = (
        b"Received: from phone\r\n\tby home; Mon, 7 Feb 1994 21:52:25 -0800\r\nBcc: secret@example.org\r\n"
        b"Return-Path: <x@example.com>\r\ndelivered-to: y@example.com\r\n"
    )
    draft = FRED + COMMON + b"X-A: 1\r\n\r\nBcc: body\r\n"
    assert sent(check, FRED + gone + COMMON + b"X-A: 1\r\n\r\nBcc: body\r\n") == draft


def test_date_and_message_id_come(check: Theatre) -> None:
    arrived = sent(check, FRED + b"To: joe@example.org\r\nDate: tomorrow\r\n\r\nHello\r\n")
    assert re.search(rb"(?m)^Date: [A-Z][a-z]{2}, \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r$", arrived)
    assert re.search(rb"(?m)^Message-ID: <[a-z0-9]{16,}@[^>]+>\r$", arrived)
    assert b"tomorrow" not in arrived


def test_trace_hides_user_and_on_demand_address(tmp_path: Path) -> None:
    with theatre(tmp_path, {"submit": {"received-client-address": "off"}}) as house:
        content = received(house, COMMON + b"From: qwertz@example.com\r\n\r\nHello\r\n", b"qwertz").content
    trace = content[: content.index(b"\r\nDate:")]
    assert trace.startswith(b"Received: from ")
    assert b"qwertz" not in trace
    assert b"127.0.0.1" not in trace


# Line ends


@pytest.mark.parametrize(
    "end",
    [
        *(b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\n", b"\n.\r"),
        *(b"\r\r\n.\r\r\n", b"\r\r\n.\r\n", b"\r\n.\r\r\n", b"\r\r\r\n.\n"),
    ],
)
def test_nothing_is_smuggled(check: Theatre, end: bytes) -> None:
    """Whatever a line end looks like, what follows a lone dot stays in the message."""
    smuggled = (
        b"MAIL FROM:<boss@example.com>\r\nRCPT TO:<joe@example.org>\r\nDATA\r\nFrom: boss@example.com\r\n\r\nx\r\n.\r\n"
    )
    arrived = sent(check, FRED + COMMON + b"\r\nHello" + end + smuggled)
    assert arrived == FRED + COMMON + b"\r\nHello\r\n.\r\n" + smuggled
    assert check.smtp.verbs() == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


def test_every_line_end_becomes_crlf(check: Theatre) -> None:
    draft = FRED.replace(b"\r\n", b"\r") + COMMON.replace(b"\r\n", b"\n") + b"\na\rb\nc\r\nd\r\r\n\n\re"
    assert sent(check, draft) == FRED + COMMON + b"\r\na\r\nb\r\nc\r\nd\r\n\r\n\r\ne\r\n"


def test_draft_in_lines_of_cr_cr_lf(check: Theatre) -> None:
    """As a program writes it that ends lines which are ended already: the header is found, and no line is added."""
    draft = FRED + COMMON + b"\r\nHello\r\n\r\nBye\r\n"
    assert sent(check, draft.replace(b"\r\n", b"\r\r\n")) == draft


def test_dots_and_line_ends_at_all_borders(check: Theatre) -> None:
    """A draft of many buffers, in which no border falls harmlessly."""
    body = b".\n..\r.x\r\n\r\r\n\r\rx\r\r\r\n" * 200_000
    expected = b".\r\n..\r\n.x\r\n\r\n\r\n\r\nx\r\n" * 200_000
    arrived = sent(check, FRED + COMMON + b"\r\n" + body)
    assert arrived.removeprefix(FRED + COMMON + b"\r\n") == expected


def test_longest_line_that_may_stay(check: Theatre) -> None:
    draft = FRED + COMMON + b"\r\n" + b"x" * 998 + b"\r\n"
    assert sent(check, draft) == draft


def test_long_lines(check: Theatre) -> None:
    """A body's are encoded, a header's folded; none is over 998 octets then."""
    long_field = b"X-Long: " + b"word " * 500 + b"\r\n"
    arrived = sent(check, FRED + long_field + COMMON + b"\r\n" + b"x" * 5000 + b"\r\n")
    assert max(map(len, arrived.split(b"\r\n"))) <= 998
    assert re.search(rb"(?mi)^Content-Transfer-Encoding: quoted-printable\r$", arrived)
    header, _, body = arrived.partition(b"\r\n\r\n")
    assert header.replace(b"\r\n", b"").count(b"word") == 500
    assert body.replace(b"=\r\n", b"") == b"x" * 5000 + b"\r\n"


# Eight bits


EIGHT_BIT = FRED + COMMON + "Content-Type: text/plain; charset=utf-8\r\n\r\nété = été\r\n".encode()


def test_eight_bits_pass_where_they_may(check: Theatre) -> None:
    assert sent(check, EIGHT_BIT) == EIGHT_BIT
    assert " BODY=8BITMIME" in check.smtp.messages[0].mail


def test_eight_bits_are_converted_where_they_may_not(check: Theatre) -> None:
    check.script({"EHLO": SEVEN_BIT})
    arrived = sent(check, EIGHT_BIT)
    assert arrived.isascii()
    assert b"charset=utf-8" in arrived
    assert email.message_from_bytes(arrived).get_payload(decode=True) == EIGHT_BIT.partition(b"\r\n\r\n")[2]
    assert check.smtp.messages[0].mail == "MAIL FROM:<fred@example.com>"


def test_eight_bit_header_without_smtputf8(check: Theatre) -> None:
    check.script({"EHLO": "250-fake\n250 8BITMIME"})
    arrived = sent(check, FRED + COMMON + "Subject: été\r\n\r\nHello\r\n".encode())
    assert arrived.isascii()
    assert b"Subject: =?utf-8?" in arrived.replace(b"UTF-8", b"utf-8")


def test_signed_part_is_never_altered(check: Theatre) -> None:
    check.script({"EHLO": SEVEN_BIT})
    signed = (
        b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n\r\n'
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\xc3\xa9\r\n--b\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
    )
    assert submitted(check, FRED + COMMON + signed) == b"NO 5.6.3 a signed part cannot be converted,"


# Size


def test_size_is_declared_and_respected(check: Theatre) -> None:
    check.script({"EHLO": "250-fake\n250 SIZE 5000"})
    arrived = received(check, FRED + COMMON + b"\r\nHello\r\n")
    assert arrived.mail == f"MAIL FROM:<fred@example.com> SIZE={len(arrived.content)}"
    large = FRED + COMMON + b"\r\n" + b"Hello\r\n" * 1000
    assert submitted(check, large) == b"NO 5.3.4 message too large for the mail server,"
    assert "MAIL" not in check.smtp.verbs()[6:]


def test_size_without_limit(check: Theatre) -> None:
    check.script({"EHLO": "250-fake\n250 SIZE 0"})
    received(check, FRED + COMMON + b"\r\n" + b"Hello\r\n" * 1000)
