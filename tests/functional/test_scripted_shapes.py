"""Mail of whatever shape, referred to in whatever way, for either kind of SMTP server (DESIGN 4.1, 4.2).

Each example is a tree of parts, stored; a section of it, referred to from some depth; a server, with 8BITMIME or not.
What needs no change arrives as it is; in what does, each leaf decodes to what it was; what is signed is refused.
"""

import base64
import email
import email.policy
import quopri
import re
import zlib
from collections.abc import Iterator

import hypothesis
import pytest
from hypothesis import strategies as st

from tests.functional.delivered import Seen, seen
from tests.functional.drafts import AFTER, BEFORE, ENVELOPE, draft, nested, reference
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import Entity, attached, leaf, multipart, part_of, sections

EXAMPLES = 200

LINES = (
    *(b"hello", b"", b".", b"..", b"From x", b"=20 trailing ", b"tab\t", b"--=_client", b"--", b"a = b"),
    *("Grüße".encode(), b"\xff\xfe", b"x" * 998, b"x" * 999, "é".encode() * 700),
)
FIELDS = (b"", b"Content-Disposition: attachment; filename=x\r\n", "Content-Description: ü\r\n".encode())
ENCODINGS = (b"", b"7bit", b"8bit", b"binary", b"base64", b"quoted-printable")

texts = st.builds(
    lambda lines, end: b"\r\n".join(lines) + end,
    st.lists(st.sampled_from(LINES), max_size=6),
    st.sampled_from([b"", b"\r\n"]),
)


def encoded(kind: str, text: bytes, encoding: bytes, fields: bytes) -> Entity:
    label = b"Content-Transfer-Encoding: %b\r\n" % encoding if encoding else b""
    body = {
        b"base64": base64.encodebytes(text).replace(b"\n", b"\r\n"),
        b"quoted-printable": quopri.encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"),
    }.get(encoding, text)
    return leaf(kind, body, label + fields)


leaves = st.builds(
    encoded,
    st.sampled_from(["text/plain", "text/html; charset=utf-8", "application/x", 'image/png; name="a b.png"']),
    texts,
    st.sampled_from(ENCODINGS),
    st.sampled_from(FIELDS),
) | st.builds(lambda text: Entity(b"", text), texts)


def composed(parts: list[Entity], subtype: str) -> Entity:
    """A boundary like no other: it depends on all that it encloses."""
    return multipart(b"=_%08x" % zlib.crc32(b"".join(part.octets for part in parts)), *parts, subtype=subtype)


def inner(parts: st.SearchStrategy[Entity]) -> st.SearchStrategy[Entity]:
    subtypes = st.sampled_from(["mixed", "mixed", "alternative", "related", "signed"])
    labels = st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n", b"Content-Transfer-Encoding: 7bit\r\n"])
    messages = parts.map(lambda part: part.headed(b"Subject: inside\r\nMIME-Version: 1.0\r\n"))
    return st.builds(composed, st.lists(parts, min_size=1, max_size=3), subtypes) | st.builds(
        attached, messages, labels
    )


messages = st.recursive(leaves, inner, max_leaves=6).map(lambda part: part.headed(b"Subject: stored\r\n"))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("shapes"), {}) as opened:
        yield opened


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(message=messages, data=st.data(), eight_bit=st.booleans())
def test_any_part_of_any_message(office: PostOffice, message: Entity, data: st.DataObject, eight_bit: bool) -> None:
    name = data.draw(st.sampled_from([name for name in sections(message) if not re.search("[A-Z]", name)]))
    depth = data.draw(st.none() | st.integers(0, 2))  # None: it is the whole submission
    referring = reference(f"/INBOX/;UID=1{name and '/;SECTION='}{name}")
    named = part_of(message, name)
    with office.performance():
        office.smtp.script["EHLO"] = "250-fake\n250 8BITMIME" if eight_bit else "250 fake"
        office.imap.mailboxes[b"INBOX"] = {1: message}
        if depth is None:
            answer, expected = office.submit(ENVELOPE + referring), named
        else:
            answer = office.submit(draft(BEFORE, nested(referring, depth), AFTER))
            expected = named if name else attached(message)
        if is_sealed(expected, eight_bit):
            assert answer == "NO 5.6.3 a signed part cannot be converted,"
            return
        assert answer == "OK SUBMIT completed"
        assert_same(expected, office.arrived() if depth is None else included(office.arrived(), depth), eight_bit)


def included(arrived: Seen, depth: int) -> Seen:
    before, part, after = arrived.parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    for _ in range(depth):
        (part,) = part.parts
    return part


def is_fit(octets: bytes, eight_bit: bool) -> bool:
    return (eight_bit or octets.isascii()) and max(map(len, octets.split(b"\r\n"))) <= 998


def is_sealed(part: Entity, eight_bit: bool) -> bool:
    """Whether something signed would have to be converted."""
    if is_fit(part.body, eight_bit):
        return False
    return part.kind == "multipart/signed" or any(is_sealed(within, eight_bit) for within in part.parts)


def assert_same(expected: Entity, arrived: Seen, eight_bit: bool) -> None:
    assert is_fit(arrived.body, eight_bit)
    assert arrived.fields.get("content-type", "text/plain").partition(";")[0] == expected.kind
    if is_fit(expected.body, eight_bit):
        assert arrived.body.removesuffix(b"\r\n") == expected.body.removesuffix(b"\r\n")
    elif expected.kind == "message/rfc822":
        assert_same(expected.parts[0], seen(arrived.body), eight_bit)
    elif expected.parts:
        for part, within in zip(expected.parts, arrived.parts, strict=True):
            assert_same(part, within, eight_bit)
    else:
        assert decoded(arrived.header, arrived.body) == decoded(expected.header, expected.body)


def decoded(header: bytes, body: bytes) -> bytes:
    """Return what a leaf says, but for line ends at the end, which an encoding may add."""
    payload = email.message_from_bytes(header + b"\r\n" + body, policy=email.policy.compat32).get_payload(decode=True)
    assert isinstance(payload, bytes)
    return re.sub(rb"\r\n|\n", b"\r\n", payload).rstrip(b"\r\n")
