"""The process around the listeners: how it begins to serve, and how a signal ends it in order.

One process for now; a parent that binds the listeners and workers that serve on them will stand here.
"""

import os
import re
import signal
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack

from imapproxy.config import Config, HostPort
from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record
from imapproxy.message.message import Site
from imapproxy.net.deliver import SmtpServer
from imapproxy.net.mailboxes import ImapServer
from imapproxy.net.relay import Patience
from imapproxy.net.server import STACK_SIZE, Listener, SessionThreads, clients_allowed
from imapproxy.net.session import Service
from imapproxy.protocol.capability import (
    CAN_SUBMIT,
    CAN_SUBMIT_SENT,
    CAN_SUBMIT_URL,
    is_reusable,
    is_transparent,
)

# Submissions that run when the program is told to stop have so long to finish, in seconds.
STOP_PATIENCE = 30
# Submissions that speak to the SMTP server, and on side connections to the IMAP server, at once; a Postfix takes 50
# connections from one address.
RUNNING_SUBMISSIONS = 40

# Domain = sub-domain *("." sub-domain); sub-domain = Let-dig [Ldh-str] (RFC 5321 4.1.2)
_HOST_NAME = re.compile(r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*(?:\.[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*)*")

_STOP_SIGNALS = frozenset({signal.SIGTERM, signal.SIGINT})


def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT, then end all sessions in order.

    Raise ConfigError where an address cannot be listened on.
    """
    # Before there are threads, which inherit the mask: so only sigwait() below takes these signals.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    threading.stack_size(STACK_SIZE)
    max_clients = clients_allowed(config.max_clients, RUNNING_SUBMISSIONS)
    if max_clients < config.max_clients:
        LOGGER.warning(record("max-clients-lowered", to=max_clients, reason="the limit of open files (ulimit -Hn)"))
    threads = SessionThreads(max_clients)
    stop_reader, stop_writer = os.pipe()
    service = service_of(config, host_name(config.mail_domain[0]), stop_reader)
    with ExitStack() as listeners:
        for listener in _listening(config.listen, service, threads, listeners):
            threading.Thread(target=listener.serve_forever, daemon=True).start()
            listeners.callback(listener.shutdown)
        LOGGER.info(record("stopping", signal=signal.Signals(signal.sigwait(_STOP_SIGNALS)).name))
        # Before the listeners, each of which takes a while to stop; never read, so that every session's poll() sees it.
        os.write(stop_writer, b"\n")
    if not threads.wait_until_idle(STOP_PATIENCE):
        LOGGER.warning(record("sessions-cut-off", patience=STOP_PATIENCE))


def _listening(
    addresses: Sequence[HostPort], service: Service, threads: SessionThreads, stack: ExitStack
) -> list[Listener]:
    """Listen on all addresses before anybody is served, so that a bad one leaves nothing half begun."""
    listeners = [stack.enter_context(Listener(address.host, address.port, service, threads)) for address in addresses]
    for listener in listeners:
        LOGGER.info(record("listening", address=listener.display_address()))
    return listeners


def service_of(config: Config, host: str, stop_fd: int) -> Service:
    """Return what sessions need of a configuration; ``host`` is this machine's name."""
    return Service(
        imap=ImapServer(config.imap_server.host, config.imap_server.port),
        may_offer=is_transparent if config.auth_mechanisms == "all" else is_reusable,
        announced=_announced(config),
        patience=Patience(config.login_timeout, config.idle_timeout),
        max_message_size=config.max_message_size,
        site=_site(config, host),
        smtp=SmtpServer(
            host=config.smtp_server.host,
            port=config.smtp_server.port,
            auth=config.smtp_auth,
            username=config.smtp_username,
            password=config.smtp_password,
            timeout=config.smtp_timeout,
            host_name=host,
        ),
        running_submissions=threading.BoundedSemaphore(RUNNING_SUBMISSIONS),
        stop_fd=stop_fd,
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


def _announced(config: Config) -> tuple[bytes, ...]:
    """Return the capabilities that a client sees beside those of the IMAP server."""
    announced = {CAN_SUBMIT: True, CAN_SUBMIT_URL: config.references, CAN_SUBMIT_SENT: bool(config.sent_mailbox)}
    return tuple(capability for capability, holds in announced.items() if holds)


def host_name(mail_domain: str) -> str:
    """Return this machine's name as a mail server may say it (RFC 5321 2.3.5), without asking the DNS.

    A name without a domain is completed with ``mail_domain``, or is that.
    """
    name = socket.gethostname()
    if not _HOST_NAME.fullmatch(name):
        raise ConfigError(f"this machine's name, {name!r}, is no host name; see hostname(1)")
    return name if "." in name or name == mail_domain else f"{name}.{mail_domain}"
