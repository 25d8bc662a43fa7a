"""The run: ``python -m bench.soak SECONDS [CLIENTS]``. Exit status 0 only if nothing was wrong.

A third of the time with reloads (SIGHUP); then two thirds with workers that stay. After each of these all clients
leave, and what the proxy then holds is compared: once its workers have served a crowd, it must not become more.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from bench.processes import Process, helper, raise_descriptor_limit
from bench.proxies import ROOT, await_greeting, free_port
from bench.soak.book import Book
from bench.soak.verdict import Limits, deaths, idleness, leaks, surprises
from bench.soak.watch import Holdings, holdings, watched

CLIENTS = 300
CROWDS = 3
PHASES = 3
WORKERS = 2
RELOAD_INTERVAL = 10.0  # seconds
# Until all that was accepted is delivered, and until spare threads (30 s) and the last sessions have gone, in seconds.
DELIVERY_TIME = 120.0
REST_TIME = 60.0
# Between two looks that tell whether the proxy has come to rest, in seconds.
LOOK_INTERVAL = 1.0
# A run that is shorter does not wait for spare threads to go, of which a worker may keep 64, and those some memory.
LONG_RUN = 60.0
SPARE_THREADS = 64
# Of a parent and its workers, each of which has one for each address it listens at, once the spare ones have gone.
THREADS_AT_REST = 1 + 3 * WORKERS
# In units of 1,000 octets; a long run moved a tenth of it.
MOST_GROWTH = 10_000
MOST_GROWTH_OF_SPARE_THREADS = 25_000

CONFIGURATION = """\
[listen]
listen = 127.0.0.1:{port}
listen-tls = 127.0.0.1:{tls_port}
tls-cert = {cert}
tls-key = {key}
workers = {workers}
[imap]
imap-server = 127.0.0.1:{imap}
[smtp]
smtp-server = 127.0.0.1:{smtp}
[submit]
mail-domain = example.com
sent-mailbox = Sent
journal = {directory}/journal
[log]
log-to = {log}
"""


class Run:
    """Servers, proxy, and the book that is kept of what happens."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.book = Book()
        self._directory = directory
        self._host_files = self._start_host(stack)
        self._ports = free_port(), free_port()
        self.proxy = stack.enter_context(self._started_proxy())
        await_greeting(self.proxy, self._ports[0])

    def _start_host(self, stack: ExitStack) -> list[str]:
        stdin, stdout = stack.enter_context(helper("bench.soak.host", str(self._directory)))
        match stdout.readline().split():
            case ["lacks", *packages]:
                raise ChildProcessError(f"needs {', '.join(packages)}: 'sudo make packages' installs what is missing")
            case [*first] if len(first) == 6:
                stack.enter_context(heard_until_it_ends(stdin, stdout, self.book.note_arrival))
                return first
            case said:
                raise ChildProcessError(f"the mail host does not start: {' '.join(said)}")

    def _started_proxy(self) -> Process:
        imap, smtp, _, _, cert, key = self._host_files
        configuration = self._directory / "imapproxy.conf"
        configuration.write_text(
            CONFIGURATION.format(
                port=self._ports[0],
                tls_port=self._ports[1],
                cert=cert,
                key=key,
                workers=WORKERS,
                imap=imap,
                smtp=smtp,
                directory=self._directory,
                log=self.log,
            ),
            encoding="utf-8",
        )
        command = [sys.executable, str(ROOT / "bin" / "imapproxy"), "-c", str(configuration)]
        return Process(command, self._directory / "output")

    @property
    def log(self) -> Path:
        """The proxy's log."""
        return self._directory / "imapproxy.log"

    @contextmanager
    def crowds(self, phase: str, clients: int) -> Iterator[None]:
        """Have so many clients for the length of the block; at its end they finish their sessions."""
        _, _, secret, authority, _, _ = self._host_files
        with ExitStack() as stack:
            for crowd in range(CROWDS):
                name, count = f"{phase}{crowd}", str(clients // CROWDS)
                arguments = [*map(str, self._ports), authority, secret, name, count]
                stdin, stdout = stack.enter_context(helper("bench.soak.crowd", *arguments))
                stack.enter_context(heard_until_it_ends(stdin, stdout, self.book.note))
            yield
            self.proxy.raise_if_ended()

    def await_deliveries(self) -> None:
        """Wait until all has arrived that was sent, or for as long as that may take."""
        deadline = time.monotonic() + DELIVERY_TIME
        while self.book.awaits() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)  # for what should not come

    def at_rest(self, threads: int) -> Holdings:
        """Return what the proxy holds once it is at rest, or REST_TIME has gone.

        That is when nobody is there, so that nothing comes or goes, the old workers have gone, and so many threads are
        left at most.
        """
        deadline = time.monotonic() + REST_TIME
        held = holdings(self.proxy.pid)
        while time.monotonic() < deadline:
            time.sleep(LOOK_INTERVAL)
            before, held = held, holdings(self.proxy.pid)
            if held.is_as_many_as(before) and held.processes == 1 + WORKERS and held.threads <= threads:
                break
        return held

    def reload(self) -> None:
        """Have the proxy read everything anew."""
        self.book.figures["reloads"] += 1
        self.proxy.popen.send_signal(signal.SIGHUP)


@contextmanager
def heard_until_it_ends(stdin: IO[str], stdout: IO[str], hear: Callable[[str], None]) -> Iterator[None]:
    """Have each line that a helper says heard; at the end of the block its input ends, and it is heard to its own end.

    Not so where the block is left by an exception: then nobody waits for what it has to say yet.
    """

    def hear_all() -> None:
        for line in stdout:
            hear(line.strip())

    thread = threading.Thread(target=hear_all, daemon=True)
    thread.start()
    yield
    stdin.close()
    thread.join()


def limits(seconds: float, clients: int) -> Limits:
    """Return what may be left after a run of that length and size."""
    if seconds >= LONG_RUN:
        return Limits(THREADS_AT_REST, MOST_GROWTH)
    return Limits(THREADS_AT_REST + WORKERS * min(SPARE_THREADS, clients), MOST_GROWTH_OF_SPARE_THREADS)


def soak(run: Run, seconds: float, clients: int) -> list[str]:
    """Have the crowds, print the figures, and return what was wrong."""
    allowed = limits(seconds, clients)
    threads = allowed.threads
    with watched(run.proxy.pid) as peak:
        with run.crowds("reloads", clients):
            end = time.monotonic() + seconds / 3
            while (rest := end - time.monotonic()) > 0:
                time.sleep(min(RELOAD_INTERVAL, rest))
                run.reload()
        fresh = run.at_rest(threads)
        with run.crowds("warms", clients):
            time.sleep(seconds / 3)
        began = run.at_rest(threads)
        with run.crowds("stays", clients):
            time.sleep(seconds / 3)
        run.await_deliveries()
        ended = run.at_rest(threads)
    for what, number in sorted(run.book.figures.items()):
        print(f"{what:30} {number:,}")
    print(f"{'arrived':30} {sum(run.book.arrived.values()):,}")
    print(f"at rest, after the reloads:    {fresh}")
    print(f"at rest, after a third more:   {began}")
    print(f"the most at a time:            {peak.most}")
    print(f"at rest, at the end:           {ended}")
    return [
        *run.book.complaints(),
        *deaths(run.book.figures["clients that lived to the end"], PHASES * CROWDS * (clients // CROWDS)),
        *idleness(run.book.figures),
        *leaks(began, ended, allowed),
        *surprises(run.log.read_text(encoding="utf-8")),
    ]


def soaked(seconds: float, clients: int) -> list[str]:
    """Run it all, for so long and with so many clients at a time; return what was wrong."""
    raise_descriptor_limit(10 * clients)
    with TemporaryDirectory(prefix="imapproxy-soak-") as directory, ExitStack() as stack:
        Path(directory).chmod(0o711)
        return soak(Run(Path(directory), stack), seconds, clients)


def main() -> int:
    """Do what the command line says."""
    seconds, clients = float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else CLIENTS
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended too
    try:
        complaints = soaked(seconds, clients)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except ChildProcessError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    for complaint in complaints:
        print(f"WRONG {complaint}")
    print("nothing lost, nothing doubled, nothing left behind" if not complaints else "the soak failed")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
