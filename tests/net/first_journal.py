"""The journal's file as the first version made it: with the same format, and without the submissions' users."""

import sqlite3
from contextlib import closing
from pathlib import Path

from imapproxy.net.journal_file import lock_file

_STATEMENTS = """
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
    PRAGMA application_id = 0x494d5058;
    PRAGMA user_version = 1;
    PRAGMA journal_mode = WAL;
"""


def make_first_version(path: str) -> None:
    """Make an empty one, with its file for locks."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(_STATEMENTS)
    Path(lock_file(path)).touch(mode=0o600)
