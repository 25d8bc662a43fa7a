"""What ``--find`` prints: messages and their parts, each on a line that begins with the URL that refers to it.

    /INBOX;UIDVALIDITY=1/;UID=20  1.2M  2026-11-01 10:00  Anna <anna@example.com>  The plans
    /INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2  1.1M  application/pdf  plans.pdf

Columns stand between tabs, and nothing of a message holds one. All of it is what the server says of a message (RFC
9051 section 7.5.2); no message is read.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from imapproxy.message.imap_url import MAX_NUMBER, MAX_SECTION_DEPTH, ImapUrl
from imapproxy.protocol.body_structure import LeafPart, leaf_parts
from imapproxy.protocol.fetched import Fetched, ResponseError, Value, number
from imapproxy.sendmail.header_text import decoded, parameter, shown

# What to FETCH of each message.
ITEMS = "UID RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE"

# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
# date-day-fixed = (SP DIGIT) / 2DIGIT ; time = 2DIGIT ":" 2DIGIT ":" 2DIGIT
_DATE_TIME = re.compile(rb" ?([0-9]{1,2})-([A-Z][a-z]{2})-([0-9]{4}) ([0-9]{2}:[0-9]{2}):[0-9]{2} [+-][0-9]{4}")
_MONTHS = [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"]

# Powers of 1024; a size is a number of 63 bits.
_UNITS = ["", "K", "M", "G", "T", "P", "E"]

# A message's own words, which are what it says and not what it brings.
_WORDS = frozenset({b"text/plain", b"text/html"})


def lines(mailbox: str, uidvalidity: int | None, fetched: Iterable[Fetched]) -> Iterator[str]:
    """Yield the lines of the messages of a mailbox (its name in Unicode), the newest first, without their ends.

    Raise ResponseError where the server describes a message in no such way, UrlError where no URL can name the mailbox.
    """
    messages = _by_uid(fetched)
    for uid in sorted(messages, reverse=True):
        yield from _message_lines(ImapUrl(mailbox, uid, uidvalidity), messages[uid])


def _by_uid(fetched: Iterable[Fetched]) -> Mapping[int, Mapping[str, Value]]:
    """Return what is told of each message that is described; a server may tell it piecemeal, and of others' flags."""
    told: dict[int, dict[str, Value]] = {}
    for answer in fetched:
        uid = answer.number_of("UID")
        if uid is None:
            continue
        if not 1 <= uid <= MAX_NUMBER:
            raise ResponseError("the IMAP server sent a UID that is none")
        told.setdefault(uid, {}).update(answer.items)
    return {uid: items for uid, items in told.items() if "ENVELOPE" in items and "BODYSTRUCTURE" in items}


def _message_lines(url: ImapUrl, items: Mapping[str, Value]) -> Iterator[str]:
    subject, sender = _subject_and_sender(items["ENVELOPE"])
    yield "\t".join(
        (str(url), _size(number(items.get("RFC822.SIZE"))), _date(items.get("INTERNALDATE")), sender, subject)
    )
    for part in leaf_parts(items["BODYSTRUCTURE"]):
        if _can_be_picked(part):
            yield _part_line(replace(url, section=part.section), part)


def _can_be_picked(part: LeafPart) -> bool:
    if part.section.count(".") >= MAX_SECTION_DEPTH:
        return False
    return part.kind not in _WORDS or part.disposition == b"attachment" or bool(_file_name(part))


def _part_line(url: ImapUrl, part: LeafPart) -> str:
    return "\t".join((str(url), _size(part.size), shown(part.kind.decode("ascii", "replace")), _file_name(part)))


def _file_name(part: LeafPart) -> str:
    return parameter(part.disposition_parameters, b"filename") or parameter(part.parameters, b"name")


def _subject_and_sender(envelope: Value) -> tuple[str, str]:
    # envelope = "(" env-date SP env-subject SP env-from SP env-sender SP env-reply-to SP env-to SP env-cc SP env-bcc
    #            SP env-in-reply-to SP env-message-id ")" ; env-from = "(" 1*address ")" / nil
    match envelope:
        case (_, bytes() | None as subject, (address, *_), *_):
            return decoded(subject), _address(address)
        case (_, bytes() | None as subject, None | (), *_):
            return decoded(subject), ""
    raise ResponseError("the IMAP server sent an envelope that is none")


def _address(address: Value) -> str:
    # address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
    match address:
        case (bytes() | None as name, _, bytes() | None as mailbox, bytes() | None as host):
            written = f"{decoded(mailbox)}@{decoded(host)}"
            return f"{decoded(name)} <{written}>" if name else written
    raise ResponseError("the IMAP server sent an address that is none")


def _date(date_time: Value) -> str:
    """Return day and time as the server writes them, in its own zone; nothing where they cannot be read."""
    match = _DATE_TIME.fullmatch(date_time) if isinstance(date_time, bytes) else None
    if match is None or match[2] not in _MONTHS:
        return ""
    day, month, year, time = int(match[1]), _MONTHS.index(match[2]) + 1, int(match[3]), match[4].decode("ascii")
    return f"{year:04}-{month:02}-{day:02} {time}"


def _size(octets: int | None) -> str:
    """Return octets as a person reads them, of two figures at least, rounded up (K is 1024, M and G likewise)."""
    if octets is None:
        return ""
    if octets < 1024:
        return str(octets)
    power = (octets.bit_length() - 1) // 10
    tenths = -(-octets * 10 // 1024**power)
    return f"{tenths // 10}.{tenths % 10}{_UNITS[power]}" if tenths < 100 else f"{-(-tenths // 10)}{_UNITS[power]}"
