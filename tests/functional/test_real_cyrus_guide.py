"""The guide for Cyrus and Exim, done as it is written: with Debian's Cyrus and Exim, and mail clients."""

import re
import smtplib
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.functional.certificates import Pair, authority
from tests.functional.clients import RecordingClient, curl
from tests.functional.cyrus_guide import lay_out_cyrus, lay_out_exim, running_cyrus, running_exim
from tests.functional.dovecot import PASSWORD
from tests.functional.drafts import BEFORE, draft, reference
from tests.functional.guide import (
    WORLD,
    Block,
    Machine,
    blocks,
    open_to_servers,
    port_numbers,
    run,
    running_imapproxy,
    under,
)
from tests.functional.lmtp_sink import LmtpSink, running_lmtp_sink
from tests.functional.mail_host import DRAFT, TO_THE_WORLD, MailHost, certificate_for, install
from tests.functional.packages import require
from tests.functional.process import public_directory
from tests.functional.scripted import eventually
from tests.functional.secured import FAR_AWAY
from tests.functional.unpacked import Unpacked

FIRST, GUIDE = "dovecot-and-postfix.md", "cyrus-and-exim.md"
FROM_FRED = b"From: Fred <fred@example.com>\r\n"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return authority(tmp_path_factory.mktemp("ca"), "ca")


@pytest.fixture(scope="module")
def sink() -> Iterator[LmtpSink]:
    with running_lmtp_sink() as running:
        yield running


@pytest.fixture(scope="module")
def host(ca: Pair, sink: LmtpSink, programs: Unpacked) -> Iterator[MailHost]:
    with public_directory("imapproxy-guide-") as directory:
        machine = Machine(directory, "127.0.0.1", port_numbers())
        lay_out_cyrus(machine, programs)
        lay_out_exim(machine, programs)
        install(machine, certificate_for(machine, ca, "first"))
        machine.add(blocks(GUIDE))
        open_to_servers(machine.root)
        with (
            running_cyrus(machine, programs, machine.ports[943]),
            running_exim(machine, programs, sink),
            running_imapproxy(machine) as proxy,
        ):
            yield MailHost(machine, proxy, ca.cert)


def commands(guide: str, heading: str) -> list[Block]:
    """Return what is to be typed, and programs."""
    return [block for block in under(blocks(guide), heading) if not block.file.startswith("/")]


def test_configuration_is_good(host: MailHost) -> None:
    [check] = commands(GUIDE, "Configure imapproxy")
    run(host.machine, check.text, host.ca)


def test_what_is_to_be_tried(host: MailHost) -> None:
    """Read with curl, send over port 993; then Joe has the message, and Fred a copy."""
    require("curl")
    [read] = commands(GUIDE, "Try it")
    assert "STATUS INBOX (MESSAGES" in run(host.machine, read.text, host.ca, f"{PASSWORD}\n").replace('"', "")
    _, program, send = commands(FIRST, "Try it")
    (host.machine.root / program.file).write_text(host.machine.typed(program.text))
    assert run(host.machine, send.text, host.ca, f"{PASSWORD}\n").endswith("OK [b'SUBMIT completed']\n")

    with host.client("joe") as joe:
        assert eventually(lambda: joe.select("INBOX")[1] == [b"1"])
    tls = ("--cacert", str(host.ca))
    message = curl(host.tls_port, "joe", "INBOX;MAILINDEX=1", *tls, scheme="imaps")
    assert b"Subject: by the same connection\r\n" in message
    assert message.endswith(b"\r\n\r\nHello Joe.\r\n")
    assert b"Hello Joe." in curl(host.tls_port, "fred", "INBOX.Sent;MAILINDEX=1", *tls, scheme="imaps")
    assert re.search(r'submission .*user=fred .*sent=filed reply="250 OK id=', host.proxy.log()), host.proxy.log()


def test_password_in_plain_text_is_refused(host: MailHost) -> None:
    client = RecordingClient(host.machine.ports[143], source=FAR_AWAY)
    with pytest.raises(RecordingClient.error, match="PRIVACYREQUIRED"):
        client.login("fred", PASSWORD)


def test_mail_leaves_for_the_world(host: MailHost, sink: LmtpSink) -> None:
    """As its user's, once, and to an address that is not ASCII."""
    with host.client() as client:
        assert client.submit(TO_THE_WORLD) == "OK SUBMIT completed"
        assert client.submit(TO_THE_WORLD).startswith("OK SUBMIT completed (accepted earlier, at ")
        assert client.submit(DRAFT.replace(b"fred@", b"joe@") % b"joe@example.com").startswith("NO 5.7.")
        assert client.submit(DRAFT % f"jörg@{WORLD}".encode()) == "OK SUBMIT completed"
    first, second = sink.take(), sink.take()
    assert (first.sender, second.recipient) == ("fred@example.com", f"jörg@{WORLD}")
    assert f"Received: from [{FAR_AWAY}]".encode() in first.content


def test_reference_is_followed(host: MailHost, sink: LmtpSink) -> None:
    stored = DRAFT % b"fred@example.com"
    with host.client() as client:
        uid = client.store_message("INBOX", stored)
        message = draft(BEFORE, reference(f"/INBOX/;UID={uid}"), fields=FROM_FRED)
        answer = client.submit(message.replace(b"To: joe@example.com", f"To: someone@{WORLD}".encode()))
        assert answer == "OK SUBMIT completed"
        assert stored in sink.take().content
        client.select("INBOX.Sent", readonly=True)
        _, (found,) = client.uid("SEARCH", "TEXT", '"See what is attached"')
        assert found


def test_unknown_recipient_comes_back_as_a_bounce(host: MailHost) -> None:
    with host.client() as client:
        assert client.submit(DRAFT % b"unknown@example.com") == "OK SUBMIT completed"

        def has_bounce() -> bool:
            client.select("INBOX")
            _, (found,) = client.uid("SEARCH", "FROM", "mailer-daemon")
            return bool(found)

        assert eventually(has_bounce)


def test_exim_takes_what_imapproxy_may_bring(host: MailHost) -> None:
    """Connections, octets, and addresses that are not ASCII."""
    with ExitStack() as stack:
        for _ in range(40):
            exim = stack.enter_context(smtplib.SMTP(host.machine.address, host.machine.ports[25], "localhost"))
            exim.ehlo()
            assert int(exim.esmtp_features["size"]) == 100 << 20
            assert {"8bitmime", "smtputf8"} <= exim.esmtp_features.keys()
