"""The journal's file: an SQLite database in WAL mode.

Its application_id makes it known as ours, its user_version is that of its format. It is made once, at a start or a
reload; whoever uses it later finds it or does without. Beside it lie a file for locks (``presence``) and SQLite's own
two, ``-wal`` and ``-shm``: the four belong together.

An open database must never be opened by anything but SQLite in the same process: closing that would free its locks.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from imapproxy.errors import ConfigError

# How long another process may keep the file to itself, in seconds: each writes for some milliseconds at a time.
BUSY_PATIENCE = 5.0

_APPLICATION = int.from_bytes(b"IMPX", "big")
_FORMAT = 1

# Numbers rise with each submission that is new: the highest are the latest. ``_USER`` comes on top.
_SCHEMA = """
    CREATE TABLE submission (
        number INTEGER PRIMARY KEY,
        key BLOB NOT NULL UNIQUE,
        state TEXT NOT NULL,
        doubtful INTEGER NOT NULL,
        owner INTEGER NOT NULL,
        at REAL NOT NULL,
        reply TEXT NOT NULL
    );
    CREATE INDEX submission_at ON submission (at);
"""
# A file of the first version has no users. That version can still use a file that has them, and what it writes then
# belongs to no user: so the format stays the same.
_USER = """
    ALTER TABLE submission ADD COLUMN user BLOB NOT NULL DEFAULT x'';
    CREATE INDEX submission_user ON submission (user);
"""


class NotOurs(Exception):
    """A database that is no journal, or one of another version; the text says which."""


def lock_file(path: str) -> str:
    """Return the path of the file for locks that lies beside the journal at ``path``."""
    return f"{path}-lock"


def opened(path: str) -> sqlite3.Connection:
    """Open the journal, which is there; raise sqlite3.Error or NotOurs where it cannot be used.

    No transaction begins by itself, and what is committed lies on the disk. Several threads may have it in turn.
    """
    database = _connected(path, "mode=rw")
    try:
        database.execute("PRAGMA synchronous = FULL")
        _check_format(database)
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """Have the database to ourselves; what was written stays if nothing is raised."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    finally:
        if database.in_transaction:
            database.execute("ROLLBACK")


def check(path: str) -> None:
    """Raise ConfigError where what is at ``path`` is no journal; nothing is written, nor is any file made."""
    if not os.path.exists(path):
        return
    try:
        # Its locks are not looked at either, for which SQLite would make files that then are not the workers'.
        with closing(_connected(path, "immutable=1")) as database:
            if _number(database, "schema_version"):
                _check_format(database)
    except (sqlite3.Error, NotOurs) as failure:
        raise _unusable(path, str(failure)) from failure


def make(path: str) -> None:
    """Make the journal, or see that the one that is there is whole; raise ConfigError where that cannot be."""
    try:
        os.close(_made(path))
        os.close(_made(lock_file(path)))
        with closing(_connected(path, "mode=rw")) as database:
            if not _is_made(database):
                with _alone(lock_file(path)):
                    _make_in(database)
            _check_format(database)
            _check_whole(database)
    except OSError as failure:
        raise _unusable(path, failure.strerror or str(failure)) from failure
    except (sqlite3.Error, NotOurs) as failure:
        raise _unusable(path, str(failure)) from failure


def _made(file: str) -> int:
    """Open a file, which is made if it is not there."""
    return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)


@contextmanager
def _alone(file: str) -> Iterator[None]:
    """Let one process at a time make the journal: SQLite does not wait for another to switch to WAL, but fails.

    These locks (flock(2)) and those of ``presence`` do not see each other.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_made(database: sqlite3.Connection) -> bool:
    """Tell without writing, for which others who have it locked would have to be waited for."""
    return _has_users(database) and _mode(database) == "wal"


def _has_users(database: sqlite3.Connection) -> bool:
    columns = database.execute("PRAGMA table_info(submission)").fetchall()
    return any(name == "user" for _, name, *_ in columns)


def _mode(database: sqlite3.Connection) -> str:
    mode: str = database.execute("PRAGMA journal_mode").fetchone()[0]
    return mode


def _make_in(database: sqlite3.Connection) -> None:
    with transaction(database):
        if not _number(database, "schema_version"):
            _execute_all(database, _SCHEMA)
            # Before WAL: so that they are in the file itself, where ``check`` looks for them.
            database.execute(f"PRAGMA application_id = {_APPLICATION}")
            database.execute(f"PRAGMA user_version = {_FORMAT}")
        _check_format(database)
        if not _has_users(database):
            _execute_all(database, _USER)
    database.execute("PRAGMA journal_mode = WAL")


def _execute_all(database: sqlite3.Connection, statements: str) -> None:
    """Execute statements within the transaction there is, which ``executescript`` would end."""
    for statement in statements.split(";"):
        database.execute(statement)


def _check_whole(database: sqlite3.Connection) -> None:
    complaint = database.execute("PRAGMA quick_check(1)").fetchone()[0]
    if complaint != "ok":
        raise NotOurs(f"it is damaged: {complaint}")


def _connected(path: str, access: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).absolute().as_uri()}?{access}",
        uri=True,
        timeout=BUSY_PATIENCE,
        isolation_level=None,
        check_same_thread=False,
    )


def _check_format(database: sqlite3.Connection) -> None:
    if _number(database, "application_id") != _APPLICATION:
        raise NotOurs("it is a database, but no journal of imapproxy's")
    version = _number(database, "user_version")
    if version != _FORMAT:
        raise NotOurs(f"it has the format {version} of another version of imapproxy; this one has {_FORMAT}")


def _number(database: sqlite3.Connection, pragma: str) -> int:
    number: int = database.execute(f"PRAGMA {pragma}").fetchone()[0]
    return number


def _unusable(path: str, reason: str) -> ConfigError:
    return ConfigError(f"journal: cannot use {path}: {reason}; mend that, or name another file")
