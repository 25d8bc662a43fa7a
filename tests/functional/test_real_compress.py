"""COMPRESS=DEFLATE (RFC 4978), which the proxy has of its own: with Python's zlib and mutt, Dovecot behind it."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates
from tests.functional.clients import RecordingClient, logged_in, mutt
from tests.functional.dovecot import Dovecot
from tests.functional.packages import require
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Options, Proxy, running_proxy
from tests.functional.samples import DATE, HEADER, MANY, ODD_MESSAGES, big_message, fill
from tests.functional.secured import trusting

DRAFT = HEADER + b"Message-Id: <1@example.com>\r\n\r\nHello Joe\r\n"


@pytest.fixture(scope="module")
def mail(dovecot: Dovecot) -> Path:
    user = dovecot.new_user()
    with logged_in(dovecot.port, user) as client:
        fill(client)
    return dovecot.maildir(user)


@pytest.fixture(scope="module")
def proxy(
    dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    options: Options = {
        "listen": {"listen": "127.0.0.1:0", "listen-tls": "127.0.0.1:0", "tls-cert": str(certificates.both)},
        "submit": {"from-policy": "trust"},
    }
    with running_proxy(tmp_path_factory.mktemp("compress"), dovecot.port, postfix.port, options) as running:
        yield running


@pytest.fixture(params=["plain", "tls"])
def client(
    request: pytest.FixtureRequest, proxy: Proxy, dovecot: Dovecot, mail: Path, certificates: Certificates
) -> Iterator[RecordingClient]:
    context: ssl.SSLContext | None = trusting(certificates.ca) if request.param == "tls" else None
    port = proxy.tls_port if context else proxy.port
    with logged_in(port, dovecot.new_user(mail), context) as client:
        client.begin_compression()
        yield client


def read_everything(client: RecordingClient) -> bytes:
    client.heard()
    client.select("INBOX")
    client.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[])")
    client.select("Many")
    client.fetch(f"1:{MANY}", "(FLAGS ENVELOPE BODY.PEEK[])")
    client.select("Big")
    client.fetch("1", "(BODY.PEEK[])")
    client.append("Big", r"(\Seen)", DATE, HEADER + ODD_MESSAGES["every octet but NUL"])
    client.append("Big", r"(\Seen)", DATE, big_message())
    client.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
    return client.heard()


def test_every_octet_is_the_same_and_most_are_saved(client: RecordingClient, dovecot: Dovecot, mail: Path) -> None:
    compressed = read_everything(client)
    with logged_in(dovecot.port, dovecot.new_user(mail)) as direct:
        direct.noop()  # in the place of COMPRESS, so that the tags have the same numbers
        assert compressed == read_everything(direct), "another answer"
    assert client.received_compressed < len(compressed) / 2


def test_pipelined_commands(client: RecordingClient) -> None:
    client.select("Many")
    client.converse(b"".join(b"X%d FETCH %d (UID)\r\n" % (number, number) for number in range(1, MANY + 1)), b"X500")


def test_news_while_idle_come_at_once(client: RecordingClient) -> None:
    """A flush ends each batch of what the server says."""
    client.select("INBOX")
    client.send(b"X1 IDLE\r\n")
    assert client.readline().startswith(b"+ ")
    client.send(b"DONE\r\n")
    while not client.readline().startswith(b"X1 OK"):
        pass


def test_submission(client: RecordingClient, postfix: Postfix) -> None:
    assert client.submit(DRAFT) == "OK SUBMIT completed"
    assert b"Hello Joe" in postfix.take(1)["joe@example.com"].content


def test_log_says_who_compresses(client: RecordingClient, proxy: Proxy) -> None:
    client.logout()
    assert "compress=" in proxy.log()


@pytest.mark.parametrize("scheme", ["imap", "imaps"])
def test_mutt_copies_the_same(
    dovecot: Dovecot, proxy: Proxy, mail: Path, certificates: Certificates, tmp_path: Path, scheme: str
) -> None:
    """It compresses by itself, if it is told that it may."""
    require("mutt")
    force = "no" if scheme == "imap" else "yes"
    settings = f"set ssl_starttls=no ssl_force_tls={force} certificate_file={certificates.ca} imap_deflate=yes"
    for name in ("direct", "proxied"):
        (tmp_path / name).mkdir()
    before = proxy.log().count("compress=")
    port = proxy.port if scheme == "imap" else proxy.tls_port
    direct = mutt(dovecot.port, dovecot.new_user(mail), "Many", tmp_path / "direct")
    proxied = mutt(port, dovecot.new_user(mail), "Many", tmp_path / "proxied", settings, scheme)
    assert direct.startswith(b"From ")
    assert direct == proxied, "another copy"
    assert proxy.log().count("compress=") > before
