"""A channel between two processes: messages in both directions, the end of the file, and no descriptors."""

import os
import resource
import select
import socket
import time
from collections.abc import Iterator

import pytest

from imapproxy.errors import WorkerError
from imapproxy.net.channel import PIECE, Channel, channel_pair
from tests.net.lingering import LINGER, fill, unread
from tests.net.peers import PATIENCE, Background, open_descriptors

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = channel_pair()
    near.set_blocking(is_blocking=False)
    with near, far:
        yield near, far


def test_what_one_end_sends_the_other_receives_message_by_message(pair: Pair) -> None:
    near, far = pair
    for message in (b"one", b"two", b"three"):
        assert near.send(message)
    assert [far.receive(100), far.receive(2), far.receive(100)] == [b"one", b"tw", b"three"]
    far.send_all(b"answer")
    assert select.select([near], [], [], 0)[0]
    assert near.receive(100) == b"answer"


def test_an_end_that_does_not_wait_says_that_nothing_has_come(pair: Pair) -> None:
    assert pair[0].receive(100) is None


def test_an_end_that_does_not_wait_sends_nothing_if_there_is_no_room(pair: Pair) -> None:
    near, far = pair
    message = b"x" * 4096
    sent = 0
    while near.send(message):
        sent += 1
    assert sent > 1
    assert [far.receive(len(message)) for _ in range(sent)] == [message] * sent
    assert near.send(b"room again")
    assert far.receive(100) == b"room again"


def test_much_is_sent_piece_by_piece(pair: Pair) -> None:
    near, far = pair
    data = os.urandom(1 << 20)
    sending = Background(lambda: far.send_all(data))
    received = bytearray()
    while len(received) < len(data):
        select.select([near], [], [])
        received += near.receive(PIECE) or b""
    sending.result()
    assert received == data


def test_the_end_of_the_other_process_is_the_end_of_the_file_whatever_it_has_not_read(pair: Pair) -> None:
    near, far = pair
    near.send(b"never read")
    far.send(b"last words")
    far.close()
    assert near.receive(100) == b"last words"
    assert [near.receive(100), near.receive(100)] == [b"", b""]
    with pytest.raises(BrokenPipeError):
        near.send(b"to nobody")


def test_a_closed_channel_has_no_descriptor_and_nothing_comes(pair: Pair) -> None:
    near, _ = pair
    near.close()
    near.close()
    assert near.fileno() == -1
    assert near.receive(100) == b""


@pytest.mark.parametrize("message", [b"message", b""])
@pytest.mark.parametrize("count", [1, 20])
def test_a_message_with_descriptors_is_not_received_so_that_their_closing_is_not_waited_for(
    message: bytes, count: int
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with Channel(ours) as near, theirs, unread() as listener:
        with socket.socket() as stream:
            fill(stream, listener)
            socket.send_fds(theirs, [message], [stream.fileno()] * count)
        before = open_descriptors()
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(WorkerError, match=r"^it sends descriptors$"):
                near.receive(100)
        assert time.monotonic() - began < PATIENCE < LINGER
        assert open_descriptors() <= before
        # Here it is the test that takes it, and has to wait for nothing.
        _, descriptors, _, _ = socket.recv_fds(ours, 100, count)
        rescued = [socket.socket(fileno=fd) for fd in descriptors]
        for stream in rescued:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8))
            stream.close()


def test_there_is_no_urgent_data_which_could_not_be_looked_at_first() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, pytest.raises(OSError, match="not supported"):
        theirs.send(b"x", socket.MSG_OOB)


def test_without_descriptors_nothing_is_left_open() -> None:
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 1, hard))  # enough for one end, not for two
    try:
        with pytest.raises(OSError, match="Too many open files"):
            channel_pair()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before
