"""What is included, as the next server can take it (DESIGN 4.1): line ends, long lines, eight bits."""

import hashlib
import re
from collections.abc import Iterator

import pytest

from tests.functional.delivered import Seen, parsed, seen
from tests.functional.dovecot import Dovecot
from tests.functional.drafts import AFTER, BEFORE, ENVELOPE, forward, reference
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.mail_tree import Entity, attached, leaf, multipart
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

EIGHT_BIT = b"Content-Transfer-Encoding: 8bit\r\n"
NOTE = leaf("text/plain; charset=utf-8", "Grüße = été\r\n-- \r\n.\r\n".encode() * 100, EIGHT_BIT)
LATIN = leaf("text/plain; charset=latin1", bytes(range(0xA0, 0x100)) + b"\r\n", EIGHT_BIT)
UNLABELLED = leaf("text/plain; charset=utf-8", "naïve\r\n".encode())
LONG = leaf("text/plain", (b"x" * 99_000 + b" = end \r\n") * 3)
LONG_AND_EIGHT_BIT = leaf("text/html; charset=utf-8", "é".encode() * 3000 + b"\r\nshort\r\n", EIGHT_BIT)
BASE64 = leaf("application/x", b"AAECAwQF\r\n" * 500, b"Content-Transfer-Encoding: base64\r\n")
ONE_LINE_OF_BASE64 = leaf("application/x", b"AAECAwQF" * 5000, b"Content-Transfer-Encoding: base64\r\n")
SAMPLES = {
    "note": NOTE,
    "latin": LATIN,
    "unlabelled": UNLABELLED,
    "long": LONG,
    "long and eight-bit": LONG_AND_EIGHT_BIT,
    "base64": BASE64,
    "one line of base64": ONE_LINE_OF_BASE64,
}


def signed(part: Entity) -> Entity:
    return multipart(b"=_signed", part, leaf("application/pgp-signature", b"xyz\r\n"), subtype="signed")


@pytest.fixture(scope="module", params=["eight-bit", "seven-bit"])
def bits(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, postfix: Postfix, bits: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    port = postfix.port if bits == "eight-bit" else postfix.seven_bit_port
    with running_proxy(tmp_path_factory.mktemp(bits), dovecot.port, port) as running:
        yield running


@pytest.fixture
def fred(dovecot: Dovecot, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(dovecot, postfix, proxy) as user:
        yield user


def digest(part: Seen | Entity) -> str:
    """Return the digest of what a reader's program decodes."""
    content = parsed(part.header + b"\r\n" + part.body).get_payload(decode=True)
    assert isinstance(content, bytes)
    return hashlib.sha256(content.removesuffix(b"\r\n")).hexdigest()


def is_fit(octets: bytes, bits: str) -> bool:
    return (bits == "eight-bit" or octets.isascii()) and max(map(len, octets.split(b"\r\n"))) <= 998


def assert_fit(content: bytes, bits: str) -> None:
    assert is_fit(content, bits)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)


@pytest.mark.parametrize("name", SAMPLES)
def test_part(fred: Correspondent, bits: str, name: str) -> None:
    """Octet for octet where it may be so, with the same content where not."""
    part = SAMPLES[name]
    uid = fred.store(multipart(b"=_stored", part, BASE64).headed(b"MIME-Version: 1.0\r\n").octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1"))
    assert_fit(content, bits)
    before, included, after = seen(content).parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert included.fields["content-type"] == part.header.decode().partition("\r\n")[0].partition(": ")[2]
    assert digest(included) == digest(part)
    if is_fit(part.octets, bits):
        assert included == Seen(part.header, part.body)


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("depth", [0, 1])
def test_whole_message(fred: Correspondent, bits: str, name: str, depth: int) -> None:
    """Its parts, at whatever depth, are what is converted; those that need it and no other."""
    part = SAMPLES[name]
    message = multipart(b"=_stored", BASE64, part).headed(b"Subject: stored\r\nMIME-Version: 1.0\r\n")
    for _ in range(depth):
        message = multipart(b"=_outer", attached(message)).headed(b"Subject: outer\r\nMIME-Version: 1.0\r\n")
    uid = fred.store(message.octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}"))
    assert_fit(content, bits)
    _, included, _ = seen(content).parts
    assert included.fields["content-type"] == "message/rfc822"
    if is_fit(message.octets, bits):
        assert included.body == message.octets
    inner = seen(included.body)
    for _ in range(depth):
        (holder,) = inner.parts
        inner = seen(holder.body)
    untouched, converted = inner.parts
    assert untouched == Seen(BASE64.header, BASE64.body)
    assert digest(converted) == digest(part)


@pytest.mark.parametrize("name", ["note", "long"])
def test_whole_submission(fred: Correspondent, bits: str, name: str) -> None:
    part = SAMPLES[name]
    uid = fred.store(part.headed(b"Subject: stored\r\nMIME-Version: 1.0\r\n").octets)
    content = fred.send(ENVELOPE + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID={uid}"))
    assert_fit(content, bits)
    assert digest(seen(content)) == digest(part)


@pytest.mark.parametrize("name", ["note", "long", "base64"])
@pytest.mark.parametrize("whole", [False, True], ids=["section", "whole submission"])
def test_multipart(fred: Correspondent, bits: str, name: str, whole: bool) -> None:
    """Its first part is one too, though nothing stands before the first delimiter."""
    part = SAMPLES[name]
    inner = multipart(b"=_inner", part, BASE64, part)
    uid = fred.store(multipart(b"=_stored", inner, part).headed(b"MIME-Version: 1.0\r\n").octets)
    alone = fred.store(inner.headed(b"MIME-Version: 1.0\r\n").octets)
    if whole:
        content = fred.send(ENVELOPE + b"MIME-Version: 1.0\r\n" + reference(f"/INBOX/;UID={alone}"))
        included = seen(content)
    else:
        content = fred.send(forward(f"/INBOX/;UID={uid}/;SECTION=1"))
        _, included, _ = seen(content).parts
    assert_fit(content, bits)
    assert [digest(found) for found in included.parts] == [digest(part), digest(BASE64), digest(part)]
    assert included.parts[1] == Seen(BASE64.header, BASE64.body)


@pytest.mark.parametrize("end", [b"\r", b"\r.\r", b"\rMAIL FROM:<boss@example.com>\r.\r\n"])
def test_lone_cr(fred: Correspondent, bits: str, end: bytes) -> None:
    """Dovecot keeps it; to an SMTP server it would be a line end that one sees and another does not."""
    message = leaf("text/plain", b"first" + end + b"second\r\n").headed(b"Subject: one" + end + b"X: y\r\n")
    uid = fred.store(message.octets)
    content = fred.send(forward(f"/INBOX/;UID={uid}"))
    assert_fit(content, bits)
    _, included, _ = seen(content).parts
    assert included.body == re.sub(rb"\r\n|\r", b"\r\n", message.octets)


def test_signed_part_that_needs_nothing(fred: Correspondent) -> None:
    message = signed(BASE64).headed(b"Subject: signed\r\n")
    uid = fred.store(message.octets)
    _, included, _ = fred.forward(forward(f"/INBOX/;UID={uid}")).parts
    assert included.body == message.octets


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("part", [NOTE, LONG], ids=["note", "long"])
def test_signed_part_is_never_altered(fred: Correspondent, bits: str, depth: int, part: Entity) -> None:
    message = signed(part).headed(b"Subject: signed\r\n")
    for _ in range(depth):
        message = multipart(b"=_outer", attached(message)).headed(b"Subject: outer\r\n")
    uid = fred.store(message.octets)
    answer = fred.client.submit(forward(f"/INBOX/;UID={uid}"))
    if is_fit(message.octets, bits):
        assert answer == "OK SUBMIT completed"
        fred.arrival()
    else:
        assert answer == "NO 5.6.3 a signed part cannot be converted,"
    assert fred.send(ENVELOPE + b"\r\nnext\r\n").endswith(b"next\r\n")
