"""Header text for servers that carry US-ASCII only, and header lines that no server carries.

    display names, comments, unstructured text   encoded-words (RFC 2047)
    parameters of MIME fields                     RFC 2231
    domains                                       A-labels (RFC 5890)
    local parts                                   cannot be written: refused (RFC 6531)

Text that is no UTF-8 is said to be `unknown-8bit` (RFC 1428, 3). A field that needs none of this keeps its octets.
"""

import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Literal
from urllib.parse import quote

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import AddressError, Stretch, parse_address_list
from imapproxy.message.draft import MAX_LINE, has_long_line
from imapproxy.message.fields import Field
from imapproxy.message.mime import PARAMETER

# What may stand in a header: "any" within a body that goes out with 8BITMIME.
Repertoire = Literal["us-ascii", "utf-8", "any"]

_ADDRESS_FIELDS = frozenset(
    f"{prefix}{name}" for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
) | {"disposition-notification-to", "return-receipt-to", "errors-to", "mail-followup-to", "mail-reply-to"}
_PARAMETER_FIELDS = frozenset({"content-type", "content-disposition"})

# RFC 5322, 2.1.1: a line should have no more than 78; RFC 2047, 2: one with an encoded-word no more than 76.
_FULL_LINE = 76
# RFC 2047, 2: at most 75; a "Subject: " fits before it.
_MAX_ENCODED_WORD = 64
# RFC 2231, 3: a section of a parameter, its percent signs included, on a line of its own.
_MAX_SECTION = 54

# A bare name in an address field needs no domain to be encoded.
_NO_DOMAIN = "invalid"

_WORD = re.compile(r"([ \t]*)([^ \t]+)")
# encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
_ENCODED_WORD = re.compile(r"=\?[^?]+\?[BbQq]\?[^?]*\?=")
_RAW_WORD = re.compile(rb"[ \t]*[^ \t]+")
# RFC 2047, 5 (3): what may stand for itself in a phrase; elsewhere more may, but need not
_Q = {
    octet: chr(octet) if chr(octet).isalnum() or octet in b"!*+-/" else "_" if octet == 0x20 else f"={octet:02X}"
    for octet in range(128)
} | {octet: f"={octet:02X}" for octet in range(128, 256)}


def transportable(field: Field, repertoire: Repertoire) -> Field:
    """Return a field with the same meaning that holds no other text and no line over 998 octets; or refuse."""
    if not _is_within(field.raw, repertoire):
        return _folded(field.name, _encoded(field))
    if has_long_line(field.raw, 0, len(field.raw)):
        return _folded(field.name, field.raw.replace(b"\r\n", b""))
    return field


def _is_within(raw: bytes, repertoire: Repertoire) -> bool:
    if raw.isascii() or repertoire == "any":
        return True
    if repertoire == "us-ascii":
        return False
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _encoded(field: Field) -> bytes:
    text = field.text
    if field.key in _ADDRESS_FIELDS:
        encoded = _encoded_addresses(field.name, text)
    elif field.key in _PARAMETER_FIELDS:
        encoded = _encoded_parameters(text)
    else:
        encoded = _encoded_text(text)
    if not encoded.isascii():
        raise SubmissionRefused(f"5.6.7 {field.name} needs a mail server with SMTPUTF8")
    return f"{field.name}: {encoded}".encode("ascii")


def _folded(name: str, line: bytes) -> Field:
    """Fold a line before white space, which is no part of its meaning (RFC 5322, 2.2.3)."""
    lines = [b""]
    # Each run of white space is searched for the word behind it: one behind the last word from each of its octets.
    for word in _RAW_WORD.findall(line.rstrip(b" \t")):
        full = MAX_LINE if lines == [name.encode() + b":"] else _FULL_LINE
        if lines[-1] and len(lines[-1]) + len(word) > full:
            lines.append(b"")
        lines[-1] += word
    if max(map(len, lines)) > MAX_LINE:
        raise SubmissionRefused("5.6.0 header line too long")
    return Field(name, b"\r\n".join(lines) + b"\r\n")


def _encoded_text(text: str) -> str:
    """Return unstructured text with its words that are not US-ASCII encoded, and the space between two such words."""
    charset = _charset(text)
    groups = [(ascii_only, list(words)) for ascii_only, words in groupby(_WORD.findall(text), _is_ascii_word)]
    pieces: list[str] = []
    for index, (ascii_only, words) in enumerate(groups):
        joined = "".join(space + word for space, word in words)
        if ascii_only:
            pieces.append(joined)
            continue
        space = words[0][0]
        # A reader drops the space between encoded-words: what separates ours from one that was there is encoded too.
        before = space if index and _ENCODED_WORD.fullmatch(groups[index - 1][1][-1][1]) else ""
        after = groups[index + 1][1][0] if index + 1 < len(groups) else ("", "")
        trailing = after[0] if _ENCODED_WORD.fullmatch(after[1]) else ""
        pieces.append(space + _encoded_words(before + joined[len(space) :] + trailing, charset))
    return "".join(pieces)


def _is_ascii_word(word: tuple[str, str]) -> bool:
    return word[1].isascii()


def _encoded_addresses(name: str, text: str) -> str:
    try:
        addresses = parse_address_list(text, _NO_DOMAIN)
    except AddressError:
        return _encoded_text(text)
    if any(mailbox.address.needs_smtputf8 for mailbox in addresses.mailboxes):
        raise SubmissionRefused(f"5.6.7 {name} holds an address that needs a mail server with SMTPUTF8")
    charset = _charset(text)
    replaced = [
        *addresses.domains,
        *(Stretch(at.start, at.end, _encoded_words(at.meaning, charset)) for at in addresses.phrases),
        *(Stretch(at.start, at.end, f"({_encoded_words(at.meaning, charset)})") for at in addresses.comments),
    ]
    return _replaced(text, [at for at in replaced if not text[at.start : at.end].isascii()])


def _replaced(text: str, stretches: Sequence[Stretch]) -> str:
    pieces: list[str] = []
    position = 0
    for at in sorted(stretches, key=lambda at: at.start):
        pieces += text[position : at.start], at.meaning
        position = at.end
    return "".join([*pieces, text[position:]])


def _encoded_parameters(text: str) -> str:
    """Write parameter = attribute "*" [section "*"] "=" charset "''" ext-octets."""
    charset = _charset(text)

    def extended(found: re.Match[str]) -> str:
        value = found[3] if found[2] is None else re.sub(r"\\(.)", r"\1", found[2])
        if value.isascii() or "*" in found[1]:
            return found[0]
        sections = list(_sections(value))
        if len(sections) == 1:
            return f"; {found[1]}*={charset}''{sections[0]}"
        charsets = (f"{charset}''", *("" for _ in sections[1:]))
        return "".join(
            f"; {found[1]}*{number}*={start}{section}"
            for number, (start, section) in enumerate(zip(charsets, sections, strict=True))
        )

    return PARAMETER.sub(extended, text)


def _sections(value: str) -> Iterator[str]:
    section = ""
    for octet in value.encode("utf-8", "surrogateescape"):
        written = quote(bytes([octet]), safe="")
        if len(section) + len(written) > _MAX_SECTION:
            yield section
            section = ""
        section += written
    yield section


def _charset(text: str) -> str:
    """Return what the text's octets were written in, as far as they tell."""
    return "unknown-8bit" if re.search("[\udc80-\udcff]", text) else "utf-8"


def _encoded_words(text: str, charset: str) -> str:
    """Write encoded-word = "=?" charset "?" encoding "?" encoded-text "?="; no character is cut in two."""
    characters = [char.encode("utf-8", "surrogateescape") for char in text]
    room = _MAX_ENCODED_WORD - len(f"=?{charset}?q??=")
    if sum(map(str.isascii, text)) * 2 >= len(text):  # RFC 2047, 4: "Q" where most of it is US-ASCII
        words = [_q(word) for word in _cut(characters, [len(_q(char)) for char in characters], room)]
        return " ".join(f"=?{charset}?q?{word}?=" for word in words)
    words = [b64encode(word).decode("ascii") for word in _cut(characters, list(map(len, characters)), room // 4 * 3)]
    return " ".join(f"=?{charset}?b?{word}?=" for word in words)


def _q(octets: bytes) -> str:
    return "".join(map(_Q.__getitem__, octets))


def _cut(characters: Sequence[bytes], costs: Sequence[int], room: int) -> Iterator[bytes]:
    word: list[bytes] = []
    left = room
    for character, cost in zip(characters, costs, strict=True):
        if cost > left:
            yield b"".join(word)
            word, left = [], room
        word.append(character)
        left -= cost
    yield b"".join(word)
