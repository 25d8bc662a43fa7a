"""What is submitted: with and without references, with and without a copy in Sent; each draft another message."""

from dataclasses import dataclass

from tests.functional.drafts import BEFORE, draft, forward
from tests.functional.mail_tree import leaf

RECIPIENTS = ("joe@example.com", "ann@example.com")
BCC = b"Bcc: ann@example.com\r\n"
FIELDS = b"From: fred@example.com\r\n" + BCC

# Read in two windows (``imapproxy.net.reading``): the second is read while the first is on its way.
STORED = leaf("text/plain", b"".join(b"%062d\r\n" % number for number in range(600 * 1024 // 64))).headed(b"X: y\r\n")
MAILBOXES = {b"INBOX": {20: STORED}}

_PLAIN = draft(b"\r\nHello", fields=FIELDS)
_FORWARD = forward("/INBOX/;UID=20", fields=FIELDS)
_LARGE = draft(BEFORE, b"\r\n" + b"%062d\r\n" % 0 * (1 << 15), fields=FIELDS)

# The Message-ID of all of these, and what takes its place: of one length, so that each draft is as long as any other.
_MESSAGE_ID = b"<1@example.com>"


@dataclass(frozen=True)
class Submission:
    """One way to use SUBMIT. ``is_filed``: the proxy is one that makes the copy in Sent.

    ``is_catenated``: of what the IMAP server has (RFC 4469). ``is_authenticated``: the SMTP server has the user log in.
    """

    name: str
    text: bytes
    is_filed: bool = False
    is_catenated: bool = False
    is_authenticated: bool = False

    def draft(self, number: int) -> "Draft":
        """Return a draft that no other number's is."""
        return Draft(self, b"<%06d@example.com>" % number)


@dataclass(frozen=True)
class Draft:
    """One message, as a client submits it."""

    submission: Submission
    message_id: bytes

    @property
    def name(self) -> str:
        """Its Message-ID as text."""
        return self.message_id.decode("ascii")

    @property
    def octets(self) -> bytes:
        return self.submission.text.replace(_MESSAGE_ID, self.message_id)

    @property
    def command(self) -> bytes:
        """SUBMIT in one go."""
        return self._command(b"+")

    @property
    def synchronizing_command(self) -> bytes:
        """The same, whose client should wait for the server's ``+``."""
        return self._command(b"")

    def _command(self, mark: bytes) -> bytes:
        octets = self.octets
        return b"S SUBMIT {%d%b}\r\n%b\r\n" % (len(octets), mark, octets)


PLAIN = Submission("plain", _PLAIN)
REFERRING = Submission("referring", _FORWARD)
FILED = Submission("filed", _PLAIN, is_filed=True)
REFERRING_AND_FILED = Submission("referring and filed", _FORWARD, is_filed=True)
# Over what the proxy holds in memory, so that it lies in a file meanwhile.
LARGE = Submission("large", _LARGE)
CATENATED = Submission("referring and catenated", _FORWARD, is_filed=True, is_catenated=True)
AUTHENTICATED = Submission("authenticated", _PLAIN, is_authenticated=True)

USUAL = (PLAIN, REFERRING, FILED, REFERRING_AND_FILED)
# With those that differ from the usual ones at a few steps only.
ALL = (*USUAL, CATENATED, AUTHENTICATED)
