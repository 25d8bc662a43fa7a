"""Who the client is, from real HAProxy through the proxy to real Dovecot and Postfix: PROXY, ID, XCLIENT, logs.

A client is at 127.0.0.77 (``FAR_AWAY``), HAProxy at 127.0.0.5, the proxy and the servers at 127.0.0.1.
"""

import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates
from tests.functional.clients import RecordingClient, logged_in
from tests.functional.dovecot import PASSWORD, SecuredDovecot
from tests.functional.haproxy import DEFAULTS, running_haproxy
from tests.functional.postfix import Postfix
from tests.functional.process import PATIENCE, free_ports
from tests.functional.proxy_process import Options, Proxy, running_proxy
from tests.functional.samples import HEADER
from tests.functional.scripted import eventually
from tests.functional.secured import FAR_AWAY, trusting

DRAFT = HEADER + b"Message-Id: <1@example.com>\r\n\r\nHello Joe\r\n"
HAPROXY = "127.0.0.5"
UNAVAILABLE = b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"


@pytest.fixture(scope="module")
def context(certificates: Certificates) -> ssl.SSLContext:
    return trusting(certificates.ca)


@pytest.fixture(scope="module")
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def start(
    stack: ExitStack,
    directory: Path,
    dovecot: SecuredDovecot,
    postfix: Postfix,
    certificates: Certificates,
    way: str,
) -> Proxy:
    """Start a proxy that believes HAProxy and tells Dovecot by that way and Postfix by XCLIENT."""
    tls, _, kind = way.rpartition(" ")
    imap_port = {"id": dovecot.port, "proxy-protocol": dovecot.proxied_port, "off": dovecot.port}[kind]
    if tls:
        imap_port = dovecot.tls_port if kind == "id" else dovecot.proxied_tls_port
    options: Options = {
        "listen": {
            "listen": "127.0.0.1:0",
            "listen-tls": "127.0.0.1:0",
            "tls-cert": str(certificates.both),
            "proxy-protocol-from": f"{HAPROXY}, 127.0.1.0/24",
            "require-tls": "on",
        },
        "imap": {"imap-tls": "on" if tls else "off", "imap-tls-ca": str(certificates.ca), "imap-send-client-ip": kind},
        "smtp": {"smtp-xclient": "on"},
        "submit": {"from-policy": "trust"},
    }
    if not tls:
        options = {**options, "imap": {"imap-send-client-ip": kind}}
    return stack.enter_context(running_proxy(directory, imap_port, postfix.xclient_port, options))


@pytest.fixture(scope="module", params=["id", "proxy-protocol", "tls id", "tls proxy-protocol"])
def each_way(
    request: pytest.FixtureRequest,
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    with ExitStack() as stack:
        directory = tmp_path_factory.mktemp("address")
        yield start(stack, directory, secured_dovecot, postfix, certificates, request.param)


@pytest.fixture(scope="module")
def proxy(
    stack: ExitStack,
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Proxy:
    return start(stack, tmp_path_factory.mktemp("address"), secured_dovecot, postfix, certificates, "id")


def assert_logins(dovecot: SecuredDovecot, user: str, count: int = 1) -> None:
    """See that Dovecot has taken the user for FAR_AWAY, each time; its log comes when it has the time."""

    def logins() -> list[str]:
        return re.findall(rf"Login: user=<{user}>, [^\n]* (rip=[0-9.]+), ", dovecot.log())

    assert eventually(lambda: len(logins()) >= count), dovecot.log()[-5000:]
    assert logins() == [f"rip={FAR_AWAY}"] * count


def last_received(content: bytes) -> str:
    """Return the trace field that came first, which is the proxy's."""
    header = content.partition(b"\r\n\r\n")[0].decode()
    *_, last = re.finditer(r"(?m)^Received: from ([^\r]+)", header)
    return last[1]


def test_address_gets_to_dovecot_and_postfix(
    each_way: Proxy, secured_dovecot: SecuredDovecot, postfix: Postfix, context: ssl.SSLContext
) -> None:
    """By the client's own connection and by the proxy's for what is referred to."""
    user = secured_dovecot.server.new_user()
    with logged_in(each_way.tls_port, user, context, FAR_AWAY) as client:
        uid = client.store_message("INBOX", DRAFT)
        header = DRAFT.partition(b"\r\n\r\n")[0]
        whole = b'%b\r\nContent-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=%d"\r\n\r\n\r\n'
        assert client.submit(whole % (header, uid)) == "OK SUBMIT completed"
    content = postfix.take(1)["joe@example.com"].content
    assert_logins(secured_dovecot, user, count=2)
    assert last_received(content).startswith(f"[{FAR_AWAY}]")
    told = f"client=unknown[{FAR_AWAY}], sasl_method=XCLIENT, sasl_username={user}"
    assert eventually(lambda: told in (postfix.directory / "postfix.log").read_text())
    assert f"client={FAR_AWAY} " in next(line for line in each_way.log().splitlines() if f"login user={user} " in line)


def test_a_client_cannot_say_who_he_is(proxy: Proxy, secured_dovecot: SecuredDovecot, context: ssl.SSLContext) -> None:
    """What he says by ID that only a proxy may say is taken out; the rest gets through, Dovecot's answer too."""
    user = secured_dovecot.server.new_user()
    client = RecordingClient(proxy.tls_port, context, FAR_AWAY)
    forged = '("name" "x" "x-originating-ip" "192.0.2.1" "X-Connected-IP" "192.0.2.2" "x-originating-port" "1")'
    status, data = client._simple_command("ID", forged)
    assert (status, data[0][:2]) == ("OK", b"ID")
    client.login(user, PASSWORD)
    client.logout()
    assert_logins(secured_dovecot, user)


# A server that was not told of the PROXY protocol, or a proxy that was not


@pytest.mark.parametrize("tls", ["off", "starttls", "on"])
def test_dovecot_that_expects_no_header_is_named_with_what_to_look_for(
    tls: str,
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    certificates: Certificates,
    tmp_path: Path,
) -> None:
    trust = {} if tls == "off" else {"imap-tls-ca": str(certificates.ca)}
    options: Options = {"imap": {"imap-tls": tls, "imap-send-client-ip": "proxy-protocol", **trust}}
    port = secured_dovecot.tls_port if tls == "on" else secured_dovecot.port
    with running_proxy(tmp_path, port, postfix.xclient_port, options) as proxy:
        assert heard_at(proxy) == UNAVAILABLE
        assert re.search(
            "upstream-unreachable client=127[^\n]*; does it expect the PROXY header that imap-send-client-ip",
            proxy.log(),
        )


def test_dovecot_that_expects_a_header_is_one_that_cannot_be_reached(
    secured_dovecot: SecuredDovecot, postfix: Postfix, tmp_path: Path
) -> None:
    """It waits three seconds for it, and closes the connection."""
    with running_proxy(tmp_path, secured_dovecot.proxied_port, postfix.xclient_port) as proxy:
        assert heard_at(proxy) == UNAVAILABLE
        assert "the IMAP server ended the connection before its greeting" in proxy.log()


def heard_at(proxy: Proxy) -> bytes:
    with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE) as client:
        heard = b""
        while octets := client.recv(4096):
            heard += octets
    return heard


# HAProxy in front

FRONTENDS = (
    DEFAULTS
    + """\
frontend plain-v1
    bind {address}:{ports[0]}
    default_backend v1
frontend tls-v2
    bind {address}:{ports[1]}
    default_backend v2
frontend tls-ends-here
    bind {address}:{ports[2]} ssl crt {both}
    default_backend v2-ssl
backend v1
    server one 127.0.0.1:{proxy.port} source {address} send-proxy
backend v2
    server one 127.0.0.1:{proxy.tls_port} source {address} send-proxy-v2
backend v2-ssl
    server one 127.0.0.1:{proxy.port} source {address} send-proxy-v2-ssl
"""
)


@pytest.fixture(scope="module")
def haproxy(
    proxy: Proxy, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[int, ...]]:
    """Return the ports for PROXY 1 without TLS, 2 with TLS passed on, and 2 with TLS taken off."""
    ports = tuple(free_ports(3))
    configuration = FRONTENDS.format(address=HAPROXY, ports=ports, proxy=proxy, both=certificates.both)
    with running_haproxy(tmp_path_factory.mktemp("haproxy"), configuration, (HAPROXY, ports[0])):
        yield ports


def connected(port: int, context: ssl.SSLContext | None = None) -> RecordingClient:
    """Return a client of HAProxy, whose certificate is for another address."""
    client = RecordingClient(port, context, FAR_AWAY, HAPROXY, server_name="localhost")
    client.host = "localhost"  # for STARTTLS
    return client


def test_header_of_version_1(
    haproxy: tuple[int, ...], secured_dovecot: SecuredDovecot, context: ssl.SSLContext
) -> None:
    user = secured_dovecot.server.new_user()
    client = connected(haproxy[0])
    assert "LOGINDISABLED" in client.capabilities
    client.starttls(context)
    client.login(user, PASSWORD)
    client.logout()
    assert_logins(secured_dovecot, user)


@pytest.mark.parametrize("frontend", [1, 2], ids=["TLS ends at the proxy", "TLS ends at HAProxy"])
def test_header_of_version_2(
    haproxy: tuple[int, ...],
    proxy: Proxy,
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    context: ssl.SSLContext,
    frontend: int,
) -> None:
    """Where HAProxy has taken TLS off and says so, the session counts as encrypted: require-tls is satisfied."""
    user = secured_dovecot.server.new_user()
    with connected(haproxy[frontend], context) as client:
        assert "LOGINDISABLED" not in client.capabilities
        assert "STARTTLS" not in client.capabilities
        client.login(user, PASSWORD)
        assert client.submit(DRAFT) == "OK SUBMIT completed"
    assert last_received(postfix.take(1)["joe@example.com"].content).startswith(f"[{FAR_AWAY}]")
    assert_logins(secured_dovecot, user)
    assert f"client={FAR_AWAY} " in next(line for line in proxy.log().splitlines() if f"login user={user} " in line)


# From whom the header is taken


def said_to(port: int, source: str, octets: bytes) -> bytes:
    """Return all that a connection from that address hears which says that, and then no more."""
    with socket.create_connection(("127.0.0.1", port), 25, (source, 0)) as stream:
        heard = b""
        with suppress(OSError):
            stream.sendall(octets)
            stream.shutdown(socket.SHUT_WR)
            while octets := stream.recv(4096):
                heard += octets
        return heard


HEADERS = {
    "version 1": b"PROXY TCP4 192.0.2.7 192.0.2.1 1024 143\r\n",
    "version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 192, 0, 2, 1, 4, 0, 0, 143]),
}


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
@pytest.mark.parametrize("source", [HAPROXY, "127.0.1.200"])
def test_header_from_where_it_is_wanted(proxy: Proxy, source: str, header: bytes) -> None:
    heard = said_to(proxy.port, source, header + b"A LOGOUT\r\n")
    assert heard.startswith(b"* OK ")
    assert b"\r\nA OK " in heard


@pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
def test_header_from_anybody_else_is_no_command(proxy: Proxy, secured_dovecot: SecuredDovecot, header: bytes) -> None:
    believed = secured_dovecot.log().count("rip=192.0.2.7")
    heard = said_to(proxy.port, FAR_AWAY, header + b"A LOGOUT\r\n")
    assert heard.startswith(b"* OK ")
    assert b" BAD " in heard
    assert secured_dovecot.log().count("rip=192.0.2.7") == believed


@pytest.mark.parametrize(
    "octets",
    [
        b"A CAPABILITY\r\n",
        b"PROXY TCP4 192.0.2.7\r\nA CAPABILITY\r\n",
        b"PROXY TCP4 " + b"1" * 200 + b"\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c" + bytes(12),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff" + bytes(70_000),
        b"",
    ],
    ids=["none", "half", "too long", "another version", "too long, version 2", "nothing"],
)
def test_no_good_header_from_where_one_is_wanted(proxy: Proxy, octets: bytes) -> None:
    """The connection is closed, and no IMAP server hears of it."""
    since = len(proxy.log())
    assert said_to(proxy.port, HAPROXY, octets) == b""
    if octets:
        assert eventually(lambda: HAPROXY in proxy.log()[since:]), proxy.log()[since:]


CHECK = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"  # version 2, LOCAL: HAProxy on its own behalf


@pytest.mark.parametrize("port", ["plain", "tls"])
def test_check_by_haproxy_is_no_line_in_the_log(proxy: Proxy, port: str) -> None:
    """It connects, says that it is itself, and goes: every two seconds."""
    since = len(proxy.log())
    said_to(proxy.tls_port if port == "tls" else proxy.port, HAPROXY, CHECK)
    said_to(proxy.port, HAPROXY, b"no header\r\n")
    assert eventually(lambda: "proxy-header-refused" in proxy.log()[since:])
    assert proxy.log()[since:].count("\n") == 1, proxy.log()[since:]
