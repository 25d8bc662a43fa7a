from os import EX_USAGE

import pytest

from imapproxy.message.address import parse_address
from imapproxy.message.fields import Field, read_header
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.originator import author_of, phrase_of, with_author, with_own_author, with_sender
from tests.message.samples import draft

FRED = parse_address("fred@example.com", "")


def fields(text: str) -> tuple[Field, ...]:
    octets = draft(text)
    return read_header(octets, 0, len(octets)).fields


def written(found: list[Field]) -> str:
    return b"".join(field.raw for field in found).decode("utf-8", "surrogateescape").replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: Fred <Fred@example.com>\n", "Fred@example.com"),
        ("From: a@b,\n c@d\n", "a@b"),
        ("From: root (Cron Daemon)\n", None),
        ("From: a b <\n", None),
        ("From:\n", None),
        ("To: a@b\n", None),
    ],
)
def test_the_author_is_whom_from_names_first(text: str, want: str | None) -> None:
    author = author_of(fields(text), "")
    assert (author.smtp if author else None) == want


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("", ""),
        (" ", ""),
        ("CronDaemon", "CronDaemon"),
        ("Fred Foobar", "Fred Foobar"),
        ("Fred  Foobar", '"Fred  Foobar"'),
        ("F. Foobar, Jr.", '"F. Foobar, Jr."'),
        ('Fred "F" \\ <x@y>', '"Fred \\"F\\" \\\\ <x@y>"'),
        ("José", "José"),
        ("Jos\udce9", "Jos\udce9"),
        ("=?utf-8?q?Jos=C3=A9?=", "=?utf-8?q?Jos=C3=A9?="),
    ],
)
def test_a_name_is_quoted_where_it_must_be(name: str, want: str) -> None:
    assert phrase_of(name) == want


@pytest.mark.parametrize("character", ["\r", "\n", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\ud800"])
def test_a_name_that_no_header_can_hold_is_refused(character: str) -> None:
    with pytest.raises(Failure, match=r"^-F 'Fred.*Bcc: a@b': control character$") as caught:
        phrase_of(f"Fred{character}Bcc: a@b")
    assert caught.value.status == EX_USAGE
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("name", "want"),
    [("", "To: a@b\nFrom: fred@example.com\n"), ("Fred F", "To: a@b\nFrom: Fred F <fred@example.com>\n")],
)
def test_a_message_without_from_gets_one(name: str, want: str) -> None:
    assert written(with_author(fields("To: a@b\n"), "", FRED, name)) == want


def test_without_an_address_the_server_says_who_it_is_from() -> None:
    assert written(with_author(fields("To: a@b\n"), "", None, "Fred")) == "To: a@b\n"


@pytest.mark.parametrize("spelling", ["a@b", "<a@b>", " a@\n b"])
def test_an_author_without_a_name_gets_it(spelling: str) -> None:
    assert written(with_author(fields(f"from: {spelling}\nX: y\n"), "", FRED, "Ann")) == "from: Ann <a@b>\nX: y\n"


@pytest.mark.parametrize(
    "text",
    [
        "From: Ann  Other\n\t<a@b>\n",
        "From: a@b (Ann)\n",
        "From: a@b, c@d\n",
        "From: a@b\nFrom: c@d\n",
        "From: root\n",
        "From: a b\n",
        "From:\n",
    ],
)
def test_a_from_that_has_a_name_or_not_one_author_stays(text: str) -> None:
    assert written(with_author(fields(text), "", FRED, "Other")) == text


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("X: y\n", "X: y\nFrom: Fred F <fred@example.com>\n"),
        ("From: a@b\nX: y\n", "From: Fred F <fred@example.com>\nX: y\n"),
        ('from: "Ann, O." <a@b>\n', 'From: "Ann, O." <fred@example.com>\n'),
        ("From: Jos\udce9\n X <a@b>\n", "From: Jos\udce9 X <fred@example.com>\n"),
        ("From: root@c (Cron Daemon)\n", "From: Cron Daemon <fred@example.com>\n"),
        ("From: a@b (\\\\ \\(\t)\n", 'From: "\\\\ (" <fred@example.com>\n'),
        ("From: Ann <a@b>, Bob <c@d>\n", "From: Ann <fred@example.com>\n"),
        ("From: a@b\nX: y\nFrom: c@d\n", "From: Fred F <fred@example.com>\nX: y\n"),
        ("From: a b (x)\n", "From: Fred F <fred@example.com>\n"),
        ("Sender: a@b\nFrom: a@b\n", "From: Fred F <fred@example.com>\n"),
        ("From: FRED@example.com\n", "From: Fred F <FRED@example.com>\n"),
        ("From: Me\n <Fred@Example.com>\nSender: a@b\n", "From: Me\n <Fred@Example.com>\n"),
    ],
)
def test_whoever_it_says_it_is_from_it_is_from_the_accounts_address(text: str, want: str) -> None:
    assert written(with_own_author(fields(text), "", FRED, "Fred F")) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: a@b\n", "From: a@b\nSender: fred@example.com\n"),
        ("Sender: c@d\nFrom: a@b\nSender: e@f\n", "Sender: fred@example.com\nFrom: a@b\n"),
        ("From: fred@example.com, a@b\n", "From: fred@example.com, a@b\nSender: fred@example.com\n"),
        ("From: F <Fred@Example.com>\nSender: a@b\n", "From: F <Fred@Example.com>\nSender: a@b\n"),
    ],
)
def test_another_sender_than_the_author_is_named(text: str, want: str) -> None:
    assert written(with_sender(fields(text), "", FRED)) == want


def test_of_a_message_that_is_sent_on_the_resent_fields_say_who_sends_it() -> None:
    text = "Resent-To: a@b\n"
    assert written(with_author(fields(text), "Resent-", FRED, "F")) == f"{text}Resent-From: F <fred@example.com>\n"
    assert written(with_own_author(fields(text), "Resent-", FRED, "")) == f"{text}Resent-From: fred@example.com\n"
    assert written(with_sender(fields(text), "Resent-", FRED)) == f"{text}Resent-Sender: fred@example.com\n"
