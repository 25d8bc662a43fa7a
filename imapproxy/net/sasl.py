"""What to say to an SMTP server to log in (RFC 4954) with what a user logged in to IMAP with. Pure."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from imapproxy.protocol.login import ENCODING_ERRORS, Credentials


@dataclass(frozen=True, slots=True)
class Exchange:
    """A SASL mechanism and the client's answers in turn, the initial response first; they never show in ``repr``."""

    mechanism: str
    answers: tuple[bytes, ...] = field(repr=False)

    @property
    def bearer(self) -> bool:
        """Whether what is shown is a token, which expires."""
        return self.mechanism in ("XOAUTH2", "OAUTHBEARER")


def exchange(credentials: Credentials, offered: Collection[str]) -> Exchange | None:
    """Return the exchange that proves the same user to the server that offers these mechanisms, if there is one."""
    if any(separator in text for separator in "\0\1" for text in _parts(credentials)):
        return None
    for mechanism in _CANDIDATES[credentials.mechanism]:
        answers = _ANSWERS[mechanism](credentials) if mechanism in offered else ()
        if answers:
            return Exchange(mechanism, tuple(answer.encode("utf-8", ENCODING_ERRORS) for answer in answers))
    return None


def _parts(credentials: Credentials) -> tuple[str, str, str]:
    return credentials.user, credentials.login, credentials.secret


def _plain(credentials: Credentials) -> tuple[str, ...]:
    """RFC 4616: an authorization identity only where it is another than the one that logs in."""
    user, login, secret = _parts(credentials)
    return (f"{'' if user == login else user}\0{login}\0{secret}",)


def _login(credentials: Credentials) -> tuple[str, ...]:
    """draft-murchison-sasl-login-00; it has no authorization identity, so it cannot act for another user."""
    user, login, secret = _parts(credentials)
    return (login, secret) if user == login else ()


def _xoauth2(credentials: Credentials) -> tuple[str, ...]:
    """Google's; the empty answer acknowledges the server's account of an error."""
    return f"user={credentials.user}\1auth=Bearer {credentials.secret}\1\1", ""


def _oauthbearer(credentials: Credentials) -> tuple[str, ...]:
    """RFC 7628; the lone separator acknowledges the server's account of an error (section 3.2.3)."""
    user = credentials.user.replace("=", "=3D").replace(",", "=2C")
    return f"n,a={user},\1auth=Bearer {credentials.secret}\1\1", "\1"


_ANSWERS: dict[str, Callable[[Credentials], tuple[str, ...]]] = {
    "PLAIN": _plain,
    "LOGIN": _login,
    "XOAUTH2": _xoauth2,
    "OAUTHBEARER": _oauthbearer,
}

# What the user logged in to IMAP with -> what proves the same to SMTP, the better first.
_CANDIDATES = {
    "LOGIN": ("PLAIN", "LOGIN"),
    "PLAIN": ("PLAIN", "LOGIN"),
    "XOAUTH2": ("XOAUTH2", "OAUTHBEARER"),
    "OAUTHBEARER": ("OAUTHBEARER", "XOAUTH2"),
}
