"""References into the submitter's mailbox: parts of type `message/external-body` with an IMAP URL (RFC 2017, RFC 5092).

Only the submitter's own mail, on the one IMAP server there is: a URL that says otherwise is refused, never followed. An
IMAP reference does not leave the site either way: no recipient could follow it. The same holds for a URL without a
scheme. References by other schemes are the recipients' to follow, and stay as they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import Octets, contains
from imapproxy.message.envelope import User
from imapproxy.message.fields import Header
from imapproxy.message.host import bare_address
from imapproxy.message.imap_url import MAX_URL, ImapUrl, UrlError, has_scheme, is_imap_url, parse_imap_url
from imapproxy.message.mime import Part, read_parts
from imapproxy.message.site import Site, Submitter

# Each costs the IMAP server some commands; a digest of a week has fewer.
MAX_REFERENCES = 100

# RFC 1847: what a multipart of these types holds is signed, or a cipher's.
_SEALED = frozenset({"multipart/signed", "multipart/encrypted"})

# Of a URL, in an answer.
_MAX_TEXT = 200


@dataclass(frozen=True, slots=True)
class Reference:
    """What is asked of the IMAP server: sections of the message that the URL names (RFC 9051, 6.4.5).

    `text` is the URL as the client wrote it, fit for an answer. `header_section` is the section whose Content- fields
    describe what `content_section` holds; None where nothing needs to describe it.
    """

    url: ImapUrl
    text: str
    header_section: str | None
    content_section: str


@dataclass(frozen=True, slots=True)
class Referring:
    """A part of a draft that stands for what its reference names."""

    part: Part
    reference: Reference


@dataclass(frozen=True, slots=True)
class Outline:
    """A draft's own parts, and those among them that refer to something."""

    tree: Part
    referring: tuple[Referring, ...]


def outline_of(header: Header, draft: Octets, user: User, site: Site, submitter: Submitter) -> Outline | None:
    """Return the outline of a draft that has references; None for all others, whose bodies need no reading.

    SubmissionRefused where a reference may not be followed.
    """
    if not contains(draft, b"external-body"):
        return None
    tree = read_parts(header, draft)
    parts = list(_referring_parts(tree))
    if not parts:
        return None
    if not site.references:
        raise SubmissionRefused("5.6.6 references are switched off on this server")
    if len(parts) > MAX_REFERENCES:
        raise SubmissionRefused("5.6.6 too many references in the message")
    reader = _Reader(_names_of(site, submitter), _users_of(user, submitter))
    return Outline(tree, tuple(Referring(part, reader.reference(part)) for part in parts))


def _referring_parts(part: Part) -> Iterator[Part]:
    """Yield the references among a message's own parts; an attached message is not looked into."""
    if _url_of(part) is not None:
        yield part
    for inner in part.parts if part.is_multipart else ():
        for found in _referring_parts(inner):
            if part.content_type.kind in _SEALED:
                raise SubmissionRefused("5.6.6 nothing can be included in a signed or encrypted part")
            yield found


def _url_of(part: Part) -> str | None:
    """Return the URL of a part that is a reference, unless it has another scheme than IMAP's."""
    parameters = part.content_type.parameters
    if part.content_type.kind != "message/external-body" or parameters.get("access-type", "").lower() != "url":
        return None
    url = parameters.get("url")
    return url if url is not None and (is_imap_url(url) or not has_scheme(url)) else None


def _names_of(site: Site, submitter: Submitter) -> frozenset[str]:
    """Return what this server is called, the address among it that the client connected to."""
    local = {submitter.local_address} if submitter.local_address else set()
    return frozenset(map(_comparable, site.server_names | local))


def _comparable(host: str) -> str:
    """Return a host as hosts are compared: addresses in one spelling each."""
    try:
        return str(bare_address(host))
    except ValueError:
        return host.lower().removesuffix(".")


def _users_of(user: User, submitter: Submitter) -> frozenset[str]:
    return frozenset({submitter.user.casefold(), user.address.smtp.casefold()})


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the URLs of one submission."""

    server_names: frozenset[str]
    user_names: frozenset[str]

    def reference(self, part: Part) -> Reference:
        written = _url_of(part) or ""
        text = _shown(written)
        try:
            url = parse_imap_url(written)
            self._check(url)
        except UrlError as error:
            raise SubmissionRefused(f"5.6.6 cannot read {text}: {error}") from None
        return Reference(url, text, *_sections(url, part))

    def _check(self, url: ImapUrl) -> None:
        """Refuse what is not the submitter's own; the port says nothing, since there is one server behind them all."""
        if url.host is not None and _comparable(url.host) not in self.server_names:
            raise UrlError("it is on another server")
        if url.user is not None and url.user.casefold() not in self.user_names:
            raise UrlError("it is another user's")


def _shown(url: str) -> str:
    """Return a URL as an answer shows it: printable, without white space, bounded; quotes stand for an empty one."""
    letters = "".join(url[:MAX_URL].split())[:_MAX_TEXT]
    return "".join(letter if "!" <= letter <= "~" else "?" for letter in letters) or '""'


def _sections(url: ImapUrl, part: Part) -> tuple[str | None, str]:
    """Return which section describes what is included, and which is: a whole submission gets no header from there."""
    if url.section:
        return f"{url.section}.MIME", url.section
    return ("HEADER", "TEXT") if part.is_whole else (None, "")
