"""Tell the service manager how the program is: sd_notify(3), where it asked for that in ``NOTIFY_SOCKET``.

One datagram a message; where nobody listens, nothing happens: no start and no stop may depend on it.
"""

import os
import socket
import time

VARIABLE = "NOTIFY_SOCKET"


def ready() -> None:
    """Say that clients are served, from the start or again after a reload."""
    _notify("READY=1", f"MAINPID={os.getpid()}")


def reloading() -> None:
    """Say that the configuration is being read anew; ``ready`` ends it."""
    _notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """Say that the end has begun."""
    _notify("STOPPING=1")


def _notify(*assignments: str) -> None:
    address = os.environ.get(VARIABLE, "")
    if address[:1] not in {"/", "@"}:  # vsock and what else a later systemd may have: not for a service on its host
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.setblocking(False)
        try:
            # An abstract name is written with "@" for its NUL.
            channel.sendto("\n".join(assignments).encode("ascii"), address if address[0] == "/" else "\0" + address[1:])
        except OSError:
            return
