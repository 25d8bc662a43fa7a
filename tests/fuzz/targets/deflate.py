r"""What a client says compressed, or what is nothing of the kind: it is what zlib reads in it, octet by octet.

The input's first octet is the size of the buffer that is read into (0 is 256). If the second is ``z``, the rest is what
the client's socket says. Else it is what the client says: compressed here, and flushed behind each ``\x01``.
"""

import zlib
from collections.abc import Iterable

from imapproxy.errors import LimitExceeded
from imapproxy.net.connection import Connection
from imapproxy.net.deflate import DeflatedConnection
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings

_RAW = -15
# A session's own buffer, which is never smaller.
_BUFFER = 256 * 1024


class _Client(Connection):
    """A connection without a socket: what the client says comes in chunks, and what it is told is kept."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.told = bytearray()
        self.has_pending = self.lost = False
        self.has_ended = False

    def receive_into(self, buffer: bytearray | memoryview) -> int | None:
        """Give a chunk, or as much of it as the buffer takes; None behind the last one."""
        chunk = self._rest or next(self._chunks, None)
        if chunk is None:
            self.has_ended = True
            return None
        count = min(len(chunk), len(buffer))
        buffer[:count], self._rest = chunk[:count], chunk[count:]
        return count

    def send(self, octets: bytes | memoryview) -> bool:
        """Take all of it."""
        self.told += octets
        return True


def check(octets: bytes) -> None:
    """Have the client say it in every chunking, and tell it the same."""
    size, said = (octets[0] if octets else 0) or 256, _said(octets)
    expected, is_over, is_bad = _inflated(said)
    for chunks in chunkings(said):
        client = _Client(chunks)
        found, is_refused = _heard(client, DeflatedConnection(client), size)
        assert is_refused <= is_bad
        assert _agree(found, expected, is_bad), (found, expected)
        # What zlib made of a chunk before it saw a fault in it is lost.
        assert found == expected or is_refused, (found, expected)
        assert is_over or is_refused or client.has_ended
    _check_behind_a_command(said, expected, is_bad, size)
    _check_told(octets)


def work(octets: bytes, packet: int) -> None:
    """Have the client say it, and tell it the same."""
    client = _Client(cut(_said(octets), packet))
    connection = DeflatedConnection(client)
    _heard(client, connection, _BUFFER)
    for chunk in cut(octets, packet):
        connection.send(chunk)


def _agree(found: bytes, expected: bytes, is_bad: bool) -> bool:
    """Return whether one begins with the other as it must.

    Octet by octet, what zlib makes of an octet before it sees a fault in it is lost; it is heard if the buffer is full.
    """
    return expected.startswith(found) or (is_bad and found.startswith(expected))


def _said(octets: bytes) -> bytes:
    if octets[1:2] == b"z":
        return octets[2:]
    deflater = zlib.compressobj(wbits=_RAW)
    pieces = [deflater.compress(piece) + deflater.flush(zlib.Z_SYNC_FLUSH) for piece in octets[1:].split(b"\x01")]
    return b"".join(pieces)


def _inflated(said: bytes) -> tuple[bytes, bool, bool]:
    """Return what is said, octet by octet and as far as it can be read; whether it has an end; whether it is none."""
    inflater, found = zlib.decompressobj(_RAW), bytearray()
    try:
        for index in range(len(said)):
            found += inflater.decompress(said[index : index + 1])
            if inflater.eof:
                break
    except zlib.error:
        return bytes(found), False, True
    return bytes(found), inflater.eof, False


def _heard(client: _Client, connection: DeflatedConnection, size: int) -> tuple[bytes, bool]:
    """Return what is heard until nothing more comes, and whether it ended in a refusal."""
    heard, buffer = bytearray(), bytearray(size)
    while True:
        try:
            count = connection.receive_into(buffer)
        except LimitExceeded:
            assert not connection.has_pending
            return bytes(heard), True
        if count == 0:
            assert connection.receive_into(buffer) == 0
            return bytes(heard), False
        if count is None and client.has_ended:
            assert not connection.has_pending  # nobody is to come back for nothing, again and again
            return bytes(heard), False
        heard += buffer[: count or 0]


def _check_behind_a_command(said: bytes, expected: bytes, is_bad: bool, size: int) -> None:
    """Fail where octets that were read with the command that asked for compression are read differently."""
    client = _Client([])
    found, is_refused = _heard(client, DeflatedConnection(client, said), size)
    assert _agree(found, expected, is_bad), (found, expected)
    assert found == expected or (is_refused and is_bad)


def _check_told(octets: bytes) -> None:
    """Fail where a client cannot read at once all that it has been told, however that is cut."""
    for chunks in chunkings(octets):
        client = _Client([])
        connection, inflater = DeflatedConnection(client), zlib.decompressobj(_RAW)
        for chunk in chunks:
            assert connection.send(memoryview(chunk))
            assert inflater.decompress(bytes(client.told)) == chunk
            client.told.clear()
