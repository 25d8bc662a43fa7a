"""Capability lists on their way to the client: what the proxy adds, and what it takes out.

Added is CAN-SUBMIT (draft-royer-lemonade-submit-00, section 4), what more the proxy does for a message, and what it
does on the client's hop (``offer``). Taken out is what the proxy could not honour: what belongs to the upstream hop
alone (STARTTLS, LOGINDISABLED, COMPRESS=), another proxy's CAN-SUBMIT, and SASL mechanisms that would make the stream
opaque or whose credentials could not be used for the user later. All else stays as the server wrote it, order and
spaces included.
"""

import re
from collections.abc import Callable
from functools import lru_cache

CAN_SUBMIT = b"CAN-SUBMIT"
# A message may refer to what lies in the user's mailboxes, and is sent with it (RFC 2017, RFC 5092).
CAN_SUBMIT_URL = b"CAN-SUBMIT=URL"
# The proxy files a copy of what it sends; a client that did so too would make two.
CAN_SUBMIT_SENT = b"CAN-SUBMIT=SENT"

# What the proxy does on the client's hop: RFC 9051 sections 6.2.1 and 6.2.3, RFC 4978.
STARTTLS = b"STARTTLS"
LOGINDISABLED = b"LOGINDISABLED"
COMPRESS_DEFLATE = b"COMPRESS=DEFLATE"

# Mechanisms that hand over what the user can be logged in with again, to the SMTP server and on side connections.
REUSABLE_MECHANISMS = frozenset({b"PLAIN", b"LOGIN", b"XOAUTH2", b"OAUTHBEARER"})

# Mechanisms that can negotiate a security layer (RFC 4422 3.7), after which the proxy could read nothing.
LAYERED_MECHANISMS = frozenset({b"GSSAPI", b"GSS-SPNEGO", b"DIGEST-MD5", b"KERBEROS_V4", b"SRP", b"PASSDSS-3DES-1"})

# capability-data = "CAPABILITY" *(SP capability) SP "IMAP4rev2" *(SP capability), in a response of its own ...
_RESPONSE = re.compile(rb"(\* CAPABILITY(?=[ \r]))([^\r]*)(\r\n)", re.IGNORECASE)
# ... or as the code of a status response, tagged or not: resp-text = ["[" resp-text-code "]" SP] text
_CODE = re.compile(
    rb"([^ ]+ (?:OK|NO|BAD|PREAUTH|BYE) \[CAPABILITY(?=[ \]]))([^\]\r]*)(\].*)", re.IGNORECASE | re.DOTALL
)

# Told a SASL mechanism in upper case, it says whether the mechanism may be offered.
Policy = Callable[[bytes], bool]


def is_reusable(mechanism: bytes) -> bool:
    """Tell whether a SASL mechanism (upper case) hands over credentials that can be used again for the user."""
    return mechanism in REUSABLE_MECHANISMS


def is_transparent(mechanism: bytes) -> bool:
    """Tell whether a SASL mechanism (upper case) leaves the stream readable and is not bound to the TLS channel."""
    return mechanism not in LAYERED_MECHANISMS and not mechanism.endswith(b"-PLUS")


def rewritten(line: bytes, may_offer: Policy, announced: tuple[bytes, ...]) -> tuple[bytes, frozenset[bytes]] | None:
    """Return a line of the server's (a whole response) as the client is to see it, and what its list then holds.

    What it holds is in upper case. None where the line has no capability list; ``announced`` is added to the list.
    """
    match = _RESPONSE.fullmatch(line) or _CODE.fullmatch(line)
    if match is None:
        return None
    items, listed = _rewritten_list(match[2], may_offer, announced)
    return match[1] + items + match[3], listed


# A server has a few lists, one before and one after login, and says them to every client.
@lru_cache(maxsize=32)
def _rewritten_list(items: bytes, may_offer: Policy, announced: tuple[bytes, ...]) -> tuple[bytes, frozenset[bytes]]:
    listed = [item for item in items.split(b" ") if _may_stand(item.upper(), may_offer)] + list(announced)
    return b" ".join(listed), frozenset(map(bytes.upper, filter(None, listed)))


def _may_stand(item: bytes, may_offer: Policy) -> bool:
    if item in {STARTTLS, LOGINDISABLED} or item.partition(b"=")[0] in {b"COMPRESS", CAN_SUBMIT}:
        return False
    return not item.startswith(b"AUTH=") or may_offer(item.removeprefix(b"AUTH="))
