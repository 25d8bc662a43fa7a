"""Limits of the running program: each is answered clearly, logged once, and counts for all workers together."""

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from imapproxy.net.ledger import FIRST_DELAY, FREE_FAILURES
from tests.functional.certificates import make_certificates
from tests.functional.fake_imap import GREETING, REWRITTEN_GREETING, FakeImap, Listener, Peer, connect, well_behaved
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.proxy_process import Options, Proxy, running_proxy
from tests.functional.scripted import DRAFT, Theatre, eventually, theatre

TOO_MANY = b"* BYE Too many clients; try again later\r\n"
TOO_MANY_OF_ADDRESS = b"* BYE Too many clients from your address; try again later\r\n"
WORKERS = 3


def options(**listen: str) -> Options:
    return {"listen": {"listen": "127.0.0.1:0", "workers": str(WORKERS), **listen}}


@pytest.fixture(scope="module")
def imap() -> Iterator[FakeImap]:
    with FakeImap(well_behaved) as imap:
        yield imap


@pytest.fixture(scope="module")
def smtp() -> Iterator[FakeSmtp]:
    with FakeSmtp() as smtp:
        yield smtp


def is_greeted(proxy: Proxy) -> bool:
    with connect(proxy.port) as client:
        return client.line() == REWRITTEN_GREETING


def test_max_clients_counts_for_all_workers(tmp_path: Path, imap: FakeImap, smtp: FakeSmtp) -> None:
    allowed = 2 * WORKERS
    with (
        running_proxy(tmp_path, imap.port, smtp.port, options(**{"max-clients": str(allowed)})) as proxy,
        ExitStack() as clients,
    ):
        for _ in range(allowed):
            clients.enter_context(connect(proxy.port)).expect(REWRITTEN_GREETING)
        for _ in range(2 * WORKERS):  # whichever worker takes them
            with connect(proxy.port) as one_more:
                assert one_more.rest() == TOO_MANY
        assert proxy.log().count("client-turned-away client=127.0.0.1 reason=max-clients\n") == 2 * WORKERS
        clients.close()
        assert eventually(lambda: is_greeted(proxy))


def test_max_clients_per_ip_leaves_room_for_others(tmp_path: Path, imap: FakeImap, smtp: FakeSmtp) -> None:
    wanted = options(**{"listen": "127.0.0.1:0", "max-clients-per-ip": "2"})
    with running_proxy(tmp_path, imap.port, smtp.port, wanted) as proxy, ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(connect(proxy.port)).expect(REWRITTEN_GREETING)
        with connect(proxy.port) as third:
            assert third.rest() == TOO_MANY_OF_ADDRESS
        assert proxy.log().count("client-turned-away client=127.0.0.1 reason=max-clients-per-ip\n") == 1
        clients.close()
        assert eventually(lambda: is_greeted(proxy))


def test_behind_a_proxy_it_is_the_clients_own_address_that_counts(
    tmp_path: Path, imap: FakeImap, smtp: FakeSmtp
) -> None:
    wanted = options(**{"max-clients-per-ip": "1", "proxy-protocol-from": "127.0.0.0/8"})
    with running_proxy(tmp_path, imap.port, smtp.port, wanted) as proxy, ExitStack() as clients:

        def come(address: bytes) -> Peer:
            client = clients.enter_context(connect(proxy.port))
            client.send(b"PROXY TCP4 %b 198.51.100.1 40000 143\r\n" % address)
            return client

        come(b"203.0.113.1").expect(REWRITTEN_GREETING)
        come(b"203.0.113.2").expect(REWRITTEN_GREETING)
        assert come(b"203.0.113.1").rest() == TOO_MANY_OF_ADDRESS
        assert "client-turned-away client=203.0.113.1 reason=max-clients-per-ip\n" in proxy.log()
        with connect(proxy.port) as without_header:
            without_header.send(b"a LOGIN fred sesame\r\n")
            assert without_header.rest() == b""
        assert 'proxy-header-refused client=127.0.0.1 reason="no PROXY header"\n' in proxy.log()
        with connect(proxy.port) as check:  # as HAProxy sees whether we are there
            check.end_output()
            assert check.rest() == b""
        assert proxy.log().count("proxy-header-refused") == 1


def test_one_too_many_is_told_in_tls(tmp_path: Path, imap: FakeImap, smtp: FakeSmtp) -> None:
    certificates = make_certificates(tmp_path)
    wanted = options(
        **{"listen-tls": "127.0.0.1:0", "max-clients": "1"},
        **{"tls-cert": str(certificates.cert), "tls-key": str(certificates.key)},
    )
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with running_proxy(tmp_path, imap.port, smtp.port, wanted) as proxy, connect(proxy.tls_port) as first:
        first.begin_tls(context, "localhost")
        first.line()
        with connect(proxy.tls_port) as second:
            second.begin_tls(context, "localhost")
            assert second.rest() == TOO_MANY
        with connect(proxy.port) as third:
            assert third.rest() == TOO_MANY


@pytest.fixture
def strict_house(tmp_path: Path) -> Iterator[Theatre]:
    wanted = {**options(), "submit": {"mail-domain": "example.com", "max-submissions-per-hour": "2"}}
    with theatre(tmp_path, wanted) as house:
        yield house


def test_submissions_of_a_user_are_counted_over_sessions_and_workers(strict_house: Theatre) -> None:
    answers = [strict_house.submit(DRAFT) for _ in range(4)]
    refused = b"NO 4.7.1 too many submissions; try again later,"
    assert answers == [b"OK SUBMIT completed"] * 2 + [refused] * 2
    assert len(strict_house.smtp.messages) == 2
    assert strict_house.proxy.log().count("submission-refused user=fred") == 2
    with strict_house.scene() as stage:
        stage.log_in(user=b"ann")
        assert stage.submit(DRAFT.replace(b"fred@", b"ann@")) == b"OK SUBMIT completed"


def test_a_user_has_one_limit_and_one_journal_however_the_name_is_written(tmp_path: Path) -> None:
    """Cyrus, and Dovecot by default, take ALICE for alice."""
    rules = {"max-submissions-per-hour": "2", "journal": str(tmp_path / "journal")}
    spellings = (b"alice", b"ALICE", b"Alice", b"aLiCe")
    drafts = [DRAFT.replace(b"fred@", b"alice@").replace(b"<1@", b"<%d@" % number) for number in range(3)]
    with theatre(tmp_path, {**options(), "submit": {"mail-domain": "example.com", **rules}}) as house:

        def submit(user: bytes, draft: bytes) -> bytes:
            with house.scene() as stage:
                stage.log_in(user)
                return stage.submit(draft)

        answers = [submit(user, draft) for user in spellings for draft in drafts]
        log = house.proxy.log()
    refused = b"NO 4.7.1 too many submissions; try again later,"
    assert answers[:3] == [b"OK SUBMIT completed", b"OK SUBMIT completed", refused]
    for first, second, third in (answers[3:6], answers[6:9], answers[9:12]):
        assert all(answer.startswith(b"OK SUBMIT completed (accepted earlier, at ") for answer in (first, second))
        assert third == refused
    assert len(house.smtp.messages) == 2
    assert log.count("login user=alice client=127.0.0.1 mechanism=LOGIN\n") == 3
    assert log.count("login user=alice client=127.0.0.1 mechanism=LOGIN written=ALICE\n") == 3
    assert log.count("submission-repeated user=alice ") == 6


def test_failed_logins_of_an_address_make_it_wait(tmp_path: Path) -> None:
    with Listener() as imap, FakeSmtp() as smtp, running_proxy(tmp_path, imap.port, smtp.port, options()) as proxy:
        house = Theatre(proxy, imap, smtp)
        for _ in range(FREE_FAILURES):
            with house.scene() as stage:
                stage.server.send(GREETING)
                stage.client.expect(REWRITTEN_GREETING)
                refuse(stage.client, stage.server)
        with house.scene() as stage:
            stage.server.send(GREETING)
            stage.client.expect(REWRITTEN_GREETING)
            refuse(stage.client, stage.server)
            refused = monotonic()
            refuse(stage.client, stage.server)
            assert monotonic() - refused >= FIRST_DELAY * 0.9
        log = proxy.log()
    assert log.count(" login-refused user=fred client=127.0.0.1 mechanism=LOGIN\n") == FREE_FAILURES
    assert log.count(f" login-refused user=fred client=127.0.0.1 mechanism=LOGIN wait={FIRST_DELAY}\n") == 1


def refuse(client: Peer, server: Peer) -> None:
    client.send(b"a LOGIN fred guess\r\n")
    server.expect(b"a LOGIN fred guess\r\n")
    server.send(b"a NO wrong\r\n")
    client.expect(b"a NO wrong\r\n")
