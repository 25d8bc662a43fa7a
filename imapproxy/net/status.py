"""The program's state, for people and for monitoring; both ask the parent's control socket.

``print_status`` is ``imapproxy --status``. ``serve_status`` is a process of its own without privileges: /metrics for
Prometheus, /healthz for whoever restarts things. It may be slow, busy or dead without any session noticing: however
often it is asked, it asks the workers once in a while only.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Generic, TypeVar, cast

from imapproxy.config import HostPort
from imapproxy.errors import ProxyError
from imapproxy.net.metrics import Figures, RisingTotals, exposition
from imapproxy.net.session_table import table
from imapproxy.net.web import Page, sentence, serve_http

# How long the parent may take for all its workers' figures, in seconds.
CONTROL_PATIENCE = 10.0
# A hundred thousand sessions with long names.
MAX_FIGURES = 64 * 1024 * 1024
# Figures and health that are not older are not asked for again, in seconds.
FIGURES_AGE = 1.0
HEALTH_AGE = 5.0
# A mail server that takes longer to accept a connection is not well, in seconds.
HEALTH_PATIENCE = 3.0

_Value = TypeVar("_Value")


class StatusUnavailable(ProxyError):
    """The figures cannot be had; the text is one sentence that says what to do."""


def figures_from(control_socket: str) -> Figures:
    """Return what the control socket answers now."""
    try:
        answer = _read_all(control_socket)
    except (FileNotFoundError, ConnectionRefusedError):
        raise StatusUnavailable(
            f"no imapproxy answers at {control_socket}: is it running, with this control-socket?"
        ) from None
    except PermissionError:
        raise StatusUnavailable(
            f"{control_socket} may be asked by root, and by the user and the group that imapproxy runs as"
        ) from None
    except TimeoutError:
        raise StatusUnavailable(f"imapproxy does not answer at {control_socket}; look at its log") from None
    except OSError as failure:
        raise StatusUnavailable(f"cannot ask {control_socket}: {failure.strerror or failure}") from None
    try:
        figures = json.loads(answer)
        if not isinstance(figures, dict) or not figures.keys() >= Figures.__required_keys__:
            raise ValueError
    except ValueError:
        raise StatusUnavailable(f"what answers at {control_socket} is no imapproxy, or it stopped just now") from None
    return cast("Figures", figures)


def _read_all(control_socket: str) -> bytes:
    deadline = time.monotonic() + CONTROL_PATIENCE
    answer = bytearray()
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(CONTROL_PATIENCE)
        stream.connect(control_socket)
        while len(answer) <= MAX_FIGURES:
            stream.settimeout(max(deadline - time.monotonic(), 0.001))
            octets = stream.recv(64 * 1024)
            if not octets:
                return bytes(answer)
            answer += octets
    raise OSError("it says too much")


# For people --------------------------------------------------------------------------------------------------------


def print_status(control_socket: str) -> int:
    """Print the running sessions, or to standard error why not; return the program's exit status."""
    try:
        text = table(figures_from(control_socket))
    except StatusUnavailable as failure:
        sys.stderr.write(f"imapproxy: {failure}\n")
        return 1
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # who reads has seen enough; and what is left is flushed at exit (Python's note on SIGPIPE)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


# For monitoring ----------------------------------------------------------------------------------------------------


def serve_status(listener: socket.socket, control_socket: str, upstreams: tuple[HostPort, HostPort]) -> None:
    """Serve /metrics and /healthz on ``listener`` until the process that started this one has gone.

    ``upstreams`` are the IMAP and the SMTP server.
    """
    parent = os.getppid()
    monitor = Monitor(control_socket, *upstreams)
    serve_http(listener, monitor.page, lambda: os.getppid() == parent)


class Monitor:
    """The pages, and what they are made of."""

    def __init__(self, control_socket: str, imap: HostPort, smtp: HostPort) -> None:
        self._totals = RisingTotals()
        self._figures = Remembered(lambda: self._latest(control_socket), FIGURES_AGE)
        self._health = Remembered(lambda: health_of(imap, smtp), HEALTH_AGE)

    def page(self, path: str, accept: str) -> Page:
        """Return the page at ``path``."""
        try:
            if path == "/metrics":
                body, content_type = exposition(*self._figures.value(), accept)
                return Page(HTTPStatus.OK, content_type, body)
            if path == "/healthz":
                return self._healthz()
        except StatusUnavailable as failure:
            return sentence(HTTPStatus.SERVICE_UNAVAILABLE, str(failure))
        return sentence(HTTPStatus.NOT_FOUND, "There are /metrics and /healthz")

    def _latest(self, control_socket: str) -> tuple[Figures, dict[str, int]]:
        figures = figures_from(control_socket)
        return figures, self._totals.after(figures)

    def _healthz(self) -> Page:
        states = {"imapproxy": "ok", **self._health.value()}
        try:
            if not self._figures.value()[0]["workers"]:
                states["imapproxy"] = "no worker answers"
        except StatusUnavailable as failure:
            states["imapproxy"] = str(failure)
        is_well = set(states.values()) == {"ok"}
        body = json.dumps({"status": "ok" if is_well else "failing", **states}).encode("ascii") + b"\n"
        return Page(HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE, "application/json", body)


class Remembered(Generic[_Value]):
    """What ``find`` returned or raised, found anew by the first who asks when it is older than ``age`` seconds."""

    def __init__(self, find: Callable[[], _Value], age: float) -> None:
        self._find = find
        self._age = age
        self._lock = threading.Lock()
        self._found: Callable[[], _Value] | None = None
        self._until = 0.0

    def value(self) -> _Value:
        """Return it, or raise StatusUnavailable."""
        with self._lock:
            if self._found is None or time.monotonic() >= self._until:
                self._found = self._find_now()
                self._until = time.monotonic() + self._age
            found = self._found
        return found()

    def _find_now(self) -> Callable[[], _Value]:
        try:
            value = self._find()
        except StatusUnavailable as failure:
            text = str(failure)

            def fail() -> _Value:
                raise StatusUnavailable(text)

            return fail
        return lambda: value


def health_of(imap: HostPort, smtp: HostPort) -> dict[str, str]:
    """Return ``ok`` or what is wrong, for each of the two servers."""
    return {"imap": _reached(imap), "smtp": _reached(smtp)}


def _reached(server: HostPort) -> str:
    try:
        with socket.create_connection(server, HEALTH_PATIENCE):
            return "ok"
    except TimeoutError:
        return f"{server} does not answer"
    except OSError as failure:
        return f"cannot reach {server}: {failure.strerror or failure}"
