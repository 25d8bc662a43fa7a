"""A client's connection to the proxy: TLS, compression, commands, and answers of which every octet counts."""

import re
import socket
import ssl
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

HOST = "127.0.0.1"
TIMEOUT = 90.0  # seconds: a loaded machine is slow, and silence that lasts is a fault
_READ_SIZE = 64 * 1024
# literal = "{" number64 "}" CRLF *CHAR8, in RFC 9051 section 9.
_LITERAL = re.compile(rb"\{([0-9]+)\}\r\n\Z")


class Wrong(Exception):
    """What a client saw is not as it must be."""


@dataclass(frozen=True)
class Door:
    """Where clients come in: the port, and what TLS from the first octet needs, None where there is none."""

    port: int
    context: ssl.SSLContext | None


class Link:
    """A connection; a context manager that leaves it by FIN if nothing else was done."""

    def __init__(self, door: Door) -> None:
        plain = socket.create_connection((HOST, door.port), TIMEOUT)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._socket = door.context.wrap_socket(plain, server_hostname="localhost") if door.context else plain
        self._input = bytearray()
        self._deflater: zlib._Compress | None = None
        self._inflater: zlib._Decompress | None = None
        self._tags = 0

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def reset(self) -> None:
        """Break off: an RST, whatever is on its way."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def compress(self) -> None:
        """Send raw deflate from now on, and understand it (RFC 4978)."""
        self.expect_ok("COMPRESS DEFLATE")
        self._deflater, self._inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def send(self, octets: bytes) -> None:
        """Send all of them."""
        if self._deflater is not None:
            octets = self._deflater.compress(octets) + self._deflater.flush(zlib.Z_SYNC_FLUSH)
        self._socket.sendall(octets)

    def line(self) -> bytes:
        """Return the next line, its end included."""
        searched = 0
        while (end := self._input.find(b"\n", searched) + 1) == 0:
            searched = len(self._input)
            self._receive()
        return self._taken(end)

    def read(self, count: int) -> bytes:
        """Return that many octets."""
        while len(self._input) < count:
            self._receive()
        return self._taken(count)

    def command(self, text: str, literal: bytes | None = None, *, waits: bool = True) -> list[bytes]:
        """Give a command, its last argument maybe a literal, for which it waits or not; return all it is answered with.

        Those are lines and literals in turn, the last of them what follows the tag.
        """
        tag = self.begin(text, literal, waits=waits)
        return self.answer(tag)

    def begin(self, text: str, literal: bytes | None = None, *, waits: bool = True) -> bytes:
        """Give a command; return its tag."""
        self._tags += 1
        tag = b"t%d" % self._tags
        command = b"%b %b" % (tag, text.encode("ascii"))
        if literal is None:
            self.send(command + b"\r\n")
        elif not waits:
            self.send(b"%b {%d+}\r\n%b\r\n" % (command, len(literal), literal))
        else:
            self.send(b"%b {%d}\r\n" % (command, len(literal)))
            self.await_continuation(tag)
            self.send(literal + b"\r\n")
        return tag

    def await_continuation(self, tag: bytes) -> None:
        """Wait until the command may go on; Wrong where it is answered instead."""
        while not (line := self._response(b"+", tag + b" ")).startswith(b"+"):
            if line.startswith(tag):
                raise Wrong(f"a command that is to go on is answered with {line!r}")

    def answer(self, tag: bytes) -> list[bytes]:
        """Return the lines and literals of an answer, the last of them what follows the tag."""
        answer: list[bytes] = []
        while not (line := self._response(tag + b" ")).startswith(tag + b" "):
            answer.append(line)
            while size := _LITERAL.search(answer[-1]):
                answer.append(self.read(int(size[1])))
                answer.append(self.line())
        return [*answer, line.removeprefix(tag + b" ").removesuffix(b"\r\n")]

    def expect_ok(self, text: str, literal: bytes | None = None, *, waits: bool = True) -> Sequence[bytes]:
        """Give a command, and return its answer, which must be OK."""
        answer = self.command(text, literal, waits=waits)
        if not answer[-1].startswith(b"OK"):
            raise Wrong(f"{text} is answered with {answer[-1]!r}")
        return answer

    def _response(self, *expected: bytes) -> bytes:
        """Return the first line of an untagged response, or of what is expected; anything else is nobody's answer."""
        line = self.line()
        if not line.startswith((b"* ", *expected)):
            raise Wrong(f"nobody has asked for {line!r}")
        return line

    def _receive(self) -> None:
        octets = self._socket.recv(_READ_SIZE)
        if not octets:
            raise Wrong(f"the connection ends after {bytes(self._input[-200:])!r}")
        self._input += octets if self._inflater is None else self._inflater.decompress(octets)

    def _taken(self, count: int) -> bytes:
        octets = bytes(self._input[:count])
        del self._input[:count]
        return octets
