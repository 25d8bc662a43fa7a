"""What BODYSTRUCTURE says of the parts of a message, found by their part numbers or all in order.

Part numbers: RFC 9051 section 6.4.5.1 (RFC 3501 6.4.5). The structure: section 7.5.2 and ``body`` in section 9. The
server is not trusted: a structure that is none ends in a ResponseError.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import TypeGuard

from imapproxy.protocol.fetched import ResponseError, Value, number

List = tuple[Value, ...]


class NoSuchPart(LookupError):
    """The client's: the message has no part of that number."""


@dataclass(frozen=True, slots=True)
class LeafPart:
    """A part that is no multipart: its number, and what is said of it; nothing is decoded.

    Names are in lower case, as are those of parameters; ``disposition`` is empty where none is said.
    """

    section: str
    kind: bytes  # type and subtype, "application/pdf"
    size: int | None  # octets, as they are transferred
    parameters: Mapping[bytes, bytes]
    disposition: bytes
    disposition_parameters: Mapping[bytes, bytes]


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


def leaf_parts(body_structure: Value) -> Iterator[LeafPart]:
    """Yield the parts that are no multiparts, in order; behind a message those within it.

    Raise ResponseError where the structure is none.
    """
    yield from _leaves(_parts_of_message(body_structure), "")


def _leaves(parts: List, above: str) -> Iterator[LeafPart]:
    for position, part in enumerate(parts, 1):
        section = f"{above}{position}"
        if not _is_multipart(part):
            yield _leaf(part, section)
        yield from _leaves(_parts_of_part(part), f"{section}.")


def _leaf(body: Value, section: str) -> LeafPart:
    # body-type-1part = (body-type-basic / body-type-msg / body-type-text) [SP body-ext-1part]
    # body-ext-1part = body-fld-md5 [SP body-fld-dsp [SP body-fld-lang [SP body-fld-loc *(SP body-extension)]]]
    match body:
        case (bytes() as media, bytes() as subtype, parameters, _, _, _, octets, *rest):
            kind = b"%b/%b" % (media.lower(), subtype.lower())
            disposition, disposition_parameters = _disposition(rest[_own_fields(kind, rest) + 1 :])
            return LeafPart(
                section, kind, number(octets), _parameters(parameters), disposition, _parameters(disposition_parameters)
            )
    raise ResponseError("the IMAP server sent a body structure that is none")


def _own_fields(kind: bytes, rest: list[Value]) -> int:
    """Return how many fields of the type's own stand behind those that all types have."""
    if kind.startswith(b"text/"):
        return 1  # body-fld-lines
    is_read = kind in {b"message/rfc822", b"message/global"} and bool(rest) and isinstance(rest[0], tuple)
    return 3 if is_read else 0  # envelope, body, body-fld-lines


def _disposition(extension: list[Value]) -> tuple[bytes, Value]:
    # body-fld-dsp = "(" string SP body-fld-param ")" / nil
    match extension:
        case [(bytes() as disposition, parameters), *_]:
            return disposition.lower(), parameters
    return b"", None


def _parameters(value: Value) -> dict[bytes, bytes]:
    # body-fld-param = "(" string SP string *(SP string SP string) ")" / nil
    values = value if isinstance(value, tuple) else ()
    pairs = zip(values[::2], values[1::2], strict=False)
    return {name.lower(): said for name, said in pairs if isinstance(name, bytes) and isinstance(said, bytes)}


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
