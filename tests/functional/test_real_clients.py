"""mbsync, mutt, curl and imaplib do the same through the proxy as directly against Dovecot, octet for octet.

Each does the same twice, with a user of its own each time, both having equal copies of one maildir.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.functional.clients import RecordingClient, curl, logged_in, maildirs, mbsync, mutt
from tests.functional.dovecot import Dovecot
from tests.functional.packages import require
from tests.functional.process import free_ports
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.samples import DATE, HEADER, MANY, ODD_MESSAGES, big_message, fill

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def mail(dovecot: Dovecot) -> Path:
    """Return the maildir that every user of this module starts with."""
    user = dovecot.new_user()
    with logged_in(dovecot.port, user) as client:
        fill(client)
    return dovecot.maildir(user)


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    [nobody] = free_ports(1)
    with running_proxy(tmp_path_factory.mktemp("proxy"), dovecot.port, smtp_port=nobody) as proxy:
        yield proxy


class Paths:
    """The two ways to the server."""

    def __init__(self, dovecot: Dovecot, proxy: Proxy, mail: Path) -> None:
        self.dovecot = dovecot
        self.ports = (dovecot.port, proxy.port)
        self.mail = mail

    def take(self, act: Callable[[int, str], Result]) -> tuple[Result, Result]:
        """Return the results of acting on a port as a user: directly, and through the proxy."""
        direct, proxied = (act(port, self.dovecot.new_user(self.mail)) for port in self.ports)
        return direct, proxied


@pytest.fixture
def paths(dovecot: Dovecot, proxy: Proxy, mail: Path) -> Paths:
    return Paths(dovecot, proxy, mail)


def assert_same(results: tuple[bytes, bytes]) -> None:
    """Fail with the first difference: pytest's own comparison of megabytes takes minutes."""
    direct, proxied = results
    if direct == proxied:
        return
    at = next((at for at, (one, other) in enumerate(zip(*results, strict=False)) if one != other), len(min(results)))
    around = slice(max(0, at - 100), at + 100)
    pytest.fail(f"at octet {at}: directly {direct[around]!r}, through the proxy {proxied[around]!r}")


def test_capability_list_is_the_direct_one_plus_can_submit(paths: Paths) -> None:
    def capabilities(port: int, user: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        client = RecordingClient(port)
        before = client.capabilities
        client.login(user, "secret")
        client._get_capabilities()
        return before, client.capabilities

    (before, after), proxied = paths.take(capabilities)
    ours = ("CAN-SUBMIT", "CAN-SUBMIT=URL")
    assert proxied == ((*before, *ours), (*after, *ours, "COMPRESS=DEFLATE"))


def test_greeting_and_login_differ_by_can_submit_only(paths: Paths) -> None:
    def heard(port: int, user: str) -> bytes:
        client = logged_in(port, user)
        client.capability()
        return client.heard()

    direct, proxied = paths.take(heard)
    assert b"CAN-SUBMIT" not in direct
    assert_same((direct, re.sub(rb" CAN-SUBMIT CAN-SUBMIT=URL( COMPRESS=DEFLATE)?", b"", proxied)))


def read_everything(client: RecordingClient) -> None:
    client.select("INBOX")
    client.fetch("1:*", "(UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE)")
    client.fetch("1:*", "(BODY.PEEK[])")
    client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[TEXT]<3.10>)")
    client.fetch("1:*", "(RFC822)")
    client.select("Many", readonly=True)
    client.fetch(f"1:{MANY}", "(FLAGS ENVELOPE BODY.PEEK[])")
    client.uid("SEARCH", "SUBJECT", '"message 1"')
    client.select("Big")
    client.fetch("1", "(BODY[])")


def change_everything(client: RecordingClient) -> None:
    client.select("INBOX")
    client.store("1:3", "+FLAGS", r"(\Deleted $Forwarded)")
    client.copy("4:6", "Many")
    client.expunge()
    client.append("INBOX", r"(\Seen)", DATE, HEADER + ODD_MESSAGES["every octet but NUL"])
    client.append("INBOX", "", DATE, big_message())
    client.append("Absent", "", DATE, HEADER + b"\r\n")
    client.converse(b"X1 SEARCH CHARSET UTF-8 SUBJECT {5+}\r\n\xc3\xa9t\xc3\xa9\r\n", last_tag=b"X1")
    client.create("Neu &- Alt")
    client.rename("Neu &- Alt", "Alt")
    client.list()
    client.status("Many", "(MESSAGES UIDNEXT UNSEEN)")
    client.delete("Alt")
    client.fetch("1:*", "(UID FLAGS BODY.PEEK[])")
    client.close()


def send_literals_without_waiting(client: RecordingClient) -> None:
    octets = HEADER + ODD_MESSAGES["every octet but NUL"]
    client.converse(b"X1 APPEND INBOX (\\Seen) {%d+}\r\n%b\r\n" % (len(octets), octets), last_tag=b"X1")
    client.converse(b"X2 SELECT {5+}\r\nINBOX\r\nX3 STATUS {4+}\r\nMany ({8+}\r\nMESSAGES)\r\n", last_tag=b"X3")


def be_told_off(client: RecordingClient) -> None:
    client.converse(b"X1 NONSENSE\r\n", last_tag=b"X1")
    client.converse(b"X2 SELECT\r\n", last_tag=b"X2")
    client.converse(b"X3 FETCH 1 BODY[]\r\n", last_tag=b"X3")
    client.converse(b"X4 LOGIN again {6}\r\n", last_tag=b"X4")


def pipeline(client: RecordingClient) -> None:
    commands = b"".join(b"X%d FETCH %d (UID BODY.PEEK[])\r\n" % (number, number) for number in range(1, MANY + 1))
    client.select("Many")
    client.converse(commands, last_tag=b"X%d" % MANY)


@pytest.mark.parametrize(
    "act", [read_everything, change_everything, send_literals_without_waiting, be_told_off, pipeline]
)
def test_imaplib_hears_the_same(paths: Paths, act: Callable[[RecordingClient], None]) -> None:
    def heard(port: int, user: str) -> bytes:
        with logged_in(port, user) as client:
            client.heard()
            act(client)
            return client.heard()

    assert_same(paths.take(heard))


def test_imaplib_is_told_of_new_mail_while_idle(paths: Paths) -> None:
    def heard(port: int, user: str) -> bytes:
        with logged_in(port, user) as idle, logged_in(port, user) as other:
            idle.select("INBOX")
            idle.heard()
            idle.send(b"X1 IDLE\r\n")
            idle.readline()
            other.append("INBOX", "", DATE, HEADER + b"\r\nnew\r\n")
            while b"EXISTS" not in idle.readline():
                pass
            idle.converse(b"DONE\r\n", last_tag=b"X1")
            return idle.heard()

    assert_same(paths.take(heard))


def test_curl_prints_the_same(paths: Paths) -> None:
    require("curl")

    def printed(port: int, user: str) -> bytes:
        odd = [curl(port, user, f"INBOX;MAILINDEX={number}") for number in range(1, len(ODD_MESSAGES) + 1)]
        listed = curl(port, user, "Many", "--request", "FETCH 1:10 (UID FLAGS)")
        return b"".join([*odd, listed, curl(port, user, "Big;UID=1"), curl(port, user, "")])

    assert_same(paths.take(printed))


@pytest.mark.parametrize("message", [*ODD_MESSAGES.values(), big_message()], ids=[*ODD_MESSAGES, "big"])
def test_curl_uploads_the_same(paths: Paths, message: bytes, tmp_path: Path) -> None:
    require("curl")
    upload = tmp_path / "message"
    upload.write_bytes(HEADER + message)

    def uploaded(port: int, user: str) -> bytes:
        curl(port, user, "", "--request", "CREATE Drafts")
        curl(port, user, "Drafts", "--upload-file", str(upload))
        return curl(port, user, "Drafts;MAILINDEX=1")

    assert_same(paths.take(uploaded))


def test_mbsync_makes_the_same_maildirs(paths: Paths, tmp_path: Path) -> None:
    require("mbsync")

    def pulled(port: int, user: str) -> dict[str, list[tuple[str, bytes]]]:
        directory = tmp_path / user
        directory.mkdir()
        mbsync(port, user, directory)
        return maildirs(directory / "mail")

    direct, proxied = paths.take(pulled)
    assert sum(map(len, direct.values())) == len(ODD_MESSAGES) + MANY + 1
    assert direct == proxied


def test_mbsync_puts_the_same_onto_the_server(paths: Paths, tmp_path: Path) -> None:
    require("mbsync")

    def pushed(port: int, user: str) -> dict[str, list[tuple[str, bytes]]]:
        directory = tmp_path / user
        directory.mkdir()
        mbsync(port, user, directory)
        write_messages(directory / "mail" / "INBOX" / "cur")
        mbsync(port, user, directory)
        return maildirs(paths.dovecot.maildir(user))

    direct, proxied = paths.take(pushed)
    assert direct == proxied


def write_messages(folder: Path) -> None:
    for number, message in enumerate([*ODD_MESSAGES.values(), big_message()]):
        (folder / f"{number}.new:2,S").write_bytes((HEADER + message).replace(b"\r\n", b"\n"))


@pytest.mark.parametrize("mailbox", ["INBOX", "Many", "Big"])
def test_mutt_copies_the_same(paths: Paths, mailbox: str, tmp_path: Path) -> None:
    require("mutt")

    def copied(port: int, user: str) -> bytes:
        directory = tmp_path / user
        directory.mkdir()
        return mutt(port, user, mailbox, directory)

    direct, proxied = paths.take(copied)
    assert direct.startswith(b"From ")
    assert_same((direct, proxied))
