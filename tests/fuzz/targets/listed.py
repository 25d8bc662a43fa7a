r"""What a server answers to LIST, through imaplib and our bounds, as a slow reader reads it; or one account of why not.

The input is what stands behind ``* LIST ``, up to the line end before the tagged OK; it may hold more responses.
"""

import random
import socket
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import cast

from imapproxy.net.client_address import ClientAddress
from imapproxy.net.imap import BoundedIMAP, ImapRefusal, SideConnectionError
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.fetched import Listed
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.reference.fetch import Unreadable, read_list
from tests.fuzz.reference.stream import responses

_SERVER = UpstreamServer("127.0.0.1", 143)
_CLIENT = ClientAddress("192.0.2.1", 40000, "192.0.2.143", 143, is_tls=False)
_BEGINNING = b"* LIST "
_OK = b" OK done\r\n"


class _Server:
    """A socket whose other end answers at once; asked for a list, it says its answer in chunks."""

    def __init__(self, answer: Iterable[bytes]) -> None:
        self._answer = answer
        self._said = iter([b"* OK hello\r\n"])
        self._rest = b""

    def send(self, octets: memoryview) -> int:
        """Take a command, and answer it."""
        tag, _, command = bytes(octets).partition(b" ")
        responses = self._answer if command == b'LIST "" "*"\r\n' else [b"* CAPABILITY IMAP4rev1\r\n"]
        self._said = chain(responses, [tag + _OK])
        return len(octets)

    def recv(self, size: int) -> bytes:
        """Return some of what is said; nothing, as at a connection's end, where there is nothing more."""
        octets = self._rest or next(self._said, b"")
        self._rest = octets[size:]
        return octets[:size]

    def recv_into(self, view: memoryview) -> int:
        """Do likewise."""
        octets = self.recv(len(view))
        view[: len(octets)] = octets
        return len(octets)

    def settimeout(self, _seconds: float) -> None:
        """Need no time at all."""

    def close(self) -> None:
        """Leave nothing behind."""


class _Connection(BoundedIMAP):
    """A side connection to such a server, whose user is logged in."""

    def __init__(self, server: _Server) -> None:
        self._played = server
        random.seed(0)  # imaplib's tags begin at random, and it compiles an expression for each connection's
        super().__init__(_SERVER, _CLIENT, lambda: None)
        self.state = "AUTH"

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        """Take the server for connected."""
        self._stream.adopt(cast(socket.socket, self._played))


def check(octets: bytes) -> None:
    """Ask for the list, and have the answer come in every chunking."""
    answer = _answer(octets)
    whole, rest = responses(answer + b"a" + _OK)
    are_lists = all(response.octets.startswith(_BEGINNING) for response in whole[:-1]) and not rest
    for chunks in chunkings(answer):
        found = _listed(chunks)
        if are_lists and whole[-1].octets == b"a" + _OK:
            assert found == _expected([response.octets for response in whole[:-1]]), (found, whole)


def work(octets: bytes, packet: int) -> None:
    """Ask for the list."""
    _listed(cut(_answer(octets), packet))


def _answer(octets: bytes) -> bytes:
    return _BEGINNING + octets + b"\r\n"


def _listed(chunks: Iterable[bytes]) -> list[Listed] | None:
    """Return what is listed, or None where the server does not say that; why it does not is one printable phrase."""
    try:
        return _Connection(_Server(chunks)).list_mailboxes()
    except (ImapRefusal, SideConnectionError) as failure:
        reason = str(failure)
    assert reason.isprintable()
    return None


def _expected(lists: Sequence[bytes]) -> list[Listed] | None:
    try:
        read = [read_list(octets[len(_BEGINNING) : -2]) for octets in lists]
    except Unreadable:
        return None
    return [Listed(frozenset(attributes), name) for attributes, name in read]
