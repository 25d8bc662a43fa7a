"""A list of addresses, character by character and with backtracking, as the grammar is written (RFC 5322, 3.4 and 4.4).

Text is an unfolded value. Where it is no list of addresses, or where one of them cannot be written in an SMTP command,
there is no answer but None.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

# What may be quoted in a word, and stands for itself in no other place.
_SPECIALS = '()<>[]:;@\\,."'
_DOMAIN_CHARACTERS = string.ascii_letters + string.digits + "_-"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Address:
    """An address: what the local part says without quotes, and the domain as it was written, in lower case."""

    local: str
    domain: str


class _NoAddresses(Exception):
    pass


def read_addresses(text: str, default_domain: str | None) -> list[Address] | None:
    """Return the addresses in order, groups opened; a bare name is at the default domain, if there is one."""
    if any((char < " " and char != "\t") or char == "\x7f" for char in text):
        return None
    try:
        return _Reader(text, default_domain).address_list()
    except _NoAddresses:
        return None


class _Reader:
    def __init__(self, text: str, default_domain: str | None) -> None:
        self._text = text
        self._at = 0
        self._default_domain = default_domain

    def address_list(self) -> list[Address]:
        """Read address-list = (address *("," address)) / obs-addr-list: elements may be empty."""
        found: list[Address] = []
        while True:
            self._skip()
            if self._peek() not in {"", ","}:
                found += self._either(self._group, lambda: [self._mailbox()])
            self._skip()
            if not self._peek():
                return found
            self._expect(",")

    def _group(self) -> list[Address]:
        self._phrase()
        self._expect(":")
        found: list[Address] = []
        while True:
            self._skip()
            if self._peek() not in {",", ";"}:
                found.append(self._mailbox())
                self._skip()
            if self._peek() == ";":
                self._at += 1
                self._end_of_address()
                return found
            self._expect(",")

    def _mailbox(self) -> Address:
        return self._either(self._name_addr, self._addr_spec)

    def _name_addr(self) -> Address:
        self._skip()
        if self._peek() != "<":
            self._phrase()
        self._expect("<")
        if self._next() in {"@", ","}:
            self._route()
        address = self._addr_spec()
        self._expect(">")
        return address

    def _route(self) -> None:
        while self._next() != ":":
            if self._peek() == ",":
                self._at += 1
            else:
                self._expect("@")
                self._domain()
        self._at += 1

    def _addr_spec(self) -> Address:
        local = self._dotted(may_be_quoted=True)
        if self._next() != "@":
            _need(self._default_domain is not None)
            return _sendable(local, self._default_domain or "")
        self._at += 1
        return _sendable(local, self._domain())

    def _domain(self) -> str:
        if self._next() != "[":
            domain = self._dotted(may_be_quoted=False)
            _check_domain(domain)
            return domain
        end = self._text.find("]", self._at)
        _need(end > self._at + 1)
        literal = self._text[self._at + 1 : end].replace(" ", "").replace("\t", "")
        self._at = end + 1
        _need(bool(literal) and all(char in string.ascii_letters + string.digits + ".:-" for char in literal))
        return f"[{literal}]"

    def _phrase(self) -> None:
        """Read obs-phrase, which we let begin with a dot, too."""
        _need(self._next() == "." or self._is_word())
        while self._next() == "." or self._is_word():
            if self._peek() == ".":
                self._at += 1
            else:
                self._word()

    def _dotted(self, may_be_quoted: bool) -> str:
        words = ""
        while True:
            self._skip()
            _need(may_be_quoted or self._peek() != '"')
            words += self._word()
            if self._next() != ".":
                return words
            self._at += 1
            words += "."

    def _is_word(self) -> bool:
        return self._peek() == '"' or bool(self._peek() and self._peek() not in _SPECIALS)

    def _word(self) -> str:
        self._skip()
        _need(self._is_word())
        if self._peek() == '"':
            return self._quoted()
        start = self._at
        while self._peek() and self._peek() not in _SPECIALS + " \t":
            self._at += 1
        return self._text[start : self._at]

    def _quoted(self) -> str:
        content = ""
        self._at += 1
        while self._peek() != '"':
            if self._peek() == "\\":
                self._at += 1
            _need(bool(self._peek()))
            content += self._peek()
            self._at += 1
        self._at += 1
        return content

    def _skip(self) -> None:
        """Skip white space and comments."""
        depth = 0
        while (char := self._peek()) and (depth or char in " \t("):
            depth += {"(": 1, ")": -1}.get(char, 0)
            self._at += 2 if char == "\\" else 1
        _need(depth == 0)

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _next(self) -> str:
        self._skip()
        return self._peek()

    def _expect(self, special: str) -> None:
        _need(self._next() == special)
        self._at += 1

    def _end_of_address(self) -> None:
        _need(self._next() in {"", ","})

    def _either(self, first: Callable[[], T], second: Callable[[], T]) -> T:
        start = self._at
        try:
            return first()
        except _NoAddresses:
            self._at = start
            return second()


def _sendable(local: str, domain: str) -> Address:
    _need(local.isprintable() and "<" not in local and ">" not in local)
    return Address(local, domain.lower())


def _check_domain(domain: str) -> None:
    _need(len(domain) <= 255)
    for label in domain.split(".") if domain.isascii() else ():
        _need(0 < len(label) <= 63 and all(char in _DOMAIN_CHARACTERS for char in label))
        _need(not label.startswith("-") and not label.endswith("-"))


def _need(holds: bool) -> None:
    if not holds:
        raise _NoAddresses
