"""What the options' values may be: text to value, and the files that hold values.

The functions that read files (``password_from_file``, ``identities_from_file``, ``mail_domains`` for the machine's mail
name) or look for files and accounts (``readable_file``, ``log_target``, ``state_file``, ``user_name``, ``group_name``)
are the only ones here that are not pure. A ValueError says in a sentence what is wrong with the text; where it stood
(file, section, key) is ``config``'s to add.
"""

import grp
import ipaddress
import os
import platform
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, get_args

import idna

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
U = TypeVar("U")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")

# What the resolver can be asked for: labels of up to 63 octets, 253 in all, a dot behind the last at most (RFC 1035
# 2.3.4); "_" is no host name's (RFC 952), but is met with.
_HOST_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
# A name that ends so is none (RFC 1123 2.1, RFC 3696 2): the resolver takes it for an address, 127.1 for 127.0.0.1.
_NUMBER_AT_END = re.compile(r"(?:.*\.)?(?:[0-9]+|0[Xx][0-9A-Fa-f]*)\.?")


class HostPort(NamedTuple):
    """Where to listen or to connect; an IPv6 address stands without its brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Kind(Generic[T_co]):
    """A kind of values: their name in ``--help``, and how text becomes one (a ValueError says what is wrong).

    ``alone`` is the text that a flag without a value stands for; where there is none, a flag needs its value.
    """

    metavar: str
    convert: Callable[[str], T_co]
    repeatable: bool = False
    alone: str | None = None


def number(low: int, high: int) -> Kind[int]:
    """Whole numbers from ``low`` to ``high``."""

    def convert(text: str) -> int:
        if not re.fullmatch("[0-9]{1,20}", text) or not low <= int(text) <= high:
            raise ValueError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return Kind("N", convert)


def seconds(low: float, high: float) -> Kind[float]:
    """Seconds, fractions allowed, from ``low`` to ``high``."""

    def convert(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"{text!r} is not a number of seconds from {low:g} to {high:g}")
        return float(text)

    return Kind("SECONDS", convert)


def size(low: int, high: int) -> Kind[int]:
    """Octets, with an optional K, M or G (powers of 1024), from ``low`` to ``high``."""

    def convert(text: str) -> int:
        match = re.fullmatch("([0-9]{1,20})([KMG]?)", text.upper())
        octets = int(match[1]) * 1024 ** " KMG".index(match[2] or " ") if match else -1
        if not low <= octets <= high:
            raise ValueError(f"{text!r} is not a number of octets (K, M or G may follow) from {low} to {high}")
        return octets

    return Kind("SIZE", convert)


def choice(literal: object) -> Kind[Any]:
    """One of the words of a ``Literal`` type."""
    words = get_args(literal)

    def convert(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return Kind("|".join(words), convert)


def word_for(meanings: Mapping[str, T], metavar: str) -> Kind[T]:
    """Words, in either case, each with its meaning."""

    def convert(text: str) -> T:
        if text.lower() not in meanings:
            raise ValueError(f"{text!r} is not one of {', '.join(meanings)}")
        return meanings[text.lower()]

    return Kind(metavar, convert)


SWITCH = replace(
    word_for({"on": True, "off": False, "yes": True, "no": False, "true": True, "false": False}, "on|off"), alone="on"
)


def host_port(lowest_port: int) -> Kind[HostPort]:
    """``host:port``: a host name, an IPv4 address, or an IPv6 address in brackets."""

    def convert(text: str) -> HostPort:
        host, _, port = text.rpartition(":")
        if not re.fullmatch("[0-9]{1,5}", port) or not lowest_port <= int(port) <= 65535:
            raise ValueError(f"{text!r} is not host:port with a port from {lowest_port} to 65535")
        return HostPort(_host(host), int(port))

    return Kind("HOST:PORT", convert)


def _host(text: str) -> str:
    """Check a host and take off an IPv6 address's brackets."""
    if not text:
        raise ValueError("the host is missing (every IPv4 address is 0.0.0.0, every IPv6 address is [::])")
    if text.startswith("[") and text.endswith("]"):
        return _ipv6_address(text)
    if ":" in text:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, as in [::1]")
    if not _HOST_NAME.fullmatch(text) or (_NUMBER_AT_END.fullmatch(text) and not _is_ipv4_address(text)):
        raise ValueError(f"{text!r} is neither a host name nor an address")
    return text


def _is_ipv4_address(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _ipv6_address(text: str) -> str:
    """Return the address in brackets as it is commonly written (RFC 5952)."""
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        raise ValueError(f"{text!r} holds no IPv6 address") from None
    # The zone is an interface's name (RFC 4007 11): up to 15 octets in Linux, such as eth0.100.
    if address.scope_id is not None and not (len(address.scope_id) < 16 and _HOST_NAME.fullmatch(address.scope_id)):
        raise ValueError(f"{text!r} names no network interface")
    return str(address)


def each(kind: Kind[T]) -> Kind[tuple[T, ...]]:
    """One or more values of a kind, on lines of their own or with commas between."""

    def convert(text: str) -> tuple[T, ...]:
        words = [word.strip() for word in re.split("[,\n]", text)]
        values = tuple(kind.convert(word) for word in words if word)
        if not values:
            raise ValueError("at least one value is needed")
        if twice := {str(value) for value in values if values.count(value) > 1}:
            raise ValueError(f"{', '.join(sorted(twice))} is given twice")
        return values

    return Kind(kind.metavar, convert, repeatable=True)


def unless_empty(kind: Kind[T], none: U) -> Kind[T | U]:
    """Values of a kind, or no text at all, which means ``none``."""

    def convert(text: str) -> T | U:
        return kind.convert(text) if text else none

    return Kind(kind.metavar, convert, kind.repeatable)


def network(text: str) -> Network:
    """Return a network, ``address/length``, or the network of one address."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"{text!r} is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address") from None
    if "%" in text:
        raise ValueError(f"{text!r}: a network stands without an interface's name")
    if "/" in text and interface.ip != interface.network.network_address:
        raise ValueError(f"{text!r} has bits set behind the network's; is {interface.network} meant?")
    return interface.network


def domain(text: str) -> str:
    """Return a domain name with A-labels in lower case (RFC 5891, after the mapping of UTS 46)."""
    if text.endswith("."):
        raise ValueError(f"{text!r} is not a domain name as in an address; it ends with a dot")
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except UnicodeError as error:
        raise ValueError(f"{text!r} is not a domain name ({error})") from None


def mail_domains(text: str) -> tuple[str, ...]:
    """Domains as ``each`` reads them; without any, the machine's."""
    return each(Kind("DOMAIN", domain)).convert(text) if text else (machine_mail_domain(),)


def server_names(text: str) -> tuple[str, ...]:
    """Hosts as ``each`` reads them, in lower case as they stand in a URL, an IPv6 address without brackets."""
    return each(Kind("HOST", _server_name)).convert(text) if text else ()


def _server_name(text: str) -> str:
    if ":" in text and not text.startswith("["):
        raise ValueError(f"{text!r}: a host stands without its port here, and an IPv6 address in brackets")
    return _host(text).lower().removesuffix(".")


def machine_mail_domain(mailname: Path = Path("/etc/mailname")) -> str:
    """Return the machine's mail name (mailname(5), where Debian keeps it), else its host name."""
    name = _read(mailname).partition("\n")[0].strip() if mailname.exists() else platform.node()
    try:
        return domain(name)
    except ValueError as error:
        raise ValueError(f"this machine has no usable mail name: {error}") from None


def printable(text: str) -> str:
    """Return the text as it is, if it has no control characters."""
    if CONTROL.search(text):
        raise ValueError(f"{text!r} holds control characters")
    return text


def mailbox(text: str) -> str:
    """Return a mailbox's name, which IMAP carries as UTF-8 or as modified UTF-7."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} is not UTF-8 text") from None
    return printable(text)


def log_target(text: str) -> str:
    """Return ``stderr``, ``syslog``, or a file in a directory that is there; a misspelt word has no slash in it."""
    if text in ("stderr", "syslog"):
        return text
    if "/" not in text:
        raise ValueError(f"{text!r} is neither stderr nor syslog, nor a file's path with a / in it")
    if not os.path.isdir(directory := os.path.dirname(path(text))):
        raise ValueError(f"there is no directory {directory} for {text}; make one, which only root can write to")
    return text


def path(text: str) -> str:
    """Return a file's path; it need not exist."""
    if text.endswith("/"):
        raise ValueError(f"{text!r} is a directory's path, not a file's")
    return printable(text)


def state_file(text: str) -> str:
    """Return the path of a file that the program keeps: it need not exist, but its directory must."""
    directory = os.path.dirname(path(text)) or "."
    if not os.path.isdir(directory):
        raise ValueError(f"there is no directory {directory} for {text}; make one, which 'user' can write to")
    if os.path.exists(text) and not os.path.isfile(text):
        raise ValueError(f"{text} is not a file")
    return text


# Of unix(7): sun_path has 108 octets, the last of them NUL.
LONGEST_SOCKET_PATH = 107


def socket_path(text: str) -> str:
    """Return the path of a unix socket."""
    if len(os.fsencode(path(text))) > LONGEST_SOCKET_PATH:
        raise ValueError(
            f"{text!r} is longer than a unix socket's path may be ({LONGEST_SOCKET_PATH} octets); choose a shorter one"
        )
    return text


def user_name(text: str) -> str:
    """Return the name of a user of this machine."""
    try:
        return pwd.getpwnam(text).pw_name
    except (KeyError, ValueError):
        raise ValueError(
            f"this machine has no user {text!r}; create it (adduser --system --group NAME) or name another"
        ) from None


def group_name(text: str) -> str:
    """Return the name of a group of this machine."""
    try:
        return grp.getgrnam(text).gr_name
    except (KeyError, ValueError):
        raise ValueError(
            f"this machine has no group {text!r}; create it (addgroup --system NAME) or name another"
        ) from None


# --- files that options name -------------------------------------------------------------------------------------


def _read(file: str | Path) -> str:
    """Return a file's text; the ValueError of one that cannot be read names it."""
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {file}: it is not UTF-8 text") from None


def readable_file(content: str) -> Kind[str]:
    """Paths of files that can be read, and are to hold ``content``; whether they do is for others to say."""

    def convert(text: str) -> str:
        try:
            # Not blocking: nobody may be writing to what turns out to be a pipe.
            os.close(os.open(printable(text), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as error:
            reason = error.strerror
        else:
            if Path(text).is_file():
                return text
            reason = "it is not a file"
        raise ValueError(f"cannot read {text}: {reason}; name a file that holds {content}, and that you can read")

    return Kind("FILE", convert)


def password_from_file(file: str) -> str:
    """Return the one line of a password file, without its line end; no file, no password."""
    if not file:
        return ""
    password = _read(file).removesuffix("\n")
    if not password or CONTROL.search(password):
        raise ValueError(f"{file} must hold one line, the password, without control characters")
    return password


def identities_from_file(file: str) -> Mapping[str, tuple[str, ...]]:
    """Return the identities that a file holds; no file, no identities."""
    if not file:
        return {}
    lines = _read(file).split("\n")
    try:
        return parse_identities(lines)
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def parse_identities(lines: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the further addresses of each user (name casefolded).

    A line is ``user address address …``, words apart by white space. ``#``, at a line's begin or after white space,
    begins a comment (elsewhere it may be part of an address: RFC 5322 atext). A user has one line.
    """
    identities: dict[str, tuple[str, ...]] = {}
    for at, line in enumerate(lines, 1):
        user, *addresses = re.sub(r"(^|\s)#.*", "", line).split() or [""]
        if not user:
            continue
        if not addresses:
            raise ValueError(f"line {at}: no address follows the user {user!r}")
        if user.casefold() in identities:
            raise ValueError(f"line {at}: the user {user!r} has a line already")
        try:
            identities[user.casefold()] = tuple(_address(address) for address in addresses)
        except ValueError as error:
            raise ValueError(f"line {at}: {error}") from None
    return identities


def _address(text: str) -> str:
    local, _, host = text.rpartition("@")
    if not local or CONTROL.search(local):
        raise ValueError(f"{text!r} is not an address")
    return f"{local}@{domain(host)}"
