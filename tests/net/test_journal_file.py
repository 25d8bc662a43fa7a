"""The journal's file: made once, known as ours, and whatever else is there left as it is."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imapproxy.errors import ConfigError
from imapproxy.net import journal_file
from imapproxy.net.journal_file import NotOurs, check, lock_file, make, opened, transaction
from tests.net.first_journal import make_first_version
from tests.net.peers import Background, nothing_left


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "my%20 journal?#")


def foreign(path: str) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE mine (it TEXT)")


def text(path: str) -> None:
    Path(path).write_text("not a database, and longer than its header would be\n" * 10, encoding="ascii")


def of_another_version(path: str) -> None:
    make(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA user_version = 9")
        database.execute("PRAGMA wal_checkpoint")


def a_directory(path: str) -> None:
    Path(path).mkdir()


STRANGERS = [
    (foreign, "it is a database, but no journal of imapproxy's"),
    (text, "file is not a database"),
    (of_another_version, "it has the format 9 of another version of imapproxy; this one has 1"),
]


def test_a_journal_is_made_for_its_owner_alone_and_is_then_good(path: str) -> None:
    make(path)
    check(path)
    assert [os.stat(file).st_mode & 0o777 for file in (path, lock_file(path))] == [0o600] * 2
    with closing(opened(path)) as database:
        assert database.execute("SELECT count(*) FROM submission").fetchone() == (0,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL


def test_one_that_is_there_keeps_what_it_has(path: str) -> None:
    make(path)
    with closing(opened(path)) as database, transaction(database):
        database.execute("INSERT INTO submission VALUES (1, 'k', 'accepted', 0, 0, 0.0, '250 ok', 'u')")
    make(path)
    with closing(opened(path)) as database:
        assert database.execute("SELECT reply FROM submission").fetchall() == [("250 ok",)]


def test_one_of_the_first_version_is_good_once_it_is_made_for_this_one(path: str) -> None:
    make_first_version(path)
    check(path)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO submission VALUES (1, 'k', 'accepted', 0, 0, 0.0, '250 ok')")
    make(path)
    check(path)
    make(path)
    with closing(opened(path)) as database:
        assert database.execute("SELECT key, reply, user FROM submission").fetchall() == [("k", "250 ok", b"")]


def test_what_is_committed_by_one_connection_is_seen_by_another(path: str) -> None:
    make(path)
    with closing(opened(path)) as one, closing(opened(path)) as other:
        with pytest.raises(sqlite3.IntegrityError), transaction(one):
            one.executemany("INSERT INTO submission VALUES (?, 'twice', 'accepted', 0, 0, 0.0, '', 'u')", [(1,), (2,)])
        with transaction(one):
            one.execute("INSERT INTO submission VALUES (2, 'done', 'accepted', 0, 0, 0.0, '', 'u')")
        assert other.execute("SELECT key FROM submission").fetchall() == [("done",)]


def test_one_that_is_there_is_not_waited_for_though_another_has_it_locked(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "BUSY_PATIENCE", 0.0)
    make(path)
    with closing(opened(path)) as other, transaction(other):
        make(path)


@pytest.mark.parametrize("is_there", [False, True])
def test_several_may_make_it_at_once(path: str, is_there: bool) -> None:
    if is_there:
        make_first_version(path)
    together = threading.Barrier(8)

    def make_with_others() -> None:
        together.wait()
        make(path)

    for work in [Background(make_with_others) for _ in range(together.parties)]:
        work.result()
    check(path)
    opened(path).close()


@pytest.mark.parametrize(("stranger", "reason"), STRANGERS)
def test_what_is_no_journal_is_said_to_be_none_and_left_alone(
    path: str, stranger: Callable[[str], None], reason: str
) -> None:
    stranger(path)
    before = Path(path).read_bytes()
    for look in (check, make):
        with pytest.raises(ConfigError) as caught:
            look(path)
        assert str(caught.value) == f"journal: cannot use {path}: {reason}; mend that, or name another file"
    with pytest.raises((sqlite3.Error, NotOurs)):
        opened(path)
    assert Path(path).read_bytes() == before


def test_the_check_neither_needs_nor_makes_a_file(path: str) -> None:
    check(path)
    assert os.listdir(os.path.dirname(path)) == []
    Path(path).touch()
    check(path)
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_the_check_of_a_journal_in_use_leaves_it_alone(path: str) -> None:
    make(path)
    with closing(opened(path)) as database:
        with transaction(database):
            database.execute("INSERT INTO submission VALUES (1, 'k', 'accepted', 0, 0, 0.0, '', 'u')")
            check(path)
        assert database.execute("SELECT key FROM submission").fetchall() == [("k",)]


def test_a_damaged_journal_is_found_when_the_program_starts(path: str) -> None:
    make(path)
    with closing(opened(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    octets = bytearray(Path(path).read_bytes())
    octets[4096:] = b"\x5a" * (len(octets) - 4096)
    Path(path).write_bytes(octets)
    with pytest.raises(ConfigError, match=r"^journal: cannot use .*: .*(malformed|damaged)"):
        make(path)


@pytest.mark.parametrize("make_way", [lambda path: None, a_directory])
def test_where_no_file_can_be_made_the_reason_is_said(path: str, make_way: Callable[[str], None]) -> None:
    make_way(path)
    inside = f"{path}/journal" if not Path(path).is_dir() else path
    with pytest.raises(ConfigError, match=r"^journal: cannot use .*: (No such file or directory|Is a directory);"):
        make(inside)


def test_a_journal_that_is_gone_is_not_made_by_who_uses_it(path: str) -> None:
    with pytest.raises(sqlite3.OperationalError):
        opened(path)
    assert not Path(path).exists()
