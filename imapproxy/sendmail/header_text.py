"""Words of other people's header fields, as a terminal shows them: decoded (RFC 2047, RFC 2231), and harmless.

Whoever wrote a message chose its words and their encoding. What is shown is one line of printable characters, bounded.
"""

import re
from collections.abc import Iterator, Mapping
from email.errors import HeaderParseError
from email.header import decode_header
from urllib.parse import unquote_to_bytes

# Of a text, in octets, and then in characters: what does not fit in a line of a terminal is not read.
MAX_ENCODED = 4000
MAX_SHOWN = 200

# Sections of a parameter (RFC 2231, 3): a file's name in sections of one character each has fewer.
MAX_SECTIONS = 255

# A folded line (RFC 5322, 2.2.3), and what is none.
_LINE_END = re.compile(rb"[\r\n]+[ \t]?")


def shown(text: str) -> str:
    """Return a text on one line, space for space, with U+FFFD for what is not printable, and cut off where too long."""
    line = "".join(letter if letter.isprintable() else " " if letter.isspace() else "\ufffd" for letter in text)
    return line if len(line) <= MAX_SHOWN else line[: MAX_SHOWN - 1] + "…"


def decoded(octets: bytes | None) -> str:
    """Return an unstructured text or a phrase with its encoded-words read (RFC 2047), fit to be shown."""
    text = _LINE_END.sub(b" ", (octets or b"")[:MAX_ENCODED]).decode("utf-8", "replace")
    try:
        pieces = decode_header(text)
    except HeaderParseError:
        return shown(text)
    return shown("".join(_text(piece, charset) for piece, charset in pieces))


def _text(piece: bytes | str, charset: str | None) -> str:
    if isinstance(piece, str):
        return piece
    # Behind an encoded-word, what is none is written in "raw-unicode-escape".
    return _decoded_from(piece, charset or "raw-unicode-escape")


def _decoded_from(octets: bytes, charset: str) -> str:
    try:
        return octets.decode(charset, "replace")
    except (LookupError, ValueError):  # no such charset, or one that replaces nothing
        return octets.decode("ascii", "replace")


def parameter(parameters: Mapping[bytes, bytes], name: bytes) -> str:
    """Return a parameter, by its name in lower case, fit to be shown; an empty text where there is none.

    It may be in sections, or in one with a charset (RFC 2231, 3 and 4); else encoded-words, which many programs write
    there, are read.
    """
    sections = [*_sections(parameters, name)]
    if not sections:
        return decoded(parameters.get(name))
    (first, is_encoded), *others = sections
    charset, first = _charset_and_text(first) if is_encoded else ("utf-8", first)
    octets = b"".join(unquote_to_bytes(text) if coded else text for text, coded in [(first, is_encoded), *others])
    return shown(_decoded_from(octets[:MAX_ENCODED], charset))


def _sections(parameters: Mapping[bytes, bytes], name: bytes) -> Iterator[tuple[bytes, bool]]:
    """Yield the text of each section, and whether it is percent-encoded."""
    if name + b"*" in parameters:
        yield parameters[name + b"*"], True
        return
    for number in range(MAX_SECTIONS):
        section = b"%b*%d" % (name, number)
        if section + b"*" in parameters:
            yield parameters[section + b"*"], True
        elif section in parameters:
            yield parameters[section], False
        else:
            return


def _charset_and_text(section: bytes) -> tuple[str, bytes]:
    """Read extended-initial-value = [charset] "'" [language] "'" extended-other-values."""
    *said, text = section.split(b"'", 2)
    return (said[0].decode("ascii", "replace") if said else "") or "utf-8", text
