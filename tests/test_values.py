"""Text to value: each kind of values, and the files that hold them."""

import os
import platform
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.values import (
    HostPort,
    Kind,
    choice,
    domain,
    each,
    group_name,
    host_port,
    identities_from_file,
    log_target,
    machine_mail_domain,
    mail_domains,
    mailbox,
    network,
    number,
    parse_identities,
    password_from_file,
    path,
    printable,
    readable_file,
    seconds,
    server_names,
    size,
    socket_path,
    state_file,
    unless_empty,
    user_name,
    word_for,
)

NUMBER = number(1, 1000)
SECONDS = seconds(0.1, 86400)
SIZE = size(1, 2**32 - 1)
COLOUR = choice(Literal["red", "green"])
SWITCH = word_for({"on": True, "off": False}, "on|off")
ADDRESS = host_port(lowest_port=1)
ADDRESSES = each(ADDRESS)
SERVER_NAMES = Kind("", server_names)
MAILBOX = Kind("", mailbox)
NETWORKS = unless_empty(each(Kind("NETWORK", network)), ())
PATH = Kind("", path)
SOCKET_PATH = Kind("", socket_path)
USER = Kind("", user_name)
GROUP = Kind("", group_name)
CERTIFICATE = readable_file("the certificate, in PEM")
LABEL = "x" * 63
LONGEST_NAME = f"{LABEL}.{LABEL}.{LABEL}.{'x' * 61}"

GOOD: list[tuple[Kind[Any], str, Any]] = [
    (NUMBER, "1", 1),
    (NUMBER, "1000", 1000),
    (NUMBER, "007", 7),
    (SECONDS, "60", 60.0),
    (SECONDS, "0.25", 0.25),
    (SIZE, "1", 1),
    (SIZE, "10K", 10_240),
    (SIZE, "50M", 52_428_800),
    (SIZE, "3g", 3_221_225_472),
    (SIZE, "4294967295", 4_294_967_295),
    (COLOUR, "green", "green"),
    (SWITCH, "on", True),
    (SWITCH, "OFF", False),
    (ADDRESS, "127.0.0.1:143", HostPort("127.0.0.1", 143)),
    (ADDRESS, "mail.example.org:65535", HostPort("mail.example.org", 65535)),
    (ADDRESS, "[::1]:143", HostPort("::1", 143)),
    (ADDRESS, "[2001:DB8:0::1]:143", HostPort("2001:db8::1", 143)),
    (ADDRESS, "[fe80::1%eth0]:143", HostPort("fe80::1%eth0", 143)),
    (ADDRESS, "[fe80::1%eth0.100]:143", HostPort("fe80::1%eth0.100", 143)),
    (ADDRESS, "my_host-1.example.:143", HostPort("my_host-1.example.", 143)),
    (ADDRESS, f"{LONGEST_NAME}:143", HostPort(LONGEST_NAME, 143)),
    (ADDRESS, f"{LONGEST_NAME}.:143", HostPort(LONGEST_NAME + ".", 143)),
    (host_port(lowest_port=0), "[::]:0", HostPort("::", 0)),
    (ADDRESSES, "127.0.0.1:1", (HostPort("127.0.0.1", 1),)),
    (ADDRESSES, "127.0.0.1:1, [::1]:1", (HostPort("127.0.0.1", 1), HostPort("::1", 1))),
    (ADDRESSES, "\n127.0.0.1:1\n\n[::1]:1", (HostPort("127.0.0.1", 1), HostPort("::1", 1))),
    (SERVER_NAMES, "", ()),
    (SERVER_NAMES, "Mail.Example.ORG, imap.example.org.", ("mail.example.org", "imap.example.org")),
    (SERVER_NAMES, "192.0.2.1\n[2001:DB8::0:1]", ("192.0.2.1", "2001:db8::1")),
    (NETWORKS, "", ()),
    (NETWORKS, "192.0.2.0/24, 2001:DB8::/32", (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))),
    (NETWORKS, "192.0.2.1\n::1", (ip_network("192.0.2.1/32"), ip_network("::1/128"))),
    (NETWORKS, "10.0.0.0/255.0.0.0", (ip_network("10.0.0.0/8"),)),
    (NETWORKS, "0.0.0.0/0", (ip_network("0.0.0.0/0"),)),
    (unless_empty(ADDRESS, None), "", None),
    (unless_empty(ADDRESS, None), "[::1]:143", HostPort("::1", 143)),
    (PATH, "", ""),
    (PATH, "/run/imapproxy/imapproxy.pid", "/run/imapproxy/imapproxy.pid"),
    (SOCKET_PATH, "", ""),
    (SOCKET_PATH, "/" + "x" * 106, "/" + "x" * 106),
    (USER, "root", "root"),
    (GROUP, "root", "root"),
    (CERTIFICATE, __file__, __file__),
    (MAILBOX, "", ""),
    (MAILBOX, "INBOX.Gesendete Objekte & Büro", "INBOX.Gesendete Objekte & Büro"),
]

BAD: list[tuple[Kind[Any], str, str]] = [
    (NUMBER, "0", "'0' is not a whole number from 1 to 1000"),
    (NUMBER, "1001", "'1001' is not a whole number from 1 to 1000"),
    (NUMBER, "-1", "'-1' is not a whole number from 1 to 1000"),
    (NUMBER, "", "'' is not a whole number from 1 to 1000"),
    (NUMBER, "1_0", "'1_0' is not a whole number from 1 to 1000"),
    (NUMBER, "٣", "'٣' is not a whole number from 1 to 1000"),
    (NUMBER, "9" * 5000, f"'{'9' * 5000}' is not a whole number from 1 to 1000"),
    (SECONDS, "0", "'0' is not a number of seconds from 0.1 to 86400"),
    (SECONDS, "86401", "'86401' is not a number of seconds from 0.1 to 86400"),
    (SECONDS, "1m", "'1m' is not a number of seconds from 0.1 to 86400"),
    (SECONDS, "nan", "'nan' is not a number of seconds from 0.1 to 86400"),
    (SECONDS, "1e3", "'1e3' is not a number of seconds from 0.1 to 86400"),
    (SIZE, "0", "'0' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    (SIZE, "4G", "'4G' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    (SIZE, "50MB", "'50MB' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    (SIZE, "1.5M", "'1.5M' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    (SIZE, "M", "'M' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    (COLOUR, "blue", "'blue' is not one of red, green"),
    (COLOUR, "", "'' is not one of red, green"),
    (SWITCH, "maybe", "'maybe' is not one of on, off"),
    (ADDRESS, "127.0.0.1", "'127.0.0.1' is not host:port with a port from 1 to 65535"),
    (ADDRESS, "127.0.0.1:", "'127.0.0.1:' is not host:port with a port from 1 to 65535"),
    (ADDRESS, "127.0.0.1:0", "'127.0.0.1:0' is not host:port with a port from 1 to 65535"),
    (ADDRESS, "127.0.0.1:65536", "'127.0.0.1:65536' is not host:port with a port from 1 to 65535"),
    (ADDRESS, "127.0.0.1:imap", "'127.0.0.1:imap' is not host:port with a port from 1 to 65535"),
    (ADDRESS, ":143", "the host is missing (every IPv4 address is 0.0.0.0, every IPv6 address is [::])"),
    (ADDRESS, "::1:143", "'::1': an IPv6 address stands in brackets, as in [::1]"),
    (ADDRESS, "a..b:143", "'a..b' is neither a host name nor an address"),
    (ADDRESS, ".a:143", "'.a' is neither a host name nor an address"),
    (ADDRESS, "a..:143", "'a..' is neither a host name nor an address"),
    (ADDRESS, "127.0.0.256:143", "'127.0.0.256' is neither a host name nor an address"),
    (ADDRESS, "127.0.0.01:143", "'127.0.0.01' is neither a host name nor an address"),
    (ADDRESS, "127.1:143", "'127.1' is neither a host name nor an address"),
    (ADDRESS, "192.0.2.1.:143", "'192.0.2.1.' is neither a host name nor an address"),
    (ADDRESS, "mail.0x7F:143", "'mail.0x7F' is neither a host name nor an address"),
    (ADDRESS, "1:143", "'1' is neither a host name nor an address"),
    (ADDRESS, ".:143", "'.' is neither a host name nor an address"),
    (ADDRESS, f"x{LABEL}:143", f"'x{LABEL}' is neither a host name nor an address"),
    (ADDRESS, f"a.x{LABEL}.b:143", f"'a.x{LABEL}.b' is neither a host name nor an address"),
    (ADDRESS, f"{LONGEST_NAME}x:143", f"'{LONGEST_NAME}x' is neither a host name nor an address"),
    (ADDRESS, "a\n:143", r"'a\n' is neither a host name nor an address"),
    (ADDRESS, "bücher:143", "'bücher' is neither a host name nor an address"),
    (ADDRESS, "[fe80::1%a..b]:143", "'[fe80::1%a..b]' names no network interface"),
    (ADDRESS, f"[fe80::1%{'x' * 16}]:143", f"'[fe80::1%{'x' * 16}]' names no network interface"),
    (ADDRESS, "[fe80::1%é]:143", "'[fe80::1%é]' names no network interface"),
    (ADDRESS, "[::g]:143", "'[::g]' holds no IPv6 address"),
    (ADDRESS, "[127.0.0.1]:143", "'[127.0.0.1]' holds no IPv6 address"),
    (ADDRESS, "two words:143", "'two words' is neither a host name nor an address"),
    (ADDRESSES, "", "at least one value is needed"),
    (ADDRESSES, ",\n", "at least one value is needed"),
    (ADDRESSES, "[::1]:1, [0::1]:1", "[::1]:1 is given twice"),
    (SERVER_NAMES, "a..b", "'a..b' is neither a host name nor an address"),
    (SERVER_NAMES, "192.0.2", "'192.0.2' is neither a host name nor an address"),
    (SERVER_NAMES, "a b", "'a b' is neither a host name nor an address"),
    (SERVER_NAMES, "mail:143", "'mail:143': a host stands without its port here, and an IPv6 address in brackets"),
    (SERVER_NAMES, "[::1]:143", "'[::1]:143': an IPv6 address stands in brackets, as in [::1]"),
    (SERVER_NAMES, "mail, MAIL", "mail is given twice"),
    (NETWORKS, "192.0.2.1/24", "'192.0.2.1/24' has bits set behind the network's; is 192.0.2.0/24 meant?"),
    (NETWORKS, "2001:db8::1/32", "'2001:db8::1/32' has bits set behind the network's; is 2001:db8::/32 meant?"),
    (
        NETWORKS,
        "haproxy",
        "'haproxy' is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address",
    ),
    (NETWORKS, "[::1]", "'[::1]' is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address"),
    (NETWORKS, "10.0.0.0/33", "'10.0.0.0/33' is no network, such as 192.0.2.0/24 or 2001:db8::/32, and no address"),
    (NETWORKS, "fe80::1%eth0", "'fe80::1%eth0': a network stands without an interface's name"),
    (NETWORKS, "::1, ::1/128", "::1/128 is given twice"),
    (NETWORKS, ",", "at least one value is needed"),
    (PATH, "/run/imapproxy/", "'/run/imapproxy/' is a directory's path, not a file's"),
    (PATH, "/run/\x1b[2J", r"'/run/\x1b[2J' holds control characters"),
    (SOCKET_PATH, "/run/", "'/run/' is a directory's path, not a file's"),
    (
        SOCKET_PATH,
        "/" + "ü" * 54,
        f"'/{'ü' * 54}' is longer than a unix socket's path may be (107 octets); choose a shorter one",
    ),
    (
        USER,
        "no-such user",
        "this machine has no user 'no-such user'; create it (adduser --system --group NAME) or name another",
    ),
    (USER, "", "this machine has no user ''; create it (adduser --system --group NAME) or name another"),
    (USER, "a\0", r"this machine has no user 'a\x00'; create it (adduser --system --group NAME) or name another"),
    (USER, "0", "this machine has no user '0'; create it (adduser --system --group NAME) or name another"),
    (GROUP, "no-such", "this machine has no group 'no-such'; create it (addgroup --system NAME) or name another"),
    (
        CERTIFICATE,
        "/nonexistent.pem",
        "cannot read /nonexistent.pem: No such file or directory; name a file that holds the certificate, in PEM,"
        " and that you can read",
    ),
    (
        CERTIFICATE,
        "/",
        "cannot read /: it is not a file; name a file that holds the certificate, in PEM, and that you can read",
    ),
    (CERTIFICATE, "a\0", r"'a\x00' holds control characters"),
    (MAILBOX, "Sent\r\n", r"'Sent\r\n' holds control characters"),
    (MAILBOX, "Sent\x9b", r"'Sent\x9b' holds control characters"),
    (MAILBOX, "Sent\udce9", r"'Sent\udce9' is not UTF-8 text"),
    (Kind("", printable), "fred\x1b[2J", r"'fred\x1b[2J' holds control characters"),
    (Kind("", log_target), "sylog", "'sylog' is neither stderr nor syslog, nor a file's path with a / in it"),
    (Kind("", log_target), "", "'' is neither stderr nor syslog, nor a file's path with a / in it"),
    (Kind("", domain), "", "'' is not a domain name (Empty domain)"),
    (Kind("", domain), "example.org.", "'example.org.' is not a domain name as in an address; it ends with a dot"),
]

DOMAINS = [
    ("Example.ORG", "example.org"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("BÜCHER.example", "xn--bcher-kva.example"),
    ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ("localhost", "localhost"),
]

NO_DOMAINS = ["a_b.example", "a b", "-a.example", "a..example", "fred@example.org", "xn--0.example", "x" * 64, "a\x00"]

IDENTITIES = [
    ("", {}),
    ("# nothing\n\n   \n", {}),
    ("fred fred.bloggs@example.org", {"fred": ("fred.bloggs@example.org",)}),
    ("  Fred\ta@example.org   b@EXAMPLE.org # his list", {"fred": ("a@example.org", "b@example.org")}),
    ("straße@example.org é@bücher.example", {"strasse@example.org": ("é@xn--bcher-kva.example",)}),
    ("fred a#b@example.org #c@example.org", {"fred": ("a#b@example.org",)}),
    ("fred a@example.org\njane b@example.org", {"fred": ("a@example.org",), "jane": ("b@example.org",)}),
]

BAD_IDENTITIES = [
    ("fred", "line 1: no address follows the user 'fred'"),
    ("\nfred # none", "line 2: no address follows the user 'fred'"),
    ("fred a@example.org\nFRED b@example.org", "line 2: the user 'FRED' has a line already"),
    ("fred jane", "line 1: 'jane' is not an address"),
    ("fred @example.org", "line 1: '@example.org' is not an address"),
    ("fred a\x00@example.org", r"line 1: 'a\x00@example.org' is not an address"),
    ("fred a@", "line 1: '' is not a domain name (Empty domain)"),
]


@pytest.mark.parametrize(("kind", "text", "want"), GOOD)
def test_good_values(kind: Kind[Any], text: str, want: object) -> None:
    assert kind.convert(text) == want


@pytest.mark.parametrize(("kind", "text", "want"), BAD, ids=[f"{text[:20]!r}" for _, text, _ in BAD])
def test_bad_values(kind: Kind[Any], text: str, want: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared whole)
        kind.convert(text)
    assert str(caught.value) == want


@given(st.text("aZ0-_.", max_size=300) | st.text("aZ0-_.", max_size=60).map("[fe80::1%{}]".format))
def test_the_resolver_can_be_asked_for_every_host(host: str) -> None:
    try:
        address = ADDRESS.convert(f"{host}:143")
    except ValueError:
        return
    address.host.encode("idna")  # as getaddrinfo() does; nothing catches the UnicodeError


@pytest.mark.parametrize("address", ["127.0.0.1:143", "[::1]:143", "mail.example.org:143"])
def test_an_address_is_shown_as_it_was_written(address: str) -> None:
    assert str(ADDRESS.convert(address)) == address


@pytest.mark.parametrize(("text", "want"), DOMAINS)
def test_domains_become_a_labels(text: str, want: str) -> None:
    assert domain(text) == want


@pytest.mark.parametrize("text", NO_DOMAINS)
def test_what_is_no_domain(text: str) -> None:
    with pytest.raises(ValueError, match="is not a domain name"):
        domain(text)


def test_mail_domains() -> None:
    assert mail_domains("example.org, Example.COM\nexample.net") == ("example.org", "example.com", "example.net")
    assert mail_domains("") == (machine_mail_domain(),)


def test_the_machines_mail_name_comes_from_mailname(tmp_path: Path) -> None:
    mailname = tmp_path / "mailname"
    mailname.write_text("Mail.Example.org\n")
    assert machine_mail_domain(mailname) == "mail.example.org"


def test_without_mailname_the_host_name_counts(tmp_path: Path) -> None:
    assert machine_mail_domain(tmp_path / "none") == domain(platform.node())


def test_an_unusable_mail_name(tmp_path: Path) -> None:
    mailname = tmp_path / "mailname"
    mailname.write_text("\n")
    with pytest.raises(ValueError, match="this machine has no usable mail name"):
        machine_mail_domain(mailname)


@pytest.mark.parametrize(("text", "want"), IDENTITIES)
def test_identities(text: str, want: object) -> None:
    assert parse_identities(text.split("\n")) == want


@pytest.mark.parametrize(("text", "want"), BAD_IDENTITIES)
def test_bad_identities(text: str, want: str, tmp_path: Path) -> None:
    file = tmp_path / "identities"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the text is compared whole)
        identities_from_file(str(file))
    assert str(caught.value) == f"{file}: {want}"


def test_no_file_no_identities_and_no_password() -> None:
    assert identities_from_file("") == {}
    assert password_from_file("") == ""


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b" two words \n", " two words "),
        ("pässwörd\u00a0%[1]".encode(), "pässwörd\u00a0%[1]"),
    ],
)
def test_passwords(octets: bytes, want: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(octets)
    assert password_from_file(str(file)) == want


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"", "must hold one line"),
        (b"\n", "must hold one line"),
        (b"secret\n\n", "must hold one line"),
        (b"two\nlines\n", "must hold one line"),
        (b"nul\x00\n", "must hold one line"),
        (b"caf\xe9\n", "it is not UTF-8 text"),
    ],
)
def test_what_is_no_password_is_not_shown(octets: bytes, want: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(octets)
    with pytest.raises(ValueError, match=want) as caught:
        password_from_file(str(file))
    assert str(file) in str(caught.value)
    assert "lines" not in str(caught.value)
    assert "nul" not in str(caught.value)


@pytest.mark.parametrize("name", ["none", "."])
def test_a_file_that_cannot_be_read_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"cannot read {tmp_path}"):
        password_from_file(str(tmp_path / name))


def test_a_file_that_the_program_keeps_need_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").touch()
    for text in (f"{tmp_path}/there", f"{tmp_path}/not yet", "there", "./not yet"):
        assert state_file(text) == text


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("missing/journal", "there is no directory {0}/missing for {0}/missing/journal; make one, which 'user' can"),
        ("file/journal", "there is no directory {0}/file for {0}/file/journal; make one, which 'user' can"),
        ("", "'{0}/' is a directory's path, not a file's"),
        ("directory", "{0}/directory is not a file"),
        ("pipe", "{0}/pipe is not a file"),
    ],
)
def test_where_the_program_can_keep_no_file(name: str, want: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match=f"^{re.escape(want.format(tmp_path))}"):
        state_file(f"{tmp_path}/{name}")


def test_a_pipe_is_no_file_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="it is not a file"):
        CERTIFICATE.convert(str(tmp_path / "pipe"))


def test_what_only_others_can_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.open", refused)  # root, who may run the tests, can read everything
    with pytest.raises(ValueError, match=r"key: Permission denied; name a file .* that you can read"):
        CERTIFICATE.convert(str(tmp_path / "key"))


def test_a_value_that_may_be_empty_keeps_its_kind() -> None:
    assert unless_empty(ADDRESSES, ()).repeatable
    assert not unless_empty(ADDRESS, None).repeatable
    assert unless_empty(ADDRESS, None).metavar == "HOST:PORT"
