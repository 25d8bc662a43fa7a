r"""A scripted IMAP server on loopback, for what real ones will not do on demand; and the client opposite it.

Two ways to play it. Where every step counts, the test itself is both the client and the server, in one thread, and
reads as the script of the dialogue. A line's first letter says whose it is::

    with Listener() as imap, running_proxy(directory, imap.port, smtp.port) as proxy, scene(proxy.port, imap) as stage:
        stage.play(r'''
            S: * OK hello           # what the server sends
            P: * OK hello           # what the client must then have been sent by the proxy
            C: A APPEND x {5}       # what the client sends
            U: A APPEND x {5}       # what the server (the proxy's upstream) must then have been sent
        ''')

Each line ends in CRLF unless it ends in a backslash; other escapes are Python's (``tests.protocol.script``). Nothing
but what the script says may have come by the time of the next line, nor be left at the end of the scene.

Where there are many clients, or more octets than fit into buffers, ``FakeImap`` serves each connection in a thread::

    with FakeImap(well_behaved) as imap: ...

What goes wrong in one of those threads (an ``AssertionError`` of a script's, say) is raised when the ``with`` ends; a
client that leaves is nothing wrong. Every wait is bounded.
"""

import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import takewhile
from types import TracebackType
from typing import Self, TypeAlias

from tests.protocol.script import octets_of

PATIENCE = 60  # seconds that a peer may stay silent, or leave unread what is said to it
MAX_LINE = 1 << 20  # octets of a line
READ_SIZE = 1 << 16

CAPABILITIES = b"IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER"
GREETING = b"* OK [CAPABILITY %b] fake\r\n" % CAPABILITIES
REWRITTEN_GREETING = b"* OK [CAPABILITY %b CAN-SUBMIT CAN-SUBMIT=URL] fake\r\n" % CAPABILITIES


class Peer:
    """One end of a connection. ``EOFError`` where the other end stops in the middle of what is expected."""

    def __init__(self, stream: socket.socket, patience: float = PATIENCE) -> None:
        self._socket = stream
        self._patience = patience
        self._input = bytearray()
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None
        stream.settimeout(patience)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def begin_tls(self, context: ssl.SSLContext, server_name: str | None = None) -> ssl.SSLSocket:
        """Do the handshake: as the client of a server of that name, or as the server where there is no name."""
        assert not self._input, bytes(self._input)
        as_server = server_name is None
        self._socket = secured = context.wrap_socket(self._socket, server_side=as_server, server_hostname=server_name)
        return secured

    def begin_compression(self) -> None:
        """Send raw deflate from now on, and understand it (RFC 4978)."""
        assert not self._input, bytes(self._input)
        self._deflater, self._inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def send(self, octets: bytes, chunk: int = 1 << 30) -> None:
        """Send octets, a chunk at a time."""
        view = memoryview(octets)
        for start in range(0, len(octets), chunk):
            self.send_raw(self._deflated(view[start : start + chunk]))

    def send_raw(self, octets: bytes | memoryview) -> None:
        """Send octets as they are, even if what they say should be compressed."""
        self._socket.sendall(octets)

    def _deflated(self, octets: bytes | memoryview) -> bytes | memoryview:
        if self._deflater is None:
            return octets
        return self._deflater.compress(octets) + self._deflater.flush(zlib.Z_SYNC_FLUSH)

    def read(self, count: int) -> bytes:
        """Return exactly so many octets."""
        while len(self._input) < count:
            self._receive()
        octets = bytes(self._input[:count])
        del self._input[:count]
        return octets

    def line(self) -> bytes:
        """Return the next line, its end included."""
        searched = 0
        while (end := self._input.find(b"\n", searched) + 1) == 0:
            searched = len(self._input)
            assert searched <= MAX_LINE, bytes(self._input[:100])
            self._receive()
        return self.read(end)

    def answer(self, tag: bytes) -> bytes:
        """Return the rest of the line that begins with the tag; what stands before it is passed over."""
        while not (line := self.line()).startswith(tag + b" "):
            pass
        return line.removeprefix(tag + b" ").removesuffix(b"\r\n")

    def expect(self, octets: bytes) -> None:
        """Check that these octets come next."""
        try:
            came = self.read(len(octets))
        except (EOFError, TimeoutError) as failure:
            came = bytes(self._input)
            raise AssertionError(f"{failure!r}: {_difference(came, octets)}") from failure
        assert came == octets, _difference(came, octets)

    def rest(self) -> bytes:
        """Return all that comes before the other end stops or breaks off."""
        with suppress(EOFError, ConnectionError):
            while True:
                self._receive()
        octets = bytes(self._input)
        self._input.clear()
        return octets

    def at_hand(self) -> bytes:
        """Return what has come unasked, without waiting for more."""
        if self._socket.fileno() < 0:
            return b""
        self._socket.setblocking(False)
        with suppress(BlockingIOError, ssl.SSLWantReadError, EOFError, ConnectionError):
            self._receive()
        self._socket.settimeout(self._patience)
        return bytes(self._input)

    def drain(self, count: int) -> int:
        """Read up to so many octets and forget them; return how many, none at the end."""
        with suppress(ConnectionError):
            return len(self._socket.recv(count))
        return 0

    def ended_within(self, seconds: float) -> bool:
        """Say whether the other end stops or breaks off so soon; what it says meanwhile is passed over."""
        self._socket.settimeout(seconds)
        try:
            return not self._socket.recv(READ_SIZE)
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self._socket.settimeout(self._patience)

    def end_output(self) -> None:
        """Say that nothing more will come: a FIN."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Break off: an RST, whatever is on its way."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def close(self) -> None:
        """Go: a FIN, if all that came has been read; an RST else."""
        self._socket.close()

    def hang_up(self) -> None:
        """Have another thread's wait end."""
        with suppress(OSError):
            # Not the method of a TLS socket, which would end TLS under the thread that uses it.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _receive(self) -> None:
        octets = self._socket.recv(READ_SIZE)
        if not octets:
            raise EOFError
        self._input += octets if self._inflater is None else self._inflater.decompress(octets)


def _difference(came: bytes, expected: bytes) -> str:
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(came, expected, strict=False)))
    where = slice(max(0, same - 50), same + 200)
    return f"from octet {same}: {came[where]!r} instead of {expected[where]!r}"


def connect(
    port: int, receive_buffer: int | None = None, address: str = "127.0.0.1", patience: float = PATIENCE
) -> Peer:
    """Return a client's end of a new connection; a small ``receive_buffer`` makes it feel how slowly it reads.

    The server may then stay silent for ``patience`` seconds.
    """
    stream = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    if receive_buffer is not None:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    stream.settimeout(PATIENCE)
    stream.connect((address, port))
    return Peer(stream, patience)


class Listener:
    """A server whose ends of connections the test takes itself; peers may stay silent for so many seconds."""

    def __init__(self, port: int = 0, patience: float = PATIENCE) -> None:
        self._socket = socket.create_server(("127.0.0.1", port), backlog=128)
        self._socket.settimeout(PATIENCE)
        self._patience = patience

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1, from the beginning."""
        port: int = self._socket.getsockname()[1]
        return port

    def accept(self) -> Peer:
        """Return the server's end of the next connection."""
        return Peer(self._socket.accept()[0], self._patience)

    def refuse(self) -> None:
        """Listen no more: who connects from now on is refused."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()


class Stage:
    """The two ends of a session, with the proxy between them."""

    def __init__(self, client: Peer, server: Peer) -> None:
        self.client = client
        self.server = server

    def play(self, script: str, chunk: int = 1 << 30) -> None:
        """Play a script, everything that is sent a chunk at a time; see the module's docstring."""
        for line in filter(None, map(str.strip, script.splitlines())):
            assert line[1:3] in {": ", ":"}, line
            octets = octets_of(line[3:])
            match line[0]:
                case "C":
                    self.check_silence()
                    self.client.send(octets, chunk)
                case "S":
                    self.check_silence()
                    self.server.send(octets, chunk)
                case "P":
                    self.client.expect(octets)
                case "U":
                    self.server.expect(octets)
                case _:
                    raise AssertionError(line)

    def check_silence(self) -> None:
        """Check that neither end has been sent anything by now that no script told of."""
        unasked = (self.client.at_hand(), self.server.at_hand())
        assert unasked == (b"", b""), f"to the client and to the server: {unasked}"

    def log_in(self, user: bytes = b"fred", greeting: bytes = GREETING) -> None:
        """Greet, and log a user in with LOGIN."""
        self.server.send(greeting)
        self.client.line()
        self.client.send(b"L LOGIN %b secret\r\n" % user)
        self.server.expect(b"L LOGIN %b secret\r\n" % user)
        self.server.send(b"L OK logged in\r\n")
        self.client.expect(b"L OK logged in\r\n")

    def submit(self, draft: bytes, tag: bytes = b"S") -> bytes:
        """SUBMIT a draft, and return the answer without its tag."""
        self.client.send(b"%b SUBMIT {%d+}\r\n%b\r\n" % (tag, len(draft), draft))
        return self.client.answer(tag)


@contextmanager
def scene(proxy_port: int, imap: Listener) -> Iterator[Stage]:
    """Connect a client, and take the upstream connection that the proxy makes for it."""
    with connect(proxy_port) as client, imap.accept() as server:
        stage = Stage(client, server)
        yield stage
        stage.check_silence()


Script: TypeAlias = Callable[[Peer], None]


class FakeImap(Listener):
    """A server that plays a script in a thread for each connection."""

    def __init__(self, script: Script, port: int = 0, patience: float = PATIENCE) -> None:
        super().__init__(port, patience)
        self._script = script
        self._lock = threading.Lock()
        self._stopping = False
        self._failures: list[BaseException] = []
        self._open: set[Peer] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            self._stopping = True
            for peer in self._open:
                peer.hang_up()
        self._socket.shutdown(socket.SHUT_RDWR)  # ends the wait in accept()
        for thread in self._threads:
            thread.join(PATIENCE)
        super().__exit__(kind, error, traceback)
        if error is None:
            self.raise_failures()

    def raise_failures(self) -> None:
        """Raise what went wrong in a thread since the last call."""
        with self._lock:
            failures, self._failures = self._failures, []
        if failures:
            raise failures[0]

    def _accept(self) -> None:
        while not self._stopping:
            try:
                peer = self.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer) -> None:
        with self._lock:
            self._open.add(peer)
        try:
            self._script(peer)
        except (EOFError, ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):  # the client has left
            pass
        except BaseException as failure:  # it is raised in the test's thread
            if not self._stopping:
                self._failures.append(failure)
        finally:
            with self._lock:
                self._open.discard(peer)
                peer.close()


def well_behaved(peer: Peer) -> None:
    """Take any login, and answer OK to every command without a literal."""
    peer.send(GREETING)
    while True:
        tag, name, *_ = peer.line().split()
        if name.upper() == b"LOGOUT":
            peer.send(b"* BYE logging out\r\n%b OK done\r\n" % tag)
            return
        peer.send(b"%b OK done\r\n" % tag)
