"""Status responses of real Dovecot that name 25,000 messages: one line of 175 KB each, which passes whole."""

from collections.abc import Iterator

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.dovecot import Dovecot, account, give_to, running_dovecot
from tests.functional.process import free_ports
from tests.functional.proxy_process import Proxy, running_proxy

# One file a mailbox: 25,000 files take longer to make, to copy and to remove than all that is tested here.
MBOX = "mail_location = mbox:~/mail:INBOX=~/mail/INBOX\n"

# Every other UID, so that no two of them make a range; their numbers have six digits.
UIDS = range(100_001, 150_001, 2)
LAST = UIDS[-10_000:]
MESSAGE = """\
From fred@example.com Mon Feb  7 21:52:25 1994
{state}X-UID: {uid}
Status: RO
From: fred@example.com

Hello

"""
# What the first one says of the whole mailbox: its UIDVALIDITY, and the last UID.
STATE = f"X-IMAPbase: 7 {UIDS[-1]:010}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Dovecot]:
    with running_dovecot(MBOX) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    [nobody] = free_ports(1)
    with running_proxy(tmp_path_factory.mktemp("proxy"), server.port, smtp_port=nobody) as running:
        yield running


@pytest.fixture
def client(server: Dovecot, proxy: Proxy) -> Iterator[RecordingClient]:
    """Return a client who has logged in through the proxy, with the scattered messages selected and a ``Target``."""
    user = server.new_user()
    fill(server, user)
    with logged_in(proxy.port, user) as client:
        client.create("Target")
        client.select()
        client.heard()
        yield client


def fill(server: Dovecot, user: str) -> None:
    home = server.directory / "home" / user
    (home / "mail").mkdir(parents=True)
    messages = (MESSAGE.format(uid=uid, state=STATE if uid == UIDS[0] else "") for uid in UIDS)
    (home / "mail" / "INBOX").write_text("".join(messages), encoding="ascii")
    give_to(account(), home)


def answer(client: RecordingClient, command: bytes) -> bytes:
    """Return what the server says to a command, and see that the session goes on."""
    client.converse(b"X1 %b\r\n" % command, last_tag=b"X1")
    heard = client.heard()
    assert client.noop()[0] == "OK"
    return heard


def assert_whole(heard: bytes, form: bytes, uids: range) -> None:
    """See that these stand for ``%`` of a form in what was heard; pytest would be long about 175 KB of difference."""
    where = heard.find(form.replace(b"%", b",".join(b"%d" % uid for uid in uids)))
    assert where >= 0, (form, heard[:200], heard[-200:])


def uidvalidity(client: RecordingClient) -> bytes:
    """Return that of ``Target``."""
    _, [status] = client.status("Target", "(UIDVALIDITY)")
    assert isinstance(status, bytes)
    return status.split()[-1].rstrip(b")")


def test_copy(client: RecordingClient) -> None:
    heard = answer(client, b"UID COPY 1:* Target")
    assert_whole(heard, b"X1 OK [COPYUID " + uidvalidity(client) + b" % 1:25000] ", UIDS)


def test_move(client: RecordingClient) -> None:
    """Its code is an untagged response's. 10,000 of them, 70 KB, since a server takes its time for it."""
    heard = answer(client, b"UID MOVE %d:%d Target" % (LAST[0], LAST[-1]))
    assert_whole(heard, b"* OK [COPYUID " + uidvalidity(client) + b" % 1:10000] ", LAST)
    assert heard.count(b" EXPUNGE\r\n") == len(LAST)


def test_conditional_store(client: RecordingClient) -> None:
    heard = answer(client, b"UID STORE 1:* (UNCHANGEDSINCE 0) +FLAGS (\\Seen)")
    assert_whole(heard, b"X1 OK [MODIFIED %] ", UIDS)


def test_search(client: RecordingClient) -> None:
    """Its results are no status response, but a line of that length too."""
    heard = answer(client, b"UID SEARCH RETURN (ALL) ALL")
    assert_whole(heard, b" UID ALL %\r\n", UIDS)
