r"""A server of few words: a script of its dialogue, with TLS where the script says so.

    with played('''
        S: * OK hello
        C: imapproxy STARTTLS
        S: imapproxy OK go on
        TLS
    ''', context) as port: ...

The letter says what the server does, and with which text:

- ``S``: it says a line; ``S\``: likewise, but together with the next one;
- ``C``: this line must come then; ``ASKED``: a command, whose tag is not known; ``DONE``: its OK;
- ``TLS``: a handshake; ``NO TLS``: one that the client breaks off; ``HELLO``: one that is not answered;
- ``CLOSE``, ``RESET``; ``SILENCE`` until the client leaves, whatever it says.

The end of the script lasts until the client leaves, too, but nothing else may have been heard by then. What goes wrong
is raised when the ``with`` ends.
"""

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Protocol

from imapproxy.net.client_address import ClientAddress
from imapproxy.net.upstream import UpstreamServer
from tests.net.peers import Background, Peer, listening, port_of
from tests.protocol.script import octets_of

CLIENT = ClientAddress("192.0.2.7", 40_000, "198.51.100.1", 143, is_tls=False)


class _Listening(Protocol):
    @property
    def port(self) -> int: ...


def server_of(fake: _Listening, timeout: float) -> UpstreamServer:
    return UpstreamServer("127.0.0.1", fake.port, timeout=timeout)


@contextmanager
def played(script: str, context: ssl.SSLContext | None = None, prelude: bytes = b"") -> Iterator[int]:
    """Listen, and play the script to the client that comes; it says ``prelude`` first of all."""
    with listening() as listener:
        playing = Background(lambda: _play(listener, script, context, prelude))
        yield port_of(listener)
        playing.result()


def _play(listener: socket.socket, script: str, context: ssl.SSLContext | None, prelude: bytes) -> None:
    with closing(_Stage(listener.accept()[0], context)) as stage:
        stage.peer.expect(prelude)
        for line in filter(None, map(str.strip, script.splitlines())):
            act, _, text = line.partition(": ")
            stage.acts[act](octets_of(text))
            if act in {"NO TLS", "SILENCE", "CLOSE", "RESET"}:
                return
        stage.await_end()


class _Stage:
    def __init__(self, stream: socket.socket, context: ssl.SSLContext | None) -> None:
        self.peer = Peer(stream)
        self._context = context
        self._unsaid = b""
        self._tag = b""
        self.acts: dict[str, Callable[[bytes], object]] = {
            "S": self._say,
            "S\\": self._keep,
            "C": self._expect,
            "ASKED": self._expect_command,
            "DONE": lambda _: self.peer.say(self._tag + b" OK done\r\n"),
            "TLS": lambda _: self._begin_tls(),
            "NO TLS": lambda _: self._fail_in_tls(),
            "HELLO": lambda _: self._hear_client_hello(),
            "SILENCE": lambda _: self._hear_out(),
            "CLOSE": lambda _: self.close(),
            "RESET": lambda _: self.peer.reset(),
        }

    def close(self) -> None:
        self.peer.close()

    def await_end(self) -> None:
        heard = self._hear_out()
        assert heard == b"", heard

    def _say(self, line: bytes) -> None:
        self.peer.say(self._unsaid + line)
        self._unsaid = b""

    def _keep(self, line: bytes) -> None:
        self._unsaid += line

    def _expect(self, line: bytes) -> None:
        heard = self.peer.hear_line()
        assert heard == line, heard

    def _expect_command(self, command: bytes) -> None:
        self._tag, _, heard = self.peer.hear_line().partition(b" ")
        assert heard == command, heard

    def _begin_tls(self) -> None:
        assert self._context is not None
        self.peer = Peer(self._context.wrap_socket(self.peer.stream, server_side=True))

    def _fail_in_tls(self) -> None:
        with suppress(ssl.SSLError, ConnectionError):
            self._begin_tls()
            self.peer.stream.recv(1)  # TLS 1.3: the server is done before the client has seen who it is

    def _hear_client_hello(self) -> None:
        # RFC 8446 5.1: a TLSPlaintext is its type, its version, its length, and so much.
        header = self.peer.hear(5)
        self.peer.hear(int.from_bytes(header[3:], "big"))

    def _hear_out(self) -> bytes:
        with suppress(ConnectionError):
            return self.peer.hear_rest()
        return b""
