"""What was submitted is known to all workers, whatever becomes of the one that submitted it."""

import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imapproxy.errors import DeliveryUncertain, SubmissionRefused
from imapproxy.net import journal as journal_module
from imapproxy.net import journal_file
from imapproxy.net.journal import KEPT_FOR, MAX_ENTRIES, UNUSABLE, Claim, Earlier, Journal, Key, Unrecorded, key_of
from imapproxy.net.journal_file import make
from tests.net.child import child
from tests.net.first_journal import make_first_version
from tests.net.peers import PATIENCE, Background, Log, nothing_left

KEY = key_of("fred", bytes(32))
ANOTHER = key_of("fred", b"a" * 32)
TEN = datetime(2026, 11, 24, 10, tzinfo=UTC)
REPLY = "250 2.0.0 ok: queued as 1"
EARLIER = Earlier(TEN, REPLY, is_filed=False)


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


class Clock:
    """Wall clock time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = TEN.timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = str(tmp_path / "journal")
    make(file)
    return file


@pytest.fixture
def journal(path: str, clock: Clock) -> Iterator[Journal]:
    """A worker's."""
    with closing(Journal(path, clock)) as ours:
        yield ours


@pytest.fixture
def other(path: str, clock: Clock) -> Iterator[Journal]:
    """Another worker's."""
    with closing(Journal(path, clock)) as theirs:
        yield theirs


def claimed(journal: Journal, key: Key = KEY) -> Claim:
    claim = journal.claim(key)
    assert isinstance(claim, Claim)
    return claim


def accept(journal: Journal, key: Key = KEY, reply: str = REPLY) -> None:
    with claimed(journal, key) as claim:
        claim.sending()
        claim.accepted(reply)


def end(claim: Claim, failure: BaseException, is_sending: bool) -> None:
    """Have a submission end like that, before its final dot or behind it."""
    with pytest.raises(type(failure)) as caught:
        submit_in_vain(claim, failure, is_sending)
    assert caught.value is failure


def submit_in_vain(claim: Claim, failure: BaseException, is_sending: bool) -> None:
    with claim:
        go_on(claim, is_sending)
        raise failure


def go_on(claim: Claim, is_sending: bool) -> None:
    if is_sending:
        claim.sending()


def keys_in(path: str) -> list[bytes]:
    with closing(sqlite3.connect(path)) as database:
        return [key for (key,) in database.execute("SELECT key FROM submission ORDER BY number")]


# The key.


def test_another_user_or_another_octet_is_another_submission() -> None:
    keys = {
        key_of(user, digest) for user in ("fred", "freda", "Fred", "\udcff", "") for digest in (bytes(32), b"a" * 32)
    }
    assert len({key.submission for key in keys}) == 10
    assert len({key.user for key in keys}) == 5


# What comes of a submission is known.


def test_what_was_accepted_is_known_to_all_workers_from_then_on(journal: Journal, other: Journal, clock: Clock) -> None:
    accept(journal)
    clock.now += 60
    assert journal.claim(KEY) == other.claim(KEY) == EARLIER
    assert isinstance(other.claim(key_of("ann", bytes(32))), Claim)


def test_until_the_claim_has_ended_its_copy_may_yet_be_filed(journal: Journal, other: Journal) -> None:
    with claimed(journal) as claim:
        claim.sending()
        claim.accepted(REPLY)
        assert journal.claim(KEY) is None
        assert other.claim(KEY) is None
    assert other.claim(KEY) == EARLIER


def test_that_there_is_a_copy_in_sent_is_known(journal: Journal, other: Journal) -> None:
    with claimed(journal) as claim:
        claim.sending()
        claim.accepted(REPLY)
        claim.filed()
    assert journal.claim(KEY) == other.claim(KEY) == Earlier(TEN, REPLY, is_filed=True)


def test_of_a_long_reply_the_beginning_is_kept(journal: Journal) -> None:
    accept(journal, reply="250 " + "x" * 1000)
    assert journal.claim(KEY) == Earlier(TEN, "250 " + "x" * 196, is_filed=False)


def test_it_is_known_after_a_restart(path: str, clock: Clock) -> None:
    for _ in range(2):
        with closing(Journal(path, clock)) as journal:
            found = journal.claim(KEY)
            if isinstance(found, Claim):
                with found as claim:
                    claim.sending()
                    claim.accepted(REPLY)
        make(path)
    assert found == EARLIER


@pytest.mark.parametrize("is_sending", [False, True])
def test_while_it_is_under_way_it_is_nobody_elses(journal: Journal, other: Journal, is_sending: bool) -> None:
    with claimed(journal) as claim:
        go_on(claim, is_sending)
        assert journal.claim(KEY) is None
        assert other.claim(KEY) is None


@pytest.mark.parametrize("is_sending", [False, True])
def test_what_was_refused_is_not_remembered(path: str, journal: Journal, other: Journal, is_sending: bool) -> None:
    end(claimed(journal), SubmissionRefused("554 5.7.1 spam"), is_sending)
    assert keys_in(path) == []
    assert not claimed(other).is_doubtful


@pytest.mark.parametrize("failure", [DeliveryUncertain("4.4.2"), OSError("surprise"), KeyboardInterrupt()])
def test_what_ended_otherwise_behind_the_final_dot_may_have_been_accepted(
    journal: Journal, other: Journal, failure: BaseException
) -> None:
    end(claimed(journal), failure, is_sending=True)
    assert claimed(other).is_doubtful


def test_what_ended_otherwise_before_it_was_not(journal: Journal, other: Journal) -> None:
    end(claimed(journal), OSError("surprise"), is_sending=False)
    assert not claimed(other).is_doubtful


def test_a_doubt_stays_until_it_is_accepted(journal: Journal, other: Journal) -> None:
    end(claimed(journal), DeliveryUncertain("4.4.2 no reply"), is_sending=True)
    end(claimed(other), SubmissionRefused("4.4.1 mail server not responding"), is_sending=False)
    with claimed(journal) as claim:
        assert claim.is_doubtful
        claim.sending()
        claim.accepted(REPLY)
    assert other.claim(KEY) == EARLIER


def test_one_of_many_who_try_at_once_sends_it(path: str) -> None:
    together, sent = threading.Barrier(6), []

    def submit(journal: Journal) -> Earlier:
        together.wait()
        while True:
            found = journal.claim(KEY)
            if isinstance(found, Earlier):
                return found
            if isinstance(found, Claim):
                with found as claim:
                    claim.sending()
                    sent.append(claim)
                    claim.accepted(REPLY)

    with closing(Journal(path)) as journal, closing(Journal(path)) as other:
        works = [Background(partial(submit, where)) for where in (journal, other) * 3]
        answers = {work.result() for work in works}
    assert len(sent) == len(answers) == 1


# A worker that is killed.


@contextmanager
def killed_while(path: str, work: Callable[[Claim], None]) -> Iterator[None]:
    """Have a worker that has come so far with the submission, and is killed at the end of this."""

    def begin(say: Callable[[str], None]) -> Claim:
        claim = claimed(Journal(path))
        work(claim)
        say("done")
        return claim

    with child(begin) as worker:
        worker.said()
        yield
        worker.kill()


def test_killed_before_the_final_dot_another_takes_over(path: str, journal: Journal) -> None:
    with killed_while(path, lambda claim: None):
        assert journal.claim(KEY) is None
    assert not claimed(journal).is_doubtful


@pytest.mark.parametrize("looks", [0, 1])
def test_an_owner_that_dies_while_one_looks_is_not_taken_for_accepted(
    journal: Journal, other: Journal, monkeypatch: pytest.MonkeyPatch, looks: int
) -> None:
    """It would be told to whoever tries again, and nobody would get it."""
    is_there = iter([*[False] * looks, True])
    with claimed(journal):
        monkeypatch.setattr(other._presence, "is_there", lambda _mark: next(is_there, False))
        assert other.claim(KEY) is None


def test_killed_behind_the_final_dot_it_is_in_doubt(path: str, journal: Journal) -> None:
    with killed_while(path, Claim.sending):
        assert journal.claim(KEY) is None
    assert claimed(journal).is_doubtful


def test_killed_once_it_is_accepted_it_is_known_and_that_there_may_be_no_copy_in_sent(
    path: str, journal: Journal
) -> None:
    with killed_while(path, lambda claim: claim.accepted(REPLY)):
        assert journal.claim(KEY) is None
    found = journal.claim(KEY)
    assert isinstance(found, Earlier)
    assert (found.reply, found.is_filed) == (REPLY, False)


@pytest.mark.parametrize("is_sending", [False, True])
def test_who_was_taken_for_dead_sends_nothing_and_spoils_nothing(
    path: str, journal: Journal, other: Journal, clock: Clock, log: Log, is_sending: bool
) -> None:
    with claimed(journal) as late:
        clock.now += KEPT_FOR + 1  # as where a machine without a battery learns the time
        with claimed(other) as claim:
            with pytest.raises(SubmissionRefused) as caught:
                late.sending()
            assert caught.value.text == UNUSABLE
            assert log.lines == [f'journal-failed journal={path} reason="another has taken the submission over"']
            go_on(claim, is_sending)
            end(late, SubmissionRefused(UNUSABLE), is_sending=False)
            assert journal.claim(KEY) is None
            claim.accepted(REPLY)
        assert isinstance(journal.claim(KEY), Earlier)


# It does not grow.


@pytest.mark.parametrize(("passed", "is_known"), [(KEPT_FOR - 1, True), (KEPT_FOR + 1, False)])
def test_what_is_a_day_old_leaves(journal: Journal, clock: Clock, passed: float, is_known: bool) -> None:
    accept(journal)
    clock.now += passed
    assert isinstance(journal.claim(KEY), Earlier) == is_known


def test_who_submits_while_the_clock_is_behind_makes_nothing_forgotten(journal: Journal, clock: Clock) -> None:
    """As of a machine without a battery, until it has learnt the time."""
    accept(journal)
    clock.now = 0
    assert journal.claim(KEY) == EARLIER
    accept(journal, ANOTHER)
    clock.now = TEN.timestamp() + 60
    assert journal.claim(KEY) == EARLIER


def test_an_old_entry_leaves_whoever_submits_what(path: str, journal: Journal, clock: Clock) -> None:
    accept(journal)
    clock.now += KEPT_FOR + 1
    accept(journal, ANOTHER)
    assert keys_in(path) == [ANOTHER.submission]


def keys_of(user: str, *numbers: int) -> list[Key]:
    return [key_of(user, bytes([number]) * 32) for number in numbers]


def test_of_a_users_too_many_the_oldest_leave(path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "MAX_ENTRIES", 3)
    for key in keys_of("fred", 1, 2, 3, 4, 5):
        accept(journal, key)
    assert keys_in(path) == [key.submission for key in keys_of("fred", 3, 4, 5)]


def test_a_users_submissions_push_nobody_elses_out(
    journal: Journal, other: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_ENTRIES", 3)
    (anns,) = keys_of("ann", 1)
    accept(journal, anns)
    for key in keys_of("fred", *range(50)):
        accept(journal, key)
    assert other.claim(anns) == EARLIER
    assert isinstance(other.claim(keys_of("fred", 46)[0]), Claim)


def test_what_is_tried_again_takes_the_place_it_has(
    path: str, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_ENTRIES", 2)
    end(claimed(journal), DeliveryUncertain("4.4.2 no reply"), is_sending=True)
    accept(journal, ANOTHER)
    assert claimed(journal).is_doubtful
    assert keys_in(path) == [KEY.submission, ANOTHER.submission]


def test_entries_that_leave_are_found_without_a_search_through_all(path: str) -> None:
    statements: list[tuple[str, Any]] = [
        (journal_module._FORGET_OLD, (0,)),
        (journal_module._MAKE_ROOM, {"user": KEY.user, "kept": 9}),
    ]
    with closing(sqlite3.connect(path)) as database:
        for statement, values in statements:
            plan = str(database.execute(f"EXPLAIN QUERY PLAN {statement}", values).fetchall())
            assert "SEARCH" in plan
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan


def test_a_users_entries_take_no_more_room_than_is_said(path: str, clock: Clock) -> None:
    """As the manual has it: 5 MB."""
    names = [key_of("fred", number.to_bytes(32, "big")) for number in range(MAX_ENTRIES)]
    rows = [(*key, "accepted", 0, 1 << 61, clock(), "250 " + "x" * 196) for key in names]
    with closing(sqlite3.connect(path)) as database, database:
        database.executemany(journal_module._STORE, rows)
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert Path(path).stat().st_size < 5_000_000


# A file of a version that knew no users.


def test_what_an_earlier_version_wrote_down_is_known(tmp_path: Path, clock: Clock) -> None:
    path = str(tmp_path / "journal")
    make_first_version(path)
    with closing(sqlite3.connect(path)) as database, database:
        put_as_first_version(database, KEY.submission, clock())
    make(path)
    with closing(Journal(path, clock)) as journal:
        assert journal.claim(KEY) == EARLIER
        accept(journal, ANOTHER)
        with closing(sqlite3.connect(path)) as database, database:  # one that runs still, or runs again
            put_as_first_version(database, b"written later", clock())
        assert keys_in(path) == [KEY.submission, ANOTHER.submission, b"written later"]
        assert journal.claim(ANOTHER) == EARLIER


def put_as_first_version(database: sqlite3.Connection, key: bytes, at: float) -> None:
    """Have an accepted submission stored by the statement of the version that knew no users."""
    columns = "key, state, doubtful, owner, at, reply"
    database.execute(f"INSERT INTO submission ({columns}) VALUES (?, 'accepted', 0, 0, ?, ?)", (key, at, REPLY))


# The journal fails.


@contextmanager
def held(path: str) -> Iterator[None]:
    """Have the file locked by another program."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def moved_away(*files: str) -> Iterator[None]:
    for file in files:
        Path(file).rename(f"{file}.away")
    try:
        yield
    finally:
        for file in files:
            Path(f"{file}.away").rename(file)


@contextmanager
def overwritten(path: str) -> Iterator[None]:
    """Have a file with the same name that is none."""
    with moved_away(path):
        Path(path).write_bytes(b"no database" * 1000)
        try:
            yield
        finally:
            Path(path).unlink()


@contextmanager
def full(_path: str) -> Iterator[None]:
    """Have a disk without room: no file of ours may grow, and what would is refused as a full disk refuses it."""
    usual, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (usual, most))


Failing = Callable[[str], AbstractContextManager[None]]

FAILURES = pytest.mark.parametrize(
    ("failing", "reason"),
    [
        pytest.param(held, "database is locked", id="locked"),
        pytest.param(moved_away, "No such file or directory", id="gone"),
        pytest.param(overwritten, "file is not a database", id="overwritten"),
        pytest.param(full, "disk I/O error", id="full"),
    ],
)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "BUSY_PATIENCE", 0.05)


@pytest.mark.usefixtures("impatient")
@FAILURES
def test_what_cannot_be_written_down_is_not_to_be_sent_until_it_can(
    path: str, journal: Journal, log: Log, failing: Failing, reason: str
) -> None:
    with failing(path), pytest.raises(SubmissionRefused) as caught:
        journal.claim(KEY)
    assert caught.value.text == UNUSABLE == "4.3.0 the proxy cannot use its journal; try again later"
    assert log.lines == [f'journal-failed journal={path} reason="{reason}"']
    assert not claimed(journal).is_doubtful


@pytest.mark.usefixtures("impatient")
@FAILURES
def test_the_final_dot_waits_for_the_journal(
    path: str, journal: Journal, log: Log, failing: Failing, reason: str
) -> None:
    with pytest.raises(SubmissionRefused) as caught, claimed(journal) as claim, failing(path):
        claim.sending()
    assert caught.value.text == UNUSABLE
    assert log.of("journal-failed") == [f'journal-failed journal={path} reason="{reason}"']
    assert not claimed(journal).is_doubtful


def accept_within(failing: AbstractContextManager[None], claim: Claim) -> None:
    """Have a claim accepted while the journal fails."""
    with claim:
        claim.sending()
        with failing:
            claim.accepted(REPLY)


@pytest.mark.usefixtures("impatient")
@FAILURES
def test_what_was_accepted_was_whatever_the_journal_says(
    path: str, journal: Journal, log: Log, failing: Failing, reason: str
) -> None:
    accept_within(failing(path), claimed(journal))
    assert log.lines == [f'journal-failed journal={path} reason="{reason}"']
    with failing(path):
        assert journal.claim(KEY) == EARLIER


@pytest.mark.usefixtures("impatient")
def test_a_copy_in_sent_that_cannot_be_written_down_is_so_later(path: str, journal: Journal, other: Journal) -> None:
    with claimed(journal) as claim:
        claim.sending()
        with held(path):
            claim.accepted(REPLY)
            assert journal.claim(KEY) is None
            claim.filed()
    assert other.claim(KEY) is None
    accept(journal, ANOTHER)
    assert other.claim(KEY) == Earlier(TEN, REPLY, is_filed=True)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("failing", [held, full])
def test_what_is_written_down_can_be_read_though_nothing_can_be_written(
    path: str, journal: Journal, other: Journal, log: Log, failing: Failing
) -> None:
    accept(journal)
    with claimed(journal, ANOTHER) as claim:
        claim.sending()
        with failing(path):
            assert other.claim(KEY) == EARLIER
            assert other.claim(ANOTHER) is None
            assert log.lines == []


@pytest.mark.usefixtures("impatient")
def test_it_is_known_whether_something_is_owed(path: str, journal: Journal) -> None:
    with claimed(journal) as claim:
        claim.sending()
        with held(path):
            claim.accepted(REPLY)
            assert not journal.settle()
        assert journal.settle()


@pytest.mark.usefixtures("impatient")
def test_who_closes_writes_down_what_is_owed(path: str, other: Journal, clock: Clock) -> None:
    ours = Journal(path, clock)
    accept_within(held(path), claimed(ours))
    ours.close()
    assert other.claim(KEY) == EARLIER


@pytest.mark.usefixtures("impatient")
@FAILURES
def test_it_is_written_down_with_whatever_comes_next(
    path: str, journal: Journal, other: Journal, failing: Failing, reason: str
) -> None:
    accept_within(failing(path), claimed(journal))
    # SQLite throws away what lies beside another file, as it is not of that file.
    assert failing is overwritten or other.claim(KEY) is None, reason
    accept(journal, ANOTHER)
    assert other.claim(KEY) == EARLIER


def test_if_nothing_comes_it_is_written_down_all_the_same(
    path: str, journal: Journal, other: Journal, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "OWED_INTERVAL", 0.05)
    with claimed(journal) as claim:
        claim.sending()
        with full(path):
            claim.accepted(REPLY)
            log.await_line("journal-failed", 3)
    assert Background(partial(awaited, other)).result() == EARLIER


def awaited(journal: Journal) -> Claim | Earlier:
    """Return what becomes of a submission that is under way elsewhere."""
    while (found := journal.claim(KEY)) is None:
        pass
    return found


def test_killed_before_that_it_is_in_doubt(path: str, journal: Journal) -> None:
    with killed_while(path, partial(accept_within, full(path))):
        assert journal.claim(KEY) is None
    assert claimed(journal).is_doubtful


@pytest.mark.usefixtures("impatient")
@FAILURES
def test_a_refusal_stays_one_and_is_tried_again_whatever_the_journal_says(
    path: str, journal: Journal, other: Journal, log: Log, failing: Failing, reason: str
) -> None:
    claim = claimed(journal)
    with failing(path):
        end(claim, SubmissionRefused("550 no"), is_sending=False)
    assert log.lines == [f'journal-failed journal={path} reason="{reason}"']
    assert not claimed(other).is_doubtful


def test_a_journal_that_was_put_in_the_place_of_ours_is_used_from_then_on(path: str, journal: Journal) -> None:
    accept(journal)
    for file in (path, f"{path}-wal", f"{path}-shm"):
        Path(file).unlink()
    make(path)
    accept(journal)
    assert keys_in(path) == [KEY.submission]


@pytest.mark.parametrize(
    "damage",
    ["state = 'x'", "state = NULL", "owner = 'x'", "owner = 1.5", "reply = x'00'", "reply = NULL"],
)
def test_an_entry_that_makes_no_sense_is_no_answer(path: str, journal: Journal, log: Log, damage: str) -> None:
    accept(journal)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("PRAGMA writable_schema = ON")
        database.execute("UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '')")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"UPDATE submission SET {damage}")
    with pytest.raises(SubmissionRefused) as caught:
        journal.claim(KEY)
    assert caught.value.text == UNUSABLE
    assert log.lines == [f'journal-failed journal={path} reason="an entry is damaged"']


def test_who_has_waited_too_long_for_its_turn_is_refused(
    path: str, journal: Journal, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "TURN_PATIENCE", 0.01)
    monkeypatch.setattr(journal_file, "BUSY_PATIENCE", 10)
    with held(path):
        first = Background(lambda: journal.claim(KEY))
        second = Background(lambda: journal.claim(ANOTHER))
        for late in (first, second):
            late.thread.join(PATIENCE / 20)
        assert [late.thread.is_alive() for late in (first, second)].count(True) == 1
        assert log.await_line("journal-failed").endswith('reason="it is too slow"')
    assert {type(outcome_of(work)) for work in (first, second)} == {Claim, SubmissionRefused}


def test_who_is_done_waits_for_nobody(journal: Journal, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a client would not hear that its message was accepted while another's turn takes its time."""
    monkeypatch.setattr(journal_module, "TURN_PATIENCE", 0.01)
    claim = claimed(journal)
    claim.sending()
    with journal._lock:
        Background(partial(accept_and_leave, claim)).result()
    assert log.lines == [f'journal-failed journal={journal._path} reason="it is too slow"']


def accept_and_leave(claim: Claim) -> None:
    with claim:
        claim.accepted(REPLY)


def outcome_of(work: Background[Claim | Earlier | None]) -> object:
    try:
        return work.result()
    except SubmissionRefused as failure:
        return failure


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    Journal(str(tmp_path / "missing")).close()
    assert list(tmp_path.iterdir()) == []


def test_of_what_cannot_come_again_nothing_is_written_down() -> None:
    claim = Unrecorded()
    claim.sending()
    claim.accepted(REPLY)
