"""Listen, and give each client a thread; bounded in number, and in what they cost."""

import errno
import queue
import resource
import socket
import socketserver
import threading
import time
from collections.abc import Callable

from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record
from imapproxy.net.session import Service, serve, turn_away

# Clients whose connection waits to be accepted; socketserver's own 5 would refuse them when a tower comes back.
LISTEN_QUEUE = 1024
# Finished threads that wait to be used again, and for how long (s): starting one costs as much as a login.
SPARE_THREADS = 64
SPARE_TIME = 30
# How long to accept nobody when descriptors have run out (s): socketserver would try again at once, for ever.
DESCRIPTOR_PAUSE = 0.2
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
                threading.Thread(target=self._work, args=(job,), daemon=True).start()
            except RuntimeError:
                with self._change:
                    self._busy -= 1
                return False
        else:
            self._jobs.put(job)
        return True

    def wait_until_idle(self, seconds: float) -> bool:
        """Wait until no job is left, or for so long; tell whether none is."""
        with self._change:
            return self._change.wait_for(lambda: not self._busy, seconds)

    def _work(self, job: Job) -> None:
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


class Listener(socketserver.ThreadingTCPServer):
    """One address that clients connect to."""

    allow_reuse_address = True
    request_queue_size = LISTEN_QUEUE
    block_on_close = False  # how long sessions may take to end is for the process to say

    def __init__(self, host: str, port: int, service: Service, threads: SessionThreads) -> None:
        """Raise ConfigError where ``host`` and ``port`` cannot be listened on."""
        self._service = service
        self._session_threads = threads
        try:
            family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self.address_family = family
            # The base class calls server_bind() and server_activate(), and closes the socket when one fails.
            super().__init__(address, socketserver.BaseRequestHandler)  # type: ignore[arg-type]
        except OSError as failure:
            raise ConfigError(f"listen: cannot listen on {host}:{port}: {failure.strerror or failure}") from failure

    def server_bind(self) -> None:
        """Bind; an IPv6 address takes no IPv4 clients, so that 0.0.0.0 can be listened on beside ::."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def get_request(self) -> tuple[socket.socket, object]:
        """Accept a client; wait a little where that takes a descriptor that is not to be had."""
        try:
            return super().get_request()
        except OSError as failure:
            if failure.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                LOGGER.error(record("accept-failed", reason=failure.strerror))
                time.sleep(DESCRIPTOR_PAUSE)
            raise

    def process_request(self, request: object, client_address: object) -> None:
        """Serve a client in a thread, or turn it away where there are too many."""
        assert isinstance(request, socket.socket)
        assert isinstance(client_address, tuple)
        stream, address, service = request, client_address[0], self._service
        if not self._session_threads.run(lambda: serve(stream, address, service)):
            LOGGER.warning(record("client-turned-away", client=address, reason="max-clients"))
            with stream:
                turn_away(stream, "Too many clients; try again later")

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what went wrong with a new client; the base class would print it."""
        LOGGER.exception(record("accept-failed", client=str(client_address)))

    def display_address(self) -> str:
        """Return the address as it is bound, as ``host:port``."""
        host, port = self.server_address[:2]
        return f"[{host!s}]:{port}" if self.address_family == socket.AF_INET6 else f"{host!s}:{port}"


def clients_allowed(wanted: int, submissions: int) -> int:
    """Raise the descriptor limit as far as it goes; return how many clients it then allows, ``wanted`` at most."""
    current, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    reserved = DESCRIPTORS_OF_THE_PROGRAM + submissions * DESCRIPTORS_PER_SUBMISSION
    needed = reserved + wanted * DESCRIPTORS_PER_CLIENT
    soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, current), hard))
    return max(1, min(wanted, (soft - reserved) // DESCRIPTORS_PER_CLIENT))
