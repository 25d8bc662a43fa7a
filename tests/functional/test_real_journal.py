"""The journal before each IMAP server and Postfix: a second try arrives nowhere, neither at joe's nor in Sent."""

import re
from collections.abc import Iterator
from imaplib import IMAP4
from pathlib import Path

import pytest

from tests.functional.clients import logged_in
from tests.functional.drafts import BEFORE, draft, forward
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.imap_servers import ImapServer, RealImapServer
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

SENT_EARLIER = r"OK SUBMIT completed \(accepted earlier, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"
MESSAGE = b"From: ann@example.com\r\nSubject: stored\r\n\r\nhello\r\n"
IDENTITY = b"Message-ID: <journal@example.com>\r\n"


@pytest.fixture(scope="module")
def proxy(imap: RealImapServer, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory: Path = tmp_path_factory.mktemp("journal")
    options = {"submit": {"journal": str(directory / "journal"), "sent-mailbox": f"{imap.prefix}Sent"}}
    with running_proxy(directory, imap.port, postfix.port, options) as running:
        yield running


@pytest.fixture
def fred(imap: RealImapServer, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(imap, postfix, proxy) as user:
        yield user


@pytest.mark.parametrize("kind", ["plain", "forward"])
def test_the_second_try_arrives_nowhere(fred: Correspondent, postfix: Postfix, kind: str) -> None:
    uid = fred.store(MESSAGE)
    whole = {
        "plain": draft(BEFORE, fields=IDENTITY),
        "forward": forward(f"/INBOX/;UID={uid}", fields=IDENTITY),
    }[kind]
    assert fred.client.submit(whole) == "OK SUBMIT completed"
    for _ in range(2):
        assert re.fullmatch(SENT_EARLIER, fred.client.submit(whole))
    assert fred.client.submit(whole.replace(b"journal@", b"another@")) == "OK SUBMIT completed"
    arrivals = [postfix.take(1), postfix.take(1)]
    assert [set(arrival) for arrival in arrivals] == [{"joe@example.com"}] * 2
    assert len(fred.all_of(fred.mailbox("Sent"))) == 2


def test_a_user_who_logs_in_in_other_letters_is_the_same(
    fred: Correspondent, imap_row: ImapServer, postfix: Postfix, proxy: Proxy
) -> None:
    """The second try finds the same mailboxes, and sends nothing; to Courier, the name is that of no user."""
    whole = draft(BEFORE, fields=IDENTITY)
    assert fred.client.submit(whole) == "OK SUBMIT completed"
    names = (fred.user.upper(), fred.user.title())
    if not imap_row.folds_user_names:
        for name in names:
            with pytest.raises(IMAP4.error):
                logged_in(proxy.port, name)
        return
    for name in names:
        with logged_in(proxy.port, name) as client:
            assert re.fullmatch(SENT_EARLIER, client.submit(whole))
            assert client.submit(whole.replace(b"journal@", b"%b@" % name.encode())) == "OK SUBMIT completed"
    assert [set(postfix.take(1)) for _ in range(3)] == [{"joe@example.com"}] * 3
    assert len(fred.all_of(fred.mailbox("Sent"))) == 3
