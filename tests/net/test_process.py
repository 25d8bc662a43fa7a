"""The parent, in a process of its own: it serves, and a signal ends all sessions in order.

What reload, death, pidfile and daemon are about is tested with the real program (tests/functional).
"""

import errno
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.net.notify import VARIABLE
from tests.functional.fake_smtp import SILENCE, FakeSmtp, Script
from tests.net.peers import PATIENCE, Peer, accepted_by, listening, port_of

GREETING = b"* OK ready\r\n"
STOPPED = b"* BYE The server is shutting down\r\n"

# Its arguments: how many seconds it waits at its end, and the program's flags.
SCRIPT = """
import sys
from imapproxy.config import parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net import process, workers
from imapproxy.net.detach import Starter
workers.STOP_PATIENCE = float(sys.argv[1])
read = lambda: parse_command_line(sys.argv[2:]).config
try:
    process.run(read(), read, Starter())
except ConfigError as failure:
    sys.exit(str(failure))
"""


class Running:
    """A parent that serves, what it logs, and its ports."""

    def __init__(self, directory: Path, *flags: str, patience: float = 30.0) -> None:
        self._log = directory / "log"
        arguments = [sys.executable, "-c", SCRIPT, str(patience), "--mail-domain=example.com", *flags]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(arguments, stderr=log)

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def of(self, event: str) -> list[str]:
        return re.findall(rf"(?m)^\S+ imapproxy\[\d+\]: [A-Z]+ ({event}\b.*)$", self.log())

    def await_line(self, event: str, count: int = 1) -> str:
        deadline = monotonic() + PATIENCE
        while len(self.of(event)) < count:
            assert monotonic() < deadline, self.log()
            assert self.process.poll() is None, self.log()
        return self.of(event)[count - 1]

    def connect(self, index: int = 0, host: str = "127.0.0.1") -> Peer:
        port = int(self.await_line("listening", index + 1).rpartition(":")[2])
        return Peer(socket.create_connection((host, port), timeout=PATIENCE))

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)
        assert self.process.wait(PATIENCE) == 0, self.log()
        assert "Traceback" not in self.log(), self.log()


@contextmanager
def running(directory: Path, *flags: str, patience: float = 30.0) -> Iterator[Running]:
    program = Running(directory, *flags, patience=patience)
    try:
        yield program
        if program.process.poll() is None:
            program.end()
    finally:
        program.process.kill()
        program.process.wait()


@pytest.fixture
def imap() -> Iterator[socket.socket]:
    with listening() as server:
        yield server


def flags_for(imap: socket.socket, *listen: str) -> list[str]:
    addresses = [f"--listen={address}" for address in listen or ["127.0.0.1:0"]]
    return [f"--imap-server=127.0.0.1:{port_of(imap)}", *addresses]


def refused(directory: Path, *flags: str) -> str:
    """Return why the parent did not begin to serve."""
    with running(directory, *flags) as program:
        assert program.process.wait(PATIENCE) == 1
    return program.log().splitlines()[-1]


def test_all_addresses_are_listened_on(tmp_path: Path, imap: socket.socket) -> None:
    hosts = ("127.0.0.1", "127.0.0.2")
    with running(tmp_path, *flags_for(imap, *(f"{host}:0" for host in hosts))) as it:
        for index, host in enumerate(hosts):
            with it.connect(index, host) as client, accepted_by(imap) as server:
                server.say(GREETING)
                client.expect(GREETING)
        assert [line.rpartition(":")[0] for line in it.of("listening")] == [
            f"listening address={host}" for host in hosts
        ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_sessions_in_order(tmp_path: Path, imap: socket.socket, number: signal.Signals) -> None:
    with running(tmp_path, *flags_for(imap), "--workers=2") as it, ExitStack() as stack:
        sessions = [(stack.enter_context(it.connect()), stack.enter_context(accepted_by(imap))) for _ in range(4)]
        for client, server in sessions:
            server.say(GREETING)
            client.expect(GREETING)
        it.process.send_signal(number)
        for client, server in sessions:
            assert client.hear_rest() == STOPPED
            assert server.hear_rest() == b""
        assert it.process.wait(PATIENCE) == 0
        assert it.of("stopping") == [f"stopping signal={number.name}"]
        assert len(it.of("disconnect")) == 4
        with pytest.raises(ConnectionRefusedError):
            it_is_over(it)


def it_is_over(it: Running) -> None:
    port = int(it.of("listening")[0].rpartition(":")[2])
    socket.create_connection(("127.0.0.1", port), PATIENCE).close()


@contextmanager
def submitting(directory: Path, mail: Script, patience: float = 30.0) -> Iterator[tuple[Running, Peer]]:
    """Have a client wait for its submission, to an SMTP server that takes its time for MAIL."""
    with ExitStack() as stack:
        smtp = stack.enter_context(FakeSmtp(replies={"MAIL": mail}))
        imap = stack.enter_context(listening())
        flags = [*flags_for(imap), f"--smtp-server=127.0.0.1:{smtp.port}"]
        program = stack.enter_context(running(directory, *flags, patience=patience))
        client = stack.enter_context(program.connect())
        server = stack.enter_context(accepted_by(imap))
        server.say(GREETING)
        client.say(b"a LOGIN fred pencil\r\n")
        server.expect(b"a LOGIN fred pencil\r\n")
        server.say(b"a OK done\r\n")
        client.expect(GREETING + b"a OK done\r\n")
        draft = b"To: ann@example.com\r\n\r\n"
        client.say(b"b SUBMIT {%d+}\r\n" % len(draft) + draft + b"\r\n")
        while "EHLO" not in smtp.verbs():
            assert not client.is_spoken_to(within=0.01)
        yield program, client


def test_a_submission_under_way_is_waited_for(tmp_path: Path) -> None:
    with submitting(tmp_path, (0.3, "250 2.1.0 ok")) as (program, client):
        program.process.terminate()
        assert client.hear_rest() == b"b OK SUBMIT completed\r\n" + STOPPED
        assert program.process.wait(PATIENCE) == 0
        assert program.of("sessions-cut-off") == []


def test_a_submission_that_takes_too_long_is_cut_off(tmp_path: Path) -> None:
    with submitting(tmp_path, SILENCE, patience=0.1) as (program, _):
        program.process.terminate()
        assert program.process.wait(PATIENCE) == 0
        assert program.of("sessions-cut-off") == ["sessions-cut-off patience=0.1"]


def test_a_bad_address_leaves_nobody_served(tmp_path: Path, imap: socket.socket) -> None:
    taken = f"127.0.0.1:{port_of(imap)}"
    said = refused(tmp_path, "--listen=127.0.0.1:0", f"--listen={taken}", "--imap-server=127.0.0.1:1")
    assert said == f"listen: cannot listen on {taken}: Address already in use"


def test_a_log_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    assert refused(tmp_path, f"--log-to={tmp_path}") == f"log-to: cannot log to {tmp_path}: {os.strerror(errno.EISDIR)}"


def test_fewer_clients_than_wanted_are_allowed_where_descriptors_are_few(tmp_path: Path, imap: socket.socket) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with running(tmp_path, *flags_for(imap), f"--max-clients={min(hard, 100_000)}") as it:
        it.await_line("listening")
        if hard <= 100_000:
            (line,) = it.of("max-clients-lowered")
            assert line.endswith('reason="the limit of open files (ulimit -Hn)"')
            assert 0 < int(line.split()[1].removeprefix("to=")) < hard


def test_the_limit_of_clients_is_that_of_all_workers_together(tmp_path: Path, imap: socket.socket) -> None:
    with running(tmp_path, *flags_for(imap), "--max-clients=2", "--workers=3") as it, ExitStack() as stack:
        for _ in range(2):
            client, server = stack.enter_context(it.connect()), stack.enter_context(accepted_by(imap))
            server.say(GREETING)
            client.expect(GREETING)
        for _ in range(4):
            with it.connect() as one_more:
                assert one_more.hear_rest() == b"* BYE Too many clients; try again later\r\n"


def test_the_service_manager_is_told(tmp_path: Path, imap: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv(VARIABLE, path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(PATIENCE)
        manager.bind(path)
        with running(tmp_path, *flags_for(imap)) as it:
            assert manager.recv(1000) == b"READY=1\nMAINPID=%d" % it.process.pid
            it.process.send_signal(signal.SIGHUP)
            assert manager.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert manager.recv(1000).startswith(b"READY=1\n")
            it.process.terminate()
            assert manager.recv(1000) == b"STOPPING=1"


def test_a_worker_that_dies_at_once_is_replaced_after_a_pause(tmp_path: Path, imap: socket.socket) -> None:
    with running(tmp_path, *flags_for(imap)) as it:
        worker = int(it.await_line("worker-started").rpartition("=")[2])
        began = monotonic()
        os.kill(worker, signal.SIGKILL)
        it.await_line("worker-started", 2)
        assert monotonic() - began >= 1.0


def test_root_is_advised_not_to_be_the_one_who_serves(tmp_path: Path, imap: socket.socket) -> None:
    with running(tmp_path, *flags_for(imap)) as it:
        it.await_line("listening")
        assert bool(it.of("privileges-kept")) == (os.geteuid() == 0)
