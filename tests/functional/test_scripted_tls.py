"""TLS and compression from the outside, against peers that stop at nothing: what is injected, held back, blown up."""

import os
import re
import shutil
import signal
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

import pytest

from tests.functional.certificates import Certificates, Pair, signed
from tests.functional.fake_imap import GREETING, Peer, Stage, connect
from tests.functional.fake_smtp import CLOSE, SILENCE, Script
from tests.functional.proxy_process import Options
from tests.functional.scripted import DRAFT, Theatre, eventually, pid_of, resident_kib, theatre
from tests.functional.secured import trusting

MIB = 1 << 20
LOGIN_TIMEOUT = 1.0  # seconds
SLACK = 20.0  # seconds more than that, on a busy machine; what is wrong takes fifty, or for ever
FEW_BUFFERS = 6 * 1024  # KiB; deflate's and TLS's own included


@pytest.fixture(scope="module")
def context(certificates: Certificates) -> ssl.SSLContext:
    return trusting(certificates.ca)


def listening(certificates: Certificates, **more: str) -> Options:
    return {
        "listen": {
            "listen": "127.0.0.1:0",
            "listen-tls": "127.0.0.1:0",
            "tls-cert": str(certificates.cert),
            "tls-key": str(certificates.key),
            **more,
        }
    }


@pytest.fixture(scope="module")
def house(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    options = listening(certificates, **{"login-timeout": str(LOGIN_TIMEOUT)})
    with theatre(tmp_path_factory.mktemp("tls"), options) as opened:
        opened.submit(DRAFT)  # what is imported or allocated at first use is there now
        yield opened


@pytest.fixture(scope="module")
def strict(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    options = listening(certificates, **{"require-tls": "on"})
    with theatre(tmp_path_factory.mktemp("strict"), options) as opened:
        yield opened


@contextmanager
def secured(house: Theatre, context: ssl.SSLContext) -> Iterator[Stage]:
    """A scene over implicit TLS."""
    with connect(house.proxy.tls_port) as client:
        client.begin_tls(context, "localhost")
        with house.imap.accept() as server:
            stage = Stage(client, server)
            yield stage
            stage.check_silence()


def greet(stage: Stage) -> bytes:
    stage.server.send(GREETING)
    return stage.client.line()


def start_tls(stage: Stage, context: ssl.SSLContext) -> None:
    """As a client in order does it, from the greeting on."""
    greet(stage)
    stage.play("""
        C: A STARTTLS
        P: A OK Begin TLS negotiation now
    """)
    stage.client.begin_tls(context, "localhost")


# STARTTLS: nothing that came before counts after


def test_starttls_is_the_proxys_own(house: Theatre, context: ssl.SSLContext) -> None:
    """The server hears nothing of it, and goes on with the same session."""
    with house.scene() as stage:
        assert b" STARTTLS" in greet(stage)
        stage.play("""
            C: A STARTTLS
            P: A OK Begin TLS negotiation now
        """)
        stage.client.begin_tls(context, "localhost")
        stage.play(r"""
            C: B CAPABILITY
            U: B CAPABILITY
            S: * CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\nB OK done
            P: * CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT CAN-SUBMIT=URL\r\nB OK done
            C: C STARTTLS
            P: C BAD \
        """)
        stage.client.line()
        stage.play("""
            C: D LOGIN fred secret
            U: D LOGIN fred secret
            S: D OK done
            P: D OK done
        """)


@pytest.mark.parametrize(
    "injected",
    [
        b"B LOGIN mallory secret\r\n",
        b"B LOGIN mallory",
        b"B LOGIN {7+}\r\nmall",
        b"B NOOP\r\n" * 1000,
        b"B AUTHENTICATE",
    ],
    ids=["command", "half a command", "half a literal", "many", "half a line"],
)
def test_what_comes_behind_starttls_in_plain_text_is_thrown_away(
    house: Theatre, context: ssl.SSLContext, injected: bytes
) -> None:
    """CVE-2021-38371 and its like: it is neither done nor put before what comes encrypted."""
    with house.scene() as stage:
        greet(stage)
        stage.client.send(b"A STARTTLS\r\n" + injected)
        stage.client.expect(b"A OK Begin TLS negotiation now\r\n")
        stage.client.begin_tls(context, "localhost")
        stage.play("""
            C: C NOOP
            U: C NOOP
            S: C OK done
            P: C OK done
        """)


def test_starttls_waits_for_what_is_outstanding(house: Theatre, context: ssl.SSLContext) -> None:
    with house.scene() as stage:
        greet(stage)
        stage.client.send(b"A NOOP\r\nB STARTTLS\r\n")
        stage.server.expect(b"A NOOP\r\n")
        stage.check_silence()
        stage.server.send(b"A OK done\r\n")
        stage.client.expect(b"A OK done\r\nB OK Begin TLS negotiation now\r\n")
        stage.client.begin_tls(context, "localhost")


def test_starttls_after_login_and_over_tls_is_bad(house: Theatre, context: ssl.SSLContext) -> None:
    for opened in (house.scene(), secured(house, context)):
        with opened as stage:
            stage.log_in()
            stage.client.send(b"A STARTTLS\r\n")
            assert stage.client.answer(b"A").startswith(b"BAD ")


# require-tls


def test_plain_client_is_told_to_begin_tls(strict: Theatre) -> None:
    with strict.scene() as stage:
        shown = greet(stage)
        assert b" LOGINDISABLED" in shown
        assert b"AUTH=" not in shown


@pytest.mark.parametrize(
    "command",
    [
        b"A LOGIN fred secret\r\n",
        b"A LOGIN fred {6+}\r\nsecret\r\n",
        b"A AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0\r\n",
        b"A AUTHENTICATE PLAIN\r\n",
    ],
    ids=["login", "literal", "initial response", "authenticate"],
)
def test_password_in_plain_text_goes_nowhere(strict: Theatre, command: bytes) -> None:
    with strict.scene() as stage:
        greet(stage)
        stage.client.send(command)
        assert stage.client.answer(b"A").startswith(b"NO [PRIVACYREQUIRED] ")
        stage.play("""
            C: B NOOP
            U: B NOOP
            S: B OK done
            P: B OK done
        """)
    assert "secret" not in strict.proxy.log()


def test_over_tls_it_is_as_without_the_rule(strict: Theatre, context: ssl.SSLContext) -> None:
    with strict.scene() as stage:
        start_tls(stage, context)
        stage.play("""
            C: B LOGIN fred secret
            U: B LOGIN fred secret
            S: B OK done
            P: B OK done
        """)
    with secured(strict, context) as stage:
        assert b"LOGINDISABLED" not in greet(stage)


# Handshakes that go wrong


def tls_log(house: Theatre, since: int) -> list[str]:
    return [line for line in house.proxy.log()[since:].splitlines() if "handshake-failed" in line]


def garbage(client: Peer) -> None:
    client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert not client.rest().startswith(b"* ")


def leaving(client: Peer) -> None:
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.close()


def resetting(client: Peer) -> None:
    client.send(b"\x16\x03\x01\x02\x00\x01")
    client.reset()


def silent(client: Peer) -> None:
    since = monotonic()
    client.rest()
    assert monotonic() - since < LOGIN_TIMEOUT + SLACK


def dripping(client: Peer) -> None:
    """An octet now and then of what begins well is no reason to wait for longer."""
    since = monotonic()
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500
    with suppress(ConnectionError, ssl.SSLError):
        for octet in hello:
            client.send(bytes([octet]))
            if client.ended_within(0.1):
                break
    assert monotonic() - since < LOGIN_TIMEOUT + SLACK


@pytest.mark.parametrize("act", [garbage, leaving, resetting, silent, dripping])
@pytest.mark.parametrize("way", ["implicit", "starttls"])
def test_handshake_that_fails_is_one_line_in_the_log(house: Theatre, act: Callable[[Peer], None], way: str) -> None:
    """And the others are served meanwhile."""
    since = len(house.proxy.log())
    if way == "implicit":
        with connect(house.proxy.tls_port) as client:
            assert house.submit(DRAFT) == b"OK SUBMIT completed"
            act(client)
    else:
        with connect(house.proxy.port) as client, house.imap.accept() as server:
            stage = Stage(client, server)
            greet(stage)
            client.send(b"A STARTTLS\r\n")
            client.expect(b"A OK Begin TLS negotiation now\r\n")
            act(client)
            assert server.rest() == b""
    assert eventually(lambda: len(tls_log(house, since)) == 1), house.proxy.log()[since:]
    assert "Traceback" not in house.proxy.log()


def test_old_protocol_is_refused(house: Theatre) -> None:
    since = len(house.proxy.log())
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with connect(house.proxy.tls_port) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        client.begin_tls(old, "localhost")
    assert eventually(lambda: len(tls_log(house, since)) == 1), house.proxy.log()[since:]


def test_many_silent_handshakes_hold_nobody_up(house: Theatre, context: ssl.SSLContext) -> None:
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(connect(house.proxy.tls_port))
        since = monotonic()
        with secured(house, context) as stage:
            stage.log_in()
        assert monotonic() - since < SLACK


# A certificate that is renewed


@pytest.fixture
def renewable(certificates: Certificates, tmp_path: Path) -> Iterator[tuple[Theatre, Path]]:
    directory = tmp_path / "live"
    directory.mkdir()
    install(directory, Pair(certificates.cert, certificates.key))
    files = {"tls-cert": str(directory / "cert.pem"), "tls-key": str(directory / "key.pem")}
    with theatre(tmp_path, listening(certificates, **files)) as opened:
        yield opened, directory


def install(directory: Path, pair: Pair) -> None:
    shutil.copy(pair.cert, directory / "cert.pem")
    shutil.copy(pair.key, directory / "key.pem")


def serial(house: Theatre, context: ssl.SSLContext) -> str:
    """Return the number of the certificate that is shown."""
    with connect(house.proxy.tls_port) as client:
        found = client.begin_tls(context, "localhost").getpeercert()
        assert found
        with house.imap.accept():
            return str(found["serialNumber"])


def test_renewed_certificate_is_read_at_sighup(
    renewable: tuple[Theatre, Path], certificates: Certificates, context: ssl.SSLContext, tmp_path: Path
) -> None:
    """By new sessions; old ones go on with the old one. One that is no good changes nothing."""
    house, directory = renewable
    (tmp_path / "new").mkdir()
    ca = Pair(certificates.ca, certificates.ca.with_suffix(".key"))
    new = signed(tmp_path / "new", "renewed", ca, ["localhost"], ["127.0.0.1"])
    with secured(house, context) as stage:
        stage.log_in()
        first = serial(house, context)
        install(directory, new)
        os.kill(house.proxy.pid, signal.SIGHUP)
        assert eventually(lambda: all(serial(house, context) != first for _ in range(20)))
        second = serial(house, context)

        (directory / "cert.pem").write_text("no certificate\n")
        said = len(house.proxy.log())
        os.kill(house.proxy.pid, signal.SIGHUP)
        assert eventually(lambda: str(directory / "cert.pem") in house.proxy.log()[said:]), house.proxy.log()[said:]
        assert serial(house, context) == second
        stage.play("""
            C: B NOOP
            U: B NOOP
            S: B OK done
            P: B OK done
        """)


# Both directions at once, and no more memory than without TLS


@pytest.mark.parametrize("compressed", [False, True], ids=["tls", "tls and compressed"])
def test_upload_is_not_held_up_by_a_download_that_is_left_unread(
    house: Theatre, context: ssl.SSLContext, compressed: bool
) -> None:
    body = b"".join(b"%062d\r\n" % number for number in range(20 * MIB // 64))
    download = b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\nF OK done\r\n" % (len(body), body)
    upload = b"A APPEND x {%d+}\r\n%b\r\n" % (len(body), body)
    with secured(house, context) as stage:
        stage.log_in()
        if compressed:
            compress(stage)
        before = resident_kib(pid_of(house.proxy))
        stage.client.send(b"F FETCH 1 BODY[]\r\n")
        stage.server.expect(b"F FETCH 1 BODY[]\r\n")
        with flow(stage.server, download):
            with flow(stage.client, upload):
                assert stage.server.read(len(upload)) == upload, "another upload"
            assert resident_kib(pid_of(house.proxy)) - before < FEW_BUFFERS
            assert stage.client.read(len(download)) == download, "another download"
        assert resident_kib(pid_of(house.proxy)) - before < FEW_BUFFERS


@contextmanager
def flow(sender: Peer, octets: bytes) -> Iterator[None]:
    """Have a thread send octets; at the end wait for it."""
    thread = threading.Thread(target=sender.send, args=(octets,), daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()


# A server that is to be reached by TLS, and plays tricks


@pytest.fixture(scope="module", params=["starttls", "on"])
def towards(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Theatre]:
    options: Options = {
        "listen": {"listen": "127.0.0.1:0", "login-timeout": str(LOGIN_TIMEOUT)},
        "imap": {"imap-tls": request.param, "imap-tls-ca": str(certificates.ca)},
        "smtp": {"smtp-tls": request.param, "smtp-tls-ca": str(certificates.ca), "smtp-timeout": "1"},
    }
    with theatre(tmp_path_factory.mktemp("towards"), options) as opened:
        yield opened


def server_context(certificates: Certificates) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificates.cert, certificates.key)
    return made


def is_starttls(house: Theatre) -> bool:
    return "imap-tls = starttls" in (house.proxy.log_file.parent / "imapproxy.conf").read_text()


OFFERING = b"* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN] fake\r\n"


def asked_to_start_tls(server: Peer) -> bytes:
    """Greet, offering STARTTLS, and return the tag of the command that begins it."""
    server.send(OFFERING)
    return tag_of(server, b"STARTTLS")


def tag_of(server: Peer, command: bytes) -> bytes:
    """Answer what is asked before, and return the tag of that command."""
    while True:
        tag, name = server.line().split()
        if name.upper() == command:
            return tag
        assert name.upper() == b"CAPABILITY"
        server.send(b"* CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN\r\n%b OK done\r\n" % tag)


def test_capabilities_are_those_that_the_server_has_over_tls(towards: Theatre, certificates: Certificates) -> None:
    """What it said before is forgotten, LOGINDISABLED too."""
    with connect(towards.proxy.port) as client, towards.imap.accept() as server:
        if is_starttls(towards):
            server.send(b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED] fake\r\n")
            server.send(tag_of(server, b"STARTTLS") + b" OK begin\r\n")
            server.begin_tls(server_context(certificates))
            tag = tag_of(server, b"CAPABILITY")
            server.send(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN X-NEW\r\n%b OK done\r\n" % tag)
        else:
            server.begin_tls(server_context(certificates))
            server.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN X-NEW] fake\r\n")
        shown = client.line()
        assert b"X-NEW" in shown, shown
        assert b"LOGINDISABLED" not in shown
        assert b"STARTTLS" not in shown
        Stage(client, server).play("""
            C: L LOGIN fred secret
            U: L LOGIN fred secret
            S: L OK done
            P: L OK done
        """)


def no_tls_offered(server: Peer) -> None:
    server.send(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] fake\r\n")


def refusal(server: Peer) -> None:
    server.send(asked_to_start_tls(server) + b" NO not today\r\n")


def preauth(server: Peer) -> None:
    server.send(b"* PREAUTH [CAPABILITY IMAP4rev1] come in\r\n")


def injection(server: Peer) -> None:
    """Responses behind the OK, in plain text: they must not be taken for what comes encrypted."""
    server.send(asked_to_start_tls(server) + b" OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=EVIL\r\n")


def garbled_handshake(server: Peer) -> None:
    server.send(asked_to_start_tls(server) + b" OK begin\r\n")
    server.read(10)
    server.send(b"no handshake at all\r\n")


def silence_instead_of_a_greeting(server: Peer) -> None:
    server.rest()


def silence_instead_of_a_handshake(server: Peer) -> None:
    server.send(asked_to_start_tls(server) + b" OK begin\r\n")
    server.rest()


def end_instead_of_a_greeting(server: Peer) -> None:
    server.close()


@pytest.mark.parametrize(
    "trick",
    [
        no_tls_offered,
        refusal,
        preauth,
        injection,
        garbled_handshake,
        silence_instead_of_a_greeting,
        silence_instead_of_a_handshake,
        end_instead_of_a_greeting,
    ],
)
def test_no_session_without_the_tls_that_is_wanted(towards: Theatre, trick: Callable[[Peer], None]) -> None:
    """The client is told so within its time, and nothing of it reaches the server in plain text."""
    if not is_starttls(towards) and not trick.__name__.startswith(("silence_instead_of_a_greeting", "end")):
        trick = garbled_handshake_at_once
    since, said = monotonic(), len(towards.proxy.log())
    with connect(towards.proxy.port) as client, towards.imap.accept() as server:
        client.send(b"L LOGIN fred secret\r\n")
        with suppress(EOFError, ConnectionError):
            trick(server)
        answer = client.rest()
        if trick is not end_instead_of_a_greeting:
            assert b"secret" not in server.rest()
    assert re.match(rb"\* BYE (\[UNAVAILABLE\] )?", answer), answer
    assert b"EVIL" not in answer
    assert monotonic() - since < LOGIN_TIMEOUT + SLACK
    assert "Traceback" not in towards.proxy.log()
    assert towards.proxy.log()[said:].count("\n") <= 2, towards.proxy.log()[said:]


def garbled_handshake_at_once(server: Peer) -> None:
    server.read(10)
    server.send(b"no handshake at all\r\n")


STARTTLS_OFFERED = "250-fake.example\n250-8BITMIME\n250 STARTTLS"


@pytest.mark.parametrize(
    "script",
    [
        {"EHLO": "250 fake.example"},
        {"EHLO": STARTTLS_OFFERED, "STARTTLS": "454 4.7.0 TLS not available"},
        {"EHLO": STARTTLS_OFFERED, "STARTTLS": (b"220 go\r\n250-fake.example\r\n250 AUTH EVIL\r\n", 0.2, CLOSE)},
        {"EHLO": STARTTLS_OFFERED, "STARTTLS": ("220 go", b"no handshake at all\r\n", CLOSE)},
        {"EHLO": STARTTLS_OFFERED, "STARTTLS": ("220 go", SILENCE)},
        {"GREETING": SILENCE},
    ],
    ids=["not offered", "refused", "injection", "garbage", "silence", "silent from the start"],
)
def test_nothing_is_sent_without_the_tls_that_is_wanted(
    towards: Theatre, certificates: Certificates, script: dict[str, Script]
) -> None:
    with towards.performance(), connect(towards.proxy.port) as client, towards.imap.accept() as server:
        towards.script(script)
        if is_starttls(towards):
            server.send(asked_to_start_tls(server) + b" OK begin\r\n")
            server.begin_tls(server_context(certificates))
            server.send(b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n%b OK done\r\n" % tag_of(server, b"CAPABILITY"))
        else:
            server.begin_tls(server_context(certificates))
            server.send(GREETING)
        client.line()
        stage = Stage(client, server)
        stage.play("""
            C: L LOGIN fred secret
            U: L LOGIN fred secret
            S: L OK done
            P: L OK done
        """)
        assert re.match(rb"NO [45]", stage.submit(DRAFT))
        assert not towards.smtp.messages
        assert "MAIL" not in towards.smtp.verbs()


# COMPRESS


def compress(stage: Stage, tag: bytes = b"Z") -> None:
    stage.client.send(tag + b" COMPRESS DEFLATE\r\n")
    assert stage.client.answer(tag).startswith(b"OK ")
    stage.client.begin_compression()


@pytest.fixture(params=["plain", "tls"])
def fred(request: pytest.FixtureRequest, house: Theatre, context: ssl.SSLContext) -> Iterator[Stage]:
    """A scene in which fred has logged in."""
    with house.scene() if request.param == "plain" else secured(house, context) as stage:
        stage.log_in()
        yield stage


def test_compression_is_the_proxys_own(fred: Stage) -> None:
    """The server hears nothing of it, and what it has of its own is not shown."""
    fred.play(r"""
        C: A CAPABILITY
        U: A CAPABILITY
        S: * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE COMPRESS=LZ4\r\nA OK done
        P: * CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE\r\nA OK done
    """)
    compress(fred)
    fred.play(r"""
        C: B CAPABILITY
        U: B CAPABILITY
        S: * CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\nB OK done
        P: * CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL\r\nB OK done
    """)
    fred.client.send(b"C COMPRESS DEFLATE\r\n")
    assert fred.client.answer(b"C").startswith(b"NO [COMPRESSIONACTIVE] ")
    assert fred.submit(DRAFT) == b"OK SUBMIT completed"


@pytest.mark.parametrize("command", [b"COMPRESS", b"COMPRESS LZ4", b"COMPRESS DEFLATE 9", b'COMPRESS "DEFLATE'])
def test_other_compression_is_bad(house: Theatre, command: bytes) -> None:
    with house.fred() as stage:
        stage.client.send(b"A %b\r\n" % command)
        assert stage.client.answer(b"A").startswith(b"BAD ")


def test_compression_before_login_is_bad(house: Theatre) -> None:
    with house.scene() as stage:
        assert b"COMPRESS" not in greet(stage)
        stage.client.send(b"A COMPRESS DEFLATE\r\n")
        assert stage.client.answer(b"A").startswith(b"BAD ")


def test_octets_that_follow_at_once_are_compressed_already(fred: Stage) -> None:
    deflater = zlib.compressobj(wbits=-15)
    octets = deflater.compress(b"B NOOP\r\nC NO") + deflater.flush(zlib.Z_SYNC_FLUSH)
    fred.client.send(b"A COMPRESS DEFLATE\r\n" + octets)
    assert fred.client.answer(b"A").startswith(b"OK ")
    fred.client.begin_compression()
    fred.server.expect(b"B NOOP\r\n")
    fred.client.send_raw(deflater.compress(b"OP\r\n") + deflater.flush(zlib.Z_SYNC_FLUSH))
    fred.server.expect(b"C NOOP\r\n")
    fred.play(r"""
        S: B OK done\r\nC OK done
        P: B OK done\r\nC OK done
    """)


def test_octets_that_come_one_by_one(fred: Stage) -> None:
    compress(fred)
    deflater = zlib.compressobj(wbits=-15)
    for octet in deflater.compress(b"B NOOP\r\n") + deflater.flush(zlib.Z_FULL_FLUSH):
        fred.client.send_raw(bytes([octet]))
    fred.play("""
        U: B NOOP
        S: B OK done
        P: B OK done
    """)


def test_bomb_goes_off_a_buffer_at_a_time(fred: Stage, house: Theatre) -> None:
    """128 MiB of nothing in 128 KiB: what the server does not take is not inflated."""
    pid = pid_of(house.proxy)
    compress(fred)
    before = resident_kib(pid)
    size = 128 * MIB
    deflater = zlib.compressobj(wbits=-15)
    head = b"A APPEND x {%d+}\r\n" % size
    bomb = deflater.compress(head + bytes(size)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    with flow_raw(fred.client, bomb):
        fred.server.expect(head)
        peak = 0
        for _ in range(16):
            fred.server.read(MIB)
            peak = max(peak, resident_kib(pid) - before)
        assert peak < FEW_BUFFERS
        fred.client.hang_up()
    while fred.server.drain(MIB):
        pass
    fred.server.rest()
    assert resident_kib(pid) - before < FEW_BUFFERS


@contextmanager
def flow_raw(sender: Peer, octets: bytes) -> Iterator[None]:
    def send() -> None:
        with suppress(OSError):
            sender.send_raw(octets)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()


def test_line_that_is_a_bomb_ends_as_any_line_that_is_too_long(fred: Stage, house: Theatre) -> None:
    pid = pid_of(house.proxy)
    compress(fred)
    before = resident_kib(pid)
    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(b"A NOOP " + b"x" * (64 * MIB)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    since = len(house.proxy.log())
    with flow_raw(fred.client, bomb):
        said = fred.client.rest()
    said += fred.client.rest()  # what a read missed that failed because the other thread's write had
    assert said[:6] in {b"* BYE ", b""}  # an RST may overtake it
    assert eventually(lambda: "disconnect" in house.proxy.log()[since:])
    assert resident_kib(pid) - before < FEW_BUFFERS
    assert b"NOOP" not in fred.server.rest()


@pytest.mark.parametrize(
    "octets",
    [b"\xff" * 100, b"B NOOP\r\n", zlib.compress(b"B NOOP\r\n"), b"\x07"],
    ids=["nonsense", "plain text", "zlib header", "reserved block"],
)
def test_what_is_no_deflate_ends_the_session(fred: Stage, house: Theatre, octets: bytes) -> None:
    since = len(house.proxy.log())
    compress(fred)
    fred.client.send_raw(octets)
    with suppress(zlib.error):
        fred.client.rest()
    assert fred.server.rest() == b""
    assert eventually(lambda: "disconnect" in house.proxy.log()[since:])
    assert "Traceback" not in house.proxy.log()


def test_end_of_the_deflate_stream_is_an_end(fred: Stage) -> None:
    """What comes behind it is not looked at."""
    compress(fred)
    deflater = zlib.compressobj(wbits=-15)
    fred.client.send_raw(deflater.compress(b"B NOOP\r\n") + deflater.flush(zlib.Z_FINISH) + b"C LOGOUT\r\n" * 10)
    fred.client.end_output()
    assert fred.server.rest() == b"B NOOP\r\n"
