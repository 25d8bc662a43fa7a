"""What a client logged in with: LOGIN (RFC 9051 6.2.3) and AUTHENTICATE (6.2.2) read as they pass.

Who the client is for SUBMIT depends on what is read here, so it is read strictly: what could be understood in two ways
is not understood at all.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from imapproxy.errors import ClientError
from imapproxy.protocol.framing import Literal

# SASL responses of one exchange that are kept; no mechanism that is read here has more than two.
MAX_RESPONSES = 4

# Octets of a user name or a password as a literal.
MAX_LOGIN_LITERAL = 4 * 1024

# Text that is not UTF-8 (a password may be any octets) becomes the same octets again when it is encoded so.
ENCODING_ERRORS = "surrogateescape"


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and what proved it. The secret never shows in ``repr``.

    ``user`` is the authorization identity (who the user is), ``login`` the authentication identity (whose secret it
    is; the same unless SASL PLAIN named both), ``mechanism`` one of ``LOGIN``, ``PLAIN``, ``XOAUTH2``,
    ``OAUTHBEARER``. Octets that are not UTF-8 stand as lone surrogates (ENCODING_ERRORS).
    """

    user: str
    login: str
    secret: str = field(repr=False)
    mechanism: str

    @property
    def account(self) -> str:
        """The user in the one spelling by which limits, journal, log and status know it: servers take ALICE for alice.

        The servers themselves are told ``user``, as the client wrote it.
        """
        return self.user.casefold()


# astring = 1*ASTRING-CHAR / string. Atoms are taken as servers take them here, "%", "*" and 8-bit included: Dovecot's
# master users log in as fred*admin, and imaplib does not quote a user name.
_ARGUMENT = rb'(?:[^\x00-\x20"{\x7f]++|"[^"\\\x00\r\n]*+(?:\\["\\][^"\\\x00\r\n]*+)*+"|\{[0-9]{1,20}\+?\})'
_ARGUMENTS = re.compile(rb"(" + _ARGUMENT + rb")(?: (" + _ARGUMENT + rb"))?")
_ESCAPED = re.compile(rb'\\(["\\])')


def login_arguments(text: bytes, literals: Sequence[bytes]) -> tuple[bytes, ...] | None:
    """Return LOGIN's arguments as far as they are known, or None where ``text`` is not of LOGIN's form.

    ``text`` is all that stands after LOGIN and is not inside a literal, line ends left out; ``literals`` are the
    contents, as far as they are here, of the literals whose marks stand in it: what looks like a mark and stands at no
    line's end has none, and is of no form that all servers agree on.
    """
    match = _ARGUMENTS.fullmatch(text)
    if match is None:
        return None
    arguments = [argument for argument in match.groups() if argument is not None]
    if sum(argument.startswith(b"{") for argument in arguments) != len(literals):
        return None
    contents = iter(literals)
    return tuple(_value(argument, contents) for argument in arguments)


class LoginExchange:
    """A LOGIN or an AUTHENTICATE under way, and what of it has passed; its texts and responses are bounded."""

    __slots__ = ("_literals", "_mechanism", "_responses", "_text")

    def __init__(self, mechanism: bytes | None) -> None:
        """``mechanism`` is in upper case, and None for LOGIN."""
        self._mechanism = mechanism
        self._text = b""
        self._literals: list[bytearray] = []
        self._responses: list[bytes] = []

    def follow(self, text: bytes, literal: Literal | None, takes_unasked: Callable[[int], bool]) -> None:
        """Add what of a line stands outside LOGIN's literals, line end left out, and begin the ``literal`` at its end.

        ``takes_unasked`` says whether the server takes a non-synchronizing literal of so many octets. Raise ClientError
        where the server might see something else in it than two arguments.
        """
        self._text += text
        if literal is not None:
            self._literals.append(bytearray())
        arguments = self._arguments()
        if arguments is None or (literal is None and len(arguments) != 2):
            raise ClientError("LOGIN takes a user name and a password")
        if literal is None:
            return
        if literal.size > MAX_LOGIN_LITERAL:
            raise ClientError("User name or password too long")
        if not literal.synchronizing and not takes_unasked(literal.size):
            raise ClientError("The server has not announced that it takes non-synchronizing literals")

    def add_literal(self, octets: memoryview) -> None:
        """Add octets of the literal begun last."""
        self._literals[-1] += octets

    def add_response(self, response: bytes) -> None:
        """Add a response to AUTHENTICATE, base64 as it stands on the wire; all but the first few are not kept."""
        if len(self._responses) < MAX_RESPONSES:
            self._responses.append(response)

    def credentials(self) -> Credentials | None:
        """Return what has passed, or None where that cannot be read."""
        if self._mechanism is not None:
            return credentials_from_sasl(self._mechanism, self._responses)
        arguments = self._arguments()
        if arguments is None or len(arguments) != 2:
            return None
        return credentials_from_login(*arguments)

    def _arguments(self) -> tuple[bytes, ...] | None:
        return login_arguments(self._text, [*map(bytes, self._literals)])


def _value(argument: bytes, contents: Iterator[bytes]) -> bytes:
    if argument.startswith(b"{"):
        return next(contents)
    if argument.startswith(b'"'):
        return _ESCAPED.sub(rb"\1", argument[1:-1])
    return argument


def credentials_from_login(user: bytes, password: bytes) -> Credentials:
    """Return what the two arguments of LOGIN say."""
    return Credentials(_text(user), _text(user), _text(password), "LOGIN")


def credentials_from_sasl(mechanism: bytes, responses: Sequence[bytes]) -> Credentials | None:
    """Return what the client's responses to AUTHENTICATE say; None where the mechanism or they cannot be read.

    ``responses`` are base64 as they stood on the wire, an initial response (RFC 4959, ``=`` when empty) first.
    """
    read = _READERS.get(mechanism)
    if read is None or not responses:
        return None
    try:
        decoded = [base64.b64decode(b"" if r == b"=" else r, validate=True) for r in responses]
    except (binascii.Error, ValueError):
        return None
    return read(decoded)


def _plain(responses: list[bytes]) -> Credentials | None:
    # message = [authzid] UTF8NUL authcid UTF8NUL passwd (RFC 4616 section 2)
    fields = responses[0].split(b"\0")
    if len(responses) != 1 or len(fields) != 3 or not fields[1]:
        return None
    authorization, authentication, password = map(_text, fields)
    return Credentials(authorization or authentication, authentication, password, "PLAIN")


def _login(responses: list[bytes]) -> Credentials | None:
    # draft-murchison-sasl-login: the user name, then the password; never an authorization identity. An initial response
    # that is empty, and not "=", is one to some servers and none to others: so nobody has an empty name.
    if len(responses) != 2 or not responses[0]:
        return None
    user, password = map(_text, responses)
    return Credentials(user, user, password, "LOGIN")


# "user=" user %x01 "auth=Bearer " token %x01 %x01 (Google's and Microsoft's XOAUTH2)
_XOAUTH2 = re.compile(rb"user=([^\x01]+)\x01auth=Bearer ([^\x01]+)\x01\x01", re.IGNORECASE)
# client-resp = gs2-header kvsep *kvpair kvsep; gs2-header = "n," ["a=" saslname] "," (RFC 7628 3.1, RFC 5801 4)
_OAUTHBEARER = re.compile(
    rb"n,a=([^,\x00\x01]+),\x01(?:[a-z]+=[^\x01]*\x01)*?auth=Bearer ([^\x01]+)\x01", re.IGNORECASE
)


def _xoauth2(responses: list[bytes]) -> Credentials | None:
    match = _XOAUTH2.fullmatch(responses[0])
    return _token(match[1], match[2], "XOAUTH2") if match else None


def _oauthbearer(responses: list[bytes]) -> Credentials | None:
    # Without "a=" only the token says who the user is, and only its issuer can read that.
    match = _OAUTHBEARER.match(responses[0])
    return _token(match[1].replace(b"=2C", b",").replace(b"=3D", b"="), match[2], "OAUTHBEARER") if match else None


def _token(user: bytes, token: bytes, mechanism: str) -> Credentials:
    return Credentials(_text(user), _text(user), _text(token), mechanism)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", ENCODING_ERRORS)


_READERS: dict[bytes, Callable[[list[bytes]], Credentials | None]] = {
    b"PLAIN": _plain,
    b"LOGIN": _login,
    b"XOAUTH2": _xoauth2,
    b"OAUTHBEARER": _oauthbearer,
}
