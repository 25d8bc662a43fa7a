"""The program's processes, from the outside: reload, restart, death of a worker, pidfile, daemon and privileges."""

import fcntl
import os
import pwd
import re
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from imapproxy.net.status import figures_from
from tests.functional.certificates import Pair, make_certificates
from tests.functional.fake_imap import REWRITTEN_GREETING, FakeImap, Listener, connect, scene, well_behaved
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.process import PATIENCE, free_ports, public_directory
from tests.functional.program import Program, children, program
from tests.functional.proxy_process import PROGRAM, Options, configuration
from tests.functional.scripted import DRAFT, await_exit, descriptors, eventually

STOPPED = b"* BYE The server is shutting down\r\n"
CLIENTS = 6  # that log in and submit again and again
RELOADS = 5


@pytest.fixture
def smtp() -> Iterator[FakeSmtp]:
    with FakeSmtp() as server:
        yield server


@pytest.fixture
def imap() -> Iterator[Listener]:
    """A server whose part the test plays."""
    with Listener() as server:
        yield server


@pytest.fixture
def served() -> Iterator[FakeImap]:
    """A server that plays its part itself."""
    with FakeImap(well_behaved) as server:
        yield server


def is_served(port: int) -> bool:
    with connect(port) as client:
        return client.line() == REWRITTEN_GREETING


def is_refused(port: int) -> bool:
    with suppress(ConnectionRefusedError), connect(port):
        return False
    return True


# Under load


class Load:
    """Clients that connect, log in and submit, again and again, and what they were answered."""

    def __init__(self, port: int, is_down: threading.Event) -> None:
        self._port = port
        self._is_down = is_down  # set while nobody need listen
        self._over = threading.Event()
        self.accepted = 0
        self.told_to_go = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()

    def _run(self) -> None:
        while not self._over.is_set():
            was_down = self._is_down.is_set()
            try:
                answer = self._submission()
            except (OSError, EOFError) as failure:
                # Refused, or reset: who speaks after the goodbye, before he has read it, may never read it.
                if not (was_down or self._is_down.is_set()):
                    self._fail(repr(failure))
                self._over.wait(0.05)
                continue
            with self._lock:
                self.accepted += answer == b"S OK SUBMIT completed\r\n"
                self.told_to_go += answer == STOPPED
            if answer not in {b"S OK SUBMIT completed\r\n", STOPPED}:
                self._fail(repr(answer))

    def _fail(self, what: str) -> None:
        with self._lock:
            self.failures.append(what)

    def _submission(self) -> bytes:
        """Return the answer to a submission, or the goodbye that came before it."""
        with connect(self._port) as client:
            if (greeting := client.line()) != REWRITTEN_GREETING:
                return greeting
            with suppress(BrokenPipeError, ConnectionResetError):  # what was said before is still to be read
                client.send(b"L LOGIN fred secret\r\nS SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
            if (answer := client.line()).startswith(b"L OK"):
                answer = client.line()
            return answer


@pytest.mark.parametrize("workers", ["1", "2"])
def test_reload_under_load_loses_nothing(tmp_path: Path, served: FakeImap, smtp: FakeSmtp, workers: str) -> None:
    options = {"listen": {"listen": "127.0.0.1:0", "workers": workers}}
    with program(tmp_path, served, smtp, options) as it:
        with Load(it.ports()[0], threading.Event()) as load:
            for _ in range(RELOADS):
                before = load.accepted
                it.reload()
                assert eventually(lambda before=before: load.accepted > before)  # type: ignore[misc]
        assert load.failures == []
        assert load.told_to_go == 0
        assert load.accepted == len(smtp.messages) > RELOADS
        assert it.count("worker-started") == int(workers) * (1 + RELOADS)
        assert eventually(lambda: it.count("worker-ended") == int(workers) * RELOADS)
        assert it.lines("worker-ended")[0].endswith(" status=0")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_restart_under_load_loses_no_submission(tmp_path: Path, served: FakeImap, smtp: FakeSmtp, workers: str) -> None:
    """Whoever is answered OK has sent his message once, and whoever is told to go has sent none."""
    (port,) = free_ports(1)
    options = {"listen": {"listen": f"127.0.0.1:{port}", "workers": workers}}
    with program(tmp_path, served, smtp, options) as it:
        down = threading.Event()
        with Load(port, down) as load:
            for _ in range(3):
                before = load.accepted
                down.set()
                it.stop()
                it.start()
                down.clear()
                assert eventually(lambda before=before: load.accepted > before)  # type: ignore[misc]
        assert load.failures == []
        assert load.accepted == len(smtp.messages)


def test_who_waits_to_be_accepted_outlives_every_worker(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    with program(tmp_path, served, smtp) as it:
        (worker,) = it.workers()
        os.kill(worker, signal.SIGSTOP)
        assert eventually(lambda: all_threads_stand_still(worker))
        with connect(it.ports()[0]) as client:
            os.kill(worker, signal.SIGKILL)
            assert client.line() == REWRITTEN_GREETING


def all_threads_stand_still(pid: int) -> bool:
    """Tell whether SIGSTOP has reached every thread, each of which may be the one that accepts."""
    return all_threads_are(pid, "T")


def all_threads_are(pid: int, state: str) -> bool:
    """Return True if every thread is in that state: T has been stopped, S waits (proc_pid_stat(5))."""
    stats = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return all(stat.rpartition(") ")[2].startswith(state) for stat in stats)


# Reload


def test_sessions_go_on_through_a_reload_and_the_old_worker_goes_with_the_last(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with program(tmp_path, imap, smtp) as it:
        with scene(it.ports()[0], imap) as stage:
            stage.log_in()
            it.reload()
            old, new = it.workers()
            stage.play(r"""
                C: A NOOP
                U: A NOOP
                S: A OK done
                P: A OK done
            """)
            with scene(it.ports()[0], imap) as other:
                other.log_in()
            assert stage.submit(DRAFT) == b"OK SUBMIT completed"
            assert it.count("worker-ended") == 0
        assert eventually(lambda: it.lines("worker-ended") == [f"worker-ended pid={old} status=0"])
        assert it.workers() == [new]


def test_a_reload_brings_what_is_new_to_new_sessions(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    with program(tmp_path, served, smtp) as it:
        it.configure({"submit": {"references": "off"}})
        it.reload()
        with connect(it.ports()[0]) as client:
            assert client.line() == REWRITTEN_GREETING.replace(b" CAN-SUBMIT=URL", b"")


def test_a_reload_brings_another_certificate_and_leaves_a_bad_one(
    tmp_path: Path, served: FakeImap, smtp: FakeSmtp
) -> None:
    made = make_certificates(tmp_path)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"

    def install(pair: Pair) -> bytes:
        shutil.copy(pair.cert, certificate)
        shutil.copy(pair.key, key)
        key.chmod(0o600)
        return ssl.PEM_cert_to_DER_cert(certificate.read_text(encoding="ascii"))

    def shown(port: int) -> bytes | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as stream, context.wrap_socket(stream) as secured:
            return secured.getpeercert(binary_form=True)

    listen = {"listen-tls": "127.0.0.1:0", "tls-cert": str(certificate), "tls-key": str(key)}
    user = {"user": "nobody"} if os.geteuid() == 0 else {}  # who cannot read the key
    first = install(made.unknown)
    with program(tmp_path, served, smtp, {"listen": {"listen": "127.0.0.1:0", **listen}, "process": user}) as it:
        _, port = it.ports()
        assert shown(port) == first
        second = install(made.wrong_name)
        assert shown(port) == first
        it.reload()
        assert shown(port) == second != first
        key.write_text("nothing\n", encoding="ascii")
        it.tell(signal.SIGHUP)
        assert eventually(lambda: it.count("reload-failed") == 1)
        assert str(key) in it.lines("reload-failed")[0]
        assert shown(port) == second


def test_a_bad_configuration_leaves_all_as_it_was(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    (port,) = free_ports(1)
    with program(tmp_path, imap, smtp) as it, socket.create_server(("127.0.0.1", 0)) as taken:
        workers = it.workers()
        with scene(it.ports()[0], imap) as stage:
            stage.log_in()
            busy = f"127.0.0.1:{taken.getsockname()[1]}"
            bad: list[tuple[Options, str]] = [
                ({"submit": {"max-recipients": "none"}}, r"\[submit\] max-recipients: 'none' is not a whole number"),
                ({"listen": {"listen": f"127.0.0.1:{port}, {busy}"}}, f"listen: cannot listen on {busy}: Address al"),
                ({"log": {"log-to": "/nowhere/log"}}, "log-to: "),
            ]
            for count, (options, reason) in enumerate(bad, start=1):
                it.configure(options)
                it.tell(signal.SIGHUP)
                assert eventually(lambda count=count: it.count("reload-failed") >= count), it.log()  # type: ignore[misc]
                assert re.search(reason, it.lines("reload-failed")[-1])
            assert is_refused(port)
            assert it.workers() == workers
            stage.play(r"""
                C: A NOOP
                U: A NOOP
            """)
        with scene(it.ports()[0], imap) as other:
            other.log_in()
        it.configure({})
        it.reload()


def test_addresses_come_and_go_with_a_reload(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    port = {address: int(address.rpartition(":")[2]) for address in (first, second)}
    with program(tmp_path, imap, smtp, {"listen": {"listen": first}}) as it, scene(port[first], imap) as stage:
        stage.log_in()
        it.configure({"listen": {"listen": f"{first}, {second}"}})
        it.reload()
        for address in (first, second):
            with scene(port[address], imap) as other:
                other.log_in()
        it.configure({"listen": {"listen": second}})
        it.reload()
        assert is_refused(port[first])
        with scene(port[second], imap) as other:
            other.log_in()
        assert it.lines("listening") == [f"listening address={first}", f"listening address={second}"]
        assert stage.submit(DRAFT) == b"OK SUBMIT completed"


def test_who_waits_at_an_address_that_goes_is_served(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    first, second = (f"127.0.0.1:{port}" for port in free_ports(2))
    with program(tmp_path, imap, smtp, {"listen": {"listen": first}}) as it:
        (worker,) = it.workers()
        os.kill(worker, signal.SIGSTOP)
        with connect(int(first.rpartition(":")[2])) as client:
            it.configure({"listen": {"listen": second}})
            it.tell(signal.SIGHUP)
            assert eventually(lambda: it.count("worker-started") == 2)
            os.kill(worker, signal.SIGCONT)
            with imap.accept() as server:
                server.send(b"* BYE hello\r\n")
                assert client.line() == b"* BYE hello\r\n"


def test_two_reloads_at_once_are_done_one_after_another(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    with program(tmp_path, served, smtp) as it:
        for _ in range(3):
            it.tell(signal.SIGHUP)
        assert eventually(lambda: it.count("reloaded") >= 1)
        assert eventually(lambda: it.count("reloaded") == it.count("reloading"))
        assert is_served(it.ports()[0])


# What takes long


@contextmanager
def silent_disk(path: Path) -> Iterator[None]:
    """Have nobody make a journal there, as if the disk did not answer."""
    with Path(f"{path}-lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def parent_serves(it: Program, imap: Listener, directory: Path) -> bool:
    """Log in and submit, for either of which the parent is asked; then ask for the status."""
    with scene(it.ports()[0], imap) as stage:
        stage.log_in()
        assert stage.submit(DRAFT) == b"OK SUBMIT completed"
        return len(figures_from(str(directory / "control"))["workers"]) == 1


def asking(directory: Path, **submit: str) -> Options:
    """Return options with which logins and submissions have to be counted."""
    return {
        "listen": {"listen": "127.0.0.1:0", "max-clients-per-ip": "2"},
        "submit": {"mail-domain": "example.com", "max-submissions-per-hour": "50", **submit},
        "status": {"control-socket": str(directory / "control")},
    }


def test_the_parent_serves_while_a_journal_is_checked(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    journal = tmp_path / "journal"
    with program(tmp_path, imap, smtp, asking(tmp_path)) as it:
        workers = it.workers()
        it.configure(asking(tmp_path, journal=str(journal)))
        with silent_disk(journal):
            it.tell(signal.SIGHUP)
            assert eventually(lambda: it.count("reloading") == 1 and len(children(it.process.pid)) == 2)
            assert parent_serves(it, imap, tmp_path)
            assert it.workers() == workers
            it.tell(signal.SIGHUP)  # for later
            os.kill(workers[0], signal.SIGKILL)  # which is replaced, by one with the configuration as it is
            assert eventually(lambda: it.count("worker-started") == 2)
            assert (it.count("reloaded"), it.count("reload-failed")) == (0, 0)
        assert eventually(lambda: it.count("reloaded") == 2)
        assert journal.exists()
        assert parent_serves(it, imap, tmp_path)
        assert eventually(lambda: len(children(it.process.pid)) == 1)


def test_a_check_that_is_stuck_is_given_up_and_leaves_no_zombie(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    journal = tmp_path / "journal"
    with program(tmp_path, imap, smtp, asking(tmp_path)) as it:
        (worker,) = it.workers()
        it.configure(asking(tmp_path, journal=str(journal)))
        with silent_disk(journal):
            it.tell(signal.SIGHUP)
            assert eventually(lambda: it.count("reload-failed") == 1)
            (line,) = it.lines("reload-failed")
            assert f"{journal} could not be opened within 10 seconds" in line
            assert eventually(lambda: children(it.process.pid) == [str(worker)])
        assert parent_serves(it, imap, tmp_path)


def test_the_parent_serves_while_a_file_of_the_configuration_does_not_answer(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    secret = tmp_path / "secret"
    os.mkfifo(secret, 0o600)  # which nobody writes
    with program(tmp_path, imap, smtp, asking(tmp_path)) as it:
        (worker,) = it.workers()
        fixed = {"smtp-auth": "fixed", "smtp-username": "proxy", "smtp-password-file": str(secret)}
        it.configure({**asking(tmp_path), "smtp": {"smtp-server": f"127.0.0.1:{smtp.port}", **fixed}})
        it.tell(signal.SIGHUP)
        assert eventually(lambda: len(children(it.process.pid)) == 2)
        assert parent_serves(it, imap, tmp_path)
        assert it.count("reload-failed") == 0
        assert eventually(lambda: it.count("reload-failed") == 1)
        assert "the configuration could not be read within 10 seconds" in it.lines("reload-failed")[0]
        assert eventually(lambda: children(it.process.pid) == [str(worker)])


def test_the_program_stops_while_a_check_is_stuck(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    journal = tmp_path / "journal"
    with program(tmp_path, imap, smtp, asking(tmp_path)) as it:
        it.configure(asking(tmp_path, journal=str(journal)))
        with silent_disk(journal):
            it.tell(signal.SIGHUP)
            assert eventually(lambda: len(children(it.process.pid)) == 2)
            check = os.pidfd_open(max(int(pid) for pid in children(it.process.pid)))
            it.stop()
            assert eventually(lambda: is_gone(check))
            os.close(check)
        assert it.count("reload-failed") == 0
        it.start()


def test_a_parent_that_stands_still_costs_a_login_seconds_and_a_submission_a_temporary_no(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with program(tmp_path, imap, smtp, asking(tmp_path)) as it:
        it.tell(signal.SIGSTOP)
        assert eventually(lambda: all_threads_stand_still(it.process.pid))
        with scene(it.ports()[0], imap) as stage:
            stage.log_in()
            answer = b"NO 4.3.0 submissions cannot be counted now; try again later,"
            assert stage.submit(DRAFT) == answer
            it.tell(signal.SIGCONT)
            assert eventually(lambda: stage.submit(DRAFT) == b"OK SUBMIT completed")
        assert it.count("parent-silent") == 1
        assert it.count("worker-killed") == 0


# Death


def test_a_worker_that_dies_is_replaced_and_its_clients_count_no_more(
    tmp_path: Path, served: FakeImap, smtp: FakeSmtp
) -> None:
    with program(tmp_path, served, smtp, {"listen": {"max-clients": "1"}}) as it:
        (worker,) = it.workers()
        with connect(it.ports()[0]) as client:
            assert client.line() == REWRITTEN_GREETING
            os.kill(worker, signal.SIGKILL)
            assert client.rest() == b""
        assert eventually(lambda: it.count("worker-started") == 2)
        assert it.lines("worker-ended") == [f"worker-ended pid={worker} signal=9"]
        assert is_served(it.ports()[0])


def test_a_worker_stops_in_order_when_it_alone_is_told_to(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    with program(tmp_path, imap, smtp) as it:
        with scene(it.ports()[0], imap) as stage:
            stage.log_in()
            os.kill(it.workers()[0], signal.SIGTERM)
            assert stage.client.rest() == STOPPED
        assert eventually(lambda: it.count("worker-started") == 2)


def test_workers_stop_when_their_parent_is_gone(tmp_path: Path, imap: Listener, smtp: FakeSmtp) -> None:
    """Another may then be started on the same addresses."""
    (port,) = free_ports(1)
    options = {"listen": {"listen": f"127.0.0.1:{port}"}, "process": {"pidfile": str(tmp_path / "pid")}}
    with program(tmp_path, imap, smtp, options) as it, scene(port, imap) as stage:
        stage.log_in()
        smtp.script["MAIL"] = (0.5, "250 2.1.0 ok")
        stage.client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: "MAIL" in smtp.verbs())
        worker = os.pidfd_open(it.workers()[0])
        it.process.kill()
        it.process.wait()
        assert stage.client.rest() == b"S OK SUBMIT completed\r\n" + STOPPED
        assert eventually(lambda: is_gone(worker))
        os.close(worker)
        it.start()
        assert it.lines("pidfile-stale")
        with scene(port, imap) as other:
            other.log_in()


def test_a_report_that_the_parent_had_not_read_when_it_died_costs_no_submission(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    control = tmp_path / "control"
    with (
        program(tmp_path, imap, smtp, {"status": {"control-socket": str(control)}}) as it,
        scene(it.ports()[0], imap) as stage,
        socket.socket(socket.AF_UNIX) as asking,
    ):
        stage.log_in()
        smtp.script["MAIL"] = (2.0, "250 2.1.0 ok")
        stage.client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: "MAIL" in smtp.verbs())
        worker, parent = it.workers()[0], it.process.pid
        os.kill(worker, signal.SIGSTOP)
        assert eventually(lambda: all_threads_stand_still(worker))
        open_before = descriptors(parent)
        asking.connect(str(control))
        assert eventually(lambda: descriptors(parent) > open_before and all_threads_are(parent, "S"))
        it.tell(signal.SIGSTOP)
        assert eventually(lambda: all_threads_stand_still(parent))
        os.kill(worker, signal.SIGCONT)
        assert eventually(lambda: all_threads_are(worker, "S"))  # it has written its report
        it.process.kill()
        it.process.wait()
        assert stage.client.rest() == b"S OK SUBMIT completed\r\n" + STOPPED
        assert it.count("worker-failed") == 0
        it.start()


def is_gone(descriptor: int) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_submission_on_a_worker_that_retires_is_waited_for_too(
    tmp_path: Path, imap: Listener, smtp: FakeSmtp
) -> None:
    with program(tmp_path, imap, smtp) as it, scene(it.ports()[0], imap) as stage:
        stage.log_in()
        smtp.script["MAIL"] = (1.0, "250 2.1.0 ok")
        stage.client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: "MAIL" in smtp.verbs())
        it.reload()
        it.tell(signal.SIGTERM)
        assert stage.client.rest() == b"S OK SUBMIT completed\r\n" + STOPPED
        assert await_exit(it.process.pid) == 0
    assert len(smtp.messages) == 1


# The pidfile


def run(config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, which must come soon."""
    arguments = [sys.executable, str(PROGRAM), "-c", str(config), *flags]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_a_second_instance_is_refused(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    pidfile = tmp_path / "imapproxy.pid"
    with program(tmp_path, served, smtp, {"process": {"pidfile": str(pidfile)}}) as it:
        assert pidfile.read_text(encoding="ascii") == f"{it.process.pid}\n"
        second = run(it.config)
        assert second.returncode == 2
        assert second.stderr == (
            f"imapproxy: pidfile: {pidfile} is held by process {it.process.pid}: imapproxy runs already;"
            " stop it, or give this one a pidfile of its own\n"
        )
        assert is_served(it.ports()[0])
    assert not pidfile.exists()


def test_a_stale_pidfile_is_taken(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    pidfile = tmp_path / "imapproxy.pid"
    pidfile.write_text("4000000\n", encoding="ascii")
    with program(tmp_path, served, smtp, {"process": {"pidfile": str(pidfile)}}) as it:
        assert it.lines("pidfile-stale") == [f"pidfile-stale pidfile={pidfile} pid=4000000"]
        assert pidfile.read_text(encoding="ascii") == f"{it.process.pid}\n"


# The daemon


@contextmanager
def daemon(directory: Path, imap_port: int, smtp_port: int, options: Options) -> Iterator[int]:
    """Start a daemon, and return its number, which its pidfile has once whoever started it is let go."""
    config, pidfile = directory / "imapproxy.conf", directory / "imapproxy.pid"
    process = {**options.get("process", {}), "pidfile": str(pidfile)}
    log = {"log-to": str(directory / "imapproxy.log")}
    text = configuration(imap_port, smtp_port, {**options, "process": process, "log": log})
    config.write_text(text, encoding="utf-8")
    started = run(config, "--daemon")
    assert (started.returncode, started.stdout) == (0, ""), started.stderr
    pid = int(pidfile.read_text(encoding="ascii"))
    descriptor = os.pidfd_open(pid)
    try:
        yield pid
    finally:
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        assert eventually(lambda: is_gone(descriptor))
        os.close(descriptor)
    assert not pidfile.exists()
    assert "Traceback" not in (directory / "imapproxy.log").read_text(encoding="utf-8")


def test_a_daemon_is_detached_and_serves_once_its_starter_is_gone(
    tmp_path: Path, served: FakeImap, smtp: FakeSmtp
) -> None:
    (port,) = free_ports(1)
    with daemon(tmp_path, served.port, smtp.port, {"listen": {"listen": f"127.0.0.1:{port}"}}) as pid:
        assert is_served(port)
        assert os.getsid(pid) not in {os.getsid(0), pid}  # no terminal can become its own
        assert [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)] == ["/dev/null"] * 3
        assert os.readlink(f"/proc/{pid}/cwd") == os.getcwd()
        umask = re.search(r"(?m)^Umask:\s+(\d+)$", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
        assert umask
        assert umask[1] == "0027"
        assert stat.S_IMODE((tmp_path / "imapproxy.pid").stat().st_mode) == 0o644
        os.kill(pid, signal.SIGHUP)
        assert eventually(lambda: " reloaded" in (tmp_path / "imapproxy.log").read_text(encoding="utf-8"))
        assert is_served(port)


def test_what_keeps_a_daemon_from_starting_is_said_by_its_starter(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = {"listen": {"listen": address}, "log": {"log-to": str(tmp_path / "log")}}
        config = tmp_path / "imapproxy.conf"
        config.write_text(configuration(1, 1, options), encoding="utf-8")
        refused = run(config, "--daemon")
    assert refused.returncode == 2
    assert refused.stderr.endswith(f"imapproxy: listen: cannot listen on {address}: Address already in use\n")


# Privileges


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_workers_have_the_privileges_of_their_user_only(served: FakeImap, smtp: FakeSmtp) -> None:
    nobody = pwd.getpwnam("nobody")
    with public_directory("imapproxy-") as directory:
        secret = directory / "secret"
        secret.write_text("pencil\n", encoding="ascii")
        secret.chmod(0o600)
        control = directory / "control"
        options = {
            "process": {"user": "nobody"},
            "status": {"control-socket": str(control)},
            "smtp": {"smtp-auth": "fixed", "smtp-username": "proxy", "smtp-password-file": str(secret)},
        }
        with program(directory, served, smtp, options) as it:
            (worker,) = it.workers()
            status = Path(f"/proc/{worker}/status").read_text(encoding="ascii")
            assert re.search(rf"(?m)^Uid:(\t{nobody.pw_uid}){{4}}$", status)
            assert re.search(rf"(?m)^Gid:(\t{nobody.pw_gid}){{4}}$", status)
            assert re.search(rf"(?m)^Groups:\t{nobody.pw_gid} $", status)
            assert re.search(r"(?m)^CapEff:\t0+$", status)
            assert it.process.pid != worker
            for path, mode in ((control, 0o660), (it.log_file, None)):
                about = path.stat()
                assert (about.st_uid, about.st_gid) == (nobody.pw_uid, nobody.pw_gid)
                assert mode is None or stat.S_IMODE(about.st_mode) == mode
            assert is_served(it.ports()[0])
            it.reload()  # the parent can still read what is root's
            assert is_served(it.ports()[0])


def test_a_user_that_is_none_is_named(tmp_path: Path) -> None:
    config = tmp_path / "imapproxy.conf"
    config.write_text(configuration(1, 1, {"process": {"user": "no-such-user"}}), encoding="utf-8")
    refused = run(config)
    assert refused.returncode == 2
    assert "user" in refused.stderr
    assert "no-such-user" in refused.stderr


# The status


def test_status_names_the_sessions_of_all_workers(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    control = tmp_path / "control"
    options = {"listen": {"workers": "2"}, "status": {"control-socket": str(control)}}
    with program(tmp_path, served, smtp, options) as it:
        assert "2 workers" in run(it.config, "--status").stdout
        it.reload()
        assert run(it.config, "--status").returncode == 0
        os.kill(it.workers()[0], signal.SIGSTOP)
        assert "1 worker" in run(it.config, "--status").stdout  # without the one that does not answer
        os.kill(it.workers()[0], signal.SIGCONT)
    assert not control.exists()
    assert run(it.config, "--status").returncode == 1


def test_a_control_socket_of_another_is_left_to_it(tmp_path: Path, served: FakeImap, smtp: FakeSmtp) -> None:
    control = tmp_path / "control"
    with program(tmp_path, served, smtp, {"status": {"control-socket": str(control)}}) as it:
        second = run(it.config)
        assert second.returncode == 2
        assert f"control-socket: {control} belongs to an imapproxy that runs" in second.stderr
        assert control.exists()
