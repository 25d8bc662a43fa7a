"""Connect to the IMAP server."""

import socket

from imapproxy.errors import UpstreamError

# A server on the same host or network that takes longer to accept a connection is down or drowning, in seconds.
CONNECT_TIMEOUT = 10


def connect_upstream(host: str, port: int) -> socket.socket:
    """Return a socket connected to the IMAP server; raise UpstreamError where it cannot be reached."""
    try:
        return socket.create_connection((host, port), timeout=CONNECT_TIMEOUT)
    except (OSError, UnicodeError) as failure:  # UnicodeError: a name that the resolver cannot even be asked for
        reason = failure.strerror if isinstance(failure, OSError) else None
        raise UpstreamError(f"cannot reach the IMAP server: {reason or failure}") from failure
