import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.address import parse_address_list
from imapproxy.message.fields import Field
from imapproxy.sendmail.bare_names import completed


def complete(raw: str) -> str:
    octets = raw.encode("utf-8", "surrogateescape")
    field = Field(raw.partition(":")[0].rstrip(), octets)
    return completed(field, "example.com").raw.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        ("To: root\r\n", "To: root@example.com\r\n"),
        ("From: root (Cron Daemon)\r\n", "From: root@example.com (Cron Daemon)\r\n"),
        ("From: Root of evil <root>\r\n", "From: Root of evil <root@example.com>\r\n"),
        ("to : a ,b@c,d\r\n", "to : a@example.com ,b@c,d@example.com\r\n"),
        ("Cc: a,\r\n\tb,\r\n c@d\r\n", "Cc: a@example.com,\r\n\tb@example.com,\r\n c@d\r\n"),
        ("Bcc: Us: a, Ann <b>;, c\r\n", "Bcc: Us: a@example.com, Ann <b@example.com>;, c@example.com\r\n"),
        ('To: "fred b"\r\n', 'To: "fred b"@example.com\r\n'),
        ('To: "fred\r\n b"\r\n', 'To: "fred\r\n b"@example.com\r\n'),
        ("To: a . b (x)\r\n", "To: a . b@example.com (x)\r\n"),
        ("To: <@x,@y:a>\r\n", "To: <@x,@y:a@example.com>\r\n"),
        ("To: jos\udce9 <a>, josé\r\n", "To: jos\udce9 <a@example.com>, josé@example.com\r\n"),
        ("Sender: a\r\n", "Sender: a@example.com\r\n"),
        ("Reply-To: a\r\n", "Reply-To: a@example.com\r\n"),
        ("Resent-Bcc: a\r\n", "Resent-Bcc: a@example.com\r\n"),
    ],
)
def test_a_bare_name_gets_the_domain_and_all_else_stays(raw: str, want: str) -> None:
    assert complete(raw) == want


@pytest.mark.parametrize(
    "raw",
    [
        "To: a@b,\r\n <c@d>\r\n",
        "To:\r\n",
        "To: undisclosed-recipients:;\r\n",
        "To: a@[192.0.2.1]\r\n",
        "To: Fred Foobar\r\n",
        "To: a, <b\r\n",
        "Subject: root\r\n",
        "In-Reply-To: root\r\n",
    ],
)
def test_what_has_no_bare_name_keeps_its_octets(raw: str) -> None:
    assert complete(raw) == raw


PIECES = st.sampled_from(
    [*("a", "b c", '"d e"', "f.g", "<h>", "i@j", "(k)", ",", ":", ";", " ", "\r\n ", "\r\n\t", "\\", "é", "@", ".")]
)


@given(st.lists(PIECES).map("".join))
def test_the_completed_field_names_whom_the_server_would_read(text: str) -> None:
    field = Field("To", f"To: {text}\r\n".encode())
    longer = completed(field, "example.com")
    try:
        want = parse_address_list(field.text, "example.com")
    except ValueError:
        assert longer == field
        return
    assert parse_address_list(longer.text).mailboxes == want.mailboxes
    assert longer.raw.replace(b"@example.com", b"") == field.raw
