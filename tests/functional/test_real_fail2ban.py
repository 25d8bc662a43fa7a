"""A running fail2ban with our filter and jail: who is banned for what really happens at a running proxy.

fail2ban reads the log in its order. So a test that nobody is banned for something lets another address, the sentinel,
fail often enough afterwards: once that one is banned, all that stands before it in the log has been read.
"""

import base64
from collections.abc import Iterator
from itertools import count

import pytest

from tests.functional.clients import RecordingClient
from tests.functional.fail2ban import Fail2ban, running_fail2ban
from tests.functional.fake_imap import FakeImap, Peer
from tests.functional.process import free_ports
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.scripted import eventually

PASSWORD = b"secret"
GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ AUTH=PLAIN] fake\r\n"
VICTIM = "127.0.0.88"


def locked(peer: Peer) -> None:
    """Take one password, by LOGIN or AUTHENTICATE PLAIN; else say NO at once, which real servers do not."""
    peer.send(GREETING)
    while True:
        line = peer.line()
        tag, name, *arguments = line.split()
        if name == b"AUTHENTICATE":
            line = base64.b64decode(arguments[-1])
        is_good = name not in {b"LOGIN", b"AUTHENTICATE"} or PASSWORD in line
        peer.send(tag + (b" OK done\r\n" if is_good else b" NO [AUTHENTICATIONFAILED] wrong password\r\n"))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    [nobody] = free_ports(1)
    with (
        FakeImap(locked) as imap,
        running_proxy(tmp_path_factory.mktemp("proxy"), imap.port, smtp_port=nobody) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def opened(proxy: Proxy) -> Iterator[Fail2ban]:
    with running_fail2ban(proxy.log_file) as running:
        yield running


@pytest.fixture
def fail2ban(opened: Fail2ban) -> Fail2ban:
    """Return it with nobody in its file; who was banned stays so, and is not banned again."""
    opened.forget()
    return opened


ADDRESSES = (f"127.0.1.{number}" for number in count(1))


@pytest.fixture
def fred() -> str:
    """Return an address from which nobody has come yet."""
    return next(ADDRESSES)


@pytest.fixture
def sentinel() -> str:
    """Return another one."""
    return next(ADDRESSES)


def log_in(proxy: Proxy, source: str, user: bytes = b"fred", password: bytes = PASSWORD, how: str = "LOGIN") -> str:
    """Log in from an address, and return whether the answer was OK or NO."""
    client = RecordingClient(proxy.port, source=source)
    arguments = b'"%b" "%b"' % (user, password)
    if how != "LOGIN":
        arguments = b"PLAIN " + base64.b64encode(b"\0%b\0%b" % (user, password))
    client.send(b"L %b %b\r\n" % (how.encode(), arguments))
    answer = client.readline().split()[1]
    client.shutdown()
    return answer.decode()


def fail(proxy: Proxy, source: str, times: int, user: bytes = b"fred", how: str = "LOGIN") -> None:
    for _ in range(times):
        assert log_in(proxy, source, user, b"wrong", how) == "NO"


def assert_banned(fail2ban: Fail2ban, addresses: list[str]) -> None:
    eventually(lambda: len(fail2ban.banned()) >= len(addresses))
    assert fail2ban.banned() == addresses


@pytest.mark.parametrize("how", ["LOGIN", "AUTHENTICATE"])
def test_third_wrong_password_bans_the_address(
    proxy: Proxy, fail2ban: Fail2ban, fred: str, sentinel: str, how: str
) -> None:
    fail(proxy, fred, times=2, how=how)
    fail(proxy, sentinel, times=3)
    assert_banned(fail2ban, [sentinel])
    fail(proxy, fred, times=1, how=how)
    assert_banned(fail2ban, [sentinel, fred])


def test_logins_ban_nobody(proxy: Proxy, fail2ban: Fail2ban, fred: str, sentinel: str) -> None:
    for _ in range(4):
        assert log_in(proxy, fred) == "OK"
    fail(proxy, sentinel, times=3)
    assert_banned(fail2ban, [sentinel])


def forged(form: str) -> bytes:
    return form.format(victim=VICTIM).encode()


REFUSED = "2026-11-24T10:15:00.123+01:00 imapproxy[1234]: INFO login-refused user=fred client={victim} mechanism=LOGIN"

# User names with which somebody might want another address to be banned.
NAMES = {
    "plain": b"fred",
    "field": forged("client={victim}"),
    "field behind a quote": forged('x" client={victim} mechanism="'),
    "field behind a backslash": forged('x\\" client={victim} y'),
    "line": forged(REFUSED),
    "line of its own": forged(f"x\r\n{REFUSED}\r\n"),
    "line behind a lone LF": forged(f"x\n{REFUSED}"),
    "line behind a lone CR": forged(f"x\r{REFUSED}"),
    "line behind a separator of Unicode's": forged(f"x\u2028{REFUSED}\u2029\x85{REFUSED}"),
    "very long": b"x" * 511 + forged('" client={victim} '),
    "address": VICTIM.encode(),
}


def test_user_names_ban_no_other_address(proxy: Proxy, fail2ban: Fail2ban, fred: str) -> None:
    """Each name is taken three times and then refused three times: only where it was refused from is banned."""
    refused_from = {next(ADDRESSES): name for name in NAMES.values()}
    for address, name in refused_from.items():
        for _ in range(3):
            assert log_in(proxy, fred, name, how="AUTHENTICATE") == "OK"
        fail(proxy, address, times=3, user=name, how="AUTHENTICATE")
    assert_banned(fail2ban, list(refused_from))
