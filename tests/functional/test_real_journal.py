"""The journal before real Dovecot and Postfix: a second try arrives nowhere, neither at the recipient nor in Sent."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.clients import logged_in
from tests.functional.dovecot import Dovecot
from tests.functional.drafts import BEFORE, draft, forward
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

SENT_EARLIER = r"OK SUBMIT completed \(accepted earlier, at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)"
MESSAGE = b"From: ann@example.com\r\nSubject: stored\r\n\r\nhello\r\n"
IDENTITY = b"Message-ID: <journal@example.com>\r\n"


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    directory: Path = tmp_path_factory.mktemp("journal")
    options = {"submit": {"journal": str(directory / "journal"), "sent-mailbox": "Sent"}}
    with running_proxy(directory, dovecot.port, postfix.port, options) as running:
        yield running


@pytest.fixture
def fred(dovecot: Dovecot, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(dovecot, postfix, proxy) as user:
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
    assert len(fred.all_of("Sent")) == 2


def test_a_user_who_logs_in_in_other_letters_is_the_same(fred: Correspondent, postfix: Postfix, proxy: Proxy) -> None:
    """To Dovecot, as it comes: the second try finds the same mailboxes, and sends nothing."""
    whole = draft(BEFORE, fields=IDENTITY)
    assert fred.client.submit(whole) == "OK SUBMIT completed"
    for name in (fred.user.upper(), fred.user.title()):
        with logged_in(proxy.port, name) as client:
            assert re.fullmatch(SENT_EARLIER, client.submit(whole))
            assert client.submit(whole.replace(b"journal@", b"%b@" % name.encode())) == "OK SUBMIT completed"
    assert [set(postfix.take(1)) for _ in range(3)] == [{"joe@example.com"}] * 3
    assert len(fred.all_of("Sent")) == 3
