"""What a part becomes that refers to the user's mail (DESIGN 4.2), between each real IMAP server and real Postfix.

Each test's user is its own; mail is stored by the server, read by the proxy, and looked at behind Postfix.
"""

import re
from collections.abc import Iterator

import pytest

from tests.functional.delivered import Seen, seen
from tests.functional.drafts import (
    AFTER,
    BEFORE,
    BOUNDARY,
    ENVELOPE,
    EPILOGUE,
    PREAMBLE,
    composite,
    draft,
    forward,
    nested,
    reference,
)
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.imap_servers import ImapServer, RealImapServer
from tests.functional.mail_tree import Entity, attached, leaf, multipart, sections
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

# What must not leak from a stored message of which a part is taken.
PRIVATE = (
    b"Return-Path: <private@example.com>\r\nReceived: from private\r\n\tby private; Mon, 7 Feb 1994 21:52:25 -0800\r\n"
    b"From: private@example.com\r\nTo: private@example.com\r\nBcc: private@example.com\r\n"
    b"Subject: private\r\nX-Private: private\r\nMessage-ID: <private@example.com>\r\nMIME-Version: 1.0\r\n"
)
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
PDF = leaf(
    'application/pdf;\r\n\tname="a;b \\"c\\".pdf"',
    b"JVBERi0xLjQK\r\n" * 300,
    BASE64 + b"Content-Disposition: attachment; filename=a.pdf\r\nContent-ID: <pdf@example.com>\r\n"
    b"Content-MD5: Q2hlY2sgSW50ZWdyaXR5IQ==\r\nX-Part: private\r\n",
)
NOTE = leaf("text/plain; charset=utf-8", "Grüße\r\n-- \r\n.\r\n..\r\n".encode(), b"Content-Transfer-Encoding: 8bit\r\n")
CHOICE = multipart(b"=_choice", NOTE, leaf("text/html", b"<p>Hi</p>\r\n"), subtype="alternative")
INSIDE = multipart(b"=_inside", NOTE, PDF).headed(
    b"Subject: inside\r\nFrom: inside@example.com\r\nMIME-Version: 1.0\r\n"
)
MESSAGE = multipart(b"=_stored", CHOICE, PDF, attached(INSIDE, b"Content-Description: inside\r\n")).headed(PRIVATE)
SINGLE = leaf("text/x-log", b"first\r\n\r\n.\r\nlast\r\n", b"Content-Language: en\r\n").headed(PRIVATE)
NAKED = ENVELOPE + b"Subject: private\r\n\r\nNo MIME at all\r\n"


@pytest.fixture(scope="module")
def proxy(imap: RealImapServer, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("references"), imap.port, postfix.port) as running:
        yield running


@pytest.fixture
def fred(imap: RealImapServer, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(imap, postfix, proxy) as user:
        yield user


def assert_forward(arrived: Seen) -> Seen:
    """Check what the client wrote itself, and return what came in the reference's place."""
    before, included, after = arrived.parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert arrived.around == (PREAMBLE, EPILOGUE)
    assert arrived.boundary != BOUNDARY
    assert "; x=y" in arrived.fields["content-type"]
    return included


def assert_private(content: bytes) -> None:
    assert b"private" not in content.lower()


# What is included


def test_whole_message(fred: Correspondent) -> None:
    uid = fred.store(MESSAGE.octets)
    included = assert_forward(fred.forward(forward(f"/INBOX/;UID={uid}")))
    assert included.fields["content-type"] == "message/rfc822"
    assert set(included.fields) <= {"content-type", "content-transfer-encoding"}
    assert included.body == MESSAGE.octets


@pytest.mark.parametrize("name", ["1", "1.1", "1.2", "2", "3", "3.1", "3.2"])
def test_part(fred: Correspondent, name: str) -> None:
    """With its own Content- fields, each as it is, and no other; its body encoded as it is."""
    uid = fred.store(MESSAGE.octets)
    included = assert_forward(fred.forward(forward(f"/INBOX/;UID={uid}/;SECTION={name}")))
    expected = sections(MESSAGE)
    assert included.body == expected[name]
    own = [field for field in fields_of(expected[f"{name}.MIME"]) if field.lower().startswith(b"content-")]
    assert sorted(fields_of(included.header)) == sorted(own)


def fields_of(header: bytes) -> list[bytes]:
    """Return the fields, folded as they are."""
    return re.findall(rb"[^\r\n]+\r\n(?:[ \t][^\r\n]*\r\n)*", header)


def test_part_of_a_message_that_is_not_multipart(fred: Correspondent) -> None:
    uid = fred.store(SINGLE.octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1"))
    included = assert_forward(seen(content))
    assert included == Seen(b"Content-Type: text/x-log\r\nContent-Language: en\r\n", SINGLE.body)
    assert_private(content)


def test_part_of_a_message_without_mime(fred: Correspondent) -> None:
    uid = fred.store(NAKED)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1"))
    included = assert_forward(seen(content))
    assert included.body == b"No MIME at all\r\n"
    assert included.fields.get("content-type", "text/plain").startswith("text/plain")
    assert_private(content)


@pytest.mark.parametrize("name", ["1.1", "2.1", "3", "3.1"])
def test_part_without_a_header(fred: Correspondent, imap_row: ImapServer, name: str) -> None:
    """First in a multipart within a multipart, or in an attached message, or all of that: plain text, nothing else."""
    bare = Entity(b"", b"bare\r\n")
    naked = Entity(b"", b"bare\r\n", "text/plain")
    inner = multipart(b"=_inner", bare, PDF)
    other = attached(multipart(b"=_other", bare).headed(PRIVATE))
    uid = fred.store(multipart(b"=_stored", inner, other, attached(naked)).headed(PRIVATE).octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION={name}"))
    included = assert_forward(seen(content))
    if name == "3":
        assert included.fields == {"content-type": "message/rfc822"}
    else:
        body = b"bare\r\n" + (imap_row.after_attached_text if name == "3.1" else b"")
        assert included == Seen(b"", body) or included == Seen(b"Content-Type: text/plain\r\n", body)
    assert_private(content)


def test_part_leaks_nothing_of_its_message(fred: Correspondent) -> None:
    uid = fred.store(MESSAGE.octets)
    assert_private(fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1")))


def test_part_of_an_attached_message_that_is_not_multipart(fred: Correspondent, imap_row: ImapServer) -> None:
    uid = fred.store(multipart(b"=_stored", attached(SINGLE)).headed(PRIVATE).octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1.1"))
    body = SINGLE.body + imap_row.after_attached_text
    assert assert_forward(seen(content)) == Seen(b"Content-Type: text/x-log\r\nContent-Language: en\r\n", body)
    assert_private(content)


# The whole submission

OWN = b"From: {user}@example.com\r\nSubject: mine\r\nX-Mine: yes\r\n"


def test_draft_on_the_server_is_sent(fred: Correspondent) -> None:
    """Its Content- fields and its body; all other fields are the submission's own."""
    uid = fred.store(MESSAGE.octets)
    own = ENVELOPE + OWN.replace(b"{user}", fred.user.encode())
    arrived = fred.forward(own + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID={uid}"))
    assert arrived.body == MESSAGE.body
    assert "private" not in arrived.header.decode()
    assert arrived.fields["content-type"] == 'multipart/mixed; boundary="=_stored"'
    assert [arrived.fields[name] for name in ("subject", "x-mine", "mime-version")] == ["mine", "yes", "1.0"]
    assert arrived.header.startswith(own)


def test_part_is_sent_as_the_whole_message(fred: Correspondent) -> None:
    uid = fred.store(MESSAGE.octets)
    whole = ENVELOPE + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID={uid}/;SECTION=2")
    arrived = fred.forward(whole)
    assert arrived.body.removesuffix(b"\r\n") == PDF.body.removesuffix(b"\r\n")
    assert arrived.fields["content-md5"] == "Q2hlY2sgSW50ZWdyaXR5IQ=="
    assert "x-part" not in arrived.fields
    assert arrived.fields["mime-version"] == "1.0"


def test_draft_without_mime_is_sent(fred: Correspondent) -> None:
    uid = fred.store(NAKED)
    arrived = fred.forward(ENVELOPE + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID={uid}"))
    assert arrived.body == b"No MIME at all\r\n"
    assert "private" not in arrived.header.decode()
    assert arrived.fields.get("content-type", "text/plain").startswith("text/plain")


# What the client may say about it

PHANTOM = (
    b"Content-Type: text/html; charset=x\r\nContent-Transfer-Encoding: 8bit\r\nContent-MD5: forged\r\n"
    b"Content-Disposition: attachment;\r\n\tfilename=other.pdf\r\ncontent-description: mine\r\n"
    b"Content-ID: <mine@example.com>\r\nContent-Language: de\r\nContent-Location: http://example.com/\r\n"
    b"Content-Duration: 5\r\nSubject: private\r\nX-Other: private\r\nBcc: private@example.com\r\n"
)
OVERRIDES = {
    "content-disposition": "attachment;\tfilename=other.pdf",
    "content-description": "mine",
    "content-id": "<mine@example.com>",
    "content-language": "de",
    "content-location": "http://example.com/",
}


def test_phantom_header_overrides_five_fields_of_a_part(fred: Correspondent) -> None:
    uid = fred.store(MESSAGE.octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=2", PHANTOM))
    included = assert_forward(seen(content))
    assert included.fields == OVERRIDES | {
        "content-type": 'application/pdf;\tname="a;b \\"c\\".pdf"',
        "content-transfer-encoding": "base64",
        "content-md5": "Q2hlY2sgSW50ZWdyaXR5IQ==",
    }
    assert included.body == PDF.body
    assert_private(content)


def test_phantom_header_overrides_five_fields_of_a_message(fred: Correspondent) -> None:
    uid = fred.store(SINGLE.octets)
    included = assert_forward(fred.forward(forward(f"/INBOX/;UID={uid}", PHANTOM)))
    encoding = included.fields.get("content-transfer-encoding", "7bit")
    assert encoding in {"7bit", "8bit", "binary"}
    assert included.fields == OVERRIDES | {"content-type": "message/rfc822"} | (
        {"content-transfer-encoding": encoding} if "content-transfer-encoding" in included.fields else {}
    )
    assert included.body == SINGLE.octets


# How many, and where


def test_several_from_several_mailboxes(fred: Correspondent) -> None:
    mailbox = fred.new_mailbox("Other")
    first, second, other = fred.store(MESSAGE.octets), fred.store(SINGLE.octets), fred.store(NAKED, mailbox)
    urls = [
        f"/{mailbox}/;UID={other}",
        f"/INBOX/;UID={first}/;SECTION=2",
        f"/INBOX/;UID={second}",
        f"/INBOX/;UID={first}",
    ]
    arrived = fred.forward(draft(*map(reference, [*urls, *urls])))
    bodies = [NAKED, PDF.body, SINGLE.octets, MESSAGE.octets]
    assert [part.body for part in arrived.parts] == bodies * 2


def test_at_depth_three(fred: Correspondent) -> None:
    """Every multipart around it gets a boundary of its own, and one beside it keeps its."""
    uid = fred.store(MESSAGE.octets)
    beside = composite(BEFORE, boundary=b"=_beside")
    arrived = fred.forward(draft(nested(reference(f"/INBOX/;UID={uid}/;SECTION=2"), 2), beside))
    around, untouched = arrived.parts
    assert untouched == seen(beside)
    (level,) = around.parts
    (included,) = level.parts
    assert included.body == PDF.body
    assert around.around == level.around == (PREAMBLE, EPILOGUE)
    boundaries = {arrived.boundary, around.boundary, level.boundary}
    assert len(boundaries) == 3
    assert not boundaries & {BOUNDARY, b"=_level0", b"=_level1", b"=_beside"}


def test_boundaries_are_new_each_time(fred: Correspondent) -> None:
    uid = fred.store(SINGLE.octets)
    boundaries = {fred.forward(forward(f"/INBOX/;UID={uid}")).boundary for _ in range(3)}
    assert len(boundaries) == 3


def test_what_is_included_is_not_searched(fred: Correspondent) -> None:
    """Neither in a whole message nor in a multipart of it."""
    target = fred.store(SINGLE.octets)
    whole = ENVELOPE + composite(BEFORE, reference(f"/INBOX/;UID={target}"))
    outer = fred.store(whole)
    included = assert_forward(fred.forward(forward(f"/INBOX/;UID={outer}")))
    assert included.body == whole
    as_submission = fred.forward(ENVELOPE + reference(f"/INBOX/;UID={outer}"))
    assert as_submission.body == whole.partition(b"\r\n\r\n")[2]


def test_a_url_without_its_slash_is_refused_and_nothing_is_sent(fred: Correspondent) -> None:
    url = f"INBOX/;UID={fred.store(SINGLE.octets)}"
    answer = fred.client.submit(forward(url))
    assert answer == f"NO 5.6.6 cannot read {url}: neither imap:// nor / at the beginning,"
    assert fred.client.noop()[0] == "OK"
    assert_forward(fred.forward(forward(f"/{url}")))  # and that is the next to arrive


def test_inside_an_attached_message_it_travels_untouched(fred: Correspondent) -> None:
    """Beside one that does not, too."""
    uid = fred.store(SINGLE.octets)
    inner = b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + composite(
        reference(f"/INBOX/;UID={uid}"), boundary=b"=_attached"
    )
    arrived = fred.forward(draft(inner, reference(f"/INBOX/;UID={uid}")))
    untouched, included = arrived.parts
    assert untouched == seen(inner)
    assert included.body == SINGLE.octets
