"""How a connection to the IMAP server begins, or one sentence that says why there is none."""

import math
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, closing
from time import monotonic
from typing import Literal

import pytest

from imapproxy.errors import UpstreamUnavailable
from imapproxy.net import upstream
from imapproxy.net.client_address import ClientAddress
from imapproxy.net.imap import BoundedIMAP, SideConnectionError
from imapproxy.net.patient import Insecure, PatientStream
from imapproxy.net.tls import client_context, server_context
from imapproxy.net.upstream import MAX_SAID, Said, UpstreamServer, connect_upstream
from imapproxy.protocol.condition import Condition, condition
from imapproxy.protocol.proxy_header import ProxyHeader, ProxyHeaderReader, proxy_v2
from tests.functional.certificates import Certificates
from tests.net.peers import PATIENCE, Background, accepted_by, listening, nothing_left, port_of
from tests.net.played import CLIENT, played

Tls = Literal["off", "starttls", "on"]
SHORT = 0.4  # seconds, for what is to fail

IDENTIFIED = (
    'imapproxy ID ("x-originating-ip" "192.0.2.7" "x-originating-port" "40000" '
    '"x-connected-ip" "198.51.100.1" "x-connected-port" "143")'
)
HEADER = proxy_v2(CLIENT.client, CLIENT.server)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield


def failure(server: UpstreamServer, deadline: float = PATIENCE) -> str:
    with pytest.raises(UpstreamUnavailable) as caught:
        connect_upstream(server, CLIENT, monotonic() + deadline)
    return str(caught.value)


def said(server: UpstreamServer) -> bytes:
    """Return what the client is to see first, and say NOOP to the server."""
    return all_said(server).for_client


def all_said(server: UpstreamServer) -> Said:
    """Return what the server has said first, and say NOOP to it."""
    connection, found = connect_upstream(server, CLIENT)
    with connection:
        connection.sendall(b"a NOOP\r\n")
        return found


# Without anything that comes first


def test_the_server_is_connected_to_and_not_waited_for() -> None:
    with listening() as listener:
        stream, found = connect_upstream(UpstreamServer("127.0.0.1", port_of(listener)), CLIENT)
        with stream, accepted_by(listener) as server:
            assert found == Said()
            stream.sendall(b"a NOOP\r\n")
            server.expect(b"a NOOP\r\n")


def test_a_server_that_does_not_listen_cannot_be_reached() -> None:
    with listening() as listener:
        port = port_of(listener)
    assert failure(UpstreamServer("127.0.0.1", port)) == "cannot reach the IMAP server: Connection refused"


def test_a_server_whose_address_is_none_cannot_be_reached() -> None:
    assert failure(UpstreamServer("::1%nosuch", 143)).startswith("cannot reach the IMAP server: ")


@pytest.mark.parametrize(("connect_timeout", "deadline"), [(SHORT, math.inf), (math.inf, SHORT), (math.inf, -1)])
def test_a_server_that_accepts_nobody_is_not_waited_for_long_nor_past_the_login(
    connect_timeout: float, deadline: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstream, "CONNECT_TIMEOUT", connect_timeout)
    with listening() as listener, ExitStack() as others:
        listener.listen(0)
        for _ in range(3):  # those who wait already, and fill the queue
            other = others.enter_context(socket.socket())
            other.setblocking(False)
            other.connect_ex(listener.getsockname())
        with pytest.raises(UpstreamUnavailable, match=r"^cannot reach the IMAP server: timed out$"):
            connect_upstream(UpstreamServer("127.0.0.1", port_of(listener)), CLIENT, monotonic() + deadline)


# The PROXY header


PROXIED = "S: * OK [CAPABILITY IMAP4rev1] hello\nC: imapproxy NOOP\n"


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("S: imapproxy OK done", b""),
        ("S: * NO the disk is almost full\nS: imapproxy OK done", b"* NO the disk is almost full\r\n"),
        ("S: imapproxy NO not now", b""),
        ("S: imapproxy BAD what is that?", b""),
    ],
)
def test_the_proxy_header_goes_first_and_must_be_taken_for_one(answer: str, shown: bytes) -> None:
    with played(f"{PROXIED}{answer}\nC: a NOOP", prelude=HEADER) as port:
        octets = said(UpstreamServer("127.0.0.1", port, send_client_ip="proxy-protocol"))
    assert octets == b"* OK [CAPABILITY IMAP4rev1] hello\r\n" + shown


@pytest.mark.parametrize("is_tls", [False, True])
def test_the_proxy_header_says_whether_the_client_speaks_tls(is_tls: bool) -> None:
    client = ClientAddress("2001:db8::7", 40_000, "::1", 993, is_tls)
    with listening() as listener:
        server = UpstreamServer("127.0.0.1", port_of(listener), send_client_ip="proxy-protocol")
        connecting = Background(lambda: connect_upstream(server, client))
        with accepted_by(listener) as peer:
            reader, header = ProxyHeaderReader(), None
            while header is None:
                header = reader.feed(peer.hear(reader.wanted))
            peer.say(b"* OK hello\r\n")
            peer.expect(b"imapproxy NOOP\r\n")
            peer.say(b"imapproxy OK done\r\n")
            connecting.result()[0].close()
    assert header == ProxyHeader(("2001:db8::7", 40_000), ("::1", 993), is_tls)


# What servers of Debian 12 say to a header of 28 octets that they do not expect; Cyrus then takes NOOP for its rest.
BEWILDERED = {
    "Dovecot": "* BAD Error in IMAP command received by server.\n* BYE Too many invalid IMAP commands.\nCLOSE",
    "Cyrus": "* BAD Invalid tag\n* BAD Invalid tag\nSILENCE",
    "Courier": "* NO Error in IMAP command received by server.\nQUIT NO Error in IMAP command\nSILENCE",
    "a silent one": "SILENCE",
    "one that leaves": "CLOSE",
}
ADVICE = "; does it expect the PROXY header that imap-send-client-ip = proxy-protocol sends?"


@pytest.mark.parametrize("tls", ["off", "starttls"])
@pytest.mark.parametrize("server", BEWILDERED)
def test_a_server_that_expects_no_proxy_header_is_recognised(server: str, tls: Tls, as_client: ssl.SSLContext) -> None:
    script = "\n".join(
        line if line.isupper() else f"S: {line}" for line in ["* OK hello", *BEWILDERED[server].split("\n")]
    )
    with played(script, prelude=HEADER) as port:
        patience = SHORT if server == "a silent one" else PATIENCE
        told = failure(UpstreamServer("localhost", port, tls, as_client, "proxy-protocol"), patience)
    assert told in {f"{reason}{ADVICE}" for reason in (NO_IMAP, LOST, NO_RESPONSE)}
    assert server != "a silent one" or told == NO_RESPONSE + ADVICE


def test_a_server_that_expects_tls_and_no_proxy_header_is_recognised(as_client: ssl.SSLContext) -> None:
    with played("HELLO\nCLOSE", prelude=HEADER) as port:
        told = failure(UpstreamServer("localhost", port, "on", as_client, "proxy-protocol"))
    assert told == f"{NO_TLS}the peer closed the connection{ADVICE}"


def test_a_bad_certificate_is_no_sign_of_a_header_that_is_not_expected(
    certificates: Certificates, as_client: ssl.SSLContext
) -> None:
    context = server_context(str(certificates.expired.cert), str(certificates.expired.key))
    with played("NO TLS", context, HEADER) as port:
        told = failure(UpstreamServer("localhost", port, "on", as_client, "proxy-protocol"))
    assert told == "no secure connection to the IMAP server: certificate verify failed: certificate has expired"


def test_a_server_that_turns_us_away_has_its_words_and_no_advice() -> None:
    with played("S: * BYE too busy\nCLOSE", prelude=HEADER) as port:
        told = failure(UpstreamServer("127.0.0.1", port, send_client_ip="proxy-protocol"))
    assert told == "the IMAP server has ended the connection: too busy"


# TLS


def test_tls_begins_at_once_and_the_greeting_is_left_to_the_client(
    as_server: ssl.SSLContext, as_client: ssl.SSLContext
) -> None:
    with played("TLS\nC: a NOOP", as_server) as port:
        assert said(UpstreamServer("localhost", port, "on", as_client)) == b""


def test_the_proxy_header_goes_before_tls(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    with played("TLS\nC: a NOOP", as_server, HEADER) as port:
        assert said(UpstreamServer("127.0.0.1", port, "on", as_client, "proxy-protocol")) == b""


STARTTLS = """
    S: * OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] forged
    C: imapproxy STARTTLS
    S: * OK [ALERT] forged, too
    S: imapproxy OK go on
    TLS
"""


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ("* CAPABILITY IMAP4rev1 AUTH=PLAIN", b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] forged\r\n"),
        ("* OK none to speak of", b"* OK forged\r\n"),
    ],
)
def test_after_starttls_what_the_server_said_before_counts_no_more(
    answer: str, shown: bytes, as_server: ssl.SSLContext, as_client: ssl.SSLContext
) -> None:
    script = f"""{STARTTLS}
        C: imapproxy CAPABILITY
        S: {answer}
        S\\: imapproxy OK done
        S: * OK and more
        C: a NOOP
    """
    with played(script, as_server) as port:
        octets = said(UpstreamServer("localhost", port, "starttls", as_client))
    assert octets == shown + b"* OK and more\r\n"


def test_a_server_without_capabilities_is_none(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    with played(f"{STARTTLS}\nC: imapproxy CAPABILITY\nS: imapproxy BAD what?", as_server) as port:
        assert failure(UpstreamServer("localhost", port, "starttls", as_client)) == NO_IMAP


@pytest.mark.parametrize("tls", ["starttls", "on"])
@pytest.mark.parametrize(
    ("kind", "host", "why"),
    [
        ("wrong_name", "localhost", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("wrong_name", "127.0.0.1", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("unknown", "localhost", "unable to get local issuer certificate"),
        ("expired", "localhost", "certificate has expired"),
    ],
)
def test_a_server_with_a_bad_certificate_is_left(
    tls: Tls, kind: str, host: str, why: str, certificates: Certificates, as_client: ssl.SSLContext
) -> None:
    pair = getattr(certificates, kind)
    context = server_context(str(pair.cert), str(pair.key))
    script = STARTTLS.replace("TLS\n", "NO TLS\n").replace("STARTNO ", "START") if tls == "starttls" else "NO TLS"
    with played(script, context) as port:
        told = failure(UpstreamServer(host, port, tls, as_client))
    assert told == f"no secure connection to the IMAP server: certificate verify failed: {why}"


def test_a_bad_certificate_is_good_enough_where_none_is_verified(certificates: Certificates) -> None:
    context = server_context(str(certificates.expired.cert), str(certificates.expired.key))
    with played("TLS\nC: a NOOP", context) as port:
        assert said(UpstreamServer("127.0.0.1", port, "on", client_context("", verify=False))) == b""


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("S: * PREAUTH come in", "the server says PREAUTH instead of waiting for STARTTLS"),
        (
            "S: * OK hello\nC: imapproxy STARTTLS\nS: imapproxy BAD what?\\x1b",
            "the server does not do STARTTLS: what??",
        ),
        ("S: * OK hello\nC: imapproxy STARTTLS\nS: imapproxy NO\nCLOSE", "the server does not do STARTTLS: "),
        (
            "S: * OK hello\nC: imapproxy STARTTLS\nS\\: imapproxy OK go on\nS: * CAPABILITY AUTH=EVIL",
            "octets in plaintext where TLS was to begin",
        ),
    ],
)
def test_what_is_not_starttls_is_no_secure_connection(script: str, why: str, as_client: ssl.SSLContext) -> None:
    with played(script) as port:
        told = failure(UpstreamServer("localhost", port, "starttls", as_client))
    assert told == f"no secure connection to the IMAP server: {why}"


UNDER_WAY = "S: * OK hello\nC: imapproxy STARTTLS\nS: imapproxy OK go on\nHELLO\n"
NO_RESPONSE = "the IMAP server does not respond"
NO_IMAP = "the IMAP server sent what cannot be understood"
LOST = "the connection to the IMAP server is lost"
NO_TLS = "no secure connection to the IMAP server: TLS handshake failed: "


@pytest.mark.parametrize(
    ("tls", "script", "why"),
    [
        ("on", "HELLO\nS: * CAPABILITY IMAP4rev1 AUTH=EVIL\nSILENCE", NO_TLS + "wrong version number"),
        ("on", "HELLO\nCLOSE", NO_TLS + "the peer closed the connection"),
        ("on", "HELLO\nRESET", NO_TLS + "the peer closed the connection"),
        ("on", "SILENCE", NO_RESPONSE),
        ("on", "HELLO\nSILENCE", NO_RESPONSE),
        ("starttls", UNDER_WAY + "S: * CAPABILITY AUTH=EVIL\nSILENCE", NO_TLS + "wrong version number"),
        ("starttls", UNDER_WAY + "SILENCE", NO_RESPONSE),
        ("starttls", "SILENCE", NO_RESPONSE),
        ("starttls", "CLOSE", LOST),
        ("starttls", "S: * OK hello\nC: imapproxy STARTTLS\nCLOSE", LOST),
        ("starttls", "S: * OK hello\nC: imapproxy STARTTLS\nSILENCE", NO_RESPONSE),
        ("starttls", "S: * BYE [ALERT] busy\nCLOSE", "the IMAP server has ended the connection: busy"),
        (
            "starttls",
            "S: * OK hello\nC: imapproxy STARTTLS\nS: * BYE no\nCLOSE",
            "the IMAP server has ended the connection: no",
        ),
        ("starttls", "S: * NO hello", NO_IMAP),
        ("starttls", "S: A OK hello", NO_IMAP),
        ("starttls", "S: 220 smtp.example ESMTP", NO_IMAP),
        ("starttls", "S: * OK hello\nC: imapproxy STARTTLS\nS: + go on", NO_IMAP),
        ("starttls", "S: * OK hello\nC: imapproxy STARTTLS\nS: other OK go on", NO_IMAP),
    ],
)
def test_what_goes_wrong_is_told_and_ends_in_time(tls: Tls, script: str, why: str, as_client: ssl.SSLContext) -> None:
    began = monotonic()
    with played(script) as port:
        patience = SHORT if why == NO_RESPONSE else PATIENCE
        assert failure(UpstreamServer("localhost", port, tls, as_client), patience) == why
    assert monotonic() - began < PATIENCE / 2


def test_a_name_that_no_certificate_could_have(as_client: ssl.SSLContext) -> None:
    with listening() as listener, closing(PatientStream(lambda: None, 1.0)) as stream:
        stream.connect("127.0.0.1", port_of(listener), PATIENCE)
        with pytest.raises(Insecure, match="idna"):
            stream.start_tls(as_client, ".example", monotonic() + PATIENCE)


# ID


@pytest.mark.parametrize(
    ("answer", "shown", "answer_to_id"),
    [
        ('* ID ("name" "Dovecot")\n        S: imapproxy OK done', b"", b'* ID ("name" "Dovecot")\r\n'),
        (
            '* ID ("name" {5}\n        S: Dove)\\\n        S: ")\n        S: imapproxy OK done',
            b"",
            b'* ID ("name" {5}\r\nDove)")\r\n',
        ),
        ("* id NIL\n        S: imapproxy OK done", b"", b"* id NIL\r\n"),
        ("imapproxy BAD what is ID?", b"", b""),
        ("imapproxy NO [ALERT] not you", b"", b""),
        ("* ID NIL\n        S: imapproxy NO not you", b"", b""),
        ("* OK {5}\n        S: imapproxy OK done", b"* OK {5}\r\n", b""),
    ],
)
def test_the_server_is_told_who_the_client_is(answer: str, shown: bytes, answer_to_id: bytes) -> None:
    script = f"""
        S: * OK [CAPABILITY IMAP4rev1 ID] Dovecot ready.
        C: {IDENTIFIED}
        S: {answer}
        C: a NOOP
    """
    with played(script) as port:
        found = all_said(UpstreamServer("127.0.0.1", port, send_client_ip="id"))
    assert found.for_client == b"* OK [CAPABILITY IMAP4rev1 ID] Dovecot ready.\r\n" + shown
    assert found.answer_to_id == answer_to_id


def test_the_client_is_told_the_server_by_tls_only(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    script = f"""{STARTTLS}
        C: {IDENTIFIED}
        S: * ID NIL
        S: imapproxy OK done
        C: imapproxy CAPABILITY
        S: * CAPABILITY IMAP4rev1
        S: imapproxy OK done
        C: a NOOP
    """
    with played(script, as_server) as port:
        octets = said(UpstreamServer("localhost", port, "starttls", as_client, "id"))
    assert octets == b"* OK [CAPABILITY IMAP4rev1] forged\r\n"


LONG_STATUS = "* OK " + "x" * 1000


@pytest.mark.parametrize(
    ("said_by_server", "why"),
    [
        ("* BYE [UNAVAILABLE] later", "the IMAP server has ended the connection: later"),
        ("* ID {99999}", NO_IMAP),
        ("* ID {123456}", NO_IMAP),
        ("* ID " + "x" * MAX_SAID, NO_IMAP),
        # At once behind the first: the client leaves in the middle of it, and would reset a server that says more.
        (LONG_STATUS + f"\nS\\: {LONG_STATUS}" * 70 + f"\nS: {LONG_STATUS}", NO_IMAP),
    ],
)
def test_what_a_server_says_to_id_is_bounded(said_by_server: str, why: str) -> None:
    with played(f"S: * OK hello\nC: {IDENTIFIED}\nS: {said_by_server}\nSILENCE") as port:
        server = UpstreamServer("127.0.0.1", port, send_client_ip="id")
        told = failure(server, SHORT if "123456" in said_by_server else PATIENCE)
    assert told in {why, NO_RESPONSE if "123456" in said_by_server else why}


def test_a_response_of_many_literals_is_gone_through_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0

    def counting(line: bytes) -> Condition | None:
        nonlocal seen
        seen += len(line)
        return condition(line)

    monkeypatch.setattr(upstream, "condition", counting)
    literals = "\n".join(["        S: {0}"] * 1000)
    script = f"""
        S: * OK hello
        C: {IDENTIFIED}
        S: * X {{0}}
{literals}
        S: )
        S: imapproxy OK done
        C: a NOOP
    """
    with played(script) as port:
        octets = said(UpstreamServer("127.0.0.1", port, send_client_ip="id"))
    assert octets == b"* OK hello\r\n* X " + b"{0}\r\n" * 1001 + b")\r\n"
    assert seen <= 3 * len(octets)


# Connections beside the session's begin the same way


def capability_of(server: UpstreamServer) -> tuple[str, ...]:
    imap = BoundedIMAP(server, CLIENT, lambda: None)
    try:
        return imap.capabilities
    finally:
        imap.shutdown()


def test_a_side_connection_by_starttls_with_id(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    script = f"{STARTTLS}\nC: {IDENTIFIED}\nS: imapproxy OK\nASKED: CAPABILITY\nS: * CAPABILITY IMAP4rev1 X\nDONE"
    with played(script, as_server) as port:
        assert capability_of(UpstreamServer("localhost", port, "starttls", as_client, "id")) == ("IMAP4REV1", "X")


@pytest.mark.parametrize(
    ("tls", "prelude"),
    [("off", HEADER), ("on", HEADER), ("on", b"")],
)
def test_a_side_connection_with_a_proxy_header(
    tls: Tls, prelude: bytes, as_server: ssl.SSLContext, as_client: ssl.SSLContext
) -> None:
    script = "S: * OK hello\nASKED: CAPABILITY\nS: * CAPABILITY IMAP4rev1 X\nDONE"
    with played(("TLS\n" if tls == "on" else "") + script, as_server, prelude) as port:
        server = UpstreamServer("localhost", port, tls, as_client, "proxy-protocol" if prelude else "off")
        assert capability_of(server) == ("IMAP4REV1", "X")


@pytest.mark.parametrize(
    ("tls", "script", "why"),
    [
        ("starttls", "S: * PREAUTH come in", "4.7.5 no secure connection to the IMAP server: the server says PREAUTH"),
        ("starttls", "S: * BYE no", "4.4.2 the IMAP server has ended the connection: no"),
        ("starttls", "S: hello", "4.5.0 the IMAP server sent what cannot be understood"),
        ("on", "NO TLS", "4.7.5 no secure connection to the IMAP server: certificate verify failed: Hostname mismatch"),
        ("on", "HELLO\nCLOSE", "4.7.5 no secure connection to the IMAP server: TLS handshake failed: the peer closed"),
        ("on", "HELLO\nSILENCE", "4.4.2 the IMAP server does not respond"),
    ],
)
def test_a_side_connection_fails_as_the_sessions_does(
    tls: Tls, script: str, why: str, certificates: Certificates, as_client: ssl.SSLContext
) -> None:
    context = server_context(str(certificates.wrong_name.cert), str(certificates.wrong_name.key))
    with played(script, context) as port, pytest.raises(SideConnectionError) as caught:
        capability_of(UpstreamServer("localhost", port, tls, as_client, timeout=SHORT if "SILENCE" in script else 10))
    assert str(caught.value).startswith(why)
