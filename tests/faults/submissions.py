"""What is submitted: with and without references, with and without a copy in Sent; each draft another message."""

from dataclasses import dataclass, field

from tests.faults.style import Style
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
    """One way to use SUBMIT: what is submitted, and how the proxy and its servers are set up."""

    name: str
    text: bytes
    style: Style = field(default_factory=Style)

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
FILED = Submission("filed", _PLAIN, Style("Sent"))
REFERRING_AND_FILED = Submission("referring and filed", _FORWARD, Style("Sent"))
# Over what the proxy holds in memory, so that it lies in a file meanwhile.
LARGE = Submission("large", _LARGE)
CATENATED = Submission("referring and catenated", _FORWARD, Style("Sent", is_catenating=True))
AUTHENTICATED = Submission("authenticated", _PLAIN, Style(is_authenticating=True))
# The mailbox for the copy is missing: NAMESPACE, [TRYCREATE], CREATE, SUBSCRIBE.
CREATING = Submission("filed where nothing is", _PLAIN, Style("Sent", is_sent_missing=True, is_prefixed=True))
AUTOMATIC = Submission("filed by auto", _PLAIN, Style("auto"))
TOLD_OF_CLIENT = Submission("with XCLIENT", _PLAIN, Style(is_told_of_client=True))
# STARTTLS of the client, of the IMAP server and of the SMTP server.
SECURED = Submission("by STARTTLS", _FORWARD, Style("Sent", is_secured=True))

USUAL = (PLAIN, REFERRING, FILED, REFERRING_AND_FILED)
# With those that differ from the usual ones at a few steps only.
ALL = (*USUAL, CATENATED, AUTHENTICATED, CREATING, AUTOMATIC, TOLD_OF_CLIENT, SECURED)
