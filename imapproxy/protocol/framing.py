"""Octets of an IMAP stream split into lines and literals, as they come and without parsing more than that.

The two directions differ. A server's stream is mostly passed on, so ``ResponseFramer`` gives out *passages*, as long
as they come, and only those lines whole that the session's dialogue must read. Of a client's stream every command line
is read, so ``CommandFramer`` is asked for a line or for octets of a literal, and keeps what was not asked for yet.

Neither ever buffers a literal; what is buffered of a line is bounded. Nothing here knows what a command means.
Grammar: RFC 9051 section 9 (``literal``, ``literal8``, ``response``), RFC 7888 (non-synchronizing literals).
"""

import re
from typing import NamedTuple

from imapproxy.errors import LimitExceeded, UpstreamError

# A line of the server's that the dialogue reads: a status response, a capability list, a continuation. Dovecot's
# longest (all capabilities, or a HIGHESTMODSEQ text) are under 1 KiB.
MAX_RESPONSE_LINE = 64 * 1024

# number64 = 1*DIGIT ; up to 2^63 - 1, which is 19 digits (RFC 9051); one more bounds hostile leading zeros.
_DIGITS = rb"[0-9]{1,20}"

# literal = "{" number64 ["+"] "}" CRLF *CHAR8 / literal8 = "~{" number64 "}" CRLF *OCTET: a server sends no "+".
_LITERAL = re.compile(rb"\{(" + _DIGITS + rb")\}\r\n")
_LONGEST_LITERAL_MARK = len(b"{") + 20 + len(b"}\r\n")

# What begins data: "* " and a letter that begins none of OK, NO, BAD, BYE, PREAUTH, CAPABILITY.
_DATA = re.compile(rb"\* [^CcOoNnBbPp\r]")
_LINE_TO_EXAMINE = re.compile(rb"\r\n(?!\* [^CcOoNnBbPp\r])")

# response-tagged, resp-cond-state, resp-cond-bye, greeting, capability-data, continue-req. None of them holds a
# literal: "{5}" at the end of a status response's text is text (RFC 9051 section 9, resp-text).
_UNTAGGED = rb"\* (?:OK|NO|BAD|BYE|PREAUTH|CAPABILITY)(?=[ \r])"
_START_OF_LINE_TO_READ = re.compile(rb"[^*\r]|" + _UNTAGGED, re.IGNORECASE)
_LINE_TO_READ = re.compile(
    rb"(?:\+|[^*\r ][^\r ]* (?:OK|NO|BAD)(?=[ \r])|" + _UNTAGGED + rb")[^\r]*(?:\r(?!\n)[^\r]*)*\r\n", re.IGNORECASE
)
# One of these stands in each line to be read that is whole.
_IN_LINES_TO_READ = b"OoBbPp+"
_LONG_RUN = 1024
_START_SHOWS_AFTER = len(b"* CAPABILITY ")

Octets = bytes | bytearray


class Passage(NamedTuple):
    """A run of a server's octets to be passed on as they are; valid until the next call of ``feed``."""

    octets: memoryview


class Line(NamedTuple):
    """A whole line of a server's, CRLF included, that begins and ends a response."""

    octets: bytes


class ResponseFramer:
    """The server's stream: ``feed`` it octets, get passages and lines.

    The cost of a passage hardly depends on its lines: literals are skipped by their size, and lines that begin like
    data (``* 12 FETCH``, ``* LIST``) by one search for the next line that does not.
    """

    __slots__ = ("_held", "_literal", "_within")

    def __init__(self) -> None:
        self._held = b""  # the unfinished end of what came: a line to read, or where a literal's mark may end
        self._literal = 0  # octets of a literal still to come
        self._within = False  # the next octet continues a response

    @property
    def at_boundary(self) -> bool:
        """Whether what was given out ends with a whole response, so that a line of ours may follow it."""
        return not self._within

    def feed(self, octets: Octets, end: int) -> list[Passage | Line]:
        """Take ``octets[:end]``; return what can be passed on or read, in order.

        The passages are views of ``octets``. Raise UpstreamError when a line to be read is over MAX_RESPONSE_LINE.
        """
        events: list[Passage | Line] = []
        start = self._finish_held_line(octets, end, events) if self._held else 0
        if start < end:
            self._scan(octets, start, end, events)
        return events

    def _finish_held_line(self, octets: Octets, end: int, events: list[Passage | Line]) -> int:
        """Join the held octets with the rest of their line; return where in ``octets`` the next line begins."""
        if self._held.endswith(b"\r") and octets[0] == ord("\n"):
            start = 1
        else:
            start = octets.find(b"\r\n", 0, end) + 2
            if start < 2:
                start = end
        joined = self._held + octets[:start]
        self._held = b""
        self._scan(joined, 0, len(joined), events)
        return start

    def _scan(self, octets: Octets, start: int, end: int, events: list[Passage | Line]) -> None:
        passed = position = start
        literal: re.Match[bytes] | None = None
        literal_at = -1
        while position < end:
            if self._literal:
                position = self._skip_literal(position, end)
                continue
            if not self._within:
                line = _LINE_TO_READ.match(octets, position, end)
                if line:
                    _add_passage(events, octets, passed, position)
                    events.append(Line(line[0]))
                    passed = position = line.end()
                    continue
                if self._may_become_line_to_read(octets, position, end):
                    self._hold(bytes(octets[position:end]))
                    break
            # Here stands data: pass over it to the next literal, or to the next line that is to be examined.
            self._within = True
            if literal_at < position:
                literal = _next_literal(octets, position, end)
                literal_at = literal.start() if literal else end
            examine = _next_line_to_examine(octets, position, literal_at)
            if examine:
                position = examine.end()
                self._within = False
            elif literal:
                position = literal.end()
                self._literal = int(literal[1])
            else:
                position = max(position, end - _LONGEST_LITERAL_MARK)
                self._held = bytes(octets[position:end])
                break
        _add_passage(events, octets, passed, position)

    def _skip_literal(self, position: int, end: int) -> int:
        skipped = min(self._literal, end - position)
        self._literal -= skipped
        return position + skipped

    @staticmethod
    def _may_become_line_to_read(octets: Octets, position: int, end: int) -> bool:
        """Tell whether the line at ``position``, not whole or no line to read, may be one when the rest has come."""
        if _DATA.match(octets, position, end) or octets.find(b"\r\n", position, end) >= 0:
            return False
        return end - position < _START_SHOWS_AFTER or bool(_START_OF_LINE_TO_READ.match(octets, position, end))

    def _hold(self, octets: bytes) -> None:
        if len(octets) > MAX_RESPONSE_LINE:
            raise UpstreamError("the IMAP server sent an endless line")
        self._held = octets


def _add_passage(events: list[Passage | Line], octets: Octets, start: int, end: int) -> None:
    if start < end:
        events.append(Passage(memoryview(octets)[start:end]))


def _next_line_to_examine(octets: Octets, position: int, end: int) -> re.Match[bytes] | None:
    """Return the next line end in a run of data behind which no more data may stand."""
    if end - position > _LONG_RUN:
        # Seven searches by memchr() cost a tenth of the expression's, which looks at each line (bench: short lines).
        nearest = end
        for octet in _IN_LINES_TO_READ:
            found = octets.find(octet, position, nearest)
            nearest = found if found >= 0 else nearest
        position = max(position, octets.rfind(b"\r\n", position, nearest))
    return _LINE_TO_EXAMINE.search(octets, position, end)


def _next_literal(octets: Octets, position: int, end: int) -> re.Match[bytes] | None:
    # The search for the single octet is memchr(), thirty times as fast as the expression (bench: short lines).
    brace = octets.find(b"{", position, end)
    return _LITERAL.search(octets, brace, end) if brace >= 0 else None


class Literal(NamedTuple):
    """What a client's line announces at its end: a literal of ``size`` octets."""

    size: int
    synchronizing: bool
    eight_bit: bool


# literal = "{" number64 ["+"] "}" CRLF; literal8 = "~{" number64 ["+"] "}" CRLF (RFC 7888 section 8)
_LITERAL_AT_END = re.compile(rb"(~?)\{(" + _DIGITS + rb")(\+?)\}\r?\n\Z")


def literal_at_end(line: bytes) -> Literal | None:
    """Return the literal that a command line (or the rest of one after a literal) announces, or None."""
    if not line.endswith((b"}\r\n", b"}\n")):
        return None
    match = _LITERAL_AT_END.search(line, max(0, len(line) - _LONGEST_LITERAL_MARK - 2))
    if match is None:
        return None
    return Literal(int(match[2]), synchronizing=not match[3], eight_bit=bool(match[1]))


class CommandFramer:
    """The client's stream: ``receive`` octets, then ask for a line or for octets of a literal.

    What is not asked for is kept for later, which is how octets are held until the server has decided what they are.
    """

    __slots__ = ("_end", "_octets", "_position", "max_line")

    def __init__(self, max_line: int) -> None:
        """``max_line`` is the longest line in octets that is taken; it may be changed at any time."""
        self.max_line = max_line
        self._octets: Octets = b""
        self._position = 0
        self._end = 0

    @property
    def holds_octets(self) -> bool:
        """Whether something was received that has not been asked for."""
        return self._position < self._end

    def receive(self, octets: Octets, end: int) -> None:
        """Take ``octets[:end]`` behind what is held. They are read in place until ``settle`` is called."""
        if self._position < self._end:
            octets = bytes(self._octets[self._position : self._end]) + octets[:end]
            end = len(octets)
        self._octets = octets
        self._position = 0
        self._end = end

    def settle(self) -> None:
        """Copy what is still held, so that the buffer last received can be used for something else."""
        if self._position < self._end:
            self._octets = bytes(self._octets[self._position : self._end])
            self._end -= self._position
        else:
            self._octets = b""
            self._end = 0
        self._position = 0

    def line(self) -> bytes | None:
        """Take a line whole, its line feed included; None while it is not complete.

        Raise LimitExceeded where it is longer than ``max_line``.
        """
        line_feed = self._octets.find(b"\n", self._position, self._end)
        length = (line_feed + 1 if line_feed >= 0 else self._end) - self._position
        if length > self.max_line:
            raise LimitExceeded("command line too long")
        if line_feed < 0:
            return None
        line = bytes(self._octets[self._position : line_feed + 1])
        self._position = line_feed + 1
        return line

    def line_like(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Take a line whole if ``pattern``, an expression for whole lines, matches it; else take nothing."""
        match = pattern.match(self._octets, self._position, min(self._end, self._position + self.max_line))
        if match is not None:
            self._position = match.end()
        return match

    def octets(self, limit: int) -> memoryview:
        """Take up to ``limit`` octets, as many as are here; valid until ``settle`` is called."""
        stop = min(self._position + limit, self._end)
        view = memoryview(self._octets)[self._position : stop]
        self._position = stop
        return view

    def rest(self) -> bytes:
        """Take all that is here."""
        return bytes(self.octets(self._end - self._position))
