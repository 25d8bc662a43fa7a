"""Status responses of real Dovecot that name 25,000 messages: one line of 175 KB each, which passes whole."""

import os
from collections.abc import Iterator

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.dovecot import Dovecot, account, give_to
from tests.functional.process import free_ports
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.samples import HEADER

# Every other UID, so that no two of them make a range; their numbers have six digits.
UIDS = range(100_001, 150_001, 2)
SCATTERED = b",".join(b"%d" % uid for uid in UIDS)
UIDVALIDITY, GUID = 7, "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    [nobody] = free_ports(1)
    with running_proxy(tmp_path_factory.mktemp("proxy"), dovecot.port, smtp_port=nobody) as proxy:
        yield proxy


@pytest.fixture
def client(dovecot: Dovecot, proxy: Proxy) -> Iterator[RecordingClient]:
    """Return a client who has logged in through the proxy, with the scattered messages selected and a ``Target``."""
    user = dovecot.new_user()
    fill(dovecot, user)
    with logged_in(proxy.port, user) as client:
        client.create("Target")
        client.select()
        client.heard()
        yield client


def fill(dovecot: Dovecot, user: str) -> None:
    """Write a maildir in which the messages have those UIDs; they are one file with many names."""
    maildir, template = dovecot.maildir(user), dovecot.directory / f"{user}.message"
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    template.write_bytes(HEADER + b"\r\nHello\r\n")
    lines = "".join(f"{uid} :{uid}.message\n" for uid in UIDS)
    header = f"3 V{UIDVALIDITY} N{UIDS.stop} G{GUID}\n"
    (maildir / "dovecot-uidlist").write_text(header + lines, encoding="ascii")
    give_to(account(), template)
    give_to(account(), maildir)
    for uid in UIDS:
        os.link(template, maildir / "cur" / f"{uid}.message:2,")


def answer(client: RecordingClient, command: bytes) -> bytes:
    """Return what the server says to a command, and see that the session goes on."""
    client.converse(b"X1 %b\r\n" % command, last_tag=b"X1")
    heard = client.heard()
    assert client.noop()[0] == "OK"
    return heard


def assert_whole(heard: bytes, form: bytes) -> None:
    """See that all the messages stand for ``%`` of a form in what was heard; pytest shows no 175 KB of difference."""
    where = heard.find(form.replace(b"%", SCATTERED))
    assert where >= 0, (form, heard[:200], heard[-200:])


def test_copy(client: RecordingClient) -> None:
    heard = answer(client, b"UID COPY 1:* Target")
    assert_whole(heard, b"X1 OK [COPYUID " + uidvalidity(client) + b" % 1:25000] ")


def test_move(client: RecordingClient) -> None:
    heard = answer(client, b"UID MOVE 1:* Target")
    assert_whole(heard, b"* OK [COPYUID " + uidvalidity(client) + b" % 1:25000] ")
    assert heard.count(b" EXPUNGE\r\n") == len(UIDS)


def test_conditional_store(client: RecordingClient) -> None:
    heard = answer(client, b"UID STORE 1:* (UNCHANGEDSINCE 0) +FLAGS (\\Seen)")
    assert_whole(heard, b"X1 OK [MODIFIED %] ")


def test_search(client: RecordingClient) -> None:
    """Its results are no status response, but a line of that length too."""
    heard = answer(client, b"UID SEARCH RETURN (ALL) ALL")
    assert_whole(heard, b" UID ALL %\r\n")


def uidvalidity(client: RecordingClient) -> bytes:
    _, [status] = client.status("Target", "(UIDVALIDITY)")
    assert isinstance(status, bytes)
    return status.split()[-1].rstrip(b")")
