"""What a program hands to sendmail, as the draft that is submitted: it goes to those whom the caller named, to no more.

The input's first line holds letters (``t``: recipients are in the header too, ``s``: From is set, ``a``: something is
attached), the second the arguments with tabs between, then come the sender, the full name and the account's address on
a line each, empty where there is none; the rest is standard input.
"""

from imapproxy.message.reference_part import reference_part
from imapproxy.sendmail.draft import Envelope, draft_of, from_address
from imapproxy.sendmail.failure import Failure
from tests.fuzz.reference.addresses import Address, read_addresses
from tests.fuzz.reference.header import Header, destinations, read_header
from tests.fuzz.reference.lines import lines_of
from tests.fuzz.reference.mime import Doubtful, parts_of, read_entity

PART = reference_part("/INBOX/;UID=20", "a.png")
# Where bare names are in the mind of the slow reader, if the account does not say.
NOWHERE = "nowhere.invalid"

_ORIGINATOR = {"from", "sender", "reply-to", "to", "cc", "bcc"}
_CONTENT = {"content-type", "mime-version", "content-transfer-encoding"}


def check(octets: bytes) -> None:
    """Make a draft."""
    letters, written, envelope = _read(octets)
    draft = _draft(written, envelope, is_attached=b"a" in letters)
    if draft is None:
        return
    assert draft.count(b"\r\n") == draft.count(b"\r") == draft.count(b"\n")
    header = read_header(draft)
    assert header is not None, draft
    original = read_header(_lines(written))
    _check_recipients(header, original, envelope)
    if original is not None and original.fields and not original.fields[0].octets.startswith(b"From "):
        _check_untouched(header, original, is_attached=b"a" in letters)
        if b"a" not in letters:
            body = _lines(written)[original.size :].removeprefix(b"\r\n")
            assert draft[header.size + 2 :] in {body, body + b"\r\n"}
    if b"a" in letters:
        _check_attached(draft)


def work(octets: bytes, _packet: int) -> None:
    """Make a draft."""
    letters, written, envelope = _read(octets)
    _draft(written, envelope, is_attached=b"a" in letters)


def _read(octets: bytes) -> tuple[bytes, bytes, Envelope]:
    """Return the letters, what a program has written, and the envelope."""
    letters, arguments, sender, full_name, own, written = [*octets.split(b"\n", 5), *[b""] * 6][:6]
    return (
        letters,
        written,
        Envelope(
            recipients=tuple(filter(None, _text(arguments).split("\t"))),
            header_recipients=b"t" in letters,
            sender=_text(sender) or None,
            full_name=_text(full_name),
            from_=_text(own),
            set_from=b"s" in letters,
        ),
    )


def _draft(written: bytes, envelope: Envelope, is_attached: bool) -> bytes | None:
    """Return the draft, or None where there can be none and that can be said on a terminal."""
    try:
        from_address(written)
        return draft_of(written, envelope, [PART] if is_attached else [])
    except Failure as failure:
        reason = str(failure)
    assert reason.isprintable(), reason
    return None


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")


def _lines(octets: bytes) -> bytes:
    return b"\r\n".join(lines_of(octets))


def _check_recipients(header: Header, original: Header | None, envelope: Envelope) -> None:
    own = read_addresses(envelope.from_, None) if envelope.from_ else None
    home = own[0].domain if own else NOWHERE
    named = {_key(address) for argument in envelope.recipients for address in _addresses(argument, home)}
    if envelope.header_recipients and original is not None:
        named |= {_key(address) for field in destinations(original) for address in _addresses(field.value, home)}
    found = {_key(address) for field in destinations(header) for address in _addresses(field.value, home)}
    assert found, header
    if original is not None or not envelope.header_recipients:
        assert found == named, (found, named)


def _addresses(text: str, home: str) -> list[Address]:
    addresses = read_addresses(text, home)
    assert addresses is not None, text
    return addresses


def _key(address: Address) -> tuple[str, str]:
    domain = address.domain if address.domain.isascii() else address.domain.encode("idna").decode("ascii")
    return address.local.lower(), domain


def _check_untouched(header: Header, original: Header, is_attached: bool) -> None:
    """Fail where a field is another, or gone, that is nobody's address and says nothing of the body."""
    changing = _ORIGINATOR | (_CONTENT if is_attached else set())
    before, after = (
        [field.octets for field in fields.fields if not _may_change(field.name, changing, is_attached)]
        for fields in (original, header)
    )
    assert before == after, (before, after)


def _may_change(name: str, changing: set[str], is_attached: bool) -> bool:
    return name.removeprefix("resent-") in changing or (is_attached and name.startswith("content-"))


def _check_attached(draft: bytes) -> None:
    try:
        whole = read_entity(draft)
        *_, last = parts_of(whole)
    except Doubtful:
        return
    assert whole.kind == "multipart/mixed"
    assert last == PART.removesuffix(b"\r\n") or last == PART, last
    assert whole.header.named("mime-version")
