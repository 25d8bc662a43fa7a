"""References into a mailbox: parts of type `message/external-body` with an IMAP URL (RFC 2017, RFC 5092).

Only a recipient who can log in to the sender's IMAP server could follow one: it does not leave the site.
"""

import re

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import Octets, contains
from imapproxy.message.fields import Header
from imapproxy.message.mime import Part, read_parts

# iserver = "imap://" ... ; ipath-query, relative to it, begins with "/"; `imaps:` and `imap+x:` mean the same
_IMAP_URL = re.compile(r"\s*(?:imap[a-z0-9+.-]*:|/)", re.IGNORECASE)


def refuse_references(header: Header, draft: Octets) -> None:
    """Refuse a draft that refers to what lies on an IMAP server, in one of its own parts."""
    if not contains(draft, b"external-body"):
        return
    if any(map(_is_reference, read_parts(header, draft).own_parts())):
        raise SubmissionRefused("5.6.6 references are not supported")


def _is_reference(part: Part) -> bool:
    if part.content_type.kind != "message/external-body":
        return False
    parameters = part.content_type.parameters
    return parameters.get("access-type", "").lower() == "url" and bool(_IMAP_URL.match(parameters.get("url", "")))
