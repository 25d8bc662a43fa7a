"""Listen, and give each client a thread; bounded in number, and in what they cost."""

import errno
import queue
import resource
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable

from imapproxy.config import HostPort
from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record
from imapproxy.net.arrival import turn_away
from imapproxy.net.service import Service
from imapproxy.net.session import serve

# Clients whose connection waits to be accepted; socketserver's own 5 would refuse them when a tower comes back.
LISTEN_QUEUE = 1024
# How long those who wait there when a listener ends may take to be accepted (s): descriptors may have run out.
QUEUE_PATIENCE = 5
# Finished threads that wait to be used again, and for how long (s): starting one costs as much as a login.
SPARE_THREADS = 64
SPARE_TIME = 30
# How long to accept no client when descriptors have run out (s): socketserver would try again at once, for ever.
# EINVAL: a worker that was taken over has shut the socket down for all.
DESCRIPTOR_PAUSE = 0.2
_LASTING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EINVAL}
# A thread's stack; the deepest call here needs a tenth of it, and the default 8 MiB counts against some limits.
STACK_SIZE = 512 * 1024

DESCRIPTORS_PER_CLIENT = 3
DESCRIPTORS_PER_SUBMISSION = 6
DESCRIPTORS_OF_THE_PROGRAM = 32

Job = Callable[[], None]


class SessionThreads:
    """At most ``limit`` threads, each with one job at a time; a finished one is used again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._change = threading.Condition()
        self._busy = 0
        self._spare = 0

    def run(self, job: Job) -> bool:
        """Have ``job`` done in a thread of its own; return False, and do nothing, at the limit."""
        with self._change:
            if self._busy >= self._limit:
                return False
            self._busy += 1
            is_new = self._spare == 0
            if not is_new:
                self._spare -= 1
        if is_new:
            try:
                threading.Thread(target=self._work, args=([job],), daemon=True).start()
            except RuntimeError:
                with self._change:
                    self._busy -= 1
                return False
        else:
            self._jobs.put(job)
        return True

    def wait_until_idle(self, seconds: float | None) -> bool:
        """Wait until no job is left, or for so long (None: however long); tell whether none is."""
        with self._change:
            return self._change.wait_for(lambda: not self._busy, seconds)

    def _work(self, first: list[Job]) -> None:
        # Taken out of what the thread was started with, which Thread keeps to its end, with all that a session held.
        job = first.pop()
        while True:
            try:
                job()
            except Exception:  # its place must not be lost with it
                LOGGER.exception(record("thread-failed"))
            del job  # what a session held is free before the thread waits
            with self._change:
                self._busy -= 1
                self._change.notify_all()
                if self._spare >= SPARE_THREADS:
                    return
                self._spare += 1
            try:
                job = self._jobs.get(timeout=SPARE_TIME)
            except queue.Empty:
                with self._change:
                    if self._spare:
                        self._spare -= 1
                        return
                job = self._jobs.get()  # it was given out just now


def resolve(address: HostPort, option: str) -> tuple[socket.AddressFamily, tuple[object, ...]]:
    """Return what ``address`` means to a socket; raise ConfigError, which names ``option``, if it means nothing.

    A name server may be asked, which takes its time.
    """
    try:
        family, _, _, _, resolved = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
    except OSError as failure:
        raise _cannot_listen(address, option, failure) from failure
    return family, resolved


def bind(address: HostPort, option: str) -> socket.socket:
    """Return a socket that listens on ``address``; raise ConfigError where that cannot be, which names ``option``.

    It never blocks: of the workers that see a client, all but one come too late.
    """
    family, resolved = resolve(address, option)
    try:
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:  # it takes no IPv4 clients, so that 0.0.0.0 can be listened on beside ::
                stream.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            stream.bind(resolved)
            stream.listen(LISTEN_QUEUE)
            stream.setblocking(False)
        except BaseException:
            stream.close()
            raise
    except OSError as failure:
        raise _cannot_listen(address, option, failure) from failure
    return stream


def _cannot_listen(address: HostPort, option: str, failure: OSError) -> ConfigError:
    return ConfigError(f"{option}: cannot listen on {address}: {failure.strerror or failure}")


def is_listening(stream: socket.socket) -> bool:
    """Return True if clients can connect: a worker that was taken over may have shut the socket down for all."""
    return bool(stream.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def display_address(stream: socket.socket) -> str:
    """Return the address that a socket is bound to, as ``host:port``."""
    host, port = stream.getsockname()[:2]
    return str(HostPort(host, port))


class Listener(socketserver.ThreadingTCPServer):
    """One socket that clients connect to; other processes may accept from it, too."""

    def __init__(self, stream: socket.socket, is_tls: bool, service: Service, threads: SessionThreads) -> None:
        # Not the class between: it would make a socket of its own.
        socketserver.BaseServer.__init__(self, stream.getsockname(), socketserver.BaseRequestHandler)
        self.socket = stream
        self.is_tls = is_tls
        self._service = service
        self._session_threads = threads
        self._stop_heard, self._stop_said = socket.socketpair()
        self._has_stopped = threading.Event()

    def serve_forever(self, poll_interval: float = 0) -> None:
        """Accept clients until ``shutdown``, which is heard at once; the base class looks for it now and then."""
        waiting = select.poll()
        waiting.register(self.socket, select.POLLIN)
        waiting.register(self._stop_heard, select.POLLIN)
        stop = self._stop_heard.fileno()
        try:
            while stop not in dict(waiting.poll()):
                self._accept()
        finally:
            self._has_stopped.set()

    def shutdown(self) -> None:
        """Have ``serve_forever`` return, and wait until it has."""
        self._stop_said.send(b"\n")
        self._has_stopped.wait()

    def server_close(self) -> None:
        """Give back what is this process's own; other processes may listen on."""
        super().server_close()
        self._stop_heard.close()
        self._stop_said.close()

    def _accept(self) -> None:
        try:
            request, address = self.get_request()
        except OSError:  # somebody else was faster, or the client has gone
            return
        try:
            self.process_request(request, address)
        except Exception:
            self.handle_error(request, address)
            self.shutdown_request(request)

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a client; wait a little if that cannot be and the next try would come at once."""
        try:
            return super().get_request()
        except OSError as failure:
            if failure.errno in _LASTING:
                LOGGER.error(record("accept-failed", reason=failure.strerror))
                time.sleep(DESCRIPTOR_PAUSE)
            raise

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a client in a thread, or turn it away where there are too many."""
        assert isinstance(request, socket.socket)
        assert isinstance(client_address, tuple)
        stream, address, service, is_tls = request, client_address[0], self._service, self.is_tls
        if not self._session_threads.run(lambda: serve(stream, address, service, is_tls)):
            LOGGER.warning(record("client-turned-away", client=address, reason="max-clients"))
            with stream:
                if not is_tls:  # whose client would not understand
                    turn_away(stream, "Too many clients; try again later")

    def accept_queued(self) -> None:
        """Accept those who wait already, as many as may, once ``serve_forever`` has returned."""
        queued = select.poll()
        queued.register(self.socket, select.POLLIN)
        deadline = time.monotonic() + QUEUE_PATIENCE
        for _ in range(LISTEN_QUEUE):
            if not queued.poll(0) or time.monotonic() > deadline:
                return
            self._accept()

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with a new client; the base class would print it."""
        LOGGER.exception(record("accept-failed", client=str(client_address)))


def clients_allowed(wanted: int, submissions: int) -> int:
    """Raise the descriptor limit as far as it goes; return how many clients it then allows, ``wanted`` at most."""
    current, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = DESCRIPTORS_OF_THE_PROGRAM + submissions * DESCRIPTORS_PER_SUBMISSION
    needed = reserved + wanted * DESCRIPTORS_PER_CLIENT
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, current), hard))
    return max(1, min(wanted, (soft - reserved) // DESCRIPTORS_PER_CLIENT))
