"""The client's stream through ``CommandFramer``: the lines and literals are those that a slow reader reads.

The two ways to take a line must agree: the expression for commands that are just passed on, and the parser for all.
"""

from collections.abc import Sequence

from imapproxy.errors import LimitExceeded
from imapproxy.protocol.command import is_clean, parse_command, plain_command
from imapproxy.protocol.framing import CommandFramer, literal_at_end
from imapproxy.protocol.intake import MAX_LINE as LONGEST_LINE
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.reference import stream as reference

MAX_LINE = 200
OURS = (b"LOGIN", b"AUTHENTICATE", b"IDLE", b"SUBMIT")
PLAIN_COMMAND = plain_command(OURS)


def check(octets: bytes) -> None:
    """Frame a client's stream in every chunking."""
    expected, rest = reference.commands(octets, MAX_LINE)
    for line in octets.splitlines(keepends=True):
        _compare_readers(line)
    for chunks in chunkings(octets):
        found, held = _framed(chunks)
        assert found == b"".join(expected), (found, expected)
        assert held == rest[: len(held)]
        assert len(held) <= MAX_LINE or len(rest.partition(b"\n")[0]) >= MAX_LINE


def work(octets: bytes, packet: int) -> None:
    """Frame a client's stream whose lines may be as long as they ever may."""
    framer, literal = CommandFramer(LONGEST_LINE), 0
    for chunk in cut(octets, packet):
        framer.receive(chunk, len(chunk))
        try:
            literal = _take(framer, bytearray(), literal)
        except LimitExceeded:
            return
        framer.settle()


def _compare_readers(line: bytes) -> None:
    mark, literal = reference.mark_of(line), literal_at_end(line)
    assert (literal and tuple(literal)) == (mark and (mark.size, mark.synchronizing, mark.eight_bit))
    plain, command = PLAIN_COMMAND.fullmatch(line), parse_command(line)
    if plain is None:
        assert command is None or command.name in OURS or line.endswith(b"}\r\n")
        return
    assert command is not None
    assert (plain[1], plain[2].upper()) == (command.tag, command.name)
    assert command.name not in OURS
    assert literal is None
    assert is_clean(line)
    assert line.upper().startswith(command.tag.upper() + b" " + command.name)
    assert command.arguments in line


def _framed(chunks: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return what is taken of the chunks, one behind the other, and what is held of them in the end."""
    framer, taken, literal = CommandFramer(MAX_LINE), bytearray(), 0
    for chunk in chunks:
        buffer = bytearray(chunk)
        framer.receive(buffer, len(buffer))
        try:
            literal = _take(framer, taken, literal)
        except LimitExceeded:
            return bytes(taken), framer.rest()
        framer.settle()
        buffer[:] = b"#" * len(buffer)
    return bytes(taken), framer.rest()


def _take(framer: CommandFramer, taken: bytearray, literal: int) -> int:
    """Take all that is here, the octets still to come of a literal first; return how many are to come at the end."""
    while True:
        octets = bytes(framer.octets(literal))
        taken += octets
        literal -= len(octets)
        plain = framer.line_like(PLAIN_COMMAND) if not literal else None
        line = plain[0] if plain else framer.line() if not literal else None
        if line is None:
            return literal
        taken += line
        mark = literal_at_end(line)
        literal = mark.size if mark else 0
