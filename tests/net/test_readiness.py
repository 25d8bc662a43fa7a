import select
import time

import pytest

from imapproxy.net.readiness import ProgramStops, TookTooLong, await_event
from tests.net.peers import PATIENCE, Stop, tcp_pair


def test_what_is_there_is_not_waited_for(stop: Stop) -> None:
    peer, stream = tcp_pair()
    with peer, stream:
        peer.say(b"x")
        await_event(stream, select.POLLIN, time.monotonic() + PATIENCE, stop.fd)
        await_event(stream, select.POLLOUT, time.monotonic() + PATIENCE, stop.fd)


@pytest.mark.parametrize("said", [b"", b"x"])
def test_the_deadline_holds_for_a_peer_that_is_silent_and_for_one_that_is_not(stop: Stop, said: bytes) -> None:
    peer, stream = tcp_pair()
    with peer, stream:
        peer.say(said)
        with pytest.raises(TookTooLong):
            await_event(stream, select.POLLIN, time.monotonic(), stop.fd)


def test_the_end_of_the_program_comes_first(stop: Stop) -> None:
    peer, stream = tcp_pair()
    with peer, stream:
        peer.say(b"x")
        stop.give()
        with pytest.raises(ProgramStops):
            await_event(stream, select.POLLIN, time.monotonic() + PATIENCE, stop.fd)
