"""The control socket: who connects to it is told, as one JSON object, what the workers are doing.

The client may be a worker that has been taken over: nothing that is sent here is ever read.

The parent asks its workers for that and writes the answer without ever waiting for either: a worker that is silent is
left out, and a reader that does not read is let go. A worker is asked for one report at a time, however many ask.
"""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import struct
import termios
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from imapproxy import __version__
from imapproxy.errors import ConfigError
from imapproxy.net import privileges
from imapproxy.net.children import Close
from imapproxy.net.loop import Callback, Loop, Timer
from imapproxy.net.privileges import Owner
from imapproxy.net.workers import Worker

# Those who ask at once; there are an administrator and a collector of metrics.
MOST_ASKING = 16
# How long workers have for their reports, and then who asked to read them, in seconds.
REPORT_PATIENCE = 2.0
READ_PATIENCE = 10.0
# What is held for all who ask, in bytes; half a million sessions with usual names, or as much as one of them reads.
MOST_HELD = 64 << 20


@dataclass(slots=True, eq=False)
class _Question:
    """One who asks: the workers whose reports are still to come, from which number on, and what there is to tell."""

    stream: socket.socket
    waiting: dict[Worker, int] = field(default_factory=dict)
    reports: list[tuple[int, bool, bytes]] = field(default_factory=list)  # pid, whether it is retiring, report
    answer: memoryview | None = None
    timer: Timer | None = None

    def size(self) -> int:
        """Return how many bytes are held for it."""
        return sum(len(report) for _, _, report in self.reports) + len(self.answer or b"")


class ControlSocket:
    """The parent's end. ``workers`` returns those that can be asked, ``ended`` are the totals of those that ended."""

    def __init__(  # noqa: PLR0913, PLR0917 - what it needs of the parent, each given once
        self,
        path: str,
        owner: Owner | None,
        loop: Loop,
        workers: Callable[[], Iterable[Worker]],
        ended: Mapping[str, int],
        close: Close,
    ) -> None:
        """Raise ConfigError if the socket cannot be made. ``close`` closes what others have tampered with."""
        self.path = path
        self._loop = loop
        self._workers = workers
        self._ended = ended
        self._close_tampered = close
        self._questions: dict[int, _Question] = {}  # by their descriptors
        self._stream = _bound(path, owner)
        loop.when_readable(self._stream.fileno(), self._accept)

    def streams(self) -> list[socket.socket]:
        """Return what a forked child has to close."""
        return [self._stream, *(question.stream for question in self._questions.values())]

    def close(self) -> None:
        """Take nobody any more, and remove the socket; once."""
        if self._stream.fileno() < 0:
            return
        with contextlib.suppress(OSError):
            os.unlink(self.path)
        self._loop.unwatch(self._stream)
        self._close_tampered([self._stream])  # with all who have connected and were not accepted yet
        for question in list(self._questions.values()):
            self._drop(question)

    def reported(self, worker: Worker, number: int, report: bytes) -> None:
        """Take a worker's report, which is JSON, for all who have asked before the worker was."""
        for question in list(self._questions.values()):
            if question.waiting.get(worker, number + 1) <= number:
                del question.waiting[worker]
                question.reports.append((worker.pid, worker.state == "retiring", report))
                self._answer_if_complete(question)
        if any(worker in question.waiting for question in self._questions.values()):
            worker.ask()

    def gone(self, worker: Worker) -> None:
        """Wait no longer for the report of a worker."""
        for question in list(self._questions.values()):
            question.waiting.pop(worker, None)
            self._answer_if_complete(question)

    def _accept(self) -> None:
        try:
            stream, _ = self._stream.accept()
        except OSError:
            return
        if len(self._questions) >= MOST_ASKING:
            self._let_go(stream)
            return
        stream.setblocking(False)
        question = self._questions[stream.fileno()] = _Question(stream)
        question.timer = self._loop.later(REPORT_PATIENCE, lambda: self._answer(question))
        for worker in self._workers():
            question.waiting[worker] = worker.asked + 1  # what was asked for before may be of a moment ago
            worker.ask()
        self._answer_if_complete(question)

    def _answer_if_complete(self, question: _Question) -> None:
        if self._held() > MOST_HELD:
            self._drop(question)
        elif not question.waiting and question.answer is None:
            self._answer(question)

    def _held(self) -> int:
        return sum(question.size() for question in self._questions.values())

    def _answer(self, question: _Question) -> None:
        question.waiting.clear()
        question.answer = memoryview(self._written(question.reports))
        question.reports.clear()
        self._loop.when_writable(question.stream.fileno(), lambda: self._write(question))
        self._restart_timer(question, READ_PATIENCE, lambda: self._drop(question))

    def _written(self, reports: Iterable[tuple[int, bool, bytes]]) -> bytes:
        """Return the answer; the reports are JSON already."""
        about = json.dumps({"version": __version__, "pid": os.getpid(), "ended": self._ended}).encode("ascii")
        workers = (
            b'{"pid": %d, "retiring": %b, "report": %b}' % (pid, json.dumps(is_retiring).encode("ascii"), report)
            for pid, is_retiring, report in sorted(reports, key=lambda one: str(one[0]))
        )
        return b'%b, "workers": [%b]}' % (about.removesuffix(b"}"), b", ".join(workers))

    def _write(self, question: _Question) -> None:
        assert question.answer is not None
        try:
            question.answer = question.answer[question.stream.send(question.answer) :]
        except BlockingIOError:
            return
        except OSError:
            question.answer = question.answer[:0]
        if not question.answer:
            self._drop(question)

    def _restart_timer(self, question: _Question, seconds: float, callback: Callback) -> None:
        if question.timer:
            self._loop.cancel(question.timer)
        question.timer = self._loop.later(seconds, callback)

    def _drop(self, question: _Question) -> None:
        del self._questions[question.stream.fileno()]
        if question.timer:
            self._loop.cancel(question.timer)
        self._let_go(question.stream)

    def _let_go(self, stream: socket.socket) -> None:
        """Close a connection. What was sent to us is never read, and may be a descriptor that must not be closed here.

        ``imapproxy --status`` sends nothing.
        """
        self._loop.unwatch(stream)
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RD)  # from now on nothing more is sent
        if _has_sent(stream):
            self._close_tampered([stream])
        else:
            stream.close()


def _has_sent(stream: socket.socket) -> bool:
    """Return True if there is anything to read: not by reading, since urgent data (MSG_OOB) would not be seen."""
    return any(fcntl.ioctl(stream, termios.FIONREAD, bytes(struct.calcsize("i"))))


def _bound(path: str, owner: Owner | None) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    usual = os.umask(0o117)  # from its first moment for owner and group alone
    try:
        _remove_stale(path)
        stream.bind(path)
        stream.listen(MOST_ASKING)
        stream.setblocking(False)
        if owner:
            privileges.give(path, owner)
    except OSError as failure:
        stream.close()
        raise ConfigError(f"control-socket: cannot make {path}: {failure.strerror or failure}") from failure
    except ConfigError:
        stream.close()
        raise
    finally:
        os.umask(usual)
    return stream


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; raise ConfigError where somebody does, or where it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"control-socket: {path} is there and is no socket; it is left as it is")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) in {0, errno.EAGAIN}:
            raise ConfigError(f"control-socket: {path} belongs to an imapproxy that runs; give this one another")
    os.unlink(path)
