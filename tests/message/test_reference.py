from dataclasses import replace

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.envelope import user_of
from imapproxy.message.fields import read_draft_header
from imapproxy.message.imap_url import ImapUrl
from imapproxy.message.message import Site, Submitter
from imapproxy.message.reference import MAX_REFERENCES, Outline, Reference, outline_of
from tests.message.samples import FRED, SITE, draft

URL = "imap://fred@mail.example.com/INBOX;UIDVALIDITY=1/;UID=20"
EXTERNAL = "message/external-body"


def outline(text: str, site: Site = SITE, submitter: Submitter = FRED) -> Outline | None:
    octets = draft(text)
    return outline_of(read_draft_header(octets), octets, user_of(submitter.user, site), site, submitter)


def references(text: str, site: Site = SITE, submitter: Submitter = FRED) -> list[Reference]:
    found = outline(text, site, submitter)
    return [referring.reference for referring in found.referring] if found else []


def refusal(text: str, site: Site = SITE) -> str:
    with pytest.raises(SubmissionRefused) as caught:
        outline(text, site)
    assert not caught.value.recipients
    return caught.value.text


def part(parameters: str, kind: str = EXTERNAL) -> str:
    return f"Content-Type: {kind}; {parameters}\n\nA: b\n\n"


def to(url: str) -> str:
    return part(f'access-type=URL; URL="{url}"')


def within(*parts: str, kind: str = "multipart/mixed", boundary: str = "b") -> str:
    opened = "".join(f"--{boundary}\n{each}\n" for each in parts)
    return f"Content-Type: {kind}; boundary={boundary}\n\n{opened}--{boundary}--\n"


@pytest.mark.parametrize(
    ("url", "want"),
    [
        ("/INBOX/;UID=20", Reference(ImapUrl("INBOX", 20), "/INBOX/;UID=20", None, "")),
        (
            "/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2.1",
            Reference(ImapUrl("INBOX", 20, 1, "2.1"), "/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2.1", "2.1.MIME", "2.1"),
        ),
        (URL, Reference(ImapUrl("INBOX", 20, 1, "", "mail.example.com", None, "fred"), URL, None, "")),
    ],
)
def test_a_part_that_names_a_message_or_a_part_of_one(url: str, want: Reference) -> None:
    assert references(within(to(url))) == [want]


@pytest.mark.parametrize(
    ("url", "header", "content"),
    [("/INBOX/;UID=20", "HEADER", "TEXT"), ("/INBOX/;UID=20/;SECTION=1", "1.MIME", "1")],
)
def test_a_whole_submission_takes_the_body_and_what_describes_it(url: str, header: str, content: str) -> None:
    assert references(to(url)) == [Reference(references(to(url))[0].url, url, header, content)]


@pytest.mark.parametrize(
    "text",
    [
        within(part(f'ACCESS-TYPE=url;\n\turl="{URL}"', "Message/External-Body")),
        within(part("access-type*=''%55RL; URL*0=\"/IN\"; URL*1*=BOX%2F%3BUID=1")),
        within(part('access-type=URL; URL="imap://mail.example\n\t.com/INBOX\n\t/;UID=20"')),
        within(within(within(to(URL), boundary="d"), boundary="c")),
        within(f"\n{'.' * 70_000}\n", to(URL)),
    ],
)
def test_a_reference_however_it_is_written_and_however_deep(text: str) -> None:
    assert len(references(text)) == 1


def test_references_come_in_the_order_of_the_draft() -> None:
    text = within(to("/a/;UID=1"), within(to("/b/;UID=2"), boundary="c"), "\nhello\n", to("/c/;UID=3"))
    assert [reference.url.uid for reference in references(text)] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "A: b\n\nRFC 2017 describes message/external-body; access-type=URL\n",
        within(part('access-type=URL; URL="https://example.com/imap:"')),
        within(part('access-type=URL; URL="news:20@example.com"')),
        within(part(f'access-type=anon-ftp; URL="{URL}"')),
        within(part("access-type=URL")),
        within(part(f'access-type=URL; URL="{URL}"', "text/external-body")),
        within(f"Content-Type: message/rfc822\n\n{within(to(URL), boundary='c')}"),
        f"Content-Type: message/rfc822\n\n{within(to(URL))}",
        "A: b\n",
    ],
)
def test_what_is_no_reference_of_the_senders_own_is_left(text: str) -> None:
    assert outline(text) is None


@pytest.mark.parametrize(
    "host",
    [
        "mail.example.com",
        "mail.example.com.",
        "MAIL.Example.COM",
        "192.0.2.143",
        "mail.example.com:143",
        "fred@mail.example.com",
    ],
)
def test_a_server_has_the_configured_names_and_the_address_that_the_client_connected_to(host: str) -> None:
    assert len(references(within(to(f"imap://{host}/INBOX/;UID=20")))) == 1


@pytest.mark.parametrize("local", ["2001:db8::1", "2001:DB8:0::1", "2001:db8::1%eth0"])
def test_an_address_may_be_written_in_many_ways(local: str) -> None:
    submitter = replace(FRED, local_address=local)
    assert len(references(within(to("imap://[2001:0db8::0:1]/INBOX/;UID=20")), SITE, submitter)) == 1


def test_an_ipv4_client_of_an_ipv6_socket_connected_to_an_ipv4_address() -> None:
    submitter = replace(FRED, local_address="::ffff:192.0.2.7")
    assert len(references(within(to("imap://192.0.2.7/INBOX/;UID=20")), SITE, submitter)) == 1


def test_where_the_local_address_is_unknown_the_names_hold() -> None:
    assert len(references(within(to(URL)), SITE, replace(FRED, local_address=None))) == 1


@pytest.mark.parametrize("user", ["fred", "FRED", "fred%40example.com", "Fred%40Example.com", "fred;AUTH=*"])
def test_the_user_may_be_named_by_login_or_address(user: str) -> None:
    assert len(references(within(to(f"imap://{user}@mail.example.com/INBOX/;UID=20")))) == 1


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("imap://other.example.com/INBOX/;UID=20", "it is on another server"),
        ("imap://192.0.2.144/INBOX/;UID=20", "it is on another server"),
        ("imap://127.0.0.1/INBOX/;UID=20", "it is on another server"),
        ("imap://ann@mail.example.com/INBOX/;UID=20", "it is another user's"),
        ("imap://sales%40example.com@mail.example.com/INBOX/;UID=20", "it is another user's"),
    ],
)
def test_only_the_users_own_mail_on_this_server(url: str, reason: str) -> None:
    assert refusal(within(to(url))) == f"5.6.6 cannot read {url}: {reason}"


@pytest.mark.parametrize(
    "url",
    ["imaps://mail.example.com/INBOX/;UID=20", "imap+x://mail.example.com/INBOX/;UID=20", "/INBOX", "/INBOX/;UID=0"],
)
def test_a_url_that_cannot_be_followed_is_refused(url: str) -> None:
    assert refusal(within(to(url))).startswith(f"5.6.6 cannot read {url}: ")


@pytest.mark.parametrize(
    "url",
    [
        ";UID=20",
        "INBOX/;UID=20",
        "INBOX",
        "20",
        "https//example.com/a.pdf",
        "mail.example.com/INBOX/;UID=20",
        "INBOX/;UID=20:",
        "?",
        "#a",
    ],
)
def test_a_url_without_a_scheme_and_a_slash_is_refused(url: str) -> None:
    """A client that forgot the slash must not hear that its attachment went out."""
    assert refusal(within(to(url))) == f"5.6.6 cannot read {url}: neither imap:// nor / at the beginning"
    assert refusal(to(url)).startswith(f"5.6.6 cannot read {url}: ")


@pytest.mark.parametrize("url", ["", " ", "\n\t"])
def test_a_url_that_says_nothing_is_refused(url: str) -> None:
    assert refusal(within(to(url))) == '5.6.6 cannot read "": neither imap:// nor / at the beginning'


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"/Entw\u00fcrfe\x07{'x' * 300}", f"/Entw?rfe?{'x' * 190}"),
        (f"INBOX\x1b[31m\u202e{'x' * 1_000_000}", f"INBOX?[31m?{'x' * 189}"),
        ("\udcff" * 300, "?" * 200),
        ("a b\n\tc", "abc"),
        ("a,b", "a,b"),  # the answer's comma is the response's to replace
    ],
)
def test_an_answer_shows_of_a_url_what_can_be_shown(url: str, shown: str) -> None:
    assert refusal(within(to(url))).startswith(f"5.6.6 cannot read {shown}: ")


@pytest.mark.parametrize("kind", ["multipart/signed", "multipart/encrypted", "Multipart/Signed"])
@pytest.mark.parametrize("depth", [0, 1])
def test_nothing_is_included_in_what_is_signed_or_encrypted(kind: str, depth: int) -> None:
    inner = within(to(URL), boundary="c") if depth else to(URL)
    assert refusal(within(within(inner, kind=kind, boundary="d"))) == (
        "5.6.6 nothing can be included in a signed or encrypted part"
    )


def test_beside_a_signed_part_something_can_be_included() -> None:
    assert len(references(within(within("\nhello\n", kind="multipart/signed", boundary="c"), to(URL)))) == 1


def test_references_may_be_switched_off() -> None:
    off = replace(SITE, references=False)
    assert refusal(within(to(URL)), off) == "5.6.6 references are switched off on this server"
    assert refusal(within(to("imaps://anywhere/")), off) == "5.6.6 references are switched off on this server"
    assert refusal(within(to("INBOX/;UID=20")), off) == "5.6.6 references are switched off on this server"
    assert outline(within(part('access-type=URL; URL="https://example.com/"')), off) is None


def test_their_number_is_bounded() -> None:
    assert len(references(within(*[to(URL)] * MAX_REFERENCES))) == MAX_REFERENCES
    assert refusal(within(*[to(URL)] * (MAX_REFERENCES + 1))) == "5.6.6 too many references in the message"


def test_their_depth_is_bounded() -> None:
    text = to(URL)
    for level in range(40):
        text = within(text, boundary=f"b{level}x")
    assert refusal(text) == "5.6.0 too many parts in the message"
