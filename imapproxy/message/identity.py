"""What a draft says to be: whoever sends the same twice, octet for octet, then means one message.

A Message-ID is one message's (RFC 5322 3.6.4), and so, with all the octets that go with it, is a Date. A draft that has
neither, such as a script's, may well be meant to be sent twice.
"""

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.draft import Octets
from imapproxy.message.fields import named, read_draft_header


def identity_of(draft: Octets) -> str:
    """Return the Message-ID of a draft as it is written there, else its Date; "" where it has neither."""
    try:
        fields = read_draft_header(draft).fields
    except (ClientError, SubmissionRefused):  # it will not be sent
        return ""
    texts = (field.text for key in ("message-id", "date") for field in named(fields, key))
    return next(filter(None, texts), "")
