"""The measure `forward`: an attachment forwarded by reference, beside a client that does it the classic way.

Between the same throw-away Dovecot and Postfix (`mail_host`), with the Sent copy filed, one and eight at a time. The
proxy and the classic client (`forwarders`) each have the proxy's processor for themselves; the servers share the other
one with the clients that submit. Before each cell the proxy is started anew, the clients log in, and everybody
forwards something small, which counts for the memory but not for the time. A forwarded attachment whose digest is not
the original's, at the recipient or in Sent, ends the bench.
"""

import hashlib
import queue
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import IO

from bench import attachment
from bench.forwarders import SENT, TIMEOUT, Imap, Link
from bench.measures import Figure, Values
from bench.processes import explained, helper, peak_kibibytes, pinned, reset_peak
from bench.proxies import CLASSIC, Contestant, Upstream, running

MEBIBYTE = 1024 * 1024
SIZES = (1, 10, 50)
AT_ONCE = {1: "one at a time", 8: "eight at once"}
SMALL = 16 * 1024
# Eight messages of 72 MB in the mail queue and in Sent, the originals, and some air.
DISK_NEEDED = 2 * 1024 * MEBIBYTE

APPENDED = re.compile(rb"\[APPENDUID [0-9]+ ([0-9]+)\]")
EXISTS = re.compile(rb"\* ([0-9]+) EXISTS\r\n")


@dataclass(frozen=True, slots=True)
class Cell:
    """How large an attachment is (MiB, before encoding), and how many clients forward one at the same time."""

    size: int
    count: int

    @property
    def name(self) -> str:
        """The name of the time that it takes, and how those of its other figures begin."""
        return f"forward-{self.size}x{self.count}"


CELLS = tuple(Cell(size, count) for count in AT_ONCE for size in SIZES)


def figures(cell: Cell) -> Iterator[Figure]:
    """Yield the figures of a cell; the marks are issue 3's, for one attachment of 50 MiB."""
    size, marked = f"{cell.size} MiB", cell == Cell(50, 1)
    memory = f"... rise of peak memory, {size}"
    yield Figure(cell.name, f"forward {size}, {AT_ONCE[cell.count]}", "ms", False, reference=CLASSIC)
    yield Figure(f"{cell.name}-memory", memory, "MiB", False, below=16 if marked else None, reference=CLASSIC)
    if cell.count == 1:
        sent, received = f"... the client sends, {size}", f"... the client receives, {size}"
        yield Figure(f"{cell.name}-sent", sent, "KiB", False, below=2 if marked else None, reference=CLASSIC)
        yield Figure(f"{cell.name}-received", received, "KiB", False, reference=CLASSIC)


FIGURES = tuple(figure for cell in CELLS for figure in figures(cell))


class Lacking(OSError):
    """What the measure needs is not there; its text names it."""


@dataclass(frozen=True, slots=True)
class Filed:
    """An attachment in INBOX: its message's UID, and its digest."""

    uid: int
    digest: str


class MailHost:
    """Running servers with something to forward, and what arrives there."""

    def __init__(self, port: int, smtp_port: int, password: str, arrivals: "queue.Queue[str]") -> None:
        self.upstream = Upstream(port, smtp_port=smtp_port)
        self.password = password
        self.arrivals = arrivals
        self.filed: dict[int, Filed] = {}

    @contextmanager
    def session(self, port: int | None = None) -> Iterator[Imap]:
        """Log in, by default without any proxy."""
        with Link(port or self.upstream.port) as link:
            yield Imap(link, self.password)

    def file(self, size: int) -> None:
        """Put an attachment of `size` octets into INBOX."""
        content = attachment.attachment(size)
        with self.session() as imap:
            tagged = imap.command("APPEND INBOX", attachment.original(content))[-1]
        if not (appended := APPENDED.search(tagged)):
            raise ConnectionError(f"APPEND was answered with {tagged!r}")
        self.filed[size] = Filed(int(appended[1]), content.digest)

    def check(self, want: str, count: int) -> None:
        """Wait until `count` messages are delivered, and compare all digests, there and in Sent, which is emptied."""
        for place, digests in (("the recipient", self.delivered(count)), (SENT, self.take_sent())):
            if digests != [want] * count:
                raise OSError(f"{place} should have got {count} x {want}, and has {digests}")

    def delivered(self, count: int) -> list[str]:
        """Return the digests of the next messages."""
        try:
            return [self.arrivals.get(timeout=TIMEOUT) for _ in range(count)]
        except queue.Empty:
            raise TimeoutError("Postfix does not deliver what it has accepted") from None

    def take_sent(self) -> list[str]:
        """Return the digests of the attachments in Sent and remove its messages; all must be seen."""
        with self.session() as imap:
            exists = EXISTS.search(b"".join(imap.command(f"SELECT {SENT}")))
            count = int(exists[1]) if exists else 0
            digests = [digest_in_sent(imap, number) for number in range(1, count + 1)]
            if count:
                imap.command("STORE 1:* +FLAGS.SILENT (\\Deleted)")
            imap.command("CLOSE")
        return digests


def digest_in_sent(imap: Imap, number: int) -> str:
    """Return the digest of the attachment of the selected mailbox's message `number`."""
    first, body, *rest = imap.command(f"FETCH {number} (FLAGS BODY.PEEK[{attachment.SECTION}])")
    if b"\\Seen" not in first + b"".join(rest):
        return "an unseen copy"
    return hashlib.sha256(body).hexdigest()


@contextmanager
def mail_host(sizes: Sequence[int]) -> Iterator[MailHost]:
    """Run the servers, with attachments of these sizes (octets) in INBOX; Lacking where that cannot be."""
    if find_spec("pytest") is None:
        raise Lacking("forward needs pytest: pip install '.[test]'")
    if shutil.disk_usage(tempfile.gettempdir()).free < DISK_NEEDED:
        raise Lacking(f"forward needs {DISK_NEEDED // MEBIBYTE} MiB in {tempfile.gettempdir()}")
    with helper("bench.mail_host") as (_, stdout):
        match stdout.readline().split():
            case ["lacks", *packages]:
                raise Lacking(f"forward needs {', '.join(packages)}: 'sudo make packages' installs what is missing")
            case [port, smtp_port, password]:
                host = MailHost(int(port), int(smtp_port), password, lines_of(stdout))
            case _:
                raise ChildProcessError("Dovecot and Postfix did not start")
        with host.session() as imap:
            imap.command(f"CREATE {SENT}")
        for size in sizes:
            host.file(size)
        yield host


def lines_of(stdout: IO[str]) -> "queue.Queue[str]":
    """Return a queue that gets each line, read by a thread, and at the end a line that says so."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in stdout:
            lines.put(line.strip())
        lines.put("nothing more: the servers have ended")

    threading.Thread(target=read, daemon=True).start()
    return lines


@dataclass(frozen=True, slots=True)
class Outcome:
    """Seconds until the last of a cell's clients was done, and the octets of all of them."""

    seconds: float
    sent: float
    received: float


@contextmanager
def forwarders(way: str, port: int, host: MailHost, count: int) -> Iterator[Callable[[Filed], Outcome]]:
    """Start that many clients, logged in; give a function that makes each of them forward the same, and checks."""
    arguments = (way, str(port), str(host.upstream.smtp_port), host.password, str(count))
    with helper("bench.forwarders", *arguments) as (stdin, stdout):
        if stdout.readline() != "ready\n":
            raise ChildProcessError("the clients could not log in")

        def forward(filed: Filed) -> Outcome:
            print(filed.uid, file=stdin, flush=True)
            result = [float(word) for word in stdout.readline().split()]
            if len(result) != 3:
                raise ChildProcessError("forwarding failed")
            host.check(filed.digest, count)
            return Outcome(*result)

        yield forward


def classic(host: MailHost, cell: Cell, cpus: frozenset[int]) -> Values:
    """Measure the classic way."""
    with ExitStack() as stack:
        with pinned(cpus):
            forward = stack.enter_context(forwarders("classic", host.upstream.port, host, cell.count))
        forward(host.filed[SMALL])
        return values(cell, forward(host.filed[cell.size * MEBIBYTE]))


def by_reference(contestant: Contestant, host: MailHost, cell: Cell, cpus: frozenset[int]) -> Values:
    """Measure forwarding by reference, and the memory it takes; nothing where SUBMIT is not announced."""
    with running(contestant, host.upstream, cpus) as instance, explained(instance.process):
        if instance.pid is None or not can_submit(host, instance.port):
            return {}
        with forwarders("submit", instance.port, host, cell.count) as forward:
            reset_peak(instance.pid)
            before = peak_kibibytes(instance.pid)
            forward(host.filed[SMALL])
            outcome = forward(host.filed[cell.size * MEBIBYTE])
            rise = (peak_kibibytes(instance.pid) - before) / 1024
        return {**values(cell, outcome), f"{cell.name}-memory": rise}


def can_submit(host: MailHost, port: int) -> bool:
    """Return whether the proxy there announces SUBMIT."""
    with host.session(port) as imap:
        return b"CAN-SUBMIT" in b"".join(imap.command("CAPABILITY")).upper()


def values(cell: Cell, outcome: Outcome) -> Values:
    """Return an outcome by its figures' names."""
    traffic = {f"{cell.name}-sent": outcome.sent / 1024, f"{cell.name}-received": outcome.received / 1024}
    return {cell.name: outcome.seconds * 1000, **(traffic if cell.count == 1 else {})}
