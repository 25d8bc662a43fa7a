"""A wire passes octets as they are, and breaks behind the octet that it is to break at."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.faults.wire import Line, Stretch, Trap, Wires

PATIENCE = 25.0  # seconds
LONG = bytes(range(256)) * 8192  # more than the buffers of two sockets hold


@dataclass(frozen=True)
class Ends:
    """A connection by the wire "it"."""

    wires: Wires
    client: socket.socket
    server: socket.socket


@contextmanager
def connected(*traps: Trap) -> Iterator[Ends]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wires = Wires({"it": listener.getsockname()[1]})
        with wires.open():
            for trap in traps:
                wires.arm(trap)
            with (
                socket.create_connection(("127.0.0.1", wires.port("it")), PATIENCE) as client,
                accepted(listener) as server,
            ):
                yield Ends(wires, client, server)


def accepted(listener: socket.socket) -> socket.socket:
    listener.settimeout(PATIENCE)
    server, _ = listener.accept()
    server.settimeout(PATIENCE)
    return server


def read(stream: socket.socket, count: int) -> bytes:
    octets = b""
    while len(octets) < count:
        octets += stream.recv(count - len(octets)) or pytest.fail(f"the end after {octets!r}")
    return octets


def rest(stream: socket.socket) -> bytes:
    octets = b""
    while more := stream.recv(65536):
        octets += more
    return octets


def at(octets: int, act: Callable[[Line], object], *, is_up: bool = True, delay: float = 0.0) -> Trap:
    return Trap("it", is_up, octets, act, delay)


def test_octets_pass_in_both_directions_and_so_do_the_ends() -> None:
    with connected() as ends:
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"
        ends.client.shutdown(socket.SHUT_WR)
        assert rest(ends.server) == b""
        ends.server.sendall(b"bye")
        ends.server.close()
        assert rest(ends.client) == b"bye"


def test_more_than_buffers_hold_passes() -> None:
    """Neither direction waits for the other."""
    with connected() as ends:
        ends.client.setblocking(False)
        sent = 0
        while sent < len(LONG):
            try:
                sent += ends.client.send(LONG[sent:])
            except BlockingIOError:
                break
        ends.client.settimeout(PATIENCE)
        ends.server.sendall(b"still here")
        assert read(ends.client, 10) == b"still here"
        assert read(ends.server, sent) == LONG[:sent]


@pytest.mark.parametrize("octets", [1, 4, 5])
def test_so_many_octets_pass_before_a_fin(octets: int) -> None:
    trap = at(octets, Line.finish)
    with connected(trap) as ends:
        ends.client.sendall(b"hello")
        assert rest(ends.server) == b"hello"[:octets]
        assert rest(ends.client) == b""
        assert trap.met.wait(PATIENCE)


def test_octets_are_counted_over_chunks_and_by_direction() -> None:
    with connected(at(7, Line.finish, is_up=False)) as ends:
        for _ in range(2):
            ends.client.sendall(b"up")
            assert read(ends.server, 2) == b"up"
            ends.server.sendall(b"down")
        assert rest(ends.client) == b"downdow"


def test_a_reset_is_one_at_both_ends() -> None:
    with connected(at(3, Line.reset)) as ends:
        ends.client.sendall(b"hello")
        for end in (ends.client, ends.server):
            with pytest.raises(ConnectionResetError):
                rest(end)


def test_a_reset_of_one_end_is_passed_on() -> None:
    with connected() as ends:
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"
        ends.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        ends.client.close()
        with pytest.raises(ConnectionResetError):
            rest(ends.server)


def test_garbage_comes_in_place_of_the_answer() -> None:
    with connected(at(2, lambda line: line.garble(b"\0\xff"), is_up=False)) as ends:
        ends.server.sendall(b"250 ok")
        assert rest(ends.client) == b"25\0\xff"


def test_a_stalled_line_passes_neither_octets_nor_ends_until_it_resumes() -> None:
    stalled: list[Line] = []

    def stall(line: Line) -> None:
        line.stall()
        stalled.append(line)

    trap = at(2, stall)
    with connected(trap) as ends:
        ends.client.sendall(b"hello")
        ends.client.close()
        assert read(ends.server, 2) == b"he"
        assert trap.met.wait(PATIENCE)
        ends.server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            ends.server.recv(1)
        ends.server.settimeout(PATIENCE)
        ends.wires.later(0.0, stalled[0].resume)
        assert rest(ends.server) == b"llo"


def test_a_stalled_line_ends_when_the_wires_are_mended() -> None:
    trap = at(2, Line.stall)
    with connected(trap) as ends:
        ends.client.sendall(b"hello")
        assert trap.met.wait(PATIENCE)
        ends.wires.mend()
        with pytest.raises(ConnectionResetError):
            rest(ends.client)


def test_a_trap_for_no_octets_acts_when_the_line_is_made() -> None:
    trap = at(0, lambda _: None)
    with connected(trap):
        assert trap.met.wait(PATIENCE)


def test_a_trap_acts_once_and_late_if_it_is_to_be_late() -> None:
    acts: list[str] = []
    trap = at(2, lambda _: acts.append("late"), delay=0.01)
    with connected(trap) as ends:
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"
        assert trap.met.wait(PATIENCE)
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"
        assert acts == ["late"]


def test_what_goes_wrong_in_a_trap_is_raised_where_it_was_armed() -> None:
    def fail(_: Line) -> None:
        raise AssertionError("no such worker")

    trap = at(1, fail)
    with connected(trap) as ends:
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"
        assert trap.met.wait(PATIENCE)
        with pytest.raises(AssertionError, match="no such worker"):
            ends.wires.disarm()
        ends.wires.disarm()


def test_a_disarmed_trap_does_nothing() -> None:
    with connected(at(1, Line.reset)) as ends:
        ends.wires.disarm()
        ends.client.sendall(b"hello")
        assert read(ends.server, 5) == b"hello"


def test_a_cut_wire_breaks_what_there_is_and_takes_nothing_until_it_is_restored() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        wires = Wires({"it": listener.getsockname()[1]})
        with wires.open():
            address = ("127.0.0.1", wires.port("it"))
            with socket.create_connection(address, PATIENCE) as first, accepted(listener) as server:
                server.sendall(b"!")
                assert read(first, 1) == b"!"
                wires.cut("it")
                with pytest.raises(ConnectionResetError):
                    rest(first)
            with pytest.raises(ConnectionResetError), socket.create_connection(address, PATIENCE) as second:
                rest(second)
            wires.restore("it")
            with socket.create_connection(address, PATIENCE) as third, accepted(listener) as server:
                server.sendall(b"!")
                assert read(third, 1) == b"!"


def test_a_program_that_is_not_there_is_one_that_resets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nowhere = listener.getsockname()[1]
    wires = Wires({"it": nowhere})
    with wires.open():
        address = ("127.0.0.1", wires.port("it"))
        with pytest.raises(ConnectionResetError), socket.create_connection(address, PATIENCE) as client:
            rest(client)


def test_what_passes_is_recorded_by_turns() -> None:
    with connected() as ends, ends.wires.recorded() as record:
        for _ in range(2):
            ends.client.sendall(b"one")
            assert read(ends.server, 3) == b"one"
            ends.client.sendall(b"two")
            assert read(ends.server, 3) == b"two"
            ends.server.sendall(b"ok")
            assert read(ends.client, 2) == b"ok"
    assert record == [
        Stretch("it", True, 0, 6),
        Stretch("it", False, 0, 2),
        Stretch("it", True, 6, 6),
        Stretch("it", False, 2, 2),
    ]
