import errno
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from time import monotonic

import pytest

from imapproxy.net.patient import Insecure, Lost, Overlong, PatientStream, PeerFailure, Silent, Unreachable
from tests.net.peers import PATIENCE, Background, Peer, accepted_by, listening, port_of, until

TIMEOUT = 0.3  # seconds, for what is to fail
INTERVAL = 0.05  # seconds
AMPLE = 2.0  # seconds, for what is not to fail although it may
SMALL = 16 * 1024  # octets that the kernel keeps of a connection


class Waits:
    """Counts the calls of ``waiting``; at the third one it does something."""

    def __init__(self, at_the_third: Callable[[], None] = lambda: None) -> None:
        self.count = 0
        self._at_the_third = at_the_third

    def __call__(self) -> None:
        self.count += 1
        if self.count == 3:
            self._at_the_third()


@contextmanager
def connected(
    waiting: Callable[[], None] | None = None, interval: float = INTERVAL
) -> Iterator[tuple[PatientStream, Peer]]:
    with listening(SMALL) as listener, closing(PatientStream(waiting or Waits(), interval)) as stream:
        stream.connect("127.0.0.1", port_of(listener), PATIENCE)
        with accepted_by(listener) as peer:
            yield stream, peer


def soon() -> float:
    return monotonic() + TIMEOUT


def in_time() -> float:
    return monotonic() + PATIENCE


def test_reads_lines_and_octets_wherever_the_borders_fall() -> None:
    with connected() as (stream, peer):
        peer.say(b"one\r\ntwo\n12345678")
        assert stream.line(5, in_time()) == b"one\r\n"
        assert stream.line(5, in_time()) == b"two\n"
        assert stream.exactly(3, in_time()) == b"123"
        assert stream.exactly(0, in_time()) == b""
        peer.say(b"9\r\n")
        assert stream.exactly(6, in_time()) == b"456789"
        assert stream.line(2, in_time()) == b"\r\n"


def test_reads_more_than_the_kernel_keeps() -> None:
    octets = bytes(range(256)) * 4096
    with connected() as (stream, peer):
        saying = Background(lambda: peer.say(octets + b"\n"))
        assert stream.exactly(len(octets), in_time()) == octets
        assert stream.line(1, in_time()) == b"\n"
        saying.result()


@pytest.mark.parametrize("said", [b"123456\n", b"1234567", b"x" * 40_000])
def test_a_line_has_its_bound(said: bytes) -> None:
    with connected() as (stream, peer):
        peer.say(said)
        with pytest.raises(Overlong):
            stream.line(6, in_time())


def test_a_line_may_be_as_long_as_its_bound() -> None:
    with connected() as (stream, peer):
        peer.say(b"12345\n")
        assert stream.line(6, in_time()) == b"12345\n"


READS: list[Callable[[PatientStream], object]] = [lambda s: s.line(100, soon()), lambda s: s.exactly(100, soon())]


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(("end", "failure"), [(Peer.end_output, Lost), (Peer.reset, Lost), (lambda _: None, Silent)])
def test_what_does_not_come(
    read: Callable[[PatientStream], object], end: Callable[[Peer], None], failure: type[PeerFailure]
) -> None:
    with connected() as (stream, peer):
        peer.say(b"half a")
        end(peer)
        with pytest.raises(failure):
            read(stream)


@pytest.mark.parametrize("read", READS)
def test_nothing_comes_of_what_is_closed(read: Callable[[PatientStream], object]) -> None:
    with connected() as (stream, peer):
        peer.say(b"one\ntwo\n")
        assert stream.line(100, in_time()) == b"one\n"
        stream.close()
        with pytest.raises(Lost):
            read(stream)
        with pytest.raises(Lost):
            stream.send(b"x", TIMEOUT)


def test_what_comes_drop_by_drop_is_bounded_as_a_whole() -> None:
    with connected() as (stream, peer):
        dripping = Background(lambda: drip(peer))
        began = monotonic()
        with pytest.raises(Silent):
            stream.line(1000, soon())
        assert monotonic() - began < PATIENCE
        stream.close()
        dripping.result()


def drip(peer: Peer) -> None:
    """Say an octet now and then, until the other side goes."""
    while not peer.is_spoken_to(INTERVAL):
        peer.say(b"x")


def test_waiting_is_called_while_nothing_comes() -> None:
    waiting = Waits(lambda: peers[0].say(b"at last\n"))
    with connected(waiting) as (stream, peer):
        peers = [peer]
        assert stream.line(100, in_time()) == b"at last\n"
    assert waiting.count >= 3


def test_many_short_waits_are_a_long_one() -> None:
    waiting = Waits()
    with connected(waiting) as (stream, _):
        for _ in range(12):
            with pytest.raises(Silent):
                stream.exactly(1, monotonic() + INTERVAL / 3)
    assert waiting.count >= 2


def test_nobody_is_told_after_hush() -> None:
    waiting = Waits()
    with connected(waiting) as (stream, _):
        stream.hush()
        with pytest.raises(Silent):
            stream.line(100, soon())
    assert waiting.count == 0


@pytest.mark.parametrize("error", [KeyError(), BrokenPipeError(), TimeoutError()])
def test_what_waiting_raises_passes(error: Exception) -> None:
    def waiting() -> None:
        raise error

    with connected(waiting) as (stream, _), pytest.raises(type(error)) as caught:
        stream.line(100, in_time())
    assert caught.value is error


def test_output_that_is_not_taken_is_waited_for_and_bounded() -> None:
    waiting = Waits()
    with connected(waiting) as (stream, _), pytest.raises(Silent):
        stream.send(bytes(1 << 24), AMPLE)
    assert waiting.count >= 3


def test_output_that_is_taken_slowly_is_progress() -> None:
    """The time is for each piece: a little is taken now and then, for longer than that, and then all the rest."""
    sent = bytes(range(256)) * (1 << 16)
    taken = bytearray()

    def take() -> None:
        is_over = monotonic() - began > AMPLE
        taken.extend(peers[0].hear(1 << (20 if is_over else 18)))

    with connected(take, INTERVAL) as (stream, peer):
        peers, began = [peer], monotonic()
        stream.send(sent, AMPLE)
        assert monotonic() - began > AMPLE
        stream.close()
        assert bytes(taken) + peer.hear_rest() == sent


def test_a_server_that_goes_while_it_is_spoken_to() -> None:
    with connected() as (stream, peer):
        peer.say(b"go away\r\n")
        peer.close()
        with pytest.raises(Lost):
            send_without_end(stream)


def send_without_end(stream: PatientStream) -> None:
    while True:
        stream.send(b"x" * 1000, PATIENCE)


def test_a_server_that_cannot_be_reached() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "255.255.255.255", "no such host"):
        with closing(PatientStream(Waits(), INTERVAL)) as stream, pytest.raises(Unreachable):
            stream.connect(host, port, TIMEOUT)


def test_waiting_is_called_while_nobody_accepts_and_the_attempt_ends() -> None:
    waiting = Waits()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        # Connections in the queue: Linux drops the SYN of whoever comes next, as a dead host would.
        waiting_in_line = [socket.socket() for _ in range(4)]
        for client in waiting_in_line:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with closing(PatientStream(waiting, INTERVAL)) as stream, pytest.raises(Unreachable):
            stream.connect("127.0.0.1", port, AMPLE)
        for client in waiting_in_line:
            client.close()
    assert waiting.count >= 3


# The same by TLS


@contextmanager
def secured(
    as_server: ssl.SSLContext, as_client: ssl.SSLContext, waiting: Callable[[], None] | None = None
) -> Iterator[tuple[PatientStream, Peer]]:
    with connected(waiting) as (stream, peer):
        shaking = Background(lambda: as_server.wrap_socket(peer.stream, server_side=True))
        stream.start_tls(as_client, "localhost.", in_time())
        yield stream, Peer(shaking.result())


def test_by_tls_lines_and_octets_are_the_same(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    octets = bytes(range(256)) * 4096
    with secured(as_server, as_client) as (stream, peer), peer:
        saying = Background(lambda: peer.say(b"one\r\n" + octets + b"two\r\n"))
        assert stream.line(5, in_time()) == b"one\r\n"
        assert stream.exactly(len(octets), in_time()) == octets
        assert stream.line(5, in_time()) == b"two\r\n"
        saying.result()


def test_by_tls_each_piece_that_is_taken_is_progress(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    octets, waiting = bytes(range(256)) * (1 << 15), Waits()  # twice what the kernel keeps for us, and more

    def hear_slowly() -> bytes:
        heard = bytearray()
        while len(heard) < len(octets):
            threading.Event().wait(0.003)
            heard += peer.hear(min(16 * 1024, len(octets) - len(heard)))
        return bytes(heard)

    with secured(as_server, as_client, waiting) as (stream, peer), peer:
        hearing = Background(hear_slowly)
        began = monotonic()
        stream.send(octets, AMPLE / 2)
        assert monotonic() - began > AMPLE / 2
        assert hearing.result() == octets
    assert waiting.count >= 3


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (lambda peer: peer.stream.unwrap(), Lost),  # close_notify
        (Peer.end_output, Lost),  # cut off, by whomever
        (Peer.reset, Lost),
        (lambda peer: socket.socket.send(peer.stream, b"no record"), Lost),
        (lambda _: None, Silent),
    ],
)
def test_by_tls_what_does_not_come(
    read: Callable[[PatientStream], object],
    end: Callable[[Peer], object],
    failure: type[PeerFailure],
    as_server: ssl.SSLContext,
    as_client: ssl.SSLContext,
) -> None:
    with secured(as_server, as_client) as (stream, peer), peer:
        peer.say(b"half a li")
        ending = Background(lambda: end(peer))
        with pytest.raises(failure):
            read(stream)
        stream.close()
        with suppress(OSError):
            ending.result()


def test_waiting_is_called_in_a_handshake_and_the_handshake_goes_on(
    as_server: ssl.SSLContext, as_client: ssl.SSLContext
) -> None:
    waiting = Waits()
    with connected(waiting) as (stream, peer):

        def shake_hands_late() -> ssl.SSLSocket:
            for pause in until(lambda: waiting.count >= 3):
                threading.Event().wait(pause)
            return as_server.wrap_socket(peer.stream, server_side=True)

        shaking = Background(shake_hands_late)
        stream.start_tls(as_client, "127.0.0.1", in_time())
        shaking.result().close()


def test_what_waiting_raises_in_a_handshake_passes(as_client: ssl.SSLContext) -> None:
    def waiting() -> None:
        raise KeyError

    with connected(waiting) as (stream, _), pytest.raises(KeyError):
        stream.start_tls(as_client, "localhost", in_time())


def test_a_handshake_has_its_end(as_client: ssl.SSLContext) -> None:
    with connected() as (stream, _), pytest.raises(Silent):
        stream.start_tls(as_client, "localhost", soon())


@pytest.mark.parametrize("end", [Peer.close, Peer.reset])
def test_a_connection_that_is_broken_before_the_handshake(
    end: Callable[[Peer], None], as_client: ssl.SSLContext
) -> None:
    with connected() as (stream, peer):
        end(peer)
        threading.Event().wait(INTERVAL)
        with pytest.raises(Insecure, match=r"^[ -~]+$"):
            stream.start_tls(as_client, "localhost", in_time())


def test_what_is_given_back_is_read_again_and_what_is_left_goes_with_the_connection() -> None:
    with connected() as (stream, peer):
        peer.say(b"one\r\ntwo\r\n")
        assert stream.line(5, in_time()) == b"one\r\n"
        stream.give_back(b"zero\r\none\r\n")
        assert stream.line(6, in_time()) == b"zero\r\n"
        connection, rest = stream.detach()
        assert rest == b"one\r\ntwo\r\n"
        with connection:
            stream.close()
            connection.sendall(b"still there\r\n")
            peer.expect(b"still there\r\n")


class Breaking(socket.socket):
    """A connection whose close fails, as it may where the network is gone; it is closed all the same."""

    failure: OSError

    def close(self) -> None:
        super().close()
        raise self.failure


@pytest.mark.parametrize("failure", [OSError(errno.EIO, "I/O error"), ssl.SSLError(1, "bad write retry")])
def test_a_close_that_fails_is_a_close(failure: OSError) -> None:
    stream, connection = PatientStream(Waits(), INTERVAL), Breaking()
    connection.failure = failure
    stream.adopt(connection)
    stream.close()
    assert connection.fileno() == -1
    with pytest.raises(Lost):
        stream.line(100, in_time())
