"""IMAP servers that lie to the side connection: soon, in little memory, nothing is sent; or the whole text is."""

import re
from collections.abc import Iterator

import pytest

from tests.functional.drafts import AFTER, BEFORE, draft, forward, reference
from tests.functional.fake_mailboxes import (
    UIDVALIDITY,
    Deviation,
    floods,
    instead,
    no,
    preceded,
    swapped,
)
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import leaf, multipart
from tests.functional.peak import Peak
from tests.functional.scripted import pid_of

MIB = 1 << 20
# Several windows long, no line like another; the message that it becomes part of is begun before the last is read.
LINES = b"".join(b"%062d\r\n" % number for number in range(2 * MIB // 64))
MESSAGE = multipart(b"=_stored", leaf("text/plain", b"Hello"), leaf("text/plain", LINES)).headed(b"Subject: stored\r\n")
SMALL = leaf("text/plain", b"Hello\r\n").headed(b"Subject: small\r\n")
MAILBOXES = {b"INBOX": {20: MESSAGE, 21: SMALL}, b"Other": {1: SMALL}}
PART = forward("/INBOX/;UID=20/;SECTION=2")
WHOLE = forward("/INBOX/;UID=20")

OPTIONS = {"submit": {"max-composed-size": "5M", "max-message-size": "1M"}}
# How much more memory the proxy may hold at a time while it listens to a liar, in KiB.
FEW_WINDOWS = 12 * 1024

FAILED = re.compile(r"NO [45]\.\d\.\d cannot read /INBOX/;UID=20[ -+\--~]*: [ -+\--~]+,")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("liars"), MAILBOXES, OPTIONS) as office:
        yield office


@pytest.fixture
def office(opened: PostOffice) -> Iterator[PostOffice]:
    with opened.performance():
        yield opened


def assert_text_arrived(office: PostOffice) -> None:
    before, text, after = office.arrived().parts
    assert text.body == LINES, (len(text.body), len(LINES))
    assert [before.body, after.body] == [part.partition(b"\r\n\r\n")[2] for part in (BEFORE, AFTER)]


TAGGED = b"%b OK done\r\n"


@pytest.mark.parametrize(
    "lie",
    [
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> {9223372036854775808}\r\nabc"), id="2**63 octets"),
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> {99999999999999999999999}\r\n"), id="2**76 octets"),
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> {4294967296}\r\n" + b"x" * 1000), id="2**32 octets"),
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> {-1}\r\n)\r\n" + TAGGED), id="fewer than none"),
        pytest.param(floods(b"* 1 EXISTS\r\n"), id="endless untagged lines"),
        pytest.param(floods(b"* 1 FETCH (FLAGS ()) "), id="endless line"),
        pytest.param(floods(b"("), id="endless nesting"),
        pytest.param(floods(b"* 1 FETCH (X {10}\r\n0123456789)\r\n"), id="endless literals"),
        pytest.param(
            instead(b"* 1 FETCH (UID 20 " + b"(" * 100_000 + b")" * 100_000 + b")\r\n" + TAGGED), id="nesting"
        ),
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> NIL)\r\n" + TAGGED), id="NIL"),
        pytest.param(instead(TAGGED), id="nothing"),
        pytest.param(instead(b"* 1 FETCH (UID 20 BODY[2]<0> (a b))\r\n" + TAGGED), id="list"),
        pytest.param(instead(b'* 1 FETCH (UID 20 BODY[2]<0> "a\r\n' + TAGGED), id="open string"),
        pytest.param(instead(b"* 1 FETCH (UID 99 BODY[2]<0> {5}\r\nwrong)\r\n" + TAGGED), id="another message"),
        pytest.param(preceded(b"* 2 FETCH (UID 21 BODY[2]<0> {5}\r\nwrong)\r\n"), id="another message, too"),
        pytest.param(instead(b"+ go on\r\n" + TAGGED), id="continuation"),
        pytest.param(instead(b"* BYE enough\r\n"), id="BYE"),
        pytest.param(instead(b"%b BAD what\r\n"), id="BAD"),
        pytest.param(no(b"[SERVERBUG] \x1b[2J\xff, {5}\r"), id="NO, unprintable"),
        pytest.param(instead(b"XXXX9 OK another tag\r\n* BYE\r\n"), id="foreign tag"),
        pytest.param(instead(b"\0\0\0\0\r\n" * 10 + b"* BYE\r\n"), id="NUL"),
        pytest.param(swapped(rb"\A", b"* 1 FETCH (UID 20 BODY[2]<0> {3}\r\nxyz)\r\n"), id="two answers"),
    ],
)
@pytest.mark.parametrize("step", ["FETCH 1", "FETCH 2", "FETCH 3"])
def test_lies_end_in_no(office: PostOffice, step: str, lie: Deviation) -> None:
    """Soon, in little memory; or in the whole text, where the lie told nothing that was asked for."""
    office.imap.replies = {step: lie}
    peak = Peak(pid_of(office.proxy))
    answer = office.submit(PART)
    assert peak.rise() < FEW_WINDOWS
    if answer == "OK SUBMIT completed":
        assert_text_arrived(office)
        return
    assert FAILED.fullmatch(answer), answer
    office.assert_nobody_got_anything()


@pytest.mark.parametrize("step", ["GREETING", "LOGIN", "EXAMINE"])
@pytest.mark.parametrize("octets", [b"* 1 EXISTS\r\n", b"* OK x", b"\0"])
def test_floods_before_anything_is_read(office: PostOffice, step: str, octets: bytes) -> None:
    office.imap.replies = {step: floods(octets)}
    peak = Peak(pid_of(office.proxy))
    assert re.fullmatch(r"NO 4\.\d\.\d cannot read [ -+\--~]+,", office.submit(PART))
    assert peak.rise() < FEW_WINDOWS
    office.assert_nobody_got_anything()


@pytest.mark.parametrize(
    "more",
    [
        b"* 1 FETCH (FLAGS (\\Seen))\r\n",
        b"* 5 EXISTS\r\n* 1 RECENT\r\n* OK Still here\r\n",
        b"* 2 FETCH (UID 21 FLAGS (\\Seen) MODSEQ (5))\r\n",
        b"* OK [ALERT] {5}\r\n",
    ],
)
@pytest.mark.parametrize("step", ["FETCH 1", "FETCH 3"])
def test_what_other_sessions_cause_is_passed_over(office: PostOffice, step: str, more: bytes) -> None:
    office.imap.replies = {step: preceded(more)}
    assert office.submit(PART) == "OK SUBMIT completed"
    assert_text_arrived(office)


@pytest.mark.parametrize("stated", [1, len(LINES) - 1, len(LINES) + 1, len(LINES) * 2, 0])
def test_size_that_is_not_true(office: PostOffice, stated: int) -> None:
    """Some servers count lines ended by LF: the whole text arrives, or nothing does; never a part of it."""
    office.imap.replies = {
        "FETCH": lambda peer, _, usual: peer.send(usual.replace(b" %d " % len(LINES), b" %d " % stated))
    }
    answer = office.submit(PART)
    if answer == "OK SUBMIT completed":
        assert_text_arrived(office)
    else:
        assert FAILED.fullmatch(answer), answer
        office.assert_nobody_got_anything()


@pytest.mark.parametrize("ehlo", ["250-fake\n250 8BITMIME", "250 fake"], ids=["eight-bit", "seven-bit"])
def test_size_that_hides_more_than_a_message_may_have(office: PostOffice, ehlo: str) -> None:
    """Three times the LINES are more than max-composed-size, whatever is stated."""
    office.smtp.script["EHLO"] = ehlo
    office.imap.mailboxes[b"INBOX"] = {20: leaf("text/plain", LINES * 3 + "ü\r\n".encode())}
    office.imap.replies = {"FETCH 1": swapped(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 10")}
    answer = office.submit(WHOLE)
    assert re.fullmatch(r"NO 5\.3\.4 [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()


@pytest.mark.parametrize("ehlo", ["250-fake\n250 8BITMIME", "250 fake"], ids=["eight-bit", "seven-bit"])
def test_content_without_end(office: PostOffice, ehlo: str) -> None:
    """Each window is full, wherever it begins."""
    office.smtp.script["EHLO"] = ehlo
    full = b"{524288}\r\n" + LINES[:524_288] + b")\r\n"
    office.imap.replies = {
        "FETCH": lambda peer, tag, usual: peer.send(
            usual.partition(b"{")[0] + full + tag + b" OK done\r\n" if b"BODY[]<" in usual else usual
        )
    }
    answer = office.submit(WHOLE)
    assert re.fullmatch(r"NO 5\.3\.4 [ -+\--~]+,", answer), answer
    office.assert_nobody_got_anything()
    assert len(office.imap.commands) < 60


def test_size_that_is_too_large_for_anybody(office: PostOffice) -> None:
    office.imap.replies = {"FETCH 1": swapped(rb"RFC822\.SIZE \d+", b"RFC822.SIZE 99999999999999999999")}
    answer = office.submit(WHOLE)
    assert re.fullmatch(r"NO [45]\.\d\.\d [ -+\--~]+,", answer)
    office.assert_nobody_got_anything()


def test_uidvalidity_that_changes_between_two_looks(office: PostOffice) -> None:
    """Reading another mailbox meanwhile, the first one has become another."""
    office.imap.replies = {"EXAMINE 3": swapped(b"UIDVALIDITY %d" % UIDVALIDITY, b"UIDVALIDITY 8")}
    answer = office.submit(draft(*map(reference, ["/INBOX/;UID=20/;SECTION=2", "/Other/;UID=1"])))
    assert answer == "OK SUBMIT completed" or re.fullmatch(r"NO 5\.6\.6 [ -+\--~]+,", answer)
    assert (office.imap.names().count("EXAMINE") < 3) == answer.startswith("OK")
