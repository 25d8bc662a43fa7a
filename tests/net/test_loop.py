"""The parent's loop: callbacks for what can be read or written, and for what is due."""

import socket

import pytest

from imapproxy.net.loop import Loop


class Called:
    """What was called back, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def when(self, name: str) -> "Called.Callback":
        return Called.Callback(self, name)

    class Callback:
        def __init__(self, called: "Called", name: str) -> None:
            self._called, self._name = called, name

        def __call__(self) -> None:
            self._called.names.append(self._name)


@pytest.fixture
def called() -> Called:
    return Called()


def test_who_can_be_read_or_written_is_called_back(called: Called) -> None:
    loop = Loop()
    near, far = socket.socketpair()
    with near, far:
        loop.when_readable(near.fileno(), called.when("read"))
        loop.when_writable(far.fileno(), called.when("written"))
        loop.turn()
        assert called.names == ["written"]
        loop.forget(far)
        loop.turn()
        assert called.names == ["written", "read"]  # the end of the stream
        assert far.fileno() < 0


def test_what_is_due_is_done_in_order_and_once(called: Called) -> None:
    loop = Loop()
    for name, seconds in (("later", 0.02), ("soon", 0.01), ("now", 0.0), ("now too", 0.0)):
        loop.later(seconds, called.when(name))
    while len(called.names) < 4:
        loop.turn()
    assert called.names == ["now", "now too", "soon", "later"]


def test_who_was_forgotten_in_the_same_turn_is_not_called_back(called: Called) -> None:
    loop = Loop()
    one, two = socket.socketpair()
    with one, two:

        def forget_both() -> None:
            called.when("first")()
            loop.forget(one)
            loop.forget(two)

        loop.when_writable(one.fileno(), forget_both)
        loop.when_writable(two.fileno(), forget_both)
        loop.turn()
    assert called.names == ["first"]
    loop.forget(one)  # once more is no harm
