"""The IMAP server: how a connection to it begins, the session's own and those beside it.

First the PROXY header (proxy-protocol.txt, version 2), TLS or STARTTLS (RFC 9051 6.2.1), then the proxy's own ID with
the client's address (RFC 2971; Dovecot's forwarding parameters). What fails here is the end of the connection: never
is a step left out, so that a password cannot go out in plaintext where TLS was asked for.
"""

import math
import re
import socket
import ssl
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NamedTuple

from imapproxy.errors import UpstreamUnavailable
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.patient import Insecure, Lost, PatientStream, PeerFailure, Silent, Unreachable, Unverified
from imapproxy.protocol.condition import Condition, capabilities, condition, greeting
from imapproxy.protocol.proxy_header import proxy_v2

# A server on the same host or network that takes longer to accept a connection is down or drowning, in seconds.
CONNECT_TIMEOUT = 10.0
# Seconds for the same if the client's time to log in has nearly passed, by a slow handshake.
SHORTEST_TIMEOUT = 0.1
OPENING_TIMEOUT = 20.0  # seconds until all is said that comes before the client: a greeting may wait for a DNS
ANSWER_PATIENCE = 120.0  # seconds for a whole answer, and for each piece of output that the server does not take
MAX_SAID = 64 * 1024  # octets that a server may say before the client's first word

TAG = b"imapproxy"

# literal = "{" number64 ["+"] "}" CRLF *CHAR8
_LITERAL = re.compile(rb"\{(?P<size>[0-9]{1,5})\+?\}\r\n\Z")


@dataclass(frozen=True, slots=True)
class UpstreamServer:
    """The IMAP server: where it is, and how a connection to it begins.

    ``context`` is what TLS needs, None where ``tls`` is off; ``send_client_ip``: how it is told who the client is.
    ``timeout``: how long it may take, in seconds, to answer on a side connection.
    """

    host: str
    port: int
    tls: Literal["off", "starttls", "on"] = "off"
    context: ssl.SSLContext | None = None
    send_client_ip: Literal["off", "proxy-protocol", "id"] = "off"
    timeout: float = ANSWER_PATIENCE


class Garbled(PeerFailure):
    """The server does not speak IMAP."""


class TurnedAway(PeerFailure):
    """The server said BYE; the text is its words."""


class _Refused(Exception):
    """The server answered NO or BAD; the text is its words."""


class Said(NamedTuple):
    """What the server has said before the client's first word: what is for the client, and the answer to our ID.

    The answer is whole ``* ID`` responses, b"" if there is none.
    """

    for_client: bytes = b""
    answer_to_id: bytes = b""


def connect_upstream(
    server: UpstreamServer, client: ClientAddress, deadline: float = math.inf
) -> tuple[socket.socket, Said]:
    """Return a socket connected to the IMAP server, and what the server has said on it.

    UpstreamUnavailable says why there is none. What it has said is for the client, and comes before what is read from
    the socket. The connection, and what may have to be said first, is made by ``deadline``, a time of ``monotonic``.
    """
    # For each of the server's addresses. Not zero: that would not wait at all.
    timeout = min(CONNECT_TIMEOUT, max(deadline - monotonic(), SHORTEST_TIMEOUT))
    try:
        connection = socket.create_connection((server.host, server.port), timeout)
    except OSError as failure:
        raise UpstreamUnavailable(f"cannot reach the IMAP server: {failure.strerror or failure}") from failure
    if server.tls == server.send_client_ip == "off":  # most are, and a login is to cost no more than it must
        return connection, Said()
    return _begun(connection, server, client, min(deadline, monotonic() + OPENING_TIMEOUT))


def _begun(
    connection: socket.socket, server: UpstreamServer, client: ClientAddress, deadline: float
) -> tuple[socket.socket, Said]:
    """Return the connection with all said that is to be said, and what the server has said."""
    # Else each of two small messages in a row waits for the acknowledgement of the one before.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    stream = PatientStream(lambda: None, math.inf)
    stream.adopt(connection)
    try:
        said, answer_to_id = begin(stream, server, client, deadline)
        if server.tls == "starttls":
            said = _with_capabilities(_Dialogue(stream, deadline), said)
        elif server.tls == "off" and server.send_client_ip == "proxy-protocol":
            said = _said_behind_header(_Dialogue(stream, deadline))
        connection, unread = stream.detach()
    except PeerFailure as failure:
        raise UpstreamUnavailable(account_of(failure) + _advice(server, failure)) from failure
    finally:
        stream.close()
    return connection, Said(said + unread, answer_to_id)


def begin(stream: PatientStream, server: UpstreamServer, client: ClientAddress, deadline: float) -> Said:
    """Say on a fresh connection what comes before all else; return what the server has said and anybody may read.

    What is for the client is nothing, or begins with a greeting: after STARTTLS one that claims nothing, as all that
    was said before is not to be relied on. PeerFailure where it goes wrong.
    """
    if server.send_client_ip == "proxy-protocol":
        stream.send(proxy_v2(client.client, client.server, client.is_tls), deadline - monotonic())
    if server.tls == "on":
        _start_tls(stream, server, deadline)
    said = _greeting_by_starttls(stream, server, deadline) if server.tls == "starttls" else b""
    if server.send_client_ip != "id":
        return Said(said)
    dialogue = _Dialogue(stream, deadline)
    said = said or dialogue.greeting()[1]
    others, answer_to_id = _identify(dialogue, client)
    return Said(said + others, answer_to_id)


def _start_tls(stream: PatientStream, server: UpstreamServer, deadline: float) -> None:
    assert server.context is not None
    stream.start_tls(server.context, server.host, deadline)


def _greeting_by_starttls(stream: PatientStream, server: UpstreamServer, deadline: float) -> bytes:
    """Speak TLS, which the server is asked for; return its greeting, of which the words are left."""
    dialogue = _Dialogue(stream, deadline)
    met, _ = dialogue.greeting()
    if met.state == b"PREAUTH":
        # Whoever is on the way may have said it, so that the client never speaks TLS (RFC 9051 section 11.1).
        raise Insecure("the server says PREAUTH instead of waiting for STARTTLS")
    try:
        dialogue.ask(b"STARTTLS")
    except _Refused as refusal:
        raise Insecure(f"the server does not do STARTTLS: {refusal}") from refusal
    _start_tls(stream, server, deadline)
    return greeting(None, met.text.words)


def _identify(dialogue: "_Dialogue", client: ClientAddress) -> Said:
    """Tell the server who the client is; return its answer, and what it has said besides.

    A server that knows no ID, or does not believe us, learns nothing, and the client can log in all the same.
    """
    fields = zip(
        ("x-originating-ip", "x-originating-port", "x-connected-ip", "x-connected-port"),
        (*client.client, *client.server),
        strict=True,
    )
    told = " ".join(f'"{name}" "{value}"' for name, value in fields)
    try:
        said = dialogue.ask(b"ID (%b)" % told.encode("ascii"))
    except _Refused:
        return Said()
    others: list[bytes] = []
    answers: list[bytes] = []
    for response in said:
        (answers if response.upper().startswith(b"* ID ") else others).append(response)
    return Said(b"".join(others), b"".join(answers))


def _said_behind_header(dialogue: "_Dialogue") -> bytes:
    """Return the greeting and what follows it, once an answer shows that the server took the PROXY header for one.

    A server that expects none takes it for commands. It refuses those, or it waits for the end of the last one and
    would take the client's first command for that: Dovecot, Courier and Cyrus each refuse some before any answer.
    """
    greeting = dialogue.greeting()[1]
    try:
        return greeting + b"".join(dialogue.ask(b"NOOP"))
    except _Refused:  # it knows our command from the header
        return greeting


def _advice(server: UpstreamServer, failure: PeerFailure) -> str:
    """Return what the administrator can look for, if the server may have failed because it expects no PROXY header."""
    if server.send_client_ip != "proxy-protocol" or isinstance(failure, TurnedAway | Unverified):
        return ""
    return "; does it expect the PROXY header that imap-send-client-ip = proxy-protocol sends?"


def _with_capabilities(dialogue: "_Dialogue", said: bytes) -> bytes:
    """Return what the server has said with its capabilities in the greeting, where clients look for them."""
    try:
        answer = dialogue.ask(b"CAPABILITY")
    except _Refused as refusal:
        raise Garbled from refusal
    line, end, rest = said.partition(b"\r\n")
    met = condition(line + end)
    assert met is not None
    listed = next(filter(None, map(capabilities, answer)), None)
    return greeting(listed, met.text.words) + rest


class _Dialogue:
    """What is said before the client's first word; all of it bounded, in octets and in time."""

    def __init__(self, stream: PatientStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline
        self._left = MAX_SAID

    def greeting(self) -> tuple[Condition, bytes]:
        """Return the server's greeting, read and as it came; a BYE is a TurnedAway."""
        line = self._response()
        met = condition(line)
        if met is None or met.tag != b"*" or met.state not in {b"OK", b"PREAUTH", b"BYE"}:
            raise Garbled
        if met.state == b"BYE":
            raise TurnedAway(met.text.words)
        return met, line

    def ask(self, command: bytes) -> list[bytes]:
        """Have a command answered with OK, and return the untagged responses that come before.

        An untagged BAD is none of those: the server refuses what it cannot have heard from an IMAP client.
        """
        self._stream.send(b"%b %b\r\n" % (TAG, command), self._deadline - monotonic())
        responses = []
        while (said := condition(response := self._response())) is None or said.tag != TAG:
            if said is not None and said.state == b"BYE":
                raise TurnedAway(said.text.words)
            if not response.startswith(b"* ") or (said is not None and said.state == b"BAD"):
                raise Garbled
            responses.append(response)
        if said.state != b"OK":
            raise _Refused(said.text.words)
        return responses

    def _response(self) -> bytes:
        """Return the next response, its literals included; the text of a status response never announces one."""
        line = self._line()
        pieces = [line]
        is_status = condition(line) is not None
        while not is_status and (literal := _LITERAL.search(line)):
            content, line = self._octets(int(literal["size"])), self._line()
            pieces += content, line
        return b"".join(pieces)

    def _line(self) -> bytes:
        line = self._stream.line(self._left, self._deadline)
        self._left -= len(line)
        return line

    def _octets(self, count: int) -> bytes:
        self._left -= count
        if self._left < 0:
            raise Garbled
        return self._stream.exactly(count, self._deadline)


def account_of(failure: PeerFailure) -> str:
    """Return what a failure of the IMAP server's, or of the way to it, is told as: one printable phrase."""
    match failure:
        case Unreachable():
            return "the IMAP server cannot be reached"
        case Insecure():
            return f"no secure connection to the IMAP server: {failure}"
        case TurnedAway():
            return f"the IMAP server has ended the connection: {failure}"
        case Silent():
            return "the IMAP server does not respond"
        case Lost():
            return "the connection to the IMAP server is lost"
    return "the IMAP server sent what cannot be understood"
