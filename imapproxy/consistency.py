"""Whether the options fit together: each is good for itself, here they are seen beside each other.

What cannot be used together is a contradiction; what can, but probably not to the effect that is hoped for, is a doubt;
a file with a secret is exposed if everybody can read it. Each is a pair: the name of the option to change, and what is
to be said about it; where that option stood (file, section, key, or flag) is ``config``'s to add.
"""

import ipaddress
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from imapproxy.options import Config, UpstreamTls
from imapproxy.values import HostPort

# Where to bind so that every address of the machine counts (IPV6_V6ONLY is set, so that each has its own).
EVERY_HOST = {"0.0.0.0": ipaddress.IPv4Address, "::": ipaddress.IPv6Address}

# Whose ports they are: IANA's imap, smtp, submission; imaps, submissions (RFC 8314).
STARTTLS_PORTS = (143, 25, 587)
TLS_PORTS = (993, 465)


def contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Name the options that cannot be used together, each time with the option to change."""
    yield from _contradictions_of_addresses(config)
    if not config.tls_cert:
        for name, value in (
            ("listen-tls", config.listen_tls),
            ("tls-key", config.tls_key),
            ("require-tls", config.require_tls),
        ):
            if value:
                yield name, "needs tls-cert, a file with this host's certificate"
    if config.smtp_auth == "fixed" and not config.smtp_username:
        yield "smtp-auth", "'fixed' needs smtp-username"
    if config.smtp_auth == "fixed" and not config.smtp_password:
        yield "smtp-auth", "'fixed' needs smtp-password-file"
    if config.daemon and config.log_to == "stderr":
        yield "log-to", "nobody reads the stderr of a daemon; with daemon = on, set it to syslog or to a file's path"
    if config.group and not config.user:
        yield "group", "needs user; name both, or user alone"
    if config.status_listen and not config.control_socket:
        yield "status-listen", "needs control-socket, a path at which the figures can be asked for"


def _contradictions_of_addresses(config: Config) -> Iterator[tuple[str, str]]:
    """Name the addresses that lead the proxy to itself, or that are to be bound twice."""
    for name, server in (("imap-server", config.imap_server), ("smtp-server", config.smtp_server)):
        if any(_leads_to(server, bound) for bound in (*config.listen, *config.listen_tls)):
            yield name, f"{server} is where the proxy itself listens"
    if not config.listen and not config.listen_tls:
        yield "listen", "there is nowhere to listen; give an address here or in listen-tls"
    taken = [("listen", address) for address in config.listen]
    taken += [("listen-tls", address) for address in config.listen_tls]
    taken += [("status-listen", address) for address in (config.status_listen,) if address]
    for (before, first), (name, second) in combinations(taken, 2):
        if before != name and first == second and first.port:
            yield name, f"{second} is given in {before} too"


def _leads_to(server: HostPort, bound: HostPort) -> bool:
    """Return whether who connects to ``server`` reaches a listener at ``bound``, as far as the texts tell."""
    if server.port != bound.port:
        return False
    if bound.host in EVERY_HOST and _stays_here(server.host):
        return server.host == "localhost" or isinstance(ipaddress.ip_address(server.host), EVERY_HOST[bound.host])
    return server.host == bound.host


def _stays_here(host: str) -> bool:
    """Return whether who connects to ``host`` reaches this machine without a network, as far as the text tells."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified


def doubts(config: Config) -> Iterator[tuple[str, str]]:
    """Name the options that can be used, but probably not to the effect that is hoped for."""
    yield from _doubts_of_clients(config)
    yield from _doubts_of_servers(config)
    yield from _doubts_of_journal(config)
    if config.references and config.max_composed_size < config.max_message_size:
        yield "max-composed-size", f"is less than max-message-size ({config.max_message_size} octets)"
    if config.server_names and not config.references:
        yield "server-names", "has no effect unless references = on"
    if config.smtp_auth != "fixed" and config.smtp_username:
        yield "smtp-username", "has no effect unless smtp-auth = fixed"
    if config.smtp_auth != "fixed" and config.smtp_password:
        yield "smtp-password-file", "has no effect unless smtp-auth = fixed"
    if config.smtp_auth == "user" and config.auth_mechanisms == "all":
        yield "auth-mechanisms", "with 'all' and smtp-auth = user, some ways to log in cannot be used to submit"


def _doubts_of_clients(config: Config) -> Iterator[tuple[str, str]]:
    """Name what lets clients send passwords in the clear or pose as others, and a limit that does not limit."""
    exposed = [address for address in config.listen if address.host in EVERY_HOST or not _stays_here(address.host)]
    if config.tls_cert and exposed and not config.require_tls:
        yield "require-tls", f"is off: who does not ask for TLS sends a password in the clear to {exposed[0]}"
    for trusted in config.proxy_protocol_from:
        if trusted.prefixlen == 0:
            yield "proxy-protocol-from", f"{trusted} lets every client say who it is; name the proxies alone"
    if config.max_clients_per_ip > config.max_clients:
        yield "max-clients-per-ip", f"has no effect above max-clients ({config.max_clients})"


def _doubts_of_journal(config: Config) -> Iterator[tuple[str, str]]:
    """Name a directory in which any user of the machine could put another file in the journal's place."""
    directory = Path(config.journal).parent
    if config.journal and directory.stat().st_mode & 0o002:
        yield "journal", f"everybody can write to {directory}; give it a directory of its own"


def _doubts_of_servers(config: Config) -> Iterator[tuple[str, str]]:
    """Name what lets the proxy send passwords in the clear or to who poses as a server."""
    yield from _doubts_of_tls("imap", config.imap_server, config.imap_tls, config.imap_tls_ca, config.imap_tls_verify)
    yield from _doubts_of_tls("smtp", config.smtp_server, config.smtp_tls, config.smtp_tls_ca, config.smtp_tls_verify)
    if config.imap_tls == "off" and not _stays_here(config.imap_server.host):
        yield "imap-tls", f"is off: passwords travel in the clear to {config.imap_server}"
    if config.smtp_tls == "off" and config.smtp_auth != "none" and not _stays_here(config.smtp_server.host):
        yield "smtp-tls", f"is off: passwords travel in the clear to {config.smtp_server}"


def _doubts_of_tls(
    protocol: str, server: HostPort, tls: UpstreamTls, authorities: str, verify: bool
) -> Iterator[tuple[str, str]]:
    """Name what has no effect, what gives way to who poses as the server, and a port that is for the other kind."""
    if tls == "off" and authorities:
        yield f"{protocol}-tls-ca", f"has no effect unless {protocol}-tls = starttls or on"
    if tls == "off" and not verify:
        yield f"{protocol}-tls-verify", f"has no effect unless {protocol}-tls = starttls or on"
    if tls != "off" and not verify and authorities:
        yield f"{protocol}-tls-ca", f"has no effect with {protocol}-tls-verify = off"
    if tls != "off" and not verify and not _stays_here(server.host):
        yield (
            f"{protocol}-tls-verify",
            f"is off: anybody on the way can pose as {server}; name its certificate in {protocol}-tls-ca instead",
        )
    if tls != "on" and server.port in TLS_PORTS:
        yield f"{protocol}-tls", f"at port {server.port} TLS begins with the first octet; is 'on' meant?"
    if tls == "on" and server.port in STARTTLS_PORTS:
        yield f"{protocol}-tls", f"at port {server.port} TLS begins with STARTTLS; is 'starttls' meant?"


def exposed_secrets(config: Config, password_file: str) -> Iterator[tuple[str, str]]:
    """Name the options whose files hold secrets that everybody on this machine can read.

    ``password_file`` is the path in ``smtp-password-file``, of which ``config`` holds the content only.
    """
    yield from _exposed("smtp-password-file", password_file)
    yield from _exposed("tls-key" if config.tls_key else "tls-cert", config.tls_key or config.tls_cert)


def _exposed(name: str, secret_file: str) -> Iterator[tuple[str, str]]:
    """Warn of a secret that every user of the machine can read."""
    if secret_file and Path(secret_file).stat().st_mode & 0o004:
        yield name, f"{secret_file} can be read by everybody; chmod o-r is advised"
