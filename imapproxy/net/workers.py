"""A worker: a forked process that serves clients on sockets which the parent has bound.

What it is to do comes from the parent, over a ``Channel``, as lines of JSON, and its answers go back that way. It is
asked for its report, told to retire (accept no client, end with the last session) or to stop (end within
``STOP_PATIENCE``). If the parent is gone it stops, so that another may be started on the same addresses.

Nothing of the parent's but the listening sockets stays open here, and ``os._exit`` ends it: what the parent wants to
be done at its own end, such as removing its pidfile, is not done by a child.
"""

import contextlib
import gc
import json
import logging
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, NoReturn

from imapproxy import logs
from imapproxy.config import Config, HostPort
from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record
from imapproxy.net import privileges, worker_message
from imapproxy.net.board import Seat
from imapproxy.net.channel import Channel, channel_pair
from imapproxy.net.contexts import TlsContexts
from imapproxy.net.journal import OWED_INTERVAL
from imapproxy.net.ledger import Ledger, ledger_pair
from imapproxy.net.privileges import Owner
from imapproxy.net.registry import Registry
from imapproxy.net.server import STACK_SIZE, Listener, SessionThreads
from imapproxy.net.service import service_of
from imapproxy.net.signals import leave_to_parent
from imapproxy.net.worker_message import Hearing, Message, Reported

# Submissions that run when the program is told to stop have so long to finish, in seconds.
STOP_PATIENCE = 30

# Clients beyond the limit that are told so by a session, in TLS where they expect that; more are by the listener.
TURNED_AWAY_AT_ONCE = 8

_READ_SIZE = 1 << 16

Order = Literal["report", "recount", "retire", "stop"]


class Place(NamedTuple):
    """An address as configured; where the kernel chooses the port, with TLS it is another place than without."""

    address: HostPort
    has_own_port: bool = False


@dataclass(frozen=True, slots=True)
class Door:
    """Where clients connect: with or without TLS from the start, and the socket."""

    place: Place
    is_tls: bool
    stream: socket.socket


@dataclass(frozen=True, slots=True, eq=False)
class Assignment:
    """What workers of one configuration serve with; ``max_clients`` is what one worker's descriptors allow."""

    config: Config
    host: str
    contexts: TlsContexts
    owner: Owner | None
    max_clients: int
    doors: tuple[Door, ...]


# The parent's view ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Worker:
    """A worker as the parent knows it; both channels never wait. A retiring one ``accepts`` until it has said so.

    Reports have numbers: ``asked`` is that of the last one asked for, and ``is_asked`` whether it is still to come.
    """

    pid: int
    control: Channel
    ledger: Channel
    seat: Seat
    assignment: Assignment
    began: float
    hearing: Hearing
    state: Literal["starting", "serving", "retiring"] = "starting"
    accepts: bool = True
    has_ended: bool = False
    asked: int = 0
    is_asked: bool = False

    def stop(self) -> None:
        """Tell it to end."""
        self._tell("stop", None)

    def retire(self, doors: Sequence[int]) -> None:
        """Tell it to accept no more clients than those that wait at these doors."""
        self.state = "retiring"
        self.hearing.expect_retired()
        self._tell("retire", doors)

    def ask(self) -> None:
        """Ask for a report, unless one is still to come: so a silent worker never has many questions to read."""
        if not self.is_asked:
            self.asked += 1
            self.is_asked = True
            self.hearing.expect_report(self.asked)
            self._tell("report", self.asked)

    def recount(self) -> None:
        """Tell it to write its count of clients once more, where another may have written, too."""
        self._tell("recount", None)

    def _tell(self, order: Order, value: object) -> None:
        # There is room, unless the worker reads nothing at all; what is not obeyed in time is the parent's affair.
        with contextlib.suppress(OSError):
            self.control.send(json.dumps({order: value}).encode("ascii") + b"\n")

    def hear(self) -> Iterator[Message]:
        """Yield what it has said since; raise EOFError if it is gone, WorkerError if it says what it may not."""
        data = self.control.receive(_READ_SIZE)
        if data is None:
            return
        if not data:
            raise EOFError
        for message in self.hearing.receive(data):
            if isinstance(message, Reported):
                self.is_asked = False
            yield message


def fork_worker(assignment: Assignment, seat: Seat, close_parents: Callable[[], None]) -> Worker:
    """Start a worker, which counts at ``seat``; ``close_parents`` closes in the child what is the parent's alone."""
    with ExitStack() as parents, ExitStack() as workers:
        control, orders = channel_pair()
        parents.enter_context(control)
        workers.enter_context(orders)
        ledger, questions = ledger_pair()
        parents.enter_context(ledger)
        workers.enter_context(questions)
        control.set_blocking(is_blocking=False)

        def body() -> int:
            close_parents()
            parents.close()
            return work(assignment, orders, Ledger(questions, seat))

        pid = fork(body)
        parents.pop_all()
    hearing = Hearing(most_sessions=assignment.max_clients + TURNED_AWAY_AT_ONCE)
    return Worker(pid, control, ledger, seat, assignment, time.monotonic(), hearing)


def fork(body: Callable[[], int]) -> int:
    """Have ``body`` done in a child, whose exit status it returns; return the child's number."""
    # A signal that came in between would be taken for the parent's.
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            leave_to_parent()
            logs.separate()
            gc.freeze()  # else each collection would write to all that there is, and so have it in memory twice
            signal.pthread_sigmask(signal.SIG_SETMASK, usual)
            _end_with(body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)
    return pid


def _end_with(body: Callable[[], int]) -> NoReturn:
    status = 1
    try:
        status = body()
    except BaseException:
        LOGGER.exception(record("worker-failed"))
    finally:
        logging.shutdown()
        os._exit(status)


# The worker's own -----------------------------------------------------------------------------------------------------


def work(assignment: Assignment, orders: Channel, ledger: Ledger) -> int:
    """Serve as the parent says; return the exit status."""
    try:
        work_place = _WorkPlace(assignment, orders, ledger)
    except (ConfigError, OSError) as failure:
        _say(orders, worker_message.encode("failed", str(failure)[: worker_message.LONGEST_REASON]))
        return 1
    work_place.open()
    work_place.obey()
    work_place.leave()
    return 0


def _say(orders: Channel, *lines: bytes) -> None:
    with contextlib.suppress(OSError):
        orders.send_all(b"".join(lines))


def send_report(orders: Channel, registry: Registry, number: int) -> None:
    """Answer the parent's question ``number``."""
    figures = registry.report()
    sessions = (worker_message.encode("session", session) for session in figures["sessions"])
    _say(orders, *sessions, worker_message.encode("report", [number, figures["totals"]]))


class _WorkPlace:
    """The threads of a worker: the main one obeys, one a listener accepts, one a session serves."""

    def __init__(self, assignment: Assignment, orders: Channel, ledger: Ledger) -> None:
        if assignment.owner:
            privileges.drop(assignment.owner)
        threading.stack_size(STACK_SIZE)
        self._assignment = assignment
        self._orders = orders
        self._ledger = ledger
        self._registry = Registry()
        self._threads = SessionThreads(assignment.max_clients + TURNED_AWAY_AT_ONCE)
        self._stop_reader, self._stop_writer = os.pipe()
        self._ended_reader, self._ended_writer = os.pipe()
        self._sigterm_reader, self._sigterm_writer = os.pipe()
        service = service_of(
            assignment.config,
            assignment.host,
            self._stop_reader,
            ledger,
            self._registry,
            assignment.contexts,
        )
        self._journal = service.journal
        self._listeners = [Listener(door.stream, door.is_tls, service, self._threads) for door in assignment.doors]

    def open(self) -> None:
        """Begin to serve."""
        # SIGTERM concerns this worker alone: it is taken for an order of the parent's to stop.
        signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(self._sigterm_writer, b"\n"))
        for listener in self._listeners:
            threading.Thread(target=listener.serve_forever, daemon=True).start()
        _say(self._orders, worker_message.encode("ready"))

    def obey(self) -> None:
        """Do what the parent says, until it is time to end."""
        poll = select.poll()
        for fd in (self._orders.fileno(), self._ended_reader, self._sigterm_reader):
            poll.register(fd, select.POLLIN)
        heard = b""
        while True:
            ready = dict(poll.poll())
            if self._ended_reader in ready:
                return
            octets = b"" if self._sigterm_reader in ready else self._orders.receive(_READ_SIZE) or b""
            *lines, heard = (heard + octets).split(b"\n")
            # If the parent is gone, nothing says "stop" any more.
            for order in map(json.loads, lines) if octets else ({"stop": None},):
                if "stop" in order:
                    self._stop()
                    return
                self._obey(order)

    def leave(self) -> None:
        """Leave behind what would be gone, else: of the journal, and from the program's figures."""
        if self._journal:
            self._journal.close()
        _say(self._orders, worker_message.encode("ended", self._registry.report()["totals"]))

    def _obey(self, order: dict[str, Any]) -> None:
        if "report" in order:
            send_report(self._orders, self._registry, order["report"])
        elif "recount" in order:
            self._ledger.recount()
        elif "retire" in order:
            self._retire(order["retire"])

    def _retire(self, gone: Sequence[int]) -> None:
        """Accept nobody, but those who wait at the doors ``gone``, which no other worker opens any more."""
        self._close_doors(gone)
        _say(self._orders, worker_message.encode("retired"))
        threading.Thread(target=self._await_end, daemon=True).start()

    def _await_end(self) -> None:
        self._threads.wait_until_idle(None)
        # What was accepted and cannot be written down is known to this process alone, as long as it is there.
        while self._journal and not self._journal.settle():
            time.sleep(OWED_INTERVAL)
        os.write(self._ended_writer, b"\n")

    def _stop(self) -> None:
        # Before the listeners, each of which takes a while; never read, so that every session's poll() sees it.
        os.write(self._stop_writer, b"\n")
        self._close_doors(range(len(self._listeners)))
        if not self._threads.wait_until_idle(STOP_PATIENCE):
            LOGGER.warning(record("sessions-cut-off", patience=STOP_PATIENCE))

    def _close_doors(self, emptied: Sequence[int]) -> None:
        """Stop accepting; from the doors ``emptied`` not before all who wait there are in."""
        for listener in self._listeners:
            listener.shutdown()
        for index, listener in enumerate(self._listeners):
            if index in emptied:
                listener.accept_queued()
            listener.server_close()
        self._listeners = []
