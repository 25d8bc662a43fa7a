"""The side connection that reads what is referred to: what it says, what goes wrong on it, servers that lie."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.delivered import parsed
from tests.functional.drafts import AFTER, BEFORE, draft, forward, reference
from tests.functional.fake_mailboxes import (
    ATOM,
    GRAMMAR,
    QUOTED,
    Deviation,
    closes,
    halves,
    no,
    resets,
    unquoted,
)
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import Entity, attached, leaf, multipart
from tests.functional.scripted import DRAFT, theatre

MIB = 1 << 20
# Several windows long, no line like another.
LINES = b"".join(b"%062d\r\n" % number for number in range(2 * MIB // 64))
TEXT = leaf("text/plain", LINES)
INSIDE = leaf("text/plain", b"inside\r\n").headed(b"Subject: inside\r\n")
MESSAGE = multipart(b"=_stored", leaf("text/plain", b"Hello"), TEXT, attached(INSIDE)).headed(b"Subject: stored\r\n")
SMALL = leaf("text/plain", b"Hello\r\n").headed(b"Subject: small\r\n")
MAILBOXES = {b"INBOX": {20: MESSAGE, 21: SMALL}, b"Other": {1: SMALL}}
# A part's content is read window by window; the message of it is begun before the last is.
PART = forward("/INBOX/;UID=20/;SECTION=2")
WHOLE = forward("/INBOX/;UID=20")

FAILED = re.compile(r"NO [45]\.\d\.\d cannot read /INBOX/;UID=20[ -+\--~]*: [ -+\--~]+,")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("side"), MAILBOXES) as office:
        yield office


@pytest.fixture
def office(opened: PostOffice) -> Iterator[PostOffice]:
    with opened.performance():
        yield opened


def assert_text_arrived(office: PostOffice) -> None:
    before, text, after = office.arrived().parts
    assert text.body == LINES, (len(text.body), len(LINES))
    assert [before.body, after.body] == [part.partition(b"\r\n\r\n")[2] for part in (BEFORE, AFTER)]


# What it says


def test_one_connection_however_many_references(office: PostOffice) -> None:
    urls = ["/INBOX/;UID=20/;SECTION=2", "/INBOX/;UID=21", "/Other/;UID=1", "/INBOX/;UID=20/;SECTION=3.1"]
    assert office.submit(draft(*map(reference, urls))) == "OK SUBMIT completed"
    assert office.imap.side_connections == 1
    assert [part.body for part in office.arrived().parts] == [LINES, SMALL.octets, SMALL.octets, b"inside\r\n"]


def test_no_connection_without_reference(office: PostOffice) -> None:
    assert office.submit(draft(BEFORE)) == "OK SUBMIT completed"
    assert office.imap.side_connections == 0


def test_nothing_is_read_twice_or_whole(office: PostOffice) -> None:
    """Windows of at most a MiB, one after the other, and the header by itself."""
    assert office.submit(PART) == "OK SUBMIT completed"
    windows = re.findall(rb"BODY\.PEEK\[2\]<(\d+)\.(\d+)>", b"".join(office.imap.commands))
    starts = [int(start) for start, _ in windows]
    assert starts == sorted(set(starts))
    assert all(int(count) <= MIB for _, count in windows)
    assert sum(int(count) for _, count in windows) <= len(LINES) + MIB
    assert not re.search(rb"BODY\.PEEK\[[^]]*\](?!<)", b"".join(office.imap.commands))


@pytest.mark.parametrize("body", ["7BIT", "8BITMIME"])
def test_size_is_announced_before_anything_is_read(office: PostOffice, body: str) -> None:
    office.smtp.script["EHLO"] = f"250-fake\n250-SIZE 100000000\n250-{body}\n250 OK"
    assert office.submit(PART) == "OK SUBMIT completed"
    received = office.received()
    assert f" SIZE={len(received.content)}" in received.mail


def test_mailbox_over_the_servers_size_limit(office: PostOffice) -> None:
    """What the SMTP server would refuse is not read."""
    office.smtp.script["EHLO"] = "250-fake\n250-8BITMIME\n250 SIZE 1000000"
    assert re.fullmatch(r"NO 5\.3\.4 [ -+\--~]+,", office.submit(PART))
    assert b"BODY.PEEK[2]<" not in b"".join(office.imap.commands)
    office.assert_nobody_got_anything()


# Whatever the mailbox is called, the server sees one well-formed command (FakeMailboxes checks each) with that name


@pytest.mark.parametrize(
    ("url_name", "wire_name"),
    [
        ("INBOX", b"INBOX"),
        ("a%20b", b"a b"),
        ("a+b", b"a+b"),
        ("say%20%22hello%22", b'say "hello"'),
        ("%22", b'"'),
        ("back%5Cslash%5C", b"back\\slash\\"),
        ("%5C%22%20LOGOUT", b'\\" LOGOUT'),
        ("100%25", b"100%"),
        ("*", b"*"),
        ("%7B5%7D", b"{5}"),
        ("x%20%7B5+%7D", b"x {5+}"),
        ("%7B3%2B%7D", b"{3+}"),
        ("(x)%20%5By%5D", b"(x) [y]"),
        ("NIL", b"NIL"),
        ("R%26D", b"R&-D"),
        ("Entw%C3%BCrfe", b"Entw&APw-rfe"),
        ("%E5%8F%B0%E5%8C%97", b"&U,BTFw-"),
        ("%F0%9F%98%80", b"&2D3eAA-"),
        ("%26APw-", b"&-APw-"),
        ("A1%20DELETE%20INBOX", b"A1 DELETE INBOX"),
        ("..%2F..%2Fetc%2Fpasswd", b"../../etc/passwd"),
        ("../../etc/passwd", b"../../etc/passwd"),
        ("Work/2026", b"Work/2026"),
        ("~fred%2Fmail", b"~fred/mail"),
        ("%23shared", b"#shared"),
        ("tag%20OK%20%5BREAD-WRITE%5D", b"tag OK [READ-WRITE]"),
        ("x%3B%20y", b"x; y"),
        ("%3BUID=21", b";UID=21"),
        ("x%3Fy", b"x?y"),
        ("x" * 1000, b"x" * 1000),
    ],
)
def test_mailbox_names(office: PostOffice, url_name: str, wire_name: bytes) -> None:
    office.imap.mailboxes[wire_name] = {5: SMALL}
    assert office.submit(forward(f"/{url_name}/;UID=5")) == "OK SUBMIT completed"
    assert office.arrived().parts[1].body == SMALL.octets
    asked = [line for line in office.imap.commands if b" EXAMINE " in line]
    assert {unquoted(line.partition(b" EXAMINE ")[2].removesuffix(b"\r\n")) for line in asked} == {wire_name}
    assert set(office.imap.names()) <= {name.decode() for name in GRAMMAR} - {"APPEND", "CREATE", "SUBSCRIBE", "LIST"}


@pytest.mark.parametrize(
    "name",
    [
        "x%0D%0AA1%20DELETE%20INBOX",
        "x%0AA1%20DELETE%20INBOX",
        "x%0D",
        "x%00",
        "x%7F",
        "x%C2%85y",
        "x%E2%80%A8y",
        "%7B5%7D%0D%0Ahello",
    ],
)
def test_line_ends_in_mailbox_names_never_get_there(office: PostOffice, name: str) -> None:
    assert re.fullmatch(r"NO 5\.\d\.\d [ -+\--~]+,", office.submit(forward(f"/{name}/;UID=5")))
    assert office.imap.commands == []


def test_grammar_of_the_scripted_server_is_strict() -> None:
    """Else all of the above would be worth little."""
    astring = re.compile(ATOM + b"|" + QUOTED)
    for good in (b"INBOX", b'"a b"', b'"\\"\\\\"', b"&U,BTFw-"):
        assert astring.fullmatch(good)
    for bad in (b"a b", b'"a"b"', b'"\\x"', b'"a\\"', b"{5}", b'"\xc3\xbc"', b"*", b'"a\rb"', b"", b"(x)"):
        assert not astring.fullmatch(bad)
    assert not GRAMMAR[b"EXAMINE"].fullmatch(b"INBOX (CONDSTORE)")
    assert not GRAMMAR[b"UID FETCH"].fullmatch(b"1:* (FLAGS)")


# Where it breaks


@pytest.mark.parametrize("how", [closes, resets, halves], ids=["closes", "resets", "halves"])
@pytest.mark.parametrize("step", ["GREETING", "LOGIN", "EXAMINE", "FETCH 1"])
def test_server_that_goes(office: PostOffice, step: str, how: Deviation) -> None:
    office.imap.replies = {step: how}
    answer = office.submit(PART)
    assert re.fullmatch(r"NO 4\.4\.\d cannot read /INBOX/;UID=20/;SECTION=2: [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()
    assert "MAIL" not in office.smtp.verbs()


@pytest.mark.parametrize("how", [closes, resets, halves], ids=["closes", "resets", "halves"])
@pytest.mark.parametrize("whole", [PART, WHOLE], ids=["part", "whole"])
@pytest.mark.parametrize("step", ["FETCH 2", "FETCH 3"])
@pytest.mark.parametrize("ehlo", ["250-fake\n250 8BITMIME", "250 fake"], ids=["eight-bit", "seven-bit"])
def test_server_that_goes_in_the_middle_of_the_message(
    office: PostOffice, ehlo: str, step: str, whole: bytes, how: Deviation
) -> None:
    """The SMTP server sees no final dot: nobody gets a truncated message."""
    office.smtp.script["EHLO"] = ehlo
    office.imap.replies = {step: how}
    answer = office.submit(whole)
    assert re.fullmatch(r"NO 4\.4\.\d cannot read /INBOX/;UID=20[^ ]*: [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()


def test_message_that_has_begun_is_broken_off(tmp_path: Path) -> None:
    with post_office(tmp_path, MAILBOXES) as office, office.performance():
        office.imap.replies = {"FETCH 4": closes}
        assert FAILED.fullmatch(office.submit(PART))
    assert office.smtp.verbs().count("DATA") == 1
    (begun,) = office.smtp.unfinished  # complete once the server has ended
    assert LINES[: MIB // 2] in begun
    assert not office.smtp.messages


def test_next_submission_after_a_failure(office: PostOffice) -> None:
    office.imap.replies = {"FETCH 3": halves}
    with office.client() as client:
        for verdict in (b"NO", b"OK"):
            client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(PART), PART))
            assert client.answer(b"S").startswith(verdict)
            office.imap.replies = {}
    assert_text_arrived(office)


def test_nobody_listens(tmp_path: Path) -> None:
    whole = forward("/INBOX/;UID=20")
    with theatre(tmp_path) as house, house.fred() as stage:
        house.imap.refuse()
        assert stage.submit(DRAFT) == b"OK SUBMIT completed"
        answer = stage.submit(whole)
        assert answer.startswith(b"NO 4.4.1 cannot read /INBOX/;UID=20: "), answer
        assert len(house.smtp.messages) == 1
        assert "DATA" not in house.smtp.verbs()[5:]


# Where the login does not work a second time


@pytest.mark.parametrize(
    ("refusal", "code"),
    [
        (b"[UNAVAILABLE] Temporary authentication failure", "4.7.0"),
        (b"[LIMIT] Maximum number of connections from user+IP exceeded", "4.7.0"),
        (b"[INUSE] only one session", "4.7.0"),
        (b"[AUTHENTICATIONFAILED] Authentication failed.", "4.7.0"),
    ],
)
def test_second_login_refused(office: PostOffice, refusal: bytes, code: str) -> None:
    office.imap.replies = {"LOGIN": no(refusal)}
    answer = office.submit(PART)
    assert re.fullmatch(rf"NO {re.escape(code)} [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()


@pytest.mark.parametrize("mechanism", [b"XOAUTH2", b"OAUTHBEARER"])
def test_token_that_has_expired(office: PostOffice, mechanism: bytes) -> None:
    token = {b"XOAUTH2": b"user=fred\1auth=Bearer t0ken\1\1", b"OAUTHBEARER": b"n,a=fred,\1auth=Bearer t0ken\1\1"}
    login = b"AUTHENTICATE %b %b" % (mechanism, base64.b64encode(token[mechanism]))
    assert office.submit(PART, login) == "OK SUBMIT completed"
    office.smtp.messages.clear()
    office.imap.replies = {"LOGIN": no(b"[AUTHENTICATIONFAILED] expired")}
    assert office.submit(PART, login) == "NO 5.7.8 login expired; log in again,"
    office.assert_nobody_got_anything()


@pytest.mark.parametrize("capabilities", [b"IMAP4rev1 LOGINDISABLED AUTH=CRAM-MD5", b"IMAP4rev1 LOGINDISABLED"])
def test_credentials_that_fit_no_offer(office: PostOffice, capabilities: bytes) -> None:
    office.imap.capabilities = capabilities
    answer = office.submit(PART)
    assert re.fullmatch(r"NO [45]\.7\.\d [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()
    assert not {"LOGIN", "AUTHENTICATE", "EXAMINE"} & set(office.imap.names())


@pytest.mark.parametrize(
    ("capabilities", "login"),
    [
        (b"IMAP4rev1", b"LOGIN fred secret"),
        (b"IMAP4rev1 AUTH=PLAIN", b"LOGIN fred secret"),
        (b"IMAP4rev1 AUTH=LOGIN LOGINDISABLED", b"LOGIN fred secret"),
        (b"IMAP4rev1 AUTH=PLAIN SASL-IR", b"AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0"),
        (b"IMAP4rev1", b"AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0"),
        (b"IMAP4rev1", b'LOGIN fred "se \\"cr\\\\et"'),
        (b"IMAP4rev1 AUTH=PLAIN", b"LOGIN fred s\xc3\xa9cret"),
        (b"IMAP4rev2 IMAP4rev1 LITERAL- SASL-IR AUTH=PLAIN COMPRESS=DEFLATE UTF8=ACCEPT", b"LOGIN fred secret"),
    ],
)
def test_login_by_whatever_there_is(office: PostOffice, capabilities: bytes, login: bytes) -> None:
    office.imap.capabilities = capabilities
    assert office.submit(PART, login) == "OK SUBMIT completed"
    assert_text_arrived(office)


def test_nobody_who_is_unknown_reads_anything(office: PostOffice) -> None:
    """A mechanism whose exchange says not who it is leaves no user: plain NO, and it says so."""
    answer = office.submit(PART, b"AUTHENTICATE PLAIN !not-base64!")
    assert answer == "NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,"
    assert office.imap.side_connections == 0


# What cannot be sent as it is


def test_nul_is_refused(office: PostOffice) -> None:
    office.imap.mailboxes[b"INBOX"] = {5: leaf("text/plain", b"a\0b\r\n" + LINES)}
    assert re.fullmatch(r"NO 5\.6\.\d [ -+\--~]+,", office.submit(forward("/INBOX/;UID=5")))
    office.assert_nobody_got_anything()


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\r\n", b"\n\r"])
def test_line_ends_are_made_crlf(office: PostOffice, end: bytes) -> None:
    """Even those far behind, of which nothing is known when the message begins."""
    body = LINES + b"one" + end + b".two" + end + b"." + end + b"three"
    office.imap.mailboxes[b"INBOX"] = {5: leaf("text/plain", body).headed(b"Subject: odd" + end + b"X-Y: z\r\n")}
    assert office.submit(forward("/INBOX/;UID=5")) == "OK SUBMIT completed"
    mended = re.sub(rb"\r+\n|\r|\n", b"\r\n", office.imap.mailboxes[b"INBOX"][5].octets)
    assert office.arrived().parts[1].body == mended


@pytest.mark.parametrize("section", ["", "/;SECTION=1"])
def test_what_is_stored_in_lines_of_cr_cr_lf_has_each_line_end_once(office: PostOffice, section: str) -> None:
    """As Courier hands out a file of a Maildir in which lines end in CRLF."""
    stored = leaf("text/plain", b"first\r\n\r\nthird\r\n" + LINES).headed(b"Subject: stored\r\n")
    header, body = (octets.replace(b"\r\n", b"\r\r\n") for octets in (stored.header, stored.body))
    office.imap.mailboxes[b"INBOX"] = {5: Entity(header, body)}
    assert office.submit(forward(f"/INBOX/;UID=5{section}")) == "OK SUBMIT completed"
    assert office.arrived().parts[1].body == (stored.body if section else stored.octets)


@pytest.mark.parametrize("line", [b"x" * 2 * MIB, LINES + b"x" * 999, LINES[: MIB // 2 - 10] + b"x" * 1000 + b"\r\n"])
def test_long_line_is_encoded(office: PostOffice, line: bytes) -> None:
    """One of several windows, too, the last one, and one across the border between two windows."""
    office.imap.mailboxes[b"INBOX"] = {5: leaf("text/plain", line)}
    assert office.submit(forward("/INBOX/;UID=5/;SECTION=1")) == "OK SUBMIT completed"
    content = office.received().content
    assert max(map(len, content.split(b"\r\n"))) <= 998
    _, part, _ = parsed(content).iter_parts()
    decoded = part.get_payload(decode=True)
    assert isinstance(decoded, bytes)
    assert decoded.removesuffix(b"\r\n") == line.removesuffix(b"\r\n")
