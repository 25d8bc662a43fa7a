"""The canned upstream, as its own process, with the load that it is made for and with nginx's way of logging in."""

from collections.abc import Iterator

import pytest

from bench import canned
from bench.load import Session, connect, logins, logins_at_once, noops_at_once
from bench.proxies import Upstream, upstream


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.mark.parametrize("response", canned.RESPONSES, ids=["literal", "messages", "lines"])
def test_long_answers_arrive_whole(server: Upstream, response: canned.Response) -> None:
    want = response.build()
    with connect(server.port) as sock, sock.makefile("rb") as stream:
        assert stream.readline() == canned.GREETING
        sock.sendall(response.command)
        assert stream.read(len(want)) == want


@pytest.mark.parametrize("response", canned.RESPONSES, ids=["literal", "messages", "lines"])
def test_a_session_reads_long_answers_one_after_the_other(server: Upstream, response: canned.Response) -> None:
    size = len(response.build())
    with Session(server.port) as session:
        session.fetch(response.command, size)
        session.fetch(response.command, size)
        session.command(canned.NOOP)


def test_an_answer_of_another_size_is_an_error(server: Upstream) -> None:
    with Session(server.port) as session, pytest.raises(ConnectionError):
        session.fetch(canned.NOOP, len(canned.NOOP_REPLY) - 1)


def test_login_with_literals_as_nginx_sends_it(server: Upstream) -> None:
    with connect(server.port) as sock, sock.makefile("rb") as stream:
        stream.readline()
        sock.sendall(b"x1 LOGIN {4}\r\n")
        assert stream.readline() == canned.CONTINUATION
        sock.sendall(b"user {8}\r\n")
        assert stream.readline() == canned.CONTINUATION
        sock.sendall(b"password\r\n")
        assert stream.readline() == canned.LOGIN_REPLY.replace(b"a ", b"x1 ", 1)


def test_loops(server: Upstream) -> None:
    sessions = [Session(server.port) for _ in range(3)]
    assert noops_at_once(sessions, 20) > 0
    for session in sessions:
        session.socket.close()
    assert logins(server.port, 3) > 0
    assert logins_at_once(server.port, 9, 4) > 0


def test_the_authentication_server_names_the_upstream(server: Upstream) -> None:
    with connect(server.auth_port) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"GET / HTTP/1.0\r\nAuth-Method: plain\r\n\r\n")
        reply = stream.read()
    assert b"Auth-Status: OK\r\n" in reply
    assert b"Auth-Port: %d\r\n" % server.port in reply
