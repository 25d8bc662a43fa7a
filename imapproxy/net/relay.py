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

from imapproxy.errors import UpstreamUnavailable
from imapproxy.net.connection import Connection, lend_buffer, return_buffer
from imapproxy.net.deflate import DeflatedConnection
from imapproxy.protocol.action import Action, Close, Compress, StartTls, Submit, ToClient, ToUpstream
from imapproxy.protocol.dialogue import Dialogue

# Answers of ours may pile up behind the server's data when a client sends and does not read; past this it is not read.
MAX_CLIENT_BACKLOG = 512 * 1024
# How long the last words to a client may take, in seconds.
FAREWELL_PATIENCE = 10
# Actions for one peer whose octets are joined, since one system call costs more than the copy.
JOIN_LIMIT = 64 * 1024

_IN = select.POLLIN
_OUT = select.POLLOUT
_BROKEN = select.POLLERR | select.POLLHUP | select.POLLNVAL  # these come unasked
_ENDED = select.POLLRDHUP  # the peer says nothing more, but what it has said may be unread

# What the session does while neither peer is read.
Pause = Submit | StartTls | Compress


class Patience(NamedTuple):
    """How long a session waits, in seconds: for the login to be done, and for anything at all to happen."""

    login: float
    idle: float


class Relay:
    """One session's two connections. ``run`` relays until there is something to do in between, or the session is over.

    ``handle`` is called with the actions that are neither octets for a peer nor an end.
    """

    __slots__ = (
        "_client_ended",
        "_closing",
        "_deadline",
        "_dialogue",
        "_handle",
        "_held_until",
        "_interests",
        "_patience",
        "_pause",
        "_poll",
        "_stop_fd",
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
        deadline: float,
        stop_fd: int,
    ) -> None:
        """``deadline``, of ``time.monotonic``, is the login's; ``stop_fd`` becomes readable when the program stops."""
        self.client: Connection | DeflatedConnection = client
        self.upstream = upstream
        self._dialogue = dialogue
        self._handle = handle
        self._patience = patience
        self._stop_fd = stop_fd
        self._poll = select.poll()
        self._poll.register(stop_fd, _IN)
        self._interests = {client.fd: 0, upstream.fd: 0}
        self._deadline: float | None = deadline
        self._client_ended = False
        self._closing = False
        self._held_until: float | None = None
        self._pause: Pause | None = None
        self.end = "unexpected error"  # why the session ended, for the log; this is so unless run() or stop() says more

    def run(self) -> Pause | None:
        """Relay; return what the session has to do (the client has then been sent all that came before), or None.

        Raise what the dialogue does, and UpstreamUnavailable for a server that does not greet.
        """
        while not self._is_over():
            if self._pause is not None and not self.client.backlog_size:
                pause, self._pause = self._pause, None
                if not isinstance(pause, Submit) or self._may_submit():
                    return pause
                continue
            if self._dialogue.waits_for_reader and not self.client.backlog_size:
                self.perform(self._dialogue.answers_taken())
                continue
            if self._client_ended and self._has_passed_all():
                # A half-close: a client may end its side and still read (``imap commands | nc``).
                self.upstream.end_output()
            self._set_interests()
            if self._needs_care():
                self._relay_once()
            else:
                self._relay_until_change()
        if not self._closing:
            self.end = self._reason_of_end()
        return None

    def replace_client(self, client: Connection | DeflatedConnection) -> None:
        """Go on with the same client over another connection: after a handshake, or compressed."""
        if self._interests.pop(self.client.fd):
            self._poll.unregister(self.client.fd)
        self.client = client
        self._interests[client.fd] = 0
        self._client_ended = False  # what came before its end may have to be received yet; the end comes again

    def hold_client(self, seconds: float) -> None:
        """Read neither peer for so long: what the client has sent already, and the dialogue holds, has to wait too."""
        self._held_until = time.monotonic() + seconds

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
        if isinstance(action, Submit | StartTls | Compress):
            self._pause = action
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
        if not self._client_ended or not self._has_passed_all() or self._is_held():
            return False
        # A lost client reads no answers. A client that only ended its side reads those to all that it sent; the server
        # has heard of that end, but need not end the connection.
        return self.client.lost or not (self.client.backlog_size or self._dialogue.awaits_server)

    def _has_passed_all(self) -> bool:
        """Return True if the server has all that the client sent: a whole SUBMIT, or the end of an APPEND.

        The server must not hear of the client's end before: it might leave commands undone, and a SUBMIT that waits for
        them would never start.
        """
        return self._pause is None and not self.upstream.backlog_size and not self._dialogue.is_behind

    def _is_held(self) -> bool:
        """Return True while the client waits for a failed login, which it cannot cut short by ending its side."""
        return self._held_until is not None and time.monotonic() < self._held_until

    def _may_submit(self) -> bool:
        """Return whether a submission may begin: the program goes on, and the server has not ended its side.

        Submissions that the client has sent ahead follow one another without a poll() for anything else: however many
        they are, the session must see these two. The server's last words are not read here but by the next turn.
        """
        poll = select.poll()
        poll.register(self._stop_fd, _IN)
        poll.register(self.upstream.fd, _ENDED)
        gone = dict(poll.poll(0))
        if self._stop_fd in gone:
            self._stop_with_program()
        return not gone

    def _stop_with_program(self) -> None:
        self.stop("The server is shutting down", "stopped")

    # What is waited for, and how long -------------------------------------------------------------------------------

    def _may_read_client(self) -> bool:
        return (
            not self.upstream.backlog_size
            and self._dialogue.wants_client
            and not self._client_ended
            and self.client.backlog_size <= MAX_CLIENT_BACKLOG
            and not self._closing
            and self._held_until is None
        )

    def _may_read_upstream(self) -> bool:
        return not self.client.backlog_size and self._pause is None and not self._closing and self._held_until is None

    def _set_interests(self) -> None:
        if not self._is_held():
            self._held_until = None
        self._set_interest(self.client, self._may_read_client())
        self._set_interest(self.upstream, self._may_read_upstream())

    def _set_interest(self, connection: Connection | DeflatedConnection, may_read: bool) -> None:
        fd = connection.fd
        interest = connection.reading_event if may_read else 0
        if connection.backlog_size:
            interest |= connection.writing_event
        if interest == self._interests[fd]:
            return
        self._interests[fd] = interest
        if interest:
            self._poll.register(fd, interest)
        else:  # poll() reports a hang-up even to those who asked for nothing, again and again
            self._poll.unregister(fd)

    def patience_left(self) -> float:
        """Return for how many seconds yet the client may say nothing, or not log in."""
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
        elif not self._dialogue.is_greeted:
            raise UpstreamUnavailable("the IMAP server does not greet")
        else:
            self.stop("Login takes too long", "login timeout")

    # What is there --------------------------------------------------------------------------------------------------

    def _relay_until_change(self) -> None:
        """Relay until something changes what is to be waited for, which is seldom; else each event costs little."""
        poll, client_fd, upstream_fd = self._poll.poll, self.client.fd, self.upstream.fd
        while (patience := self.patience_left()) > 0 and (ready := poll(patience * 1000)):
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
            self._stop_with_program()
            return
        is_client = fd == self.client.fd
        connection = self.client if is_client else self.upstream
        if events & (connection.writing_event | _BROKEN):
            connection.send_backlog()
        # A hang-up or an error is read to its end, where reading is allowed.
        if events & (connection.reading_event | _BROKEN):
            self._read_allowed(connection)

    def _may_read(self, connection: Connection | DeflatedConnection) -> bool:
        return self._may_read_client() if connection is self.client else self._may_read_upstream()

    def _read_allowed(self, connection: Connection | DeflatedConnection) -> None:
        if self._may_read(connection):
            _ = self._read_client() if connection is self.client else self._read_upstream()

    # What poll() does not tell --------------------------------------------------------------------------------------

    def _needs_care(self) -> bool:
        """Whether what is to be waited for now is not just what poll() shows: seldom, and never for long."""
        return self._held_until is not None or _is_intricate(self.client) or _is_intricate(self.upstream)

    def _relay_once(self) -> None:
        """Relay what is there now, octets inside TLS or the inflater too, each connection read once: nobody starves."""
        patience = self.patience_left()
        if patience <= 0:
            self._lose_patience()
            return
        pending = [connection for connection in (self.client, self.upstream) if connection.has_pending]
        pending = [connection for connection in pending if self._may_read(connection)]
        ready = self._poll.poll(0 if pending else self._hold_left(patience) * 1000)
        for fd, events in ready:
            self._serve_unusual(fd, events)
        for connection in pending:
            self._read_allowed(connection)
        if not ready and not pending and self._held_until is None:
            self._lose_patience()

    def _hold_left(self, patience: float) -> float:
        if self._held_until is None:
            return patience
        return min(patience, max(0.0, self._held_until - time.monotonic()))

    def _read_client(self) -> bool:
        buffer = lend_buffer()
        is_usual = self._take_from_client(buffer)
        return_buffer(buffer)  # after an exception it is not: the last actions may still refer to it
        return is_usual

    def _take_from_client(self, buffer: bytearray) -> bool:
        count = self.client.receive_into(buffer)
        if count:
            is_usual = self.perform(self._dialogue.from_client(buffer, count))
            return is_usual and self._dialogue.wants_client and not self.client.has_pending
        return count is not None and self._end_of_client()

    def _read_upstream(self) -> bool:
        buffer = lend_buffer()
        is_usual = self._take_from_upstream(buffer)
        return_buffer(buffer)  # as above
        return is_usual

    def _take_from_upstream(self, buffer: bytearray) -> bool:
        count = self.upstream.receive_into(buffer)
        if count:
            is_usual = self.perform(self._dialogue.from_upstream(buffer, count))
            # What came may have let held octets go, and the client be wanted again.
            return is_usual and bool(self._interests[self.client.fd] & _IN) and not self.upstream.has_pending
        return count is not None and self._end_of_upstream()

    def _end_of_client(self) -> bool:
        self._client_ended = True
        return False

    def _end_of_upstream(self) -> bool:
        # A server that has heard of the client's end has no reason to greet.
        if not self._dialogue.is_greeted and not (self._client_ended and self._has_passed_all()):
            raise UpstreamUnavailable("the IMAP server ended the connection before its greeting")
        self.stop("The IMAP server closed the connection", self._reason_of_end())
        return False

    def _reason_of_end(self) -> str:
        """Return why the session ends where a peer has ended the connection."""
        if self._dialogue.upstream_said_bye:
            return "server said goodbye"
        return "client left" if self._client_ended else "server closed the connection"


def _is_intricate(connection: Connection | DeflatedConnection) -> bool:
    return connection.has_pending or connection.reading_event != _IN or connection.writing_event != _OUT


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
