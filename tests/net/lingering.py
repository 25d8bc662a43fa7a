"""Descriptors that a process which closes them last waits for: what a worker that was taken over can send or leave."""

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.net.peers import PATIENCE

LINGER = round(4 * PATIENCE)  # seconds


def fill(stream: socket.socket, listener: socket.socket) -> None:
    """Connect a TCP socket to a listener that never reads, and have its close wait."""
    stream.setblocking(True)
    stream.connect(listener.getsockname())
    stream.setblocking(False)
    while True:
        try:
            stream.send(b"x" * 65536)
        except BlockingIOError:
            break
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))


@contextmanager
def unread() -> Iterator[socket.socket]:
    """Listen, and never read what is sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def in_child(work: Callable[[], object]) -> None:
    """Have a child do something, and end: what it had open, others now close last."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
