"""References that are not followed (DESIGN 4.2): each gets NO, and nothing is sent; and those that are none of ours."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.functional.delivered import seen
from tests.functional.drafts import BEFORE, ENVELOPE, composite, draft, forward, nested, reference
from tests.functional.fake_mailboxes import no
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import attached, leaf, multipart
from tests.functional.proxy_process import Options

STORED_HEADER = b"From: boss@example.com\r\nSubject: the stored one\r\nReceived: from secret\r\n"
PDF = leaf("application/pdf", b"JVBERi0xLjQK\r\n" * 20, b"Content-Transfer-Encoding: base64\r\n")
INSIDE = leaf("text/plain", b"inside\r\n").headed(b"Subject: inside\r\n")
MESSAGE = multipart(b"=_stored", leaf("text/plain", b"Hello"), PDF, attached(INSIDE)).headed(STORED_HEADER)
LARGE = leaf("application/x-large", b"0123456789abcdef\r\n" * 20_000).headed(STORED_HEADER)
HALF = leaf("application/x-large", b"0123456789abcdef\r\n" * 7_000).headed(STORED_HEADER)
MAILBOXES = {b"INBOX": {20: MESSAGE, 21: LARGE, 23: HALF}}

COMPOSED_LIMIT = 300_000  # octets, fewer than LARGE has

# Every refusal: a code of RFC 3463 (3.x.x to 7.x.x as the row says), words without a comma.
REFUSED = r"NO {code} [ -+\--~]+,"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    options: Options = {
        "listen": {"listen": "127.0.0.1:0", "server-names": "mail.example.com, IMAP.example.com"},
        "imap": {"imap-server": "localhost:{imap}"},
        "submit": {"max-composed-size": str(COMPOSED_LIMIT), "max-message-size": "250K"},
    }
    with post_office(tmp_path_factory.mktemp("references"), MAILBOXES, options) as office:
        yield office


@pytest.fixture
def office(opened: PostOffice) -> Iterator[PostOffice]:
    with opened.performance():
        yield opened


def assert_refused(office: PostOffice, answer: str, code: str = r"5\.\d\.\d") -> None:
    """Check that the answer is a refusal with that code, and that the SMTP server was not even asked."""
    assert re.fullmatch(REFUSED.format(code=code), answer), answer
    assert "MAIL" not in office.smtp.verbs()
    office.assert_nobody_got_anything()


# What the URL itself says


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("/INBOX/;UID=20/;PARTIAL=0.100", id="PARTIAL"),
        pytest.param("/INBOX/;UID=20/;SECTION=2/;PARTIAL=0", id="PARTIAL of a section"),
        pytest.param("/INBOX/;UID=20/;section=2/;partial=1.5", id="PARTIAL in lower case"),
        pytest.param("imap://fred@127.0.0.1/INBOX/;UID=20;URLAUTH=anonymous:INTERNAL:00112233", id="URLAUTH"),
        pytest.param("/INBOX/;UID=20;EXPIRE=2026-01-01T00:00:00Z;URLAUTH=user+fred:INTERNAL:00", id="EXPIRE"),
        pytest.param("/INBOX/;UID=20/;SECTION=HEADER", id="HEADER"),
        pytest.param("/INBOX/;UID=20/;SECTION=TEXT", id="TEXT"),
        pytest.param("/INBOX/;UID=20/;SECTION=2.MIME", id="MIME"),
        pytest.param("/INBOX/;UID=20/;SECTION=3.header", id="HEADER of a part"),
        pytest.param("/INBOX/;UID=20/;SECTION=3.TEXT", id="TEXT of a part"),
        pytest.param("/INBOX/;UID=20/;SECTION=HEADER.FIELDS%20(SUBJECT)", id="HEADER.FIELDS"),
        pytest.param("imap://foreign.example/INBOX/;UID=20", id="foreign host"),
        pytest.param("imap://mail.example.com.evil.example/INBOX/;UID=20", id="host that begins like ours"),
        pytest.param("imap://127.0.0.2/INBOX/;UID=20", id="address that the client is not connected to"),
        pytest.param("imap://joe@mail.example.com/INBOX/;UID=20", id="foreign user"),
        pytest.param("imap://fred@foreign.example@mail.example.com/INBOX/;UID=20", id="two at signs"),
        pytest.param("imap://fred%40other.example@mail.example.com/INBOX/;UID=20", id="user of a foreign domain"),
        pytest.param("imaps://mail.example.com/INBOX/;UID=20", id="imaps"),
        pytest.param("IMAP+SSL://mail.example.com/INBOX/;UID=20", id="imap+ssl"),
        pytest.param("/INBOX", id="no UID"),
        pytest.param("/INBOX;UIDVALIDITY=7", id="UIDVALIDITY only"),
        pytest.param("/INBOX?SUBJECT%20x", id="search"),
        pytest.param("imap://mail.example.com/", id="server only"),
        pytest.param("/;UID=20", id="no mailbox"),
        pytest.param("//mail.example.com/INBOX/;UID=20", id="network path"),
        pytest.param("/INBOX/;UID=0", id="UID 0"),
        pytest.param("/INBOX/;UID=-1", id="UID below 0"),
        pytest.param("/INBOX/;UID=4294967296", id="UID of 33 bits"),
        pytest.param("/INBOX/;UID=1:*", id="a set of UIDs"),
        pytest.param("/INBOX/;UID=20%20FLAGS", id="more than a UID"),
        pytest.param("/INBOX;UIDVALIDITY=0/;UID=20", id="UIDVALIDITY 0"),
        pytest.param("/INBOX/;UID=20/;SECTION=0", id="section 0"),
        pytest.param("/INBOX/;UID=20/;SECTION=2..1", id="section without number"),
        pytest.param("/INBOX/;UID=20/;SECTION=2%5D", id="section with bracket"),
        pytest.param("/INBOX/;UID=20/;SECTION=" + "1." * 200 + "1", id="section of 201 numbers"),
        pytest.param("/INBOX/;UID=20/;SECTION=99999999999", id="section of 37 bits"),
        pytest.param("/INBOX/;UID=20#fragment", id="fragment"),
        pytest.param("/INBOX/;UID=20/more", id="more behind"),
        pytest.param("/INB%4/;UID=20", id="half an escape"),
        pytest.param("/INB%GG/;UID=20", id="no escape"),
        pytest.param("/INB%FF/;UID=20", id="not UTF-8"),
        pytest.param("/INB%C0%AF/;UID=20", id="UTF-8 longer than it must be"),
        pytest.param("/INB%ED%A0%80/;UID=20", id="surrogate"),
        pytest.param("/INB%00OX/;UID=20", id="NUL"),
        pytest.param("/INBOX%0D%0AX%20LOGOUT/;UID=20", id="CR LF"),
        pytest.param("/INBOX%0A/;UID=20", id="LF"),
        pytest.param("/" + "x" * 5000 + "/;UID=20", id="5000 characters"),
        pytest.param("", id="nothing"),
        pytest.param(";UID=20", id="neither mailbox nor slash"),
        pytest.param("INBOX/;UID=20", id="no slash at the beginning"),
        pytest.param("x" * 5000, id="5000 characters and no slash"),
        pytest.param("https//example.com/", id="no colon behind the scheme"),
    ],
)
def test_url_that_is_not_followed(office: PostOffice, url: str) -> None:
    """No side connection is made for it."""
    assert_refused(office, office.submit(forward(url)))
    assert office.imap.side_connections == 0


# What the server does not have


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("/INBOX/;UID=22", "no such message"),
        ("/INBOX/;UID=22/;SECTION=1", "no such message"),
        ("/INBOX;UIDVALIDITY=8/;UID=20", "UIDVALIDITY has changed"),
        ("/INBOX/;UID=20/;SECTION=4", "no such part"),
        ("/INBOX/;UID=20/;SECTION=2.1", "no such part"),
        ("/INBOX/;UID=20/;SECTION=3.2", "no such part"),
        ("/INBOX/;UID=21/;SECTION=2", "no such part"),
        ("/Elsewhere/;UID=20", "no such mailbox"),
    ],
)
def test_what_is_not_there(office: PostOffice, url: str, reason: str) -> None:
    answer = office.submit(forward(url))
    assert_refused(office, answer, r"5\.6\.6")
    assert answer.startswith(f"NO 5.6.6 cannot read {url}"), answer
    assert answer.endswith(f"{reason},")


def test_comma_in_a_url(office: PostOffice) -> None:
    """It would part the answer's text from recipients."""
    assert_refused(office, office.submit(forward("/a,b,c@example.com/;UID=9")), r"5\.6\.6")


def test_no_permission(office: PostOffice) -> None:
    office.imap.replies = {"EXAMINE": no(b"[NOPERM] Permission denied, go away")}
    answer = office.submit(forward("/INBOX/;UID=20"))
    assert_refused(office, answer, r"5\.6\.6")
    assert answer.startswith("NO 5.6.6 cannot read /INBOX/;UID=20")


def test_one_bad_reference_of_several_and_nothing_is_sent(office: PostOffice) -> None:
    good, bad = reference("/INBOX/;UID=20"), reference("/INBOX/;UID=22")
    assert_refused(office, office.submit(draft(good, BEFORE, bad)), r"5\.6\.6")


# Where it stands


@pytest.mark.parametrize("subtype", ["signed", "encrypted"])
@pytest.mark.parametrize("depth", [0, 2])
def test_inside_signed_or_encrypted(office: PostOffice, subtype: str, depth: int) -> None:
    protected = composite(BEFORE, nested(reference("/INBOX/;UID=20"), depth), subtype=subtype, boundary=b"=_protected")
    assert_refused(office, office.submit(draft(BEFORE, protected)))


@pytest.mark.parametrize("subtype", ["signed", "encrypted"])
def test_submission_that_is_signed_or_encrypted_itself(office: PostOffice, subtype: str) -> None:
    parts = (reference("/INBOX/;UID=20"), BEFORE)
    assert_refused(office, office.submit(draft(*parts, subtype=subtype)))


def test_too_deep(office: PostOffice) -> None:
    assert_refused(office, office.submit(draft(nested(reference("/INBOX/;UID=20"), 40))))


def test_too_many(office: PostOffice) -> None:
    """Each costs the server a FETCH: as many as fit into a draft are refused before the first."""
    answer = office.submit(draft(*[reference("/INBOX/;UID=20/;SECTION=1")] * 1500))
    assert_refused(office, answer)
    assert office.imap.side_connections == 0


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(draft(reference("/INBOX/;UID=21")), id="one that is too large"),
        pytest.param(draft(*[reference("/INBOX/;UID=23")] * 3), id="many that are together"),
        pytest.param(ENVELOPE + reference("/INBOX/;UID=21"), id="the whole submission"),
    ],
)
def test_over_the_limit_of_composed_messages(office: PostOffice, whole: bytes) -> None:
    assert_refused(office, office.submit(whole), r"5\.3\.4")


# Whose it is


@pytest.mark.parametrize(
    ("login", "server"),
    [
        (b"LOGIN fred secret", ""),
        (b"LOGIN fred secret", "imap://mail.example.com"),
        (b"LOGIN fred secret", "IMAP://Mail.Example.COM"),
        (b"LOGIN fred secret", "imap://imap.example.com:143"),
        (b"LOGIN fred secret", "imap://localhost"),
        (b"LOGIN fred secret", "imap://127.0.0.1"),
        (b"LOGIN fred secret", "imap://fred@mail.example.com"),
        (b"LOGIN fred secret", "imap://FRED@mail.example.com"),
        (b"LOGIN fred secret", "imap://fred;AUTH=*@mail.example.com"),
        (b"LOGIN fred secret", "imap://;AUTH=PLAIN@mail.example.com"),
        (b"LOGIN fred secret", "imap://fred%40example.com@mail.example.com"),
        (b"LOGIN fred@example.com secret", "imap://fred%40Example.COM@mail.example.com"),
        (b"AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0", "imap://fred@mail.example.com"),
    ],
)
def test_own_mail_on_this_server(office: PostOffice, login: bytes, server: str) -> None:
    assert office.submit(forward(f"{server}/INBOX/;UID=20/;SECTION=2"), login) == "OK SUBMIT completed"
    assert PDF.body in office.received().content


def test_address_that_the_client_is_connected_to(tmp_path: Path) -> None:
    """In brackets where it is of IPv6; unlike another address of this machine."""
    options: Options = {"listen": {"listen": "127.0.0.1:0, [::1]:0"}}
    with post_office(tmp_path, MAILBOXES, options) as office, office.performance():
        over_ipv6 = PostOffice(replace(office.proxy, ports=office.proxy.ports[1:]), office.imap, office.smtp)
        with over_ipv6.client(address="::1") as client:
            for host, verdict in (("[::1]", b"OK"), ("[0:0::1]", b"OK"), ("[::2]", b"NO")):
                whole = forward(f"imap://{host}/INBOX/;UID=20")
                client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(whole), whole))
                assert client.answer(b"S").startswith(verdict), host


# What is none of ours

FOREIGN = (
    b'Content-Type: message/external-body; access-type=URL; URL="http://www.example.com/x"\r\n\r\n'
    b"Content-Type: text/html\r\n\r\n",
    b'Content-Type: message/external-body; access-type=URL; URL="ftp://imap.example.com/;UID=1"\r\n\r\n\r\n',
    b'Content-Type: message/external-body; access-type=anon-ftp; name="/INBOX/;UID=20"; site=x\r\n\r\n\r\n',
    b'Content-Type: message/external-body; access-type=local-file; URL="imap://mail.example.com/INBOX/;UID=20"\r\n\r\n',
    b'Content-Type: text/plain; access-type=URL; URL="/INBOX/;UID=20"\r\n\r\n\r\n',
    b"Content-Type: message/rfc822\r\n\r\nSubject: attached\r\n"
    + composite(reference("/INBOX/;UID=20"), boundary=b"=_attached"),
    b"Content-Type: message/rfc822\r\n\r\nSubject: attached\r\n" + reference("/INBOX/;UID=20"),
)


@pytest.mark.parametrize("part", FOREIGN)
def test_what_travels_untouched(office: PostOffice, part: bytes) -> None:
    """Alone, with no side connection; and beside a reference."""
    sent = draft(BEFORE, part, fields=b"From: fred@example.com\r\n")
    assert office.submit(sent) == "OK SUBMIT completed"
    assert office.received().content.endswith(sent)
    assert office.imap.side_connections == 0
    office.smtp.messages.clear()
    assert office.submit(draft(part, reference("/INBOX/;UID=20"))) == "OK SUBMIT completed"
    untouched, _ = office.arrived().parts
    assert untouched == seen(part)


# Where references are off


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    options: Options = {"submit": {"references": "off"}}
    with post_office(tmp_path_factory.mktemp("off"), MAILBOXES, options) as office:
        yield office


@pytest.mark.parametrize(
    "whole", [forward("/INBOX/;UID=20"), forward("imap://x/INBOX/;UID=20"), ENVELOPE + reference("imaps://x/INBOX")]
)
def test_switched_off(without: PostOffice, whole: bytes) -> None:
    with without.performance():
        assert_refused(without, without.submit(whole))
        assert without.imap.side_connections == 0
        assert without.submit(draft(BEFORE, FOREIGN[0])) == "OK SUBMIT completed"
