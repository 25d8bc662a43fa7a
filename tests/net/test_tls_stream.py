"""A TLS socket that behaves as a plain one: what TLS keeps, and what it needs, is told."""

import select
import ssl
from collections.abc import Callable
from typing import cast

import pytest

from imapproxy.net.tls_stream import MIN_STREAMED_RECORD, TlsStream
from tests.net.layers import tls_pair
from tests.net.peers import PATIENCE

LARGE = bytes(range(256)) * 4096  # 1 MiB


class Script:
    """An SSLSocket that does what a script says: each step is octets that come, a count that is taken, or a failure."""

    def __init__(self, *steps: bytes | int | OSError) -> None:
        self.steps = list(steps)

    def recv_into(self, buffer: memoryview) -> int:
        step = self._step()
        assert isinstance(step, bytes)
        buffer[: len(step)] = step
        return len(step)

    def send(self, octets: bytes | memoryview) -> int:
        step = self._step()
        assert isinstance(step, int)
        assert step <= len(octets)
        return step

    def pending(self) -> int:
        return 0

    def _step(self) -> bytes | int:
        step = self.steps.pop(0)
        if isinstance(step, OSError):
            raise step
        return step


def scripted(*steps: bytes | int | OSError) -> TlsStream:
    return TlsStream(cast("ssl.SSLSocket", Script(*steps)))


WANTS_INPUT, WANTS_ROOM = ssl.SSLWantReadError(), ssl.SSLWantWriteError()
RECORD = b"r" * MIN_STREAMED_RECORD
SHORT = b"a NOOP\r\n"


def receive(stream: TlsStream, size: int = 1 << 18) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: stream.recv_into(buffer)])


@pytest.mark.parametrize(
    ("steps", "octets"),
    [
        ([SHORT], SHORT),  # nothing more is looked for
        ([RECORD, WANTS_INPUT], RECORD),
        ([RECORD, RECORD, SHORT, RECORD, WANTS_INPUT], RECORD + RECORD + SHORT + RECORD),
        ([b""], b""),
    ],
)
def test_a_read_takes_what_a_stream_of_records_has(steps: list[bytes | OSError], octets: bytes) -> None:
    stream = scripted(*steps)
    assert receive(stream) == octets
    assert not stream.has_pending


def test_a_read_ends_where_the_buffer_does() -> None:
    with tls_pair() as (peer, connection):
        stream = TlsStream(cast("ssl.SSLSocket", connection.socket))
        peer.say(LARGE[:16_384])
        await_event(connection.fd, select.POLLIN)
        assert receive(stream, 10_000) == LARGE[:10_000]
        assert stream.has_pending
        assert not is_ready(connection.fd, select.POLLIN)
        assert receive(stream, 10_000) == LARGE[10_000:16_384]
        assert not stream.has_pending


def test_nothing_there_is_said_as_a_plain_socket_says_it() -> None:
    with pytest.raises(BlockingIOError):
        receive(scripted(WANTS_INPUT))


def test_an_end_behind_octets_is_told_next() -> None:
    stream = scripted(RECORD, b"")
    assert receive(stream) == RECORD
    assert stream.has_pending
    assert receive(stream) == b""
    assert not stream.has_pending


def test_a_failure_behind_octets_is_told_next() -> None:
    stream = scripted(RECORD, ConnectionResetError())
    assert receive(stream) == RECORD
    assert stream.has_pending
    with pytest.raises(ConnectionResetError):
        receive(stream)
    assert not stream.has_pending


def test_a_write_says_how_much_was_sent() -> None:
    assert scripted(40_000).send(bytes(40_000)) == 40_000


def test_a_write_for_which_there_is_no_room_is_said_as_a_plain_socket_says_it() -> None:
    with pytest.raises(BlockingIOError):
        scripted(WANTS_ROOM).send(b"octets")


def test_a_write_to_a_lost_peer_fails() -> None:
    with pytest.raises(ConnectionResetError):
        scripted(ConnectionResetError()).send(b"octets")


def read(stream: TlsStream) -> object:
    return receive(stream)


def write(stream: TlsStream) -> object:
    return stream.send(b"octets")


@pytest.mark.parametrize(
    ("do", "wants", "events"),
    [
        (read, WANTS_INPUT, (select.POLLIN, select.POLLOUT)),
        (read, WANTS_ROOM, (select.POLLOUT, select.POLLOUT)),
        (write, WANTS_ROOM, (select.POLLIN, select.POLLOUT)),
        (write, WANTS_INPUT, (select.POLLIN, select.POLLIN)),
    ],
)
def test_what_is_to_be_waited_for_is_what_tls_needs(
    do: Callable[[TlsStream], object], wants: OSError, events: tuple[int, int]
) -> None:
    stream = scripted(wants, WANTS_INPUT if do is read else WANTS_ROOM)
    assert (stream.reading_event, stream.writing_event) == (select.POLLIN, select.POLLOUT)
    with pytest.raises(BlockingIOError):
        do(stream)
    assert (stream.reading_event, stream.writing_event) == events
    with pytest.raises(BlockingIOError):
        do(stream)
    assert (stream.reading_event, stream.writing_event) == (select.POLLIN, select.POLLOUT)


def is_ready(fd: int, event: int, within: float = 0) -> bool:
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(within * 1000))


def await_event(fd: int, event: int) -> None:
    assert is_ready(fd, event, PATIENCE)
