"""The parent: it binds, reads configuration and keys, and has workers serve; signals tell it what to do.

                  ┌────────── parent (keeps its user; one thread; pidfile locked) ───────────┐
                  │ signals ─▶ reload, stop      ledger: counts of all workers together      │
                  └─┬──────────────┬───────────────────┬───────────────────────▲─────────────┘
        listening   │ fork         │ fork              │ fork                  │ control socket
        sockets     ▼              ▼                   ▼                       │
                 worker         worker (retiring)   status process ────────────┘
                 (user/group; a thread a session)   (user/group; /metrics, /healthz)

The listening sockets are the parent's and outlive every worker, so that nobody who waits there is lost when workers
change. SIGHUP: everything is read anew and new workers start; only once all of them serve are the old ones told to
retire. What fails before leaves all as it was. SIGTERM, SIGINT: all are told to stop, and have time for it.
"""

import contextlib
import logging
import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack

from imapproxy import logs
from imapproxy.config import Config
from imapproxy.errors import ConfigError, WorkerError
from imapproxy.logs import LOGGER, record
from imapproxy.net import notify, privileges, workers
from imapproxy.net.checker import Checker
from imapproxy.net.children import EndingChildren, await_end
from imapproxy.net.control import MOST_HELD, ControlSocket
from imapproxy.net.detach import Starter
from imapproxy.net.ledger import Book, Limits, answer
from imapproxy.net.loop import Loop
from imapproxy.net.pidfile import Pidfile
from imapproxy.net.privileges import ROOT, Owner
from imapproxy.net.server import QUEUE_PATIENCE, clients_allowed, display_address
from imapproxy.net.service import RUNNING_SUBMISSIONS
from imapproxy.net.setup import Loaded, Setup, journal_check, load, prepare, rehearsal, release
from imapproxy.net.signals import Signals
from imapproxy.net.status_process import StatusProcess, body_of
from imapproxy.net.worker_message import Ended, Failed, Hearing, Message, Ready, Reported, Retired
from imapproxy.net.workers import Assignment, Worker, fork_worker

# A worker that dies sooner is not replaced at once: what kills it at its start would do so again, without end.
QUICK_DEATH = 5.0  # seconds
RESPAWN_PAUSE = 1.0  # seconds
# How long a worker may take to start, and to accept no more clients, beside those who wait already; in seconds. Either
# is done in a moment; one that is not done at all would keep every later reload waiting.
START_PATIENCE = 60.0
RETIRE_PATIENCE = 60.0
# What a worker may take beyond its own patience with submissions before it is killed, in seconds.
STOP_GRACE = 5.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Read = Callable[[], Config]


def run(config: Config, read: Read, starter: Starter) -> None:
    """Serve until SIGTERM or SIGINT, then end all sessions in order.

    ``read`` returns the configuration as it is now, for SIGHUP. ``starter`` hears when clients are served. Raise
    ConfigError where that does not come about.
    """
    logs.set_up(config.log_to, config.log_level)
    with ExitStack() as stack:
        pidfile = stack.enter_context(Pidfile(config.pidfile)) if config.pidfile else None
        signals = stack.enter_context(Signals(_SIGNALS))
        parent = Parent(read, signals, pidfile, starter)
        stack.callback(parent.close)
        try:
            parent.serve(config)
        except ConfigError:
            raise
        except Exception:
            LOGGER.exception(record("parent-failed"))
            raise
    for number in (signal.SIGTERM, signal.SIGINT):  # another one while the interpreter ends changes nothing
        signal.signal(number, signal.SIG_IGN)
    LOGGER.info(record("stopped"))


class Parent:
    """The workers, what they serve with, and what is still to happen with either."""

    def __init__(self, read: Read, signals: Signals, pidfile: Pidfile | None, starter: Starter) -> None:
        self._read = read
        self._signals = signals
        self._pidfile = pidfile
        self._starter = starter
        self._loop = Loop()
        self._workers: dict[int, Worker] = {}
        self._book = Book(Limits(0, 0, 0))
        self._ended: Counter[str] = Counter()  # what workers that have ended had counted
        self._current: Setup | None = None
        self._coming: Setup | None = None  # its workers start
        self._ending = EndingChildren()
        self._status = StatusProcess(self._loop, self._ending, lambda kept: self._close_in_child({kept}))
        self._checker = Checker(self._loop, self._ending, lambda: self._close_in_child(()))
        self._is_reloading = False
        self._reload_wanted = False
        self._is_stopping = False
        self._start_failure: ConfigError | None = None
        self._loop.when_readable(signals.fd, self._take_signals)

    def serve(self, config: Config) -> None:
        """Start, and go on until the end; raise ConfigError where the first workers could not start."""
        self._begin(config)
        while self._workers or not self._is_stopping:
            self._loop.turn()
            if self._start_failure:
                raise self._start_failure

    def close(self) -> None:
        """End what there still is, if this is not the end in order: workers without a parent stop."""
        self._status.end()
        self._checker.cancel()
        for setup in self._setups():
            release(setup, self._ending.close)
        for worker in self._workers.values():
            self._loop.forget(worker.control)
            self._loop.forget(worker.ledger)
        deadline = time.monotonic() + workers.STOP_PATIENCE + STOP_GRACE
        for pid in self._workers:
            if not await_end(pid, deadline - time.monotonic()):
                self._ending.kill(pid)

    # What is served with ----------------------------------------------------------------------------------------------

    def _begin(self, config: Config) -> None:
        """Have workers start with ``config``, once its journal is there; raise ConfigError if that cannot be."""
        if not self._book.board.has_seats(config.workers):
            raise ConfigError("workers: too many are still there from before; try again when sessions have ended")
        loaded = load(config)
        if not config.journal:
            self._start_workers(config, loaded)
            return
        self._checker.run(
            journal_check(config.journal, loaded.owner),
            lambda problem: self._go_on(problem, lambda: self._start_workers(config, loaded)),
        )

    def _go_on(self, problem: str, step: Callable[[], None]) -> None:
        """Take the next step with a new configuration, unless there is a problem, or it has one itself."""
        try:
            if problem:
                raise ConfigError(problem)
            step()
        except ConfigError as failure:
            if self._current:
                self._abandon_reload(failure)
            else:
                self._start_failure = failure

    def _start_workers(self, config: Config, loaded: Loaded) -> None:
        logs.set_up(config.log_to, config.log_level)
        max_clients = clients_allowed(config.max_clients, RUNNING_SUBMISSIONS)
        setup = self._coming = prepare(config, loaded, max_clients, self._current, self._control_socket)
        owner = setup.assignment.owner
        if max_clients < config.max_clients:
            reason = "the limit of open files (ulimit -Hn)"
            LOGGER.warning(record("max-clients-lowered", to=max_clients, reason=reason))
        if owner is None and os.geteuid() == ROOT:
            LOGGER.warning(record("privileges-kept", user="root", reason="no user is configured"))
        if owner and config.log_to not in {"stderr", "syslog"}:
            privileges.give(config.log_to, owner)  # workers open it anew when logrotate has moved it away
        self._book.allow(_limits_of(config))
        for _ in range(config.workers):
            self._fork(setup.assignment)

    def _setups(self) -> list[Setup]:
        return [setup for setup in (self._current, self._coming) if setup]

    def _control_socket(self, path: str, owner: Owner | None) -> ControlSocket:
        return ControlSocket(path, owner, self._loop, self._to_be_asked, self._ended, self._ending.close)

    def _to_be_asked(self) -> list[Worker]:
        return [worker for worker in self._workers.values() if worker.state != "starting"]

    def _take_over(self, setup: Setup) -> None:
        """Let the workers that have come serve, and those before retire."""
        before, self._current, self._coming = self._current, setup, None
        known = before.sockets() if before else {}
        for door in setup.assignment.doors:
            if door.place not in known:
                LOGGER.info(
                    record("listening", address=display_address(door.stream), tls="on" if door.is_tls else None)
                )
        for worker in list(self._workers.values()):
            if worker.assignment is not setup.assignment and worker.state == "serving":
                self._retire(worker)
        self._replace_status(setup)
        if before:
            release(before, self._ending.close, kept=setup)
            self._finish_reload()
        else:
            self._starter.ready()
            notify.ready()

    def _replace_status(self, setup: Setup) -> None:
        config = setup.assignment.config
        if setup.status_listener is None:
            self._status.end()
            return
        LOGGER.info(record("status-listening", address=display_address(setup.status_listener)))
        upstreams = (config.imap_server, config.smtp_server)
        body = body_of(setup.status_listener, config.control_socket, setup.assignment.owner, upstreams)
        self._status.replace(setup.status_listener, body)

    # Workers come and go ----------------------------------------------------------------------------------------------

    def _fork(self, assignment: Assignment) -> None:
        """Start a worker; raise ConfigError where the machine has no room for one."""
        kept = {door.stream for door in assignment.doors}
        seat = self._book.board.seat()
        try:
            worker = fork_worker(assignment, seat, lambda: self._close_in_child(kept))
        except OSError as failure:
            self._book.board.vacate(seat)
            raise ConfigError(f"cannot start a worker: {failure.strerror}") from failure
        self._workers[worker.pid] = worker
        self._loop.when_readable(worker.control.fileno(), lambda: self._hear(worker))
        self._loop.when_readable(worker.ledger.fileno(), lambda: self._count(worker))
        self._kill_later(worker, START_PATIENCE, lambda: worker.state == "starting", "it does not start")

    def _close_in_child(self, kept: Collection[socket.socket]) -> None:
        """Close what is the parent's alone."""
        self._signals.close()
        self._starter.close()
        self._checker.close()
        if self._pidfile:
            self._pidfile.close()
        for worker in self._workers.values():
            worker.control.close()
            worker.ledger.close()
        for stream in {stream for setup in self._setups() for stream in setup.streams()}.difference(kept):
            stream.close()

    def _count(self, worker: Worker) -> None:
        try:
            if not answer(self._book, worker.pid, worker.ledger, time.monotonic()):
                self._loop.forget(worker.ledger)
        except WorkerError as failure:
            self._kill_worker(worker, str(failure))

    def _hear(self, worker: Worker) -> None:
        try:
            for message in worker.hear():
                self._take(worker, message)
        except EOFError:
            self._loop.forget(worker.control)  # SIGCHLD says how it ended
        except WorkerError as failure:
            self._kill_worker(worker, str(failure))
        if worker.hearing.held and sum(other.hearing.held for other in self._workers.values()) > MOST_HELD:
            largest = max(self._workers.values(), key=lambda other: other.hearing.held)
            self._kill_worker(largest, "the reports under way are too large")

    def _take(self, worker: Worker, message: Message) -> None:
        match message:
            case Ready():
                self._is_ready(worker)
            case Failed(reason):
                self._fail_start(worker, reason)
            case Retired():
                worker.accepts = False
                self._finish_reload()
            case Reported(number, report):
                for control in self._controls():
                    control.reported(worker, number, report)
            case Ended(totals):
                self._ended.update(totals)

    def _kill_worker(self, worker: Worker, reason: str) -> None:
        """End a worker that does what it may not, or not what it is told; it is replaced as one that has died."""
        LOGGER.error(record("worker-killed", pid=worker.pid, reason=reason))
        if not worker.has_ended:
            os.kill(worker.pid, signal.SIGKILL)
        self._loop.forget(worker.control)
        self._loop.forget(worker.ledger)
        worker.hearing = Hearing(most_sessions=0)  # what it held is free at once

    def _kill_later(self, worker: Worker, seconds: float, is_late: Callable[[], bool], reason: str) -> None:
        """Kill the worker unless it has ended in so many seconds, or is not late any more."""

        def kill() -> None:
            if not worker.has_ended and is_late():
                self._kill_worker(worker, reason)

        self._loop.later(seconds, kill)

    def _controls(self) -> set[ControlSocket]:
        return {setup.control for setup in self._setups() if setup.control}

    def _is_ready(self, worker: Worker) -> None:
        worker.state = "serving"
        LOGGER.info(record("worker-started", pid=worker.pid))
        if self._is_stopping:
            return
        if self._coming and worker.assignment is self._coming.assignment:
            if all(other.state == "serving" for other in self._of(self._coming)):
                self._take_over(self._coming)
        elif not (self._current and worker.assignment is self._current.assignment):
            self._retire(worker)  # it was to replace one, but a reload was faster

    def _of(self, setup: Setup) -> Iterator[Worker]:
        return (worker for worker in self._workers.values() if worker.assignment is setup.assignment)

    def _retire(self, worker: Worker) -> None:
        kept = self._current.sockets().values() if self._current else ()
        gone = [index for index, door in enumerate(worker.assignment.doors) if door.stream not in kept]
        worker.retire(gone)
        patience = RETIRE_PATIENCE + QUEUE_PATIENCE * len(gone)
        self._kill_later(worker, patience, lambda: worker.accepts, "it does not retire")

    def _fail_start(self, worker: Worker, reason: str) -> None:
        """Take notice that a worker could not start: no other of its setup would."""
        if self._is_stopping or not (self._coming and worker.assignment is self._coming.assignment):
            return
        if self._current:
            self._abandon_reload(ConfigError(reason))
        elif self._start_failure is None:
            self._start_failure = ConfigError(reason)

    def _reap(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._has_ended(worker, os.waitstatus_to_exitcode(status))
        self._status.reap()
        self._checker.reap()
        self._ending.reap()

    def _has_ended(self, worker: Worker, exit_code: int) -> None:
        worker.has_ended = True
        # Its last words may be why it could not start: what the pipe holds, and then its end.
        for _ in range(2):
            if worker.control.fileno() >= 0:
                self._hear(worker)
        del self._workers[worker.pid]
        self._loop.forget(worker.control)
        self._loop.forget(worker.ledger)
        self._book.forget(worker.pid)
        self._book.board.vacate(worker.seat)
        for other in self._workers.values():
            other.recount()
        for control in self._controls():
            control.gone(worker)
        is_expected = exit_code == 0 and (worker.state == "retiring" or self._is_stopping)
        how = {"signal": -exit_code} if exit_code < 0 else {"status": exit_code}
        LOGGER.log(logging.INFO if is_expected else logging.WARNING, record("worker-ended", pid=worker.pid, **how))
        self._fail_start(worker, "a worker could not start; the log says why")
        if worker.state != "retiring":
            is_quick = time.monotonic() - worker.began < QUICK_DEATH
            self._loop.later(RESPAWN_PAUSE if is_quick else 0, self._fill_up)
        self._finish_reload()

    def _fill_up(self) -> None:
        """Start workers in the place of those that have died."""
        if self._current is None or self._is_stopping:
            return
        there = sum(worker.state != "retiring" for worker in self._of(self._current))
        try:
            for _ in range(self._current.assignment.config.workers - there):
                self._fork(self._current.assignment)
        except ConfigError as failure:
            LOGGER.error(record("worker-not-started", reason=str(failure)))
            self._loop.later(RESPAWN_PAUSE, self._fill_up)

    # Signals ----------------------------------------------------------------------------------------------------------

    def _take_signals(self) -> None:
        for number in self._signals.come():
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload()
            else:
                self._stop(number)

    def _reload(self) -> None:
        if self._is_stopping:
            return
        if self._is_reloading or self._current is None:
            self._reload_wanted = True  # one after another; the next reads what is there then
            return
        self._is_reloading = True
        notify.reloading()
        LOGGER.info(record("reloading"))
        try:
            self._checker.run(
                rehearsal(self._read, self._current),
                lambda problem: self._go_on(problem, lambda: self._begin(self._read())),
            )
        except ConfigError as failure:
            self._abandon_reload(failure)

    def _abandon_reload(self, failure: ConfigError) -> None:
        """Leave all as it was, and say why."""
        assert self._current
        config = self._current.assignment.config
        if self._coming:
            for worker in self._of(self._coming):
                worker.state, worker.accepts = "retiring", False
                worker.stop()
                self._kill_later(worker, workers.STOP_PATIENCE + STOP_GRACE, lambda: True, "it does not stop")
            release(self._coming, self._ending.close, kept=self._current)
            self._coming = None
        with contextlib.suppress(ConfigError):
            logs.set_up(config.log_to, config.log_level)
        self._book.allow(_limits_of(config))
        for problem in str(failure).splitlines():
            LOGGER.error(record("reload-failed", reason=problem))
        self._end_reload()

    def _finish_reload(self) -> None:
        """Say that a reload is done, once none of the workers before accepts clients any more."""
        if not self._is_reloading or self._checker.is_running or self._coming or self._current is None:
            return
        now = self._current.assignment
        if any(worker.accepts and worker.assignment is not now for worker in self._workers.values()):
            return
        LOGGER.info(record("reloaded"))
        self._end_reload()

    def _end_reload(self) -> None:
        self._is_reloading = False
        notify.ready()
        if self._reload_wanted:
            self._reload_wanted = False
            self._reload()

    def _stop(self, number: signal.Signals) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        notify.stopping()
        LOGGER.info(record("stopping", signal=number.name))
        self._status.end()
        self._checker.cancel()
        # Before the workers close theirs, once they have let in who waits: new clients are refused, not left alone.
        for setup in self._setups():
            release(setup, self._ending.close)
        for worker in self._workers.values():
            worker.stop()
        self._loop.later(workers.STOP_PATIENCE + STOP_GRACE, self._kill)

    def _kill(self) -> None:
        for pid in self._workers:
            os.kill(pid, signal.SIGKILL)


def _limits_of(config: Config) -> Limits:
    return Limits(config.max_clients, config.max_clients_per_ip, config.max_submissions_per_hour)
