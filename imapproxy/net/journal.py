"""The journal: what was submitted, so that what comes again is not sent again (DESIGN 4.3).

A client that lost the answer sends again. Who it is and every octet of what it sends make the key: the same key is the
same submission. What is known of one, and what then becomes of the same again:

    state           since when                                  the same again
    (none)          never, refused, or over a day ago           is sent
    running         it was claimed                              waits; is sent if the owner has died
    sending         just before the final dot is written        waits; is sent, in doubt, if the owner has died
    uncertain       the dot was written, and no reply came      is sent, in doubt
    accepted        the SMTP server took it                     waits while the owner files the Sent copy; has the
                                                                answer of the first, and that there may be no copy
    filed           so did the user's mailbox                   has the answer of the first

Each state is on the disk before what it announces happens. An owner, which is one claim in one worker, is there as long
as its lock is (``presence``). In doubt means that somebody may have got it already: the log says so, and a refusal does
not take the doubt away.

Nothing here can make a NO of what was accepted. What cannot be written down of that is owed: its owner stays, answers
those who repeat it itself, and tries again until it is on the disk, and until then its worker does not end of itself.
What is on the disk is answered as long as the file can be read.

Each user has room for so many entries (``MAX_ENTRIES``), whatever others submit.
"""

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, NamedTuple, get_args

from imapproxy.errors import DeliveryUncertain, SubmissionRefused
from imapproxy.logs import LOGGER, record
from imapproxy.net.cleanup import cleanup
from imapproxy.net.journal_file import NotOurs, lock_file, opened, transaction
from imapproxy.net.presence import Presence

KEPT_FOR = 24 * 3600.0  # seconds; who tries again does so within hours
MAX_ENTRIES = 10_000  # of a user, at most some 5 MB; the oldest of the user's own make room
MAX_REPLY = 200  # characters of the SMTP server's reply, which is told nobody but the log
# How long this process's other threads may keep the journal busy, in seconds: longer than one waits for the file.
TURN_PATIENCE = 10.0
# Between two tries to write down what is owed, in seconds, if no submission comes: each that fails is logged.
OWED_INTERVAL = 10.0

UNUSABLE = "4.3.0 the proxy cannot use its journal; try again later"

_State = Literal["running", "sending", "accepted", "filed", "uncertain"]
_STATES = frozenset(get_args(_State))
_WAS_ACCEPTED = frozenset({"accepted", "filed"})
_NOBODY = 0

_SELECT = "SELECT state, doubtful, owner, at, reply FROM submission WHERE key = ?"
_STORE = """
    INSERT INTO submission (key, user, state, doubtful, owner, at, reply) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET
        user = excluded.user, state = excluded.state, doubtful = excluded.doubtful, owner = excluded.owner,
        at = excluded.at, reply = excluded.reply
"""
_DELETE = "DELETE FROM submission WHERE key = ?"
# What lies in the future stays: a machine whose clock is behind at its start must not forget all for that.
_FORGET_OLD = "DELETE FROM submission WHERE at < ?"
_MAKE_ROOM = """
    DELETE FROM submission WHERE user = :user AND number <= (
        SELECT number FROM submission WHERE user = :user ORDER BY number DESC LIMIT 1 OFFSET :kept
    )
"""


class Key(NamedTuple):
    """What a submission is known by: a digest of its user and octets, and one of its user alone."""

    submission: bytes
    user: bytes


def key_of(user: str, digest: bytes) -> Key:
    """Return the key of a submission of ``user`` (``Credentials.account``); ``digest`` is that of all its octets."""
    name = user.encode("utf-8", "surrogateescape")
    return Key(hashlib.sha256(digest + name).digest(), hashlib.sha256(name).digest())


@dataclass(frozen=True, slots=True)
class Earlier:
    """The same submission, accepted before: when, the SMTP server's reply, and whether there is a copy in Sent."""

    at: datetime
    reply: str
    is_filed: bool


class _Entry(NamedTuple):
    """``at`` is Unix time, of the last change; ``is_doubtful``: an earlier try may have reached somebody."""

    state: _State
    is_doubtful: bool
    owner: int
    at: float
    reply: str = ""

    @property
    def earlier(self) -> Earlier:
        """What whoever repeats it is told, once it is accepted."""
        return Earlier(datetime.fromtimestamp(self.at, UTC), self.reply, self.state == "filed")


class _Owed(NamedTuple):
    """What is still to be written down, and who is gone then: the owner of a claim that has ended meanwhile."""

    entry: _Entry
    leaves: int = _NOBODY

    @property
    def has_ended(self) -> bool:
        """Whether nobody is about it any more: its copy in Sent is filed, or will not be."""
        return self.leaves != _NOBODY


class Journal:
    """A worker's view of the journal at ``path``, for all its threads; it is opened when it is first needed.

    What goes wrong with it is logged as ``journal-failed``, and the file opened anew the next time.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._presence = Presence(lock_file(path))
        self._database: sqlite3.Connection | None = None
        self._identity: os.stat_result | None = None
        self._owed: dict[Key, _Owed] = {}
        self._owed_lock = threading.Lock()  # of its own, since for the other one somebody may wait in vain
        self._is_closed = threading.Event()

    def claim(self, key: Key) -> "Claim | Earlier | None":
        """Return the right to send this submission, or what came of it earlier; None while another has that right.

        Raise SubmissionRefused where the journal cannot be used.
        """
        if owed := self._owed.get(key):
            return owed.entry.earlier if owed.has_ended else None
        with self._reading() as database:  # it needs no room on the disk, and waits for no other who writes (WAL)
            before = self._young_entry(database, key)
            if before and self._is_under_way(before):
                return None
            if before and before.state in _WAS_ACCEPTED:
                return before.earlier
        with self._in_turn() as database, ExitStack() as stack:
            owner = self._presence.enter()
            stack.callback(self._presence.leave, owner)
            with transaction(database):
                database.execute(_FORGET_OLD, (self._clock() - KEPT_FOR,))
                found = self._found(database, key, owner)
            if isinstance(found, Claim):
                stack.pop_all()
            return found

    def settle(self) -> bool:
        """Try to write down what is owed; tell whether nothing is any more."""
        if self._owed:
            self._pay()
        return not self._owed

    def close(self) -> None:
        """Write down what is owed, if that can be; close the file, and let others know that we are no longer there."""
        self._is_closed.set()
        self.settle()
        if self._lock.acquire(timeout=TURN_PATIENCE):
            self._disconnect()
            self._lock.release()
        self._presence.close()

    def note(self, claim: "Claim", state: _State) -> None:
        """Write down how far a claim of ours has come; raise SubmissionRefused where that fails."""
        owner = claim.owner if state == "sending" else _NOBODY
        with self._in_turn() as database, transaction(database):
            self._check_ours(database, claim)
            _store(database, claim.key, _Entry(state, claim.is_doubtful, owner, self._clock()))

    def note_accepted(self, claim: "Claim", reply: str) -> _Entry:
        """Write down that a claim was accepted, whosever it is by now; where that fails, as soon as it can be."""
        entry = _Entry("accepted", claim.is_doubtful, claim.owner, self._clock(), reply[:MAX_REPLY])
        self._owe(claim.key, entry)
        return entry

    def note_filed(self, claim: "Claim", accepted: _Entry) -> None:
        """Write down that there is a copy in Sent of what was accepted; where that fails, as soon as it can be."""
        self._owe(claim.key, accepted._replace(state="filed", owner=_NOBODY))

    def strike(self, claim: "Claim") -> None:
        """Forget a claim of ours, which has reached nobody; raise SubmissionRefused where that fails."""
        with self._in_turn() as database, transaction(database):
            self._check_ours(database, claim)
            database.execute(_DELETE, (claim.key.submission,))

    def let_go(self, claim: "Claim") -> None:
        """Have a claim of ours no longer, whatever was written down."""
        with self._owed_lock:
            if owed := self._owed.get(claim.key):
                self._owed[claim.key] = owed._replace(leaves=claim.owner)
                return
        with suppress(OSError):
            self._presence.leave(claim.owner)

    def _owe(self, key: Key, entry: _Entry) -> None:
        with self._owed_lock:
            self._owed[key] = _Owed(entry)
        self._pay()
        if key in self._owed:
            with suppress(RuntimeError):  # where no thread is to be had, the next submission pays
                threading.Thread(target=self._pay_later, args=(key,), daemon=True).start()

    def _pay(self) -> None:
        """Write down what is owed, as everything does that comes; that it fails is logged."""
        with suppress(SubmissionRefused), self._in_turn():
            pass

    def _pay_later(self, key: Key) -> None:
        """Go on until it is written down, by whomever: elsewhere somebody may wait for that."""
        while key in self._owed and not self._is_closed.wait(OWED_INTERVAL):
            self._pay()

    def _write_owed(self, database: sqlite3.Connection) -> None:
        with self._owed_lock:
            owed = dict(self._owed)
        if not owed:
            return
        with transaction(database):
            for key, (entry, _) in owed.items():
                _store(database, key, entry)
        for key, written in owed.items():
            self._write_off(key, written)

    def _write_off(self, key: Key, written: _Owed) -> None:
        with self._owed_lock:
            if self._owed.get(key) is not written:  # there is more to be said of it by now
                return
            del self._owed[key]
        if written.has_ended:
            self._presence.leave(written.leaves)

    def _check_ours(self, database: sqlite3.Connection, claim: "Claim") -> None:
        """Raise SubmissionRefused where another took us for dead: the clock jumped, or the locks were removed."""
        entry = _entry_of(database, claim.key)
        if entry is not None and entry.owner != claim.owner:
            raise self._failure("another has taken the submission over")

    def _young_entry(self, database: sqlite3.Connection, key: Key) -> _Entry | None:
        entry = _entry_of(database, key)
        return entry if entry and entry.at >= self._clock() - KEPT_FOR else None

    def _is_under_way(self, entry: _Entry) -> bool:
        """Tell whether its owner is about it; to be asked once, since a process may end between two times."""
        return entry.owner != _NOBODY and self._presence.is_there(entry.owner)

    def _found(self, database: sqlite3.Connection, key: Key, owner: int) -> "Claim | Earlier | None":
        before = _entry_of(database, key)
        if before and self._is_under_way(before):
            return None
        if before and before.state in _WAS_ACCEPTED:
            return before.earlier
        if before is None:
            database.execute(_MAKE_ROOM, {"user": key.user, "kept": MAX_ENTRIES - 1})
        is_doubtful = before is not None and (before.is_doubtful or before.state != "running")
        _store(database, key, _Entry("running", is_doubtful, owner, self._clock()))
        return Claim(self, key, is_doubtful, owner)

    @contextmanager
    def _in_turn(self) -> Iterator[sqlite3.Connection]:
        """Have the database to write to it, and in it what is owed; SubmissionRefused is what its failures become."""
        with self._reading() as database:
            self._write_owed(database)
            yield database

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Have the database; SubmissionRefused is what its failures become."""
        if not self._lock.acquire(timeout=TURN_PATIENCE):
            raise self._failure("it is too slow")
        try:
            yield self._connection()
        except (sqlite3.Error, NotOurs, OSError) as failure:
            self._disconnect()
            raise self._failure(getattr(failure, "strerror", None) or str(failure)) from failure
        finally:
            self._lock.release()

    def _failure(self, reason: str) -> SubmissionRefused:
        LOGGER.error(record("journal-failed", journal=self._path, reason=reason))
        return SubmissionRefused(UNUSABLE)

    def _connection(self) -> sqlite3.Connection:
        """Return a connection to the file that has the name now, and raise OSError where none has."""
        now = os.stat(self._path)
        if self._database is None or self._identity is None or not os.path.samestat(self._identity, now):
            self._disconnect()
            self._database, self._identity = opened(self._path), now
        return self._database

    def _disconnect(self) -> None:
        if self._database is not None:
            with suppress(sqlite3.Error):
                self._database.close()
            self._database = None


class Claim:
    """The right to send one submission, nobody else's for as long as the ``with`` lasts."""

    __slots__ = ("_accepted", "_journal", "_state", "is_doubtful", "key", "owner")

    def __init__(self, journal: Journal, key: Key, is_doubtful: bool, owner: int) -> None:
        self._journal = journal
        self._state: _State = "running"
        self._accepted: _Entry | None = None
        self.key = key
        self.is_doubtful = is_doubtful
        self.owner = owner

    def sending(self) -> None:
        """Note that from now on it may be accepted; raise SubmissionRefused where that fails, and it must not be."""
        self._journal.note(self, "sending")
        self._state = "sending"

    def accepted(self, reply: str) -> None:
        """Note that it was accepted, with the SMTP server's reply; whatever becomes of the note, it was."""
        self._state = "accepted"
        self._accepted = self._journal.note_accepted(self, reply)

    def filed(self) -> None:
        """Note that there is a copy in Sent of what was accepted."""
        assert self._accepted is not None
        self._journal.note_filed(self, self._accepted)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if self._state != "accepted":
                with suppress(SubmissionRefused):
                    self._settle(error)
        finally:
            with cleanup("journal"):
                self._journal.let_go(self)

    def _settle(self, error: BaseException | None) -> None:
        was_refused = isinstance(error, SubmissionRefused) and not isinstance(error, DeliveryUncertain)
        if self.is_doubtful or (self._state == "sending" and not was_refused):
            self._journal.note(self, "uncertain")
        else:
            self._journal.strike(self)


class Unrecorded:
    """What stands for a claim where nothing is written down: of a submission that no other can be a repeat of."""

    def sending(self) -> None:
        """Note nothing."""

    def accepted(self, reply: str) -> None:
        """Note nothing."""

    def filed(self) -> None:
        """Note nothing."""


def _store(database: sqlite3.Connection, key: Key, entry: _Entry) -> None:
    database.execute(_STORE, (*key, *entry))


def _entry_of(database: sqlite3.Connection, key: Key) -> _Entry | None:
    row = database.execute(_SELECT, (key.submission,)).fetchone()
    if row is None:
        return None
    entry = _Entry(*row)
    is_whole = entry.state in _STATES and tuple(map(type, entry[2:])) == (int, float, str)
    if not is_whole:  # SQLite itself takes any value for any column
        raise sqlite3.DatabaseError("an entry is damaged")
    return entry
