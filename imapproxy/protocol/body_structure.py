"""What BODYSTRUCTURE says of the parts of a message, found by their part numbers.

Part numbers: RFC 9051 section 6.4.5.1 (RFC 3501 6.4.5). The structure: section 7.5.2 and ``body`` in section 9. The
server is not trusted: a structure that is none ends in a ResponseError.
"""

import re
from itertools import takewhile
from typing import TypeGuard

from imapproxy.protocol.fetched import ResponseError, Value, number

List = tuple[Value, ...]


class NoSuchPart(LookupError):
    """The client's: the message has no part of that number."""


# section-part = nz-number *("." nz-number); nz-number = digit-nz *DIGIT ; 0 < n < 4,294,967,296
_SECTION_PART = re.compile(r"[1-9][0-9]{0,9}(?:\.[1-9][0-9]{0,9})*")


def part_size(body_structure: Value, section: str) -> int | None:
    """Return the octets of the part that ``section`` (``2.1``) names, as they are transferred.

    None where the structure does not say it, as of a multipart. Raise NoSuchPart where there is no such part, and
    ResponseError where the structure is none.
    """
    return _size(_part(body_structure, section))


def is_message_part(body_structure: Value, section: str) -> bool:
    """Tell whether that part is a message; raise as ``part_size`` does."""
    match _part(body_structure, section):
        case (bytes() as media, bytes() as subtype, *_):
            return _is_message(media, subtype)
    return False


def _part(body_structure: Value, section: str) -> Value:
    if not _SECTION_PART.fullmatch(section):
        raise NoSuchPart
    part: Value = None
    parts = _parts_of_message(body_structure)
    for position in map(int, section.split(".")):
        if position > len(parts):
            raise NoSuchPart
        part = parts[position - 1]
        parts = _parts_of_part(part)
    return part


def _parts_of_message(body: Value) -> List:
    # "Every message has at least one part number": a message that is no multipart is its own part 1.
    return _parts_of_multipart(body) if _is_multipart(body) else (body,)


def _parts_of_part(body: Value) -> List:
    # body-type-msg = media-message SP body-fields SP envelope SP body SP body-fld-lines
    # media-message = DQUOTE "MESSAGE" DQUOTE SP DQUOTE ("RFC822" / "GLOBAL") DQUOTE; body-fields are five
    # An envelope is a list. Servers that take the part for an ordinary one have there no list but an MD5 or NIL.
    if _is_multipart(body):
        return _parts_of_multipart(body)
    match body:
        case (bytes() as media, bytes() as subtype, _, _, _, _, _, tuple(), message, *_) if _is_message(media, subtype):
            return _parts_of_message(message)
    return ()


def _is_message(media: bytes, subtype: bytes) -> bool:
    return media.upper() == b"MESSAGE" and subtype.upper() in {b"RFC822", b"GLOBAL"}


def _is_multipart(body: Value) -> TypeGuard[List]:
    # body-type-mpart = 1*body SP media-subtype [SP body-ext-mpart]; any other body begins with a string
    return isinstance(body, tuple) and bool(body) and isinstance(body[0], tuple)


def _parts_of_multipart(body: List) -> List:
    return tuple(takewhile(lambda part: isinstance(part, tuple), body))


def _size(body: Value) -> int | None:
    # body-type-basic = media-basic SP body-fields; a text and a message begin so too
    # body-fields = body-fld-param SP body-fld-id SP body-fld-desc SP body-fld-enc SP body-fld-octets
    if _is_multipart(body):
        return None
    match body:
        case (bytes(), bytes(), _, _, _, _, octets, *_):
            return number(octets)
    raise ResponseError("the IMAP server sent a body structure that is none")
