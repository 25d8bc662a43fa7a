"""The display name of a From or Sender field whose address is replaced, whether that address can be read or not.

Many programs write what is no address list: `Fred Foobar`, `Fred Foobar <>`, `Foobar, Fred <fred@example.com>`. The
name is kept as it is written where it is a phrase or a comment (RFC 5322, 3.2.5 and 3.4), encoded-words too; other text
becomes a quoted string. Time is linear in the text's length.
"""

import re

from imapproxy.message.address import Address, AddressError, AddressList, parse_address_list
from imapproxy.message.tokens import CONTROL, TokenError, each_token, is_word, read_tokens

# Completes a bare name (`fred`), which is an address then and no display name.
_NO_DOMAIN = "invalid"
# A word without a domain that no local part is like: a name in quotes, an encoded-word.
_LIKE_A_NAME = re.compile(r"[ \t]|\A=\?")
_WORD = re.compile(r"[^ \t,;:<>]+")
_SPACE = re.compile(r"[ \t]+")
_SEPARATORS = " \t,;:"


def readdressed(text: str, address: Address) -> str:
    """Return a field's text with this address alone, and with the first name that the text has, if it has one."""
    name = _name_in(text)
    if not name:
        return address.smtp
    return f"{address.smtp} {name}" if name.startswith("(") else f"{name} <{address.smtp}>"


def _name_in(text: str) -> str:
    """Return the first name as it is to be written: a phrase, a comment with its parentheses, or nothing."""
    for default_domain in (None, _NO_DOMAIN):
        try:
            addresses = parse_address_list(text, default_domain)
        except AddressError:
            continue
        # In `Foobar, Fred <fred@example.com>` the comma belongs to the name.
        if default_domain is None or len(addresses.mailboxes) == 1:
            return _name_of(addresses, text)
    return _name_in_broken(text)


def _name_in_broken(text: str) -> str:
    """Return the name in text that is no address list."""
    before = _before_bracket(text)
    name = _WORD.sub(lambda word: "" if "@" in word[0] else word[0], before)
    return _as_written(before) or _as_written(name) or _quoted(name)


def _name_of(addresses: AddressList, text: str) -> str:
    if addresses.mailboxes and addresses.mailboxes[0].display_name:
        return addresses.mailboxes[0].display_name
    if len(addresses.mailboxes) != 1:
        return ""
    bare = [text[at.start : at.end] for at in addresses.bare_names]
    comments = [text[at.start : at.end] for at in addresses.comments]
    return next(iter([*filter(_LIKE_A_NAME.search, bare), *comments]), "")


def _before_bracket(text: str) -> str:
    """Return what stands before the first angle bracket outside of quotes and comments; all if there is none."""
    position = 0
    try:
        for token in each_token(text):
            if token.text == "<":
                return text[: token.start]
            position = token.end
    except TokenError:
        return text[:position] + text[position:].partition("<")[0]
    return text


def _as_written(text: str) -> str:
    """Return a phrase without the comments around it, or else the first comment; nothing for other text."""
    try:
        tokens = read_tokens(text)
    except TokenError:
        return ""
    words = [token for token in tokens if is_word(token)]
    comments = [token.text for token in tokens if token.kind == "comment"]
    if len(words) + len(comments) < len(tokens):
        return ""
    return text[words[0].start : words[-1].end] if words else next(iter(comments), "")


def _quoted(text: str) -> str:
    """Return what the text says as a quoted string, nothing if it says nothing; a quote without its pair is dropped."""
    content = _SPACE.sub(" ", CONTROL.sub(" ", text)).strip(_SEPARATORS)
    if content.count('"') == 1:
        content = content.replace('"', "").strip(_SEPARATORS)
    return '"' + re.sub(r'(["\\])', r"\\\1", content) + '"' if content else ""
