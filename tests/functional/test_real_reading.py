"""Where what is referred to may lie, that only it is read, and that no other session notices; on each IMAP server."""

import re
from collections.abc import Iterator

import pytest

from tests.functional.drafts import (
    ENVELOPE,
    draft,
    forward,
    reference,
)
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.imap_servers import ImapServer, RealImapServer
from tests.functional.mail_tree import leaf, multipart
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

PDF = leaf("application/pdf", b"JVBERi0xLjQK\r\n" * 300, b"Content-Transfer-Encoding: base64\r\n")
MESSAGE = multipart(b"=_stored", leaf("text/plain", b"Hello\r\n"), PDF).headed(
    b"Subject: stored\r\nMIME-Version: 1.0\r\n"
)
SINGLE = leaf("text/x-log", b"first\r\n\r\n.\r\nlast\r\n").headed(b"Subject: stored\r\n")


@pytest.fixture(scope="module")
def proxy(imap: RealImapServer, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("references"), imap.port, postfix.port) as running:
        yield running


@pytest.fixture
def fred(imap: RealImapServer, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(imap, postfix, proxy) as user:
        yield user


# Where it lies


NAMES = [
    ('"Entw&APw-rfe"', "Entw%C3%BCrfe"),
    ('"&U,BTFw-"', "%E5%8F%B0%E5%8C%97"),
    ('"&2D3eAA-"', "%F0%9F%98%80"),
    ('"a b"', "a%20b"),
    (r'"say \"hello\""', "say%20%22hello%22"),
    (r'"back\\slash"', "back%5Cslash"),
    ('"100% {5}"', "100%25%20%7B5%7D"),
    ('"R&-D"', "R%26D"),
    ('"(x) [y]"', "(x)%20%5By%5D"),
    ('"NIL"', "NIL"),
    ('"a.b.c"', "a.b.c"),
]


@pytest.mark.parametrize(("quoted", "in_url"), NAMES)
def test_mailbox_name(fred: Correspondent, imap_row: ImapServer, quoted: str, in_url: str) -> None:
    """With UIDVALIDITY and without."""
    if quoted in imap_row.refused_names:
        assert fred.direct.create(fred.mailbox(quoted))[0] == "NO"
        return
    name = fred.new_mailbox(quoted)
    uid = fred.store(SINGLE.octets, name)
    _, told = fred.direct.status(name, "(UIDVALIDITY)")
    validity = re.search(rb"UIDVALIDITY (\d+)", told[-1])
    assert validity
    path = fred.mailbox(in_url)
    urls = [f"/{path}/;UID={uid}", f"/{path};UIDVALIDITY={validity[1].decode()}/;UID={uid}"]
    assert [part.body for part in fred.forward(draft(*map(reference, urls))).parts] == [SINGLE.octets] * 2


@pytest.mark.parametrize(
    "server", ["imap://127.0.0.1", "imap://{user}@127.0.0.1", "imap://{user}%40example.com@127.0.0.1"]
)
def test_absolute_url(fred: Correspondent, server: str) -> None:
    uid = fred.store(SINGLE.octets)
    url = f"{server.format(user=fred.user)}/INBOX/;UID={uid}"
    assert fred.forward(forward(url)).parts[1].body == SINGLE.octets


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/INBOX/;UID=99", "no such message"),
        ("/INBOX/;UID=1/;SECTION=9", "no such part"),
        ("/INBOX/;UID=1/;SECTION=2.1", "no such part"),
        ("/INBOX;UIDVALIDITY=1/;UID=1", "UIDVALIDITY has changed"),
        ("/Nowhere/;UID=1", "no such mailbox"),
    ],
)
def test_what_is_not_there(fred: Correspondent, path: str, reason: str) -> None:
    fred.store(MESSAGE.octets)
    assert fred.client.submit(forward(path)) == f"NO 5.6.6 cannot read {path}: {reason},"
    assert fred.send(ENVELOPE + b"\r\nthe first to arrive\r\n").endswith(b"the first to arrive\r\n")


def test_message_that_was_expunged(fred: Correspondent) -> None:
    uid = fred.store(MESSAGE.octets)
    fred.direct.select("INBOX")
    fred.direct.uid("STORE", str(uid), "+FLAGS", r"(\Deleted)")
    fred.direct.expunge()
    path = f"/INBOX/;UID={uid}/;SECTION=2"
    assert fred.client.submit(forward(path)) == f"NO 5.6.6 cannot read {path}: no such message,"


# What the client's session notices


def test_session_notices_nothing(fred: Correspondent) -> None:
    """No flag, no \\Recent, no EXISTS, no other mailbox selected."""
    selected = fred.new_mailbox("Selected")
    (uid,) = fred.deliver(MESSAGE.octets)
    here = fred.store(SINGLE.octets, selected)
    fred.client.select(selected)
    fred.client.fetch("1:*", "(UID FLAGS)")
    before = noticed(fred)
    fred.client.heard()
    urls = [f"/INBOX/;UID={uid}", f"/{selected}/;UID={here}", f"/INBOX/;UID={uid}/;SECTION=2"]
    assert fred.client.submit(draft(*map(reference, urls))) == "OK SUBMIT completed"
    fred.arrival()
    answer = rb"\+ Ready for the message\r\nTAG\d+ OK SUBMIT completed\r\n"
    assert re.fullmatch(answer, fred.client.heard())
    assert noticed(fred) == before
    assert fred.client.untagged_responses.get("EXISTS") in ([b"1"], None)
    assert b"RECENT 1" in fred.direct.status("INBOX", "(RECENT UNSEEN)")[1][-1]


def noticed(fred: Correspondent) -> list[object]:
    """Return what the client sees of its mail."""
    fred.client.noop()
    seen_here = fred.client.fetch("1:*", "(UID FLAGS)")
    return [seen_here, fred.direct.status("INBOX", "(MESSAGES RECENT UNSEEN UIDNEXT)")]
