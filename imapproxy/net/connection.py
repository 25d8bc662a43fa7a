"""One peer's socket as the relay uses it: non-blocking, with what the peer has not taken yet behind it."""

import contextlib
import select
import socket
import ssl
from collections import deque

from imapproxy.net.tls_stream import TlsStream

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
    """Keep a lent buffer for the next read, of any session: nothing may refer to it any more."""
    if len(_spare_buffers) < SPARE_BUFFERS:
        _spare_buffers.append(buffer)


class Connection:
    """A connected stream socket, made non-blocking; an SSLSocket has its handshake behind it.

    ``receive_into`` returns None where nothing is there and 0 at the end of the stream, a lost connection included:
    what a peer sent before it vanished counts just the same. ``send`` takes all it is given and keeps what the peer
    does not take now; once the peer is lost, it drops it. ``has_pending`` says that there is something to receive of
    which poll() does not know, since TLS has it already.
    """

    __slots__ = (
        "_backlog",
        "_stream",
        "_tls",
        "backlog_size",
        "fd",
        "has_pending",
        "lost",
        "received",
        "sent",
        "socket",
    )

    def __init__(self, stream: socket.socket) -> None:
        stream.setblocking(False)
        # Else small messages wait for the peer's delayed acknowledgement: 40 ms each.
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = stream
        self._tls = TlsStream(stream) if isinstance(stream, ssl.SSLSocket) else None
        self._stream = self._tls or stream
        self.fd = stream.fileno()
        self._backlog: deque[bytes | memoryview] | None = None  # made when it is needed: an empty one takes 600 octets
        self.backlog_size = 0
        self.has_pending = self._tls is not None and self._tls.has_pending
        self.lost = False
        self.received = 0
        self.sent = 0

    def continued_over(self, stream: ssl.SSLSocket) -> "Connection":
        """Return the connection to the same peer after a handshake; the octets before it count too."""
        connection = Connection(stream)
        connection.received, connection.sent = self.received, self.sent
        return connection

    @property
    def reading_event(self) -> int:
        """What poll() shows when something can be received."""
        return select.POLLIN if self._tls is None else self._tls.reading_event

    @property
    def writing_event(self) -> int:
        """What poll() shows when more can be sent."""
        return select.POLLOUT if self._tls is None else self._tls.writing_event

    def receive_into(self, buffer: bytearray | memoryview) -> int | None:
        """Read into ``buffer``; return how many octets came."""
        try:
            count = self._stream.recv_into(buffer)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError:
            self.give_up()
            return 0
        self.received += count
        if self._tls is not None:
            self.has_pending = self._tls.has_pending
        return count

    def send(self, octets: bytes | memoryview) -> bool:
        """Send ``octets`` behind what is still to be sent; tell whether the peer is there and took all.

        Nothing of ``octets`` is referred to afterwards.
        """
        sent = 0 if self._backlog else self._send_now(octets)
        if sent == len(octets):
            return not self.lost
        if self._backlog is None:
            self._backlog = deque()
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
                self._backlog[0] = memoryview(octets)[sent:]
                return
            self._backlog.popleft()
        self._backlog = None

    def give_up(self) -> None:
        """Take the peer for lost, and drop what it has not taken."""
        self.lost = True
        self.has_pending = False
        self._backlog = None
        self.backlog_size = 0

    def end_output(self) -> None:
        """Tell the peer that nothing more will come; what it says can still be received."""
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_WR)

    def end(self) -> None:
        """End our side, and drop what the peer has sent: the kernel resets a connection closed with octets unread.

        A reset would take our last words with it, even if they have arrived.
        """
        if self._tls is not None and not self.lost:
            self._tls.say_goodbye()
        self.end_output()
        buffer = lend_buffer()
        with contextlib.suppress(OSError):
            for _ in range(MAX_DROPPED_READS):
                # The octets of the socket itself: nothing has to be decrypted in order to be dropped.
                if not socket.socket.recv_into(self.socket, buffer):
                    break
        return_buffer(buffer)

    def _send_now(self, octets: bytes | memoryview) -> int:
        if self.lost:
            return len(octets)
        try:
            sent = self._stream.send(octets)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError:
            self.give_up()
            return len(octets)
        self.sent += sent
        return sent
