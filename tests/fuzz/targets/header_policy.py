"""A draft's header by the site's rules: a slow, strict reader says who gets the message, and who may have sent it.

The input's first octet chooses the policy for From (``c``, ``r``, ``t``), its second what the mail server offers
(``7``, ``8``, else everything); the rest is a draft.
"""

from dataclasses import replace
from email import policy
from typing import Literal

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.address import Address
from imapproxy.message.message import Extensions, Message, read_draft
from imapproxy.protocol.response import not_submitted
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.reference.addresses import Address as Expected
from tests.fuzz.reference.addresses import read_addresses
from tests.fuzz.reference.header import Header, destinations, read_header, resent_block
from tests.fuzz.reference.lines import lines_of
from tests.message.samples import ALL, EIGHT_BIT, FRED, SEVEN_BIT, SITE, STAMP, checked, normalised, nothing_kept

POLICIES: dict[bytes, Literal["check", "rewrite", "trust"]] = {b"c": "check", b"r": "rewrite", b"t": "trust"}
OFFERS = {b"7": SEVEN_BIT, b"8": EIGHT_BIT}
HOME = SITE.mail_domains[0]
OWN = {("fred", "example.com"), ("sales", "example.com")}

GOING = ("bcc", "resent-bcc", "return-path", "received", "delivered-to")
OURS = (*GOING, "date", "message-id", "from", "sender", "resent-from", "resent-sender", "resent-date")


def check(octets: bytes) -> None:
    """Send a draft."""
    chosen, offer, written = POLICIES.get(octets[:1], "check"), OFFERS.get(octets[1:2], ALL), octets[2:]
    site = replace(SITE, from_policy=chosen, references=False)
    try:
        draft = _normalised(written)
        message = read_draft(draft, site, FRED, STAMP).message([], nothing_kept)
        header = _check_recipients(message, draft)
        rendering = message.rendering(offer)
    except (ClientError, SubmissionRefused) as failure:
        answer = not_submitted(b"a", failure)
        assert answer.removesuffix(b"\r\n").decode("ascii").isprintable()
        return
    sent = checked(rendering.chunks(), rendering.size)
    assert rendering.smtputf8 <= offer.internationalized
    _check_header(header, sent, chosen)
    _check_transport(sent, offer, rendering.smtputf8)
    if offer is ALL:
        _check_untouched(header, draft, sent)


def work(octets: bytes, packet: int) -> None:
    """Send a draft."""
    chosen, offer, written = POLICIES.get(octets[:1], "check"), OFFERS.get(octets[1:2], ALL), octets[2:]
    site = replace(SITE, from_policy=chosen, references=False, max_recipients=1 << 20)
    try:
        message = read_draft(normalised(*cut(written, packet)), site, FRED, STAMP).message([], nothing_kept)
        for _chunk in message.rendering(offer).chunks():
            pass
    except (ClientError, SubmissionRefused) as failure:
        not_submitted(b"a", failure)


def _normalised(written: bytes) -> bytes:
    """Return the draft as a spool takes it, however it comes in."""
    draft, *others = [normalised(*chunks) for chunks in chunkings(written)]
    assert others == [draft, draft]
    lines = lines_of(written)
    assert draft in {b"\r\n".join(lines), b"\r\n".join([*lines, b""])}
    return draft


def _check_recipients(message: Message, draft: bytes) -> Header:
    header = read_header(draft)
    assert header is not None, draft
    expected: list[Expected] = []
    for field in destinations(header):
        addresses = read_addresses(field.value, HOME)
        assert addresses is not None, field
        for address in addresses:
            if not any(_key(address) == _key(other) for other in expected):
                expected.append(address)
    found = [_plain(address) for address in message.recipients]
    assert len(found) == len(expected), (found, expected)
    for address, other in zip(found, expected, strict=True):
        assert address.local == other.local, (found, expected)
        assert address.domain == other.domain or not other.domain.isascii(), (found, expected)
    _check_library_agrees(header, draft, found)
    return header


def _key(address: Expected) -> tuple[str, str]:
    return address.local.lower(), address.domain


def _plain(address: Address) -> Expected:
    local = address.local
    if local.startswith('"'):
        local = local[1:-1].replace("\\\\", "\0").replace("\\", "").replace("\0", "\\")
    assert not {*address.smtp} & {*"\r\n\0<>"}
    return Expected(local, address.domain.lower())


def _check_library_agrees(header: Header, draft: bytes, found: list[Expected]) -> None:
    """Fail where the standard library sees another recipient in a header that it finds no fault with."""
    if not draft.isascii() or len({field.name for field in destinations(header)}) != len(destinations(header)):
        return
    for field in destinations(header):
        try:
            parsed = policy.SMTP.header_factory(field.name.removeprefix("resent-"), field.value.strip())
            seen = [] if parsed.defects else list(parsed.addresses)
        except Exception:  # it has many ways to fail
            continue
        for address in seen:
            if address.domain and "=?" not in field.value:
                recipient = Expected(address.username, address.domain.lower())
                assert _key(recipient) in map(_key, found), (recipient, found)


def _check_header(header: Header, sent: bytes, chosen: str) -> None:
    left = read_header(sent)
    assert left is not None
    assert [field.name for field in left.named(*GOING)] == ["received"]
    assert left.fields[0].name == "received"
    assert len(left.named("message-id")) >= 1
    assert len(left.named("date")) >= 1
    prefix = "resent-" if resent_block(header.fields) else ""
    fields = resent_block(left.fields) if prefix else left.fields
    authors, senders = ([field for field in fields if field.name == prefix + name] for name in ("from", "sender"))
    assert len(authors) == 1
    assert len(senders) <= 1
    accountable = (senders or authors) if chosen == "trust" else [*authors, *senders]
    for field in accountable:
        addresses = read_addresses(field.value, None)
        assert addresses, field
        assert {_key(address) for address in addresses} <= OWN, field


def _check_transport(sent: bytes, offer: Extensions, smtputf8: bool) -> None:
    head, _, body = sent.partition(b"\r\n\r\n")
    assert body.isascii() or offer.eight_bit_mime
    assert head.isascii() or smtputf8


def _check_untouched(header: Header, draft: bytes, sent: bytes) -> None:
    """Fail where something changed that is neither the site's business nor in the way of sending it."""
    left = read_header(sent)
    assert left is not None
    before, after = (
        [field.octets for field in fields if field.name not in OURS and _is_fit(field.octets)]
        for fields in (header.fields, left.fields)
    )
    assert [octets for octets in before if octets not in after] == []
    if _is_fit(draft):
        assert before == after
        assert draft[header.size :] == sent[left.size :]


def _is_fit(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return max(map(len, octets.split(b"\r\n"))) <= 998
