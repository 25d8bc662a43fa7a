"""Each call is a message: what has no Message-ID gets one, what has one keeps it."""

import pytest

from imapproxy.message.fields import MAX_FIELDS
from imapproxy.message.identity import identity_of
from imapproxy.sendmail.message_id import with_message_id
from tests.message.samples import draft


def identified(text: str) -> str:
    octets = with_message_id(draft(text), "1f", "mail.example.com")
    return octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("author", "domain"),
    [
        ("From: Fred <fred@Club.example>, b@c\n", "Club.example"),
        ("From: fred@exämple.de\n", "xn--exmple-cua.de"),
        ("From: root\n", "mail.example.com"),
        ("From: a b\n", "mail.example.com"),
        ("", "mail.example.com"),
    ],
)
def test_a_message_gets_one_of_who_sends_it_behind_its_other_fields(author: str, domain: str) -> None:
    header = f"{author}Date: Mon, 7 Feb 1994 21:52:25 -0800\n"
    assert identified(f"{header}\nJos\udce9\n") == f"{header}Message-ID: <1f@{domain}>\n\nJos\udce9\n"


@pytest.mark.parametrize("field", ["Message-ID: <a@b>\n", "message-id : x\n", "MESSAGE-ID:\n"])
def test_a_message_that_has_one_keeps_it_whatever_it_looks_like(field: str) -> None:
    text = f"From: a@b\n{field}To: c@d\n\nhello\n"
    assert identified(text) == text


RESENT = "Received: x\nResent-From: fred@example.com\nResent-To: anna@example.net\n"
ORIGINAL = "Resent-From: x@y\nFrom: boss@example.org\n\nhello\n"


def test_a_message_that_is_sent_on_gets_one_in_its_newest_resent_block_only() -> None:
    assert identified(RESENT + ORIGINAL) == f"{RESENT}Resent-Message-ID: <1f@example.com>\n{ORIGINAL}"


def test_a_message_that_is_sent_on_with_one_keeps_it() -> None:
    text = f"{RESENT}resent-message-id: z\n{ORIGINAL}"
    assert identified(text) == text


def test_that_the_original_has_one_does_not_make_two_of_it_one_when_it_is_sent_on() -> None:
    original = ORIGINAL.replace("From: boss", "Message-ID: <a@b>\nFrom: boss")
    assert identified(RESENT + original) == f"{RESENT}Resent-Message-ID: <1f@example.com>\n{original}"


def test_the_proxy_tells_two_calls_apart() -> None:
    text = draft("From: a@b\nDate: Mon, 7 Feb 1994 21:52:25 -0800\n\nhello\n")
    first, second = (with_message_id(text, unique, "c") for unique in ("1", "2"))
    assert (identity_of(first), identity_of(second)) == ("<1@b>", "<2@b>")


def test_a_draft_without_a_body() -> None:
    assert with_message_id(b"From: a@b\r\n", "1f", "c") == b"From: a@b\r\nMessage-ID: <1f@b>\r\n"


@pytest.mark.parametrize("text", ["X: y\n" * (MAX_FIELDS + 1) + "\n", f"{'X' * 2000}: y\n\n"])
def test_what_the_server_cannot_read_stays_as_it_is(text: str) -> None:
    assert identified(text) == text
