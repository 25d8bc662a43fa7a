"""What a connection does with a peer that reads slowly, or not at all, or vanishes."""

import select
import socket
from collections.abc import Iterator
from itertools import pairwise

import pytest

from imapproxy.net.connection import BUFFER_SIZE, SPARE_BUFFERS, Connection, lend_buffer, return_buffer
from tests.net.layers import TlsPeer, secured, tls_pair
from tests.net.peers import PATIENCE, Peer, tcp_pair

SMALL = 16 * 1024  # octets that the kernel holds for a peer that does not read; it takes a few times as much
LARGE = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def ends() -> Iterator[tuple[Peer, Connection]]:
    peer, stream = tcp_pair(SMALL)
    with peer, stream:
        yield peer, Connection(stream)


def await_event(connection: Connection, event: int) -> None:
    poll = select.poll()
    poll.register(connection.fd, event)
    assert poll.poll(PATIENCE * 1000)


def receive(connection: Connection) -> bytes | None:
    """Return what is there once something is: octets, b"" at the end."""
    await_event(connection, select.POLLIN)
    buffer = bytearray(100)
    count = connection.receive_into(buffer)
    return None if count is None else bytes(buffer[:count])


def send_all(connection: Connection, peer: Peer, count: int) -> bytes:
    """Have the peer read ``count`` octets while the connection sends what it has kept."""
    heard = b""
    while len(heard) < count:
        connection.send_backlog()
        heard += peer.stream.recv(1 << 16)
    return heard


def test_small_messages_are_sent_at_once(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    assert connection.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert connection.send(b"one")
    assert connection.backlog_size == 0
    peer.expect(b"one")


def test_what_the_peer_does_not_take_is_kept_and_sent_later_in_order(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    assert not connection.send(LARGE)
    kept = connection.backlog_size
    assert 0 < kept < len(LARGE)
    assert not connection.send(b"two")
    assert not connection.send(memoryview(b"three"))
    assert connection.backlog_size == kept + len(b"twothree")
    assert send_all(connection, peer, len(LARGE) + 8) == LARGE + b"twothree"
    assert connection.backlog_size == 0


def test_what_is_kept_is_a_copy(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    buffer = bytearray(LARGE)
    connection.send(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert send_all(connection, peer, len(LARGE)) == LARGE


def test_a_backlog_shrinks_as_the_peer_reads(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    connection.send(LARGE)
    sizes = [connection.backlog_size]
    while connection.backlog_size:
        peer.hear(SMALL)
        connection.send_backlog()
        sizes.append(connection.backlog_size)
    assert all(earlier >= later for earlier, later in pairwise(sizes))


def test_octets_are_counted_when_they_pass(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    peer.say(b"12345")
    assert receive(connection) == b"12345"
    connection.send(LARGE)
    assert connection.received == 5
    assert connection.sent == len(LARGE) - connection.backlog_size


def test_receiving_tells_nothing_from_the_end(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    assert connection.receive_into(bytearray(10)) is None
    peer.say(b"last words")
    peer.end_output()
    assert receive(connection) == b"last words"
    assert receive(connection) == b""
    assert not connection.lost


def test_a_peer_that_ended_its_side_is_still_sent_to(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    peer.end_output()
    assert receive(connection) == b""
    connection.send(b"answer")
    peer.expect(b"answer")


def test_what_a_peer_sent_before_it_vanished_is_received(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    peer.say(b"last words")
    peer.reset()
    assert receive(connection) == b"last words"
    assert receive(connection) == b""
    assert connection.lost


def test_octets_for_a_lost_peer_are_dropped(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    connection.send(LARGE)
    peer.reset()
    connection.send_backlog()
    assert connection.lost
    assert connection.backlog_size == 0
    connection.send(LARGE)
    connection.send_backlog()
    assert connection.backlog_size == 0


def test_a_loss_is_noticed_when_something_is_sent(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    peer.reset()
    assert not connection.send(b"anybody there?")
    assert connection.lost
    assert receive(connection) == b""


def test_a_peer_that_is_given_up_gets_nothing_more(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    connection.send(LARGE)
    sent = connection.sent
    connection.give_up()
    connection.send_backlog()
    connection.send(b"more")
    connection.socket.close()
    assert peer.hear_rest() == LARGE[:sent]


def test_the_end_of_the_output_is_told_once_and_for_all(ends: tuple[Peer, Connection]) -> None:
    peer, connection = ends
    connection.send(b"that was it")
    connection.end_output()
    assert peer.hear_rest() == b"that was it"
    peer.reset()
    connection.end_output()


def test_buffers_are_used_again_and_few_are_kept() -> None:
    lent = [lend_buffer() for _ in range(SPARE_BUFFERS + 3)]
    assert {len(buffer) for buffer in lent} == {BUFFER_SIZE}
    for buffer in lent:
        return_buffer(buffer)
    again = [lend_buffer() for _ in range(SPARE_BUFFERS + 3)]
    try:
        assert len({id(buffer) for buffer in lent} & {id(buffer) for buffer in again}) >= SPARE_BUFFERS
    finally:
        for buffer in again:
            return_buffer(buffer)


# TLS.


@pytest.fixture
def tls_ends() -> Iterator[tuple[TlsPeer, Connection]]:
    with tls_pair(SMALL) as (peer, connection):
        yield peer, connection


def test_tls_is_read_and_written_as_anything_else(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    assert connection.receive_into(bytearray(10)) is None
    peer.say(b"question")
    assert receive(connection) == b"question"
    assert not connection.has_pending
    assert connection.send(b"answer")
    peer.expect(b"answer")
    assert (connection.received, connection.sent) == (8, 6)


def test_what_a_tls_peer_does_not_take_is_kept_and_sent_later_in_order(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    assert not connection.send(LARGE)
    assert connection.backlog_size == len(LARGE)  # all of it, until TLS has sent the last of it
    assert not connection.send(memoryview(b"two"))
    heard = b""
    while len(heard) < len(LARGE) + 3:
        connection.send_backlog()
        heard += peer.hear_some(1 << 16)
    assert heard == LARGE + b"two"
    assert connection.backlog_size == 0


def test_what_waits_inside_tls_is_told_of(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    peer.say(LARGE[:150])
    assert receive(connection) == LARGE[:100]
    assert connection.has_pending
    buffer = bytearray(100)
    assert connection.receive_into(buffer) == 50
    assert not connection.has_pending


def test_what_is_left_in_tls_by_who_read_before_is_told_of(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, before = tls_ends
    peer.say(b"read before, and left")
    await_event(before, select.POLLIN)
    assert before.socket.recv(12) == b"read before,"
    connection = Connection(before.socket)
    assert connection.has_pending
    assert connection.receive_into(bytearray(100)) == len(b" and left")


def test_what_passed_before_the_handshake_counts() -> None:
    peer, stream = tcp_pair()
    with peer, stream:
        before = Connection(stream)
        before.send(b"* OK ready\r\n")
        peer.expect(b"* OK ready\r\n")
        tls_peer, connection = secured(peer, before, is_server=False)
        with connection.socket:
            connection.send(b"12345")
            tls_peer.expect(b"12345")
            assert connection.sent == len(b"* OK ready\r\n12345")


def test_a_tls_peer_may_end_its_side_and_be_sent_to(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    peer.say(b"last words")
    peer.say_end()
    assert receive(connection) == b"last words"
    assert receive(connection) == b""
    assert not connection.lost
    connection.send(b"answer")
    peer.expect(b"answer")


def test_the_end_of_our_output_leaves_a_tls_peer_its_own(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    connection.send(b"that was it")
    connection.end_output()
    assert peer.hear_rest() == b"that was it"
    peer.say(b"answer")
    assert receive(connection) == b"answer"


@pytest.mark.parametrize("peer_has_ended", [True, False])
def test_a_tls_peer_is_told_of_the_end_even_if_it_has_said_much_that_is_not_read(
    tls_ends: tuple[TlsPeer, Connection], peer_has_ended: bool
) -> None:
    peer, connection = tls_ends
    peer.say(b"unread" * 1000)
    if peer_has_ended:
        peer.say_end()
    await_event(connection, select.POLLIN)
    connection.send(b"last words")
    connection.end()
    connection.socket.close()
    assert peer.hear_rest() == b"last words"
    assert peer.was_told_of_the_end


def test_a_lost_tls_peer_is_told_nothing(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    connection.send(LARGE)
    connection.give_up()
    connection.end()
    connection.socket.close()
    heard = peer.hear_rest()
    assert LARGE.startswith(heard)
    assert not peer.was_told_of_the_end


def test_what_is_no_record_is_the_loss_of_the_peer(tls_ends: tuple[TlsPeer, Connection]) -> None:
    peer, connection = tls_ends
    peer.say(b"good")
    assert receive(connection) == b"good"
    peer.stream.sendall(b"a NOOP\r\n")
    assert receive(connection) == b""
    assert connection.lost
    assert not connection.has_pending
