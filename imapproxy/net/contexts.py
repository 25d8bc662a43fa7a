"""The TLS contexts of a configuration: towards clients, and towards both servers behind us."""

import ssl
from dataclasses import dataclass
from typing import Literal

from imapproxy.config import Config
from imapproxy.net.tls import client_context, server_context


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """None where TLS is not spoken. The parent makes them, as a key is often readable for root alone."""

    server: ssl.SSLContext | None
    imap: ssl.SSLContext | None
    smtp: ssl.SSLContext | None


def contexts_of(config: Config) -> TlsContexts:
    """Read certificates and keys; raise ConfigError with the file and what is wrong with it."""
    return TlsContexts(
        server_context(config.tls_cert, config.tls_key or config.tls_cert) if config.tls_cert else None,
        _upstream(config.imap_tls, config.imap_tls_ca, config.imap_tls_verify),
        _upstream(config.smtp_tls, config.smtp_tls_ca, config.smtp_tls_verify),
    )


def _upstream(tls: Literal["off", "starttls", "on"], ca_file: str, verify: bool) -> ssl.SSLContext | None:
    return None if tls == "off" else client_context(ca_file, verify)
