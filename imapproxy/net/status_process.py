"""The status process as the parent knows it: forked, without privileges, and started anew when it dies."""

import os
import socket
from collections.abc import Callable

from imapproxy.config import HostPort
from imapproxy.logs import LOGGER, record
from imapproxy.net import privileges
from imapproxy.net.children import EndingChildren
from imapproxy.net.loop import Loop
from imapproxy.net.privileges import Owner
from imapproxy.net.workers import fork

RESPAWN_PAUSE = 5.0  # seconds

Body = Callable[[], None]


def body_of(
    listener: socket.socket, control_socket: str, owner: Owner | None, upstreams: tuple[HostPort, HostPort]
) -> Body:
    """Return what the process does; ``upstreams`` are the IMAP and the SMTP server."""

    def body() -> None:
        # Here, not above: its libraries are of no use to the workers, which would have them in memory.
        from imapproxy.net.status import serve_status  # noqa: PLC0415

        if owner:
            privileges.drop(owner)
        serve_status(listener, control_socket, upstreams)

    return body


class StatusProcess:
    """At most one process. ``close_parents`` closes in it what is the parent's alone, except one socket."""

    def __init__(self, loop: Loop, ending: EndingChildren, close_parents: Callable[[socket.socket], None]) -> None:
        self._loop = loop
        self._ending = ending
        self._close_parents = close_parents
        self._pid = 0
        self._wanted: tuple[socket.socket, Body] | None = None

    def replace(self, listener: socket.socket, body: Body) -> None:
        """Have ``body`` done in a new process instead of what there was."""
        self.end()
        self._wanted = (listener, body)
        self._start()

    def end(self) -> None:
        """End the process, if there is one: it has nothing to finish."""
        self._wanted = None
        if self._pid:
            self._ending.kill(self._pid)
            self._pid = 0

    def reap(self) -> None:
        """See whether it has died, and if so start another after a pause."""
        if self._pid and os.waitpid(self._pid, os.WNOHANG)[0]:
            LOGGER.warning(record("status-process-ended", pid=self._pid))
            self._pid = 0
            self._loop.later(RESPAWN_PAUSE, self._start)

    def _start(self) -> None:
        if self._wanted is None or self._pid:
            return
        listener, body = self._wanted

        def child() -> int:
            self._close_parents(listener)
            body()
            return 0

        try:
            self._pid = fork(child)
        except OSError as failure:
            LOGGER.error(record("status-process-not-started", reason=failure.strerror))
            self._loop.later(RESPAWN_PAUSE, self._start)
