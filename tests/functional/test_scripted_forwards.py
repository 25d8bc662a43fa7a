"""Drafts that refer to mail (DESIGN 4.2), in the many ways in which clients may write them, and what comes of each."""

import email
import email.policy
import re
from collections.abc import Iterator

import pytest

from tests.functional.delivered import Seen, seen
from tests.functional.drafts import AFTER, BEFORE, BOUNDARY, ENVELOPE, composite, draft, forward, nested, reference
from tests.functional.fake_mailboxes import no
from tests.functional.fake_smtp import CLOSE, RESET, Script
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import Entity, attached, leaf, multipart
from tests.functional.scripted import descriptors, eventually, open_files, pid_of, status_number

MIB = 1 << 20
PDF = leaf("application/pdf", b"JVBERi0xLjQK\r\n" * 20, b"Content-Transfer-Encoding: base64\r\n")
NOTE = leaf("text/plain; charset=utf-8", "Grüße\r\n".encode() * 20, b"Content-Transfer-Encoding: 8bit\r\n")
INSIDE = leaf("text/plain", b"inside\r\n").headed(b"Subject: inside\r\n")
DIGEST = multipart(b"=_digest", Entity(b"", INSIDE.octets, "message/rfc822", (INSIDE,)), subtype="digest")
MESSAGE = multipart(b"=_stored", NOTE, PDF, attached(INSIDE), DIGEST).headed(b"Subject: stored\r\n")
LARGE = leaf("text/plain", b"".join(b"%062d\r\n" % number for number in range(MIB // 64))).headed(b"Subject: large\r\n")
MANY = multipart(b"=_many", *[leaf("text/plain", b"%d" % number) for number in range(2000)])
MAILBOXES = {b"INBOX": {20: MESSAGE, 21: LARGE, 22: MANY}}
URL = "/INBOX/;UID=20/;SECTION=2"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("forwards"), MAILBOXES) as office:
        yield office


@pytest.fixture
def office(opened: PostOffice) -> Iterator[PostOffice]:
    with opened.performance():
        yield opened


def forwarded(office: PostOffice, whole: bytes) -> Seen:
    """Submit; return what arrives, which is read the same way by Python."""
    answer = office.submit(whole)
    assert answer == "OK SUBMIT completed", answer
    arrived = office.arrived()
    content = office.received().content
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    if message.is_multipart():
        assert len(message.get_payload()) == len(arrived.parts)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    return arrived


# How the reference is written


@pytest.mark.parametrize(
    "content_type",
    [
        b'message/external-body; access-type=URL; URL="%b"' % URL.encode(),
        b'MESSAGE/External-Body; ACCESS-TYPE="url"; url="%b"' % URL.encode(),
        b'message/external-body;\r\n\turl="/INBOX/\r\n\t;UID=20\r\n\t/;SECTION=2";\r\n access-type=url',
        b'message/external-body; (a comment; x=y) access-type=URL (URL="/x/;UID=1"); URL="%b"' % URL.encode(),
        b'message/external-body; expiration="x"; size=5; permission=read; access-type=URL; URL="%b"' % URL.encode(),
        b'message/external-body; access-type=URL; URL*0="/INBOX/;UID=20"; URL*1="/;SECTION=2"',
        b"message/external-body; access-type=URL; URL*=us-ascii''%2FINBOX%2F%3BUID=20%2F%3BSECTION=2",
        b'message/external-body; access-type=URL; URL="\\/INBOX/;UID=20/;SECTION=\\2"',
        b'message/external-body; access-type=URL; URL=" %b "' % URL.encode(),
        b'message/external-body; access-type=URL; URL="/inbox/;uid=20/;Section=2"',
    ],
)
@pytest.mark.parametrize("phantom", [b"\r\nContent-Type: x/y\r\n\r\n", b"\r\n\r\n", b"\r\n", b""])
def test_reference(office: PostOffice, content_type: bytes, phantom: bytes) -> None:
    office.imap.mailboxes[b"inbox"] = office.imap.mailboxes[b"INBOX"]  # INBOX is INBOX in any case
    part = b"Content-Type: " + content_type + b"\r\n" + phantom
    before, included, after = forwarded(office, draft(BEFORE, part, AFTER)).parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert included == Seen(PDF.header, PDF.body)


def test_reference_that_holds_no_header(office: PostOffice) -> None:
    part = reference(URL).rstrip() + b"\r\n\r\nno header at all\r\n"
    assert office.submit(draft(BEFORE, part)) == "NO 5.6.0 malformed header line,"
    office.assert_nobody_got_anything()


def test_fields_around_a_reference_say_nothing(office: PostOffice) -> None:
    """Only those of the phantom header do."""
    fields = b"Content-Disposition: inline\r\nContent-Description: x\r\nContent-ID: <x>\r\nX-Y: z\r\n"
    (included,) = forwarded(office, draft(reference(URL, b"Content-Language: de\r\n", fields))).parts
    assert included.fields == {
        "content-type": "application/pdf",
        "content-transfer-encoding": "base64",
        "content-language": "de",
    }


@pytest.mark.parametrize("ehlo", ["250-fake\n250 8BITMIME", "250 fake"])
def test_phantom_field_of_eight_bits_and_many(office: PostOffice, ehlo: str) -> None:
    office.smtp.script["EHLO"] = ehlo
    phantom = "Content-Description: Grüße\r\nContent-Disposition: attachment; filename=ü.pdf\r\n".encode()
    (included,) = forwarded(office, draft(reference(URL, phantom))).parts
    assert included.body == PDF.body
    assert "content-description" in included.fields
    assert included.header.isascii() or "8BITMIME" in ehlo


# How the draft is written

MULTIPART = (
    b"\r\n\r\n--%b\r\n" + BEFORE + b"\r\n--%b\r\n" + reference(URL) + b"\r\n--%b\r\n" + AFTER + b"\r\n--%b--\r\n"
)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (b'multipart/mixed; boundary="a b"', b"a b"),
        (b"multipart/mixed; boundary=simple", b"simple"),
        (b"Multipart/MIXED;\r\n BOUNDARY=simple;\r\n\tx=y", b"simple"),
        (b"multipart/mixed; boundary*0=sim; boundary*1=ple", b"simple"),
        (b"multipart/mixed; boundary*=us-ascii''s%69mple", b"simple"),
        (b'multipart/mixed; boundary="a\\"b"', b'a"b'),
        (b'multipart/mixed; (boundary=x) boundary=simple (boundary="y")', b"simple"),
        (b'multipart/mixed; boundary="--"', b"--"),
        (b"multipart/mixed; boundary=" + b"x" * 70, b"x" * 70),
        (b"multipart/mixed; boundary=simple; boundary=other", b"simple"),
        (b'multipart/mixed; name="; boundary=x"; boundary=simple', b"simple"),
        (b'multipart/related; boundary=simple; type="text/plain"; start="<x>"', b"simple"),
        (b"multipart/x-unknown; boundary=simple", b"simple"),
    ],
)
def test_boundary(office: PostOffice, content_type: bytes, boundary: bytes) -> None:
    """However it is written, the new one takes its place."""
    body = MULTIPART.replace(b"%b", boundary)
    arrived = forwarded(office, ENVELOPE + b"MIME-Version: 1.0\r\nContent-Type: " + content_type + body)
    before, included, after = arrived.parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert included.body == PDF.body
    assert arrived.boundary != boundary
    assert arrived.fields["content-type"].lower().startswith(content_type.partition(b";")[0].decode().lower())


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n"])
def test_draft_of_other_line_ends(office: PostOffice, end: bytes) -> None:
    before, included, after = forwarded(office, forward(URL).replace(b"\r\n", end)).parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert included.body == PDF.body


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(forward(URL).rpartition(b"\r\n--")[0], id="no close delimiter"),
        pytest.param(draft(BEFORE, reference(URL)).rpartition(b"\r\n\r\n--")[0], id="reference is the end"),
        pytest.param(draft(BEFORE, reference(URL)).rpartition(b"\r\n\r\n\r\n--")[0], id="reference ends in its header"),
        pytest.param(forward(URL) + b"--" + BOUNDARY + b"\r\n\r\nbehind the end\r\n", id="delimiter behind the end"),
        pytest.param(forward(URL).replace(b"--\r\nAnd", b"-- \t\r\nAnd"), id="padding"),
    ],
)
def test_draft_that_is_not_quite_right(office: PostOffice, whole: bytes) -> None:
    """Included, or refused; sent with the reference in it, never."""
    answer = office.submit(whole)
    if answer != "OK SUBMIT completed":
        assert re.fullmatch(r"NO 5\.6\.\d [ -+\--~]+,", answer), answer
        office.assert_nobody_got_anything()
        return
    content = office.received().content
    assert PDF.body.rstrip() in content
    assert b"external-body" not in content


def test_large_draft(office: PostOffice) -> None:
    """One that lies in a file itself."""
    text = b"Content-Type: text/plain\r\n\r\n" + b"".join(b"%062d\r\n" % number for number in range(3 * MIB // 64))
    arrived = forwarded(office, draft(text, reference(URL), text, reference("/INBOX/;UID=21")))
    assert [part.body for part in arrived.parts] == [seen(text).body, PDF.body, seen(text).body, LARGE.octets]


def test_boundaries_of_which_one_begins_like_the_other(office: PostOffice) -> None:
    inner = composite(reference(URL), boundary=BOUNDARY + b"2")
    beside = composite(BEFORE, boundary=BOUNDARY + b"-")
    first, second, third = forwarded(office, draft(inner, beside, BEFORE)).parts
    assert [part.body for part in first.parts] == [PDF.body]
    assert (second, third) == (seen(beside), seen(BEFORE))


def test_references_side_by_side_and_within_each_other(office: PostOffice) -> None:
    arrived = forwarded(office, draft(nested(reference(URL), 5), reference(URL), nested(BEFORE, 2)))
    deep, flat, beside = arrived.parts
    for _ in range(5):
        (deep,) = deep.parts
    assert deep == flat == Seen(PDF.header, PDF.body)
    assert beside == seen(nested(BEFORE, 2))


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n", b"\r", b"\n"])
def test_whole_submission_ends_in_a_line(office: PostOffice, end: bytes) -> None:
    """SIZE tells of the line end that is added; MIME-Version comes where the draft has none."""
    office.smtp.script["EHLO"] = "250-fake\n250-8BITMIME\n250 SIZE"
    office.imap.mailboxes[b"INBOX"][23] = leaf("text/plain", b"text" + end).headed(b"Subject: stored\r\n")
    for path in ("", "/;SECTION=1"):
        office.smtp.messages.clear()
        arrived = forwarded(office, ENVELOPE + reference(f"/INBOX/;UID=23{path}"))
        assert arrived.body == b"text" + (b"\r\n\r\n" if end == b"\r\n\r\n" else b"\r\n")
        assert list(arrived.fields) == ["date", "to", "message-id", "from", "mime-version", "content-type"]
        assert f" SIZE={len(office.received().content)}" in office.received().mail


# What is of another type by default


@pytest.mark.parametrize("outer", ["mixed", "digest"])
@pytest.mark.parametrize(
    ("section", "kind"),
    [
        ("/;SECTION=1", "text/plain"),
        ("/;SECTION=4.1", "message/rfc822"),
        ("/;SECTION=4.1.1", "text/plain"),
        ("", "message/rfc822"),
    ],
)
def test_parts_of_digests(office: PostOffice, outer: str, section: str, kind: str) -> None:
    """In a multipart/digest a part without Content-Type is a message; moved elsewhere, it still is what it was."""
    forwarded(office, draft(reference(f"/INBOX/;UID=20{section}"), subtype=outer))
    message = email.message_from_bytes(office.received().content, policy=email.policy.compat32)
    included = message.get_payload(0)
    assert isinstance(included, email.message.Message)
    assert included.get_content_type() == kind


def test_one_of_two_thousand_parts(office: PostOffice) -> None:
    (included,) = forwarded(office, draft(reference("/INBOX/;UID=22/;SECTION=1999"))).parts
    assert included.body == b"1998"


# What the SMTP server says


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ({"RCPT": "550 5.1.1 unknown"}, "NO ,joe@example.com"),
        ({"RCPT": "450 4.2.0 greylisted"}, "NO 450 4.2.0 greylisted,joe@example.com"),
        ({"MAIL": "552 5.3.4 too large"}, "NO 552 5.3.4 too large,"),
        ({"DATA": "451 4.3.0 later"}, "NO 451 4.3.0 later,"),
        ({".": "554 5.6.0 spam"}, "NO 554 5.6.0 spam,"),
        ({".": CLOSE}, "NO 4.4.2 delivery uncertain; no reply from the mail server,"),
        ({".": RESET}, "NO 4.4.2 delivery uncertain; no reply from the mail server,"),
    ],
)
def test_smtp_server_refuses(office: PostOffice, replies: dict[str, Script], answer: str) -> None:
    """Once; what fails at the mail server is not tried the other way."""
    office.smtp.script |= replies
    assert office.submit(forward("/INBOX/;UID=21")) == answer
    assert office.smtp.verbs().count("EHLO") == 1
    if "." not in replies:
        assert not office.smtp.messages
        assert b"BODY.PEEK[]<" not in b"".join(office.imap.commands)


def test_smtp_server_is_not_kept_waiting_by_a_refusal(office: PostOffice) -> None:
    """What is referred to is found before the mail server is spoken to about recipients."""
    office.imap.replies = {"EXAMINE": no(b"gone")}
    assert office.submit(forward(URL)).startswith("NO 5.6.6 ")
    assert "MAIL" not in office.smtp.verbs()


# What the client does


def test_client_that_goes_once_its_command_is_whole(office: PostOffice) -> None:
    whole = forward("/INBOX/;UID=21")
    with office.client() as client:
        client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(whole), whole))
    assert eventually(lambda: len(office.smtp.messages) == 1)
    assert office.arrived().parts[1].body == LARGE.octets


def test_several_in_one_breath(office: PostOffice) -> None:
    whole = forward(URL)
    with office.client() as client:
        client.send(b"".join(b"S%d SUBMIT {%d+}\r\n%b\r\n" % (number, len(whole), whole) for number in range(3)))
        for number in range(3):
            assert client.answer(b"S%d" % number) == b"OK SUBMIT completed"
    assert len(office.smtp.messages) == 3


def test_nothing_is_left_behind(office: PostOffice) -> None:
    """Neither descriptors, nor threads, nor files; whatever became of the submission."""
    pid = pid_of(office.proxy)
    office.imap.mailboxes[b"INBOX"][23] = leaf("text/plain", b"a\rb\r\n" * 300_000)
    wholes = [forward(f"/INBOX/;UID={uid}") for uid in (20, 21, 23, 99)]
    for whole in wholes:
        office.submit(whole)
    assert eventually(lambda: descriptors(pid) < 20)
    before = descriptors(pid), status_number(pid, "Threads")
    for whole in wholes * 3:
        office.submit(whole)
    assert eventually(lambda: descriptors(pid) <= before[0]), open_files(pid)
    assert status_number(pid, "Threads") <= before[1] + 1
    assert "secret" not in office.proxy.log()
