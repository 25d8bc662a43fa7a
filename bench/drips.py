"""Clients that send an octet now and then, of lines that never end: ``python -m bench.drips PORT``.

A process of its own, as ``bench.downloads`` is. Half of them have logged in. Once all of them have sent most of a line
it prints a line of its own, and lets them drip until its standard input ends.
"""

import contextlib
import itertools
import select
import sys
import time

from bench.load import Session, connect

CLIENTS = 20
# Octets of a line that are sent first. A line may have 64 KiB before login, and 256 KiB after it.
BEFORE_LOGIN = 60 * 1024
AFTER_LOGIN = 200 * 1024
# Octets a second of each client, one at a time.
RATE = 25
DRIPPING = "all of them drip"


def main() -> None:
    """Drip at the port that the command line names."""
    port = int(sys.argv[1])
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connect(port)) for _ in range(CLIENTS // 2)]
        for sock in sockets:
            sock.sendall(b"a SELECT ".ljust(BEFORE_LOGIN, b"x"))
        sessions = [stack.enter_context(Session(port, buffer_size=0)) for _ in range(CLIENTS - len(sockets))]
        for session in sessions:
            session.socket.sendall(b"a SELECT ".ljust(AFTER_LOGIN, b"x"))
        print(DRIPPING, flush=True)
        due = time.monotonic()
        for sock in itertools.cycle([*sockets, *(session.socket for session in sessions)]):
            sock.sendall(b"x")
            due += 1 / (RATE * CLIENTS)
            if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
                break


if __name__ == "__main__":
    main()
