"""The copy in Sent (DESIGN 4.3), filed by a server that does as it is told; and what capabilities are announced."""

import re
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from time import monotonic

import pytest

from tests.functional.drafts import draft, forward
from tests.functional.fake_imap import Peer
from tests.functional.fake_mailboxes import Deviation, closes, floods, halves, instead, no, resets
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, Script
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import leaf
from tests.functional.proxy_process import Options
from tests.functional.scripted import DRAFT, theatre

MIB = 1 << 20
LINES = b"".join(b"%062d\r\n" % number for number in range(2 * MIB // 64))
STORED = leaf("text/plain", LINES).headed(b"Subject: stored\r\n")
MAILBOXES = {b"INBOX": {20: STORED}}
FROM = b"From: fred@example.com\r\n"
BCC = b"Bcc: Ann <ann@example.com>,\r\n secret@example.com\r\n"
PLAIN = draft(b"\r\nHello", fields=FROM + BCC)
FORWARD = forward("/INBOX/;UID=20", fields=FROM + BCC)

ACCEPTED = "250 2.0.0 ok: queued as FAKE1"
REMARK = re.compile(r"OK SUBMIT completed; no copy in Sent \([ -~]{1,500}\)")


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    options: Options = {"submit": {"sent-mailbox": "Gesendet & fort ü"}}
    with post_office(tmp_path_factory.mktemp("named"), MAILBOXES, options) as office:
        yield office


@pytest.fixture(scope="module")
def automatic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("auto"), MAILBOXES, {"submit": {"sent-mailbox": "auto"}}) as office:
        yield office


@pytest.fixture
def office(named: PostOffice) -> Iterator[PostOffice]:
    with named.performance():
        yield named


@pytest.fixture
def auto(automatic: PostOffice) -> Iterator[PostOffice]:
    with automatic.performance():
        automatic.imap.capabilities += b" SPECIAL-USE"
        yield automatic


WIRE_NAME = b"Gesendet &- fort &APw-"


@pytest.mark.parametrize("whole", [PLAIN, FORWARD], ids=["plain", "forward"])
def test_copy_is_what_was_sent_with_bcc(office: PostOffice, whole: bytes) -> None:
    assert office.submit(whole) == "OK SUBMIT completed"
    (copy,) = office.imap.appended
    assert copy.mailbox == WIRE_NAME
    assert copy.flags.lower() == rb"\seen"
    assert copy.octets.count(BCC) == 1
    assert copy.octets.replace(BCC, b"") == office.received().content
    assert [recipient[9:-1] for recipient in office.received().recipients] == [
        *("joe@example.com", "ann@example.com", "secret@example.com"),
    ]


def test_copy_is_made_after_acceptance_only(office: PostOffice) -> None:
    for step in ("RCPT", "DATA", "."):
        usual = office.smtp.script[step]
        office.smtp.script[step] = "550 5.7.1 no"
        assert office.submit(FORWARD).startswith("NO ")
        office.smtp.script[step] = usual
    assert not office.imap.appended
    assert not {"APPEND", "CREATE"} & set(office.imap.names())


def test_reading_and_filing_take_two_connections_at_most(office: PostOffice) -> None:
    assert office.submit(FORWARD) == "OK SUBMIT completed"
    assert office.imap.side_connections <= 2


def test_copy_is_rendered_as_the_message_was(office: PostOffice) -> None:
    """For a server without 8BITMIME too."""
    office.imap.mailboxes[b"INBOX"] = {20: leaf("text/plain; charset=utf-8", "Grüße\r\n".encode() * 1000)}
    office.smtp.script["EHLO"] = "250 fake"
    assert office.submit(FORWARD) == "OK SUBMIT completed"
    (copy,) = office.imap.appended
    assert copy.octets.replace(BCC, b"") == office.received().content


def test_missing_mailbox_is_made(office: PostOffice) -> None:
    office.imap.replies = {"APPEND 1": no(b"[TRYCREATE] no such mailbox")}
    assert office.submit(PLAIN) == "OK SUBMIT completed"
    assert [name for name in office.imap.names() if name in {"APPEND", "CREATE", "SUBSCRIBE"}] == [
        *("APPEND", "CREATE", "SUBSCRIBE", "APPEND"),
    ]
    assert [copy.mailbox for copy in office.imap.appended] == [WIRE_NAME]


def test_missing_mailbox_is_made_once_only(office: PostOffice) -> None:
    office.imap.replies = {"APPEND": no(b"[TRYCREATE] no such mailbox")}
    assert REMARK.fullmatch(office.submit(PLAIN))
    assert office.imap.names().count("CREATE") == 1


def test_subscription_is_a_courtesy(office: PostOffice) -> None:
    office.imap.replies = {"APPEND 1": no(b"[TRYCREATE] no such mailbox"), "SUBSCRIBE": no(b"no")}
    assert office.submit(PLAIN) == "OK SUBMIT completed"
    assert len(office.imap.appended) == 1


# What goes wrong leaves the OK in place, and is said


@pytest.mark.parametrize("whole", [PLAIN, FORWARD], ids=["plain", "forward"])
@pytest.mark.parametrize(
    ("step", "deviation"),
    [
        ("APPEND", no(b"[OVERQUOTA] Quota exceeded (mailbox for user is full)")),
        ("APPEND", no(b"[NOPERM] Permission denied")),
        ("APPEND", no(b"\x1b[2J\xff, {5} " + b"x" * 5000)),
        ("APPEND", instead(b"%b BAD what\r\n")),
        ("APPEND", closes),
        ("APPEND", resets),
        ("APPEND", floods(b"* 1 EXISTS\r\n")),
        ("APPEND", floods(b"x")),
        ("APPENDED", no(b"[OVERQUOTA] Quota exceeded, later than never")),
        ("APPENDED", closes),
        ("APPENDED", resets),
        ("APPENDED", halves),
        ("APPENDED", floods(b"* 1 EXISTS\r\n")),
    ],
)
def test_append_fails(office: PostOffice, whole: bytes, step: str, deviation: Deviation) -> None:
    office.imap.replies = {step: deviation}
    answer = office.submit(whole)
    assert REMARK.fullmatch(answer), answer
    assert len(office.smtp.messages) == 1


@pytest.mark.parametrize("step", ["GREETING", "LOGIN", "CREATE"])
@pytest.mark.parametrize("deviation", [no(b"[UNAVAILABLE] later"), closes], ids=["NO", "closes"])
def test_way_to_append_fails(office: PostOffice, step: str, deviation: Deviation) -> None:
    office.imap.replies = {step: deviation, "APPEND 1": no(b"[TRYCREATE] no such mailbox")}
    if step == "GREETING":
        deviation = instead(b"* BYE too many\r\n") if deviation is not closes else closes
        office.imap.replies[step] = deviation
    answer = office.submit(PLAIN)
    assert REMARK.fullmatch(answer), answer
    assert len(office.smtp.messages) == 1


def test_reading_again_for_the_copy_fails(office: PostOffice) -> None:
    """The window that the SMTP server got, and the copy does not: no truncated copy is filed."""
    assert office.submit(FORWARD) == "OK SUBMIT completed"
    fetches = office.imap.names().count("UID FETCH")
    office.smtp.messages.clear()
    office.imap.appended.clear()
    office.imap.replies = {f"FETCH {fetches - 1}": halves}
    answer = office.submit(FORWARD)
    assert REMARK.fullmatch(answer), answer
    assert not office.imap.appended
    assert len(office.smtp.messages) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with theatre(tmp_path, {"submit": {"sent-mailbox": "Sent"}}) as house, house.fred() as stage:
        house.imap.refuse()
        answer = stage.submit(DRAFT).decode()
        assert REMARK.fullmatch(answer), answer
        assert len(house.smtp.messages) == 1


def test_failure_in_the_log(office: PostOffice) -> None:
    office.imap.replies = {"APPEND": no(b"[OVERQUOTA] Quota\x1b[2J exceeded")}
    since = len(office.proxy.log())
    assert REMARK.fullmatch(office.submit(PLAIN))
    lines = office.proxy.log()[since:].splitlines()
    # The session of the test before may end only now.
    submission, failure = (line for line in lines if " login " not in line and " disconnect " not in line)
    assert " submission user=fred " in submission
    assert " sent=failed " in submission
    assert " sent-copy-failed user=fred " in failure
    assert 'reason="Quota' in failure
    assert failure.isprintable()


# Goodbyes, which change nothing any more


def stalls(peer: Peer, _: bytes, __: bytes) -> None:
    """Say nothing, and stay."""
    peer.rest()
    raise EOFError


def drips(line: bytes) -> Deviation:
    """Say this again and again, slowly, until the client goes."""

    def act(peer: Peer, _: bytes, __: bytes) -> None:
        while not peer.ended_within(0.1):
            peer.send(line)
        raise EOFError

    return act


GOODBYE_PATIENCE = 10.0  # seconds: for three goodbyes of one each, on a busy machine


def assert_ok_in_time(office: PostOffice, whole: bytes) -> None:
    """Check that the client hears OK soon, that its session goes on, and that there is one message and one copy."""
    with office.client() as client:
        began = monotonic()
        client.send(b"S SUBMIT {%d+}\r\n%b\r\nN NOOP\r\n" % (len(whole), whole))
        assert client.answer(b"S") == b"OK SUBMIT completed"
        assert monotonic() - began < GOODBYE_PATIENCE
        assert client.answer(b"N").startswith(b"OK")
    assert len(office.smtp.messages) == len(office.imap.appended) == 1


@pytest.mark.parametrize("whole", [PLAIN, FORWARD], ids=["plain", "forward"])
@pytest.mark.parametrize(
    ("step", "act"),
    [
        pytest.param("QUIT", SILENCE, id="silence"),
        pytest.param("QUIT", CLOSE, id="FIN"),
        pytest.param("QUIT", RESET, id="RST"),
        pytest.param("QUIT", cycle([0.1, b"221-more\r\n"]), id="no last line"),
        pytest.param("QUIT", cycle([0.1, b"x"]), id="no line end"),
        pytest.param("QUIT", [b"\xff\0" * 50_000, CLOSE], id="no text"),
        pytest.param("QUIT", "554 5.7.1 I have thought better of it", id="a refusal"),
        pytest.param(".", [ACCEPTED, RESET], id="RST behind the 250"),
        pytest.param(".", [ACCEPTED, CLOSE], id="FIN behind the 250"),
        pytest.param(".", [ACCEPTED, "421 4.3.2 going", SILENCE], id="421 behind the 250"),
    ],
)
def test_a_failing_quit_neither_hides_nor_delays_the_ok(
    office: PostOffice, whole: bytes, step: str, act: Script
) -> None:
    office.smtp.script[step] = act
    assert_ok_in_time(office, whole)


@pytest.mark.parametrize("whole", [PLAIN, FORWARD], ids=["plain", "forward"])
@pytest.mark.parametrize(
    "act",
    [
        pytest.param(stalls, id="silence"),
        pytest.param(closes, id="FIN"),
        pytest.param(resets, id="RST"),
        pytest.param(drips(b"* 1 EXISTS\r\n"), id="untagged lines"),
        pytest.param(drips(b"x"), id="no line end"),
        pytest.param(drips(b"+ go on\r\n"), id="continuations"),
        pytest.param(floods(b"* \xff\0 {3}\r\nabc\r\n"), id="no text"),
        pytest.param(instead(b"* BYE {99999999999}\r\n"), id="a large literal"),
        pytest.param(no(b"[SERVERBUG] you stay"), id="NO"),
    ],
)
def test_a_failing_logout_neither_hides_nor_delays_the_ok(office: PostOffice, whole: bytes, act: Deviation) -> None:
    office.imap.replies = {"LOGOUT": act}
    assert_ok_in_time(office, whole)


# The mailbox that the server calls Sent


@pytest.mark.parametrize(
    ("listing", "mailbox"),
    [
        (b'* LIST (\\HasNoChildren \\Sent) "/" Verschickt\r\n', b"Verschickt"),
        (b'* LIST () "/" INBOX\r\n* LIST (\\sent) "." "R&-D \\"x\\""\r\n', b'R&-D "x"'),
        (b'* LIST () "/" {7}\r\n(\\Sent)\r\n* LIST (\\Sent) NIL {4}\r\nSent\r\n', b"Sent"),
        (b'* LIST (\\Sent) "/" Entw&APw-rfe\r\n* LIST (\\Sent) "/" Second\r\n', b"Entw&APw-rfe"),
        (b"", b"Sent"),
        (b'* LIST () "/" Verschickt\r\n* LIST (\\Drafts) "/" "\\\\Sent"\r\n', b"Sent"),
    ],
)
def test_automatic_mailbox(auto: PostOffice, listing: bytes, mailbox: bytes) -> None:
    auto.imap.listing = listing
    assert auto.submit(FORWARD) == "OK SUBMIT completed"
    assert [copy.mailbox for copy in auto.imap.appended] == [mailbox]


COURIER = b'* NAMESPACE (("INBOX." ".")) NIL (("#shared." ".")("shared." "."))\r\n'


def test_automatic_mailbox_below_inbox(auto: PostOffice) -> None:
    """As on Courier, which marks no mailbox, and has none outside INBOX."""
    auto.imap.capabilities += b" NAMESPACE"
    auto.imap.namespaces = COURIER
    assert auto.submit(PLAIN) == "OK SUBMIT completed"
    assert [copy.mailbox for copy in auto.imap.appended] == [b"INBOX.Sent"]


def test_named_mailbox_below_inbox(office: PostOffice) -> None:
    office.imap.capabilities += b" NAMESPACE"
    office.imap.namespaces = COURIER
    office.imap.replies = {"APPEND 1": no(b"[TRYCREATE] no such mailbox")}
    assert office.submit(PLAIN) == "OK SUBMIT completed"
    assert [copy.mailbox for copy in office.imap.appended] == [b"INBOX." + WIRE_NAME]
    assert sum(b' "INBOX.' + WIRE_NAME in command for command in office.imap.commands) == 4


@pytest.mark.parametrize(
    "listing",
    [
        b'* LIST (\\Sent) "/" "x\r\n',
        b'* LIST (\\Sent) "/" {99999999999}\r\n',
        b'* LIST (\\Sent) "/" {4}\r\na\r\nb\r\n',
        b"* LIST (" + b"(" * 10_000 + b"\r\n",
    ],
)
def test_automatic_mailbox_of_a_server_that_lies(auto: PostOffice, listing: bytes) -> None:
    auto.imap.listing = listing
    if b"99999" in listing:
        auto.imap.replies = {"LIST": instead(listing)}
    answer = auto.submit(PLAIN)
    assert REMARK.fullmatch(answer), answer
    assert not auto.imap.appended


# What is announced


@pytest.mark.parametrize(
    ("submit", "announced"),
    [
        ({}, {"CAN-SUBMIT", "CAN-SUBMIT=URL"}),
        ({"references": "off"}, {"CAN-SUBMIT"}),
        ({"sent-mailbox": "auto"}, {"CAN-SUBMIT", "CAN-SUBMIT=URL", "CAN-SUBMIT=SENT"}),
        ({"references": "off", "sent-mailbox": "Sent"}, {"CAN-SUBMIT", "CAN-SUBMIT=SENT"}),
    ],
)
def test_announcement(tmp_path: Path, submit: dict[str, str], announced: set[str]) -> None:
    """In greeting, untagged and tagged answers; what another proxy upstream promised goes."""
    with theatre(tmp_path, {"submit": submit}) as house, house.scene() as stage:
        for sent in (
            b"* OK [CAPABILITY IMAP4rev1 CAN-SUBMIT=SENT can-submit=x] hi\r\n",
            b"* CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL\r\n",
        ):
            stage.server.send(sent)
            assert promises(stage.client.line()) == announced
        stage.client.send(b"L LOGIN fred secret\r\n")
        stage.server.expect(b"L LOGIN fred secret\r\n")
        stage.server.send(b"L OK [CAPABILITY IMAP4rev1] hi\r\n")
        assert promises(stage.client.line()) == announced


def promises(line: bytes) -> set[str]:
    words = re.findall(r"[^ \[\]\r\n]+", line.decode("ascii"))
    found = [word for word in words if word.upper().startswith("CAN-SUBMIT")]
    assert len(set(found)) == len(found)
    return set(found)
