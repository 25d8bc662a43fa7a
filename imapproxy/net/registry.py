"""What a worker knows of its sessions: those that run, and how often what has happened.

Sessions enter and leave it in their own threads; ``report`` may be called in any. It takes no part in the passage of
octets: a session's figures are read from the session when somebody asks.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, TypedDict

# What is counted, and stands in ``Report.totals`` beside the octets from and to clients.
Counted = Literal[
    "sessions",
    "turned_away",
    "handshakes_failed",
    "logins_accepted",
    "logins_refused",
    "submissions_accepted",
    "submissions_repeated",
    "submissions_refused",
]
COUNTED: tuple[Counted, ...] = Counted.__args__  # type: ignore[attr-defined]

# A user's name is the client's choice; no real one is longer (RFC 5321 4.5.3.1: 64 + 1 + 255 octets).
LONGEST_USER = 320


class SessionReport(TypedDict):
    """A running session. ``since`` is Unix time; octets are those of the client's link, as the client sees them."""

    user: str | None
    client: str
    tls: str | None
    compress: str | None
    since: float
    received: int
    sent: int
    doing: str


class Report(TypedDict):
    """A worker's figures, ready for JSON; ``totals`` has a number for each ``COUNTED``, ``received`` and ``sent``."""

    sessions: list[SessionReport]
    totals: dict[str, int]


class Running(Protocol):
    """A session, as the registry sees it."""

    def report(self) -> SessionReport:
        """Return what can be told of it now; called in other threads than its own."""


class Registry:
    """The sessions of one worker."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, Running] = {}
        self._totals: dict[str, int] = {**dict.fromkeys(COUNTED, 0), "received": 0, "sent": 0}

    @contextmanager
    def entered(self, session: Running) -> Iterator[None]:
        """Have ``session`` among the running ones for as long as this lasts."""
        with self._lock:
            self._running[id(session)] = session
            self._totals["sessions"] += 1
        try:
            yield
        finally:
            last = session.report()
            with self._lock:
                del self._running[id(session)]
                self._totals["received"] += last["received"]
                self._totals["sent"] += last["sent"]

    def count(self, event: Counted) -> None:
        """Count one more ``event``."""
        with self._lock:
            self._totals[event] += 1

    def report(self) -> Report:
        """Return the figures of this moment."""
        with self._lock:  # no session can leave meanwhile, and be counted twice or not at all
            sessions = [session.report() for session in self._running.values()]
            totals = dict(self._totals)
        for session in sessions:
            session["user"] = session["user"] and session["user"][:LONGEST_USER]
            totals["received"] += session["received"]
            totals["sent"] += session["sent"]
        return Report(sessions=sessions, totals=totals)
