"""Peers on loopback for the tests of ``net``: connected TCP pairs, work in the background, and what is logged.

Every wait is bounded, so that what hangs fails in seconds.
"""

import gc
import logging
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from types import TracebackType
from typing import Generic, TypeVar

from imapproxy.logs import LOGGER

PATIENCE = 30.0  # seconds, for what is to happen on a busy machine too
PAUSE = 0.01  # seconds
SILENCE = 0.3  # seconds in which what must not be said would have been said

_Result = TypeVar("_Result")


class Peer:
    """The far end of a connection that is being tested: a client, or a server."""

    def __init__(self, stream: socket.socket) -> None:
        stream.settimeout(PATIENCE)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = stream

    def __enter__(self) -> "Peer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def say(self, octets: bytes) -> None:
        self.stream.sendall(octets)

    def say_what_is_taken(self, octets: bytes) -> int:
        """Say ``octets`` until no more of them are taken; return how many were."""
        poll = select.poll()
        poll.register(self.stream, select.POLLOUT)
        said = 0
        while said < len(octets) and poll.poll(SILENCE * 1000):
            said += self.stream.send(octets[said : said + 100_000])
        return said

    def hear(self, count: int) -> bytes:
        """Return the next ``count`` octets, or fewer where the stream ends before."""
        heard = bytearray()
        while len(heard) < count and (octets := self.stream.recv(min(1 << 20, count - len(heard)))):
            heard += octets
        return bytes(heard)

    def expect(self, octets: bytes) -> None:
        assert self.hear(len(octets)) == octets

    def hear_line(self) -> bytes:
        heard = bytearray()
        while not heard.endswith(b"\n") and (octet := self.stream.recv(1)):
            heard += octet
        return bytes(heard)

    def hear_rest(self) -> bytes:
        """Return all that is said until the stream ends in order."""
        return self.hear(1 << 40)

    def is_spoken_to(self, within: float = SILENCE) -> bool:
        """Tell whether anything is said, or the stream ends, in so many seconds."""
        return bool(select.select([self.stream], [], [], within)[0])

    def end_output(self) -> None:
        self.stream.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish: the other side gets RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def close(self) -> None:
        self.stream.close()


def tcp_pair(buffer_size: int | None = None) -> tuple[Peer, socket.socket]:
    """Return a peer and the socket that it is connected to; ``buffer_size`` bounds what the kernel holds for each."""
    with listening(buffer_size) as listener:
        near = socket.socket()
        if buffer_size:
            bound_buffers(near, buffer_size)
        near.connect(listener.getsockname())
        return Peer(near), listener.accept()[0]


@contextmanager
def listening(buffer_size: int | None = None) -> Iterator[socket.socket]:
    """Listen on 127.0.0.1; the port is the kernel's choice."""
    with socket.socket() as listener:
        if buffer_size:
            bound_buffers(listener, buffer_size)
        listener.settimeout(PATIENCE)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


def bound_buffers(stream: socket.socket, size: int) -> None:
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        stream.setsockopt(socket.SOL_SOCKET, option, size)


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def accepted_by(listener: socket.socket) -> Peer:
    return Peer(listener.accept()[0])


def until(condition: Callable[[], bool]) -> Iterator[float]:
    """Yield pauses, the steps of a scripted server, until the condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come about"
        yield PAUSE


class Background(Generic[_Result]):
    """Work in a thread of its own; ``result`` waits for it, and raises what it raised."""

    def __init__(self, work: Callable[[], _Result]) -> None:
        self._work = work
        self._results: list[_Result] = []
        self._failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as failure:
            self._failure = failure

    def result(self) -> _Result:
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "it hangs"
        if self._failure is not None:
            raise self._failure
        return self._results[0]


class Stop:
    """The descriptor that becomes readable when the program stops."""

    def __init__(self) -> None:
        self.fd, self._writer = os.pipe()

    def give(self) -> None:
        os.write(self._writer, b"\n")

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._writer)


class Log(logging.Handler):
    """The lines that the program logs, tracebacks included."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._change = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._change:
            self.lines.append(self.format(record))
            self._change.notify_all()

    def of(self, event: str) -> list[str]:
        return [line for line in self.lines if line.split()[0] == event]

    def await_line(self, event: str, count: int = 1) -> str:
        """Return the event's line (its ``count``-th) as soon as it is there."""
        with self._change:
            assert self._change.wait_for(lambda: len(self.of(event)) >= count, PATIENCE), self.lines
        return self.of(event)[count - 1]


@contextmanager
def logged() -> Iterator[Log]:
    """Keep what is logged, and leave the program's log as it was."""
    handlers, level, propagate = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    log = Log()
    LOGGER.addHandler(log)
    LOGGER.setLevel(logging.DEBUG)
    try:
        yield log
    finally:
        for handler in LOGGER.handlers:
            if handler not in handlers:
                handler.close()
        LOGGER.handlers[:] = handlers
        LOGGER.setLevel(level)
        LOGGER.propagate = propagate


@contextmanager
def nothing_left() -> Iterator[None]:
    """Fail where descriptors or threads are left that were not there before."""
    descriptors, threads = open_descriptors(), set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), thread
    assert open_descriptors() <= descriptors


@contextmanager
def nothing_waits_for_the_collector(*kinds: type) -> Iterator[None]:
    """Fail where an object of these kinds that the body made is still there after it: the collector is off meanwhile.

    What other tests have left behind does not count.
    """
    gc.collect()
    before = objects_of(kinds)  # held, so that no new object gets the identity of one of them
    identities = {id(held) for held in before}
    gc.disable()
    try:
        yield
        assert [held for held in objects_of(kinds) if id(held) not in identities] == []
    finally:
        gc.enable()


def objects_of(kinds: tuple[type, ...]) -> list[object]:
    return [held for held in gc.get_objects() if isinstance(held, kinds)]


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


@contextmanager
def stop_descriptor() -> Iterator[Stop]:
    with closing(Stop()) as stop:
        yield stop
