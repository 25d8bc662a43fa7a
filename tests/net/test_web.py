"""The least HTTP server: what it answers, and that nobody can keep it from others for long."""

import http.client
import itertools
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus

import pytest

from imapproxy.net import web
from imapproxy.net.web import MAX_CONNECTIONS, MAX_REQUEST, Page, sentence, serve_http
from tests.net.peers import PATIENCE, Background, Log, Peer, listening, nothing_left, port_of


@pytest.fixture(autouse=True)
def short_patience(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(web, "TURN", 0.05)
    monkeypatch.setattr(web, "FAREWELL_PATIENCE", 0.05)
    with nothing_left():
        yield


class Site:
    """A server under test, and what its pages were asked for."""

    def __init__(self) -> None:
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.failure: Exception | None = None
        self.page = sentence(HTTPStatus.OK, "Here")

    def answer(self, path: str, accept: str) -> Page:
        self.asked.append((path, accept))
        if self.failure:
            raise self.failure
        return self.page

    def connect(self) -> Peer:
        return Peer(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE))

    def ask(self, request: bytes) -> bytes:
        with self.connect() as client:
            client.say(request)
            return client.hear_rest()


@pytest.fixture
def site() -> Iterator[Site]:
    with served() as site:
        yield site


@contextmanager
def served() -> Iterator[Site]:
    site, ended = Site(), threading.Event()
    with listening() as listener:
        site.port = port_of(listener)
        work = Background(lambda: serve_http(listener, site.answer, lambda: not ended.is_set()))
        try:
            yield site
        finally:
            ended.set()
            work.result()


def test_a_page_is_served_as_http_clients_want_it(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=PATIENCE)
    connection.request("GET", "/a/b?c=d", headers={"Accept": "text/plain;q=0.5, */*"})
    response = connection.getresponse()
    assert (response.status, response.reason, response.read()) == (200, "OK", b"Here\n")
    assert response.getheader("Content-Type") == "text/plain; charset=utf-8"
    assert response.getheader("Connection") == "close"
    assert site.asked == [("/a/b", "text/plain;q=0.5, */*")]
    connection.close()


def test_head_gets_everything_but_the_body(site: Site) -> None:
    answer = site.ask(b"HEAD / HTTP/1.0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nContent-Length: 5\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_octets", "want"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"200 OK"),
        (b"GET / HTTP/1.0\n\n", b"200 OK"),
        (b"GET / HTTP/1.1\r\nAccept : x\r\nX: \xff\r\n\r\n", b"200 OK"),
        (b"POST / HTTP/1.1\r\n\r\nbody", b"405 Method Not Allowed"),
        (b"GET /\r\n\r\n", b"400 Bad Request"),
        (b"GET http://host/ HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET /\xe9 HTTP/1.1\r\n\r\n", b"400 Bad Request"),
        (b"GET / HTTP/2.0\r\n\r\n", b"400 Bad Request"),
        (b"\r\n\r\n", b"400 Bad Request"),
        (b"\x16\x03\x01\r\n\r\n", b"400 Bad Request"),
        (b"GET /" + b"x" * MAX_REQUEST, b"431 Request Header Fields Too Large"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * MAX_REQUEST, b"431 Request Header Fields Too Large"),
    ],
)
def test_requests_good_and_bad(site: Site, request_octets: bytes, want: bytes) -> None:
    answer = site.ask(request_octets)
    assert answer.startswith(b"HTTP/1.1 " + want + b"\r\n")
    assert site.asked == ([("/", "")] if b"200" in want else [])


def test_a_request_octet_by_octet_is_one(site: Site) -> None:
    with site.connect() as client:
        for octet in b"GET / HTTP/1.1\r\nAccept: x/y\r\n\r\n":
            client.say(bytes([octet]))
        assert client.hear_rest().endswith(b"\r\n\r\nHere\n")
    assert site.asked == [("/", "x/y")]


def test_an_octet_of_a_request_is_searched_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    class Counting:
        searched = 0

        def search(self, head: bytes, start: int = 0) -> re.Match[bytes] | None:
            self.searched += len(head) - start
            return end_of_head.search(head, start)

    class Dripping(socket.socket):
        def recv(self, _size: int, _flags: int = 0) -> bytes:
            return bytes(itertools.islice(octets, 1))

    end_of_head, counting = web._END_OF_HEAD, Counting()
    monkeypatch.setattr(web, "_END_OF_HEAD", counting)
    request = b"GET / HTTP/1.1\r\nX: " + b"y" * 1000 + b"\r\n\r\n"
    octets = iter(request + b"behind it")
    with Dripping() as stream:
        assert web._request_head(stream) == request
    assert counting.searched <= 6 * len(request)


# What an expression goes back over for each octet would take minutes here.
@pytest.mark.parametrize("space", [b" ", b"\t "])
def test_white_space_in_a_field_is_gone_through_once(site: Site, space: bytes) -> None:
    field = b"Accept:" + space * (MAX_REQUEST // 4) + b"\0"
    assert b"200 OK" in site.ask(b"GET / HTTP/1.1\r\n" + field + b"\r\n\r\n")
    assert site.asked == [("/", "")]


def test_half_a_request_is_said_to_be_none(site: Site) -> None:
    with site.connect() as client:
        client.say(b"GET / HTTP/1.1\r\n")
        client.end_output()
        assert client.hear_rest().startswith(b"HTTP/1.1 400 Bad Request\r\n")


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\n"])
def test_a_client_that_says_nothing_more_is_let_go(
    site: Site, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(web, "REQUEST_PATIENCE", 0.1)
    with site.connect() as client:
        client.say(beginning)
        assert client.hear_rest() == b""


def test_an_octet_now_and_then_buys_no_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "REQUEST_PATIENCE", 0.3)
    began = time.monotonic()
    with site.connect() as client:
        while not client.is_spoken_to(within=0.05):
            client.say(b"x")
    assert time.monotonic() - began < PATIENCE / 2


def test_a_client_that_does_not_read_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "RESPONSE_PATIENCE", 0.1)
    site.page = Page(HTTPStatus.OK, "text/plain", bytes(32 << 20))
    with site.connect() as client:
        client.say(b"GET / HTTP/1.1\r\n\r\n")
        time_out = time.monotonic() + PATIENCE
        while threading.active_count() > 2 and time.monotonic() < time_out:
            client.is_spoken_to(0.05)
            time.sleep(0.01)
        assert site.ask(b"HEAD / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 OK")


def test_one_connection_too_many_is_told_so_and_others_go_on(site: Site) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(site.connect()) for _ in range(MAX_CONNECTIONS)]
        with site.connect() as one_more:
            assert one_more.hear_rest().startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        for client in clients:
            client.say(b"GET / HTTP/1.1\r\n\r\n")
            assert client.hear_rest().endswith(b"Here\n")
    assert site.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"Here\n")


def test_a_client_that_vanishes_is_no_event(site: Site, log: Log) -> None:
    for beginning in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        client = site.connect()
        client.say(beginning)
        client.reset()
    assert site.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"Here\n")
    assert log.lines == []


def test_what_nobody_foresaw_is_logged_and_ends_one_connection(site: Site, log: Log) -> None:
    site.failure = RuntimeError("nobody foresaw this")
    assert site.ask(b"GET / HTTP/1.1\r\n\r\n") == b""
    assert log.await_line("status-failed").startswith("status-failed\nTraceback")
    site.failure = None
    assert site.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"Here\n")


def test_without_descriptors_it_waits_and_says_so(log: Log) -> None:
    class Exhausted(socket.socket):
        def accept(self) -> tuple[socket.socket, object]:
            raise OSError(24, "Too many open files")

    with Exhausted() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        turns = iter([True, True, False])
        with socket.create_connection(listener.getsockname()):
            serve_http(listener, lambda *_: sentence(HTTPStatus.OK, ""), lambda: next(turns))
    assert log.lines == ['status-accept-failed reason="Too many open files"'] * 2


def test_without_a_thread_a_client_is_let_go(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        client = site.connect()
        patch.setattr(threading.Thread, "start", start)
        with site.connect() as other:
            assert other.hear_rest() == b""
    client.close()
    assert site.ask(b"GET / HTTP/1.1\r\n\r\n").endswith(b"Here\n")
