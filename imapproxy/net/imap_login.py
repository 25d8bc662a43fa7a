"""Log in to an IMAP server (RFC 9051 6.2.2, 6.2.3), once more if need be, as a user whose login was read as it passed.

What is secret goes where the server asks for it, in answers and in literals: there it needs no quoting, and
``imaplib`` does not look at it.
"""

from base64 import b64encode
from collections.abc import Iterable

from imapproxy.errors import SubmissionRefused
from imapproxy.net.imap import BoundedIMAP, ImapRefusal, out_of_step
from imapproxy.net.sasl import Exchange, exchange
from imapproxy.protocol.login import ENCODING_ERRORS, Credentials

LOGIN_EXPIRED = "5.7.8 login expired; log in again"
NOTHING_FITS = "5.7.4 the IMAP server offers no login that fits the user's own"
REFUSED = "4.7.0 the IMAP server refused a second login"

# RFC 5530: nothing is wrong with the login, but the server cannot take it now, and says why.
_TEMPORARY = frozenset({"UNAVAILABLE", "INUSE", "LIMIT"})
# What Dovecot and Cyrus say, without such a code, if a user has too many connections, or our address has.
_TOO_MANY = ("maximum number of connections", "too many open connections")


class NothingFits(Exception):
    """The server offers no way to log in by which these credentials prove who the user is."""


def log_in_once_more(imap: BoundedIMAP, credentials: Credentials) -> None:
    """Log in as a user whom the server has let in before, or raise SubmissionRefused."""
    try:
        log_in(imap, credentials)
    except NothingFits as failure:
        raise SubmissionRefused(NOTHING_FITS) from failure
    except ImapRefusal as refusal:
        raise SubmissionRefused(_reason(refusal, credentials)) from refusal


def log_in(imap: BoundedIMAP, credentials: Credentials) -> None:
    """Prove to a server that waits for it who the user is; raise ImapRefusal or NothingFits."""
    if imap.state != "NONAUTH":
        raise NothingFits
    offered = [word.removeprefix("AUTH=") for word in imap.capabilities if word.startswith("AUTH=")]
    login = exchange(credentials, offered)
    if login is not None:
        _authenticate(imap, login)
    elif _can_log_in_plainly(imap, credentials):
        _log_in_plainly(imap, credentials)
    else:
        raise NothingFits
    imap.state = "AUTH"


def is_temporary(refusal: ImapRefusal) -> bool:
    """Tell whether nothing is wrong with the login, but the server cannot take it now."""
    words = refusal.words.lower()
    return refusal.code in _TEMPORARY or any(phrase in words for phrase in _TOO_MANY)


def _authenticate(imap: BoundedIMAP, login: Exchange) -> None:
    """AUTHENTICATE; a server that wants more answers than there are is told ``*``, which cancels."""
    answers = Answers([*map(b64encode, login.answers), b"*"])
    imap.ask(imap.xatom, "AUTHENTICATE", login.mechanism, more=answers.next)


def _can_log_in_plainly(imap: BoundedIMAP, credentials: Credentials) -> bool:
    """Whether LOGIN, which has no authorization identity, says the same; a literal holds anything but NUL."""
    return (
        "LOGINDISABLED" not in imap.capabilities
        and credentials.mechanism in {"LOGIN", "PLAIN"}
        and credentials.user == credentials.login
        and "\0" not in credentials.login + credentials.secret
    )


def _log_in_plainly(imap: BoundedIMAP, credentials: Credentials) -> None:
    user, secret = (text.encode("utf-8", ENCODING_ERRORS) for text in (credentials.login, credentials.secret))
    answers = Answers([b"%b {%d}" % (user, len(secret)), secret])
    imap.ask(imap.xatom, "LOGIN", f"{{{len(user)}}}", more=answers.next)


class Answers:
    """What there is to say at each of the server's continuation requests."""

    def __init__(self, answers: Iterable[bytes]) -> None:
        self._answers = iter(answers)

    def next(self, _challenge: bytes) -> bytes:
        """Return the next; SideConnectionError where the server asks for more than there is."""
        answer = next(self._answers, None)
        if answer is None:
            raise out_of_step()
        return answer


def _reason(refusal: ImapRefusal, credentials: Credentials) -> str:
    if is_temporary(refusal):
        return f"4.7.0 {refusal.words}"
    return LOGIN_EXPIRED if credentials.mechanism in {"XOAUTH2", "OAUTHBEARER"} else REFUSED
