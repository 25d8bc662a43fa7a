"""What can happen to the journal's files while the program runs, and how it ends again."""

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

# The journal, the two files of SQLite's beside it, and the one for locks belong together.
SUFFIXES = ("", "-wal", "-shm", "-lock")
GARBAGE = b"this is not a database\n" * 1000


class Trouble(Protocol):
    """Makes the journal at a path unusable for as long as the ``with`` lasts."""

    def __call__(self, journal: Path) -> AbstractContextManager[None]:
        """Begin."""


@contextmanager
def moved_away(journal: Path) -> Iterator[None]:
    """Have the files in another directory, as when a file system is not mounted."""
    elsewhere = journal.with_name("elsewhere")
    elsewhere.mkdir()
    _move(journal, elsewhere / journal.name)
    try:
        yield
    finally:
        for file in _files(journal):
            file.unlink(missing_ok=True)
        _move(elsewhere / journal.name, journal)
        elsewhere.rmdir()


@contextmanager
def garbled(journal: Path) -> Iterator[None]:
    """Have something else in its place."""
    with moved_away(journal):
        journal.write_bytes(GARBAGE)
        shutil.copy(journal, _files(journal)[SUFFIXES.index("-lock")])
        yield


@contextmanager
def held_by_another(journal: Path) -> Iterator[None]:
    """Have another process write to it for so long that the program cannot wait for that."""
    with closing(sqlite3.connect(journal, isolation_level=None, check_same_thread=False)) as database:
        database.execute("BEGIN IMMEDIATE")
        yield
        database.execute("ROLLBACK")


TROUBLES: Mapping[str, Trouble] = {
    "moved away": moved_away,
    "garbled": garbled,
    "held by another process": held_by_another,
}


def _move(journal: Path, to: Path) -> None:
    for file, other in zip(_files(journal), _files(to), strict=True):
        if file.exists():
            file.rename(other)


def _files(journal: Path) -> list[Path]:
    return [journal.with_name(journal.name + suffix) for suffix in SUFFIXES]
