"""The real program, with a journal, between a scripted IMAP server that has mail and a scripted SMTP server."""

import hashlib
import os
import re
import resource
import select
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

from tests.faults.questions import submitting
from tests.faults.setup import Setup, Tls
from tests.faults.small_disk import SmallDisk, mounted
from tests.faults.style import Style
from tests.faults.submissions import BCC, LARGE, PLAIN, RECIPIENTS, REFERRING, STORED, Draft, Submission
from tests.faults.wire import Stretch, Wires
from tests.functional.delivered import BOUNDARY, without_trace
from tests.functional.fake_imap import PATIENCE as CLIENT_PATIENCE
from tests.functional.fake_imap import Peer, connect
from tests.functional.fake_mailboxes import Deviation, FakeMailboxes
from tests.functional.fake_smtp import FakeSmtp, Received, Script
from tests.functional.process import PATIENCE
from tests.functional.program import Program
from tests.functional.scripted import eventually

# Seconds that a worker has for its submissions once its parent is gone, and some more.
WORKERS_PATIENCE = 45.0
STARTTLS = b"T STARTTLS\r\n"
TO_ALL = tuple(f"RCPT TO:<{recipient}>" for recipient in RECIPIENTS)


@dataclass(frozen=True)
class Cue:
    """A script for the SMTP server: that the step has come is noted, somebody acts, then the server does."""

    met: Event
    act: Callable[[], object]
    then: Script

    def __iter__(self) -> Iterator[Script]:
        self.met.set()
        self.act()
        yield self.then


def nothing() -> None:
    """Let the server alone act."""


class House:
    """A program and its servers, once it is open; ``met`` says that a break came to the point where it is one."""

    imap: FakeMailboxes
    smtp: FakeSmtp
    program: Program
    disk: SmallDisk  # only where the style has one
    wires: Wires  # likewise

    def __init__(self, directory: Path, style: Style, python_path: Path | None = None) -> None:
        """``python_path``: where the program is that runs, if it is another than that of this tree."""
        self._directory = directory
        self._style = style
        self._python_path = python_path
        self._number = 0
        self._port = 0
        self._usual: dict[bytes, str] = {}  # text of a submission -> fingerprint of what comes of it
        self.dialogues: dict[bytes, Sequence[Stretch]] = {}  # the same -> what passes on the wires, if there are any
        self.met = Event()

    @contextmanager
    def open(self) -> Iterator[None]:
        """Run all of it; at the end everything must end in order, and nothing have surprised the program."""
        self._directory.mkdir()
        with ExitStack() as stack:
            if self._style.is_on_small_disk:
                self.disk = stack.enter_context(mounted(self._directory))
            self.setup = Setup(self._directory, self._style)
            self.imap = self.setup.new_imap()
            self.smtp = self.setup.new_smtp()
            self._script = dict(self.smtp.script)
            for server in (self.imap, self.smtp):
                server.__enter__()
            stack.callback(lambda: self.imap.__exit__(None, None, None))
            stack.callback(lambda: self.smtp.__exit__(None, None, None))
            ports = self.imap.port, self.smtp.port
            if self._style.is_wired:
                self.wires = Wires({"client": 0, "imap": ports[0], "smtp": ports[1]})
                stack.enter_context(self.wires.open())
                ports = self.wires.port("imap"), self.wires.port("smtp")
            self.program = Program(self._directory, *ports, self.setup.options(), python_path=self._python_path)
            stack.callback(self._close)
            self._find_port()
            self._learn_what_is_usual()
            yield

    def _close(self) -> None:
        size = self.log_size()
        self.program.stop()
        self.program.await_workers(WORKERS_PATIENCE)
        self.program.check(size)

    # A client ---------------------------------------------------------------------------------------------------------

    def new_draft(self, submission: Submission) -> Draft:
        """Return a draft that nobody has submitted here yet."""
        self._number += 1
        return submission.draft(self._number)

    @contextmanager
    def stranger(self, patience: float = CLIENT_PATIENCE) -> Iterator[Peer]:
        """Connect a client that is not logged in; EOFError or OSError if that cannot be had."""
        with connect(self._port, patience=patience) as client:
            client.line()
            yield client

    @contextmanager
    def client(self, patience: float = CLIENT_PATIENCE) -> Iterator[Peer]:
        """Connect a client, and log it in; EOFError or OSError if that cannot be had."""
        with self.stranger(patience) as client:
            if self.setup.tls:
                start_tls(client, self.setup.tls)
            client.send(b"L LOGIN fred secret\r\n")
            if not client.answer(b"L").startswith(b"OK"):
                raise EOFError
            yield client

    def submit(self, draft: Draft) -> str | None:
        """Submit by a client of its own; return the answer, None where it does not come because the link is lost."""
        with suppress(EOFError, ConnectionError), self.client() as client:
            return told(client, draft)
        return None

    # Breaking ---------------------------------------------------------------------------------------------------------

    def at_smtp(self, step: str, then: "Script | None" = None, act: Callable[[], object] = nothing) -> None:
        """Have the SMTP server do that when the step comes, by default as usual; ``act`` comes before."""
        self.smtp.script[step] = Cue(self.met, act, self.usual_at_smtp(step) if then is None else then)

    def usual_at_smtp(self, step: str) -> Script:
        """Return what the SMTP server does when nothing is broken."""
        return self._script.get(step) or self._script[step.partition(" ")[0]]

    def await_met(self) -> None:
        """Return once the step has come."""
        assert self.met.wait(PATIENCE), "the step does not come"

    def await_submitting(self, sessions: int) -> None:
        """Return once so many sessions submit, as the program's status says."""
        told = partial(submitting, self.setup.control_socket)
        assert eventually(lambda: told() >= sessions), f"{told()} submit"

    def at_imap(self, step: str, deviation: Deviation | None = None, act: Callable[[], object] = nothing) -> None:
        """Have the IMAP server deviate when the step comes, or not; ``act`` comes before."""

        def cue() -> None:
            self.met.set()
            act()

        self.imap.cues[step] = cue
        if deviation is not None:
            self.imap.replies[step] = deviation

    def once_taken(self, act: Callable[[], object]) -> None:
        """Have somebody act when the message has come whole, before the SMTP server says that it takes it."""
        self.smtp.script["."] = Cue(Event(), act, self._script["."])

    @contextmanager
    def imap_down(self) -> Iterator[None]:
        """Have the IMAP server gone, with all its connections, and there again afterwards; what it has stays."""
        before, port = self.imap, self.imap.port
        before.__exit__(None, None, None)
        yield
        self.imap = self.setup.new_imap(port)
        self.imap.appended, self.imap.missing = before.appended, before.missing
        self.imap.__enter__()

    @contextmanager
    def smtp_down(self) -> Iterator[None]:
        """Have the SMTP server gone, with all its connections, and there again afterwards; what it has stays."""
        before, port = self.smtp, self.smtp.port
        before.__exit__(None, None, None)
        yield
        self.smtp = self.setup.new_smtp(port)
        self.smtp.messages = before.messages
        self.smtp.__enter__()

    def take_back(self) -> None:
        """Have the IMAP server not file what it was last given."""
        self.imap.appended.pop()

    def remove_sent_mailbox(self) -> None:
        """Have the IMAP server without the mailbox for what was sent."""
        self.imap.missing.add(self._style.sent_name)

    def restart_imap(self) -> None:
        """Have the IMAP server begin anew."""
        with self.imap_down():
            pass

    def restart_smtp(self) -> None:
        """Have the SMTP server begin anew."""
        with self.smtp_down():
            pass

    @property
    def worker(self) -> int:
        """The process that serves: the newest one, where there are several, once all of them are there."""
        assert eventually(lambda: len(self.program.workers()) >= self._style.workers), self.program.log()
        return self.program.workers()[-1]

    @contextmanager
    def limited(self, limit: int, value: int, worker: int | None = None) -> Iterator[None]:
        """Let the worker, or that one, have only so much of something (``resource``); what it has already stays."""
        pid = self.worker if worker is None else worker
        soft, hard = resource.prlimit(pid, limit)
        resource.prlimit(pid, limit, (value, hard))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):  # it has ended meanwhile
                resource.prlimit(pid, limit, (soft, hard))

    def empty_write_ahead_log(self) -> None:
        """Have the journal need room for whatever is written down next: what is in that file is written over."""
        with closing(sqlite3.connect(self.setup.journal)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def write_ahead_log_size(self) -> int:
        """Return how long that file of the journal's is."""
        return self.setup.journal.with_name("journal-wal").stat().st_size

    # What came of it --------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Forget what has come by now."""
        self.met.clear()
        self.smtp.messages.clear()
        self.imap.appended.clear()
        if self._style.is_sent_missing:
            self.remove_sent_mailbox()

    def mend(self) -> None:
        """Have the servers do as usual, and the program run; AssertionError for what went wrong at a server."""
        self.smtp.script = dict(self._script)
        self.imap.replies, self.imap.cues = {}, {}
        self.revive()
        self.imap.raise_failures()

    def revive(self) -> None:
        """Start the program if it has ended, as what supervises services does."""
        if self.program.process.poll() is not None:
            self.program.start()
            self._find_port()

    def _find_port(self) -> None:
        self._port = self.program.ports()[-1]
        if self._style.is_wired:
            self.wires.targets["client"] = self._port
            self._port = self.wires.port("client")

    def copies(self, draft: Draft) -> int:
        """Return how often it has come for all of its recipients, as it is when nothing is broken."""
        return len(self._messages(draft))

    def commands(self) -> int:
        """Return how many the servers have been given since they began, by clients and program."""
        return len(self.imap.commands) + len(self.smtp.commands)

    def unfollowed(self, draft: Draft) -> int:
        """Return after how many copies, the last one aside, the proxy said nothing more to the SMTP server."""
        return sum(not message.is_followed for message in self._messages(draft)[:-1])

    def arrived(self) -> int:
        """Return how many messages have come."""
        return len(self.smtp.messages)

    def filed(self, draft: Draft) -> int:
        """Return how many copies of it are in Sent: of what came, octet for octet, but with its Bcc."""
        sent = {BCC + message.content for message in self._messages(draft)}
        return sum(copy.octets in sent and copy.mailbox == self._style.sent_name for copy in self.imap.appended)

    def appended(self) -> int:
        """Return how many messages have been filed."""
        return len(self.imap.appended)

    def log_size(self) -> int:
        return self.program.log_file.stat().st_size

    def logged_since(self, size: int) -> str:
        """Return what the log says behind the octets that it had."""
        with self.program.log_file.open("rb") as stream:
            stream.seek(size)
            return stream.read().decode("utf-8")

    def _messages(self, draft: Draft) -> Sequence[Received]:
        """Return what has come of it for all of its recipients, as it is when nothing is broken."""
        usual, is_secured = self._usual[draft.submission.text], self._style.is_secured
        whole = [one for one in list(self.smtp.messages) if one.recipients == TO_ALL and one.is_secured == is_secured]
        return [one for one in whole if draft.message_id in one.content and fingerprint(one.content) == usual]

    def _learn_what_is_usual(self) -> None:
        for submission in (PLAIN, REFERRING, LARGE):
            self.begin()
            draft = self.new_draft(submission)
            with self.wires.recorded() if self._style.is_wired else nullcontext(()) as self.dialogues[submission.text]:
                answer = self.submit(draft)
            assert answer == "OK SUBMIT completed", f"told {answer!r}, though nothing is broken"
            (octets,) = [message.content for message in self.smtp.messages]
            assert submission is not REFERRING or STORED.octets in octets
            self._usual[submission.text] = fingerprint(octets)
            self._check_unbroken(draft)
        self.setup.check(self.imap.commands, self.smtp.verbs())

    def _check_unbroken(self, draft: Draft) -> None:
        assert self.copies(draft) == 1, "it does not come for all, or more than once, though nothing is broken"
        copies = self._style.is_filed
        assert (self.filed(draft), self.appended()) == (copies, copies), "in Sent is not one copy of just what was sent"


def start_tls(client: Peer, tls: Tls) -> None:
    """Speak TLS; EOFError or OSError if that cannot be had."""
    client.send(STARTTLS)
    if not client.answer(b"T").startswith(b"OK"):
        raise EOFError
    client.begin_tls(tls.client_context(), "localhost")


def told(client: Peer, draft: Draft) -> str | None:
    """Submit; return the answer, None where it does not come because the link is lost. TimeoutError where it should."""
    with suppress(EOFError, ConnectionError):
        client.send(draft.command)
        return client.answer(b"S").decode("ascii")
    return None


def told_in_steps(client: Peer, draft: Draft) -> str | None:
    """Submit likewise, by a client that waits until it is asked for the message."""
    line, end, rest = draft.synchronizing_command.partition(b"\r\n")
    with suppress(EOFError, ConnectionError):
        client.send(line + end)
        while not (said := client.line()).startswith((b"+", b"S ")):
            pass
        if said.startswith(b"+"):
            client.send(rest)
            said = b"S " + client.answer(b"S")
        return said.strip().removeprefix(b"S ").decode("ascii")
    return None


def fingerprint(octets: bytes) -> str:
    """Return the digest of a message without what differs each time: its trace, its boundary, its Message-ID.

    Nor with how what is included is declared, which depends on what the SMTP server says that it takes.
    """
    boundary = BOUNDARY.search(octets)
    if boundary is not None:
        octets = octets.replace(boundary[1], b"boundary")
    message = re.sub(rb"<\d{6}@example.com>", b"<id>", without_trace(octets))
    message = message.replace(b"Content-Transfer-Encoding: 8bit\r\n", b"")
    return hashlib.sha256(message).hexdigest()


def await_end(pid: int) -> None:
    """Return once that process, anybody's child, has ended."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            assert poll.poll(PATIENCE * 1000), f"process {pid} does not end"
        finally:
            os.close(descriptor)
