"""Bulk downloads that go on in the background: ``python -m bench.downloads PORT COUNT``.

A process of its own, so that it takes no time from the client whose NOOPs are measured beside it. It prints a line once
every session has received something, downloads until its standard input ends, then prints how many octets came in how
many seconds.
"""

import select
import sys
import time

from bench import canned
from bench.load import BULK_READ_SIZE, Session


def download(port: int, count: int) -> tuple[int, float]:
    """Keep `count` downloads going until standard input ends; return the octets and the seconds."""
    sessions = {session.socket.fileno(): session for session in (Session(port) for _ in range(count))}
    size = len(canned.LITERAL.build())
    left = dict.fromkeys(sessions, 0)
    buffer = bytearray(BULK_READ_SIZE)
    epoll = select.epoll()
    epoll.register(sys.stdin.fileno(), select.EPOLLIN)
    for descriptor, session in sessions.items():
        epoll.register(descriptor, select.EPOLLIN)
        session.socket.sendall(canned.LITERAL.command)
        left[descriptor] = size
    silent = set(sessions)
    total, start = 0, time.perf_counter()
    while True:
        for descriptor, _ in epoll.poll():
            if descriptor not in sessions:
                return total, time.perf_counter() - start
            octets = sessions[descriptor].socket.recv_into(buffer)
            if not octets:
                raise ConnectionError("a download ended early")
            total += octets
            left[descriptor] -= octets
            if not left[descriptor]:
                sessions[descriptor].socket.sendall(canned.LITERAL.command)
                left[descriptor] = size
            if silent:
                silent.discard(descriptor)
                if not silent:
                    print("all downloads are under way", flush=True)


def main() -> None:
    """Download from the port and with the number of sessions that the command line names."""
    port, count = (int(argument) for argument in sys.argv[1:])
    print(*download(port, count))


if __name__ == "__main__":
    main()
