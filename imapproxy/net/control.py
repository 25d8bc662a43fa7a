"""The control socket: who connects to it is told, as one JSON object, what the workers are doing.

The parent asks its workers for that and writes the answer without ever waiting for either: a worker that is silent is
left out, and a reader that does not read is let go.
"""

import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import count

from imapproxy import __version__
from imapproxy.errors import ConfigError
from imapproxy.net import privileges
from imapproxy.net.loop import Loop
from imapproxy.net.privileges import Owner
from imapproxy.net.workers import Worker

# Those who ask at once; there are an administrator and a collector of metrics.
MOST_ASKING = 16
# How long workers have for their reports, and then who asked to read them, in seconds.
REPORT_PATIENCE = 2.0
READ_PATIENCE = 10.0


@dataclass(slots=True, eq=False)
class _Question:
    """One who asks: the workers whose reports are still to come, and what there is to tell."""

    stream: socket.socket
    waiting: set[Worker]
    reports: list[dict[str, object]] = field(default_factory=list)
    answer: memoryview | None = None


class ControlSocket:
    """The parent's end. ``workers`` returns those that can be asked, ``ended`` are the totals of those that ended."""

    def __init__(
        self,
        path: str,
        owner: Owner | None,
        loop: Loop,
        workers: Callable[[], Iterable[Worker]],
        ended: Mapping[str, int],
    ) -> None:
        """Raise ConfigError where the socket cannot be made."""
        self.path = path
        self._loop = loop
        self._workers = workers
        self._ended = ended
        self._questions: dict[int, _Question] = {}
        self._numbers = count()
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
        self._loop.forget(self._stream)
        for number in list(self._questions):
            self._drop(number)

    def reported(self, worker: Worker, number: int, report: object) -> None:
        """Take a worker's report for the question ``number``."""
        question = self._questions.get(number)
        if question and worker in question.waiting:
            question.waiting.remove(worker)
            question.reports.append(
                {"pid": worker.pid, "retiring": worker.state == "retiring", "report": report},
            )
            self._answer_if_complete(number)

    def gone(self, worker: Worker) -> None:
        """Wait no longer for the report of a worker."""
        for number, question in list(self._questions.items()):
            question.waiting.discard(worker)
            self._answer_if_complete(number)

    def _accept(self) -> None:
        try:
            stream, _ = self._stream.accept()
        except OSError:
            return
        if len(self._questions) >= MOST_ASKING:
            stream.close()
            return
        stream.setblocking(False)
        number = next(self._numbers)
        question = self._questions[number] = _Question(stream, set(self._workers()))
        for worker in question.waiting:
            worker.tell("report", number)
        self._loop.later(REPORT_PATIENCE, lambda: self._answer(number))
        self._answer_if_complete(number)

    def _answer_if_complete(self, number: int) -> None:
        if not self._questions[number].waiting:
            self._answer(number)

    def _answer(self, number: int) -> None:
        question = self._questions.get(number)
        if question is None or question.answer is not None:
            return
        reports = sorted(question.reports, key=lambda report: str(report["pid"]))
        told = {"version": __version__, "pid": os.getpid(), "workers": reports, "ended": self._ended}
        question.answer = memoryview(json.dumps(told).encode("ascii"))
        self._loop.when_writable(question.stream.fileno(), lambda: self._write(number))
        self._loop.later(READ_PATIENCE, lambda: self._drop(number))

    def _write(self, number: int) -> None:
        question = self._questions[number]
        assert question.answer is not None
        try:
            question.answer = question.answer[question.stream.send(question.answer) :]
        except BlockingIOError:
            return
        except OSError:
            question.answer = question.answer[:0]
        if not question.answer:
            self._drop(number)

    def _drop(self, number: int) -> None:
        if question := self._questions.pop(number, None):
            self._loop.forget(question.stream)


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
