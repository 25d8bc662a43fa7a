"""TLS on all sides with real servers and real clients: each way in with each way out, and every bad certificate."""

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates
from tests.functional.clients import RecordingClient, curl, logged_in, maildirs, mbsync, mutt
from tests.functional.delivered import without_trace
from tests.functional.dovecot import PASSWORD, SecuredDovecot
from tests.functional.fake_imap import connect
from tests.functional.packages import require
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Options, Proxy, running_proxy
from tests.functional.samples import DATE, HEADER, ODD_MESSAGES, big_message
from tests.functional.scripted import eventually
from tests.functional.secured import BAD, GOOD, trusting

DRAFT = HEADER + b"Message-Id: <1@example.com>\r\n\r\nHello Joe\r\n"
NOBODY_THERE = b"* BYE [UNAVAILABLE] "

# How the proxy reaches both of its servers; the user's address must pass, whoever he is.
WAYS_OUT = ("off", "starttls", "on")


@pytest.fixture(scope="module")
def context(certificates: Certificates) -> ssl.SSLContext:
    return trusting(certificates.ca)


class Doors:
    """Proxies to the real servers, one for each way of reaching them; each is started when it is first wanted."""

    def __init__(
        self, stack: ExitStack, directory: Path, dovecot: SecuredDovecot, postfix: Postfix, certificates: Certificates
    ) -> None:
        self._stack = stack
        self._directory = directory
        self._dovecot = dovecot
        self._postfix = postfix
        self._certificates = certificates
        self._running: dict[str, Proxy] = {}

    def through(self, way: str) -> Proxy:
        if way not in self._running:
            self._running[way] = self.open(way, self.trust(way))
        return self._running[way]

    def trust(self, way: str) -> Options:
        ca = str(self._certificates.ca)
        if way == "off":
            return {}
        return {"imap": {"imap-tls-ca": ca}, "smtp": {"smtp-tls-ca": ca}}

    def open(self, way: str, trust: Options, imap_host: str = GOOD, smtp_host: str = GOOD) -> Proxy:
        """Start a proxy that reaches its servers that way, at those addresses."""
        imap_port = {"off": self._dovecot.port, "starttls": self._dovecot.port, "on": self._dovecot.tls_port}[way]
        smtp_port = {"off": self._postfix.port, "starttls": self._postfix.starttls_port, "on": self._postfix.tls_port}
        options: Options = {
            "listen": {
                "listen": "127.0.0.1:0",
                "listen-tls": "127.0.0.1:0",
                "tls-cert": str(self._certificates.cert),
                "tls-key": str(self._certificates.key),
            },
            "imap": {"imap-server": f"{imap_host}:{imap_port}", "imap-tls": way, **trust.get("imap", {})},
            "smtp": {"smtp-server": f"{smtp_host}:{smtp_port[way]}", "smtp-tls": way, **trust.get("smtp", {})},
            "submit": {"from-policy": "trust"},
        }
        directory = self._directory / f"{way} {imap_host} {smtp_host} {len(list(self._directory.iterdir()))}"
        directory.mkdir()
        return self._stack.enter_context(running_proxy(directory, imap_port, smtp_port[way], options))


@pytest.fixture(scope="module")
def doors(
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    certificates: Certificates,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Doors]:
    with ExitStack() as stack:
        yield Doors(stack, tmp_path_factory.mktemp("doors"), secured_dovecot, postfix, certificates)


@pytest.fixture
def user(secured_dovecot: SecuredDovecot) -> str:
    return secured_dovecot.server.new_user()


WayIn = Callable[[Proxy, ssl.SSLContext], RecordingClient]


def plain(proxy: Proxy, _: ssl.SSLContext) -> RecordingClient:
    return RecordingClient(proxy.port)


def starttls(proxy: Proxy, context: ssl.SSLContext) -> RecordingClient:
    client = RecordingClient(proxy.port)
    client.starttls(context)
    return client


def implicit(proxy: Proxy, context: ssl.SSLContext) -> RecordingClient:
    return RecordingClient(proxy.tls_port, context)


@pytest.mark.parametrize("way_in", [plain, starttls, implicit])
@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_every_way_in_with_every_way_out(
    doors: Doors, postfix: Postfix, context: ssl.SSLContext, user: str, way_in: WayIn, way_out: str
) -> None:
    """Mail is stored, read and sent by it: eight bits, and five megabytes."""
    proxy = doors.through(way_out)
    with way_in(proxy, context) as client:
        client.login(user, PASSWORD)
        odd = HEADER + ODD_MESSAGES["eight bits"]
        stored = [odd, big_message()]
        for message in stored:
            client.store_message("INBOX", message)
        client.select("INBOX")
        _, data = client.fetch("1:2", "(BODY.PEEK[])")
        fetched = [item[1] for item in data if isinstance(item, tuple)]
        assert fetched == stored, [len(octets) for octets in fetched]
        assert client.submit(DRAFT) == "OK SUBMIT completed"
    arrival = postfix.take(1)["joe@example.com"]
    assert without_trace(arrival.content).endswith(b"\r\n\r\nHello Joe\r\n")


@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_references_and_sent_copy_go_the_same_way(
    doors: Doors,
    secured_dovecot: SecuredDovecot,
    postfix: Postfix,
    context: ssl.SSLContext,
    user: str,
    way_out: str,
) -> None:
    """The proxy's own logins are as encrypted as the client's."""
    proxy = doors.through(way_out)
    with implicit(proxy, context) as client:
        client.login(user, PASSWORD)
        uid = client.store_message("INBOX", HEADER + ODD_MESSAGES["plain"])
        draft = DRAFT.partition(b"\r\n\r\n")[0] + (
            b'\r\nContent-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=%d"\r\n\r\n\r\n' % uid
        )
        assert client.submit(draft) == "OK SUBMIT completed"
    assert b"Hello Joe" in postfix.take(1)["joe@example.com"].content

    def logins() -> list[str]:
        return [line for line in secured_dovecot.log().splitlines() if f"Login: user=<{user}>" in line]

    assert eventually(lambda: len(logins()) >= 2), logins()
    assert [" TLS, " in line for line in logins()] == [way_out != "off"] * 2


def test_capabilities_differ_by_what_the_proxy_adds_and_takes(
    doors: Doors, context: ssl.SSLContext, secured_dovecot: SecuredDovecot, user: str
) -> None:
    """STARTTLS and COMPRESS are the proxy's own, whatever Dovecot has; and Dovecot's STARTTLS is never shown."""
    direct = set(RecordingClient(secured_dovecot.port).capabilities) - {"STARTTLS"}
    added = {"CAN-SUBMIT", "CAN-SUBMIT=URL"}
    for way in WAYS_OUT:
        proxy = doors.through(way)
        assert set(plain(proxy, context).capabilities) == direct | added | {"STARTTLS"}
        for way_in in (starttls, implicit):
            with way_in(proxy, context) as client:
                assert set(client.capabilities) == direct | added
                client.login(user, PASSWORD)
                client._get_capabilities()
                assert "COMPRESS=DEFLATE" in client.capabilities
                assert "STARTTLS" not in client.capabilities


# What is wrong with a server's certificate


@pytest.mark.parametrize(("why", "way_out"), list(zip(BAD, ["on", "starttls", "on"], strict=True)))
def test_imap_server_with_a_bad_certificate(doors: Doors, why: str, way_out: str) -> None:
    """The client is told that the server cannot be reached, the log says why; no password is sent."""
    proxy = doors.open(way_out, doors.trust(way_out), imap_host=BAD[why])
    assert greeting(proxy.port).startswith(NOBODY_THERE)
    assert_says_why(proxy.log(), why)


@pytest.mark.parametrize(("why", "way_out"), list(zip(BAD, ["starttls", "on", "starttls"], strict=True)))
def test_smtp_server_with_a_bad_certificate(doors: Doors, user: str, why: str, way_out: str) -> None:
    proxy = doors.open(way_out, doors.trust(way_out), smtp_host=BAD[why])
    with logged_in(proxy.port, user) as client:
        assert client.submit(DRAFT).startswith("NO 4.")
    assert_says_why(proxy.log(), why)


def greeting(port: int) -> bytes:
    with connect(port) as client:
        return client.line()


def assert_says_why(log: str, why: str) -> None:
    phrase = {"unknown": "issuer", "wrong name": "mismatch", "expired": "expired"}[why]
    assert any(phrase in line for line in log.splitlines()), log


def test_bad_certificates_where_nobody_looks(doors: Doors, postfix: Postfix, user: str) -> None:
    """``verify = off``: for those who know what they do."""
    anybody: Options = {"imap": {"imap-tls-verify": "off"}, "smtp": {"smtp-tls-verify": "off"}}
    proxy = doors.open("starttls", anybody, imap_host=BAD["expired"], smtp_host=BAD["wrong name"])
    with logged_in(proxy.port, user) as client:
        assert client.submit(DRAFT) == "OK SUBMIT completed"
    postfix.take(1)


def test_system_authorities_by_default(doors: Doors, user: str) -> None:
    """They have not signed for our servers."""
    proxy = doors.open("on", {})
    assert greeting(proxy.port).startswith(NOBODY_THERE)
    only_smtp = doors.open("on", {"imap": doors.trust("on")["imap"]})
    with logged_in(only_smtp.port, user) as client:
        assert client.submit(DRAFT).startswith("NO 4.")


# Real clients


@pytest.fixture(scope="module")
def mail(secured_dovecot: SecuredDovecot) -> Path:
    """Return a maildir with the odd messages and a big one."""
    user = secured_dovecot.server.new_user()
    with logged_in(secured_dovecot.port, user) as client:
        for message in [*ODD_MESSAGES.values(), big_message()]:
            client.append("INBOX", "", DATE, HEADER + message)
    return secured_dovecot.server.maildir(user)


class Paths:
    """The way to Dovecot itself without TLS, and the ways through the proxy with it."""

    def __init__(self, dovecot: SecuredDovecot, proxy: Proxy, mail: Path) -> None:
        self.dovecot, self.proxy, self._mail = dovecot, proxy, mail

    def user(self) -> str:
        return self.dovecot.server.new_user(self._mail)


@pytest.fixture
def paths(secured_dovecot: SecuredDovecot, doors: Doors, mail: Path) -> Paths:
    return Paths(secured_dovecot, doors.through("starttls"), mail)


def test_curl_reads_the_same(paths: Paths, certificates: Certificates) -> None:
    require("curl")
    pages = [f"INBOX;MAILINDEX={number}" for number in range(1, len(ODD_MESSAGES) + 2)]
    direct, implicit, starttls = paths.user(), paths.user(), paths.user()
    ca = ("--cacert", str(certificates.ca))
    for page in pages:
        read = curl(paths.dovecot.port, direct, page)
        assert read == curl(paths.proxy.tls_port, implicit, page, *ca, scheme="imaps")
        assert read == curl(paths.proxy.port, starttls, page, "--ssl-reqd", *ca)


@pytest.mark.parametrize("kind", ["IMAPS", "STARTTLS"])
def test_mbsync_makes_the_same_maildirs(paths: Paths, certificates: Certificates, tmp_path: Path, kind: str) -> None:
    require("mbsync")
    tls = f"SSLType {kind}\nSystemCertificates no\nCertificateFile {certificates.ca}"
    port = paths.proxy.tls_port if kind == "IMAPS" else paths.proxy.port
    made = []
    for port_taken, security in ((paths.dovecot.port, "SSLType None"), (port, tls)):
        user = paths.user()
        (tmp_path / user).mkdir()
        mbsync(port_taken, user, tmp_path / user, security, "localhost")
        made.append(maildirs(tmp_path / user / "mail"))
    assert sum(map(len, made[0].values())) == len(ODD_MESSAGES) + 1
    assert made[0] == made[1]


@pytest.mark.parametrize("scheme", ["imaps", "imap"])
def test_mutt_copies_the_same(paths: Paths, certificates: Certificates, tmp_path: Path, scheme: str) -> None:
    require("mutt")
    settings = f"set ssl_force_tls=yes ssl_starttls=yes certificate_file={certificates.ca}"
    port = paths.proxy.tls_port if scheme == "imaps" else paths.proxy.port
    for name in ("direct", "proxied"):
        (tmp_path / name).mkdir()
    direct = mutt(paths.dovecot.port, paths.user(), "INBOX", tmp_path / "direct")
    proxied = mutt(port, paths.user(), "INBOX", tmp_path / "proxied", settings, scheme)
    assert direct.startswith(b"From ")
    assert direct == proxied
