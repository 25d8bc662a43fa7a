"""TLS contexts from the administrator's files, and handshakes with whoever is there."""

import shutil
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from imapproxy.errors import ConfigError
from imapproxy.net.patient import Insecure, PatientStream
from imapproxy.net.tls import HandshakeFailed, accept_tls, client_context, server_context
from tests.functional.certificates import Certificates, Pair, make_certificates
from tests.net.peers import PATIENCE, Background, Peer, Stop, nothing_left, tcp_pair

SOON = 0.3  # seconds


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def ends() -> Iterator[tuple[Peer, socket.socket]]:
    with nothing_left():
        peer, stream = tcp_pair()
        with peer, stream:
            yield peer, stream


def deadline(seconds: float = PATIENCE) -> float:
    return time.monotonic() + seconds


# Contexts.


def test_a_certificate_and_its_key_may_be_in_one_file(certificates: Certificates) -> None:
    server_context(str(certificates.both), str(certificates.both))


def test_a_server_context_is_modern(certificates: Certificates) -> None:
    context = server_context(str(certificates.cert), str(certificates.key))
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
    assert context.options & ssl.OP_NO_COMPRESSION


@pytest.mark.parametrize(
    ("certificate", "key", "trouble"),
    [
        ("missing", "key", r"^{directory}/missing: cannot be read: No such file or directory$"),
        ("cert", "missing", r"^{directory}/missing: cannot be read: No such file or directory$"),
        ("directory", "key", r"^{directory}/directory: cannot be read: Is a directory$"),
        ("text", "key", r"^{directory}/text: there is no certificate in it"),
        ("key", "key", r"^{directory}/key: there is no certificate in it"),
        ("cert", "cert", r"^{directory}/cert: there is no private key in it"),
        ("cert", "text", r"^{directory}/text: there is no private key in it"),
        ("damaged-cert", "key", r"^{directory}/damaged-cert: no certificate can be read from it \([\w ]+\)$"),
        ("cert", "damaged-key", r"^{directory}/damaged-key: it cannot be used with {directory}/cert \([\w ]+\)$"),
        ("cert", "other-key", r"^{directory}/other-key: it is not the key of the certificate in {directory}/cert$"),
        ("cert", "encrypted-key", r"^{directory}/encrypted-key: the key is encrypted; 'openssl pkey -in .*' writes it"),
    ],
)
def test_files_that_are_no_good_are_named(
    certificates: Certificates, tmp_path: Path, certificate: str, key: str, trouble: str
) -> None:
    lay_out(certificates, tmp_path)
    with pytest.raises(ConfigError, match=trouble.format(directory=tmp_path)):
        server_context(str(tmp_path / certificate), str(tmp_path / key))


def lay_out(certificates: Certificates, directory: Path) -> None:
    (directory / "directory").mkdir()
    (directory / "text").write_text("no PEM at all\n")
    files = {"cert": certificates.cert, "key": certificates.key, "other-key": certificates.unknown.key}
    for name, file in {**files, "encrypted-key": certificates.encrypted_key}.items():
        shutil.copy(file, directory / name)
    for name in ("cert", "key"):
        lines = (directory / name).read_text().splitlines(keepends=True)
        (directory / f"damaged-{name}").write_text("".join([*lines[:1], "AAAA\n", *lines[2:]]))


@pytest.mark.parametrize(
    ("file", "trouble"),
    [
        ("missing", "cannot be read: No such file or directory"),
        ("text", r"no certificate can be read from it \(no certificate or crl found\)"),
        ("damaged-cert", r"no certificate can be read from it \([\w ]+\)"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_an_authority_that_is_no_good_is_named(
    certificates: Certificates, tmp_path: Path, file: str, trouble: str, verify: bool
) -> None:
    lay_out(certificates, tmp_path)
    with pytest.raises(ConfigError, match=f"^{tmp_path / file}: {trouble}$"):
        client_context(str(tmp_path / file), verify)


def test_without_a_file_the_authorities_are_the_systems() -> None:
    context = client_context("", verify=True)
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


# Servers.


def context_of(pair: Pair) -> ssl.SSLContext:
    return server_context(str(pair.cert), str(pair.key))


def hear(
    ends: tuple[Peer, socket.socket], server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost"
) -> bytes:
    """Return what a server says to us by TLS."""
    peer, stream = ends

    def be_server() -> None:
        try:
            peer.stream = server.wrap_socket(peer.stream, server_side=True)
            peer.say(b"hello")
        except OSError:
            peer.close()

    serving = Background(be_server)
    connection = PatientStream(lambda: None, PATIENCE)
    connection.adopt(stream)
    try:
        connection.start_tls(client, name, deadline())
        return connection.exactly(5, deadline())
    finally:
        connection.close()
        serving.result()


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "imap.example", "127.0.0.1", "::1"])
def test_a_server_that_is_who_it_should_be_is_accepted(
    ends: tuple[Peer, socket.socket], certificates: Certificates, name: str
) -> None:
    good = context_of(Pair(certificates.cert, certificates.key))
    assert hear(ends, good, client_context(str(certificates.ca), verify=True), name) == b"hello"


def test_the_servers_own_certificate_may_be_its_authority(
    ends: tuple[Peer, socket.socket], certificates: Certificates
) -> None:
    good = context_of(Pair(certificates.cert, certificates.key))
    assert hear(ends, good, client_context(str(certificates.cert), verify=True)) == b"hello"


@pytest.mark.parametrize(
    ("which", "name", "trouble"),
    [
        ("unknown", "localhost", "unable to get local issuer certificate"),
        ("wrong_name", "localhost", "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("wrong_name", "127.0.0.1", "IP address mismatch, certificate is not valid for '127.0.0.1'."),
        ("expired", "localhost", "certificate has expired"),
    ],
)
def test_a_server_that_is_not_is_refused_and_accepted_where_nothing_is_verified(
    certificates: Certificates, which: str, name: str, trouble: str
) -> None:
    server = context_of(getattr(certificates, which))
    with nothing_left():
        first, second = tcp_pair(), tcp_pair()
        with first[0], second[0]:
            with pytest.raises(Insecure) as failure:
                hear(first, server, client_context(str(certificates.ca), verify=True), name)
            assert str(failure.value) == f"certificate verify failed: {trouble}"
            assert hear(second, server, client_context("", verify=False), name) == b"hello"


@pytest.mark.parametrize("name", ["", ".example", "a" * 64 + ".example"])
def test_a_name_that_no_certificate_could_have_is_refused(
    ends: tuple[Peer, socket.socket], certificates: Certificates, name: str
) -> None:
    good = context_of(Pair(certificates.cert, certificates.key))
    with pytest.raises(Insecure, match=r"^[ -~]+$"):
        hear(ends, good, client_context(str(certificates.ca), verify=True), name)


def test_a_server_in_the_clear_is_refused(ends: tuple[Peer, socket.socket], certificates: Certificates) -> None:
    ends[0].say(b"* OK ready\r\n")
    connection = PatientStream(lambda: None, PATIENCE)
    connection.adopt(ends[1])
    with pytest.raises(Insecure, match=r"^TLS handshake failed: wrong version number$"):
        connection.start_tls(client_context(str(certificates.ca), verify=True), "localhost", deadline())
    connection.close()


# Clients.


def accept(ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop, seconds: float) -> ssl.SSLSocket:
    context = server_context(str(certificates.cert), str(certificates.key))
    return accept_tls(ends[1], context, deadline(seconds), stop.fd)


def test_a_client_is_met_with_tls(ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop) -> None:
    shaking = Background(lambda: shake(ends[0], client_context(str(certificates.ca), verify=True)))
    with accept(ends, certificates, stop, PATIENCE) as stream, shaking.result():
        assert stream.gettimeout() == 0
        assert stream.version() == "TLSv1.3"
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def shake(peer: Peer, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(peer.stream, server_hostname="localhost")


def old(certificates: Certificates) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificates.ca)
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def distrustful(certificates: Certificates) -> ssl.SSLContext:
    return client_context(str(certificates.other_ca), verify=True)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("context", "trouble"), [(old, "unsupported protocol"), (distrustful, "tlsv1 alert unknown ca")]
)
def test_a_client_that_cannot_or_will_not_is_refused_in_a_phrase(
    ends: tuple[Peer, socket.socket],
    certificates: Certificates,
    stop: Stop,
    context: Callable[[Certificates], ssl.SSLContext],
    trouble: str,
) -> None:
    def fail() -> None:
        with pytest.raises(ssl.SSLError):
            shake(ends[0], context(certificates))

    shaking = Background(fail)
    with pytest.raises(HandshakeFailed) as failure:
        accept(ends, certificates, stop, PATIENCE)
    assert str(failure.value) == trouble
    shaking.result()


@pytest.mark.parametrize(
    ("said", "trouble"),
    [
        (b"a LOGIN fred pencil\r\n", "wrong version number"),
        (b"GET / HTTP/1.0\r\n\r\n", "http request"),
        (b"\x16\x03\x01\x00\x05\x01\xff\xff\xff\xff", "excessive message size"),
        (bytes(range(256)) * 1000, "wrong version number"),
        (b"\x16\x03\x01\x40\x00" + bytes(16384), "unexpected message"),
    ],
)
def test_garbage_is_refused_in_a_phrase(
    ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop, said: bytes, trouble: str
) -> None:
    def say() -> None:
        with suppress(ConnectionError):
            ends[0].say_what_is_taken(said)

    saying = Background(say)
    with pytest.raises(HandshakeFailed) as failure:
        accept(ends, certificates, stop, PATIENCE)
    assert str(failure.value) == trouble
    assert ends[1].fileno() == -1
    saying.result()


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00"])
@pytest.mark.parametrize("vanish", [Peer.close, Peer.reset])
def test_a_client_that_goes_in_the_handshake_is_told_of(
    ends: tuple[Peer, socket.socket],
    certificates: Certificates,
    stop: Stop,
    said: bytes,
    vanish: Callable[[Peer], None],
) -> None:
    ends[0].say(said)
    vanish(ends[0])
    with pytest.raises(HandshakeFailed, match=r"^the peer closed the connection$"):
        accept(ends, certificates, stop, PATIENCE)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01\x02\x00\x01\x00"])
def test_a_client_that_says_nothing_more_is_not_waited_for(
    ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop, said: bytes
) -> None:
    ends[0].say(said)
    began = time.process_time()
    with pytest.raises(HandshakeFailed, match=r"^it took too long$"):
        accept(ends, certificates, stop, SOON)
    assert time.process_time() - began < SOON / 2


def test_a_client_that_drips_octets_has_no_more_time(
    ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop
) -> None:
    def fail() -> str:
        with pytest.raises(HandshakeFailed) as failure:
            accept(ends, certificates, stop, 2 * SOON)
        return str(failure.value)

    accepting = Background(fail)
    octets = iter(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(1000))
    while accepting.thread.is_alive():
        ends[0].say(bytes([next(octets)]))
        accepting.thread.join(SOON / 10)
    assert accepting.result() == "it took too long"


def test_a_stop_ends_a_handshake(ends: tuple[Peer, socket.socket], certificates: Certificates, stop: Stop) -> None:
    stop.give()
    with pytest.raises(HandshakeFailed, match=r"^the program stops$"):
        accept(ends, certificates, stop, PATIENCE)
