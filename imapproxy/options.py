"""The options: what an administrator can decide.

Each is declared once, as a field of ``Config``: the field's name and type, the section, the kind of values, the default
and the help text stand together there, and the flags, ``--help`` and the INI keys follow from it. A default is written
as the administrator would write it. The files that options name (identities, passwords) are read when an option is
converted, so that nothing else reads any, but for certificates and keys: that these are there is seen to here, what is
in them in ``net.tls``. Passwords are taken from nowhere but such files.
"""

# ruff: noqa: RUF009 (``option`` is a ``field``: what it returns is shared by no two configurations)

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

from imapproxy.values import (
    SWITCH,
    HostPort,
    Kind,
    Network,
    choice,
    each,
    group_name,
    host_port,
    identities_from_file,
    log_target,
    mail_domains,
    mailbox,
    network,
    number,
    password_from_file,
    path,
    printable,
    readable_file,
    seconds,
    server_names,
    size,
    socket_path,
    state_file,
    unless_empty,
    user_name,
    word_for,
)

T = TypeVar("T")

DAY = 24 * 3600.0
# Of IMAP4rev1 (RFC 3501, section 9, "number"): a literal's size has 32 bits.
LARGEST_LITERAL = 2**32 - 1

LOG_LEVEL = word_for(
    {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR},
    "debug|info|warning|error",
)
UpstreamTls = Literal["off", "starttls", "on"]
SendClientIp = Literal["off", "proxy-protocol", "id"]
AuthMechanisms = Literal["reusable", "all"]
SmtpAuth = Literal["none", "user", "fixed"]
FromPolicy = Literal["check", "rewrite", "trust"]


@dataclass(frozen=True)
class Option:
    """An option as declared; ``--name`` is its flag and ``name`` its key in ``section``."""

    attribute: str
    name: str
    section: str
    kind: Kind[Any]
    default: str
    help: str

    def value(self, given: Sequence[str] | None) -> Any:
        """Return the attribute's value from the texts that were given, None for the default."""
        if given is None:
            return self.kind.convert(self.default)
        if len(given) > 1 and not self.kind.repeatable:
            raise ValueError("is given twice")
        text = "\n".join(given)
        if "\n" in text and not self.kind.repeatable:
            raise ValueError(f"takes one line, not {text!r}")
        return self.kind.convert(text)


def option(  # noqa: PLR0913
    section: str, kind: Kind[T], default: str, help_text: str, *, name: str = "", secret: bool = False
) -> T:
    """Declare an option as a field of ``Config``; ``name`` where it is not the field's own, with hyphens."""

    def declaration(attribute: str) -> Option:
        return Option(attribute, name or attribute.replace("_", "-"), section, kind, default, help_text)

    return cast(T, field(metadata={"declaration": declaration}, repr=not secret))


@dataclass(frozen=True)
class Config:
    """What the administrator has decided, checked and converted."""

    listen: tuple[HostPort, ...] = option(
        "listen",
        unless_empty(each(host_port(lowest_port=0)), ()),
        "127.0.0.1:1143",
        "where clients connect without TLS or with STARTTLS, which is offered once there is a tls-cert; repeatable."
        " Port 0: any free one; the log says which. Empty: nowhere",
    )
    listen_tls: tuple[HostPort, ...] = option(
        "listen",
        unless_empty(each(host_port(lowest_port=0)), ()),
        "",
        "where clients connect with TLS from the first octet, commonly port 993; repeatable; needs tls-cert"
        " (default: nowhere)",
    )
    server_names: tuple[str, ...] = option(
        "listen",
        Kind("HOST", server_names, repeatable=True),
        "",
        "what clients call this host, by name or address: an IMAP URL that names another host refers to mail that is"
        " not here; repeatable (default: the machine's host name)",
    )
    tls_cert: str = option(
        "listen",
        unless_empty(readable_file("the certificate and its chain, in PEM"), ""),
        "",
        "a PEM file with this host's certificate and behind it its chain; read anew at SIGHUP (default: none, no TLS)",
    )
    tls_key: str = option(
        "listen",
        unless_empty(readable_file("the certificate's key, in PEM"), ""),
        "",
        "a PEM file with the certificate's key, without a passphrase (default: the key is in tls-cert's file)",
    )
    require_tls: bool = option(
        "listen",
        SWITCH,
        "off",
        "whether clients can log in with TLS only; needs tls-cert",
    )
    proxy_protocol_from: tuple[Network, ...] = option(
        "listen",
        unless_empty(each(Kind("NETWORK", network)), ()),
        "",
        "networks (or single addresses) of proxies before this one, such as HAProxy's: every connection from there must"
        " begin with a header of the PROXY protocol, version 1 or 2, which says who the client is; repeatable"
        " (default: none)",
    )
    max_clients: int = option(
        "listen",
        number(1, 100_000),
        "1000",
        "how many clients may be connected at once, to all workers together; one more is told so and let go",
    )
    max_clients_per_ip: int = option(
        "listen",
        number(0, 100_000),
        "0",
        "how many of them may come from one address (an IPv6 network of 64 bits counts as one); 0: no limit but"
        " max-clients",
    )
    login_timeout: float = option(
        "listen",
        seconds(0.1, DAY),
        "60",
        "how long a client may take to log in",
    )
    idle_timeout: float = option(
        "listen",
        seconds(0.1, 7 * DAY),
        "1800",
        "how long a logged-in session may be silent; RFC 9051 (5.4) asks for 1800 at least, less is for tests",
    )
    workers: int = option(
        "listen",
        number(1, 256),
        "1",
        "how many processes serve clients; each can use one processor, so more than there are processors is of no use",
    )
    imap_server: HostPort = option(
        "imap",
        host_port(lowest_port=1),
        "127.0.0.1:143",
        "the IMAP server behind the proxy",
    )
    imap_tls: UpstreamTls = option(
        "imap",
        choice(UpstreamTls),
        "off",
        "how the IMAP server is spoken to: without TLS; with STARTTLS, or not at all where it is refused; or with TLS"
        " from the first octet",
    )
    imap_tls_ca: str = option(
        "imap",
        unless_empty(readable_file("the certificates of authorities, in PEM"), ""),
        "",
        "a PEM file with the authorities that may have signed the IMAP server's certificate, or with that"
        " certificate itself (default: the system's authorities)",
    )
    imap_tls_verify: bool = option(
        "imap",
        SWITCH,
        "on",
        "whether that certificate must be good, and in the name that imap-server has",
    )
    imap_send_client_ip: SendClientIp = option(
        "imap",
        choice(SendClientIp),
        "off",
        "whether the IMAP server is told the client's address: by a header of the PROXY protocol (version 2), or by the"
        " command ID, as Dovecot takes it from its login_trusted_networks",
    )
    auth_mechanisms: AuthMechanisms = option(
        "imap",
        choice(AuthMechanisms),
        "reusable",
        "which SASL mechanisms of the IMAP server clients are offered: 'reusable', those whose credentials the proxy"
        " can use again for the user, or 'all' that do not encrypt the session",
    )
    smtp_server: HostPort = option(
        "smtp",
        host_port(lowest_port=1),
        "127.0.0.1:25",
        "the SMTP server that takes what clients SUBMIT",
    )
    smtp_tls: UpstreamTls = option(
        "smtp",
        choice(UpstreamTls),
        "off",
        "how the SMTP server is spoken to: without TLS; with STARTTLS, or not at all where it is refused; or with TLS"
        " from the first octet",
    )
    smtp_tls_ca: str = option(
        "smtp",
        unless_empty(readable_file("the certificates of authorities, in PEM"), ""),
        "",
        "a PEM file with the authorities that may have signed the SMTP server's certificate, or with that"
        " certificate itself (default: the system's authorities)",
    )
    smtp_tls_verify: bool = option(
        "smtp",
        SWITCH,
        "on",
        "whether that certificate must be good, and in the name that smtp-server has",
    )
    smtp_auth: SmtpAuth = option(
        "smtp",
        choice(SmtpAuth),
        "none",
        "how the proxy authenticates there: not at all, with what the user logged in with, or as smtp-username",
    )
    smtp_username: str = option(
        "smtp",
        Kind("NAME", printable),
        "",
        "the user name for smtp-auth = fixed (default: none)",
    )
    smtp_password: str = option(
        "smtp",
        Kind("FILE", password_from_file),
        "",
        "a file that holds the password for smtp-auth = fixed, on one line (default: none)",
        name="smtp-password-file",
        secret=True,
    )
    smtp_timeout: float = option(
        "smtp",
        seconds(0.1, DAY),
        "300",
        "how long the SMTP server may take for an answer (RFC 5321, 4.5.3.2)",
    )
    smtp_xclient: bool = option(
        "smtp",
        SWITCH,
        "off",
        "whether the SMTP server is told the client's address and the user by XCLIENT, where it offers that; Postfix"
        " then no longer lets the message pass because the proxy is in mynetworks, see imapproxy.conf(5)",
    )
    mail_domain: tuple[str, ...] = option(
        "submit",
        Kind("DOMAIN", mail_domains, repeatable=True),
        "",
        "the domains of the users' addresses; repeatable; the first completes a bare user name"
        " (default: the machine's mail name, from /etc/mailname, else its host name)",
    )
    from_policy: FromPolicy = option(
        "submit",
        choice(FromPolicy),
        "check",
        "what happens to a From that is not one of the user's addresses: 'check' refuses the message, 'rewrite' puts"
        " the user's address there, 'trust' leaves it and names the user in Sender",
    )
    identities: Mapping[str, tuple[str, ...]] = option(
        "submit",
        Kind("FILE", identities_from_file),
        "",
        "a file of further addresses, a line per user: 'user address address ...' (default: none)",
    )
    max_message_size: int = option(
        "submit",
        size(1, LARGEST_LITERAL),
        "50M",
        "how many octets a client may SUBMIT at once; K, M or G may follow (powers of 1024)",
    )
    max_composed_size: int = option(
        "submit",
        size(1, LARGEST_LITERAL),
        "100M",
        "how many octets a message may have with what it refers to",
    )
    max_recipients: int = option(
        "submit",
        number(1, 100_000),
        "100",
        "how many recipients a message may have",
    )
    max_submissions_per_hour: int = option(
        "submit",
        number(0, 1_000_000),
        "0",
        "how many messages a user may send in any hour, through all workers together; 0: no limit",
    )
    references: bool = option(
        "submit",
        SWITCH,
        "on",
        "whether a message may refer to what lies in its sender's mailboxes (RFC 2017), and is sent with it",
    )
    received_client_address: bool = option(
        "submit",
        SWITCH,
        "on",
        "whether the Received line that the proxy adds shows the client's address",
    )
    sent_mailbox: str = option(
        "submit",
        Kind("MAILBOX|auto", mailbox),
        "",
        "the user's mailbox for a copy of what is sent; 'auto': the one that the IMAP server calls \\Sent (RFC 6154)"
        " (default: none, no copy)",
    )
    journal: str = option(
        "submit",
        unless_empty(Kind("FILE", state_file), ""),
        "",
        "a file in which it is written down for a day what was sent, so that what a client sends again, as it has not"
        " heard the answer, is not delivered again; 'user' must be able to write to its directory"
        " (default: none, no journal)",
    )
    log_level: int = option(
        "log",
        LOG_LEVEL,
        "info",
        "the least that is logged",
    )
    log_to: str = option(
        "log",
        Kind("stderr|syslog|FILE", log_target),
        "stderr",
        "where the log goes: 'stderr', 'syslog' (facility mail), or a file, which may be moved away at any time",
    )
    daemon: bool = option(
        "process",
        SWITCH,
        "off",
        "whether the program detaches and runs in the background; without it a supervisor such as systemd keeps it",
    )
    pidfile: str = option(
        "process",
        Kind("FILE", path),
        "",
        "a file for the process id, locked as long as the program runs, so that no second one starts (default: none)",
    )
    user: str = option(
        "process",
        unless_empty(Kind("NAME", user_name), ""),
        "",
        "the user that the workers become once the ports are bound and the key is read, if started as root"
        " (default: none, who started it)",
    )
    group: str = option(
        "process",
        unless_empty(Kind("NAME", group_name), ""),
        "",
        "the group that they become (default: user's own)",
    )
    control_socket: str = option(
        "status",
        Kind("PATH", socket_path),
        "",
        "the path of a unix socket, made at the start, at which imapproxy --status asks for the running sessions"
        " (default: none)",
    )
    status_listen: HostPort | None = option(
        "status",
        unless_empty(host_port(lowest_port=0), None),
        "",
        "where /metrics (for Prometheus) and /healthz are served by HTTP; needs control-socket (default: nowhere)",
    )


OPTIONS: tuple[Option, ...] = tuple(
    each_field.metadata["declaration"](each_field.name) for each_field in fields(Config)
)
BY_NAME: Mapping[str, Option] = {declared.name: declared for declared in OPTIONS}
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(declared.section for declared in OPTIONS))
