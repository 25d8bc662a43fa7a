"""A connection to a server that may be slow, silent or gone: each wait has its end, and somebody hears of it meanwhile.

``waiting`` is called while a server keeps us waiting. The only name that is ever looked up is the server's.
"""

import math
import os
import select
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

from imapproxy.net.tls import phrase, wrapped

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_T = TypeVar("_T")

WAITING_INTERVAL = 20.0  # seconds between two calls of ``waiting``; phones retry what stays silent for longer

# Octets that are read at a time while a line is looked for.
_READ_SIZE = 16 * 1024
# Octets that are sent at a time by TLS, a record of its own: CPython's OpenSSL takes all of a larger piece or nothing,
# and what is taken could not be told from what is not.
_RECORD = 16 * 1024


class PeerFailure(Exception):
    """The server does not do its part; the connection is of no more use, and it is its owner's to close."""


class Unreachable(PeerFailure):
    """No connection came about."""


class Insecure(PeerFailure):
    """No TLS came about, or none that can be trusted; the text says why in one printable phrase."""


class Unverified(Insecure):
    """The server speaks TLS, but its certificate is not good."""


class Silent(PeerFailure):
    """A wait has ended without what was waited for."""


class Lost(PeerFailure):
    """The connection broke, or was closed; what the server said before may still be there to be read."""


class Overlong(PeerFailure):
    """A line is longer than it may be."""


class PatientStream:
    """A stream to a server, not yet connected. Deadlines are times of ``monotonic``, timeouts are in seconds.

    The time since the last call of ``waiting`` is kept from one operation to the next: many short waits are a long
    one too. What ``waiting`` raises is no failure of the connection, and passes.
    """

    def __init__(self, waiting: Callable[[], None], interval: float) -> None:
        self._waiting = waiting
        self._interval = interval
        self._waiting_due = monotonic() + interval
        self._socket: socket.socket | None = None
        self._piece: int | None = None  # octets that are sent at a time, if they must be counted
        self._input = bytearray()

    def connect(self, host: str, port: int, timeout: float) -> None:
        """Connect to the first of the host's addresses that can be reached; each attempt has its ``timeout``."""
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable from error
        if not any(self._reaches(family, address, timeout) for family, _, _, _, address in addresses):
            raise Unreachable

    def adopt(self, connection: socket.socket) -> None:
        """Take a connection that somebody else has made; it is then ours."""
        self._socket = connection

    def start_tls(self, context: ssl.SSLContext, server_name: str, deadline: float) -> None:
        """Speak TLS from here on, with the server of that name or address if ``context`` verifies it; or Insecure."""
        if self._input:
            # RFC 9051 6.2.1: whoever is on the way may have said it, and it would be taken for the server's own.
            raise Insecure("octets in plaintext where TLS was to begin")
        try:
            assert self._socket is not None
            secured = wrapped(self._socket, context, server_name.removesuffix("."))
            self._socket, self._piece = secured, _RECORD
            self._patiently(lambda _: secured.do_handshake(), deadline)
        except (OSError, ValueError) as error:  # a connection that is broken already, a name that no certificate has
            raise Insecure(phrase(error)) from error
        except Lost as failure:
            raise _failed_handshake(failure.__cause__) from failure

    def send(self, octets: "ReadableBuffer", timeout: float) -> None:
        """Send octets; each piece that the server takes is progress, and the next one has ``timeout`` again."""
        rest = memoryview(octets)
        while rest:
            rest = rest[self._sent(rest[: self._piece], timeout) :]

    def line(self, most: int, deadline: float) -> bytes:
        """Return the next line with its end: LF, whatever stands before it; ``most`` octets, or it is Overlong."""
        searched = 0
        while (end := self._input.find(b"\n", searched) + 1) == 0 and (searched := len(self._input)) <= most:
            self._input += self._received(deadline)
        if not 0 < end <= most:
            raise Overlong
        return self._taken(end)

    def exactly(self, count: int, deadline: float) -> bytes:
        """Return the next ``count`` octets, which are the caller's to bound."""
        octets = bytearray(count)
        with memoryview(octets) as view:
            have = min(count, len(self._input))
            view[:have] = self._taken(have)
            while have < count:
                have += self._received_into(view[have:], deadline)
        return bytes(octets)

    def give_back(self, octets: bytes) -> None:
        """Let these octets be read again, before all others."""
        self._input[:0] = octets

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give the connection away, with what was read of it and not taken; there is none then."""
        assert self._socket is not None
        connection, self._socket = self._socket, None
        return connection, self._taken(len(self._input))

    def hush(self) -> None:
        """Call ``waiting`` no more, and hold nothing of whose it is."""
        self._waiting_due = math.inf
        self._waiting = _nothing

    def close(self) -> None:
        """Close the connection, if there is one; every further operation finds it ``Lost``."""
        connection, self._socket = self._socket, None
        self._input.clear()
        if connection is not None:
            with suppress(OSError):  # the network's last word: the descriptor is free all the same (close(2))
                connection.close()

    def _reaches(self, family: int, address: tuple[object, ...], timeout: float) -> bool:
        """Whether a connection to this address comes about; it is then ours."""
        try:
            self._socket = connection = socket.socket(family, socket.SOCK_STREAM)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            connection.setblocking(False)
            with suppress(BlockingIOError):
                connection.connect(address)
            self._patiently(_await_connection, monotonic() + timeout)
        except (OSError, PeerFailure):
            self.close()
            return False
        return True

    def _sent(self, octets: memoryview, timeout: float) -> int:
        """Return how many of the octets the server took at once."""
        return self._patiently(lambda connection: connection.send(octets), monotonic() + timeout)

    def _received(self, deadline: float) -> bytes:
        octets = self._patiently(lambda connection: connection.recv(_READ_SIZE), deadline)
        if not octets:
            raise Lost
        return octets

    def _received_into(self, view: memoryview, deadline: float) -> int:
        count = self._patiently(lambda connection: connection.recv_into(view), deadline)
        if not count:
            raise Lost
        return count

    def _taken(self, count: int) -> bytes:
        octets = bytes(self._input[:count])
        del self._input[:count]
        return octets

    def _patiently(self, operation: Callable[[socket.socket], _T], deadline: float) -> _T:
        """Return what ``operation`` does, trying again each time it runs into the socket's timeout."""
        while True:
            if self._socket is None:
                raise Lost
            now = monotonic()
            if now >= self._waiting_due:
                self._waiting()
                self._waiting_due = now + self._interval
            if now >= deadline:
                raise Silent
            self._socket.settimeout(min(deadline, self._waiting_due) - now)
            try:
                return operation(self._socket)
            except TimeoutError:
                continue
            except OSError as error:
                raise Lost from error


def _nothing() -> None:
    pass


def _await_connection(connection: socket.socket) -> None:
    """Return once the connection stands; TimeoutError while it does not within the socket's timeout."""
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    if not poll.poll(math.ceil((connection.gettimeout() or 0) * 1000)):
        raise TimeoutError
    if error := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        # Not OSError, which would make a TimeoutError, and another attempt, of ETIMEDOUT.
        raise ConnectionError(error, os.strerror(error))


def _failed_handshake(error: BaseException | None) -> Insecure:
    words = phrase(error) if isinstance(error, OSError) else "the connection is lost"
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unverified(f"certificate verify failed: {words}")
    return Insecure(f"TLS handshake failed: {words}")
