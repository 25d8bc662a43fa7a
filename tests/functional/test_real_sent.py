"""The copy in Sent (DESIGN 4.3) on each IMAP server; and the point of it all, a large forward at nearly no cost."""

import base64
import hashlib
import random
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.functional.delivered import Seen, seen, without_trace
from tests.functional.dovecot import SENT, SENT_ON_THE_WIRE, Dovecot
from tests.functional.drafts import BEFORE, ENVELOPE, draft, forward, reference
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.imap_servers import DOVECOT, ImapServer, RealImapServer
from tests.functional.mail_tree import leaf, multipart
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.scripted import pid_of, status_number

MIB = 1 << 20

NOTE = leaf("text/plain; charset=utf-8", "Grüße\r\n".encode(), b"Content-Transfer-Encoding: 8bit\r\n")
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
PDF = leaf("application/pdf", b"JVBERi0xLjQK\r\n" * 300, BASE64)
MESSAGE = multipart(b"=_stored", NOTE, PDF).headed(b"Subject: stored\r\nMIME-Version: 1.0\r\n")
BCC = b"Bcc: Ann <ann@example.com>\r\n"


@pytest.fixture(scope="module")
def named(
    imap: RealImapServer, sent: str, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    options = {"submit": {"sent-mailbox": sent}}
    with running_proxy(tmp_path_factory.mktemp("named"), imap.port, postfix.port, options) as running:
        yield running


@pytest.fixture(scope="module")
def sent(imap: RealImapServer, imap_row: ImapServer) -> str:
    """Return the name that the administrator gives."""
    return f"{imap.prefix}{imap_row.odd_name}"


@pytest.fixture(scope="module")
def sent_on_the_wire(sent: str) -> str:
    """Return it in modified UTF-7, quoted."""
    quoted = sent.replace('"', r"\"").replace("&", "&-").replace("ä", "&AOQ-")
    return f'"{quoted}"'


@pytest.fixture(scope="module")
def automatic(dovecot: Dovecot, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    options = {"submit": {"sent-mailbox": "auto"}}
    with running_proxy(tmp_path_factory.mktemp("auto"), dovecot.port, postfix.port, options) as running:
        yield running


@pytest.fixture
def fred(imap: RealImapServer, postfix: Postfix, named: Proxy) -> Iterator[Correspondent]:
    with correspondent(imap, postfix, named) as user:
        yield user


@pytest.fixture
def ann(dovecot: Dovecot, postfix: Postfix, automatic: Proxy) -> Iterator[Correspondent]:
    with correspondent(dovecot, postfix, automatic) as user:
        yield user


def flags(user: Correspondent, mailbox: str) -> bytes:
    user.direct.select(mailbox, readonly=True)
    _, data = user.direct.fetch("1:*", "(FLAGS)")
    return b"".join(item for item in data if isinstance(item, bytes))


@pytest.mark.parametrize("kind", ["forward", "draft on the server", "plain"])
def test_copy_is_what_was_sent_with_bcc(
    fred: Correspondent, sent_on_the_wire: str, postfix: Postfix, kind: str
) -> None:
    """Octet for octet, trace field and new boundary included; the mailbox is made for the first."""
    uid = fred.store(MESSAGE.octets)
    whole = {
        "forward": forward(f"/INBOX/;UID={uid}", fields=BCC),
        "draft on the server": ENVELOPE + BCC + reference(f"/INBOX/;UID={uid}"),
        "plain": draft(BEFORE, fields=BCC),
    }[kind]
    for number in range(2):
        assert fred.client.submit(whole) == "OK SUBMIT completed"
        arrivals = postfix.take(2)
        assert set(arrivals) == {"joe@example.com", "ann@example.com"}
        copies = fred.all_of(sent_on_the_wire)
        assert len(copies) == number + 1
        assert copies[-1].count(BCC) == 1
        assert re.search(rb"(?m)^Received: from \[127\.0\.0\.1\]\r\n\tby [^ \r]+ with IMAP", copies[-1])
        for arrival in arrivals.values():
            assert arrival.content.endswith(copies[-1].replace(BCC, b""))
    assert flags(fred, sent_on_the_wire).count(rb"\Seen") == 2
    assert any(isinstance(line, bytes) and line.endswith(sent_on_the_wire.encode()) for line in fred.direct.lsub()[1])


def test_mailbox_that_is_there(fred: Correspondent, sent_on_the_wire: str) -> None:
    fred.direct.create(sent_on_the_wire)
    fred.store(MESSAGE.octets, sent_on_the_wire)
    fred.send(ENVELOPE + b"\r\nHello\r\n")
    assert len(fred.all_of(sent_on_the_wire)) == 2


def test_what_is_refused_is_not_filed(fred: Correspondent, sent_on_the_wire: str) -> None:
    refused = ENVELOPE.replace(b"joe@", b"unknown@") + b"\r\nHello\r\n"
    assert fred.client.submit(refused) == "NO ,unknown@example.com"
    assert fred.client.submit(forward("/INBOX/;UID=99")).startswith("NO 5.6.6 ")
    status, _ = fred.direct.select(sent_on_the_wire, readonly=True)
    assert status == "NO"


def test_forward_of_what_is_in_sent(fred: Correspondent, sent: str, sent_on_the_wire: str) -> None:
    """The mailbox that is read is the one that is written."""
    fred.send(ENVELOPE + b"\r\nHello\r\n")
    included = fred.forward(forward(f"/{quote(sent)}/;UID=1")).parts[1]
    first, second = fred.all_of(sent_on_the_wire)
    assert included.body == first
    assert seen(second).parts[1].body == first


def test_automatic_mailbox(ann: Correspondent) -> None:
    """The one with \\Sent, whatever its name."""
    assert SENT not in SENT_ON_THE_WIRE
    ann.direct.create(SENT_ON_THE_WIRE)
    ann.direct.create("Sent")
    sent = ann.send(forward(f"/INBOX/;UID={ann.store(MESSAGE.octets)}"))
    (copy,) = ann.all_of(SENT_ON_THE_WIRE)
    assert without_trace(copy) == sent
    assert rb"\Seen" in flags(ann, SENT_ON_THE_WIRE)
    ann.direct.select("Sent", readonly=True)
    assert ann.direct.untagged_responses["EXISTS"] == [b"0"]


def test_automatic_mailbox_before_there_is_one(ann: Correspondent) -> None:
    """It is `Sent`, and is made."""
    sent = ann.send(ENVELOPE + b"\r\nHello\r\n")
    assert [without_trace(copy) for copy in ann.all_of("Sent")] == [sent]


def test_mailbox_that_cannot_be_written(ann: Correspondent, dovecot: Dovecot) -> None:
    """What Dovecot says is passed on; what was sent stays sent."""
    ann.direct.create(SENT_ON_THE_WIRE)
    directory = dovecot.maildir(ann.user) / ".Verschickte Entw&APw-rfe" / "tmp"
    directory.chmod(0o500)
    answer = ann.client.submit(ENVELOPE + b"\r\nHello\r\n")
    directory.chmod(0o700)
    assert re.fullmatch(r"OK SUBMIT completed; no copy in Sent \([ -~]+\)", answer), answer
    assert ann.arrival().endswith(b"Hello\r\n")
    assert ann.all_of("INBOX") == []


def test_session_notices_only_the_copy(fred: Correspondent, sent_on_the_wire: str) -> None:
    """In Sent itself it is new mail like any other; the selected mailbox stays selected."""
    fred.direct.create(sent_on_the_wire)
    fred.client.select(sent_on_the_wire)
    fred.client.heard()
    assert fred.client.submit(ENVELOPE + b"\r\nHello\r\n") == "OK SUBMIT completed"
    fred.arrival()
    fred.client.noop()
    assert fred.client.untagged_responses.get("EXISTS", [b""])[-1] == b"1"
    assert fred.client.state == "SELECTED"


# The point of it all; Dovecot shows that memory does not grow with the size


def test_megabytes_for_two_kibibytes(
    imap: RealImapServer, imap_row: ImapServer, postfix: Postfix, tmp_path: Path
) -> None:
    """The same digest at joe's and in Sent; the proxy's memory rises by less than 16 MiB."""
    content = random.Random(3).randbytes((50 if imap_row is DOVECOT else 20) * MIB)
    digest = hashlib.sha256(content).digest()
    attachment = leaf("application/x-large", base64.encodebytes(content).replace(b"\n", b"\r\n"), BASE64)
    message = multipart(b"=_stored", NOTE, attachment).headed(b"Subject: stored\r\nMIME-Version: 1.0\r\n")
    options = {"submit": {"sent-mailbox": f"{imap.prefix}Sent"}}
    with (
        running_proxy(tmp_path, imap.port, postfix.large_port, options) as proxy,
        correspondent(imap, postfix, proxy) as user,
    ):
        small, large = user.store(MESSAGE.octets), user.store(message.octets)
        user.forward(forward(f"/INBOX/;UID={small}"))  # what is imported or allocated at first use is there now
        before, sent_before = status_number(pid_of(proxy), "VmHWM"), user.client.sent
        arrived = user.forward(forward(f"/INBOX/;UID={large}/;SECTION=2"))
        assert user.client.sent - sent_before < 2048
        assert (status_number(pid_of(proxy), "VmHWM") - before) < 16 * 1024
        assert digest_of(arrived.parts[1]) == digest
        del arrived
        assert digest_of(seen(user.all_of(user.mailbox("Sent"))[-1]).parts[1]) == digest


def digest_of(part: Seen) -> bytes:
    return hashlib.sha256(base64.b64decode(part.body)).digest()
