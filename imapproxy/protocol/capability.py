"""Capability lists on their way to the client: what the proxy adds, and what it takes out.

Added is CAN-SUBMIT (draft-royer-lemonade-submit-00, section 4), and what more the proxy does for a message. Taken out
is what the proxy could not honour: what belongs to the upstream hop alone (STARTTLS, LOGINDISABLED, COMPRESS=), another
proxy's CAN-SUBMIT, and SASL mechanisms that would make the stream opaque or whose credentials could not be used for the
user later. All else stays as the server wrote it, order and spaces included.
"""

import re
from collections.abc import Callable
from functools import lru_cache

CAN_SUBMIT = b"CAN-SUBMIT"
# A message may refer to what lies in the user's mailboxes, and is sent with it (RFC 2017, RFC 5092).
CAN_SUBMIT_URL = b"CAN-SUBMIT=URL"
# The proxy files a copy of what it sends; a client that did so too would make two.
CAN_SUBMIT_SENT = b"CAN-SUBMIT=SENT"

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


# A server has a few lists, one before and one after login, and says them to every client.
@lru_cache(maxsize=16)
def _rewritten_list(items: bytes, may_offer: Policy, announced: tuple[bytes, ...]) -> tuple[bytes, frozenset[bytes]]:
    """Return a capability list as the client is to see it, and what is in it in upper case."""
    listed = [item for item in items.split(b" ") if _may_stand(item.upper(), may_offer)] + list(announced)
    return b" ".join(listed), frozenset(map(bytes.upper, filter(None, listed)))


def _may_stand(item: bytes, may_offer: Policy) -> bool:
    if item in {b"STARTTLS", b"LOGINDISABLED"} or item.partition(b"=")[0] in {b"COMPRESS", CAN_SUBMIT}:
        return False
    return not item.startswith(b"AUTH=") or may_offer(item.removeprefix(b"AUTH="))


class Offer:
    """What the client has been offered: the capability list that it saw last."""

    __slots__ = ("_announced", "_may_offer", "_offered")

    def __init__(self, may_offer: Policy, announced: tuple[bytes, ...] = (CAN_SUBMIT,)) -> None:
        """``may_offer`` is told a SASL mechanism in upper case and says whether it may be offered.

        ``announced`` are the capabilities of the proxy's own, which are added to each list.
        """
        self._may_offer = may_offer
        self._announced = announced
        self._offered: frozenset[bytes] | None = None

    def rewrite(self, line: bytes) -> bytes:
        """Return a line of the server's (a whole response) as the client is to see it.

        The capability list in it, if there is one, is remembered.
        """
        match = _RESPONSE.fullmatch(line) or _CODE.fullmatch(line)
        if match is None:
            return line
        items, self._offered = _rewritten_list(match[2], self._may_offer, self._announced)
        return match[1] + items + match[3]

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
