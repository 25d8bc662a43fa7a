"""What all sessions of a worker share, as the configuration has it."""

import re
import socket
import ssl
import threading
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from imapproxy.config import Config
from imapproxy.errors import ConfigError
from imapproxy.message.message import Site
from imapproxy.net.contexts import TlsContexts
from imapproxy.net.deliver import SmtpServer
from imapproxy.net.journal import Journal
from imapproxy.net.ledger import Ledger
from imapproxy.net.registry import Registry
from imapproxy.net.relay import Patience
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.capability import CAN_SUBMIT, CAN_SUBMIT_SENT, CAN_SUBMIT_URL, is_reusable, is_transparent
from imapproxy.protocol.terms import Terms

# Submissions that speak to the SMTP server, and on side connections to the IMAP server, at once, of all workers
# together; a Postfix takes 50 connections from one address.
RUNNING_SUBMISSIONS = 40
# Clients that are told over TLS that there are too many of them, at once: each costs a handshake.
FAREWELL_HANDSHAKES = 4

# Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str] (RFC 5321 4.1.2)
_HOST_NAME = re.compile(r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*(?:\.[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*)*")


@dataclass(frozen=True, slots=True)
class Service:
    """What all sessions share.

    ``tls`` is what TLS with clients needs, None where there is no certificate. Whoever connects from one of
    ``proxies`` begins with a header of the PROXY protocol. ``running_submissions`` bounds how many submissions speak
    to other servers at once: each costs descriptors. ``journal`` is None where none is kept. ``stop_fd`` becomes
    readable when the program stops.
    """

    imap: UpstreamServer
    terms: Terms
    patience: Patience
    site: Site
    smtp: SmtpServer
    tls: ssl.SSLContext | None
    proxies: tuple[IPv4Network | IPv6Network, ...]
    running_submissions: threading.Semaphore
    farewell_handshakes: threading.Semaphore
    ledger: Ledger
    registry: Registry
    journal: Journal | None
    stop_fd: int


def service_of(  # noqa: PLR0913, PLR0917 - what a worker has, each given once
    config: Config, host: str, stop_fd: int, ledger: Ledger, registry: Registry, contexts: TlsContexts
) -> Service:
    """Return what sessions need of a configuration; ``host`` is this machine's name."""
    return Service(
        imap=UpstreamServer(
            host=config.imap_server.host,
            port=config.imap_server.port,
            tls=config.imap_tls,
            context=contexts.imap,
            send_client_ip=config.imap_send_client_ip,
        ),
        terms=_terms(config, contexts),
        patience=Patience(config.login_timeout, config.idle_timeout),
        site=_site(config, host),
        smtp=_smtp(config, host, contexts),
        tls=contexts.server,
        proxies=config.proxy_protocol_from,
        running_submissions=threading.BoundedSemaphore(max(1, RUNNING_SUBMISSIONS // config.workers)),
        farewell_handshakes=threading.BoundedSemaphore(FAREWELL_HANDSHAKES),
        ledger=ledger,
        registry=registry,
        journal=Journal(config.journal) if config.journal else None,
        stop_fd=stop_fd,
    )


def _terms(config: Config, contexts: TlsContexts) -> Terms:
    announced = {CAN_SUBMIT: True, CAN_SUBMIT_URL: config.references, CAN_SUBMIT_SENT: bool(config.sent_mailbox)}
    return Terms(
        max_draft=config.max_message_size,
        may_offer=is_transparent if config.auth_mechanisms == "all" else is_reusable,
        announced=tuple(capability for capability, holds in announced.items() if holds),
        starttls=contexts.server is not None,
        require_tls=config.require_tls,
        hides_forwarding_ids=config.imap_send_client_ip == "id",
    )


def _smtp(config: Config, host: str, contexts: TlsContexts) -> SmtpServer:
    return SmtpServer(
        host=config.smtp_server.host,
        port=config.smtp_server.port,
        auth=config.smtp_auth,
        username=config.smtp_username,
        password=config.smtp_password,
        timeout=config.smtp_timeout,
        host_name=host,
        tls=config.smtp_tls,
        context=contexts.smtp,
        xclient=config.smtp_xclient,
    )


def _site(config: Config, host: str) -> Site:
    names = config.server_names or (host,)
    return Site(
        mail_domains=config.mail_domain,
        from_policy=config.from_policy,
        identities=config.identities,
        max_recipients=config.max_recipients,
        host_name=host,
        received_client_address=config.received_client_address,
        references=config.references,
        max_composed_size=config.max_composed_size,
        sent_mailbox=config.sent_mailbox,
        server_names=frozenset(name.lower().removesuffix(".") for name in (*names, config.imap_server.host)),
    )


def host_name(mail_domain: str) -> str:
    """Return this machine's name as a mail server may say it (RFC 5321 2.3.5), without asking the DNS.

    A name without a domain is completed with ``mail_domain``, or is that.
    """
    name = socket.gethostname()
    if not _HOST_NAME.fullmatch(name):
        raise ConfigError(f"this machine's name, {name!r}, is no host name; see hostname(1)")
    return name if "." in name or name == mail_domain else f"{name}.{mail_domain}"
