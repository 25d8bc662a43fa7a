"""What a client says of itself in ID (RFC 2971), without what only a proxy may say of it.

Dovecot believes a proxy that it trusts (``login_trusted_networks``) what address a client comes from, and other things
that the session then counts as: a client that said them itself would be taken at its word.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

# Names of the fields that Dovecot takes from a proxy begin like this, in either case. Since 2.4 x-client-transport says
# that a client speaks TLS, and x-multiplex changes how the stream is framed.
FORWARDING = (
    *(b"x-originating-", b"x-connected-", b"x-forward-", b"x-proxy-", b"x-session-"),
    *(b"x-client-transport", b"x-multiplex"),
)

# string = quoted / literal (RFC 9051 section 9). Atoms are taken too: servers do.
_TOKEN = re.compile(
    rb"(?P<space> *+)(?:(?P<parenthesis>[()])"
    rb'|(?P<quoted>"[^"\\\x00\r\n]*+(?:\\["\\][^"\\\x00\r\n]*+)*+")'
    rb'|(?P<atom>[^\x00-\x20(){"\\\x7f]++)'
    rb"|(?P<mark>\{(?P<size>[0-9]{1,20})\+?\}\r\n))"
)
_ESCAPED = re.compile(rb'\\(["\\])')


class _Token(NamedTuple):
    space: bytes
    mark: bytes  # a literal's, CRLF included
    text: bytes  # as it stands, or a literal's content
    value: bytes | None  # what a string or an atom says; None for a parenthesis


def without_forwarding(arguments: bytes) -> list[bytes] | None:
    """Return ID's arguments without the fields that only a proxy may send; None where they are not of ID's form.

    ``arguments`` is what stands behind ``ID`` and its space, the literals' contents in their places, CRLF at the end.
    What is returned is cut behind each synchronizing literal's mark, where the server must say ``+`` before the next
    piece may be sent. What stays is as it was; where nothing does, it is ``NIL``.
    """
    tokens = _tokens(arguments)
    if tokens is None:
        return None
    # id-params-list = "(" #(string SPACE nstring) ")" / nil
    if len(tokens) == 1 and (tokens[0].value or b"").upper() == b"NIL" and not tokens[0].mark:
        return [arguments]
    fields = _fields(tokens)
    if fields is None:
        return None
    kept = [field for field in fields if not (field[0].value or b"").lower().startswith(FORWARDING)]
    if fields and not kept:
        return [b"NIL\r\n"]
    if kept and kept[0] is not fields[0]:
        kept[0] = (kept[0][0]._replace(space=fields[0][0].space), kept[0][1])
    return list(_pieces([tokens[0], *(token for field in kept for token in field), tokens[-1]]))


def _tokens(arguments: bytes) -> list[_Token] | None:
    tokens: list[_Token] = []
    position = 0
    while match := _TOKEN.match(arguments, position):
        position = match.end()
        space, text = match["space"], arguments[match.end("space") : position]
        if match["mark"]:
            content = arguments[position : position + int(match["size"])]
            position += len(content)
            tokens.append(_Token(space, match["mark"], content, content))
        elif match["parenthesis"]:
            tokens.append(_Token(space, b"", text, None))
        else:
            value = _ESCAPED.sub(rb"\1", text[1:-1]) if match["quoted"] else text
            tokens.append(_Token(space, b"", text, value))
    return tokens if arguments[position:] == b"\r\n" else None


def _fields(tokens: list[_Token]) -> list[tuple[_Token, _Token]] | None:
    """Return the names and values of a list, which stands in parentheses; None where that is not all there is."""
    if len(tokens) < 2 or tokens[0].text != b"(" or tokens[-1].text != b")":
        return None
    inside = tokens[1:-1]
    if len(inside) % 2 or any(token.value is None for token in inside) or not all(token.space for token in inside[1:]):
        return None
    return list(zip(inside[::2], inside[1::2], strict=True))


def _pieces(tokens: list[_Token]) -> Iterator[bytes]:
    piece = bytearray()
    for space, mark, text, _ in tokens:
        piece += space + mark
        if mark and not mark.endswith(b"+}\r\n"):
            yield bytes(piece)
            piece.clear()
        piece += text
    yield bytes(piece) + b"\r\n"
