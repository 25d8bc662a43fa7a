"""What an IMAP server answers our FETCH, LIST or NAMESPACE with, read from the pieces that imaplib collects.

imaplib gives a response with n literals as n tuples, each of them text that ends with a literal's mark (``{5}``, CRLF
taken off) and the literal, and then the rest of the text: ``(b'1 (UID 20 BODY[2]<0> {5}', b'hello'), b')'``. Without
literals there is the text only; where no response came, it gives one None.

The server is not trusted: whatever it says is read in linear time into values of bounded depth and number, or ends in
a ResponseError. How many octets it may say is for the connection to bound. Nothing here knows what was asked for.
Grammar: RFC 9051 section 9 (``message-data``, ``mailbox-list``), RFC 3501 section 9.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

# A string, a literal, an atom or a number is its octets, NIL is None, a list is a tuple.
Value: TypeAlias = "bytes | tuple[Value, ...] | None"
Piece: TypeAlias = bytes | tuple[bytes, bytes] | None

# Lists within each other. Dovecot describes up to 100 MIME parts within each other, which makes 102 lists.
MAX_DEPTH = 200

# Values of one response, lists included. Dovecot describes up to 10,000 parts, with 14 values each.
MAX_VALUES = 200_000

# number64 ; unsigned 63-bit integer (RFC 9051 section 9)
MAX_NUMBER = 2**63 - 1


class ResponseError(ValueError):
    """The IMAP server's: what it answered cannot be read. The text is ours, and quotes nothing of the server's."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One FETCH response: the message's sequence number, and its data items by their names in upper case.

    A name is as the server says it, section and origin included: ``UID``, ``BODY[]<0>``, ``BODY[2.MIME]<0>``. Where a
    name stands twice, the later value holds.
    """

    number: int
    items: Mapping[str, Value]

    def octets(self, name: str) -> bytes | None:
        """Return an item that is a string; None where it is NIL or absent. Raise ResponseError where it is a list."""
        value = self.items.get(name)
        if isinstance(value, tuple):
            raise ResponseError("the IMAP server sent a list where a string belongs")
        return value

    def number_of(self, name: str) -> int | None:
        """Return an item that is a number; None where it is NIL or absent. Raise ResponseError where it is neither."""
        return number(self.items.get(name))


@dataclass(frozen=True, slots=True)
class Listed:
    r"""One LIST response: the mailbox's attributes in lower case (``\sent``), and its name's octets as they are."""

    attributes: frozenset[str]
    name: bytes


def fetched(pieces: Iterable[Piece]) -> list[Fetched]:
    """Read all FETCH responses in what imaplib collected under that name, those of other messages included."""
    return [_fetched(values) for values in responses(pieces)]


def listed(pieces: Iterable[Piece]) -> list[Listed]:
    """Read all LIST responses in what imaplib collected under that name."""
    return [_listed(values) for values in responses(pieces)]


def responses(pieces: Iterable[Piece]) -> Iterator[tuple[Value, ...]]:
    """Yield the values of each response in what imaplib collected; whether they are what belongs there is left."""
    return map(_values, _responses(pieces))


_NUMBER = re.compile(rb"[0-9]{1,20}")


def number(value: Value) -> int | None:
    """Return a value that is a number; None for NIL. Raise ResponseError for any other, and over MAX_NUMBER."""
    if value is None:
        return None
    if isinstance(value, tuple):
        raise ResponseError("the IMAP server sent a list where a number belongs")
    return _number(value)


def _number(octets: bytes) -> int:
    if not _NUMBER.fullmatch(octets) or int(octets) > MAX_NUMBER:
        raise ResponseError("the IMAP server sent something else where a number belongs")
    return int(octets)


# Names of data items are atoms, but for what the sections of some hold: SP, parentheses and quotes.
_ITEM_NAME = re.compile(rb"[ -~]+")


def _fetched(values: tuple[Value, ...]) -> Fetched:
    # message-data = nz-number SP ("EXPUNGE" / ("FETCH" SP msg-att)); imaplib takes out the word
    # msg-att = "(" (msg-att-dynamic / msg-att-static) *(SP (msg-att-dynamic / msg-att-static)) ")"
    match values:
        case (bytes() as digits, tuple() as items) if len(items) % 2 == 0:
            return Fetched(_number(digits), dict(zip(map(_item_name, items[::2]), items[1::2], strict=True)))
    raise ResponseError("the IMAP server sent a FETCH response of another form")


def _item_name(value: Value) -> str:
    if not isinstance(value, bytes) or not _ITEM_NAME.fullmatch(value):
        raise ResponseError("the IMAP server sent something else where an item's name belongs")
    return value.decode("ascii").upper()


def _listed(values: tuple[Value, ...]) -> Listed:
    # mailbox-list = "(" [mbx-list-flags] ")" SP (DQUOTE QUOTED-CHAR DQUOTE / nil) SP mailbox [SP mbox-list-extended]
    match values:
        case (tuple() as attributes, bytes() | None, bytes() | None as name, *_):
            # mailbox = "INBOX" / astring: a mailbox may be called NIL, and no quotes are needed for that.
            return Listed(frozenset(map(_attribute, attributes)), b"NIL" if name is None else name)
    raise ResponseError("the IMAP server sent a LIST response of another form")


def _attribute(value: Value) -> str:
    if not isinstance(value, bytes) or not value.isascii():
        raise ResponseError("the IMAP server sent something else where a mailbox attribute belongs")
    return value.decode("ascii").lower()


class _Response(NamedTuple):
    """A response's text as it stood on the wire, CRLF behind each mark of a literal, and the literals in order."""

    text: bytes
    literals: list[bytes]


def _responses(pieces: Iterable[Piece]) -> Iterator[_Response]:
    texts: list[bytes] = []
    literals: list[bytes] = []
    for piece in pieces:
        if isinstance(piece, tuple):
            texts.append(piece[0])
            literals.append(piece[1])
        elif piece is not None:
            yield _Response(b"\r\n".join([*texts, piece]), literals)
            texts, literals = [], []
    if texts:
        raise ResponseError("the IMAP server sent a response without its end")


# quoted = DQUOTE *QUOTED-CHAR DQUOTE; QUOTED-CHAR = <any TEXT-CHAR except quoted-specials> / "\" quoted-specials
# Servers copy what a header holds: 8-bit octets are taken, and any octet behind "\" as that octet.
_QUOTED = rb'"(?P<quoted>[^"\\\x00\r\n]*+(?:\\[^\x00\r\n][^"\\\x00\r\n]*+)*+)"'
_ESCAPED = re.compile(rb"\\(.)")

# literal = "{" number64 "}" CRLF *CHAR8; literal8 = "~{" number64 "}" CRLF *OCTET; a server sends no "+"
_LITERAL = rb"~?\{(?P<literal>[0-9]{1,20})\}\r\n"

# atom = 1*ATOM-CHAR, and what servers send in such places: flags (\Seen, \*), "%", "]", 8-bit octets
_ATOM = rb'[^\x00-\x20\x7f(){"]+'

# msg-att-static = ... / "BODY" section ["<" number ">"] SP nstring / "BINARY" section-binary SP (nstring / literal8)
# section = "[" [section-spec] "]"; a section-spec may hold a list of header fields' names, but no "[" (which keeps the
# search for "]" from going over the same octets again and again)
_SECTION = rb"(?:BODY|BINARY|BINARY\.SIZE)\[[^\[\]\x00-\x1f\x7f-\xff]*\](?:<[0-9]{1,20}>)?"

# SP stands between values; some servers leave it out, or put another one, around parentheses.
_TOKEN = re.compile(
    rb" *(?:(?P<begin>\()|(?P<end>\))|\Z"
    rb"|(?:" + _QUOTED + rb"|" + _LITERAL + rb"|(?P<atom>" + _SECTION + rb"|" + _ATOM + rb"))(?=[ ()]|\Z))",
    re.IGNORECASE,
)


def _values(response: _Response) -> tuple[Value, ...]:
    """Return the values that a response consists of; none is looked into."""
    text, literals = response.text, iter(response.literals)
    lists = _Lists()
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ResponseError("the IMAP server sent a response that is none")
        position = token.end()
        match token.lastgroup:
            case "begin":
                lists.begin()
            case "end":
                lists.end()
            case "atom":
                lists.add(None if token["atom"].upper() == b"NIL" else token["atom"])
            case "quoted":
                lists.add(_unescaped(token["quoted"]))
            case "literal":
                lists.add(_literal(int(token["literal"]), literals))
    return lists.whole()


def _unescaped(quoted: bytes) -> bytes:
    return _ESCAPED.sub(rb"\1", quoted) if b"\\" in quoted else quoted


def _literal(size: int, literals: Iterator[bytes]) -> bytes:
    octets = next(literals, None)
    # Each tuple of imaplib's puts one CRLF into the text, and nothing but a mark takes one: none can be left over.
    if octets is None or len(octets) != size:
        raise ResponseError("the IMAP server sent a literal of another size than announced")
    return octets


class _Lists:
    """The values read so far, and the lists that are still open."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        self._open: list[list[Value]] = [[]]  # the outermost is the response itself
        self._count = 0

    def add(self, value: Value) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise ResponseError("the IMAP server sent a response of too many values")
        self._open[-1].append(value)

    def begin(self) -> None:
        if len(self._open) > MAX_DEPTH:
            raise ResponseError("the IMAP server sent lists nested too deep")
        self._open.append([])

    def end(self) -> None:
        values = self._open.pop()
        if not self._open:
            raise ResponseError("the IMAP server sent a response with a parenthesis too many")
        self.add(tuple(values))

    def whole(self) -> tuple[Value, ...]:
        if len(self._open) > 1:
            raise ResponseError("the IMAP server sent a response with a list that does not end")
        return tuple(self._open[0])
