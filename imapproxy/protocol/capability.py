"""Capability lists on their way to the client: what the proxy adds, and what it takes out.

Added is CAN-SUBMIT (draft-royer-lemonade-submit-00, section 4). Taken out is what the proxy could not honour: what
belongs to the upstream hop alone (STARTTLS, LOGINDISABLED, COMPRESS=), and SASL mechanisms that would make the stream
opaque or whose credentials could not be used for the user later. All else stays as the server wrote it, order and
spaces included.
"""

import re
from collections.abc import Callable
from functools import lru_cache

CAN_SUBMIT = b"CAN-SUBMIT"

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

# RFC 7888 section 5: with LITERAL- (which IMAP4rev2 includes) a non-synchronizing literal has at most so many octets.
LITERAL_MINUS_LIMIT = 4096

Policy = Callable[[bytes], bool]


def is_reusable(mechanism: bytes) -> bool:
    """Tell whether a SASL mechanism (upper case) hands over credentials that can be used again for the user."""
    return mechanism in REUSABLE_MECHANISMS


def is_transparent(mechanism: bytes) -> bool:
    """Tell whether a SASL mechanism (upper case) leaves the stream readable and is not bound to the TLS channel."""
    return mechanism not in LAYERED_MECHANISMS and not mechanism.endswith(b"-PLUS")


def rewritten(line: bytes, may_offer: Policy) -> tuple[bytes, frozenset[bytes]] | None:
    """Return a line with its capability list rewritten, and the rewritten list in upper case.

    Return None where the line (a whole response, CRLF included) holds no capability list. ``may_offer`` is told a SASL
    mechanism in upper case and says whether it may be offered.
    """
    match = _RESPONSE.fullmatch(line) or _CODE.fullmatch(line)
    if match is None:
        return None
    items, offered = _rewritten_list(match[2], may_offer)
    return match[1] + items + match[3], offered


# A server has a few lists, one before and one after login, and says them to every client.
@lru_cache(maxsize=16)
def _rewritten_list(items: bytes, may_offer: Policy) -> tuple[bytes, frozenset[bytes]]:
    kept = [item for item in items.split(b" ") if _may_stand(item.upper(), may_offer)]
    if CAN_SUBMIT not in map(bytes.upper, kept):
        kept.append(CAN_SUBMIT)
    return b" ".join(kept), frozenset(map(bytes.upper, filter(None, kept)))


def _may_stand(item: bytes, may_offer: Policy) -> bool:
    if item in {b"STARTTLS", b"LOGINDISABLED"} or item.startswith(b"COMPRESS="):
        return False
    return not item.startswith(b"AUTH=") or may_offer(item.removeprefix(b"AUTH="))


class Offer:
    """What the client has been offered: the capability list that it saw last."""

    __slots__ = ("_may_offer", "_offered")

    def __init__(self, may_offer: Policy) -> None:
        self._may_offer = may_offer
        self._offered: frozenset[bytes] | None = None

    def rewrite(self, line: bytes) -> bytes:
        """Return a line of the server's as the client is to see it, and remember the capability list in it."""
        changed = rewritten(line, self._may_offer)
        if changed is None:
            return line
        line, self._offered = changed
        return line

    def forget(self) -> None:
        """Forget the list, which no longer holds (RFC 8437 section 3)."""
        self._offered = None

    def has_mechanism(self, mechanism: bytes) -> bool:
        """Tell whether a SASL mechanism (upper case) was offered; by policy alone where there was no list yet."""
        if self._offered is None:
            return self._may_offer(mechanism)
        return b"AUTH=" + mechanism in self._offered

    def has_unauthenticate(self) -> bool:
        """Tell whether the server announced UNAUTHENTICATE."""
        return self._offered is not None and b"UNAUTHENTICATE" in self._offered

    def takes_unasked(self, size: int) -> bool:
        """Tell whether the server announced that it takes a non-synchronizing literal of ``size`` octets."""
        if self._offered is None:
            return False
        if b"LITERAL+" in self._offered:
            return True
        return size <= LITERAL_MINUS_LIMIT and not self._offered.isdisjoint({b"LITERAL-", b"IMAP4REV2"})
