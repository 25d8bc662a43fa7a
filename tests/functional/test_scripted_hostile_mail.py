"""What an attacker placed in the mailbox, octet by octet as the SMTP server gets it; real ones would mend some of it.

The IMAP server tells it as it is, line ends that are none and NUL included, which Dovecot does not.
"""

import re
from collections.abc import Iterator

import pytest

from tests.functional.attacks import BODIES, CLOSE, DELIMITER, FORGED, HEADERS, mended
from tests.functional.delivered import Seen, seen
from tests.functional.drafts import AFTER, BEFORE, ENVELOPE, EPILOGUE, PREAMBLE, draft, forward, nested, reference
from tests.functional.fake_mailboxes import UIDVALIDITY
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import Entity, attached, multipart

RAW_BODIES = BODIES | {
    "dot between lone LFs": b"text\n.\n" + FORGED,
    "dot between LF and CRLF": b"text\n.\r\n" + FORGED,
    "dot between CRLF and LF": b"text\r\n.\n" + FORGED,
    "delimiters between lone LFs": b"text\n" + DELIMITER + b"\n" + FORGED.replace(b"\r\n", b"\n") + CLOSE + b"\n",
    "CRs before LF": b"text\r\r\n" + DELIMITER + b"\r\r\n" + FORGED,
    "NUL": b"text\0\r\n" + DELIMITER + b"\r\n",
    "NUL within a delimiter": b"text\r\n--\0" + DELIMITER[2:] + b"\r\n",
    "last line of 2000": b"text\r\n" + b"y" * 2000,
    "lines of 2000": b"x" * 2000 + b"\r\n" + DELIMITER + b"\r\n" + b"y" * 2000,
}
RAW_HEADERS = HEADERS | {
    "fields behind lone LFs": b"Content-Type: text/plain\nBcc: ann@example.com\nFrom: forged@example.com\r\n",
    "end behind lone LFs": b"Content-Type: text/plain\n\n" + CLOSE + b"\n\r\n",
    "NUL": b"Content-Type: text/plain\0\r\n",
    "NUL in a foreign field": b"Subject: \0\r\nContent-Type: text/plain\r\n",
    "only spaces": b" \r\n",
    "folded before all": b" x: y\r\nContent-Type: text/plain\r\n",
    "colon first": b": x\r\nContent-Type: text/plain\r\n",
    "name of 2000": b"Content-" + b"x" * 2000 + b": y\r\n",
    "100,000 octets": b"Content-Description: " + b"word " * 20_000 + b"\r\n",
    "two million octets": b"Content-Description: x\r\n" * 90_000,
}
ALLOWED = re.compile(rb"content-[!-9;-~]+[ \t]*:|[ \t]", re.IGNORECASE)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("hostile"), {b"INBOX": {}}) as office:
        yield office


@pytest.fixture(params=["250-fake\n250 8BITMIME", "250 fake"], ids=["eight-bit", "seven-bit"])
def office(opened: PostOffice, request: pytest.FixtureRequest) -> Iterator[PostOffice]:
    with opened.performance():
        opened.smtp.script["EHLO"] = request.param
        yield opened


def assert_harmless(office: PostOffice, whole: bytes) -> Seen | None:
    """Submit; check the octets, and that the parts are the client's own two and one; or that nobody gets anything."""
    office.smtp.messages.clear()
    answer = office.submit(whole)
    if answer != "OK SUBMIT completed":
        assert re.fullmatch(r"NO 5\.[36]\.\d [ -+\--~]+,", answer), answer
        office.assert_nobody_got_anything()
        return None
    assert_octets(office)
    arrived = office.arrived()
    before, included, after = arrived.parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert arrived.around == (PREAMBLE, EPILOGUE)
    assert list(arrived.fields) == ["date", "to", "message-id", "mime-version", "content-type", "from"]
    return included


def assert_octets(office: PostOffice) -> None:
    """Check what holds for all that is sent: lines that end in CRLF, none too long, no NUL, seven bits if told."""
    content = office.received().content
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n|\0", content)
    assert max(map(len, content.split(b"\r\n"))) <= 998
    assert content.isascii() or "8BITMIME" in str(office.smtp.script["EHLO"])
    assert [recipient[:25] for recipient in office.received().recipients] == ["RCPT TO:<joe@example.com>"]


def store(office: PostOffice, message: Entity) -> None:
    office.imap.mailboxes[b"INBOX"] = {1: message}


def as_it_is(octets: bytes) -> bool:
    return max(map(len, mended(octets).split(b"\r\n"))) <= 998 and b"\0" not in octets


@pytest.mark.parametrize("name", RAW_BODIES)
def test_body(office: PostOffice, name: str) -> None:
    """Of a part, of a whole message, of one attached to that."""
    body = RAW_BODIES[name]
    part = Entity(b"Content-Type: text/plain; charset=latin1\r\n", body)
    message = multipart(b"=_a", part, attached(part.headed(b"Subject: x\r\n"))).headed(ENVELOPE)
    store(office, message)
    untouched = as_it_is(body) and (body.isascii() or "8BITMIME" in str(office.smtp.script["EHLO"]))
    for path, octets in (("/;SECTION=1", body), ("", message.octets), ("/;SECTION=2", message.parts[1].body)):
        included = assert_harmless(office, forward(f"/INBOX;UIDVALIDITY={UIDVALIDITY}/;UID=1{path}"))
        assert (included is None) == (b"\0" in body)
        if included is not None and untouched:
            assert included.body.removesuffix(b"\r\n") == mended(octets).removesuffix(b"\r\n")


@pytest.mark.parametrize("name", RAW_HEADERS)
def test_header(office: PostOffice, name: str) -> None:
    """Of a part, of a message that is not multipart, of one attached: nothing but Content- fields comes of it."""
    hostile = Entity(RAW_HEADERS[name], b"text\r\n" + DELIMITER + b"\r\n" + FORGED + CLOSE + b"\r\n")
    for message, section in (
        (multipart(b"=_a", hostile).headed(ENVELOPE), "1"),
        (hostile, "1"),
        (multipart(b"=_a", attached(hostile)).headed(ENVELOPE), "1.1"),
    ):
        store(office, message)
        included = assert_harmless(office, forward(f"/INBOX/;UID=1/;SECTION={section}"))
        assert included is None or all(map(ALLOWED.match, included.header.splitlines()))


@pytest.mark.parametrize("name", RAW_HEADERS)
def test_header_of_a_message(office: PostOffice, name: str) -> None:
    """As a whole, and attached to what is included."""
    hostile = Entity(RAW_HEADERS[name], b"text\r\n" + DELIMITER + b"\r\n" + FORGED + CLOSE + b"\r\n")
    for message in (hostile, multipart(b"=_a", attached(hostile)).headed(ENVELOPE)):
        store(office, message)
        included = assert_harmless(office, forward("/INBOX/;UID=1"))
        assert included is None or included.fields["content-type"] == "message/rfc822"


@pytest.mark.parametrize("name", RAW_HEADERS)
def test_header_of_the_whole_submission(office: PostOffice, name: str) -> None:
    """Neither author nor recipients nor trace can come with it, nor a second type."""
    store(office, Entity(RAW_HEADERS[name], b"text\r\n" + CLOSE + b"\r\n"))
    for path in ("", "/;SECTION=1"):
        office.smtp.messages.clear()
        answer = office.submit(ENVELOPE + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID=1{path}"))
        if answer != "OK SUBMIT completed":
            assert re.fullmatch(r"NO 5\.[36]\.\d [ -+\--~]+,", answer), answer
            continue
        assert_octets(office)
        header = office.arrived().header
        allowed = re.compile(rb"(?:date|to|message-id|mime-version|from|content-[!-9;-~]+)[ \t]*:|[ \t]", re.IGNORECASE)
        assert all(map(allowed.match, header.splitlines()))
        assert b"forged" not in header
        assert b"ann@" not in header


@pytest.mark.parametrize("name", RAW_BODIES)
def test_at_depth(office: PostOffice, name: str) -> None:
    """Every multipart around it is out of its reach."""
    body = RAW_BODIES[name]
    store(office, Entity(b"Content-Type: text/plain; charset=latin1\r\n", body))
    if office.submit(draft(BEFORE, nested(reference("/INBOX/;UID=1/;SECTION=1"), 3), AFTER)) != "OK SUBMIT completed":
        assert b"\0" in body
        return
    assert_octets(office)
    before, level, after = office.arrived().parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    for _ in range(3):
        assert level.around == (PREAMBLE, EPILOGUE)
        (level,) = level.parts
    if level.fields.get("content-transfer-encoding") is None:
        assert level.body.removesuffix(b"\r\n") == mended(body).removesuffix(b"\r\n")
