"""Soak's connection: every line that comes must be an answer to something."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.soak.link import Door, Link, Wrong
from tests.functional.fake_imap import Listener


@contextmanager
def answered_with(octets: bytes) -> Iterator[Link]:
    """A link whose server says this, whatever it hears."""
    with Listener() as server, Link(Door(server.port, None)) as link, server.accept() as peer:
        peer.send(octets)
        yield link


def test_an_answer_is_lines_and_literals_in_turn_and_what_follows_the_tag() -> None:
    said = b"* 1 EXISTS\r\n* 1 FETCH (A {4}\r\nt1 x B {2}\r\n\r\n)\r\nt1 OK done\r\n"
    with answered_with(said) as link:
        assert link.command("FETCH") == [
            b"* 1 EXISTS\r\n",
            b"* 1 FETCH (A {4}\r\n",
            b"t1 x",
            b" B {2}\r\n",
            b"\r\n",
            b")\r\n",
            b"OK done",
        ]


@pytest.mark.parametrize("line", [b"t1 OK again\r\n", b"x OK done\r\n", b"*\r\n", b"+ go on\r\n", b")\r\n", b"\r\n"])
def test_what_nobody_has_asked_for_is_wrong(line: bytes) -> None:
    with answered_with(b"t1 OK done\r\n* 1 EXISTS\r\n" + line + b"t2 OK done\r\n") as link:
        assert link.command("SUBMIT", b"x", waits=False) == [b"OK done"]
        with pytest.raises(Wrong, match="nobody has asked for"):
            link.command("NOOP")


@pytest.mark.parametrize("line", [b"t1 OK again\r\n", b"x OK done\r\n"])
def test_nor_may_it_come_before_a_continuation_request(line: bytes) -> None:
    with answered_with(b"t1 OK done\r\n" + line + b"+ go on\r\nt2 OK done\r\n") as link:
        link.command("NOOP")
        with pytest.raises(Wrong, match="nobody has asked for"):
            link.command("SUBMIT", b"x")


def test_a_literal_is_sent_once_the_server_wants_it() -> None:
    with answered_with(b"* 1 EXISTS\r\n+ go on\r\nt1 OK done\r\n") as link:
        assert link.command("SUBMIT", b"x") == [b"OK done"]


def test_a_literal_that_the_server_does_not_want_is_wrong() -> None:
    with answered_with(b"t1 NO\r\n") as link, pytest.raises(Wrong, match="is to go on is answered"):
        link.begin("SUBMIT", b"x")


def test_the_end_is_wrong_where_an_answer_is_awaited() -> None:
    with Listener() as server, Link(Door(server.port, None)) as link:
        server.accept().close()
        with pytest.raises(Wrong, match="the connection ends"):
            link.line()
