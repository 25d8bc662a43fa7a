"""Waiting for one peer in a thread of its own: until a deadline, and no longer than the program runs."""

import select
import socket
import time


class TookTooLong(Exception):
    """The deadline has come first."""


class ProgramStops(Exception):
    """The program's end has come first."""


def await_event(stream: socket.socket, event: int, deadline: float, stop_fd: int) -> None:
    """Wait until poll() shows ``event`` on ``stream``; ``deadline`` is one of ``time.monotonic``.

    ``stop_fd`` is a descriptor that becomes readable when the program stops.
    """
    poll = select.poll()
    poll.register(stream, event)
    poll.register(stop_fd, select.POLLIN)
    ready = poll.poll(max(0, deadline - time.monotonic()) * 1000)
    if not ready or time.monotonic() >= deadline:  # the second: a peer that drips octets is as slow as a silent one
        raise TookTooLong
    if any(fd == stop_fd for fd, _ in ready):
        raise ProgramStops
