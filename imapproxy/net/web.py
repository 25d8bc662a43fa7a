"""The least HTTP server that a status page needs (RFC 9112): GET and HEAD, one request a connection, all bounded.

``http.server`` lets a client take as long as it likes for a request, if only an octet comes now and then. Here a
connection as a whole has a deadline, a request a size, and there are so many connections at once; one more is told
so. What a client asks for is never written anywhere.
"""

import contextlib
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import NamedTuple

from imapproxy.logs import LOGGER, record

MAX_CONNECTIONS = 16
MAX_REQUEST = 8 * 1024  # octets of a request's head
# How long a client may take for its request, and for taking the response, each in seconds.
REQUEST_PATIENCE = 5.0
RESPONSE_PATIENCE = 5.0
# How long what a client still says after its response is dropped (s): closing at once could reset the connection.
FAREWELL_PATIENCE = 0.5
# How often ``is_wanted`` is asked, in seconds; also the pause where a client cannot be accepted.
TURN = 1.0

# request-line = method SP request-target SP HTTP-version (RFC 9112 3); the target in origin-form, its query dropped
_REQUEST_LINE = re.compile(rb"([!-~]{1,32}) (/[!->@-~]*)(?:\?[!-~]*)? HTTP/1\.[0-9]")
# field-line = field-name ":" OWS field-value OWS (RFC 9112 5)
_ACCEPT = re.compile(rb"(?im)^accept:([ -~\t]*+)\r?$")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class Page(NamedTuple):
    """A response."""

    status: HTTPStatus
    content_type: str
    body: bytes


Answer = Callable[[str, str], Page]


def sentence(status: HTTPStatus, text: str) -> Page:
    """Return a page of one sentence."""
    return Page(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def serve_http(listener: socket.socket, answer: Answer, is_wanted: Callable[[], bool]) -> None:
    """Serve until ``is_wanted`` says no; ``answer`` gets a path and an Accept field, in several threads at once."""
    listener.setblocking(False)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    places = threading.BoundedSemaphore(MAX_CONNECTIONS)
    while is_wanted():
        if not poll.poll(TURN * 1000):
            continue
        try:
            stream, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            continue
        except OSError as failure:
            LOGGER.error(record("status-accept-failed", reason=failure.strerror))
            time.sleep(TURN)
            continue
        _give_place(stream, answer, places)


def _give_place(stream: socket.socket, answer: Answer, places: threading.BoundedSemaphore) -> None:
    if not places.acquire(blocking=False):
        with stream, contextlib.suppress(OSError):
            stream.setblocking(False)
            stream.send(_written(sentence(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections"), with_body=True))
        return

    def work() -> None:
        try:
            with stream:
                _serve(stream, answer)
        finally:
            places.release()

    try:
        threading.Thread(target=work, daemon=True).start()
    except RuntimeError:  # no thread to be had
        stream.close()
        places.release()


def _serve(stream: socket.socket, answer: Answer) -> None:
    try:
        head = _request_head(stream)
        response = _response_to(head, answer)
        stream.settimeout(RESPONSE_PATIENCE)
        stream.sendall(response)
        stream.shutdown(socket.SHUT_WR)
        _drop_rest(stream)
    except OSError:  # it left, or was too slow; nobody is there to be told
        return
    except Exception:
        LOGGER.exception(record("status-failed"))


def _request_head(stream: socket.socket) -> bytes:
    """Return a request's head, as far as it came: cut off at the bound, or where the client stopped."""
    deadline = time.monotonic() + REQUEST_PATIENCE
    head = bytearray()
    searched = 0
    while len(head) <= MAX_REQUEST and not _END_OF_HEAD.search(head, searched):
        searched = max(0, len(head) - len(b"\r\n\r"))  # of an end, so much may be here
        stream.settimeout(max(deadline - time.monotonic(), 0.001))
        octets = stream.recv(MAX_REQUEST)
        if not octets:
            break
        head += octets
    return bytes(head)


def _response_to(head: bytes, answer: Answer) -> bytes:
    end = _END_OF_HEAD.search(head)
    if end is None:
        if len(head) > MAX_REQUEST:
            page = sentence(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too large")
        else:
            page = sentence(HTTPStatus.BAD_REQUEST, "The request is not whole")
        return _written(page, with_body=True)
    line, _, fields = head[: end.start()].partition(b"\n")
    request = _REQUEST_LINE.fullmatch(line.removesuffix(b"\r"))
    if request is None:
        return _written(sentence(HTTPStatus.BAD_REQUEST, "This is no request"), with_body=True)
    method, target = request[1], request[2].decode("ascii")
    if method not in {b"GET", b"HEAD"}:
        return _written(sentence(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only"), with_body=True)
    accept = _ACCEPT.search(fields)
    page = answer(target, accept[1].decode("ascii").strip() if accept else "")
    return _written(page, with_body=method == b"GET")


def _written(page: Page, *, with_body: bool) -> bytes:
    fields = {
        "Content-Type": page.content_type,
        "Content-Length": str(len(page.body)),
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Connection": "close",
    }
    if page.status is HTTPStatus.METHOD_NOT_ALLOWED:
        fields["Allow"] = "GET, HEAD"
    lines = [
        f"HTTP/1.1 {page.status.value} {page.status.phrase}",
        *(f"{name}: {text}" for name, text in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + (page.body if with_body else b"")


def _drop_rest(stream: socket.socket) -> None:
    deadline = time.monotonic() + FAREWELL_PATIENCE
    while (left := deadline - time.monotonic()) > 0:
        stream.settimeout(left)
        if not stream.recv(64 * 1024):
            return
