"""The journal (DESIGN 4.3) through the real program: who tries again has sent once, whatever happened in between."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.functional.fake_imap import Listener, Peer, Stage, scene
from tests.functional.fake_smtp import CLOSE, RESET, FakeSmtp, Script
from tests.functional.process import PATIENCE, public_directory
from tests.functional.program import Program, program
from tests.functional.proxy_process import PROGRAM
from tests.functional.scripted import DRAFT, eventually

SENT = b"OK SUBMIT completed"
SENT_EARLIER = rb"OK SUBMIT completed \(accepted earlier, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"
NO_JOURNAL = b"NO 4.3.0 the proxy cannot use its journal; try again later,"
UNCERTAIN = b"NO 4.4.2 delivery uncertain; no reply from the mail server,"
ACCEPTS = "250 2.0.0 ok: queued as FAKE1"

MANY = 200  # sessions, of which each of two workers gets one

SUBMIT = b"S SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT)


@pytest.fixture
def smtp() -> Iterator[FakeSmtp]:
    with FakeSmtp() as server:
        yield server


@pytest.fixture
def imap() -> Iterator[Listener]:
    with Listener() as server:
        yield server


class House:
    """A program with a journal, and how its users use it."""

    def __init__(self, running: Program, imap: Listener, smtp: FakeSmtp, journal: Path) -> None:
        self.running = running
        self.smtp = smtp
        self.journal = journal
        self._imap = imap

    @contextmanager
    def fred(self) -> Iterator[Stage]:
        """A session in which fred has logged in, with whichever worker takes it."""
        with scene(self.running.ports()[-1], self._imap) as stage:
            stage.log_in()
            yield stage

    def submit(self, draft: bytes = DRAFT) -> bytes:
        """Have fred submit on a connection of its own; return the answer."""
        with self.fred() as stage:
            return stage.submit(draft)

    def assert_sent_once(self) -> None:
        """Check that another try is told so, and that there is one copy."""
        assert re.fullmatch(SENT_EARLIER, self.submit())
        assert len(self.smtp.messages) == 1


@contextmanager
def house(directory: Path, imap: Listener, smtp: FakeSmtp, workers: int = 1) -> Iterator[House]:
    journal = directory / "journal"
    options = {"submit": {"mail-domain": "example.com", "journal": str(journal)}, "listen": {"workers": str(workers)}}
    options["listen"]["listen"] = "127.0.0.1:0"
    with program(directory, imap, smtp, options) as running:
        yield House(running, imap, smtp, journal)


def restart(running: Program) -> None:
    running.stop()
    running.start()


def replace_worker(running: Program) -> None:
    before = running.count("worker-started")
    os.kill(running.workers()[0], signal.SIGKILL)
    assert eventually(lambda: running.count("worker-started") > before)


# Trying again


@pytest.mark.parametrize("between", [lambda running: None, Program.reload, restart, replace_worker])
def test_what_was_sent_is_not_sent_again(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, between: Callable[[Program], None]
) -> None:
    with house(tmp_path, imap, smtp) as it:
        assert it.submit() == SENT
        between(it.running)
        it.assert_sent_once()
        assert it.running.lines("submission-repeated")[0].endswith(f'reply="{ACCEPTS}"')


def test_nor_through_another_worker(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    with house(tmp_path, imap, smtp, workers=2) as it, ExitStack() as stack:
        stages = []
        while len(workers_that(it.running, "login")) < 2:
            stages.append(stack.enter_context(it.fred()))
            assert len(stages) < MANY
        answers = [stage.submit(DRAFT) for stage in stages]
        assert answers.pop(0) == SENT
        assert all(re.fullmatch(SENT_EARLIER, answer) for answer in answers)
        assert len(workers_that(it.running, "submission(?:-repeated)?")) == 2
        it.assert_sent_once()


def workers_that(running: Program, did: str) -> set[str]:
    """Return the numbers of those who have logged such an event."""
    return set(re.findall(rf"imapproxy\[(\d+)\]: INFO {did} ", running.log()))


@pytest.mark.parametrize(
    ("step", "refusal", "answer"),
    [
        ("RCPT", "550 5.1.1 no", b"NO ,joe@example.org"),
        (".", "451 4.3.0 not now", b"NO 451 4.3.0 not now,"),
        ("DATA", ("354 go", CLOSE), b"NO 4.4.2 "),
    ],
)
def test_what_was_refused_is_sent_when_it_is_tried_again(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, step: str, refusal: Script, answer: bytes
) -> None:
    usual = smtp.script[step]
    smtp.script[step] = refusal
    with house(tmp_path, imap, smtp) as it:
        for _ in range(2):
            assert it.submit().startswith(answer)
        smtp.script[step] = usual
        smtp.messages.clear()
        # A connection that was lost just when the final dot was written leaves a doubt, and no more.
        assert it.submit() == SENT
        it.assert_sent_once()


@pytest.mark.parametrize("end", [CLOSE, RESET])
def test_what_may_have_been_accepted_is_sent_again_and_the_log_says_so(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, end: Script
) -> None:
    smtp.script["."] = end
    with house(tmp_path, imap, smtp) as it:
        assert it.submit() == UNCERTAIN
        smtp.script["."] = ACCEPTS
        restart(it.running)
        assert it.running.count("double-possible") == 0
        assert it.submit() == SENT
        assert it.running.lines("double-possible") == [
            "double-possible user=fred client=127.0.0.1 message=<1@example.com>"
        ]
        assert re.fullmatch(SENT_EARLIER, it.submit())
        assert len(smtp.messages) == 2


# Trying again while the first is under way


@contextmanager
def under_way(it: House, step: str, then: Script, seconds: float = 1.0) -> Iterator[Peer]:
    """Have fred's submission stand at a step of the SMTP dialogue for so long; the server answers ``then``."""
    usual, before = it.smtp.script[step], len(it.smtp.commands)
    with it.fred() as stage:
        it.smtp.script[step] = (seconds, then)
        stage.client.send(SUBMIT)
        verb = "DATA" if step == "." else step
        assert eventually(lambda: any(said.startswith(verb) for said in it.smtp.commands[before:]))
        assert eventually(lambda: step != "." or bool(it.smtp.messages))
        it.smtp.script[step] = usual
        yield stage.client


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("step", ["RCPT", "."])
def test_the_second_waits_and_has_the_firsts_answer(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, workers: int, step: str
) -> None:
    with house(tmp_path, imap, smtp, workers) as it, under_way(it, step, ACCEPTS) as first:
        assert re.fullmatch(SENT_EARLIER, it.submit())
        assert first.answer(b"S") == SENT
        assert len(smtp.messages) == 1


def test_where_the_first_is_refused_the_second_is_sent(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    with house(tmp_path, imap, smtp) as it, under_way(it, "RCPT", "450 4.2.0 later") as first:
        assert it.submit() == SENT
        assert first.answer(b"S") == b"NO 450 4.2.0 later,joe@example.org"
        it.assert_sent_once()


@pytest.mark.parametrize("step", ["MAIL", "."])
@pytest.mark.parametrize("leave", [Peer.reset, Peer.close])
def test_a_client_that_lost_its_link_hears_what_became_of_it(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, leave: Callable[[Peer], None], step: str
) -> None:
    with house(tmp_path, imap, smtp) as it:
        with it.fred() as stage:
            smtp.script[step] = (0.5, smtp.script[step])
            stage.client.send(SUBMIT)
            assert eventually(lambda: "MAIL" in smtp.verbs())
            leave(stage.client)
            assert re.fullmatch(SENT_EARLIER, it.submit())
            stage.server.close()
            stage.check_silence = lambda: None  # type: ignore[method-assign]  # nobody is there any more
        it.assert_sent_once()


# A worker that dies


def kill_worker_at(it: House, step: str) -> None:
    """Kill the worker while a submission stands at that step."""
    before = it.running.count("worker-started")
    with under_way(it, step, ACCEPTS, PATIENCE) as client:
        os.kill(it.running.workers()[0], signal.SIGKILL)
        assert client.rest() == b""
    assert eventually(lambda: it.running.count("worker-started") > before)


def test_killed_before_the_final_dot_nobody_has_got_it(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    with house(tmp_path, imap, smtp) as it:
        kill_worker_at(it, "RCPT")
        assert it.submit() == SENT
        assert it.running.count("double-possible") == 0
        it.assert_sent_once()


def test_killed_behind_it_nobody_knows_and_the_log_says_so(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    """The one window that SMTP leaves open."""
    with house(tmp_path, imap, smtp) as it:
        kill_worker_at(it, ".")
        assert it.submit() == SENT
        assert it.running.count("double-possible") == 1
        assert len(smtp.messages) == 2


# The journal fails


def lock(it: House) -> Callable[[], None]:
    holder = sqlite3.connect(it.journal, isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def overwrite(it: House) -> Callable[[], None]:
    away = it.journal.rename(it.journal.with_suffix(".away"))
    it.journal.write_bytes(b"no database" * 1000)

    def mend() -> None:
        away.rename(it.journal)

    return mend


def damage(it: House) -> Callable[[], None]:
    """Overwrite its pages, and have nothing in memory of what they held."""
    octets = it.journal.read_bytes()
    it.journal.write_bytes(octets[:100] + bytes(len(octets) - 100))

    def mend() -> None:
        it.journal.write_bytes(octets)

    return mend


def remove(it: House) -> Callable[[], None]:
    for file in it.journal.parent.glob("journal*"):
        file.unlink()
    return it.running.reload


@pytest.mark.parametrize("fail", [lock, overwrite, damage, remove])
def test_what_cannot_be_written_down_is_not_sent_until_it_can(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, fail: Callable[[House], Callable[[], None]]
) -> None:
    with house(tmp_path, imap, smtp) as it:
        mend = fail(it)
        assert it.submit() == NO_JOURNAL
        assert it.running.count("journal-failed") == 1
        assert it.submit(DRAFT.replace(b"Date: ", b"X: ").replace(b"Message-ID: ", b"X: ")) == SENT
        assert len(smtp.messages) == 1
        smtp.messages.clear()
        mend()
        assert it.submit() == SENT
        it.assert_sent_once()


def test_what_was_accepted_is_answered_so_whatever_becomes_of_the_journal(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with house(tmp_path, imap, smtp) as it:

        def accepting() -> Iterator[Script]:
            remove(it)
            yield ACCEPTS

        smtp.script["."] = accepting()
        assert it.submit() == SENT
        assert it.running.count("journal-failed") == 1
        assert len(smtp.messages) == 1


@contextmanager
def owed(it: House) -> Iterator[None]:
    """Have fred's submission accepted while another program has the journal locked; let go of it in the end."""
    holders = []

    def accepting() -> Iterator[Script]:
        holders.append(lock(it))
        yield ACCEPTS

    usual = it.smtp.script["."]
    it.smtp.script["."] = accepting()
    assert it.submit() == SENT
    it.smtp.script["."] = usual
    yield
    holders[0]()


@pytest.mark.parametrize("end", [Program.reload, restart])
def test_what_is_owed_is_written_down_before_the_worker_ends(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, end: Callable[[Program], None]
) -> None:
    """As where the administrator makes room on the disk, and then has all begin anew."""
    with house(tmp_path, imap, smtp) as it:
        with owed(it):
            assert it.running.count("journal-failed") == 1
        end(it.running)
        it.assert_sent_once()
        assert it.running.count("double-possible") == 0


def test_a_worker_that_owes_something_stays_until_it_is_written_down(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with house(tmp_path, imap, smtp) as it:
        (old,) = it.running.workers()
        with owed(it):
            it.running.reload()
            assert old in it.running.workers()
        assert eventually(lambda: old not in it.running.workers())
        it.assert_sent_once()


def test_what_is_written_down_is_answered_though_another_has_the_journal_locked(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with house(tmp_path, imap, smtp) as it:
        assert it.submit() == SENT
        mend = lock(it)
        it.assert_sent_once()
        it.running.reload()  # nor does a start wait for it
        it.assert_sent_once()
        assert it.running.count("journal-failed") == 0
        mend()


def test_who_waits_when_the_program_stops_hears_what_became_of_the_first(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with house(tmp_path, imap, smtp) as it, under_way(it, ".", ACCEPTS, seconds=2) as first, it.fred() as second:
        second.client.send(SUBMIT)
        time.sleep(0.2)  # until it waits
        it.running.stop()
        assert first.answer(b"S") == SENT
        assert re.fullmatch(SENT_EARLIER, second.client.answer(b"S"))
        for client in (first, second.client):
            client.expect(b"* BYE The server is shutting down\r\n")
    assert len(smtp.messages) == 1


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Return where a file system of some pages is mounted."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    with public_directory("imapproxy-small-disk-") as directory:
        mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(directory)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("root may not mount here")
        try:
            yield directory
        finally:
            subprocess.run(["umount", str(directory)], check=True)


def test_a_full_disk_costs_a_no_and_nothing_else(
    tmp_path: Path, small_disk: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    options = {"submit": {"journal": str(small_disk / "journal")}}
    with program(tmp_path, imap, smtp, options) as running:
        it = House(running, imap, smtp, small_disk / "journal")
        filler = small_disk / "filler"
        fill(filler)
        assert it.submit() == NO_JOURNAL
        assert re.search('reason="(database or disk is full|disk I/O error)"', running.lines("journal-failed")[0])
        assert smtp.messages == []
        filler.unlink()
        assert it.submit() == SENT
        it.assert_sent_once()


def fill(file: Path) -> None:
    with file.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(512))


# At the start


def run(config: Path) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, which must come soon."""
    arguments = [sys.executable, str(PROGRAM), "-c", str(config)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)


@pytest.mark.parametrize(
    ("journal", "problem"),
    [
        (
            "{0}/missing/journal",
            "[submit] journal: there is no directory {0}/missing for {0}/missing/journal; make one, which 'user' can"
            " write to",
        ),
        ("{0}/text", "journal: cannot use {0}/text: file is not a database; mend that, or name another file"),
        (
            "{0}/mail.sqlite",
            "journal: cannot use {0}/mail.sqlite: it is a database, but no journal of imapproxy's; mend that, or name"
            " another file",
        ),
    ],
)
def test_what_cannot_be_a_journal_is_said_and_nothing_changes(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp, journal: str, problem: str
) -> None:
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    with closing(sqlite3.connect(tmp_path / "mail.sqlite")) as database:
        database.execute("CREATE TABLE mail (it TEXT)")
    with house(tmp_path, imap, smtp) as it:
        it.running.configure({"submit": {"mail-domain": "example.com", "journal": journal.format(tmp_path)}})
        ended = run(it.running.config)
        assert ended.returncode == 2
        assert ended.stderr.endswith(f"{problem.format(tmp_path)}\n")
        assert ended.stderr.count("imapproxy: ") == 1
        it.running.tell(signal.SIGHUP)
        assert eventually(lambda: it.running.count("reload-failed") == 1)
        assert it.submit() == SENT
        it.assert_sent_once()
