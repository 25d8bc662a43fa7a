"""The client's link to a server: a TCP connection that counts what it costs."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Self

TIMEOUT = 20.0  # seconds for one answer; on loopback they take milliseconds


class Address(NamedTuple):
    """Where a server listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Cost(NamedTuple):
    """What passed over a link: octets of TCP payload each way, and how often the client had to wait for an answer."""

    sent: int
    received: int
    round_trips: int

    def since(self, earlier: Self) -> "Cost":
        """Return what came on top of an earlier reading."""
        return Cost(self.sent - earlier.sent, self.received - earlier.received, self.round_trips - earlier.round_trips)

    @property
    def octets(self) -> int:
        """Both directions together."""
        return self.sent + self.received


class Link:
    """An open connection, read by lines and, where a line says how many octets follow, by octets.

    A round trip is counted whenever the client has sent something and reads next. Connecting is one (SYN, SYN-ACK); a
    greeting is the answer to the ACK that ends it, and so another.
    """

    def __init__(self, address: Address, connection: socket.socket) -> None:
        self._address = address
        self._connection = connection
        self._unread = bytearray()
        self._has_sent = True
        self.cost = Cost(sent=0, received=0, round_trips=1)

    def send(self, octets: bytes) -> None:
        """Send octets as they are."""
        self._connection.sendall(octets)
        self._has_sent = True
        self.cost = self.cost._replace(sent=self.cost.sent + len(octets))

    def read_line(self) -> bytes:
        """Return the server's next line without its CRLF."""
        while b"\r\n" not in self._unread:
            self._unread += self._receive()
        line, _, self._unread = self._unread.partition(b"\r\n")
        return bytes(line)

    def read(self, count: int) -> bytes:
        """Return the next octets, whatever they are."""
        while len(self._unread) < count:
            self._unread += self._receive()
        octets = bytes(self._unread[:count])
        del self._unread[:count]
        return octets

    def _receive(self) -> bytes:
        try:
            octets = self._connection.recv(65536)
        except TimeoutError as error:
            raise TimeoutError(f"{self._address} did not answer within {TIMEOUT:.0f} s") from error
        if not octets:
            raise ConnectionError(f"{self._address} closed the connection")
        self.cost = Cost(self.cost.sent, self.cost.received + len(octets), self.cost.round_trips + self._has_sent)
        self._has_sent = False
        return octets


@contextmanager
def connect(address: Address) -> Iterator[Link]:
    """Open a link, and close it at the end."""
    with socket.create_connection(address, TIMEOUT) as connection:
        yield Link(address, connection)
