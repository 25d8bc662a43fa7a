"""Clients and servers that speak TLS, or DEFLATE, or both: what a plain ``Peer`` does, octet by octet under control.

TLS here is OpenSSL over memory, so that half a record, or an end without the end of the connection, can be sent.
"""

import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from imapproxy.net.connection import Connection
from imapproxy.net.deflate import DeflatedConnection
from imapproxy.net.tls import accept_tls, client_context, server_context, wrapped
from tests.functional.certificates import make_certificates
from tests.net.peers import PATIENCE, Background, Peer, stop_descriptor, tcp_pair


class Contexts(NamedTuple):
    """Those of both sides, which trust each other."""

    server: ssl.SSLContext
    client: ssl.SSLContext


@cache
def contexts() -> Contexts:
    with TemporaryDirectory() as directory:
        made = make_certificates(Path(directory))
        return Contexts(server_context(str(made.cert), str(made.key)), client_context(str(made.ca), verify=True))


class TlsPeer(Peer):
    """A peer after its handshake; two threads may use it, one that says and one that hears."""

    def __init__(self, plain: Peer, is_server: bool) -> None:
        super().__init__(plain.stream)
        self._incoming, self._outgoing, self._lock = ssl.MemoryBIO(), ssl.MemoryBIO(), threading.Lock()
        context = contexts().server if is_server else contexts().client
        name = None if is_server else "localhost"
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server, server_hostname=name)

    def shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._send_out()
                self._take_in()
            else:
                self._send_out()
                return

    def records(self, octets: bytes, size: int = 16384) -> bytes:
        """Return ``octets`` as they are said, in records of ``size``."""
        with self._lock:
            for start in range(0, len(octets), size):
                self._tls.write(octets[start : start + size])
            return self._outgoing.read()

    def say(self, octets: bytes) -> None:
        for start in range(0, len(octets), 1 << 20):
            self.stream.sendall(self.records(octets[start : start + (1 << 20)]))

    def say_what_is_taken(self, octets: bytes) -> int:
        raise NotImplementedError

    def hear(self, count: int) -> bytes:
        heard = bytearray()
        while len(heard) < count and (octets := self.hear_some(min(1 << 20, count - len(heard)))):
            heard += octets
        return bytes(heard)

    def hear_some(self, most: int) -> bytes:
        """Return what is said next, b"" at the end."""
        while True:
            try:
                with self._lock:
                    return self._tls.read(most)
            except ssl.SSLWantReadError:
                self._take_in()
            except ssl.SSLZeroReturnError:
                return b""

    @property
    def was_told_of_the_end(self) -> bool:
        """Whether what it hears has ended with close_notify, and not just with the connection."""
        return not self._incoming.eof

    def say_end(self) -> None:
        """Send close_notify, and keep the connection."""
        with self._lock, suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._send_out()

    def _send_out(self) -> None:
        if octets := self._outgoing.read():
            self.stream.sendall(octets)

    def _take_in(self) -> None:
        octets = self.stream.recv(1 << 16)
        with self._lock:
            if octets:
                self._incoming.write(octets)
            else:
                self._incoming.write_eof()


class DeflatedPeer(Peer):
    """A peer that compresses over what another one says and hears."""

    def __init__(self, below: Peer) -> None:
        super().__init__(below.stream)
        self.below = below
        self._deflater, self._inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(-15)
        self._heard = bytearray()

    def compressed(self, octets: bytes) -> bytes:
        return self._deflater.compress(octets) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def say(self, octets: bytes) -> None:
        self.below.say(self.compressed(octets))

    def say_what_is_taken(self, octets: bytes) -> int:
        raise NotImplementedError

    def hear(self, count: int) -> bytes:
        while len(self._heard) < count and (octets := self._hear_some()):
            self._heard += self._inflater.decompress(octets)
        heard = bytes(self._heard[:count])
        del self._heard[:count]
        return heard

    def _hear_some(self) -> bytes:
        return self.below.hear_some(1 << 16) if isinstance(self.below, TlsPeer) else self.stream.recv(1 << 16)


def secured(peer: Peer, connection: Connection, is_server: bool) -> tuple[TlsPeer, Connection]:
    """Have both shake hands; ``is_server`` says what the peer is."""
    tls_peer = TlsPeer(peer, is_server)
    shaking = Background(tls_peer.shake_hands)
    deadline = time.monotonic() + PATIENCE
    if is_server:
        stream = wrapped(connection.socket, contexts().client, "localhost")
        stream.settimeout(PATIENCE)
        stream.do_handshake()
    else:
        with stop_descriptor() as stop:
            stream = accept_tls(connection.socket, contexts().server, deadline, stop.fd)
    shaking.result()
    return tls_peer, connection.continued_over(stream)


def deflated(peer: Peer, connection: Connection) -> tuple[DeflatedPeer, DeflatedConnection]:
    return DeflatedPeer(peer), DeflatedConnection(connection)


@contextmanager
def tls_pair(buffer_size: int | None = None) -> Iterator[tuple[TlsPeer, Connection]]:
    """Connect a client to a connection of ours."""
    peer, stream = tcp_pair(buffer_size)
    with peer, stream:
        tls_peer, connection = secured(peer, Connection(stream), is_server=False)
        with connection.socket:
            yield tls_peer, connection
