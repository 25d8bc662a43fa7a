"""IMAP URLs that name one message or one part of it (RFC 5092), as a draft refers to what lies on the server.

Text comes from a draft's MIME parameter and is hostile; every failure is a `UrlError`. Whatever an `ImapUrl` holds,
it holds no control character, a section is part numbers, and all of it is bounded: nothing in a URL can add to the
IMAP command that is built from it. Whether host and user are the right ones, someone else decides.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address
from urllib.parse import quote, unquote_to_bytes

# A mailbox name of 300 characters fits even where each is four octets, percent-encoded.
MAX_URL = 4096
# nz-number: an unsigned 32-bit integer (RFC 9051, 9)
MAX_NUMBER = 2**32 - 1
# As deep as parts are read in a draft (`mime.MAX_DEPTH`).
MAX_SECTION_DEPTH = 32
MAX_PORT = 65535


class UrlError(ValueError):
    """Text that names no message here, and why: one printable phrase in US-ASCII, without commas."""


@dataclass(frozen=True, slots=True)
class ImapUrl:
    """The URL of a message or part; `str` gives its canonical form, whose `parse_imap_url` is equal to it."""

    mailbox: str  # in Unicode, "&" standing for itself (RFC 5092, 8)
    uid: int
    uidvalidity: int | None = None
    section: str = ""  # part numbers as in "1.2"; "" is the whole message
    host: str | None = None  # in lower case, IPv6 compressed and without brackets; None: relative to the server
    port: int | None = None
    user: str | None = None

    def __post_init__(self) -> None:
        _check_text(self.mailbox, "mailbox name")
        _check_number(self.uid, "UID")
        if self.uidvalidity is not None:
            _check_number(self.uidvalidity, "UIDVALIDITY")
        if self.section:
            _check_section(self.section)
        _check_server(self)
        if len(str(self)) > MAX_URL:
            raise UrlError(f"longer than {MAX_URL} characters")

    def __str__(self) -> str:
        uidvalidity = "" if self.uidvalidity is None else f";UIDVALIDITY={self.uidvalidity}"
        section = f"/;SECTION={self.section}" if self.section else ""
        return f"{_written_server(self)}/{_written_mailbox(self.mailbox)}{uidvalidity}/;UID={self.uid}{section}"


# "Strings are not case sensitive" (RFC 5092, 11): those of US-ASCII; a long s is no "s".
_FLAGS = re.IGNORECASE | re.ASCII

# RFC 2017, 3.1: "any linear whitespace [is] removed and the remaining material is the URL string".
_WHITE_SPACE = re.compile(r"[ \t\r\n]+")
# scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )           (RFC 3986, 3.1)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*+:", _FLAGS)
_IMAP_LIKE = re.compile(r"imap[a-z0-9+.-]*+:|/", _FLAGS)

# unreserved   = ALPHA / DIGIT / "-" / "." / "_" / "~"          (RFC 3986, 2.3)
# sub-delims-sh = "!" / "$" / "'" / "(" / ")" / "*" / "+" / ","
# uchar        = unreserved / sub-delims-sh / pct-encoded
# achar        = uchar / "&" / "="
_ACHAR_DELIMS = "!$'()*+,&="
_ACHAR = rf"(?:[a-z0-9._~{_ACHAR_DELIMS}-]|%[0-9a-f]{{2}})"
# bchar        = achar / ":" / "@" / "/"
_BCHAR_DELIMS = _ACHAR_DELIMS + ":@/"
_BCHAR = rf"(?:[a-z0-9._~{_BCHAR_DELIMS}-]|%[0-9a-f]{{2}})"

# imapurl        = "imap://" iserver ["/" [icommand]]
# iabsolute-path = "/" [icommand]                               ; icommand MUST NOT start with "/"
# icommand       = imessagelist / imessagepart [iurlauth]
# imessagepart   = imailbox-ref iuid [isection] [ipartial]
# imailbox-ref   = enc-mailbox [uidvalidity] ; enc-mailbox = 1*bchar
# uidvalidity    = ";UIDVALIDITY=" nz-number
# iuid           = "/;UID=" nz-number
# isection       = "/;SECTION=" enc-section  ; enc-section = 1*bchar
_MESSAGE_PART = re.compile(
    rf"(?:imap://(?P<server>[^/]*))?/(?P<mailbox>{_BCHAR}+)(?:;UIDVALIDITY=(?P<uidvalidity>[^/;]*))?"
    rf"/;UID=(?P<uid>[^/;]*)(?:/;SECTION=(?P<section>{_BCHAR}+))?",
    _FLAGS,
)
# Why text is none of those, or one that cannot be included: the first that is found in it. A ";" in a name is "%3B",
# so that a parameter is where it seems to be.
_REFUSED = [
    (re.compile(pattern, _FLAGS), reason)
    for pattern, reason in (
        (r"\A(?!imap[a-z0-9+.-]*:|/)", "neither imap:// nor / at the beginning"),
        (r"\A(?!imap:|/)", "no scheme but imap is supported"),
        (r"\Aimap:(?!//)", "no // after imap:"),
        (r"\A//", "no imap: before //"),
        (r"#", "a fragment is not supported"),
        (r"\?", "a search is not supported"),
        (r"[^!-~]|[\"<>\\^`{|}]", "character that must be percent-encoded"),
        (r"\A(?:imap://[^/]*)?/[^\[\]]*[\[\]]", "character that must be percent-encoded"),
        (r"%(?![0-9a-f]{2})", "bad percent-encoding"),
        # ipartial = "/;PARTIAL=" partial-range ; iurlauth = [";EXPIRE=" date-time] ";URLAUTH=" access iua-verifier
        (r";PARTIAL=", "PARTIAL is not supported"),
        (r";(?:EXPIRE|URLAUTH)=", "URLAUTH is not supported"),
        (r"\A(?:imap://[^/]*)?/(?:;|/;UID=)", "no mailbox name"),
        (r"\A(?!.*/;UID=)", "no /;UID= in it"),
    )
]

# iserver        = [iuserinfo "@"] host [ ":" port ]
# iuserinfo      = enc-user [iauth] / [enc-user] iauth ; enc-user = 1*achar
# iauth          = ";AUTH=" ( "*" / enc-auth-type ) ; enc-auth-type = 1*achar
# host           = IP-literal / IPv4address / reg-name ; port = *DIGIT      (RFC 3986, 3.2)
_SERVER = re.compile(
    rf"(?:(?!@)(?P<user>{_ACHAR}+)?(?:;AUTH={_ACHAR}+)?@)?"
    r"(?:(?P<name>[^\[\]:@]+)|\[(?P<address>[^\[\]]*:[^\[\]]*)\])(?::(?P<port>[0-9]{0,5}))?",
    _FLAGS,
)
# Of reg-name, what a name in the DNS holds (A-labels, RFC 5890); IP-literal = "[" ( IPv6address / IPvFuture ) "]"
_HOST = re.compile(r"[a-z0-9._-]{1,255}|(?P<address>[0-9a-f]*:[0-9a-f:.]*)", _FLAGS)

# nz-number      = digit-nz *DIGIT
_NZ_NUMBER = re.compile(r"[1-9][0-9]{0,9}")
# section-part   = nz-number *("." nz-number)                   (RFC 9051, 9)
_SECTION_PART = re.compile(rf"{_NZ_NUMBER.pattern}(?:\.{_NZ_NUMBER.pattern}){{0,{MAX_SECTION_DEPTH - 1}}}")
# section-spec   = section-msgtext / (section-part ["." section-text])
# section-text   = section-msgtext / "MIME"
# section-msgtext = "HEADER" / "HEADER.FIELDS" [".NOT"] SP header-list / "TEXT"
_SECTION_TEXT = re.compile(r"(?:[0-9.]+\.)?(HEADER|TEXT|MIME)(?![A-Z0-9])", _FLAGS)
# What no mailbox name may hold (RFC 6855, 3), nor a user name here; and surrogates, which are no characters.
_NO_TEXT = re.compile(r"[\0-\x1F\x7F-\x9F\u2028\u2029\uD800-\uDFFF]")
# A name of these would be read as a network path, or as a dot-segment (RFC 5092, 7; RFC 3986, 5.2.4).
_MISREAD = re.compile(r"\A/|(?<![^/])\.\.?(?![^/])")


def is_imap_url(text: str) -> bool:
    """Whether the text has a scheme of IMAP's, one that is refused too, or is relative to the server."""
    return _IMAP_LIKE.match(_WHITE_SPACE.sub("", text)) is not None


def has_scheme(text: str) -> bool:
    """Whether the text begins with a scheme, IMAP's or another; without one it means nothing outside this server."""
    return _SCHEME.match(_WHITE_SPACE.sub("", text)) is not None


def parse_imap_url(text: str) -> ImapUrl:
    """Return what the text names, its white space dropped: a message or part, absolute or relative to the server."""
    url = _WHITE_SPACE.sub("", text)
    if len(url) > MAX_URL:
        raise UrlError(f"longer than {MAX_URL} characters")
    for pattern, reason in _REFUSED:
        if pattern.search(url):
            raise UrlError(reason)
    found = _MESSAGE_PART.fullmatch(url)
    if found is None:
        raise UrlError("not the URL of a message or part")
    host, port, user = (None, None, None) if found["server"] is None else _read_server(found["server"])
    return ImapUrl(
        mailbox=_decoded(found["mailbox"]),
        uid=_read_number(found["uid"], "UID"),
        uidvalidity=None if found["uidvalidity"] is None else _read_number(found["uidvalidity"], "UIDVALIDITY"),
        section=_decoded(found["section"] or ""),
        host=host,
        port=port,
        user=user,
    )


def _read_server(text: str) -> tuple[str, int | None, str | None]:
    """Return host, port and user; a mechanism (";AUTH=") is read and dropped, as it has done its work at login."""
    found = _SERVER.fullmatch(text)
    if found is None:
        raise UrlError("no server of the form user@host:port")
    user = None if found["user"] is None else _decoded(found["user"])
    return _host(found["name"] or found["address"]), int(found["port"]) if found["port"] else None, user


def _host(text: str) -> str:
    """Return a host's name or IPv6 address in the one form that is compared."""
    found = _HOST.fullmatch(text)
    if found is None:
        raise UrlError("not a host name")
    if found["address"] is None:
        return text.lower()
    try:
        return IPv6Address(text).compressed
    except ValueError:
        raise UrlError("not an IPv6 address") from None


def _read_number(text: str, name: str) -> int:
    return _check_number(int(text) if _NZ_NUMBER.fullmatch(text) else 0, name)


def _decoded(text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise UrlError("not UTF-8") from None


def _check_text(text: str, name: str) -> None:
    if not text:
        raise UrlError(f"no {name}")
    if _NO_TEXT.search(text):
        raise UrlError(f"character that no {name} may hold")


def _check_number(number: int, name: str) -> int:
    if not 1 <= number <= MAX_NUMBER:
        raise UrlError(f"{name} is not a number from 1 to {MAX_NUMBER}")
    return number


def _check_section(section: str) -> None:
    text = _SECTION_TEXT.match(section)
    if text is not None:
        raise UrlError(f"section {text[1].upper()} is not supported")
    if not _SECTION_PART.fullmatch(section) or any(int(number) > MAX_NUMBER for number in section.split(".")):
        raise UrlError("SECTION is not part numbers")


def _check_server(url: ImapUrl) -> None:
    if url.host is None:
        if url.port is not None or url.user is not None:
            raise UrlError("no host name")
        return
    if _host(url.host) != url.host:
        raise UrlError("not a host name as it is compared")
    if url.port is not None and not 1 <= url.port <= MAX_PORT:
        raise UrlError(f"port is not a number from 1 to {MAX_PORT}")
    if url.user is not None:
        _check_text(url.user, "user name")


def _written_server(url: ImapUrl) -> str:
    if url.host is None:
        return ""
    user = "" if url.user is None else quote(url.user, safe=_ACHAR_DELIMS) + "@"
    host = f"[{url.host}]" if ":" in url.host else url.host
    port = "" if url.port is None else f":{url.port}"
    return f"imap://{user}{host}{port}"


def _written_mailbox(mailbox: str) -> str:
    return _MISREAD.sub(_percent_encoded, quote(mailbox, safe=_BCHAR_DELIMS))


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join(f"%{ord(char):02X}" for char in match[0])
