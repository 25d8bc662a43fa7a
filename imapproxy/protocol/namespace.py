"""Where mailbox names begin on a server: its NAMESPACE response (RFC 2342; RFC 9051 section 6.3.10).

On some servers all of a user's mailboxes stand below a prefix: on Courier, and on Cyrus without ``altnamespace``,
``INBOX.Sent`` can exist and ``Sent`` cannot. Names are bytes as they stand on the wire. The server is not trusted: what
it says is read in linear time and bounded, or ends in a ``ResponseError``.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from imapproxy.protocol.fetched import Piece, ResponseError, Value, responses

# Far above what servers announce: bytes of a prefix, and namespaces of all kinds together.
MAX_PREFIX = 256
MAX_NAMESPACES = 100

_INBOX = b"INBOX"


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The prefixes of the user's own mailboxes, in the server's order, and of other users' and shared ones."""

    personal: tuple[bytes, ...] = ()
    foreign: tuple[bytes, ...] = ()

    def own_name(self, name: bytes) -> bytes:
        """Return the full name of a mailbox of the user's; a name that is full already stays as it is.

        A name without a prefix is full if a personal namespace has none, or if the server announces no personal
        namespace. Without its prefix the name could be the one of a shared mailbox.
        """
        prefixes = [prefix for prefix in (*self.personal, *self.foreign) if prefix]
        is_full = (
            not self.personal
            or b"" in self.personal
            or name.upper() == _INBOX
            or any(_folded(name).startswith(_folded(prefix)) for prefix in prefixes)
        )
        return name if is_full else self.personal[0] + name


def namespaces(pieces: Iterable[Piece]) -> Namespaces:
    """Read the last NAMESPACE response in what imaplib collected under that name; no namespaces if there is none."""
    found = Namespaces()
    for values in responses(pieces):
        found = _namespaces(values)
    return found


def _namespaces(values: tuple[Value, ...]) -> Namespaces:
    # Namespace-Response = "*" SP "NAMESPACE" SP Namespace SP Namespace SP Namespace: personal, other users', shared
    if len(values) != 3:
        raise ResponseError("the IMAP server sent a NAMESPACE response of another form")
    personal, others, shared = map(_prefixes, values)
    if len(personal) + len(others) + len(shared) > MAX_NAMESPACES:
        raise ResponseError("the IMAP server sent too many namespaces")
    return Namespaces(personal, (*others, *shared))


def _prefixes(value: Value) -> tuple[bytes, ...]:
    # Namespace = nil / "(" 1*Namespace-Descr ")"
    if value is None:
        return ()
    if not isinstance(value, tuple):
        raise ResponseError("the IMAP server sent something else where namespaces belong")
    return tuple(map(_prefix, value))


def _prefix(value: Value) -> bytes:
    # Namespace-Descr = "(" string SP (DQUOTE QUOTED-CHAR DQUOTE / nil) [Namespace-Response-Extensions] ")"
    match value:
        case (bytes() as prefix, bytes() | None, *_) if len(prefix) <= MAX_PREFIX:
            return prefix
    raise ResponseError("the IMAP server sent something else where a namespace belongs")


def _folded(name: bytes) -> bytes:
    """Return a name in the one form that is compared: only INBOX is the same in either case (RFC 9051 5.1)."""
    length = len(_INBOX)
    return name[:length].upper() + name[length:] if name[:length].upper() == _INBOX else name
