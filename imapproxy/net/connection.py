"""One peer's socket as the relay uses it: non-blocking, with what the peer has not taken yet behind it."""

import contextlib
import socket
from collections import deque

# One read takes at most this much. Large reads are what makes bulk downloads fast (bench: bulk FETCH).
BUFFER_SIZE = 256 * 1024
# Buffers that are kept for the next read of any session; a session that waits holds none.
SPARE_BUFFERS = 8

# Reads that are dropped at the end of a connection; a peer that goes on sending is not listened to for longer.
MAX_DROPPED_READS = 64

_spare_buffers: list[bytearray] = []


def lend_buffer() -> bytearray:
    """Return a buffer of BUFFER_SIZE octets; give it back with ``return_buffer``."""
    try:
        return _spare_buffers.pop()
    except IndexError:
        return bytearray(BUFFER_SIZE)


def return_buffer(buffer: bytearray) -> None:
    """Keep a lent buffer for the next read."""
    if len(_spare_buffers) < SPARE_BUFFERS:
        _spare_buffers.append(buffer)


class Connection:
    """A connected stream socket, made non-blocking.

    ``receive_into`` returns None where nothing is there and 0 at the end of the stream, a lost connection included:
    what a peer sent before it vanished counts just the same. ``send`` takes all it is given and keeps what the peer
    does not take now; once the peer is lost, it drops it.
    """

    __slots__ = ("_backlog", "backlog_size", "fd", "lost", "received", "sent", "socket")

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        # Else small messages wait for the peer's delayed acknowledgement: 40 ms each.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = stream
        self.fd = stream.fileno()
        self._backlog: deque[bytes] = deque()
        self.backlog_size = 0
        self.lost = False
        self.received = 0
        self.sent = 0

    def receive_into(self, buffer: bytearray) -> int | None:
        """Read into ``buffer``; return how many octets came."""
        try:
            count = self.socket.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.give_up()
            return 0
        self.received += count
        return count

    def send(self, octets: bytes | memoryview) -> bool:
        """Send ``octets`` behind what is still to be sent; tell whether the peer is there and took all.

        Nothing of ``octets`` is referred to afterwards.
        """
        sent = 0 if self._backlog else self._send_now(octets)
        if sent == len(octets):
            return not self.lost
        self._backlog.append(bytes(octets[sent:]))
        self.backlog_size += len(octets) - sent
        return False

    def send_backlog(self) -> None:
        """Send what the peer takes of what is kept."""
        while self._backlog:
            octets = self._backlog[0]
            sent = self._send_now(octets)
            if self.lost:
                return
            self.backlog_size -= sent
            if sent < len(octets):
                self._backlog[0] = octets[sent:]
                return
            self._backlog.popleft()

    def give_up(self) -> None:
        """Take the peer for lost, and drop what it has not taken."""
        self.lost = True
        self._backlog.clear()
        self.backlog_size = 0

    def end_output(self) -> None:
        """Tell the peer that nothing more will come."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """End our side, and drop what the peer has sent: the kernel resets a connection closed with octets unread.

        A reset would take our last words with it, even if they have arrived.
        """
        self.end_output()
        buffer = lend_buffer()
        for _ in range(MAX_DROPPED_READS):
            if not self.receive_into(buffer):
                break
        return_buffer(buffer)

    def _send_now(self, octets: bytes | memoryview) -> int:
        if self.lost:
            return len(octets)
        try:
            sent = self.socket.send(octets)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.give_up()
            return len(octets)
        self.sent += sent
        return sent
