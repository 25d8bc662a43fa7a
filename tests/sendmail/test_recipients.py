from collections.abc import Sequence
from os import EX_DATAERR, EX_USAGE

import pytest

from imapproxy.message.fields import Field, read_header
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.recipients import NOWHERE, asked_for, check_none_left_out, recipients_in, with_recipients
from tests.message.samples import draft


def fields(text: str) -> tuple[Field, ...]:
    octets = draft(text)
    return read_header(octets, 0, len(octets)).fields


def stated(text: str, prefix: str = "") -> list[str]:
    return [address.smtp for address in recipients_in(fields(text), prefix, "example.com")]


def asked(*arguments: str) -> list[str]:
    return [address.smtp for address in asked_for(arguments, "example.com")]


def added(header: str, *arguments: str, prefix: str = "", domain: str = "example.com") -> str:
    """Return the header with the arguments among its recipients."""
    before = fields(header)
    after = with_recipients(before, prefix, recipients_in(before, prefix, domain), asked_for(arguments, domain))
    return b"".join(field.raw for field in after).decode().replace("\r\n", "\n")


def refusal_of_leaving_out(header: str, *arguments: str, domain: str = "example.com") -> str:
    with pytest.raises(Failure) as caught:
        check_none_left_out(recipients_in(fields(header), "", domain), asked_for(arguments, domain))
    assert caught.value.status == EX_USAGE
    return str(caught.value)


def test_the_header_names_recipients_in_to_cc_and_bcc() -> None:
    assert stated("To: a@b, Us: root;\nFrom: x@y\nCC: c@d\nBcc: e@f\nBcc: g@h\n") == [
        *("a@b", "root@example.com", "c@d", "e@f", "g@h"),
    ]


@pytest.mark.parametrize("text", ["anna@_", "Anna <anna@ _ >", "Us: root, anna@_;"])
def test_what_stands_for_no_domain_is_no_domain(text: str) -> None:
    """Found by tests/fuzz: anna@_ became anna, and the server completed that: somebody else got the message."""
    with pytest.raises(Failure, match="not a domain"):
        stated(f"To: {text}\n")
    with pytest.raises(Failure, match="not a domain"):
        asked(text)


def test_of_a_message_that_is_sent_on_the_resent_fields_name_them() -> None:
    assert stated("To: a@b\nResent-To: c@d\nResent-Bcc: e@f\n", "Resent-") == ["c@d", "e@f"]


@pytest.mark.parametrize("text", ["To: a b\n", "Cc: <a@b\n", "Bcc: a@b;\n"])
def test_a_header_whose_recipients_cannot_be_read(text: str) -> None:
    with pytest.raises(Failure, match=f"{text.partition(':')[0]} cannot be read") as caught:
        stated(text)
    assert caught.value.status == EX_DATAERR


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("anna@a.org", "root"), ["anna@a.org", "root@example.com"]),
        (("Anna <anna@a.org>, b@c", "d@e"), ["anna@a.org", "b@c", "d@e"]),
        (('"a,b"@c',), ['"a,b"@c']),
        (("a@müller.example",), ["a@xn--mller-kva.example"]),
        ((",", "undisclosed-recipients:;"), []),
    ],
)
def test_an_argument_is_a_list_of_addresses(arguments: Sequence[str], want: list[str]) -> None:
    assert asked(*arguments) == want


@pytest.mark.parametrize("argument", ["a b", "a@b\r\nBcc: c@d", "a@b\n", "<a@b", "\x1b[2J@b", "a@b\udce9"])
def test_an_argument_that_is_no_address_is_named_in_printable_characters(argument: str) -> None:
    with pytest.raises(Failure, match=r"recipient '.*' cannot be read") as caught:
        asked(argument)
    assert caught.value.status == EX_USAGE
    assert str(caught.value).isascii()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("header", "want"),
    [
        ("X: y\n", "X: y\nBcc: a@b,\n\troot@example.com\n"),
        ("To: A@B\n", "To: A@B\nBcc: root@example.com\n"),
        ("Cc: (x) Root <root>\nX: y\n", "Cc: (x) Root <root>\nX: y\nBcc: a@b\n"),
        ("Bcc: c@d (x)\nTo: e@f\n", "Bcc: c@d (x),\n\ta@b,\n\troot@example.com\nTo: e@f\n"),
        ("bcc :\nTo: e@f\n", "bcc: a@b,\n\troot@example.com\nTo: e@f\n"),
        ("Bcc: e@f\nBcc: g@h\n", "Bcc: e@f,\n\ta@b,\n\troot@example.com\nBcc: g@h\n"),
        ("To: a@b\nBcc: root\n", "To: a@b\nBcc: root\n"),
    ],
)
def test_who_is_not_in_the_header_is_in_bcc_then(header: str, want: str) -> None:
    assert added(header, "a@b", "root", "A@b") == want


def test_in_a_message_that_is_sent_on_the_one_resent_bcc_gets_longer() -> None:
    assert added("Resent-Bcc: a@b\n", "c@d", prefix="Resent-") == "Resent-Bcc: a@b,\n\tc@d\n"
    assert added("Resent-To: a@b\n", "c@d", prefix="Resent-") == "Resent-To: a@b\nResent-Bcc: c@d\n"


def test_a_bare_name_whose_domain_only_the_server_knows_stays_bare() -> None:
    assert added("To: root\n", "root", "fred", domain=NOWHERE) == "To: root\nBcc: fred\n"
    assert added("To: root\n", "root@example.com", domain=NOWHERE) == "To: root\nBcc: root@example.com\n"
    assert "leave out: root (" in refusal_of_leaving_out("To: root\n", "root@example.com", domain=NOWHERE)


@pytest.mark.parametrize("header", ["X: y\n", "To:\n", "Cc: undisclosed-recipients:;\n"])
def test_a_message_to_nobody_is_not_sent(header: str) -> None:
    with pytest.raises(Failure, match="no recipients") as caught:
        added(header, ",")
    assert caught.value.status == EX_USAGE


def test_nobody_is_left_out_who_is_named_in_another_spelling() -> None:
    names = recipients_in(fields("To: Anna@A.org, root\nBcc: anna@a.org\n"), "", "example.com")
    check_none_left_out(names, asked_for(["ROOT@example.com", "anna@a.ORG", "x@y"], "example.com"))


def test_recipients_of_the_header_that_the_arguments_leave_out_are_named_once_each() -> None:
    text = refusal_of_leaving_out("To: a@b, c@d, C@d\nCc: josé@f\n", "a@b")
    assert text.startswith("the header names recipients that the arguments leave out: c@d, jos\\x{E9}@f (")


def test_of_many_recipients_left_out_a_screenful_is_named() -> None:
    text = refusal_of_leaving_out(f"To: {', '.join(f'a{number}@b' for number in range(25))}\n", "c@d")
    assert "a18@b, a19@b, 5 more (" in text
