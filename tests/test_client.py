"""The library: what goes over the wire for a SUBMIT, what comes of each answer, and that the connection lives on."""

import imaplib
import ssl
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from imapproxy.client import NotAMessage, Refused, Unsupported, reference_part, submit
from tests.functional.certificates import make_certificates
from tests.functional.fake_imap import FakeImap, Peer

MESSAGE = b"To: joe@example.org\r\n\r\nHello\r\n"
SIZE = len(MESSAGE)
UNASKED = b"TAG SUBMIT {%d+}\r\n%b\r\n" % (SIZE, MESSAGE)
ASKED = b"TAG SUBMIT {%d}\r\n" % SIZE
OK = b"TAG OK SUBMIT completed\r\n"

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

Steps = tuple[bytes, ...]

# A message that a server tells of while it keeps the client waiting; the literal looks like an answer.
UNASKED_FOR = b"* 7 EXISTS\r\n* 7 FETCH (UID 9 BODY[] {12}\r\n+ A1 OK no\r\n FLAGS ())\r\n* OK Still submitting\r\n"


class RecordingIMAP4(imaplib.IMAP4):
    """Remembers what is sent, each time that something is."""

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.sent: list[bytes] = []
        super().open(host, port, timeout)

    def send(self, data: "ReadableBuffer") -> None:
        self.sent.append(bytes(data))
        super().send(data)


def play(peer: Peer, steps: Steps) -> None:
    """Hear the first of the steps, say the second, and so on; TAG is that of the last command."""
    tag = b""
    for heard, said in zip(steps[::2], steps[1::2], strict=True):
        if heard.startswith(b"TAG "):
            command = peer.line()
            tag = command.partition(b" ")[0]
            first, _, rest = heard.removeprefix(b"TAG ").partition(b"\r\n")
            assert command == tag + b" " + first + b"\r\n"
            peer.expect(rest)
        else:
            peer.expect(heard)
        peer.send(said.replace(b"TAG", tag))


@contextmanager
def talking(*steps: bytes, announced: bytes = b"IMAP4rev1 LITERAL+ CAN-SUBMIT") -> Iterator[RecordingIMAP4]:
    """Connect, as a user who needs no login, to a server that plays the steps and then ends the connection."""
    opening = (b"TAG CAPABILITY\r\n", b"* CAPABILITY %b\r\nTAG OK done\r\n" % announced)

    def script(peer: Peer) -> None:
        peer.send(b"* PREAUTH hello\r\n")
        play(peer, (*opening, *steps))

    with FakeImap(script) as server:
        imap = RecordingIMAP4("127.0.0.1", server.port, timeout=10)
        imap.sent.clear()
        try:
            yield imap
        finally:
            imap.shutdown()


# --- one round trip, or two ---------------------------------------------------------------------------------------


def untagged(octets: bytes) -> bytes:
    return octets.partition(b" ")[2]


def test_where_literals_are_taken_unasked_the_whole_command_is_one_write() -> None:
    with talking(UNASKED, OK) as imap:
        assert submit(imap, MESSAGE) == "SUBMIT completed"
        assert [untagged(sent) for sent in imap.sent] == [untagged(UNASKED)]


def test_else_the_message_waits_until_the_server_asks_for_it() -> None:
    with talking(ASKED, b"+ Ready\r\n", MESSAGE + b"\r\n", OK, announced=b"IMAP4rev1 CAN-SUBMIT") as imap:
        assert submit(imap, MESSAGE) == "SUBMIT completed"
        assert len(imap.sent) == 2


@pytest.mark.parametrize(("size", "mark"), [(4096, b"{4096+}"), (4097, b"{4097}")])
def test_only_small_literals_are_taken_unasked_where_the_server_says_so(size: int, mark: bytes) -> None:
    message = MESSAGE.ljust(size, b"x")
    unasked = (b"TAG SUBMIT %b\r\n%b\r\n" % (mark, message), OK)
    asked = (b"TAG SUBMIT %b\r\n" % mark, b"+ \r\n", message + b"\r\n", OK)
    steps = unasked if b"+" in mark else asked
    with talking(*steps, announced=b"IMAP4rev1 LITERAL- CAN-SUBMIT") as imap:
        submit(imap, message)


@pytest.mark.parametrize("announced", [b"IMAP4rev1 LITERAL+ CAN-SUBMIT", b"IMAP4rev1 CAN-SUBMIT"])
@pytest.mark.parametrize(
    ("size", "sent"),
    [
        (1 << 20, [1 << 20]),
        ((1 << 20) + 1, [1 << 18, 2 << 18, 3 << 18, 4 << 18, (1 << 20) + 1]),
        (5 << 18, [1 << 18, 2 << 18, 3 << 18, 4 << 18, 5 << 18]),
    ],
)
def test_what_is_over_1_mib_goes_in_pieces_and_progress_is_told(announced: bytes, size: int, sent: list[int]) -> None:
    message = MESSAGE.ljust(size, b"x")
    unasked = (b"TAG SUBMIT {%d+}\r\n%b\r\n" % (size, message), OK)
    asked = (b"TAG SUBMIT {%d}\r\n" % size, b"+ \r\n", message + b"\r\n", OK)
    progress: list[int] = []
    with talking(*(unasked if b"LITERAL+" in announced else asked), announced=announced) as imap:
        submit(imap, message, progress.append)
        assert progress == sent
        assert len(imap.sent) == len(sent) + (b"LITERAL+" not in announced)


def test_progress_of_a_small_message_is_told_once() -> None:
    progress: list[int] = []
    with talking(UNASKED, OK) as imap:
        submit(imap, MESSAGE, progress.append)
    assert progress == [SIZE]


def test_over_tls(tmp_path: Path) -> None:
    certificates = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.cert, certificates.key)
    message = MESSAGE.ljust(2 << 20, b"x")
    steps = (
        *(b"TAG CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 LITERAL+ CAN-SUBMIT\r\nTAG OK done\r\n"),
        *(b"TAG SUBMIT {%d+}\r\n%b\r\n" % (len(message), message), OK),
    )

    def script(peer: Peer) -> None:
        peer.begin_tls(context)
        peer.send(b"* PREAUTH hello\r\n")
        play(peer, steps)

    trust = ssl.create_default_context(cafile=certificates.ca)
    with FakeImap(script) as server:
        imap = imaplib.IMAP4_SSL("127.0.0.1", server.port, ssl_context=trust, timeout=10)
        assert submit(imap, message) == "SUBMIT completed"
        imap.shutdown()


# --- answers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"OK SUBMIT completed", "SUBMIT completed"),
        (b"OK SUBMIT completed; no copy in Sent (over quota)", "SUBMIT completed; no copy in Sent (over quota)"),
        (b"OK a\x1b[31m\tb\xff", "a?[31m b?"),
    ],
)
def test_ok_is_what_the_server_says(answer: bytes, want: str) -> None:
    with talking(UNASKED, b"TAG %b\r\n" % answer) as imap:
        assert submit(imap, MESSAGE) == want


def refused(answer: bytes) -> Refused:
    with talking(UNASKED, b"TAG NO %b\r\n" % answer) as imap, pytest.raises(Refused) as caught:
        submit(imap, MESSAGE)
    return caught.value


def test_no_is_an_exception_that_carries_the_recipients() -> None:
    refusal = refused(rb'450 4.2.0 greylisted,"a,b"@example.com,c@example.com')
    assert refusal.text == "450 4.2.0 greylisted"
    assert refusal.recipients == ('"a,b"@example.com', "c@example.com")
    assert (refusal.code, refusal.is_temporary, refusal.is_uncertain) == ("4.2.0", True, False)


def test_no_may_mean_that_nobody_knows() -> None:
    refusal = refused(b"4.4.2 delivery uncertain; no reply from the mail server,")
    assert (refusal.code, refusal.is_temporary, refusal.is_uncertain) == ("4.4.2", True, True)


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"5.6.6 no such message,", "5.6.6 no such message"),
        (b",a@b.example,c@d.example", "a@b.example, c@d.example"),
        (b"450 greylisted,a@b.example", "450 greylisted: a@b.example"),
        (b"\x1b]0;\x07\xe2,\x9b@b.example", "?]0;??: ?@b.example"),
    ],
)
def test_a_refusal_in_one_printable_line(answer: bytes, want: str) -> None:
    assert str(refused(answer)) == want


def test_bad_is_no_message() -> None:
    answer = b"TAG BAD NUL in the message\x00\r\n"
    with talking(UNASKED, answer) as imap, pytest.raises(NotAMessage, match=r"^NUL in the message\?$"):
        submit(imap, MESSAGE)


def test_an_empty_message_is_none_and_is_not_sent() -> None:
    with talking() as imap:
        with pytest.raises(NotAMessage):
            submit(imap, b"")
        assert not imap.sent


def test_what_is_refused_before_it_is_sent_is_not_sent() -> None:
    answer = b"TAG NO 5.3.4 message too large,\r\n"
    with talking(ASKED, answer, announced=b"IMAP4rev1 CAN-SUBMIT") as imap:
        with pytest.raises(Refused):
            submit(imap, MESSAGE)
        assert len(imap.sent) == 1


def test_another_answer_ends_the_connection() -> None:
    with talking(UNASKED, b"TAG PERHAPS so\r\n") as imap, pytest.raises(imap.abort):
        submit(imap, MESSAGE)


# --- in the middle of a session -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (OK, nullcontext()),
        (b"TAG NO 5.6.6 no,\r\n", pytest.raises(Refused)),
        (b"TAG BAD no message\r\n", pytest.raises(NotAMessage)),
    ],
)
@pytest.mark.parametrize("announced", [b"IMAP4rev1 LITERAL+ CAN-SUBMIT", b"IMAP4rev1 CAN-SUBMIT"])
def test_the_connection_stays_usable_whatever_the_answer(
    answer: bytes, outcome: AbstractContextManager[object], announced: bytes
) -> None:
    unasked = (UNASKED, answer)
    asked = (ASKED, b"+ \r\n", MESSAGE + b"\r\n", answer)
    submission = unasked if b"LITERAL+" in announced else asked
    between = (b"TAG NOOP\r\n", b"* 8 EXISTS\r\nTAG OK done\r\n")
    with talking(*submission, *between, *submission, announced=announced) as imap:
        with outcome:
            submit(imap, MESSAGE)
        assert imap.noop() == ("OK", [b"done"])
        assert imap.response("EXISTS") == ("EXISTS", [b"8"])
        with outcome:
            submit(imap, MESSAGE)


def test_a_mailbox_may_be_selected_and_literals_may_come_meanwhile() -> None:
    select = (b"TAG SELECT INBOX\r\n", b"* 6 EXISTS\r\nTAG OK [READ-WRITE] done\r\n")
    submission = (ASKED, UNASKED_FOR + b"+ Ready\r\n", MESSAGE + b"\r\n", UNASKED_FOR + OK)
    with talking(*select, *submission, announced=b"IMAP4rev1 CAN-SUBMIT") as imap:
        imap.select()
        assert submit(imap, MESSAGE) == "SUBMIT completed"
        assert imap.response("EXISTS") == ("EXISTS", [b"6", b"7", b"7"])


@pytest.mark.parametrize("said", [b"", b"* BYE too busy\r\n"])
def test_a_lost_connection_is_imaplibs_abort(said: bytes) -> None:
    with talking(UNASKED, said) as imap, pytest.raises(imap.abort):
        submit(imap, MESSAGE)


# --- what the server announces ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "login_answer",
    [
        b"TAG OK [CAPABILITY IMAP4rev1 LITERAL+ can-submit] done\r\n",
        b"* CAPABILITY IMAP4rev1 LITERAL+ CAN-SUBMIT\r\nTAG OK done\r\n",
    ],
)
def test_what_is_announced_with_the_login_is_known(login_answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.send(b"* OK hello\r\n")
        capability = (b"TAG CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n")
        play(peer, (*capability, b'TAG LOGIN fred "secret"\r\n', login_answer, UNASKED, OK))

    with FakeImap(script) as server:
        imap = imaplib.IMAP4("127.0.0.1", server.port, timeout=10)
        imap.login("fred", "secret")
        assert submit(imap, MESSAGE) == "SUBMIT completed"
        imap.shutdown()


def test_a_server_that_has_announced_nothing_is_asked_once() -> None:
    capability = (b"TAG CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 LITERAL+ CAN-SUBMIT\r\nTAG OK done\r\n")
    with talking(*capability, UNASKED, OK, UNASKED, OK, announced=b"IMAP4rev1") as imap:
        submit(imap, MESSAGE)
        submit(imap, MESSAGE)


@pytest.mark.parametrize(
    "answer", [b"* CAPABILITY IMAP4rev1\r\nTAG OK done\r\n", b"TAG OK done\r\n", b"TAG NO CAN-SUBMIT\r\n"]
)
def test_a_server_without_submit_gets_no_message(answer: bytes) -> None:
    with talking(b"TAG CAPABILITY\r\n", answer, announced=b"IMAP4rev1 CAN-SUBMITTER") as imap:
        with pytest.raises(Unsupported):
            submit(imap, MESSAGE)
        assert [untagged(sent) for sent in imap.sent] == [b"CAPABILITY\r\n"]


def test_submit_comes_after_the_login() -> None:
    def script(peer: Peer) -> None:
        peer.send(b"* OK hello\r\n")
        play(peer, (b"TAG CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 CAN-SUBMIT\r\nTAG OK done\r\n"))

    with FakeImap(script) as server:
        imap = imaplib.IMAP4("127.0.0.1", server.port, timeout=10)
        with pytest.raises(imap.error, match="NONAUTH"):
            submit(imap, MESSAGE)
        imap.shutdown()


def test_reference_parts_are_made_here_too() -> None:
    assert b'URL="/INBOX/;UID=20"' in reference_part("/INBOX/;UID=20")
