"""Lexical tokens of structured header fields (RFC 5322, 3.2; RFC 6532 for what is not US-ASCII).

Text is a field's value, unfolded and decoded as UTF-8 with octets that are none as surrogates ("surrogateescape"), so
that every value can be read and written back. Time is linear in the text's length whatever the text, and comments
nest without recursion.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass


class TokenError(ValueError):
    """Text that is no sequence of tokens: a quote, comment or bracket left open, or a control character."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token: "atom", "quoted", "literal", "comment" or "special"; its text as written, and where it stands."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where what follows begins."""
        return self.start + len(self.text)

    @property
    def content(self) -> str:
        """The text without quotes, parentheses or brackets and without quoted pairs' backslashes."""
        if self.kind in {"atom", "special"}:
            return self.text
        return _QUOTED_PAIR.sub(r"\1", self.text[1:-1])


# atext    = ALPHA / DIGIT / "!" / "#" / "$" / ... / UTF8-non-ascii
ATEXT = r"[!#-'*+\-/-9=?A-Z^-~\x80-\U0010FFFF]"
# atom          = 1*atext
# quoted-string = DQUOTE *([FWS] qcontent) [FWS] DQUOTE ; qcontent = qtext / quoted-pair
# dtext         = %d33-90 / %d94-126
# FWS           = ([*WSP CRLF] 1*WSP) / obs-FWS                 ; unfolded: 1*WSP
# Possessive ("++", "*+"): what was matched is never tried again shorter, and need not be remembered, by the megabyte. A
# group that fails in its middle is not undone by Python 3.11.2 (gh-106052): none here can, but at the text's very end.
_TOKEN = re.compile(
    rf"(?P<atom>{ATEXT}+)"
    r'|(?P<quoted>"[^"\\]*+(?:\\.[^"\\]*+)*+")'
    r"|(?P<literal>\[[^\[\]\\]*\])"
    r"|(?P<special>[<>@,:;.])"
    r"|(?P<comment>\()"
    r"|[ \t]+"
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_COMMENT_BORDER = re.compile(r"\\.|[()]")
# Of text with comments: what is none, up to the next that is one; a quote left open goes to the end.
_UNCOMMENTED = re.compile(r'(?:[^"(]++|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z))++')
CONTROL = re.compile(r"[\0-\x08\x0A-\x1F\x7F]")


def read_tokens(text: str) -> list[Token]:
    """Return the tokens of the text, comments among them, white space not."""
    return list(each_token(text))


def each_token(text: str) -> Iterator[Token]:
    """Yield the tokens likewise; TokenError comes behind those that can be read."""
    if CONTROL.search(text):
        raise TokenError("control character")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise TokenError(f"unexpected {text[position]!a}")
        end = _comment_end(text, position) if match.lastgroup == "comment" else match.end()
        if match.lastgroup is not None:
            yield Token(match.lastgroup, text[position:end], position)
        position = end


def is_word(token: Token) -> bool:
    """Tell whether a phrase may hold the token: word / "." (obs-phrase)."""
    return token.kind in {"atom", "quoted"} or token.text == "."


def _comment_end(text: str, start: int) -> int:
    depth = 0
    for border in _COMMENT_BORDER.finditer(text, start):
        depth += {"(": 1, ")": -1}.get(border[0], 0)
        if depth == 0:
            return border.end()
    raise TokenError("comment left open")


def without_comments(text: str) -> str:
    """Return the text with a space for each comment; what follows a comment left open is dropped."""
    kept: list[str] = []
    position = 0
    while position < len(text):
        match = _UNCOMMENTED.match(text, position)
        if match is not None:
            kept.append(match[0])
            position = match.end()
            continue
        kept.append(" ")
        try:
            position = _comment_end(text, position)
        except TokenError:
            break
    return "".join(kept)
