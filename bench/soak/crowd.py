"""A crowd of clients in one process: ``python -m bench.soak.crowd PORT TLS-PORT CA SECRET NAME COUNT``.

What they have to tell is printed, a line each (`book`). When standard input ends they finish their sessions, and their
figures are the last lines.
"""

import ssl
import sys
import threading
from collections import Counter

from bench.soak.life import Life
from bench.soak.link import Door


def main() -> None:
    """Have a crowd live until standard input ends."""
    port, tls_port, authority, secret, name, count = sys.argv[1:]
    doors = (Door(int(port), None), Door(int(tls_port), ssl.create_default_context(cafile=authority)))
    ended, lock = threading.Event(), threading.Lock()

    def say(event: str) -> None:
        with lock:
            print(event.replace("\n", " "), flush=True)

    lives = [Life(f"{name}-{number}", secret, doors, say, ended) for number in range(int(count))]
    threads = [threading.Thread(target=life.live) for life in lives]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    for what, number in sum((life.figures for life in lives), Counter[str]()).items():
        say(f"count {what} {number}")


if __name__ == "__main__":
    main()
