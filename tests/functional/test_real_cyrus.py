"""Cyrus, as Debian sets it up: a user's mailboxes lie below INBOX, and none is marked \\Sent."""

from collections.abc import Iterator

import pytest

from tests.functional.cyrus import Cyrus
from tests.functional.drafts import forward
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.mail_tree import leaf
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

STORED = leaf("text/plain", b"Hello\r\n").headed(b"Subject: stored\r\n")


@pytest.fixture(scope="module")
def proxy(cyrus: Cyrus, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    options = {"submit": {"sent-mailbox": "INBOX.Sent"}}
    with running_proxy(tmp_path_factory.mktemp("cyrus"), cyrus.port, postfix.port, options) as running:
        yield running


@pytest.fixture
def fred(cyrus: Cyrus, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(cyrus, postfix, proxy) as user:
        yield user


def test_forward_of_a_stored_message(fred: Correspondent) -> None:
    uid = fred.store(STORED.octets)
    assert fred.forward(forward(f"/INBOX/;UID={uid}")).parts[1].body == STORED.octets
    assert len(fred.all_of("INBOX.Sent")) == 1
