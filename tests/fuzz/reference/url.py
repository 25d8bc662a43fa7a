"""An IMAP URL of a message or part, taken apart from left to right with string methods (RFC 5092, 11; RFC 3986, 3.2).

None where the text is none, or one that a submission may not refer to.
"""

import ipaddress
import string
from dataclasses import dataclass

_UNRESERVED = string.ascii_letters + string.digits + "-._~"
_ACHAR = _UNRESERVED + "!$'()*+,&="
_BCHAR = _ACHAR + ":@/"
_HOST = string.ascii_letters + string.digits + "._-"


@dataclass(frozen=True, slots=True)
class Url:
    """What a URL says."""

    mailbox: str
    uid: int
    uidvalidity: int | None
    section: str
    host: str | None
    port: int | None
    user: str | None


class _NoUrl(Exception):
    pass


def read_url(text: str) -> Url | None:
    """Return what the text names, white space in it dropped."""
    url = "".join(char for char in text if char not in " \t\r\n")
    try:
        return _read(url)
    except _NoUrl:
        return None


def _read(url: str) -> Url:
    _need(len(url) <= 4096)
    host, port, user = None, None, None
    path = url
    if url[:7].lower() == "imap://":
        server, slash, path = url[7:].partition("/")
        path = slash + path
        host, port, user = _server(server)
    else:
        _need(not url.startswith("//"))
    _need(path.startswith("/") and ";" in path)
    mailbox, _, parameters = path[1:].partition(";")
    words = (";" + parameters).split("/;")
    uidvalidity = None
    if words[0][:13].upper() == ";UIDVALIDITY=":
        uidvalidity = _number(words[0][13:])
    else:
        _need(mailbox.endswith("/"))
        mailbox = mailbox[:-1]
        words = ["", words[0][1:], *words[1:]]
    _need(len(words) in {2, 3} and words[1][:4].upper() == "UID=")
    section = ""
    if len(words) == 3:
        _need(words[2][:8].upper() == "SECTION=")
        section = _section(_decoded(words[2][8:], _BCHAR))
    name = _decoded(mailbox, _BCHAR)
    _need(all(_is_text(char) for char in name))
    return Url(name, _number(words[1][4:]), uidvalidity, section, host, port, user)


def _server(server: str) -> tuple[str, int | None, str | None]:
    before, at, host = server.rpartition("@")
    user = None
    if at:
        user = _user(before)
    if host.startswith("["):
        address, bracket, after = host[1:].partition("]")
        _need(bool(bracket) and after[:1] in {"", ":"})
        try:
            name = str(ipaddress.IPv6Address(address))
        except ValueError:
            raise _NoUrl from None
        _need("%" not in address)
        port_text = after[1:]
    else:
        name, _, port_text = host.partition(":")
        _need(0 < len(name) <= 255 and all(char in _HOST for char in name))
        name = name.lower()
    _need(len(port_text) <= 5 and all(char in string.digits for char in port_text))
    port = int(port_text) if port_text else None
    _need(port is None or 1 <= port <= 65535)
    return name, port, user


def _user(text: str) -> str | None:
    name, semicolon, mechanism = text.partition(";")
    if semicolon:
        _need(mechanism[:5].upper() == "AUTH=")
        _decoded(mechanism[5:], _ACHAR, check_text=False)
    if semicolon and not name:
        return None
    user = _decoded(name, _ACHAR)
    _need(all(_is_text(char) for char in user))
    return user


def _decoded(text: str, allowed: str, check_text: bool = True) -> str:
    octets, position = bytearray(), 0
    while position < len(text):
        if text[position] == "%":
            digits = text[position + 1 : position + 3]
            _need(len(digits) == 2 and all(digit in string.hexdigits for digit in digits))
            octets.append(int(digits, 16))
            position += 3
        else:
            _need(text[position] in allowed)
            octets.append(ord(text[position]))
            position += 1
    _need(bool(octets))
    try:
        return octets.decode("utf-8" if check_text else "latin-1")
    except UnicodeDecodeError:
        raise _NoUrl from None


def _is_text(char: str) -> bool:
    return not (char < " " or "\x7f" <= char <= "\x9f" or char in "\u2028\u2029")


def _section(text: str) -> str:
    numbers = text.split(".")
    _need(len(numbers) <= 32)
    for number in numbers:
        _number(number)
    return text


def _number(text: str) -> int:
    _need(0 < len(text) <= 10 and all(char in string.digits for char in text) and text[0] != "0")
    _need(int(text) < 2**32)
    return int(text)


def _need(holds: bool) -> None:
    if not holds:
        raise _NoUrl
