"""The server's stream through ``ResponseFramer``: nothing changes, and lines are those that a slow reader reads."""

from collections.abc import Sequence
from itertools import accumulate

from imapproxy.errors import UpstreamError
from imapproxy.protocol.framing import Line, PassedLine, ResponseFramer
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.reference import stream as reference

# "{", 20 digits, "}", CRLF: what may be a literal's mark is held.
MAX_HELD_OF_DATA = 24


def check(octets: bytes) -> None:
    """Frame a server's stream in every chunking."""
    whole, rest = reference.responses(octets)
    boundaries = {0, *accumulate(len(response.octets) for response in whole)}
    lines = [response.octets for response in whole if response.is_read]
    for chunks in chunkings(octets):
        given_out, found, may_speak = _framed(chunks)
        assert octets.startswith(given_out)
        assert found == lines, (found, lines)
        held = octets[len(given_out) :]
        assert len(held) <= MAX_HELD_OF_DATA or b"\r\n" not in held, held
        assert rest or not held, held
        assert may_speak <= boundaries, (may_speak, boundaries)


def work(octets: bytes, packet: int) -> None:
    """Frame a server's stream."""
    framer = ResponseFramer()
    try:
        for chunk in cut(octets, packet):
            framer.feed(chunk, len(chunk))
    except UpstreamError:
        return


def _framed(chunks: Sequence[bytes]) -> tuple[bytes, list[bytes], set[int]]:
    """Return what is given out, the lines in it, and behind how many octets a line of ours might have stood."""
    framer, given_out, lines, may_speak = ResponseFramer(), bytearray(), [], set()
    for chunk in chunks:
        for event in framer.feed(chunk, len(chunk)):
            if isinstance(event, PassedLine):
                lines.append(bytes(given_out.removesuffix(b"\r\n").rpartition(b"\r\n")[2]) + b"\r\n")
                assert lines[-1].startswith(event.beginning)
                continue
            given_out += event.octets
            if isinstance(event, Line):
                lines.append(event.octets)
        if framer.at_boundary:
            may_speak.add(len(given_out))
    return bytes(given_out), lines, may_speak
