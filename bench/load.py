"""The client's side: sessions, and the loops whose duration is measured, with as little work for a reply as can be.

Sockets block, and have the kernel's time limits: Python's own would cost a system call more for each operation. Where
many are served at once, they are read and written by descriptor, once epoll says that there is something.
"""

import os
import select
import socket
import statistics
import struct
import time
from typing import Self

from bench import canned

TIMEOUT = 30
READ_SIZE = 4096
BULK_READ_SIZE = 1024 * 1024


class Session:
    """One logged-in IMAP connection; a context manager."""

    def __init__(self, port: int, buffer_size: int = BULK_READ_SIZE) -> None:
        self.socket = connect(port)
        self.buffer = bytearray(buffer_size)
        self.read_until(b"\r\n")
        self.command(canned.LOGIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def command(self, command: bytes) -> None:
        """Send a command and wait until it succeeded."""
        self.socket.sendall(command)
        self.read_until(b"a OK")

    def read_until(self, end: bytes) -> None:
        """Read up to the end of the line that holds `end`."""
        received = b""
        while end not in received or not received.endswith(b"\r\n"):
            chunk = self.socket.recv(READ_SIZE)
            if not chunk:
                raise ConnectionError(f"the connection ended after {received!r}")
            received += chunk

    def fetch(self, command: bytes, size: int) -> None:
        """Send `command` and read its answer, which is `size` octets long."""
        self.socket.sendall(command)
        recv_into, buffer, count = self.socket.recv_into, self.buffer, 0
        while size > 0:
            count = recv_into(buffer)
            if not count:
                raise ConnectionError(f"the connection ended {size} octets too early")
            size -= count
        end = min(count, len(canned.FETCH_END))
        if size < 0 or not canned.FETCH_END.endswith(buffer[count - end : count]):
            raise ConnectionError("the answer is not the upstream's")

    def noops(self, count: int) -> list[float]:
        """Return the duration of each of `count` NOOPs, in seconds."""
        send, recv, clock = self.socket.send, self.socket.recv, time.perf_counter
        durations = []
        for _ in range(count):
            start = clock()
            send(canned.NOOP)
            reply = recv(READ_SIZE)
            durations.append(clock() - start)
            if reply != canned.NOOP_REPLY:
                raise unexpected(reply)
        return durations


def connect(port: int) -> socket.socket:
    """Return a connection to `port` on loopback."""
    sock = socket.socket()
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", TIMEOUT, 0))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.connect((canned.HOST, port))
    return sock


def unexpected(reply: bytes) -> ConnectionError:
    """Return the error for a NOOP whose answer was not whole and alone."""
    return ConnectionError(f"NOOP was answered with {reply!r}")


def noops_at_once(sessions: list[Session], count: int) -> float:
    """Return the seconds in which `sessions` do `count` NOOPs together, each with one on its way at any time."""
    epoll = select.epoll()
    descriptors = [session.socket.fileno() for session in sessions]
    for descriptor in descriptors:
        epoll.register(descriptor, select.EPOLLIN)
    start = time.perf_counter()
    for descriptor in descriptors:
        os.write(descriptor, canned.NOOP)
    to_send, to_come = count - len(descriptors), count
    while to_come:
        ready = epoll.poll(TIMEOUT)
        if not ready:
            raise TimeoutError("NOOP was not answered")
        for descriptor, _ in ready:
            if (reply := os.read(descriptor, READ_SIZE)) != canned.NOOP_REPLY:
                raise unexpected(reply)
            to_come -= 1
            if to_send:
                os.write(descriptor, canned.NOOP)
                to_send -= 1
    duration = time.perf_counter() - start
    epoll.close()
    return duration


def logins(port: int, count: int) -> float:
    """Return the seconds for `count` sessions, one after the other, from connect to the end of the stream."""
    start = time.perf_counter()
    for _ in range(count):
        with Session(port) as session:
            session.command(canned.LOGOUT)
            if session.socket.recv(READ_SIZE):
                raise ConnectionError("octets after LOGOUT's answer")
    return time.perf_counter() - start


class Visit:
    """A session from connect to the end of the stream, driven by what comes in."""

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self.steps = iter(((b"\r\n", canned.LOGIN), (b"a OK", canned.LOGOUT), (b"a OK", b"")))
        self.expected, self.next_command = next(self.steps)
        self.received = b""

    def advance(self) -> bool:
        """Read, send the next command if its turn has come, and return whether the stream has ended."""
        chunk = self.socket.recv(READ_SIZE)
        if not chunk:
            self.end()
            return True
        self.received += chunk
        if self.next_command and self.expected in self.received and self.received.endswith(b"\r\n"):
            self.socket.send(self.next_command)
            self.expected, self.next_command = next(self.steps)
            self.received = b""
        return False

    def end(self) -> None:
        """Close; a stream that ended before LOGOUT's answer is an error."""
        self.socket.close()
        if self.next_command or self.expected not in self.received:
            raise ConnectionError(f"the connection ended after {self.received!r}")


def logins_at_once(port: int, count: int, parallel: int) -> float:
    """Return the seconds for `count` sessions, `parallel` of them at any time."""
    epoll = select.epoll()
    visits: dict[int, Visit] = {}
    start = time.perf_counter()
    to_start, to_end = count, count
    while to_end:
        while to_start and len(visits) < parallel:
            visit = Visit(port)
            visits[visit.socket.fileno()] = visit
            epoll.register(visit.socket, select.EPOLLIN)
            to_start -= 1
        ready = epoll.poll(TIMEOUT)
        if not ready:
            raise TimeoutError("a login was not answered")
        for descriptor, _ in ready:
            if visits[descriptor].advance():
                del visits[descriptor]
                to_end -= 1
    duration = time.perf_counter() - start
    epoll.close()
    return duration


def percentile(values: list[float], percent: int) -> float:
    """Return the value below which `percent` of `values` lie."""
    return statistics.quantiles(values, n=100)[percent - 1]
