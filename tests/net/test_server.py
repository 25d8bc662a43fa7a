"""Listening on addresses, threads for clients, and what happens when there are too many of either."""

import os
import resource
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from time import monotonic

import pytest

from imapproxy.config import HostPort
from imapproxy.errors import ConfigError
from imapproxy.net import server as server_module
from imapproxy.net.server import DESCRIPTOR_PAUSE, SPARE_THREADS, Listener, SessionThreads, bind, display_address
from tests.net.peers import (
    PATIENCE,
    Log,
    Peer,
    Stop,
    accepted_by,
    listening,
    nothing_left,
    port_of,
)
from tests.net.services import service_for

TOO_MANY = b"* BYE Too many clients; try again later\r\n"


@pytest.fixture(autouse=True)
def tidiness(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(server_module, "SPARE_TIME", 0.2)  # spare threads end with the test
    with nothing_left():
        yield


# Threads.


class Jobs:
    """Jobs that run until they are let go, and the threads that they ran in."""

    def __init__(self, threads: SessionThreads) -> None:
        self.threads = threads
        self.ran_in: list[int] = []
        self._begun = threading.Semaphore(0)
        self._release = threading.Semaphore(0)

    def start(self) -> bool:
        """Start one, and wait until it runs; return False where it may not."""
        taken = self.threads.run(self._job)
        if taken:
            assert self._begun.acquire(timeout=PATIENCE)
        return taken

    def _job(self) -> None:
        self.ran_in.append(threading.get_ident())
        self._begun.release()
        assert self._release.acquire(timeout=PATIENCE)

    def let_go(self, count: int) -> None:
        self._release.release(count)

    def finish(self, count: int = 1) -> None:
        self.let_go(count)
        assert self.threads.wait_until_idle(PATIENCE)


def test_jobs_run_side_by_side_up_to_the_limit() -> None:
    jobs = Jobs(SessionThreads(2))
    assert [jobs.start() for _ in range(3)] == [True, True, False]
    assert len(set(jobs.ran_in)) == 2
    jobs.finish(2)
    assert jobs.start()
    jobs.finish()


def test_a_finished_thread_is_used_again() -> None:
    jobs = Jobs(SessionThreads(10))
    for _ in range(5):
        assert jobs.start()
        jobs.finish()
    assert len(set(jobs.ran_in)) == 1


def test_a_spare_thread_holds_nothing_of_its_jobs() -> None:
    class Held:
        def live(self) -> None:
            pass

    threads = SessionThreads(10)
    for _ in range(2):
        held = Held()
        gone = weakref.ref(held)
        assert threads.run(held.live)
        del held
        assert threads.wait_until_idle(PATIENCE)
        assert gone() is None


def test_a_thread_that_nobody_needs_ends() -> None:
    before = threading.active_count()
    jobs = Jobs(SessionThreads(10))
    for _ in range(3):
        jobs.start()
    assert threading.active_count() == before + 3
    ended = [thread for thread in threading.enumerate() if thread.ident in jobs.ran_in]
    jobs.finish(3)
    for thread in ended:
        thread.join(PATIENCE)
    assert threading.active_count() == before
    assert jobs.start()
    jobs.finish()


def test_no_more_threads_are_spared_than_are_of_use() -> None:
    count = SPARE_THREADS + 10
    jobs = Jobs(SessionThreads(count))
    for _ in range(count):
        assert jobs.start()
    jobs.finish(count)
    for _ in range(count):
        assert jobs.start()
    jobs.finish(count)
    assert len(jobs.ran_in) == 2 * count


def test_waiting_for_the_end_of_all_jobs_is_bounded() -> None:
    threads = SessionThreads(1)
    assert threads.wait_until_idle(0)
    jobs = Jobs(threads)
    jobs.start()
    assert not threads.wait_until_idle(0.01)
    jobs.finish()
    assert threads.wait_until_idle(0)


def test_a_thread_that_cannot_be_had_takes_nobodys_place() -> None:
    jobs = Jobs(SessionThreads(1))
    usual = threading.stack_size(1 << 46)  # octets; no machine has so many
    try:
        with suppress(RuntimeError):
            assert not jobs.start()
    finally:
        threading.stack_size(usual)
    assert jobs.start()
    jobs.finish()


# Listening.


def connect_to(stream: socket.socket) -> Peer:
    """Connect to where a socket listens."""
    client = socket.socket(stream.family)
    client.settimeout(PATIENCE)
    client.connect(stream.getsockname())
    return Peer(client)


class Site:
    """Listeners that serve, and the IMAP server behind them."""

    def __init__(self, listeners: list[Listener], imap: socket.socket) -> None:
        self.listeners = listeners
        self.imap = imap

    def connect(self, index: int = 0) -> Peer:
        return connect_to(self.listeners[index].socket)

    def serve_one(self, client: Peer) -> None:
        """Let the IMAP server greet a client's session, then say goodbye."""
        with client, accepted_by(self.imap) as server:
            server.say(b"* BYE hello\r\n")
            server.close()
            assert client.hear_rest() == b"* BYE hello\r\n"


@contextmanager
def serving(
    stop: Stop, *addresses: tuple[str, int], limit: int = 10, is_tls: bool = False, listeners_each: int = 1
) -> Iterator[Site]:
    threads = SessionThreads(limit)
    with ExitStack() as stack:
        imap = stack.enter_context(listening())
        service = service_for(port_of(imap), 25, stop.fd)
        listeners = []
        for host, port in addresses or [("127.0.0.1", 0)]:
            stream = stack.enter_context(bind(HostPort(host, port), "listen"))
            for _ in range(listeners_each):
                listener = Listener(stream, is_tls, service, threads)
                thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
                thread.start()
                stack.callback(thread.join, PATIENCE)
                stack.callback(listener.shutdown)
                listeners.append(listener)
        yield Site(listeners, imap)
        assert threads.wait_until_idle(PATIENCE)


def test_each_client_is_served(stop: Stop, log: Log) -> None:
    with serving(stop) as site:
        for _ in range(3):
            site.serve_one(site.connect())
    assert [line.split()[1] for line in log.of("disconnect")] == ["client=127.0.0.1"] * 3


def test_clients_are_served_side_by_side(stop: Stop, log: Log) -> None:
    with serving(stop) as site:
        clients = []
        for _ in range(3):
            clients.append((site.connect(), accepted_by(site.imap)))
        for client, server in reversed(clients):
            with client, server:
                server.say(b"* OK ready\r\n")
                client.expect(b"* OK ready\r\n")


def test_one_client_too_many_is_turned_away_and_said_so_in_the_log(stop: Stop, log: Log) -> None:
    with serving(stop, limit=1) as site:
        with site.connect() as first, accepted_by(site.imap) as server:
            server.say(b"* OK ready\r\n")
            first.expect(b"* OK ready\r\n")
            with site.connect() as second:
                assert second.hear_rest() == TOO_MANY
            assert log.await_line("client-turned-away") == "client-turned-away client=127.0.0.1 reason=max-clients"
        log.await_line("disconnect")
        assert_served_soon(site)


def assert_served_soon(site: Site) -> None:
    """Connect until a client is served, which one that has just gone may delay for a moment."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        with site.connect() as client:
            if client.is_spoken_to():
                assert client.hear_rest() == TOO_MANY
                continue
            site.serve_one(client)
            return
    raise AssertionError("nobody is served any more")


def test_a_client_too_many_that_expects_tls_is_told_nothing_in_plaintext(stop: Stop, log: Log) -> None:
    with serving(stop, limit=0, is_tls=True) as site, site.connect() as client:
        assert client.hear_rest() == b""
        assert log.await_line("client-turned-away") == "client-turned-away client=127.0.0.1 reason=max-clients"


def test_who_accepts_too_late_goes_on(stop: Stop, log: Log) -> None:
    """As where several workers see the same client."""
    with serving(stop, listeners_each=3) as site:
        for count in range(1, 6):
            site.serve_one(site.connect())
            log.await_line("disconnect", count)
    assert log.of("accept-failed") == []


def test_those_who_wait_already_are_accepted_without_waiting_for_more(stop: Stop, log: Log) -> None:
    threads = SessionThreads(10)
    with bind(HostPort("127.0.0.1", 0), "listen") as stream, listening() as imap, ExitStack() as clients:
        listener = Listener(stream, False, service_for(port_of(imap), 25, stop.fd), threads)
        waiting = [clients.enter_context(connect_to(stream)) for _ in range(3)]
        listener.accept_queued()
        for _ in waiting:
            with accepted_by(imap) as server:
                server.say(b"* BYE hello\r\n")
        assert [client.hear_rest() for client in waiting] == [b"* BYE hello\r\n"] * 3
        listener.accept_queued()
        assert threads.wait_until_idle(PATIENCE)


def port_free_for_both() -> int:
    """Return a port at which nobody listens or connects by IPv4 or by IPv6, other tests' servers included."""
    for _ in range(20):
        with bind(HostPort("::", 0), "listen") as stream, suppress(ConfigError):
            bind(HostPort("0.0.0.0", port_of(stream)), "listen").close()
            return port_of(stream)
    pytest.fail("twenty ports that are free by IPv6 are in use by IPv4")


def test_ipv4_and_ipv6_are_listened_on_at_the_same_port(stop: Stop, log: Log) -> None:
    port = port_free_for_both()
    with serving(stop, ("::", port), ("0.0.0.0", port)) as site:
        addresses = [display_address(listener.socket) for listener in site.listeners]
        assert addresses == [f"[::]:{port}", f"0.0.0.0:{port}"]
        for count, host in enumerate(("::1", "127.0.0.1"), start=1):
            site.serve_one(Peer(socket.create_connection((host, port), timeout=PATIENCE)))
            assert log.await_line("disconnect", count).split()[1] == f"client={host}"


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1:{}"), ("::1", "[::1]:{}"), ("localhost", "{}")])
def test_the_address_is_shown_with_the_port_that_was_chosen(host: str, shown: str) -> None:
    with bind(HostPort(host, 0), "listen") as stream:
        assert port_of(stream) != 0
        assert display_address(stream).endswith(shown.format(port_of(stream)))


@pytest.mark.parametrize("option", ["listen", "listen-tls"])
def test_an_address_in_use_is_an_error_that_names_it(option: str) -> None:
    with listening() as other:
        port = port_of(other)
        with pytest.raises(ConfigError) as caught:
            bind(HostPort("127.0.0.1", port), option)
    assert str(caught.value) == f"{option}: cannot listen on 127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize("host", ["192.0.2.1", "::1%nosuch"])
def test_an_address_that_is_not_ours_is_an_error_that_names_it(host: str) -> None:
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ConfigError) as caught:
        bind(HostPort(host, 0), "listen")
    assert str(caught.value).startswith(f"listen: cannot listen on {HostPort(host, 0)}: ")
    assert os.listdir("/proc/self/fd") == before


def test_a_port_is_taken_again_at_once_after_a_restart(stop: Stop, log: Log) -> None:
    with serving(stop) as site:
        port = port_of(site.listeners[0].socket)
        with site.connect() as client, accepted_by(site.imap) as server:
            server.close()
            client.hear_rest()
    with serving(stop, ("127.0.0.1", port)) as site:
        site.serve_one(site.connect())


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_accepting_pauses_and_goes_on_later(stop: Stop, log: Log) -> None:
    with serving(stop) as site, socket.socket() as stream:
        client = Peer(stream)
        with no_descriptor_left():
            stream.connect(site.listeners[0].server_address[:2])
            assert log.await_line("accept-failed") == 'accept-failed reason="Too many open files"'
            began = monotonic()
            log.await_line("accept-failed", count=3)
            assert monotonic() - began >= DESCRIPTOR_PAUSE
        site.serve_one(client)
    assert len(log.of("accept-failed")) < 3 + PATIENCE / DESCRIPTOR_PAUSE


def test_a_socket_that_another_process_has_shut_down_does_not_keep_a_processor_busy(stop: Stop, log: Log) -> None:
    with serving(stop) as site:
        site.listeners[0].socket.shutdown(socket.SHUT_RDWR)
        assert log.await_line("accept-failed") == 'accept-failed reason="Invalid argument"'
        began = monotonic()
        log.await_line("accept-failed", count=3)
        assert monotonic() - began >= DESCRIPTOR_PAUSE


def test_what_goes_wrong_with_a_new_client_is_logged_and_not_printed(
    stop: Stop, log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    class Broken(SessionThreads):
        def run(self, job: object) -> bool:
            raise RuntimeError("can't start new thread")

    with bind(HostPort("127.0.0.1", 0), "listen") as stream, connect_to(stream) as client:
        listener = Listener(stream, False, service_for(1, 1, stop.fd), Broken(1))
        listener.accept_queued()
        listener.server_close()
        assert client.hear_rest() == b""
    assert log.lines[0].startswith("accept-failed client=")
    assert log.lines[0].endswith("RuntimeError: can't start new thread")
    assert capsys.readouterr() == ("", "")


# Descriptors.

ALLOWED = """
import resource, sys
from imapproxy.net.server import clients_allowed
soft, hard, wanted, submissions = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(clients_allowed(wanted, submissions), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "submissions", "allowed", "soft_after"),
    [
        (256, 4096, 1000, 40, 1000, 32 + 40 * 6 + 1000 * 3),  # raised to what is needed
        (4096, 4096, 1000, 40, 1000, 4096),  # enough: left alone
        (256, 1024, 1000, 40, (1024 - 32 - 240) // 3, 1024),  # as many as the hard limit allows
        (256, 3272, 1000, 40, 1000, 3272),  # just enough
        (256, 3271, 1000, 40, 999, 3271),  # not quite
        (256, 256, 1000, 40, 1, 256),  # hardly a chance, but one
        (256, 4096, 10, 0, 10, 256),
    ],
)
def test_clients_are_kept_below_what_descriptors_allow(
    soft: int, hard: int, wanted: int, submissions: int, allowed: int, soft_after: int
) -> None:
    arguments = map(str, (soft, hard, wanted, submissions))
    run = subprocess.run(
        [sys.executable, "-c", ALLOWED, *arguments], capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert run.stdout.split() == [str(allowed), str(soft_after), str(hard)]
