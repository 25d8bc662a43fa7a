"""Figures as the control socket answers them, and a control socket that answers."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imapproxy.net.metrics import Figures, WorkerFigures
from imapproxy.net.registry import Registry, Report, SessionReport

SINCE = 1_700_000_000.0


def session(**changes: Any) -> SessionReport:
    usual = SessionReport(
        user="fred", client="192.0.2.1", tls=None, compress=None, since=SINCE, received=10, sent=2000, doing="idle"
    )
    return usual | changes  # type: ignore[return-value]


def worker(pid: int, *sessions: SessionReport, retiring: bool = False, **totals: int) -> WorkerFigures:
    report = Report(sessions=list(sessions), totals=Registry().report()["totals"] | totals)
    return WorkerFigures(pid=pid, retiring=retiring, report=report)


def figures(*workers: WorkerFigures) -> Figures:
    return Figures(version="1.2.3", pid=1, workers=list(workers))


class ControlSocket:
    """A parent's control socket: what it answers, and how often it was asked."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.path = str(path)
        self.answer = answer
        self.asked = 0
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self.path)
        self._listener.listen()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                stream = self._listener.accept()[0]
            except OSError:
                return
            with stream:
                self.asked += 1
                stream.sendall(self.answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@contextmanager
def control_socket(directory: Path, answer: Figures | bytes) -> Iterator[ControlSocket]:
    octets = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    control = ControlSocket(directory / "control", octets)
    try:
        yield control
    finally:
        control.close()
