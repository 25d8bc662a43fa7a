"""Address lists of header fields, read strictly (RFC 5322, 3.4 and 4.4; RFC 6532; RFC 6854).

An address from here goes into MAIL FROM and RCPT TO as it is: no control character, line end or angle bracket can
stand in one. Every failure is an `AddressError`.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import idna

from imapproxy.message.tokens import ATEXT, Token, TokenError, is_word, read_tokens

# RFC 5321, 4.5.3.1.1 and 4.5.3.1.2, in octets.
MAX_LOCAL_PART = 64
MAX_DOMAIN = 255


class AddressError(ValueError):
    """Text that is no address, or no list of addresses."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address as SMTP takes it: the local part quoted where it needs it, the domain in A-labels."""

    local: str
    domain: str

    @property
    def smtp(self) -> str:
        """The address for MAIL FROM and RCPT TO; its local part may need SMTPUTF8."""
        return f"{self.local}@{self.domain}"

    @property
    def printable(self) -> str:
        r"""The address for answers and logs: US-ASCII, other characters as ``\x{E9}`` (RFC 6533, 3)."""
        return "".join(char if char.isascii() else f"\\x{{{ord(char):02X}}}" for char in self.smtp)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server with SMTPUTF8 can take it (RFC 6531)."""
        return not self.local.isascii()

    @property
    def key(self) -> str:
        """What two spellings of one address have in common; "ß" and "ss" stay two."""
        return self.smtp.lower()


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address of a header field, its display name as written."""

    address: Address
    display_name: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a field's text, and what it says."""

    start: int
    end: int
    meaning: str


@dataclass(frozen=True, slots=True)
class AddressList:
    """What an address field holds: mailboxes in order, and where its words for people and its domains stand."""

    mailboxes: tuple[Mailbox, ...]
    phrases: tuple[Stretch, ...]  # display names, of groups too; meaning: without quotes
    domains: tuple[Stretch, ...]  # meaning: in A-labels
    bare_names: tuple[Stretch, ...]  # local parts alone; meaning: without quotes
    comments: tuple[Stretch, ...]  # outside of phrases and domains; meaning: without parentheses


# Domain          = sub-domain *("." sub-domain)               ; RFC 5321, 4.1.2
# sub-domain      = Let-dig [Ldh-str]                           ; "_" is seen in the wild
_SUB_DOMAIN = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_DOMAIN = re.compile(rf"{_SUB_DOMAIN}(?:\.{_SUB_DOMAIN})*")
# address-literal = "[" ( IPv4-address-literal / IPv6-address-literal / General-address-literal ) "]"
_ADDRESS_LITERAL = re.compile(r"\[[A-Za-z0-9.:-]+\]")
# dot-atom-text   = 1*atext *("." 1*atext)
_DOT_ATOM = re.compile(rf"{ATEXT}+(?:\.{ATEXT}+)*")


def address_of(local: str, domain: str) -> Address:
    """Return the address of a local part (in plain text, not quoted) at a domain (A-labels or U-labels)."""
    return Address(_local_part(local), _domain(domain))


def parse_address(text: str, default_domain: str | None = None) -> Address:
    """Return the one address that the text is; a bare name is at the default domain, or an error."""
    mailboxes = parse_address_list(text, default_domain).mailboxes
    if len(mailboxes) != 1:
        raise AddressError("not one address")
    return mailboxes[0].address


def parse_address_list(text: str, default_domain: str | None = None) -> AddressList:
    """Return what an address field's text holds; a bare name (`mooch`) is at the default domain, or an error."""
    try:
        tokens = read_tokens(text)
    except TokenError as error:
        raise AddressError(str(error)) from None
    return _Parser(text, tokens, default_domain).address_list()


def _local_part(text: str) -> str:
    if not text.isprintable() or "<" in text or ">" in text:
        raise AddressError("character that no local part may hold")
    local = text if _DOT_ATOM.fullmatch(text) else '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'
    if not 0 < len(local.encode()) <= MAX_LOCAL_PART:
        raise AddressError("local part too long")
    return local


def _domain(text: str) -> str:
    if len(text) > MAX_DOMAIN:
        raise AddressError("domain too long")
    domain = text if text.isascii() else _a_labels(text)
    if len(domain) > MAX_DOMAIN or not (_DOMAIN.fullmatch(domain) or _ADDRESS_LITERAL.fullmatch(domain)):
        raise AddressError("not a domain")
    return domain


def _a_labels(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError:
        raise AddressError("not a domain") from None


class _Parser:
    """One pass over the tokens, never back: what a run of words is, the token after it decides."""

    def __init__(self, text: str, tokens: Sequence[Token], default_domain: str | None) -> None:
        self._text = text
        self._tokens = [token for token in tokens if token.kind != "comment"]
        self._comments = [token for token in tokens if token.kind == "comment"]
        self._position = 0
        self._default_domain = default_domain
        self._mailboxes: list[Mailbox] = []
        self._phrases: list[Stretch] = []
        self._domains: list[Stretch] = []
        self._bare_names: list[Stretch] = []

    def address_list(self) -> AddressList:
        """Read address-list = (address *("," address)) / obs-addr-list."""
        in_group = False
        while self._position < len(self._tokens):
            if self._take(","):
                continue
            if in_group and self._take(";"):
                in_group = False
                self._expect_separator("")
                continue
            words = self._words()
            if words and not in_group and self._take(":"):
                self._phrases.append(self._phrase(words))
                in_group = True
                continue
            self._mailbox(words)
            self._expect_separator(";" if in_group else "")
        if in_group:
            raise AddressError("group left open")
        return AddressList(
            tuple(self._mailboxes),
            tuple(self._phrases),
            tuple(self._domains),
            tuple(self._bare_names),
            tuple(self._outer_comments()),
        )

    def _outer_comments(self) -> Iterator[Stretch]:
        taken = sorted((*self._phrases, *self._domains), key=_start)
        for token in self._comments:
            before = bisect_right(taken, token.start, key=_start)
            if not before or taken[before - 1].end <= token.start:
                yield Stretch(token.start, token.end, token.content)

    def _mailbox(self, words: tuple[Token, ...]) -> None:
        """Read mailbox = name-addr / addr-spec."""
        if not self._take("<"):
            self._mailboxes.append(Mailbox(self._addr_spec(words), ""))
            return
        self._route()
        address = self._addr_spec(self._words())
        if not self._take(">"):
            raise AddressError("angle bracket left open")
        if words:
            self._phrases.append(self._phrase(words))
        display_name = self._text[words[0].start : words[-1].end] if words else ""
        self._mailboxes.append(Mailbox(address, display_name))

    def _route(self) -> None:
        """Read obs-route = *(CFWS / ",") "@" domain *("," [CFWS] ["@" domain]) ":"."""
        if self._peek() not in {"@", ","}:
            return
        while not self._take(":"):
            if not self._take(","):
                self._expect("@")
                self._domain()

    def _addr_spec(self, words: tuple[Token, ...]) -> Address:
        """Read addr-spec = local-part "@" domain; or a bare local part."""
        local = _dotted(words)
        if self._take("@"):
            return address_of(local, self._domain())
        if self._default_domain is None:
            raise AddressError("address without a domain")
        self._bare_names.append(Stretch(words[0].start, words[-1].end, local))
        return address_of(local, self._default_domain)

    def _domain(self) -> str:
        """Read domain = dot-atom / domain-literal / obs-domain."""
        if self._peek() == "[":
            self._position += 1
            return re.sub(r"[ \t]", "", self._tokens[self._position - 1].text)
        words = self._words()
        if any(word.kind == "quoted" for word in words):
            raise AddressError("quoted domain")
        domain = _domain(_dotted(words))
        self._domains.append(Stretch(words[0].start, words[-1].end, domain))
        return domain

    def _phrase(self, words: tuple[Token, ...]) -> Stretch:
        meaning = "".join(
            self._text[previous.end : word.start] + word.content for previous, word in pairwise((words[0], *words))
        )
        return Stretch(words[0].start, words[-1].end, meaning)

    def _words(self) -> tuple[Token, ...]:
        """Read obs-phrase = word *(word / "." / CFWS)."""
        start = self._position
        while self._position < len(self._tokens) and is_word(self._tokens[self._position]):
            self._position += 1
        return tuple(self._tokens[start : self._position])

    def _peek(self) -> str:
        """Return the next token's first character, or nothing."""
        return self._tokens[self._position].text[0] if self._position < len(self._tokens) else ""

    def _take(self, special: str) -> bool:
        taken = self._peek() == special
        self._position += taken
        return taken

    def _expect(self, special: str) -> None:
        if not self._take(special):
            raise AddressError(f"no {special} where one must be")

    def _expect_separator(self, also: str) -> None:
        if self._peek() not in {"", ",", also}:
            raise AddressError("no comma where one must be")


def _start(stretch: Stretch) -> int:
    return stretch.start


def _dotted(words: tuple[Token, ...]) -> str:
    """Return what the words say; obs-local-part = word *("." word), and obs-domain likewise."""
    if len(words) % 2 == 0 or any((word.text == ".") != bool(index % 2) for index, word in enumerate(words)):
        raise AddressError("not an address")
    return "".join(word.content for word in words)
