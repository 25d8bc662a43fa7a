"""Octets of an IMAP stream split into lines and literals, as they come and without parsing more than that.

The two directions differ. A server's stream is mostly passed on, so ``ResponseFramer`` gives out *passages*, as long
as they come, and only those lines whole that the session's dialogue must read. Of a client's stream every command line
is read, so ``CommandFramer`` is asked for a line or for octets of a literal, and keeps what was not asked for yet.

Neither ever buffers a literal; what is buffered of a line is bounded, and so is the work for each octet, wherever the
packets that carry it begin and end. Nothing here knows what a command means.
Grammar: RFC 9051 section 9 (``literal``, ``literal8``, ``response``), RFC 7888 (non-synchronizing literals).
"""

import re
from typing import NamedTuple

from imapproxy.errors import LimitExceeded, UpstreamError

# A server's line that is held until it is whole: a capability list, a continuation request, the greeting. Dovecot's
# longest (all capabilities) are under 1 KiB.
MAX_HELD_LINE = 64 * 1024

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
_LINE_TO_READ = re.compile(
    rb"\+|[^*\r ][^\r ]*+ (?:OK|NO|BAD)(?=[ \r])|\* (?:OK|NO|BAD|BYE|PREAUTH|CAPABILITY)(?=[ \r])", re.IGNORECASE
)
# One of these stands in each line to be read that is whole.
_IN_LINES_TO_READ = b"OoBbPp+"
_LONG_RUN = 1024
_CRLF = b"\r\n"
# So many octets show what an untagged response is; so many behind the tag, whether a line is a tagged response.
_UNTAGGED_SHOWS_AFTER = len(b"* CAPABILITY ")
_TAGGED_SHOWS_AFTER = len(b" BAD ")
# resp-text-code = capability-data / ...: behind OK, NO or BAD it begins a capability list.
_LIST_CODES = (b" [CAPABILITY ", b" [CAPABILITY]")

Octets = bytes | bytearray


class Passage(NamedTuple):
    """A run of a server's octets to be passed on as they are; valid until the next call of ``feed``."""

    octets: memoryview


class Line(NamedTuple):
    """A whole line of a server's, CRLF included, that begins and ends a response."""

    octets: bytes


class PassedLine(NamedTuple):
    """The end of a status response without a capability list that was given out in passages, as it came.

    ``beginning`` is its tag, or ``*``, and its state: ``a1 OK``.
    """

    beginning: bytes


Event = Passage | Line | PassedLine


class ResponseFramer:
    """The server's stream: ``feed`` it octets, get passages and lines.

    The cost of a passage hardly depends on its lines: literals are skipped by their size, and lines that begin like
    data (``* 12 FETCH``, ``* LIST``) by one search for the next line that does not.

    A line's beginning is held until it shows what the line is; held until it is whole is only what must be read whole.
    Held octets are not searched again: the cost of an octet is bounded, however the stream is cut.
    """

    __slots__ = ("_awaited", "_has_greeting", "_held", "_literal", "_status", "_within", "holds_status")

    def __init__(self) -> None:
        self.holds_status = False  # a status response is given out when it is whole; this may be changed at any time
        self._held: Octets = b""  # not given out: the beginning of a line, or where a literal's mark may end
        self._awaited = b""  # what must come before the beginning of a line is looked at again
        self._literal = 0  # octets of a literal still to come
        self._status = b""  # the beginning of the status response that is given out as it comes
        self._within = False  # the next octet continues a response
        self._has_greeting = False

    @property
    def at_boundary(self) -> bool:
        """Whether what was given out ends with a whole response, so that a line of ours may follow it."""
        return not self._within

    def feed(self, octets: Octets, end: int) -> list[Event]:
        """Take ``octets[:end]``; return what can be passed on or read, in order.

        The passages are views of ``octets``. Raise UpstreamError if a line that must be held is over MAX_HELD_LINE;
        nothing of ``octets`` is given out then.
        """
        events: list[Event] = []
        was_within = self._within
        try:
            start = 0
            if self._status:
                start = self._pass_status(octets, end, events)
            elif self._held:
                start = self._finish_held_line(octets, end, events)
            if start < end:
                self._scan(octets, start, end, events)
        except UpstreamError:
            self._within = was_within
            raise
        return events

    def _pass_status(self, octets: Octets, end: int, events: list[Event]) -> int:
        """Give out more of a status response; return where in ``octets`` the next line begins."""
        held, self._held = self._held, b""
        _add_passage(events, held, 0, len(held))
        line_end = _end_of_line(held, octets, end)
        if line_end:
            _add_passage(events, octets, 0, line_end)
            events.append(PassedLine(self._status))
            self._status = b""
            self._within = False
            return line_end
        _add_passage(events, octets, 0, self._hold_carriage_return(octets, end))
        return end

    def _finish_held_line(self, octets: Octets, end: int, events: list[Event]) -> int:
        """Join the held octets with the rest of their line; return where in ``octets`` the next line begins."""
        line_end = _end_of_line(self._held, octets, end)
        if not line_end and octets.find(self._awaited, 0, end) < 0:
            self._held += memoryview(octets)[:end]
            self._check_held()
            return end
        start = line_end or end
        joined = self._held + octets[:start]
        self._held = self._awaited = b""
        self._scan(joined, 0, len(joined), events)
        return start

    def _scan(self, octets: Octets, start: int, end: int, events: list[Event]) -> None:
        passed = position = start
        literal: re.Match[bytes] | None = None
        literal_at = -1
        while position < end:
            if self._literal:
                position = self._skip_literal(position, end)
                continue
            if not self._within:
                beginning = _LINE_TO_READ.match(octets, position, end)
                line_end = octets.find(_CRLF, position, end) + 2 if beginning else 0
                if beginning and line_end >= 2:
                    _add_passage(events, octets, passed, position)
                    events.append(self._line(octets, position, line_end, beginning))
                    passed = position = line_end
                    continue
                awaited = self._awaited_by(octets, position, end, beginning)
                if awaited is not None:
                    self._hold(octets, position, end, awaited)
                    break
                if beginning:
                    self._status = beginning[0]
                    self._within = True
                    position = self._hold_carriage_return(octets, end)
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

    def _line(self, octets: Octets, start: int, end: int, beginning: re.Match[bytes]) -> Line:
        if end - start > MAX_HELD_LINE and self._awaited_by(octets, start, end, beginning) is not None:
            self._hold(octets, start, end, _CRLF)
        self._has_greeting = True
        return Line(bytes(octets[start:end]))

    # Lines that are not whole ---------------------------------------------------------------------------------------

    def _awaited_by(self, octets: Octets, start: int, end: int, beginning: re.Match[bytes] | None) -> bytes | None:
        """Return what must come before the line at ``start`` can be given out, b"" for any octet; None if it can be.

        ``beginning`` is that of a line to be read, as far as that shows.
        """
        if beginning is None:
            return _awaited_by_beginning(octets, start, end)
        must_be_whole = not self._has_greeting or self.holds_status
        if must_be_whole or beginning[0] == b"+" or beginning[0].upper() == b"* CAPABILITY":
            return _CRLF
        code = bytes(octets[beginning.end() : min(end, beginning.end() + len(_LIST_CODES[0]))]).upper()
        if code in _LIST_CODES:
            return _CRLF
        return b"" if _LIST_CODES[0].startswith(code) else None

    def _hold(self, octets: Octets, start: int, end: int, awaited: bytes) -> None:
        # A bytearray: what comes is added to it at a cost that does not depend on what it holds already.
        self._held = bytearray(memoryview(octets)[start:end])
        self._awaited = awaited
        self._check_held()

    def _check_held(self) -> None:
        if len(self._held) > MAX_HELD_LINE:
            what = self._name_of_held()
            raise UpstreamError(f"the IMAP server sent a {what} of over {MAX_HELD_LINE} octets")

    def _name_of_held(self) -> str:
        if not self._has_greeting:
            return "greeting"
        if self._held.startswith(b"+"):
            return "continuation request"
        if not _LINE_TO_READ.match(self._held):
            return "tag"
        return "status response" if self.holds_status else "capability list"

    def _hold_carriage_return(self, octets: Octets, end: int) -> int:
        """Hold what may be half of a line end; return where what is not held ends."""
        position = end - octets.endswith(b"\r", 0, end)
        self._held = bytes(octets[position:end])
        return position


def _end_of_line(held: Octets, octets: Octets, end: int) -> int:
    """Return where in ``octets`` the line ends that begins with ``held``; 0 if its end has not come."""
    if held.endswith(b"\r") and octets[0] == ord("\n"):
        return 1
    found = octets.find(_CRLF, 0, end)
    return found + 2 if found >= 0 else 0


def _awaited_by_beginning(octets: Octets, start: int, end: int) -> bytes | None:
    """Return what must come before a line shows whether it has to be read, b"" for any octet; None if it has not."""
    if _DATA.match(octets, start, end) or octets.find(_CRLF, start, end) >= 0:
        return None
    if octets[start] in b"*\r":
        return b"" if end - start < _UNTAGGED_SHOWS_AFTER else None
    tag_end = octets.find(b" ", start, end)
    if tag_end < 0:
        return b" "
    return b"" if end - tag_end < _TAGGED_SHOWS_AFTER else None


def _add_passage(events: list[Event], octets: Octets, start: int, end: int) -> None:
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
    Each octet is searched for a line's end once, and copied a bounded number of times, however the stream is cut.
    """

    __slots__ = ("_end", "_octets", "_owns_octets", "_position", "_searched", "max_line")

    def __init__(self, max_line: int) -> None:
        """``max_line`` is the longest line in octets that is taken; it may be changed at any time."""
        self.max_line = max_line
        self._octets: Octets = b""
        self._owns_octets = False  # they are not the buffer last received, but what is kept of those before
        self._position = 0
        self._searched = 0  # no line ends between the position and here
        self._end = 0

    @property
    def holds_octets(self) -> bool:
        """Whether something was received that has not been asked for."""
        return self._position < self._end

    def receive(self, octets: Octets, end: int) -> None:
        """Take ``octets[:end]`` behind what is held. They are read in place until ``settle`` is called."""
        if self._owns_octets:
            self._octets += memoryview(octets)[:end]
            self._end += end
            return
        self._octets = octets
        self._position = self._searched = 0
        self._end = end

    def settle(self) -> None:
        """Copy what is still held, so that the buffer last received can be used for something else."""
        if self._position == self._end:
            self._octets = b""
            self._owns_octets = False
            self._position = self._searched = self._end = 0
        elif not self._owns_octets or self._position > self._end // 2:
            self._octets = bytearray(memoryview(self._octets)[self._position : self._end])
            self._owns_octets = True
            self._searched = max(0, self._searched - self._position)
            self._end -= self._position
            self._position = 0

    def line(self) -> bytes | None:
        """Take a line whole, its line feed included; None while it is not complete.

        Raise LimitExceeded where it is longer than ``max_line``.
        """
        line_end = self._find_line_end()
        if (line_end or self._end) - self._position > self.max_line:
            raise LimitExceeded("command line too long")
        if not line_end:
            return None
        line = bytes(self._octets[self._position : line_end])
        self._position = line_end
        return line

    def line_like(self, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
        """Take a line whole if ``pattern``, an expression for whole lines, matches it; else take nothing."""
        # Without this look, the expression would search a line that is not whole anew for each octet that comes.
        if not self._find_line_end():
            return None
        match = pattern.match(self._octets, self._position, min(self._end, self._position + self.max_line))
        if match is not None:
            self._position = match.end()
        return match

    def _find_line_end(self) -> int:
        """Return where the next line ends, its line feed included; 0 if that has not come."""
        line_feed = self._octets.find(b"\n", max(self._position, self._searched), self._end)
        self._searched = line_feed if line_feed >= 0 else self._end
        return line_feed + 1

    def octets(self, limit: int) -> memoryview:
        """Take up to ``limit`` octets, as many as are here; valid as long as the buffer last received is unchanged."""
        stop = min(self._position + limit, self._end)
        view = memoryview(self._octets)[self._position : stop]
        self._position = stop
        # What is kept grows where it lies, and could not while a view of it is in use.
        return memoryview(bytes(view)) if self._owns_octets else view

    def rest(self) -> bytes:
        """Take all that is here."""
        return bytes(self.octets(self._end - self._position))
