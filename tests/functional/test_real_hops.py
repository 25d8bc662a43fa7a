"""STARTTLS to Cyrus, Courier and Exim, COMPRESS before them; Dovecot and Postfix have tests of their own for both."""

from collections.abc import Iterator

import pytest

from tests.functional.certificates import Certificates
from tests.functional.clients import RecordingClient
from tests.functional.delivered import seen, without_trace
from tests.functional.dovecot import PASSWORD
from tests.functional.drafts import forward
from tests.functional.exim import Exim
from tests.functional.imap_servers import RealImapServer
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.samples import HEADER, ODD_MESSAGES
from tests.functional.secured import trusting

STORED = HEADER + ODD_MESSAGES["multipart"]


@pytest.fixture(scope="module", params=["cyrus", "courier"])
def server(request: pytest.FixtureRequest) -> RealImapServer:
    running: RealImapServer = request.getfixturevalue(request.param)
    return running


@pytest.fixture(scope="module")
def proxy(
    server: RealImapServer, exim: Exim, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    options = {
        "listen": {"listen": "127.0.0.1:0", "tls-cert": str(certificates.both)},
        "imap": {"imap-tls": "starttls", "imap-tls-ca": str(certificates.ca)},
        "smtp": {"smtp-tls": "starttls", "smtp-tls-ca": str(certificates.ca)},
        "submit": {"sent-mailbox": f"{server.prefix}Sent"},
    }
    with running_proxy(tmp_path_factory.mktemp("hops"), server.port, exim.starttls_port, options) as running:
        yield running


def test_compressed_forward_through_tls(
    server: RealImapServer, exim: Exim, proxy: Proxy, certificates: Certificates
) -> None:
    """The client's hop is encrypted and compressed, too, and what the server offers of both is not offered to it."""
    user = server.new_user()
    with RecordingClient(proxy.port) as client:
        client.starttls(trusting(certificates.ca))
        assert "STARTTLS" not in client.capabilities
        client.login(user, PASSWORD)
        client.begin_compression()
        uid = client.store_message("INBOX", STORED)
        assert client.submit(forward(f"/INBOX/;UID={uid}")) == "OK SUBMIT completed"
        client.select(f"{server.prefix}Sent", readonly=True)
        _, data = client.fetch("1", "(BODY.PEEK[])")
    arrival = exim.take(1)["joe@example.com"].content
    assert isinstance(data[0], tuple)
    assert without_trace(arrival) == without_trace(data[0][1])
    assert seen(without_trace(arrival)).parts[1].body == STORED
    assert b"with esmtps" in arrival
