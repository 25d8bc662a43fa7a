"""What a dialogue wants done, in order; nothing here does it."""

from typing import NamedTuple

from imapproxy.protocol.login import Credentials


class ToClient(NamedTuple):
    """Send these octets to the client."""

    octets: bytes | memoryview


class ToUpstream(NamedTuple):
    """Send these octets to the IMAP server."""

    octets: bytes | memoryview


class DraftOctets(NamedTuple):
    """Add these octets to the draft that is coming in."""

    octets: memoryview


class DropDraft(NamedTuple):
    """Forget the draft: its command turned out to be none."""


class Submit(NamedTuple):
    """The draft is whole: submit it for ``user``, then call ``Dialogue.submitted`` or ``Dialogue.not_submitted``."""

    user: Credentials


class StartTls(NamedTuple):
    """Once all that was said has been sent: do the server's part of a TLS handshake, then ``Dialogue.tls_started``.

    Neither peer is to be read before. Where the handshake fails, the session is over.
    """


class Compress(NamedTuple):
    """Once all that was said has been sent: compress both ways from here on (RFC 4978), towards the client.

    Neither peer is to be read before. What was read of the client's compressed octets comes from
    ``Dialogue.taken_back``, which also lets the dialogue go on.
    """


class LoggedIn(NamedTuple):
    """The server accepted the user; ``credentials`` is None where they could not be read."""

    credentials: Credentials | None


class LoggedOut(NamedTuple):
    """The server accepted UNAUTHENTICATE: the session goes on without a user (RFC 8437)."""


class LoginRefused(NamedTuple):
    """The server refused this user; None where the name could not be read."""

    credentials: Credentials | None


class Close(NamedTuple):
    """End the session once what was said has been sent."""


Action = (
    ToClient
    | ToUpstream
    | DraftOctets
    | DropDraft
    | Submit
    | StartTls
    | Compress
    | LoggedIn
    | LoggedOut
    | LoginRefused
    | Close
)
