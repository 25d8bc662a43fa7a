"""TLS on both hops (RFC 8314, RFC 9325): contexts from files, and handshakes with clients, which end by a deadline.

A handshake takes the stream over: the socket given is detached, and closed where the handshake fails. Those with
servers are ``patient``'s.
"""

import errno
import select
import socket
import ssl
from contextlib import ExitStack
from pathlib import Path

from imapproxy.errors import ConfigError
from imapproxy.net.readiness import ProgramStops, TookTooLong, await_event

# A phrase for the log is no longer than this, whatever OpenSSL says.
MAX_PHRASE = 120

# No renegotiation: a peer could ask for handshakes without end, in the middle of an upload that is not read.
# A bare end of the stream counts as close_notify: commands and literals say where they end, so nothing can be cut off
# unseen, and many clients close without one; OpenSSL would refuse to send them the answers to what they sent.
_OPTIONS = ssl.OP_NO_RENEGOTIATION | ssl.OP_IGNORE_UNEXPECTED_EOF

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_PRIVATE_KEY = b"PRIVATE KEY-----"


class HandshakeFailed(Exception):
    """No TLS came about; the text is one printable phrase."""


# Contexts ---------------------------------------------------------------------------------------------------------


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return what clients are met with, from PEM files: a certificate with its chain, and its key.

    ConfigError names the file, and what is wrong with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    if _CERTIFICATE not in _content(certificate):
        raise ConfigError(f"{certificate}: there is no certificate in it (PEM, with -----BEGIN CERTIFICATE-----)")
    if _PRIVATE_KEY not in _content(key):
        raise ConfigError(f"{key}: there is no private key in it (PEM, with -----BEGIN PRIVATE KEY-----)")
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate)  # else it is not known which file is bad

    def refuse_passphrase() -> str:
        # OpenSSL would ask the terminal.
        raise ConfigError(f"{key}: the key is encrypted; 'openssl pkey -in {key}' writes it without its passphrase")

    try:
        context.load_cert_chain(certificate, key, refuse_passphrase)
    except ssl.SSLError as error:
        raise ConfigError(f"{key}: {_key_trouble(error, certificate)}") from error
    return context


def client_context(ca_file: str, verify: bool) -> ssl.SSLContext:
    """Return what servers are asked for: a certificate of ``ca_file`` (or of the system's CAs, where it is empty).

    Without ``verify`` anybody can be the server. ConfigError names the file, and what is wrong with it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    if ca_file:
        _content(ca_file)
        # So that the server's own certificate can be named, which is all that a self-made one is good for.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        _load_authorities(context, ca_file)
    else:
        context.load_default_certs()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _harden(context: ssl.SSLContext) -> None:
    # All else (ciphers, curves, no compression) are OpenSSL's and the distribution's own defaults, which they update.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= _OPTIONS


def _content(file: str) -> bytes:
    """Return what is in the file; OpenSSL would not say which of two it cannot read."""
    try:
        return Path(file).read_bytes()
    except OSError as failure:
        raise ConfigError(f"{file}: cannot be read: {failure.strerror}") from failure


def _load_authorities(context: ssl.SSLContext, file: str) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError as error:
        raise ConfigError(f"{file}: no certificate can be read from it ({phrase(error)})") from error


def _key_trouble(error: ssl.SSLError, certificate: str) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"it is not the key of the certificate in {certificate}"
    return f"it cannot be used with {certificate} ({phrase(error)})"


# Handshakes -------------------------------------------------------------------------------------------------------


def accept_tls(stream: socket.socket, context: ssl.SSLContext, deadline: float, stop_fd: int) -> ssl.SSLSocket:
    """Do the server's part of a handshake until ``deadline`` (of ``time.monotonic``); raise HandshakeFailed.

    The stream that is returned is non-blocking. ``stop_fd`` is a descriptor that becomes readable when the program
    stops, and the handshake with it.
    """
    try:
        with ExitStack() as failing:
            secured = wrapped(stream, context, None)
            failing.callback(secured.close)
            _shake_hands(secured, deadline, stop_fd)
            failing.pop_all()
    except TookTooLong as failure:
        raise HandshakeFailed("it took too long") from failure
    except ProgramStops as failure:
        raise HandshakeFailed("the program stops") from failure
    except OSError as failure:
        raise HandshakeFailed(phrase(failure)) from failure
    finally:
        stream.close()  # of no effect on one that has been detached
    return secured


def wrapped(stream: socket.socket, context: ssl.SSLContext, server_name: str | None) -> ssl.SSLSocket:
    """Return the stream before its handshake, non-blocking; ``server_name`` is None on the server's side.

    OSError or ValueError where no handshake can come about; the stream is then still the caller's to close.
    """
    stream.setblocking(False)
    # A chain of certificates is several writes, and each would wait for the acknowledgement of the one before.
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # What would fail in wrap_socket, with the descriptor in a socket that nobody could close.
    stream.getpeername()
    if server_name is not None:
        server_name.encode("idna")
    return context.wrap_socket(
        stream, server_side=server_name is None, server_hostname=server_name, do_handshake_on_connect=False
    )


def _shake_hands(secured: ssl.SSLSocket, deadline: float, stop_fd: int) -> None:
    while True:
        try:
            return secured.do_handshake()
        except ssl.SSLWantReadError:
            await_event(secured, select.POLLIN, deadline, stop_fd)
        except ssl.SSLWantWriteError:
            await_event(secured, select.POLLOUT, deadline, stop_fd)


def phrase(failure: OSError | ValueError) -> str:
    """Return why TLS failed in a few printable words, of which none is the peer's own."""
    if isinstance(failure, ssl.SSLCertVerificationError):
        words = failure.verify_message
    elif isinstance(failure, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError) or _is_gone(failure):
        words = "the peer closed the connection"
    elif isinstance(failure, ssl.SSLError):
        words = (failure.reason or "unknown error").lower().replace("_", " ")
    else:
        words = (failure.strerror if isinstance(failure, OSError) else None) or str(failure)
    return "".join(filter(str.isprintable, words))[:MAX_PHRASE]


def _is_gone(failure: OSError | ValueError) -> bool:
    return isinstance(failure, OSError) and failure.errno == errno.ENOTCONN
