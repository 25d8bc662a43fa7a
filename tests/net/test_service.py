"""From a configuration to what sessions share."""

import socket
import ssl
from ipaddress import ip_network
from pathlib import Path

import pytest

from imapproxy.config import Config, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net.contexts import TlsContexts
from imapproxy.net.journal import Journal
from imapproxy.net.registry import Registry
from imapproxy.net.relay import Patience
from imapproxy.net.service import RUNNING_SUBMISSIONS, Service, host_name, service_of
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.capability import CAN_SUBMIT, CAN_SUBMIT_SENT, CAN_SUBMIT_URL, is_reusable, is_transparent
from tests.net.services import permissive_ledger

NO_TLS = TlsContexts(None, None, None)


def configuration(*flags: str) -> Config:
    return parse_command_line(["--mail-domain=example.com", *flags]).config


def service_for(*flags: str, contexts: TlsContexts = NO_TLS, host: str = "host.example", stop_fd: int = 0) -> Service:
    return service_of(configuration(*flags), host, stop_fd, permissive_ledger(), Registry(), contexts)


@pytest.mark.parametrize(("mechanisms", "policy"), [("reusable", is_reusable), ("all", is_transparent)])
def test_mechanisms_follow_the_configuration(mechanisms: str, policy: object) -> None:
    assert service_for("--auth-mechanisms", mechanisms).terms.may_offer is policy


def test_a_service_is_what_the_configuration_says() -> None:
    service = service_for(
        *("--imap-server=127.0.0.1:2143", "--smtp-server=127.0.0.1:1025", "--max-message-size=3M"),
        *("--login-timeout", "7", "--idle-timeout", "300", "--max-recipients", "9", "--imap-send-client-ip=id"),
        *("--from-policy", "trust", "--received-client-address", "off", "--smtp-timeout", "8", "--smtp-auth", "user"),
        *("--references", "off", "--max-composed-size", "4M", "--sent-mailbox", "Büro", "--smtp-xclient=on"),
        "--proxy-protocol-from=192.0.2.0/24,2001:db8::/32",
        stop_fd=5,
    )
    assert service.imap == UpstreamServer("127.0.0.1", 2143, send_client_ip="id")
    assert service.stop_fd == 5
    assert service.patience == Patience(7, 300)
    assert service.proxies == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    assert (service.terms.max_draft, service.terms.hides_forwarding_ids) == (3 << 20, True)
    site = service.site
    assert (site.mail_domains, site.from_policy, site.max_recipients) == (("example.com",), "trust", 9)
    assert (site.host_name, site.received_client_address) == ("host.example", False)
    assert (site.references, site.max_composed_size, site.sent_mailbox) == (False, 4 << 20, "Büro")
    smtp = service.smtp
    assert (smtp.host, smtp.port, smtp.auth, smtp.timeout) == ("127.0.0.1", 1025, "user", 8)
    assert (smtp.host_name, smtp.tls, smtp.xclient) == ("host.example", "off", True)


def test_there_is_a_journal_where_one_is_configured(tmp_path: Path) -> None:
    assert service_for().journal is None
    assert isinstance(service_for(f"--journal={tmp_path / 'journal'}").journal, Journal)
    assert list(tmp_path.iterdir()) == []  # it is there already when a worker starts


@pytest.mark.parametrize("way", ["off", "proxy-protocol"])
def test_only_ids_that_the_proxy_says_itself_hide_the_clients(way: str) -> None:
    assert not service_for(f"--imap-send-client-ip={way}").terms.hides_forwarding_ids


def test_tls_is_offered_where_there_is_a_certificate() -> None:
    contexts = TlsContexts(*(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(3)))
    service = service_for("--imap-tls=starttls", "--smtp-tls=on", contexts=contexts)
    assert (service.terms.starttls, service.terms.require_tls) == (True, False)
    assert (service.tls, service.imap.context, service.smtp.context) == (
        contexts.server,
        contexts.imap,
        contexts.smtp,
    )
    assert (service.imap.tls, service.smtp.tls) == ("starttls", "on")
    service = service_for()
    assert (service.terms.starttls, service.tls, service.imap.tls, service.smtp.tls) == (False, None, "off", "off")


def test_tls_is_required_where_the_configuration_says_so(tmp_path_factory: pytest.TempPathFactory) -> None:
    certificate = tmp_path_factory.mktemp("tls") / "cert.pem"
    certificate.touch(mode=0o600)
    assert service_for("--require-tls", f"--tls-cert={certificate}").terms.require_tls


@pytest.mark.parametrize(
    ("flags", "announced"),
    [
        ((), (CAN_SUBMIT, CAN_SUBMIT_URL)),
        (("--references=off",), (CAN_SUBMIT,)),
        (("--sent-mailbox=auto",), (CAN_SUBMIT, CAN_SUBMIT_URL, CAN_SUBMIT_SENT)),
    ],
)
def test_what_is_done_for_a_message_is_announced(flags: tuple[str, ...], announced: tuple[bytes, ...]) -> None:
    assert service_for(*flags).terms.announced == announced


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        ((), {"host.example", "127.0.0.1"}),  # the default of imap-server
        (("--server-names=Mail.example.,[::0:1]",), {"mail.example", "::1", "127.0.0.1"}),
        (("--imap-server=IMAP.example.:143",), {"host.example", "imap.example"}),
    ],
)
def test_the_imap_server_is_known_by_the_names_that_clients_use(flags: tuple[str, ...], names: set[str]) -> None:
    assert service_for(*flags, host="Host.Example").site.server_names == names


@pytest.mark.parametrize(
    ("workers", "share"),
    [(1, RUNNING_SUBMISSIONS), (4, RUNNING_SUBMISSIONS // 4), (2 * RUNNING_SUBMISSIONS, 1)],
)
def test_submissions_run_in_bounded_number_in_all_workers_together(workers: int, share: int) -> None:
    bound = service_for(f"--workers={workers}").running_submissions
    taken = [bound.acquire(blocking=False) for _ in range(share + 1)]
    assert taken == [True] * share + [False]


def test_the_host_name_is_this_machines_and_has_a_domain() -> None:
    name = socket.gethostname()
    assert host_name("example.com") == (name if "." in name else f"{name}.example.com")
    assert host_name(name) == name


def test_a_host_name_that_is_none_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "no_host")
    with pytest.raises(ConfigError, match=r"'no_host', is no host name; see hostname\(1\)"):
        host_name("example.com")
