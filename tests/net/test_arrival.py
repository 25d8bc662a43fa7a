"""A client's arrival: the header of a proxy, and how one is told that there is no room."""

import socket
import ssl
import time
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from imapproxy.net import arrival
from imapproxy.net.arrival import NoHeader, client_of, refuse, turn_away
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.relay import Patience
from imapproxy.net.service import Service
from imapproxy.net.tls import server_context
from imapproxy.protocol.proxy_header import proxy_v2
from tests.functional.certificates import Certificates, make_certificates
from tests.net.peers import PATIENCE, Background, Log, Stop, nothing_left, tcp_pair
from tests.net.services import service_for

PROXY = "192.0.2.1"
PROXIES = (ip_network("192.0.2.0/28"), ip_network("2001:db8::/64"))
V1 = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 143\r\n"
V2 = proxy_v2(("203.0.113.9", 40000), ("198.51.100.1", 143))
V2_TLS = proxy_v2(("203.0.113.9", 40000), ("198.51.100.1", 143), is_tls=True)
LOCAL = V2[:12] + b"\x20\x00\x00\x00"


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def arrived(stream: socket.socket, host: str, is_tls: bool, service: Service) -> ClientAddress:
    return client_of(stream, host, is_tls, service, time.monotonic() + service.patience.login)


# Who it is.


def test_without_a_proxy_a_client_is_who_it_is(stop: Stop) -> None:
    client, stream = tcp_pair()
    with client, stream:
        port, server_port = client.stream.getsockname()[1], stream.getsockname()[1]
        for is_tls in (False, True):
            address = arrived(stream, "127.0.0.1", is_tls, service_for(1, 25, stop.fd))
            assert address == ClientAddress("127.0.0.1", port, "127.0.0.1", server_port, is_tls)


@pytest.mark.parametrize("host", ["192.0.2.1", "192.0.2.15", "2001:db8::1", "::ffff:192.0.2.1", "2001:db8::1%lo"])
@pytest.mark.parametrize("header", [V1, V2])
def test_a_proxy_says_who_a_client_is(stop: Stop, host: str, header: bytes) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(header + b"a NOOP\r\n")
        address = arrived(stream, host, False, service_for(1, 25, stop.fd, proxies=PROXIES))
        assert address == ClientAddress("203.0.113.9", 40000, "198.51.100.1", 143, False)
        assert stream.recv(100) == b"a NOOP\r\n"


@pytest.mark.parametrize("host", ["192.0.2.16", "2001:db8:0:1::1", "127.0.0.1"])
def test_others_are_not_believed(stop: Stop, host: str) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(V1)
        address = arrived(stream, host, False, service_for(1, 25, stop.fd, proxies=PROXIES))
        assert address.host == host
        assert stream.recv(100) == V1


@pytest.mark.parametrize(("is_tls", "header"), [(True, V2), (False, V2_TLS), (True, V2_TLS)])
def test_tls_is_ours_or_the_proxys(stop: Stop, is_tls: bool, header: bytes) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(header)
        assert arrived(stream, PROXY, is_tls, service_for(1, 25, stop.fd, proxies=PROXIES)).is_tls


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
def test_a_proxy_may_speak_for_itself(stop: Stop, header: bytes) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(header)
        assert arrived(stream, PROXY, False, service_for(1, 25, stop.fd, proxies=PROXIES)).host == PROXY


@pytest.mark.parametrize("header", [V1, V2_TLS])
def test_a_header_may_come_octet_by_octet(stop: Stop, header: bytes) -> None:
    client, stream = tcp_pair()
    with client, stream:
        service = service_for(1, 25, stop.fd, proxies=PROXIES)
        work = Background(lambda: arrived(stream, PROXY, False, service))
        for octet in header:
            client.say(bytes([octet]))
        assert work.result().host == "203.0.113.9"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"a LOGIN fred sesame\r\n", "no PROXY header"),
        (b"PROXY TCP4 nobody\r\n", "malformed PROXY header"),
        (b"PROXY " + b"x" * 200, "PROXY header too long"),
        (V1[:-5], "it ended before its PROXY header was whole"),
        (b"", ""),
    ],
)
def test_a_proxy_must_say_it(stop: Stop, octets: bytes, reason: str) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(octets)
        client.end_output()
        with pytest.raises(NoHeader) as caught:
            arrived(stream, PROXY, False, service_for(1, 25, stop.fd, proxies=PROXIES))
        assert str(caught.value) == reason


@pytest.mark.parametrize("octets", [b"", V1[:-5]])
def test_a_slow_proxy_is_waited_for_as_long_as_a_login(stop: Stop, octets: bytes) -> None:
    client, stream = tcp_pair()
    with client, stream:
        client.say(octets)
        service = service_for(1, 25, stop.fd, proxies=PROXIES, patience=Patience(0.1, PATIENCE))
        with pytest.raises(NoHeader, match=r"^its PROXY header took too long$"):
            arrived(stream, PROXY, False, service)


def test_a_stop_ends_the_waiting_for_a_header(stop: Stop) -> None:
    client, stream = tcp_pair()
    stop.give()
    with client, stream, pytest.raises(NoHeader, match=r"^the program stops$"):
        arrived(stream, PROXY, False, service_for(1, 25, stop.fd, proxies=PROXIES))


def test_a_client_that_has_left_is_an_oserror(stop: Stop) -> None:
    client, stream = tcp_pair()
    client.reset()
    with stream, pytest.raises(OSError, match="not connected"):
        arrived(stream, PROXY, False, service_for(1, 25, stop.fd, proxies=PROXIES))


# No room.

CLIENT = ClientAddress("203.0.113.9", 40000, "127.0.0.1", 143, False)
BYE = b"* BYE Too many clients; try again later\r\n"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(Path(tmp_path_factory.mktemp("certificates")))


@pytest.fixture(scope="module")
def server_tls(certificates: Certificates) -> ssl.SSLContext:
    return server_context(str(certificates.cert), str(certificates.key))


@pytest.mark.parametrize(
    ("limit", "text"),
    [("max-clients", BYE), ("max-clients-per-ip", BYE.replace(b"clients", b"clients from your address"))],
)
def test_one_too_many_is_told_and_logged(log: Log, stop: Stop, limit: str, text: bytes) -> None:
    client, stream = tcp_pair()
    service = service_for(1, 25, stop.fd)
    with client:
        with stream:
            refuse(stream, limit, CLIENT, False, service)
        assert client.hear_rest() == text
    assert log.lines == [f"client-turned-away client=203.0.113.9 reason={limit}"]
    assert service.registry.report()["totals"]["turned_away"] == 1


def test_one_too_many_is_told_in_tls(
    log: Log, stop: Stop, certificates: Certificates, server_tls: ssl.SSLContext
) -> None:
    client, stream = tcp_pair()
    service = service_for(1, 25, stop.fd, tls=server_tls)
    work = Background(lambda: refuse(stream, "max-clients", CLIENT, True, service))
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with context.wrap_socket(client.stream, server_hostname="localhost") as secured:
        assert secured.recv(100) == BYE
        work.result()
    assert len(log.lines) == 1


def test_one_too_many_who_takes_too_long_for_tls_just_goes(
    log: Log, stop: Stop, server_tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrival, "FAREWELL_PATIENCE", 0.1)
    client, stream = tcp_pair()
    service = service_for(1, 25, stop.fd, tls=server_tls)
    with client, stream:
        refuse(stream, "max-clients", CLIENT, True, service)
        assert client.hear_rest() == b""
    assert len(log.lines) == 1
    assert service.registry.report()["totals"]["handshakes_failed"] == 0


def test_many_too_many_in_tls_take_no_time(log: Log, stop: Stop, server_tls: ssl.SSLContext) -> None:
    client, stream = tcp_pair()
    service = service_for(1, 25, stop.fd, tls=server_tls)
    while service.farewell_handshakes.acquire(blocking=False):
        pass
    began = time.monotonic()
    with client, stream:
        refuse(stream, "max-clients", CLIENT, True, service)
    assert time.monotonic() - began < arrival.FAREWELL_PATIENCE / 2
    assert len(log.lines) == 1


def test_who_is_turned_away_is_told_and_never_waited_for() -> None:
    client, stream = tcp_pair()
    with client, stream:
        turn_away(stream, "Too many clients, or\r\nworse")
        assert client.hear_rest() == b"* BYE Too many clients, or  worse\r\n"


def test_who_has_gone_already_is_turned_away_too() -> None:
    client, stream = tcp_pair()
    with stream:
        client.reset()
        turn_away(stream, "Too many clients")
