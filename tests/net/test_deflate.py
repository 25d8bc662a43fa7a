"""COMPRESS=DEFLATE on a connection: what each call sends can be read at once, and what comes is bounded."""

import select
import socket
import zlib
from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import LimitExceeded
from imapproxy.net.connection import BUFFER_SIZE, Connection
from imapproxy.net.deflate import READ_SIZE, DeflatedConnection
from tests.net.layers import DeflatedPeer
from tests.net.peers import PATIENCE, tcp_pair

SMALL = 16 * 1024
NOISE = Random(2).randbytes(1 << 20)
TEXT = b"* 1 FETCH (UID 5 FLAGS (\\Seen))\r\n" * 1000


@pytest.fixture
def ends() -> Iterator[tuple[DeflatedPeer, DeflatedConnection]]:
    peer, stream = tcp_pair(SMALL)
    with peer, stream:
        yield DeflatedPeer(peer), DeflatedConnection(Connection(stream))


def is_ready(connection: DeflatedConnection, within: float) -> bool:
    if connection.has_pending:
        return True
    poll = select.poll()
    poll.register(connection.fd, select.POLLIN)
    return bool(poll.poll(within * 1000))


def receive(connection: DeflatedConnection, size: int = BUFFER_SIZE) -> bytes:
    """Return what is there once something is; b"" at the end."""
    buffer, count = bytearray(size), None
    while count is None:
        assert is_ready(connection, PATIENCE)
        count = connection.receive_into(buffer)
    return bytes(buffer[:count])


def receive_all(connection: DeflatedConnection, size: int = BUFFER_SIZE) -> bytes:
    return b"".join(iter(lambda: receive(connection, size), b""))


# Sending.


@pytest.mark.parametrize("octets", [b"x", TEXT, memoryview(TEXT)])
def test_what_one_call_sends_can_be_read_at_once(
    ends: tuple[DeflatedPeer, DeflatedConnection], octets: bytes | memoryview
) -> None:
    peer, connection = ends
    for _ in range(3):
        assert connection.send(octets)
        peer.expect(bytes(octets))


def test_text_gets_a_good_deal_smaller(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    peer, connection = ends
    connection.send(TEXT)
    peer.expect(TEXT)
    assert connection.sent < len(TEXT) // 20


def test_what_the_client_does_not_take_is_kept_compressed_and_sent_later(
    ends: tuple[DeflatedPeer, DeflatedConnection],
) -> None:
    peer, connection = ends
    assert not connection.send(NOISE)
    assert 0 < connection.backlog_size < len(NOISE) + 1000
    assert not connection.send(b"behind it")
    heard = b""
    while len(heard) < len(NOISE) + 9:
        connection.send_backlog()
        heard += peer.hear(1)
        peer_has = len(peer._heard)
        heard += peer.hear(peer_has)
    assert heard == NOISE + b"behind it"
    assert connection.backlog_size == 0


def test_what_is_sent_to_a_lost_client_is_dropped(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    _, connection = ends
    connection.give_up()
    assert connection.lost
    assert not connection.send(TEXT)
    assert connection.sent == 0


def test_the_end_of_the_output_is_told(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    peer, connection = ends
    connection.send(b"last words")
    connection.end()
    assert peer.hear_rest() == b"last words"


# Receiving.


@given(st.lists(st.binary(max_size=200) | st.just(b"abc" * 100), max_size=5), st.integers(1, 300))
def test_what_is_said_comes_whatever_the_size_of_the_buffer(said: list[bytes], size: int) -> None:
    plain, stream = tcp_pair()
    with plain, stream:
        peer, connection = DeflatedPeer(plain), DeflatedConnection(Connection(stream))
        for octets in said:
            peer.say(octets)
        peer.end_output()
        assert receive_all(connection, size) == b"".join(said)


def test_a_flush_alone_is_nothing(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    peer, connection = ends
    peer.say(b"")
    assert is_ready(connection, PATIENCE)
    assert connection.receive_into(bytearray(10)) is None
    assert not connection.has_pending


def test_nothing_there_is_nothing(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    _, connection = ends
    assert connection.receive_into(bytearray(10)) is None


def test_what_came_with_the_command_comes_first() -> None:
    plain, stream = tcp_pair()
    with plain, stream:
        peer = DeflatedPeer(plain)
        connection = DeflatedConnection(Connection(stream), peer.compressed(b"first, "))
        assert connection.has_pending
        assert receive(connection) == b"first, "
        assert not connection.has_pending
        peer.say(b"second")
        assert receive(connection) == b"second"


@pytest.mark.parametrize("size", [BUFFER_SIZE, BUFFER_SIZE - 1, BUFFER_SIZE + 1, 2 * BUFFER_SIZE, 10 * BUFFER_SIZE])
def test_a_few_octets_expand_to_a_buffer_at_a_time(size: int) -> None:
    plain, stream = tcp_pair()
    with plain, stream:
        connection = DeflatedConnection(Connection(stream), DeflatedPeer(plain).compressed(bytes(size)))
        for done in range(0, size, BUFFER_SIZE):
            assert connection.has_pending
            assert receive(connection) == bytes(min(BUFFER_SIZE, size - done))
        assert connection.receive_into(bytearray(BUFFER_SIZE)) is None
        assert not connection.has_pending


def test_no_more_is_read_than_waits_to_be_inflated() -> None:
    plain, stream = tcp_pair()
    with plain, stream:
        connection = DeflatedConnection(Connection(stream))
        bomb = DeflatedPeer(plain).compressed(bytes(1 << 26))
        assert len(bomb) > READ_SIZE
        plain.say(bomb)
        for _ in range(3):
            assert receive(connection) == bytes(BUFFER_SIZE)
        assert connection.received <= READ_SIZE


@pytest.mark.parametrize("garbage", [b"\xff" * 20, b"b NOOP\r\n" * 3, zlib.compress(TEXT)])
def test_what_is_no_deflate_data_is_past_a_limit(ends: tuple[DeflatedPeer, DeflatedConnection], garbage: bytes) -> None:
    peer, connection = ends
    peer.stream.sendall(garbage)
    with pytest.raises(LimitExceeded):
        receive(connection)
    assert not connection.has_pending


@pytest.mark.parametrize("octets", [b"", b"c LOGOUT\r\n"])
def test_compressed_data_that_ends_is_the_end_of_the_client(
    ends: tuple[DeflatedPeer, DeflatedConnection], octets: bytes
) -> None:
    peer, connection = ends
    deflater = zlib.compressobj(wbits=-15)
    peer.stream.sendall(deflater.compress(octets) + deflater.flush() + b"and more")
    assert receive_all(connection) == octets
    connection.send(b"answer")
    peer.expect(b"answer")


def test_an_end_in_the_middle_is_an_end(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    peer, connection = ends
    peer.stream.sendall(peer.compressed(NOISE[:1000])[:500])
    peer.stream.shutdown(socket.SHUT_WR)
    assert NOISE.startswith(receive_all(connection))
    assert not connection.lost


def test_a_client_that_vanishes_is_lost(ends: tuple[DeflatedPeer, DeflatedConnection]) -> None:
    peer, connection = ends
    peer.reset()
    assert receive(connection) == b""
    assert connection.lost
