"""The relay where a client, or the server, speaks TLS, or DEFLATE, or both: it obeys the same rules as in the clear."""

import select
import ssl
import zlib
from collections.abc import Callable, Iterator
from random import Random
from time import monotonic, process_time

import pytest

from imapproxy.errors import LimitExceeded
from imapproxy.net import connection as connection_module
from imapproxy.net.connection import BUFFER_SIZE
from imapproxy.net.deflate import READ_SIZE
from imapproxy.net.relay import Patience
from imapproxy.net.tls_stream import TlsStream
from tests.net.layers import DeflatedPeer, TlsPeer
from tests.net.peers import PATIENCE, SILENCE, Background, Peer, nothing_left
from tests.net.relaying import (
    BOTH,
    DEFLATE,
    GREETING,
    NOT_SOON,
    PLAIN,
    SMALL_BUFFERS,
    SOON,
    TLS,
    Layers,
    Running,
    logged_in,
    relaying,
    resident,
    standing_by,
)

# What cannot be compressed.
MEGABYTE = Random(1).randbytes(1 << 20)
MANY = 8 * MEGABYTE
GIBIBYTE = 1 << 30
# A buffer's worth, and what DEFLATE (5 octets for each 16 KiB that it cannot compress) adds to it.
MAX_HELD = BUFFER_SIZE + 1024
LOST = b"* BYE The IMAP server closed the connection\r\n"

LAYERED = pytest.mark.parametrize(
    ("client", "server"),
    [(TLS, PLAIN), (DEFLATE, PLAIN), (BOTH, PLAIN), (PLAIN, TLS), (TLS, TLS), (BOTH, TLS)],
    ids=str,
)
LAYERED_CLIENT = pytest.mark.parametrize("client", [TLS, DEFLATE, BOTH], ids=str)
TLS_CLIENT = pytest.mark.parametrize("client", [TLS, BOTH], ids=str)


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def tls_of(peer: Peer) -> TlsPeer:
    below = peer.below if isinstance(peer, DeflatedPeer) else peer
    assert isinstance(below, TlsPeer)
    return below


# Passing on.


@LAYERED
def test_each_command_and_each_answer_arrives_at_once(client: Layers, server: Layers) -> None:
    with logged_in(client_layers=client, server_layers=server) as running:
        for _ in range(20):
            running.converse(b"b APPEND INBOX {3}\r\n", b"+ go\r\n")
            running.converse(b"\0\xff\n\r\n", b"* 1 FETCH (BODY[] {4}\r\n* \r\n)\r\nb OK done\r\n")
            running.server.say(b"* 1 EXISTS\r\n")
            running.client.expect(b"* 1 EXISTS\r\n")


@LAYERED
def test_an_upload_beside_an_unread_download_does_not_deadlock_and_little_is_held(
    client: Layers, server: Layers
) -> None:
    append = b"c APPEND INBOX {%d+}\r\n" % len(MANY)
    response = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MANY)
    with logged_in(buffer_size=SMALL_BUFFERS, client_layers=client, server_layers=server) as running:
        running.client.say(b"b FETCH 1 BODY[]\r\n")
        running.server.expect(b"b FETCH 1 BODY[]\r\n")
        download = Background(lambda: running.server.say(response + MANY + b")\r\nb OK done\r\n"))
        upload = Background(lambda: running.server.hear(len(append) + len(MANY) + 2))
        held = []
        running.client.say(append)
        for _ in range(8):
            running.client.say(MEGABYTE)  # and nothing is read meanwhile
            held.append(running.stage.held())
        running.client.say(b"\r\n")
        assert upload.result() == append + MANY + b"\r\n"
        assert 0 < max(held) <= MAX_HELD
        assert running.client.hear(len(response) + len(MANY)) == response + MANY
        running.client.expect(b")\r\nb OK done\r\n")
        download.result()


@LAYERED
def test_the_server_is_not_read_while_the_client_does_not_read(client: Layers, server: Layers) -> None:
    said = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MANY) + MANY
    with logged_in(buffer_size=SMALL_BUFFERS, client_layers=client, server_layers=server) as running:
        saying = Background(lambda: running.server.say(said))
        waits(running, saying)
        assert running.client.hear(len(said)) == said
        saying.result()


@LAYERED
def test_the_client_is_not_read_while_the_server_does_not_read(client: Layers, server: Layers) -> None:
    said = b"c APPEND INBOX {%d+}\r\n" % len(MANY) + MANY
    with logged_in(buffer_size=SMALL_BUFFERS, client_layers=client, server_layers=server) as running:
        saying = Background(lambda: running.client.say(said))
        waits(running, saying)
        assert running.server.hear(len(said)) == said
        saying.result()


def waits(running: Running, saying: Background[None]) -> None:
    """Somebody gets stuck, for whom little is held, and no more time is spent."""
    deadline = monotonic() + PATIENCE
    while not (is_quiet(saying) and running.stage.held()):
        assert monotonic() < deadline
    assert saying.thread.is_alive()
    assert running.stage.held() <= MAX_HELD


def is_quiet(saying: Background[None]) -> bool:
    before = process_time()
    saying.thread.join(SILENCE)
    return process_time() - before < SILENCE / 2


@TLS_CLIENT
def test_what_is_left_in_tls_when_the_buffer_is_full_is_not_forgotten(
    client: Layers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BUFFER_SIZE", 10_000)
    monkeypatch.setattr(connection_module, "_spare_buffers", [])
    octets = b"c APPEND INBOX {16000+}\r\n" + MEGABYTE[:16_000]
    with logged_in(client_layers=client) as running:
        running.client.say(octets)  # which is one record, but for a little
        running.server.expect(octets)


@pytest.mark.parametrize("server", [PLAIN, TLS], ids=str)
def test_records_may_be_short(server: Layers) -> None:
    octets = b"c APPEND INBOX {10000+}\r\n" + MEGABYTE[:10_000] + b"\r\n"
    with logged_in(client_layers=TLS, server_layers=server) as running:
        running.client.stream.sendall(tls_of(running.client).records(octets, size=1))
        running.server.expect(octets)


# DEFLATE.


@pytest.mark.parametrize(("client", "size"), [(DEFLATE, GIBIBYTE // 4), (BOTH, GIBIBYTE // 8)], ids=str)
def test_a_bomb_expands_no_faster_than_it_is_taken(client: Layers, size: int) -> None:
    append = b"c APPEND INBOX {%d+}\r\n" % size
    zeros = bytes(1 << 20)
    with logged_in(client_layers=client, buffer_size=SMALL_BUFFERS) as running:
        peer = running.client
        assert isinstance(peer, DeflatedPeer)
        bomb = peer.compressed(append) + b"".join(peer.compressed(zeros) for _ in range(size >> 20))
        assert len(bomb) < size // 500
        before = resident()
        saying = Background(lambda: peer.below.say(bomb))
        running.server.expect(append)
        waits(running, saying)
        for _ in range(size >> 20):
            assert running.server.hear(1 << 20) == zeros
        saying.result()
        assert resident() - before < 32 << 20


def test_a_bomb_as_a_command_is_past_the_bound_of_a_command() -> None:
    with standing_by(client_layers=DEFLATE) as running:
        running.begin()
        running.log_in()
        before = resident()
        running.client.say(b"b " + bytes(64 << 20))
        with pytest.raises(LimitExceeded):
            running.end()
        assert resident() - before < 32 << 20


def test_what_is_no_deflate_data_ends_the_session() -> None:
    with standing_by(client_layers=DEFLATE) as running:
        running.begin()
        running.log_in()
        running.client.stream.sendall(b"b NOOP\r\n" * 10)
        with pytest.raises(LimitExceeded, match="DEFLATE"):
            running.end()


def test_a_client_compresses_when_the_proxy_has_said_so() -> None:
    with logged_in() as running:
        plain = running.client
        peer = DeflatedPeer(plain)
        plain.say(b"b COMPRESS DEFLATE\r\n" + peer.compressed(b"c NOOP\r\nd NOOP\r\n"))
        assert plain.hear_line().startswith(b"b OK ")
        running.server.expect(b"c NOOP\r\nd NOOP\r\n")
        running.server.say(b"c OK done\r\nd OK done\r\n")
        peer.expect(b"c OK done\r\nd OK done\r\n")


def test_a_client_that_ends_with_its_compressed_commands_is_answered() -> None:
    with logged_in() as running:
        plain = running.client
        peer = DeflatedPeer(plain)
        plain.say(b"b COMPRESS DEFLATE\r\n" + peer.compressed(b"c LOGOUT\r\n"))
        plain.end_output()
        assert plain.hear_line().startswith(b"b OK ")
        assert running.server.hear_rest() == b"c LOGOUT\r\n"
        running.server.say(b"* BYE\r\nc OK bye\r\n")
        running.server.close()
        assert peer.hear_rest() == b"* BYE\r\nc OK bye\r\n"
        assert running.end() == "server said goodbye"


def test_a_client_that_ends_its_compressed_data_is_waited_for_as_long_as_any_other() -> None:
    with logged_in(Patience(NOT_SOON, SOON), client_layers=DEFLATE) as running:
        peer = running.client
        assert isinstance(peer, DeflatedPeer)
        peer.stream.sendall(peer.compressed(b"b NOOP\r\n") + zlib.compress(b"", wbits=-15))
        assert running.server.hear_rest() == b"b NOOP\r\n"
        assert peer.hear_rest() == b"* BYE Nothing happened for too long\r\n"
        assert running.end() == "idle timeout"


def test_more_than_is_read_at_a_time_may_come_with_the_command() -> None:
    draft = MEGABYTE[: 3 * READ_SIZE]
    with logged_in() as running:
        plain = running.client
        peer = DeflatedPeer(plain)
        append = b"c APPEND INBOX {%d+}\r\n" % len(draft) + draft + b"\r\n"
        plain.say(b"b COMPRESS DEFLATE\r\n" + peer.compressed(append))
        assert plain.hear_line().startswith(b"b OK ")
        running.server.expect(append)


# STARTTLS.


def test_a_client_goes_on_in_tls_when_the_proxy_has_said_so() -> None:
    said = [b"a STARTTLS\r\nb LOGIN mallory injected\r\n", b"c LOGIN fred pencil\r\n", b"d COMPRESS DEFLATE\r\n"]
    with relaying() as running:
        plain = running.client
        running.server.say(GREETING)
        plain.expect(GREETING)
        plain.say(said[0])
        assert plain.hear_line().startswith(b"a OK ")
        running.client = peer = TlsPeer(plain, is_server=False)
        peer.shake_hands()
        running.converse(said[1], b"c OK done\r\n")
        peer.say(said[2])
        assert peer.hear_some(1000).startswith(b"d OK ")
        running.client = DeflatedPeer(peer)
        running.converse(b"e NOOP\r\n", b"e OK done\r\n")
        # What came in the clear counts, and so does what came in TLS.
        assert running.stage.relay.client.received > len(b"".join(said))


# The client's end.


def end_tls(client: Peer) -> None:
    tls_of(client).say_end()


def end_tcp(client: Peer) -> None:
    client.end_output()


@TLS_CLIENT
@pytest.mark.parametrize("end", [end_tls, end_tcp])
@pytest.mark.parametrize("server", [PLAIN, TLS], ids=str)
def test_a_client_may_end_its_side_and_hear_the_rest_of_the_answer(
    client: Layers, server: Layers, end: Callable[[Peer], None]
) -> None:
    answer = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MEGABYTE) + MEGABYTE + b")\r\nb OK done\r\n* BYE\r\nc OK bye\r\n"
    with logged_in(client_layers=client, server_layers=server) as running:
        running.client.say(b"b FETCH 1 BODY[]\r\nc LOGOUT\r\n")
        end(running.client)
        assert running.server.hear_rest() == b"b FETCH 1 BODY[]\r\nc LOGOUT\r\n"
        answering = Background(lambda: running.server.say(answer))
        running.client.expect(answer)
        answering.result()
        running.server.close()
        assert running.end() == "server said goodbye"


@pytest.mark.parametrize("server", [PLAIN, TLS], ids=str)
def test_an_end_of_tls_right_behind_a_large_upload_is_noticed(server: Layers) -> None:
    octets = b"b APPEND INBOX {%d+}\r\n" % (1 << 17) + MEGABYTE[: 1 << 17] + b"\r\n"
    with logged_in(client_layers=TLS, server_layers=server) as running:
        peer = tls_of(running.client)
        peer.say(octets)
        peer.say_end()
        assert running.server.hear_rest() == octets


@TLS_CLIENT
def test_a_client_that_vanishes_in_the_middle_of_a_record_has_sent_what_came_before(client: Layers) -> None:
    with logged_in(client_layers=client) as running:
        peer = running.client
        peer.say(b"b NOOP\r\n")
        running.server.expect(b"b NOOP\r\n")
        below = peer.compressed(MEGABYTE) if isinstance(peer, DeflatedPeer) else MEGABYTE
        peer.stream.sendall(tls_of(peer).records(below[:16000])[:8000])
        peer.stream.close()
        assert running.server.hear_rest() == b""
        running.server.close()
        running.end()


@LAYERED_CLIENT
def test_a_client_that_vanishes_in_a_download_ends_the_session(client: Layers) -> None:
    def download() -> None:
        with pytest.raises(ConnectionError):
            running.server.say(MANY)

    with logged_in(client_layers=client, buffer_size=SMALL_BUFFERS) as running:
        running.server.say(b"* 1 FETCH (BODY[] {%d}\r\n" % len(MANY))
        downloading = Background(download)
        running.client.hear(1000)
        running.client.reset()
        assert running.end() == "client left"
        downloading.result()


def test_a_client_whose_records_are_forged_is_lost() -> None:
    with logged_in(client_layers=TLS) as running:
        records = bytearray(tls_of(running.client).records(b"b NOOP\r\n" * 100))
        records[-1] ^= 1
        running.client.stream.sendall(records)
        assert running.server.hear_rest() == b""
        running.server.close()
        running.end()


@LAYERED_CLIENT
def test_a_submission_of_a_client_that_goes_is_made(client: Layers) -> None:
    with logged_in(client_layers=client) as running:
        running.client.say(b"b NOOP\r\nc SUBMIT {5+}\r\nhello\r\n")
        running.client.close()
        running.server.expect(b"b NOOP\r\n")
        running.server.say(b"b OK done\r\n")
        running.server.hear_rest()
        running.server.close()
        running.end()
    assert running.stage.submitted == [b"hello"]


# The server's end.


@LAYERED
@pytest.mark.parametrize("says_goodbye", [True, False])
def test_a_server_that_goes_is_excused(client: Layers, server: Layers, says_goodbye: bool) -> None:
    with logged_in(client_layers=client, server_layers=server) as running:
        running.server.say(b"* 1 EXISTS\r\n")
        if isinstance(running.server, TlsPeer) and says_goodbye:
            running.server.say_end()
        else:
            running.server.close()
        assert running.client.hear_rest() == b"* 1 EXISTS\r\n" + LOST
        assert running.end() == "server closed the connection"


@LAYERED_CLIENT
def test_a_session_that_waits_costs_no_cpu_time(client: Layers) -> None:
    with logged_in(client_layers=client) as running:
        running.client.stream.sendall(b"" if client == DEFLATE else tls_of(running.client).records(b"x" * 99)[:50])
        before = process_time()
        assert not running.server.is_spoken_to(within=SILENCE)
        assert process_time() - before < SILENCE / 2


# What TLS needs before it goes on: a peer that changes its keys has to be answered.


def is_ready(connection: ssl.SSLSocket, event: int) -> bool:
    poll = select.poll()
    poll.register(connection, event)
    return bool(poll.poll(0))


def test_a_client_that_cannot_be_read_before_it_reads_costs_no_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    read_record = TlsStream._read_record

    def read_if_there_is_room(stream: TlsStream, buffer: bytearray | memoryview) -> int:
        stream.reading_event = select.POLLIN if is_ready(stream._socket, select.POLLOUT) else select.POLLOUT
        if stream.reading_event == select.POLLOUT:
            raise BlockingIOError
        return read_record(stream, buffer)

    said = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MANY) + MANY + b")\r\n"
    with logged_in(client_layers=TLS, buffer_size=SMALL_BUFFERS) as running:
        monkeypatch.setattr(TlsStream, "_read_record", read_if_there_is_room)
        saying = Background(lambda: running.server.say(said))
        waits(running, saying)
        running.client.say(b"b NOOP\r\n")
        waits(running, saying)
        assert not running.server.is_spoken_to(within=0)
        running.client.expect(said)
        running.server.expect(b"b NOOP\r\n")
        running.converse(b"c NOOP\r\n", b"c OK done\r\n")


def test_a_client_that_cannot_be_written_to_before_it_writes_costs_no_cpu_time(monkeypatch: pytest.MonkeyPatch) -> None:
    send = TlsStream.send

    def send_if_something_came(stream: TlsStream, octets: bytes | memoryview) -> int:
        stream.writing_event = select.POLLOUT if is_ready(stream._socket, select.POLLIN) else select.POLLIN
        if stream.writing_event == select.POLLIN:
            raise BlockingIOError
        return send(stream, octets)

    with logged_in(client_layers=TLS) as running:
        monkeypatch.setattr(TlsStream, "send", send_if_something_came)
        running.server.say(b"* 1 EXISTS\r\n")
        before = process_time()
        assert not running.client.is_spoken_to(within=SILENCE)
        assert process_time() - before < SILENCE / 2
        running.client.say(b"b NOOP\r\n")
        running.client.expect(b"* 1 EXISTS\r\n")
        running.server.expect(b"b NOOP\r\n")
