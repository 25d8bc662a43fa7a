"""What a client may be told of what a server says: all of it, in order, but for capabilities that are not for it.

Between two responses, and nowhere else, lines of the proxy's may stand. No command is answered twice.
"""

import re
from collections import Counter
from collections.abc import Sequence

from tests.fuzz.reference.stream import is_read

# A line of ours: printable, bounded, tagged or not.
_OURS = re.compile(rb"(?:\+ |[^ \r\n+]+ (?:OK|NO|BAD|BYE) )[ -~]{0,600}\r\n")
# What is answered; and what a client's line begins with.
_TAGGED = re.compile(rb"^([^ \r\n*+][^ \r\n]*) (?:OK|NO|BAD)\b", re.MULTILINE | re.IGNORECASE)
_TAG = re.compile(rb"^[^ \r\n]+", re.MULTILINE)
_ADDED = {b"CAN-SUBMIT", b"STARTTLS", b"LOGINDISABLED", b"COMPRESS=DEFLATE"}


def check_told(told: bytes, said: Sequence[bytes], rest: bytes) -> bytes:
    """Fail where the client was told something else than what the server said; return what it was not told yet.

    ``said`` are whole responses, ``rest`` is what stands behind them.
    """
    position = 0
    for index, response in enumerate(said):
        while (length := _length_as_told(told, position, response)) is None:
            coming = b"".join(said[index:]) + rest
            if coming.startswith(told[position:]):
                return coming[len(told) - position :]
            position += len(_line_of_ours(told, position))
        position += length
    while not rest.startswith(told[position:]):
        position += len(_line_of_ours(told, position))
    return rest[len(told) - position :]


def check_answers(told: bytes, said: bytes) -> None:
    """Fail where a tag was answered more often than the client began a line with it: a command begins a line.

    That holds where the server answers what it is asked, without literals, and nothing is dropped at a STARTTLS.
    """
    excess = Counter(_TAGGED.findall(told)) - Counter(_TAG.findall(said))
    assert not excess, (excess, told)


def _line_of_ours(told: bytes, position: int) -> bytes:
    line = _line_at(told, position)
    assert _OURS.fullmatch(line), told[position:]
    return line


def _line_at(told: bytes, position: int) -> bytes:
    return told[position : told.find(b"\r\n", position) + 2]


def _length_as_told(told: bytes, position: int, response: bytes) -> int | None:
    """Return of how many octets the response is as the client was told it; None where it was not told it there."""
    said = _capabilities(response) if is_read(response) else None
    if said is None:
        return len(response) if told.startswith(response, position) else None
    line = _line_at(told, position)
    heard = _capabilities(line)
    if heard is None or (said[0], said[2]) != (heard[0], heard[2]):
        return None
    assert b"CAN-SUBMIT" in heard[1], (said, heard)
    added_from = heard[1].index(b"CAN-SUBMIT")
    kept, gone = heard[1][:added_from], [*said[1]]
    for item in kept:
        gone.remove(item)
    assert [item for item in said[1] if item not in gone] == kept, (said, heard)
    assert {*heard[1][added_from:]} <= _ADDED, (said, heard)
    assert all(map(_may_go, gone)), (said, heard)
    return len(line)


def _may_go(item: bytes) -> bool:
    return item.upper().startswith((b"AUTH=", b"STARTTLS", b"LOGINDISABLED", b"COMPRESS", b"CAN-SUBMIT"))


def _capabilities(line: bytes) -> tuple[bytes, list[bytes], bytes] | None:
    """Return what stands before a capability list, its items, and what stands behind it."""
    tag, _, rest = line.removesuffix(b"\r\n").partition(b" ")
    state, _, text = rest.partition(b" ")
    if tag == b"*" and state.upper() == b"CAPABILITY":
        start, end = len(b"* CAPABILITY"), len(line) - 2
    else:
        start = len(tag) + 1 + len(state) + 1 + len(b"[CAPABILITY")
        end = line.find(b"]", start)
        is_code = text[: len(b"[CAPABILITY")].upper() == b"[CAPABILITY" and line[start : start + 1] in {b" ", b"]"}
        if tag.startswith(b"+") or not is_code or end < 0:
            return None
    if b"\r" in line[start:end]:
        return None  # no capability: an atom holds no control character
    return line[:start], line[start:end].split(b" "), line[end:]
