"""The measure `forward`, between real servers, with small attachments."""

import os
from collections.abc import Iterator

import pytest

from bench.attachment import attachment, original
from bench.forward import MEBIBYTE, SMALL, Cell, Filed, MailHost, by_reference, classic, forwarders, mail_host
from bench.proxies import IMAPPROXY, IMAPPROXY_COMMAND, program
from tests.functional.dovecot import PROGRAM
from tests.functional.packages import is_root, require
from tests.functional.postfix import MASTER

PROCESSORS = frozenset(os.sched_getaffinity(0))
TWO = Cell(1, 2)
ONE = Cell(1, 1)


@pytest.fixture(scope="module")
def host() -> Iterator[MailHost]:
    require(PROGRAM, MASTER, *(() if is_root() else ("fakeroot",)))
    with mail_host([SMALL, MEBIBYTE]) as host:
        yield host


def test_the_classic_way_costs_the_attachment_three_times(host: MailHost) -> None:
    values = classic(host, ONE, PROCESSORS)
    assert set(values) == {"forward-1x1", "forward-1x1-sent", "forward-1x1-received"}
    encoded = 1024 * 78 / 57
    assert 2 * encoded < values["forward-1x1-sent"] < 2 * encoded + 10
    assert encoded < values["forward-1x1-received"] < encoded + 10


def test_forwarding_by_reference_costs_next_to_nothing(host: MailHost) -> None:
    values = by_reference(program(IMAPPROXY, IMAPPROXY_COMMAND), host, ONE, PROCESSORS)
    assert set(values) == {f"forward-1x1{figure}" for figure in ("", "-memory", "-sent", "-received")}
    assert values["forward-1x1-sent"] < 2
    assert values["forward-1x1-received"] < 2


def test_several_at_once(host: MailHost) -> None:
    assert set(classic(host, TWO, PROCESSORS)) == {"forward-1x2"}
    values = by_reference(program(IMAPPROXY, IMAPPROXY_COMMAND), host, TWO, PROCESSORS)
    assert set(values) == {"forward-1x2", "forward-1x2-memory"}


def test_a_digest_that_is_not_the_originals_ends_the_measure(host: MailHost) -> None:
    with (
        forwarders("classic", host.upstream.port, host, 1) as forward,
        pytest.raises(OSError, match=r"the recipient should have got 1 x beef"),
    ):
        forward(Filed(host.filed[SMALL].uid, "beef"))
    assert host.take_sent() == []


@pytest.mark.parametrize(("flags", "what"), [("(\\Seen)", "[0-9a-f]{64}"), ("()", "an unseen copy")])
def test_another_copy_in_sent_ends_the_measure(host: MailHost, flags: str, what: str) -> None:
    with host.session() as imap:
        imap.command(f"APPEND Sent {flags}", original(attachment(1)))
    with (
        forwarders("classic", host.upstream.port, host, 1) as forward,
        pytest.raises(OSError, match=rf"Sent should have got 1 x .*'{what}'"),
    ):
        forward(host.filed[SMALL])


def test_a_message_that_is_not_there_ends_the_measure(host: MailHost) -> None:
    with forwarders("classic", host.upstream.port, host, 1) as forward, pytest.raises(OSError, match="failed"):
        forward(Filed(4_000_000_000, host.filed[SMALL].digest))
