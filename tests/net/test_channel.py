"""Pipes between two processes: bytes in both directions, the end of file, and no descriptors."""

import os
import resource
import select
from collections.abc import Iterator

import pytest

from imapproxy.net.channel import ATOMIC, Channel, channel_pair
from tests.net.peers import Background, open_descriptors

Pair = tuple[Channel, Channel]


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = channel_pair()
    near.set_blocking(is_blocking=False)
    with near, far:
        yield near, far


def test_what_one_end_sends_the_other_receives(pair: Pair) -> None:
    near, far = pair
    assert near.send(b"question")
    assert far.receive(100) == b"question"
    far.send_all(b"answer")
    assert select.select([near], [], [], 0)[0]
    assert (near.receive(3), near.receive(100)) == (b"ans", b"wer")


def test_an_end_that_does_not_wait_says_that_nothing_has_come(pair: Pair) -> None:
    assert pair[0].receive(100) is None


def test_an_end_that_does_not_wait_sends_nothing_if_there_is_no_room(pair: Pair) -> None:
    near, far = pair
    message = b"x" * ATOMIC
    sent = 0
    while near.send(message):
        sent += len(message)
    for _ in range(sent // ATOMIC):
        assert far.receive(ATOMIC) == message
    assert near.send(b"room again")
    assert far.receive(100) == b"room again"


def test_much_is_sent_piece_by_piece(pair: Pair) -> None:
    near, far = pair
    data = os.urandom(1 << 20)
    sending = Background(lambda: far.send_all(data))
    received = bytearray()
    while len(received) < len(data):
        select.select([near], [], [])
        received += near.receive(1 << 16) or b""
    sending.result()
    assert received == data


def test_the_end_of_the_other_process_is_the_end_of_the_file_whatever_it_has_not_read(pair: Pair) -> None:
    near, far = pair
    near.send(b"never read")
    far.send(b"last words")
    far.close()
    assert near.receive(100) == b"last words"
    assert near.receive(100) == b""
    with pytest.raises(BrokenPipeError):
        near.send(b"to nobody")


def test_messages_are_kept_apart_if_that_is_wanted() -> None:
    near, far = channel_pair(keeps_messages=True)
    with near, far:
        for message in (b"one", b"two", b"three"):
            near.send(message)
        assert [far.receive(100), far.receive(2), far.receive(100)] == [b"one", b"tw", b"three"]


def test_a_closed_channel_has_no_descriptor_and_nothing_comes(pair: Pair) -> None:
    near, _ = pair
    near.close()
    near.close()
    assert (near.fileno(), near.writer_fileno()) == (-1, -1)
    assert near.receive(100) == b""


def test_both_ends_are_pipes_which_cannot_carry_descriptors(pair: Pair) -> None:
    for channel in pair:
        for fd in (channel.fileno(), channel.writer_fileno()):
            assert os.readlink(f"/proc/self/fd/{fd}").startswith("pipe:")


def test_without_descriptors_nothing_is_left_open() -> None:
    before = open_descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free + 3, hard))  # enough for one pipe, not for two
    try:
        with pytest.raises(OSError, match="Too many open files"):
            channel_pair()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert open_descriptors() == before
