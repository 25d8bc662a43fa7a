"""The guides in ``docs/``, done as they are written: with Debian's Dovecot, Postfix and HAProxy, and mail clients."""

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.functional.certificates import Pair, authority
from tests.functional.clients import RecordingClient, curl, mbsync, messages, mutt
from tests.functional.dovecot import PASSWORD
from tests.functional.guide import (
    WORLD,
    Block,
    Machine,
    blocks,
    lay_out_dovecot,
    lay_out_postfix,
    open_to_servers,
    port_numbers,
    run,
    running_dovecot,
    running_imapproxy,
    running_postfix,
    under,
)
from tests.functional.haproxy import running_haproxy
from tests.functional.lmtp_sink import LmtpSink, running_lmtp_sink
from tests.functional.mail_host import DRAFT, TO_THE_WORLD, MailHost, certificate_for, install
from tests.functional.packages import require
from tests.functional.process import public_directory
from tests.functional.proxy_process import Proxy
from tests.functional.scripted import eventually
from tests.functional.secured import FAR_AWAY, trusting

FIRST, BEHIND_HAPROXY, SEVERAL = "dovecot-and-postfix.md", "haproxy.md", "several-appliances.md"


@pytest.fixture(scope="module")
def sink() -> Iterator[LmtpSink]:
    with running_lmtp_sink() as running:
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[Path]:
    with public_directory("imapproxy-guide-") as directory:
        yield directory


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("ca"), "ca")


@dataclass(frozen=True)
class Appliances:
    """Two proxies behind a HAProxy that is at ``address``; ``first`` ends the first of them."""

    servers: Machine
    address: tuple[str, int]
    ca: Path
    proxies: list[Proxy]
    first: ExitStack

    def client(self, source: str) -> RecordingClient:
        client = RecordingClient(self.address[1], trusting(self.ca), source, self.address[0])
        client.login("fred", PASSWORD)
        return client


# In front of Dovecot and Postfix on one host


WAYS_TO_POSTFIX = ("mynetworks", "XCLIENT", "SASL")


def first_guide(way: str) -> list[Block]:
    """Return the blocks that hold for one of the three ways."""
    found = blocks(FIRST)
    others = under(found, *(each for each in WAYS_TO_POSTFIX if each != way))
    return [block for block in found if block not in others]


@contextmanager
def mail_host(
    guide: list[Block], machine: Machine, ca: Pair, sink: LmtpSink, imap: tuple[str, int]
) -> Iterator[MailHost]:
    """Follow a guide for a host with Dovecot, which will be reached there, Postfix and imapproxy."""
    lay_out_dovecot(machine)
    lay_out_postfix(machine, sink, machine.address)
    install(machine, certificate_for(machine, ca, "first"))
    machine.add(guide)
    open_to_servers(machine.root)
    with (
        running_dovecot(machine, imap),
        running_postfix(machine, (machine.address, machine.ports[25])),
        running_imapproxy(machine) as proxy,
    ):
        yield MailHost(machine, proxy, ca.cert)


@pytest.fixture(scope="module", params=WAYS_TO_POSTFIX)
def host(request: pytest.FixtureRequest, ca: Pair, sink: LmtpSink) -> Iterator[MailHost]:
    with public_directory("imapproxy-guide-") as directory:
        machine = Machine(directory, "127.0.0.1", port_numbers())
        imap = ("127.0.0.1", machine.ports[943])
        with mail_host(first_guide(request.param), machine, ca, sink, imap) as running:
            yield running


def way_of(host: MailHost) -> str:
    text = host.log("etc/imapproxy/imapproxy.conf")
    return "XCLIENT" if "smtp-xclient = on" in text else "SASL" if "smtp-auth = user" in text else "mynetworks"


def commands(heading: str) -> list[Block]:
    return [block for block in under(blocks(FIRST), heading) if not block.file.startswith("/")]


def test_configuration_is_good(host: MailHost) -> None:
    [check] = [block for block in under(blocks(FIRST), "Configure imapproxy") if not block.file]
    run(host.machine, check.text, host.ca)


def test_what_is_to_be_tried(host: MailHost) -> None:
    """Read with curl, send over port 993; then Joe has the message, and Fred a copy."""
    require("curl", "mbsync", "mutt")
    read, program, send = commands("Try it")
    assert "STATUS INBOX (MESSAGES" in run(host.machine, read.text, host.ca, f"{PASSWORD}\n").replace('"', "")
    (host.machine.root / program.file).write_text(host.machine.typed(program.text))
    assert run(host.machine, send.text, host.ca, f"{PASSWORD}\n").endswith("OK [b'SUBMIT completed']\n")

    arrived = Path(host.machine.root / "mail/joe/new")
    assert eventually(lambda: arrived.exists() and any(arrived.iterdir()))
    tls = ("--cacert", str(host.ca))
    message = curl(host.tls_port, "joe", "INBOX;MAILINDEX=1", *tls, scheme="imaps")
    assert b"Subject: by the same connection\r\n" in message
    assert message.endswith(b"\r\n\r\nHello Joe.\r\n")
    assert b"Hello Joe." in curl(host.tls_port, "fred", "Sent;MAILINDEX=1", *tls, scheme="imaps")
    assert re.search(r"submission .*user=fred .*queued as", host.proxy.log()), host.proxy.log()


def test_mail_programs_with_tls_and_starttls(host: MailHost, tmp_path: Path) -> None:
    """As anybody has them set up for this server already."""
    require("mbsync", "mutt")
    with host.client() as client:
        assert client.submit(DRAFT % b"joe@example.com") == "OK SUBMIT completed"
    arrived = host.machine.root / "mail/joe/new"
    assert eventually(lambda: arrived.exists() and any(b"Hello" in path.read_bytes() for path in arrived.iterdir()))
    security = f"SystemCertificates no\nCertificateFile {host.ca}"
    mbsync(host.tls_port, "joe", tmp_path, f"SSLType IMAPS\n{security}", "localhost")
    mail = [octets for name in ("new", "cur") for _, octets in messages(tmp_path / "mail/INBOX" / name)]
    assert any(b"Hello" in octets for octets in mail)
    settings = f"set ssl_force_tls=yes ssl_starttls=yes certificate_file={host.ca}"
    assert b"Hello" in mutt(host.machine.ports[143], "joe", "INBOX", tmp_path, settings)


def assert_logged(log: Path, told: str) -> None:
    """See that a server's log says that, once the server has written it down."""
    assert eventually(lambda: told in log.read_text(errors="replace")), log.read_text(errors="replace")[-5000:]


def test_password_in_plain_text_is_refused(host: MailHost) -> None:
    client = RecordingClient(host.machine.ports[143], source=FAR_AWAY)
    with pytest.raises(RecordingClient.error, match="PRIVACYREQUIRED"):
        client.login("fred", PASSWORD)


def test_mail_leaves_for_the_world(host: MailHost, sink: LmtpSink) -> None:
    """Postfix relays it, and knows of the sender what the guide says."""
    with host.client() as client:
        assert client.submit(TO_THE_WORLD) == "OK SUBMIT completed"
        assert client.submit(DRAFT.replace(b"fred@", b"joe@") % b"joe@example.com").startswith("NO 5.7.")
    assert sink.take().sender == "fred@example.com"
    known = {
        "mynetworks": "client=unknown[127.0.0.1]",
        "XCLIENT": f"client=unknown[{FAR_AWAY}]",
        "SASL": "client=unknown[127.0.0.1], sasl_method=PLAIN, sasl_username=fred",
    }
    assert_logged(host.machine.root / "postfix.log", known[way_of(host)])


def test_dovecot_knows_where_the_client_is(host: MailHost) -> None:
    with host.client("joe") as client:
        client.noop()
    assert_logged(host.machine.root / "var/log/dovecot.log", f"user=<joe>, method=PLAIN, rip={FAR_AWAY},")


def test_certificate_is_renewed(host: MailHost, ca: Pair) -> None:
    """By the hook as it stands in the guide."""
    with host.client() as client:
        [hook] = [block for block in under(blocks(FIRST), "Renew") if block.file]
        first = serial(host)
        install(host.machine, certificate_for(host.machine, ca, "renewed"))
        open_to_servers(host.machine.root / "etc")
        subprocess.run([host.machine.path(hook.file)], check=True, timeout=30)
        assert eventually(lambda: serial(host) != first)
        client.noop()


def serial(host: MailHost) -> str:
    client = RecordingClient(host.tls_port, trusting(host.ca), FAR_AWAY)
    certificate = client.sock.getpeercert()  # type: ignore[attr-defined]  # it is an SSLSocket
    client.logout()
    return str(certificate["serialNumber"])


def test_log_is_rotated_without_a_signal(host: MailHost) -> None:
    """As logrotate does it: the file is moved, and an empty one made for the same account."""
    log = host.machine.path("/var/log/imapproxy/imapproxy.log")
    owner = log.stat()
    log.rename(log.with_name("imapproxy.log.1"))
    log.touch(0o640)
    os.chown(log, owner.st_uid, owner.st_gid)
    with host.client() as client:
        client.noop()
    assert eventually(lambda: "login user=fred" in log.read_text())


def test_status(host: MailHost) -> None:
    with host.client() as client:
        client.noop()
        [text] = re.findall(r"`(imapproxy -c \S+ --status)`", (Path(__file__).parents[2] / "docs" / FIRST).read_text())
        assert re.search(rf"fred\s.*{FAR_AWAY}", run(host.machine, text, host.ca))
        health = fetched(host.machine, "/healthz")
        assert json.loads(health)
        assert "imapproxy_" in fetched(host.machine, "/metrics")


def fetched(machine: Machine, path: str) -> str:
    with urllib.request.urlopen(f"http://{machine.address}:{machine.ports[9143]}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


# Behind HAProxy


@pytest.fixture(scope="module")
def behind(site: Path, ca: Pair, sink: LmtpSink) -> Iterator[MailHost]:
    """Follow the guide but for HAProxy itself."""
    guide = blocks(BEHIND_HAPROXY)
    machine = Machine(site / "behind", "127.0.0.10", port_numbers())
    without = [block for block in guide if not block.file.endswith("haproxy.cfg")]
    with mail_host(without, machine, ca, sink, ("127.0.0.1", machine.ports[943])) as running:
        yield running


@pytest.mark.parametrize("where", ["at imapproxy", "there"])
def test_behind_haproxy(behind: MailHost, sink: LmtpSink, tmp_path: Path, where: str) -> None:
    """Mail is read and sent through it, and all logs have the client's address."""
    source = f"127.0.0.{len(where)}7"
    [balancer] = under(blocks(BEHIND_HAPROXY), f"HAProxy: TLS ends {where}")
    front = Machine(behind.machine.root, "127.0.0.5", behind.machine.ports)
    address = (front.address, front.ports[993])
    with running_haproxy(tmp_path, front.local(balancer.text), address):
        await_checked(address, behind.ca)
        client = RecordingClient(address[1], trusting(behind.ca), source, address[0])
        client.login("fred", PASSWORD)
        message = TO_THE_WORLD.replace(b"Hello", source.encode())
        assert client.submit(message) == "OK SUBMIT completed"
        assert client.submit(message).startswith("OK SUBMIT completed (accepted earlier, at ")
        client.logout()
        if where == "at imapproxy":
            client = RecordingClient(front.ports[143], None, source, front.address)
            client.starttls(trusting(behind.ca))
            client.login("joe", PASSWORD)
            client.logout()
    assert f"Received: from [{source}]".encode() in sink.take().content
    assert re.search(rf"login user=fred client={source} ", behind.proxy.log())
    assert_logged(behind.machine.root / "var/log/dovecot.log", f"user=<fred>, method=PLAIN, rip={source},")
    assert_logged(behind.machine.root / "postfix.log", f"client=unknown[{source}]")
    assert "client=127.0.0.5 " not in behind.proxy.log()


def await_checked(address: tuple[str, int], ca: Path) -> None:
    """Wait until HAProxy has found that somebody serves behind it."""

    def is_greeted() -> bool:
        try:
            RecordingClient(address[1], trusting(ca), FAR_AWAY, address[0]).logout()
        except (OSError, RecordingClient.error):
            return False
        return True

    assert eventually(is_greeted)


# Several appliances


@pytest.fixture(scope="module")
def service(site: Path, ca: Pair, sink: LmtpSink) -> Iterator[Appliances]:
    """Follow the guide on four machines."""
    guide = blocks(SEVERAL)
    ports = port_numbers()
    servers, balancer = Machine(site / "servers", "127.0.0.20", ports), Machine(site / "balancer", "127.0.0.5", ports)
    machines = [Machine(site / name, f"127.0.0.{number}", ports) for name, number in (("one", 11), ("two", 12))]
    pair = certificate_for(servers, ca, "service")
    lay_out_dovecot(servers)
    lay_out_postfix(servers, sink, servers.address)
    install(servers, pair)
    servers.add(under(guide, "Dovecot", "Postfix"))
    for machine in machines:
        install(machine, pair)
        machine.path("/etc/imapproxy/ca.pem").write_bytes(ca.cert.read_bytes())
        machine.add(under(guide, "imapproxy, the same"))
    open_to_servers(site)
    [haproxy] = under(guide, "HAProxy")
    address = (balancer.address, ports[993])
    with (
        running_dovecot(servers, (servers.address, ports[993])),
        running_postfix(servers, (servers.address, ports[587])),
        ExitStack() as first,
        ExitStack() as second,
        running_haproxy(site, balancer.local(haproxy.text), address),
    ):
        proxies = [
            stack.enter_context(running_imapproxy(machine))
            for machine, stack in zip(machines, (first, second), strict=True)
        ]
        await_checked(address, ca.cert)
        yield Appliances(servers, address, ca.cert, proxies, first)


def by_name(uid: int) -> bytes:
    """Return a draft that refers to a message by the name of the service, from one of Fred's further addresses."""
    fields = DRAFT.partition(b"\r\n\r\n")[0].replace(b"fred@", b"fred.foobar@") % f"someone@{WORLD}".encode()
    url = b'URL="imap://mail.example.com/INBOX/;UID=%d"' % uid
    return fields + b"\r\nContent-Type: message/external-body; access-type=URL; " + url + b"\r\n\r\n\r\n"


def test_several_appliances(service: Appliances, sink: LmtpSink) -> None:
    """Whichever it is, it does the same; and what goes to the servers is encrypted."""
    sources = [f"127.0.0.{number}" for number in range(70, 80)]
    for source in sources:
        with service.client(source) as client:
            uid = client.store_message("INBOX", DRAFT % b"joe@example.com")
            assert client.submit(by_name(uid)) == "OK SUBMIT completed"
        arrival = sink.take()
        assert b" with ESMTPSA " in arrival.content
        assert f"Received: from [{source}]".encode() in arrival.content
    assert all("submission user=fred" in proxy.log() for proxy in service.proxies), "one has got all"
    for source in sources:
        assert_logged(service.servers.root / "var/log/dovecot.log", f"rip={source}, lip=")
    assert_logged(service.servers.root / "postfix.log", "sasl_method=PLAIN, sasl_username=fred")


def test_one_appliance_goes(service: Appliances) -> None:
    """Its clients come again and get the other one."""
    sources = [f"127.0.0.{number}" for number in range(70, 80)]
    before = service.proxies[1].log().count("login user=fred")
    for source in sources:
        service.client(source).logout()
    assert service.proxies[1].log().count("login user=fred") - before < len(sources)
    service.first.close()

    def is_served(source: str) -> bool:
        with suppress(OSError, RecordingClient.error), service.client(source) as client:
            client.select("INBOX")
            return True
        return False

    for source in sources:
        assert eventually(partial(is_served, source)), source
