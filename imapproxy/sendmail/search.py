"""What a person looks for, typed as IMAP's SEARCH criteria, as the lines of a command (RFC 9051 sections 6.4.4 and 9).

    FROM anna SINCE 1-Nov-2026 OR (SUBJECT "the plans") (LARGER 100000)

What the words mean, the server knows. They are told apart here so that to it none can be more than a word: what is no
atom is quoted, and what is not US-ASCII is a literal in UTF-8, as every server takes it (RFC 3501 section 6.4.4).
"""

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import EX_USAGE

from imapproxy.sendmail.failure import Failure

# What a person types fits in some lines of a terminal.
MAX_CRITERIA = 1000  # characters

# Control characters; surrogates, which are what the shell passed that is no UTF-8.
_NO_TEXT = re.compile(r"[\0-\x1F\x7F-\x9F\uD800-\uDFFF]")

# Space stands between words, but need not where a parenthesis is; a quote begins and ends a word.
_WORD = re.compile(r'(?P<parenthesis>[()])|(?:"(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"|(?P<bare>[^ ()"]+))(?=[ ()]|\Z)')
_SPACE = re.compile(r" *")
_ESCAPED = re.compile(r"\\(.)")
_SPECIAL = re.compile(r'(["\\])')

# astring = 1*ASTRING-CHAR / string ; ASTRING-CHAR = ATOM-CHAR / resp-specials
# ATOM-CHAR = <any CHAR except atom-specials>
# atom-specials = "(" / ")" / "{" / SP / CTL / list-wildcards / quoted-specials / resp-specials
# sequence-set = (seq-number / seq-range) ["," sequence-set] ; seq-number = nz-number / "*"
_ATOM = re.compile(r'[^(){ %*"\\\x00-\x1F\x7F-\U0010FFFF]+|[0-9:,*]+')

# These begin a command's options, which would change how it is read and answered.
_OPTIONS = frozenset({b"CHARSET", b"RETURN"})


def criteria(text: str) -> tuple[bytes, ...]:
    """Return the lines of a UID SEARCH for what is typed, without the command's name and without CRLF.

    The first one is US-ASCII; each other one begins with a literal, and is sent when the server asks for it. Failure
    (EX_USAGE) where the text is empty, too long, or no sequence of words.
    """
    if len(text) > MAX_CRITERIA:
        raise _unusable(f"longer than {MAX_CRITERIA} characters")
    if _NO_TEXT.search(text):
        raise _unusable("control character, or a word that is not UTF-8")
    words = [*_words(text)]
    _check(words)
    line = _joined(words)
    # Only a literal is not US-ASCII, and none holds CRLF.
    return tuple((line if line.isascii() else b"CHARSET UTF-8 " + line).split(b"\r\n"))


def _words(text: str) -> Iterator[bytes]:
    """Yield words and parentheses as the command has them."""
    position = _after_space(text, 0)
    while position < len(text):
        word = _WORD.match(text, position)
        if word is None:
            raise _unusable('" where none belongs, or left open')
        yield _written(word)
        position = _after_space(text, word.end())


def _after_space(text: str, position: int) -> int:
    space = _SPACE.match(text, position)
    return space.end() if space else position


def _written(word: re.Match[str]) -> bytes:
    if word["parenthesis"]:
        return word[0].encode("ascii")
    if word["bare"] and _ATOM.fullmatch(word["bare"]):
        return word["bare"].encode("ascii")
    return _string(word["bare"] or _ESCAPED.sub(r"\1", word["quoted"]))


def _string(text: str) -> bytes:
    """Write quoted = DQUOTE *QUOTED-CHAR DQUOTE, or literal = "{" number64 "}" CRLF *CHAR8."""
    if text.isascii():
        return b'"%b"' % _SPECIAL.sub(r"\\\1", text).encode("ascii")
    octets = text.encode("utf-8")
    return b"{%d}\r\n%b" % (len(octets), octets)


def _check(words: Sequence[bytes]) -> None:
    if not words:
        raise _unusable("nothing to look for (ALL finds all)")
    if words[0].upper() in _OPTIONS:
        raise _unusable("criteria only, no CHARSET or RETURN")
    depth = 0
    for word in words:
        depth += {b"(": 1, b")": -1}.get(word, 0)
        if depth < 0:
            break
    if depth != 0:
        raise _unusable("parentheses that do not match")


def _joined(words: Sequence[bytes]) -> bytes:
    """Write search-key = ... / "(" search-key *(SP search-key) ")"."""
    joined = b""
    for before, word in pairwise([b"(", *words]):
        joined += (b"" if before == b"(" or word == b")" else b" ") + word
    return joined


def _unusable(reason: str) -> Failure:
    return Failure(EX_USAGE, f"--find: {reason}")
