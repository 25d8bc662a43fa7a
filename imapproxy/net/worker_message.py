"""What a worker says to its parent, one line a message: a word, a space, and JSON. Pure: bytes in, messages out.

The parent runs as root, and a worker may have been taken over by a client. So the parent believes nothing: every line
has a bound, every field has a type and a range, and every word has its time. A report comes as one line a session, so
that neither it nor the parent's work on it is ever large at once. What is not as it must be raises WorkerError, and the
worker is killed.

    word     JSON                                    when
    ready    null                                    first, once
    failed   the reason, a string                    instead of ready; nothing after it
    session  a SessionReport                         before its report, at most ``most_sessions``
    report   [number, totals]                        as often as the parent asked, each number once
    retired  null                                    once, after it was told to retire
    ended    totals                                  once, after ready; nothing after it
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from imapproxy.errors import WorkerError
from imapproxy.net.registry import COUNTED, LONGEST_USER

# Every string of a session but the user's name: addresses, versions, commands.
LONGEST_TEXT = 64
# What keeps a worker from starting; logged, and shown to the one who started the program.
LONGEST_REASON = 1024
# A line has room for a user's name of characters that JSON writes in 12 bytes each, and for what else a session has.
LONGEST_LINE = 12 * LONGEST_USER + 1024
# Counts, 64 bits as everywhere; and a date before the year 5000, which every C library can write.
_MOST = 1 << 63
_LATEST = 9.5e10


@dataclass(frozen=True, slots=True)
class Ready:
    """It serves."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It could not start."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retired:
    """It accepts no clients any more."""


@dataclass(frozen=True, slots=True)
class Reported:
    """It has answered the question ``number``; ``report`` is a ``Report`` as JSON."""

    number: int
    report: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """It ends; this is what it has counted."""

    totals: dict[str, int]


Message: TypeAlias = Ready | Failed | Retired | Reported | Ended


def encode(word: str, value: object = None) -> bytes:
    """Return a line as the worker writes it."""
    return f"{word} {json.dumps(value)}\n".encode("ascii")


class Hearing:
    """What a worker has said so far, and what it may say next."""

    def __init__(self, most_sessions: int) -> None:
        self._most_sessions = most_sessions
        self._rest = b""
        self._sessions: list[bytes] = []
        self._held = 0
        self._words: dict[str, Callable[[bytes], Message | None]] = {"ready": self._ready, "failed": self._failed}
        self._wanted = 0  # the number of the report that is to come

    @property
    def held(self) -> int:
        """How many bytes of an unfinished report are held."""
        return self._held

    def expect_report(self, number: int) -> None:
        """Allow one report, with this number."""
        self._wanted = number
        self._words |= {"session": self._session, "report": self._report}

    def expect_retired(self) -> None:
        """Allow it to say once that it has retired."""
        self._words["retired"] = self._retired

    def receive(self, data: bytes) -> Iterator[Message]:
        """Yield the messages that are whole with ``data``; raise WorkerError for what is none, or not now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for whole in lines:
            if message := self._read(whole):
                yield message
        _check(len(self._rest) <= LONGEST_LINE, "a line is too long")

    def _read(self, whole: bytes) -> Message | None:
        _check(len(whole) <= LONGEST_LINE, "a line is too long")
        word, _, value = whole.partition(b" ")
        read = self._words.get(word.decode("ascii", "replace"))
        if read is None:
            raise WorkerError("this word is not expected now")
        return read(value)

    # Each word ------------------------------------------------------------------------------------------------------

    def _ready(self, value: bytes) -> Message:
        _check(_json(value) is None, "ready has no value")
        self._words = {"ended": self._ended, **self._words}
        del self._words["ready"], self._words["failed"]
        return Ready()

    def _failed(self, value: bytes) -> Message:
        reason = _json(value)
        _check(is_text(reason, LONGEST_REASON), "a reason is a string")
        self._words = {}
        return Failed("".join(letter if letter.isprintable() else "?" for letter in str(reason)))

    def _retired(self, value: bytes) -> Message:
        _check(_json(value) is None, "retired has no value")
        del self._words["retired"]
        return Retired()

    def _session(self, value: bytes) -> None:
        _check(len(self._sessions) < self._most_sessions, "there are more sessions than it can have")
        session = _json(value)
        _check(is_session(session), "this is no session")
        # As we write it: with every key once, whatever the worker wrote.
        self._sessions.append(json.dumps(session).encode("ascii"))
        self._held += len(self._sessions[-1])

    def _report(self, value: bytes) -> Message:
        match _json(value):
            case [int(number), totals] if number == self._wanted and is_totals(totals):
                report = b'{"sessions": [%b], "totals": %b}' % (b", ".join(self._sessions), json.dumps(totals).encode())
            case _:
                raise WorkerError("this is not the report that was asked for")
        self._sessions, self._held = [], 0
        del self._words["session"], self._words["report"]
        return Reported(self._wanted, report)

    def _ended(self, value: bytes) -> Message:
        totals = _json(value)
        _check(is_totals(totals), "these are no totals")
        self._words = {}
        self._sessions, self._held = [], 0
        return Ended(dict(totals))  # type: ignore[call-overload]


# What values may be ---------------------------------------------------------------------------------------------------


def is_session(value: object) -> bool:
    """Return True if this is a ``SessionReport``, each field within its bounds."""
    return (
        isinstance(value, dict)
        and value.keys() == _FIELDS.keys()
        and all(is_valid(value[name]) for name, is_valid in _FIELDS.items())
    )


def is_totals(value: object) -> bool:
    """Return True if these are the totals of a ``Report``."""
    return isinstance(value, dict) and value.keys() == _TOTALS and all(map(is_count, value.values()))


def is_count(value: object) -> bool:
    """Return True if this is a count that fits into 64 bits."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MOST


def is_text(value: object, longest: int = LONGEST_TEXT) -> bool:
    """Return True if this is a string that is not too long."""
    return isinstance(value, str) and len(value) <= longest


def _is_text_or_none(value: object) -> bool:
    return value is None or is_text(value)


def _is_user(value: object) -> bool:
    return value is None or is_text(value, LONGEST_USER)


def _is_time(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value) and 0 <= value < _LATEST


_TOTALS = {*COUNTED, "received", "sent"}
_FIELDS: Mapping[str, Callable[[object], bool]] = {
    "user": _is_user,
    "client": is_text,
    "tls": _is_text_or_none,
    "compress": _is_text_or_none,
    "since": _is_time,
    "received": is_count,
    "sent": is_count,
    "doing": is_text,
}


def _json(value: bytes) -> object:
    try:
        return json.loads(value.decode("ascii"), parse_constant=_refuse)
    except (ValueError, RecursionError):  # the latter: nested too deep
        raise WorkerError("this is no JSON") from None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check(is_right: bool, otherwise: str) -> None:
    if not is_right:
        raise WorkerError(otherwise)
