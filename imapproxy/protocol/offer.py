"""What one client is offered in the state it is in, and what of that it may take up: one rule for both.

What the proxy offers on the client's hop depends on the state: STARTTLS before login only and without TLS (RFC 9051
6.2.1), COMPRESS=DEFLATE after login only and once (RFC 4978 section 3), and no login at all (LOGINDISABLED) in the
clear where TLS is demanded.
"""

from imapproxy.protocol.capability import COMPRESS_DEFLATE, LOGINDISABLED, STARTTLS, rewritten
from imapproxy.protocol.terms import Terms

# RFC 7888 section 5: with LITERAL- (which IMAP4rev2 includes) a non-synchronizing literal has at most so many octets.
LITERAL_MINUS_LIMIT = 4096


class Offer:
    """The client's state as far as offers go, and the capability list that it saw last."""

    __slots__ = (
        "_announced",
        "_announced_after_login",
        "_is_authenticated",
        "_is_secure",
        "_listed",
        "_may_offer",
        "_terms",
        "is_compressed",
    )

    def __init__(self, terms: Terms, is_secure: bool) -> None:
        """``is_secure``: the client speaks TLS."""
        self._terms = terms
        self._is_secure = is_secure
        self._is_authenticated = False
        self.is_compressed = False
        self._listed: frozenset[bytes] | None = None
        self._reconsider()

    @property
    def has_starttls(self) -> bool:
        """Whether the client may go on in TLS now."""
        return self._terms.starttls and not (self._is_secure or self._is_authenticated or self.is_compressed)

    @property
    def has_compress(self) -> bool:
        """Whether the client may go on compressed now."""
        return self._terms.compress and self._is_authenticated and not self.is_compressed

    @property
    def disables_login(self) -> bool:
        """Whether nobody may log in now, since everybody could read the password."""
        return self._terms.require_tls and not self._is_secure

    # What happens ---------------------------------------------------------------------------------------------------

    def tls_started(self) -> None:
        """Note that the client speaks TLS now; what it saw before, anybody may have written (RFC 9051 6.2.1)."""
        self._is_secure = True
        self._listed = None
        self._reconsider()

    def authenticated(self) -> None:
        """Note that the client is logged in."""
        self._is_authenticated = True
        self._reconsider()

    def unauthenticated(self) -> None:
        """Note that the client is not logged in any more, and that the list no longer holds (RFC 8437 section 3)."""
        self._is_authenticated = False
        self._listed = None
        self._reconsider()

    def compressed(self) -> None:
        """Note that the client speaks compressed from here on."""
        self.is_compressed = True
        self._reconsider()

    def _reconsider(self) -> None:
        self._may_offer = _nothing if self.disables_login else self._terms.may_offer
        ours = (
            (STARTTLS, self.has_starttls),
            (LOGINDISABLED, self.disables_login and not self._is_authenticated),
            (COMPRESS_DEFLATE, self.has_compress),
        )
        self._announced = self._terms.announced + tuple(capability for capability, holds in ours if holds)
        may_compress = self._terms.compress and not self.is_compressed
        self._announced_after_login = self._terms.announced + ((COMPRESS_DEFLATE,) if may_compress else ())

    # The server's lists -----------------------------------------------------------------------------------------------

    def rewrite(self, line: bytes) -> bytes:
        """Return a line of the server's (a whole response) as the client is to see it.

        The capability list in it, if there is one, is remembered.
        """
        return self._rewritten(line, self._announced)

    def rewrite_during_login(self, line: bytes) -> bytes:
        """Do the same for a line that comes while the server answers a login.

        A list in it is that of the state which the login leads to: Dovecot says it just before its OK to a client that
        has asked for the capabilities before.
        """
        return self._rewritten(line, self._announced_after_login)

    def _rewritten(self, line: bytes, announced: tuple[bytes, ...]) -> bytes:
        found = rewritten(line, self._may_offer, announced)
        if found is None:
            return line
        line, self._listed = found
        return line

    def has_mechanism(self, mechanism: bytes) -> bool:
        """Tell whether a SASL mechanism (upper case) was offered; by policy alone where there was no list yet."""
        if self._listed is None:
            return self._may_offer(mechanism)
        return b"AUTH=" + mechanism in self._listed

    def has_unauthenticate(self) -> bool:
        """Tell whether the server announced UNAUTHENTICATE."""
        return self._listed is not None and b"UNAUTHENTICATE" in self._listed

    def takes_unasked(self, size: int) -> bool:
        """Tell whether the server announced that it takes a non-synchronizing literal of ``size`` octets."""
        if self._listed is None:
            return False
        if b"LITERAL+" in self._listed:
            return True
        return size <= LITERAL_MINUS_LIMIT and not self._listed.isdisjoint({b"LITERAL-", b"IMAP4REV2"})


def _nothing(_mechanism: bytes) -> bool:
    return False
