"""Both streams of an IMAP connection cut into lines and literals, from all of the octets at once (RFC 9051, 4.3 and 9).

What the two directions have in common is the literal's mark at a line's end. A server's status response,
continuation or capability list holds none: what looks like one there is text.
"""

from dataclasses import dataclass

# Words behind a tag, or "*", that begin a response without literals.
_TAGGED = (b"OK", b"NO", b"BAD")
_UNTAGGED = (*_TAGGED, b"BYE", b"PREAUTH", b"CAPABILITY")
MAX_DIGITS = 20


@dataclass(frozen=True, slots=True)
class Mark:
    """A literal's mark."""

    size: int
    synchronizing: bool
    eight_bit: bool


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response of a server's, and whether it is one line that has to be read."""

    octets: bytes
    is_read: bool


def mark_of(line: bytes) -> Mark | None:
    """Return the mark at the end of a line, LF or CRLF behind it."""
    for end in (b"}\r\n", b"}\n"):
        if line.endswith(end):
            before, brace, number = line.removesuffix(end).rpartition(b"{")
            digits = number.removesuffix(b"+")
            if brace and 1 <= len(digits) <= MAX_DIGITS and all(octet in b"0123456789" for octet in digits):
                return Mark(int(digits), number == digits, before.endswith(b"~"))
            return None
    return None


def is_read(line: bytes) -> bool:
    """Tell whether a server's line, the first of a response, is a response without literals that has to be read."""
    if line[:1] == b"+":
        return True
    tag, space, rest = line.removesuffix(b"\r\n").partition(b" ")
    state = rest.split(b" ")[0].split(b"\r")[0].upper()
    if not space or not tag or b"\r" in tag:
        return False
    return state in (_UNTAGGED if tag == b"*" else _TAGGED) and (tag == b"*" or tag[:1] != b"*")


def responses(stream: bytes) -> tuple[list[Response], bytes]:
    """Return the whole responses of a server's stream, and what stands behind them."""
    found: list[Response] = []
    position = 0
    while (end := _end_of_response(stream, position)) is not None:
        octets = stream[position:end]
        found.append(Response(octets, is_read(octets[: octets.index(b"\r\n") + 2])))
        position = end
    return found, stream[position:]


def _end_of_response(stream: bytes, start: int) -> int | None:
    position = start
    while True:
        line_end = stream.find(b"\r\n", position) + 2
        if line_end < 2:
            return None
        line = stream[position:line_end]
        mark = mark_of(line)
        if mark is None or mark.synchronizing is False or (position == start and is_read(line)):
            return line_end
        position = line_end + mark.size
        if position > len(stream):
            return None


def commands(stream: bytes, max_line: int) -> tuple[list[bytes], bytes]:
    """Return a client's lines and literals in order, no matter what the server says, and what stands behind them.

    They end before a line over ``max_line`` octets, whole or not.
    """
    found: list[bytes] = []
    position = 0
    while (end := stream.find(b"\n", position) + 1) and end - position <= max_line:
        line = stream[position:end]
        found.append(line)
        position = end
        mark = mark_of(line)
        if mark is not None:
            literal = stream[position : position + mark.size]
            found.append(literal)
            position += len(literal)
            if len(literal) < mark.size:
                break
    return found, stream[position:]
