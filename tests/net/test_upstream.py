"""A connection to the IMAP server, or one sentence that says why there is none."""

import socket
from contextlib import ExitStack

import pytest

from imapproxy.errors import UpstreamError
from imapproxy.net import upstream
from imapproxy.net.upstream import connect_upstream
from tests.net.peers import accepted_by, listening, port_of


def test_the_server_is_connected_to() -> None:
    with listening() as listener, connect_upstream("127.0.0.1", port_of(listener)) as stream:
        server = accepted_by(listener)
        with server:
            stream.sendall(b"a NOOP\r\n")
            server.expect(b"a NOOP\r\n")


def test_a_server_that_does_not_listen_cannot_be_reached() -> None:
    with listening() as listener:
        port = port_of(listener)
    with pytest.raises(UpstreamError, match=r"^cannot reach the IMAP server: Connection refused$"):
        connect_upstream("127.0.0.1", port)


def test_a_server_whose_address_is_none_cannot_be_reached() -> None:
    with pytest.raises(UpstreamError, match=r"^cannot reach the IMAP server: "):
        connect_upstream("::1%nosuch", 143)


def test_a_server_that_accepts_nobody_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream, "CONNECT_TIMEOUT", 0.3)
    with listening() as listener, ExitStack() as others:
        listener.listen(0)
        for _ in range(3):  # those who wait already, and fill the queue
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        with pytest.raises(UpstreamError, match=r"^cannot reach the IMAP server: timed out$"):
            connect_upstream("127.0.0.1", port_of(listener))
