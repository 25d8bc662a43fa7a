"""A client's arrival, before a word of IMAP: who it is, whether there is room for it, and TLS from the first octet."""

import select
import socket
import time
from dataclasses import replace

from imapproxy.errors import ProxyError
from imapproxy.logs import LOGGER, record
from imapproxy.message.host import bare_address
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.connection import Connection
from imapproxy.net.ledger import TOO_MANY_OF_ADDRESS
from imapproxy.net.readiness import ProgramStops, TookTooLong, await_event
from imapproxy.net.service import Service
from imapproxy.net.tls import HandshakeFailed, accept_tls
from imapproxy.protocol import response
from imapproxy.protocol.proxy_header import ProxyHeader, ProxyHeaderError, ProxyHeaderReader

# How long a client that there is no room for may take to learn that, where it takes a handshake; in seconds.
FAREWELL_PATIENCE = 5.0


class NoHeader(ProxyError):
    """A proxy's connection began with no PROXY header; the text says with what, and is empty where it just ended."""


def client_of(stream: socket.socket, host: str, is_tls: bool, service: Service, deadline: float) -> ClientAddress:
    """Return who is on ``stream``, which comes from ``host`` and speaks TLS from the first octet or not.

    A connection from one of the service's proxies is read as far as its PROXY header goes, and no further. Raise
    NoHeader where that is missing or has not come by ``deadline``, of ``time.monotonic``, and OSError where the client
    has left.
    """
    port = stream.getpeername()[1]
    server_host, server_port = stream.getsockname()[:2]
    direct = ClientAddress(host, port, server_host, server_port, is_tls)
    if not any(bare_address(host) in network for network in service.proxies):
        return direct
    header = _proxy_header(stream, deadline, service.stop_fd)
    if header.client is None or header.server is None:
        return replace(direct, is_check=True)
    return ClientAddress(*header.client, *header.server, is_tls or header.is_tls)


def _proxy_header(stream: socket.socket, deadline: float, stop_fd: int) -> ProxyHeader:
    stream.setblocking(False)
    reader = ProxyHeaderReader()
    header, is_begun = None, False
    while header is None:
        _await_octets(stream, deadline, stop_fd)
        octets = stream.recv(reader.wanted)
        if not octets:
            raise NoHeader("it ended before its PROXY header was whole" if is_begun else "")
        is_begun = True
        try:
            header = reader.feed(octets)
        except ProxyHeaderError as failure:
            raise NoHeader(str(failure)) from failure
    return header


def _await_octets(stream: socket.socket, deadline: float, stop_fd: int) -> None:
    try:
        await_event(stream, select.POLLIN, deadline, stop_fd)
    except TookTooLong as failure:
        raise NoHeader("its PROXY header took too long") from failure
    except ProgramStops as failure:
        raise NoHeader("the program stops") from failure


def refuse(stream: socket.socket, limit: str, client: ClientAddress, is_tls: bool, service: Service) -> None:
    """Tell a client, as well as it can be told, that ``limit`` (the ledger's word for it) leaves no room for it."""
    LOGGER.warning(record("client-turned-away", client=client.host, reason=limit))
    service.registry.count("turned_away")
    whence = " from your address" if limit == TOO_MANY_OF_ADDRESS else ""
    text = f"Too many clients{whence}; try again later"
    if not is_tls:
        turn_away(stream, text)
        return
    # A handshake is work, and who makes them wait takes a thread: only a few are told, the others just go.
    if service.tls is None or not service.farewell_handshakes.acquire(blocking=False):
        return
    try:
        deadline = time.monotonic() + FAREWELL_PATIENCE
        with accept_tls(stream, service.tls, deadline, service.stop_fd) as secured:
            turn_away(secured, text)
    except HandshakeFailed:  # it has been logged that this client was not wanted
        return
    finally:
        service.farewell_handshakes.release()


def turn_away(stream: socket.socket, text: str) -> None:
    """Greet a client with BYE, without ever waiting for it."""
    connection = Connection(stream)
    connection.send(response.bye(text))
    connection.end()
