"""What makes the journal unusable in the fault runs does so, and leaves it as it was."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.journal_trouble import SUFFIXES, TROUBLES, Trouble


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Return a database with its three companions, in which a number is written."""
    path = tmp_path / "journal"
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE numbers (number)")
        write(path, 1)
    path.with_name("journal-lock").touch()
    return path


def write(path: Path, number: int) -> None:
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None)) as database:
        database.execute("INSERT INTO numbers VALUES (?)", (number,))


def numbers(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as database:
        return [number for (number,) in database.execute("SELECT number FROM numbers ORDER BY number")]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_nothing_can_be_written_until_it_is_over(journal: Path, trouble: Trouble) -> None:
    with trouble(journal), pytest.raises(sqlite3.DatabaseError):
        write(journal, 2)
    write(journal, 3)
    assert numbers(journal) == [1, 3]


@pytest.mark.parametrize("trouble", TROUBLES.values(), ids=TROUBLES.keys())
def test_all_files_are_there_afterwards_and_no_other(journal: Path, trouble: Trouble) -> None:
    before = {path.name for path in journal.parent.iterdir()}
    with closing(sqlite3.connect(journal)) as reader:  # else the last one to leave removes two of them
        reader.execute("SELECT * FROM numbers").fetchall()
        assert {f"journal{suffix}" for suffix in SUFFIXES} >= before
        with trouble(journal):
            pass
        after = {path.name for path in journal.parent.iterdir()}
    assert after == {f"journal{suffix}" for suffix in SUFFIXES}


@pytest.mark.parametrize("name", ["moved away", "garbled"])
def test_the_file_for_locks_is_gone_too(journal: Path, name: str) -> None:
    lock = journal.with_name("journal-lock")
    identity = lock.stat().st_ino
    with TROUBLES[name](journal):
        assert not lock.exists() or lock.stat().st_ino != identity
    assert lock.stat().st_ino == identity
