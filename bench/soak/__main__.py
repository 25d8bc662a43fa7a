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
from bench.soak.texts import Arrival
from bench.soak.verdict import deaths, leaks, surprises
from bench.soak.watch import Holdings, holdings, watched

CLIENTS = 300
CROWDS = 3
PHASES = 3
WORKERS = 2
RELOAD_INTERVAL = 10.0  # seconds
# Until all that was accepted is delivered, and until spare threads (30 s) and the last sessions have gone, in seconds.
DELIVERY_TIME = 120.0
REST_TIME = 60.0
# A run that is shorter does not wait for spare threads to go, of which a worker may keep 64.
LONG_RUN = 60.0
SPARE_THREADS = 64 * WORKERS
# Of a parent and its workers, each of which has one for each address it listens at, once the spare ones have gone.
THREADS_AT_REST = 1 + 3 * WORKERS

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
        first = stdout.readline().split()
        if len(first) != 6:
            raise ChildProcessError(f"the mail host does not start: {' '.join(first)}")
        heard_until_it_ends(stack, stdin, stdout, self._take_arrivals)
        return first

    def _take_arrivals(self, stdout: IO[str]) -> None:
        for line in stdout:
            name, _, condition = line.strip().rpartition(" ")
            if condition in ("whole", "damaged"):
                self.book.note_arrival(Arrival(name, condition == "whole"))
            else:
                self.book.note(f"wrong {line.strip()}")

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
                heard_until_it_ends(stack, *stack.enter_context(helper("bench.soak.crowd", *arguments)), self._hear)
            yield
            self.proxy.raise_if_ended()

    def _hear(self, stdout: IO[str]) -> None:
        for line in stdout:
            self.book.note(line.strip())

    def await_deliveries(self) -> None:
        """Wait until all has arrived that was sent, or for as long as that may take."""
        deadline = time.monotonic() + DELIVERY_TIME
        while self.book.awaits() and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)  # for what should not come

    def at_rest(self, threads: int) -> Holdings:
        """Return what the proxy holds once nobody is there, the old workers have gone, and so many threads are left."""
        deadline = time.monotonic() + REST_TIME
        while (held := holdings(self.proxy.pid)) and time.monotonic() < deadline:
            if held.processes == 1 + WORKERS and held.threads <= threads:
                break
            time.sleep(0.5)
        return held

    def reload(self) -> None:
        """Have the proxy read everything anew."""
        self.book.figures["reloads"] += 1
        self.proxy.popen.send_signal(signal.SIGHUP)


def heard_until_it_ends(stack: ExitStack, stdin: IO[str], stdout: IO[str], hear: Callable[[IO[str]], None]) -> None:
    """Have what a helper says heard in a thread; when the stack is left, its input ends, and it is heard to the end."""
    thread = threading.Thread(target=hear, args=(stdout,), daemon=True)
    thread.start()
    stack.callback(thread.join)
    stack.callback(stdin.close)


def soak(run: Run, seconds: float, clients: int) -> list[str]:
    """Have the crowds, print the figures, and return what was wrong."""
    threads = THREADS_AT_REST + (0 if seconds >= LONG_RUN else SPARE_THREADS)
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
        *leaks(began, ended, threads),
        *surprises(run.log.read_text(encoding="utf-8")),
    ]


def main() -> int:
    """Do what the command line says."""
    seconds, clients = float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else CLIENTS
    raise_descriptor_limit(10 * clients)
    with TemporaryDirectory(prefix="imapproxy-soak-") as directory, ExitStack() as stack:
        Path(directory).chmod(0o711)
        complaints = soak(Run(Path(directory), stack), seconds, clients)
    for complaint in complaints:
        print(f"WRONG {complaint}")
    print("nothing lost, nothing doubled, nothing left behind" if not complaints else "the soak failed")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
