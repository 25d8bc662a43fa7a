"""The program's state: the table of ``--status``, /metrics and /healthz, from a control socket that answers or not."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imapproxy.config import HostPort
from imapproxy.net import status, web
from imapproxy.net.session_table import table
from imapproxy.net.status import Monitor, StatusUnavailable, figures_from, print_status, serve_status
from tests.net.figures import control_socket, figures, session, worker
from tests.net.peers import PATIENCE, listening, nothing_left, port_of

FIGURES = figures(worker(10, session(), sessions=3))


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def at(listener: socket.socket) -> HostPort:
    return HostPort("127.0.0.1", port_of(listener))


# For people.


def test_the_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with control_socket(tmp_path, FIGURES) as control:
        assert print_status(control.path) == 0
    assert capsys.readouterr() == (table(FIGURES), "")


def test_a_large_answer_is_read_whole(tmp_path: Path) -> None:
    large = figures(worker(10, *(session(user="x" * 300) for _ in range(2000))))
    with control_socket(tmp_path, large) as control:
        assert figures_from(control.path) == large


def test_whoever_reads_may_stop_reading(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    program = "import sys; from imapproxy.net.status import print_status; sys.exit(print_status(sys.argv[1]))"
    with control_socket(tmp_path, FIGURES) as control:
        command = [sys.executable, "-c", program, control.path]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=PATIENCE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


NO_IMAPPROXY = "what answers at {path} is no imapproxy, or it stopped just now"


@pytest.mark.parametrize("answer", [b"", b"hello\n", b"{}", b"[1]", b'{"version": "1", "pid": 1', b"\xff"])
def test_what_cannot_be_understood_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], answer: bytes
) -> None:
    with control_socket(tmp_path, answer) as control:
        assert print_status(control.path) == 1
    assert capsys.readouterr() == ("", f"imapproxy: {NO_IMAPPROXY.format(path=control.path)}\n")


def test_nobody_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, left = tmp_path / "missing", tmp_path / "left"
    with socket.socket(socket.AF_UNIX) as stream:
        stream.bind(str(left))
    for path in (missing, left):
        assert print_status(str(path)) == 1
        wanted = f"no imapproxy answers at {path}: is it running, with this control-socket?"
        assert capsys.readouterr() == ("", f"imapproxy: {wanted}\n")


def test_silence_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "CONTROL_PATIENCE", 0.1)
    path = str(tmp_path / "silent")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with pytest.raises(StatusUnavailable, match=f"^imapproxy does not answer at {path}; look at its log$"):
            figures_from(path)


def test_what_may_not_be_asked_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: str) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(status, "_read_all", refuse)  # root may ask everything
    with pytest.raises(StatusUnavailable, match="may be asked by root, and by the user and the group"):
        figures_from("/run/x")


def test_a_name_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    for path in ("x" * 200, str(tmp_path)):
        with pytest.raises(StatusUnavailable, match=r"^(cannot ask|no imapproxy)"):
            figures_from(path)


def test_an_endless_answer_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "MAX_FIGURES", 1000)
    with (
        control_socket(tmp_path, bytes(1001)) as control,
        pytest.raises(StatusUnavailable, match=r": it says too much$"),
    ):
        figures_from(control.path)


# For monitoring.


@contextmanager
def monitored(directory: Path, answer: object = FIGURES) -> Iterator[Monitor]:
    """Have a monitor of a program that answers, and of two servers that are there."""
    with ExitStack() as stack:
        octets = json.dumps(answer).encode()
        control = stack.enter_context(control_socket(directory, octets))
        servers = [at(stack.enter_context(listening())) for _ in range(2)]
        yield Monitor(control.path, *servers)


def test_metrics_are_those_of_the_program(tmp_path: Path) -> None:
    with monitored(tmp_path) as monitor:
        page = monitor.page("/metrics", "")
    assert page.status is HTTPStatus.OK
    assert page.content_type.startswith("text/plain; version=0.0.4")
    values = {family.name: family.samples[0].value for family in text_string_to_metric_families(page.body.decode())}
    assert (values["imapproxy_sessions"], values["imapproxy_connections"]) == (1, 3)


def test_the_program_is_not_asked_more_often_than_it_changes(tmp_path: Path) -> None:
    with control_socket(tmp_path, FIGURES) as control:
        monitor = Monitor(control.path, HostPort("127.0.0.1", 1), HostPort("127.0.0.1", 1))
        for _ in range(20):
            assert monitor.page("/metrics", "").status is HTTPStatus.OK
    assert control.asked < 20
    assert monitor.page("/metrics", "").status is HTTPStatus.OK  # though nobody answers any more


def test_a_program_that_does_not_answer_has_no_metrics(tmp_path: Path) -> None:
    monitor = Monitor(str(tmp_path / "control"), HostPort("127.0.0.1", 1), HostPort("127.0.0.1", 1))
    for _ in range(2):
        page = monitor.page("/metrics", "")
        assert page.status is HTTPStatus.SERVICE_UNAVAILABLE
        assert page.body.startswith(b"no imapproxy answers at ")


def test_all_is_well(tmp_path: Path) -> None:
    with monitored(tmp_path) as monitor:
        page = monitor.page("/healthz", "")
    assert (page.status, page.content_type) == (HTTPStatus.OK, "application/json")
    assert json.loads(page.body) == {"status": "ok", "imapproxy": "ok", "imap": "ok", "smtp": "ok"}


def test_a_program_without_workers_is_not_well(tmp_path: Path) -> None:
    with monitored(tmp_path, figures()) as monitor:
        page = monitor.page("/healthz", "")
    assert page.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert json.loads(page.body) == {
        "status": "failing",
        "imapproxy": "no worker answers",
        "imap": "ok",
        "smtp": "ok",
    }


def test_what_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        imap = at(taken)
        page = Monitor(str(tmp_path / "control"), imap, HostPort("no such host", 25)).page("/healthz", "")
    states = json.loads(page.body)
    assert page.status is HTTPStatus.SERVICE_UNAVAILABLE
    assert states["status"] == "failing"
    assert states["imapproxy"].startswith("no imapproxy answers at ")
    assert states["imap"] == f"cannot reach {imap}: Connection refused"
    assert states["smtp"].startswith("cannot reach no such host:25: ")


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def time_out(*_: object) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", time_out)
    server = HostPort("2001:db8::1", 143)
    assert status.health_of(server, server) == dict.fromkeys(("imap", "smtp"), "[2001:db8::1]:143 does not answer")


def test_health_is_asked_for_once_in_a_while(tmp_path: Path) -> None:
    with control_socket(tmp_path, FIGURES) as control, listening() as imap, listening() as smtp:
        monitor = Monitor(control.path, at(imap), at(smtp))
        for _ in range(5):
            assert monitor.page("/healthz", "").status is HTTPStatus.OK
        imap.accept()[0].close()
        imap.settimeout(0.1)
        with pytest.raises(TimeoutError):
            imap.accept()


def test_what_is_found_is_found_anew_when_it_is_old() -> None:
    numbers = iter(range(10))
    remembered = status.Remembered(lambda: next(numbers), age=0)
    assert [remembered.value(), remembered.value()] == [0, 1]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/favicon.ico"])
def test_there_is_nothing_else(path: str) -> None:
    page = Monitor("", HostPort("", 1), HostPort("", 1)).page(path, "")
    assert (page.status, page.body) == (HTTPStatus.NOT_FOUND, b"There are /metrics and /healthz\n")


@pytest.mark.parametrize("end", ["terminated", "orphaned"])
def test_it_serves_as_a_process_of_its_own_and_ends_with_its_parent(
    tmp_path: Path, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "TURN", 0.05)
    with control_socket(tmp_path, FIGURES) as control, listening() as listener:
        reader, writer = os.pipe()
        parent = os.fork()
        if not parent:
            _be_a_parent(listener, control.path, writer)
        os.close(writer)
        with os.fdopen(reader) as lines:
            child = int(lines.readline())
            url = f"http://127.0.0.1:{port_of(listener)}"
            with urlopen(f"{url}/metrics", timeout=PATIENCE) as response:
                assert re.search(rb"^imapproxy_sessions 1\.0$", response.read(), re.MULTILINE)
            with pytest.raises(HTTPError) as caught:
                urlopen(f"{url}/healthz", timeout=PATIENCE)
            caught.value.close()
            assert caught.value.code == HTTPStatus.SERVICE_UNAVAILABLE
            os.kill(child if end == "terminated" else parent, signal.SIGTERM)
            os.waitpid(parent, 0)
            assert lines.read() == ""  # at the end of the last who could write


def _be_a_parent(listener: socket.socket, control_socket_path: str, writer: int) -> None:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        child = os.fork()
        if not child:
            nowhere = HostPort("127.0.0.1", 1)
            serve_status(listener, control_socket_path, (nowhere, nowhere))
            os._exit(0)
        os.write(writer, f"{child}\n".encode())
        os.waitpid(child, 0)
    finally:
        os._exit(0)
