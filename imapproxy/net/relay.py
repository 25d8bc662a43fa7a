"""The loop that moves octets between a client and the IMAP server, both non-blocking, in the session's one thread.

Neither direction can block the other: each has a backlog of its own, and a source is not read while the backlog that
it feeds is not empty, so that at most a buffer's worth a direction is ever held. What octets mean is the dialogue's
affair. Two threads on the two directions would be simpler, and wrong: one TLS socket must not be used by two.
"""

import select
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import NamedTuple, cast

from imapproxy.net.connection import Connection, lend_buffer, return_buffer
from imapproxy.protocol.action import Action, Close, Submit, ToClient, ToUpstream
from imapproxy.protocol.dialogue import Dialogue

# Answers of ours may pile up behind the server's data when a client sends and does not read; past this it is not read.
MAX_CLIENT_BACKLOG = 512 * 1024
# How long the last words to a client may take, in seconds.
FAREWELL_PATIENCE = 10
# Actions for one peer whose octets are joined, since one system call costs more than the copy.
JOIN_LIMIT = 64 * 1024

_IN = select.POLLIN
_OUT = select.POLLOUT


class Patience(NamedTuple):
    """How long a session waits, in seconds: for the login to be done, and for anything at all to happen."""

    login: float
    idle: float


class Relay:
    """One session's two connections. ``run`` relays until there is a submission to make, or the session is over.

    ``handle`` is called with the actions that are neither octets for a peer nor an end.
    """

    __slots__ = (
        "_client_ended",
        "_closing",
        "_deadline",
        "_dialogue",
        "_handle",
        "_interests",
        "_patience",
        "_poll",
        "_stop_fd",
        "_submit",
        "client",
        "end",
        "upstream",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - the parts of a session, each given once
        self,
        client: Connection,
        upstream: Connection,
        dialogue: Dialogue,
        handle: Callable[[Action], None],
        patience: Patience,
        stop_fd: int,
    ) -> None:
        """``stop_fd`` is a descriptor that becomes readable when the program stops."""
        self.client = client
        self.upstream = upstream
        self._dialogue = dialogue
        self._handle = handle
        self._patience = patience
        self._stop_fd = stop_fd
        self._poll = select.poll()
        self._poll.register(stop_fd, _IN)
        self._interests = {client.fd: 0, upstream.fd: 0}
        self._deadline: float | None = time.monotonic() + patience.login
        self._client_ended = False
        self._closing = False
        self._submit: Submit | None = None
        self.end = "client left"  # why the session ended, for the log

    def run(self) -> Submit | None:
        """Relay; return a submission to be made (the client has then been sent all that came before), or None."""
        while not self._is_over():
            if self._submit is not None and not self.client.backlog_size:
                submit, self._submit = self._submit, None
                return submit
            if self._client_ended:
                self._pass_end_of_client()
            self._set_interests()
            self._relay_until_change()
        return None

    def perform(self, actions: list[Action]) -> bool:
        """Carry out the dialogue's actions, in order; tell whether they were octets only, and all taken at once."""
        is_usual = True
        for action in actions if len(actions) < 2 else _joined(actions):
            if isinstance(action, ToUpstream):
                is_usual = self.upstream.send(action.octets) and is_usual
            elif isinstance(action, ToClient):
                is_usual = self.client.send(action.octets) and is_usual
            else:
                is_usual = False
                self._do(action)
        return is_usual

    def _do(self, action: Action) -> None:
        if isinstance(action, Submit):
            self._submit = action
        elif isinstance(action, Close):
            self._closing = True
            self._deadline = time.monotonic() + FAREWELL_PATIENCE
        else:
            self._handle(action)

    def stop(self, text: str, end: str) -> None:
        """Say BYE, and be over as soon as the client has taken it; ``end`` is the reason for the log."""
        if not self._closing:
            self.end = end
            self.perform(self._dialogue.farewell(text))

    def _is_over(self) -> bool:
        if self._closing:
            return not self.client.backlog_size
        if not (self.client.lost and self._client_ended):
            return False
        # What a client sent before it vanished has been sent: a whole SUBMIT, or the end of an APPEND.
        return self._submit is None and not self.upstream.backlog_size and not self._dialogue.is_behind

    # What is waited for, and how long -------------------------------------------------------------------------------

    def _may_read_client(self) -> bool:
        return (
            not self.upstream.backlog_size
            and self._dialogue.wants_client
            and not self._client_ended
            and self.client.backlog_size <= MAX_CLIENT_BACKLOG
            and not self._closing
        )

    def _may_read_upstream(self) -> bool:
        return not self.client.backlog_size and self._submit is None and not self._closing

    def _set_interests(self) -> None:
        client, upstream = self.client, self.upstream
        self._set_interest(client.fd, self._may_read_client(), client.backlog_size)
        self._set_interest(upstream.fd, self._may_read_upstream(), upstream.backlog_size)

    def _set_interest(self, fd: int, may_read: bool, backlog_size: int) -> None:
        interest = (_IN if may_read else 0) | (_OUT if backlog_size else 0)
        if interest == self._interests[fd]:
            return
        self._interests[fd] = interest
        if interest:
            self._poll.register(fd, interest)
        else:  # poll() reports a hang-up even to those who asked for nothing, again and again
            self._poll.unregister(fd)

    def _patience_left(self) -> float:
        if self._dialogue.authenticated and not self._closing:
            self._deadline = None
            return self._patience.idle
        if self._deadline is None:
            self._deadline = time.monotonic() + self._patience.login
        return self._deadline - time.monotonic()

    def _lose_patience(self) -> None:
        if self._closing:
            self.client.give_up()
        elif self._dialogue.authenticated:
            self.stop("Nothing happened for too long", "idle timeout")
        else:
            self.stop("Login takes too long", "login timeout")

    # What is there --------------------------------------------------------------------------------------------------

    def _relay_until_change(self) -> None:
        """Relay until something changes what is to be waited for, which is seldom; else each event costs little."""
        poll, client_fd, upstream_fd = self._poll.poll, self.client.fd, self.upstream.fd
        while (patience := self._patience_left()) > 0 and (ready := poll(patience * 1000)):
            is_usual = True
            for fd, events in ready:
                if is_usual and fd == client_fd and events == _IN:
                    is_usual = self._read_client()
                elif is_usual and fd == upstream_fd and events == _IN:
                    is_usual = self._read_upstream()
                else:
                    is_usual = False
                    self._serve_unusual(fd, events)
            if not is_usual:
                return
        self._lose_patience()

    def _serve_unusual(self, fd: int, events: int) -> None:
        if fd == self._stop_fd:
            self._poll.unregister(fd)
            self.stop("The server is shutting down", "stopped")
            return
        is_client = fd == self.client.fd
        if events & ~_IN:
            (self.client if is_client else self.upstream).send_backlog()
        # A hang-up or an error is read to its end, where reading is allowed.
        if events & ~_OUT and (self._may_read_client() if is_client else self._may_read_upstream()):
            _ = self._read_client() if is_client else self._read_upstream()

    def _read_client(self) -> bool:
        buffer = lend_buffer()
        try:
            count = self.client.receive_into(buffer)
            if count:
                is_usual = self.perform(self._dialogue.from_client(buffer, count))
                return is_usual and self._dialogue.wants_client
            return count is None or self._end_of_client()
        finally:
            return_buffer(buffer)

    def _read_upstream(self) -> bool:
        buffer = lend_buffer()
        try:
            count = self.upstream.receive_into(buffer)
            if count:
                is_usual = self.perform(self._dialogue.from_upstream(buffer, count))
                # What came may have let held octets go, and the client be wanted again.
                return is_usual and bool(self._interests[self.client.fd] & _IN)
            return count is None or self._end_of_upstream()
        finally:
            return_buffer(buffer)

    def _end_of_client(self) -> bool:
        self._client_ended = True
        return False

    def _pass_end_of_client(self) -> None:
        """Pass on a half-close: a client may end its side and still read (``imap commands | nc``).

        Not before the server has had all that the client sent: one that hears of the end may leave commands undone,
        and a SUBMIT that waits for them would never start.
        """
        if not self._dialogue.is_behind and not self.upstream.backlog_size:
            self.upstream.end_output()

    def _end_of_upstream(self) -> bool:
        if self._dialogue.upstream_said_bye:
            end = "server said goodbye"
        else:
            end = "client left" if self._client_ended else "server closed the connection"
        self.stop("The IMAP server closed the connection", end)
        return False


def _joined(actions: list[Action]) -> list[Action]:
    """Join neighbouring small octets for one peer: a system call costs more than the copy."""
    joined: list[Action] = []
    for kind, run in groupby(actions, type):
        if kind is ToClient or kind is ToUpstream:
            pieces = (cast("ToClient | ToUpstream", action).octets for action in run)
            joined.extend(map(kind, _batches(pieces)))
        else:
            joined.extend(run)
    return joined


def _batches(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
    batch: list[bytes | memoryview] = []
    size = 0
    for piece in pieces:
        if batch and size + len(piece) > JOIN_LIMIT:
            yield batch[0] if len(batch) == 1 else b"".join(batch)
            batch, size = [], 0
        batch.append(piece)
        size += len(piece)
    yield batch[0] if len(batch) == 1 else b"".join(batch)
