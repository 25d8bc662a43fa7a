"""A TLS socket after its handshake, with the manners of a plain non-blocking one (as ``net.connection`` uses it).

What differs from a plain socket is told by ``has_pending``, ``reading_event`` and ``writing_event``: poll() looks at
the socket, and knows nothing of what TLS keeps or needs. One thread only: CPython's SSLSocket is not safe with two.

A session's TLS takes 16 KB (measured over 300 sessions through which data had passed): OpenSSL's own state. Its two
buffers of a record each (17 KiB) are there only while a record is half read or half written, since Python sets
SSL_MODE_RELEASE_BUFFERS.
"""

import select
import socket
import ssl
from contextlib import suppress
from typing import Literal

# A record that is shorter was mostly a command or an answer of its own, and looking for another one would cost more
# than poll() does, which will tell; in a stream of data records are longer (some servers make them fit a packet).
MIN_STREAMED_RECORD = 1024


class TlsStream:
    """Reads and writes as a non-blocking socket does: BlockingIOError says not now, OSError that the peer is lost."""

    __slots__ = ("_due", "_socket", "reading_event", "writing_event")

    def __init__(self, stream: ssl.SSLSocket) -> None:
        self._socket = stream
        # The end or the failure that came behind octets which were returned first.
        self._due: OSError | Literal[0] | None = None
        # What poll() must show before it makes sense to try again. Each may be the other's: keys that are changed
        # (RFC 8446, 4.6.3) have to be answered before anything more is read, for which there may be no room.
        self.reading_event = select.POLLIN
        self.writing_event = select.POLLOUT

    @property
    def has_pending(self) -> bool:
        """Whether a read would return something of which poll() does not know."""
        return self._due is not None or self._socket.pending() > 0

    def recv_into(self, buffer: bytearray | memoryview) -> int:
        """Read into ``buffer`` what is there, record after record; return how many octets came, 0 at the end."""
        if self._due is not None:
            return self._reach_what_is_due()
        count = self._read_record(buffer)
        if MIN_STREAMED_RECORD <= count < len(buffer):
            count = self._read_on(memoryview(buffer), count)
        return count

    def _read_on(self, buffer: memoryview, count: int) -> int:
        try:
            while count < len(buffer):
                more = self._read_record(buffer[count:])
                if not more:
                    self._due = 0
                    break
                count += more
        except BlockingIOError:
            pass
        except OSError as failure:
            self._due = failure
        return count

    def _reach_what_is_due(self) -> int:
        due, self._due = self._due, None
        if isinstance(due, OSError):
            raise due
        return 0

    def _read_record(self, buffer: bytearray | memoryview) -> int:
        try:
            return self._socket.recv_into(buffer)
        except ssl.SSLWantReadError:
            self.reading_event = select.POLLIN
        except ssl.SSLWantWriteError:
            self.reading_event = select.POLLOUT
        raise BlockingIOError

    def send(self, octets: bytes | memoryview) -> int:
        """Send ``octets``, and return how many; BlockingIOError says that they must be given again, as they are.

        OpenSSL remembers how far it has got in them, and says that they are sent only when all of them are.
        """
        try:
            return self._socket.send(octets)
        except ssl.SSLWantWriteError:
            self.writing_event = select.POLLOUT
        except ssl.SSLWantReadError:
            self.writing_event = select.POLLIN
        raise BlockingIOError

    def shutdown(self, how: int) -> None:
        """End the TCP stream without a word of TLS, and go on reading.

        Python's way to send close_notify reads too, and what it reads is lost, the answers to come included.
        """
        socket.socket.shutdown(self._socket, how)

    def say_goodbye(self) -> None:
        """Send close_notify; nothing can be read any more."""
        with suppress(OSError, ValueError):  # ValueError: it has been said
            self._socket.unwrap()
