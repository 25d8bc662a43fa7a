"""A client's ID (RFC 2971) on every real IMAP server, where the proxy has told by ID before who the client is."""

import re
from collections.abc import Iterator

import pytest

from tests.functional.clients import RecordingClient
from tests.functional.dovecot import PASSWORD
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.imap_servers import RealImapServer
from tests.functional.proxy_process import Proxy, running_proxy

ANSWER = re.compile(rb"(?m)^\* ID .*\r\n")


@pytest.fixture(scope="module")
def proxy(imap: RealImapServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    options = {"imap": {"imap-send-client-ip": "id"}}
    with (
        FakeSmtp() as smtp,
        running_proxy(tmp_path_factory.mktemp("id"), imap.port, smtp.port, options) as running,
    ):
        yield running


def answers(port: int, user: str, arguments: str) -> list[tuple[list[bytes], str]]:
    """Say ID twice before login, and once after it; return the answers' data, and the status of each."""
    client = RecordingClient(port)
    try:
        found = [answered(client, arguments), answered(client, arguments)]
        client.login(user, PASSWORD)
        return [*found, answered(client, arguments)]
    finally:
        client.logout()


def answered(client: RecordingClient, arguments: str) -> tuple[list[bytes], str]:
    client.heard()
    try:
        status, _ = client.xatom("ID", arguments)
    except client.error:  # Courier knows no ID
        status = "BAD"
    return ANSWER.findall(client.heard()), status


@pytest.mark.parametrize(
    "arguments", ['("name" "m" "version" "1")', "NIL", '("name" "m" "x-originating-ip" "192.0.2.1")']
)
def test_clients_id_is_answered_as_without_the_proxy(imap: RealImapServer, proxy: Proxy, arguments: str) -> None:
    """Cyrus answers one ID before login, and that was the proxy's: the client sees the answer all the same."""
    user = imap.new_user()
    first, _, after_login = direct = answers(imap.port, user, arguments)
    assert answers(proxy.port, user, arguments) == [first, first, after_login], direct
