from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import MAX_HEADER
from imapproxy.message.imap_url import parse_imap_url
from imapproxy.message.inclusion import Content
from imapproxy.message.reference import Reference
from imapproxy.net import reading
from imapproxy.net.imap import BoundedIMAP
from imapproxy.net.reading import Reader
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE
from tests.net.peers import nothing_left
from tests.net.played import CLIENT, server_of
from tests.net.scripted_imap import USUAL, Script, ScriptedImap, Turns

TIMEOUT = 0.5  # seconds, for what is to fail
AMPLE = 20.0  # seconds, for what is to succeed on a busy machine too
WINDOW = 8  # octets

HEADER = b"From: ann@example.com\r\nContent-Type: text/plain\r\n\r\n"
TEXT = b"0123456789abcdefghij\r\n"
STRUCTURE = b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 22 1)'
MESSAGE = {
    "": HEADER + TEXT,
    "HEADER": HEADER,
    "TEXT": TEXT,
    "1": TEXT,
    "1.MIME": HEADER,
    "RFC822.SIZE": b"%d" % len(HEADER + TEXT),
    "BODYSTRUCTURE": STRUCTURE,
}
PARTS = {
    "HEADER": b"Subject: parts\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n",
    "1.MIME": b"",
    "1": b"first",
    "2.MIME": b"Content-Type: message/rfc822\r\n\r\n",
    "2": HEADER + TEXT,
    "2.1": TEXT,
    "2.HEADER": HEADER,
    "11.MIME": b"",
    "3.MIME": b"Content-Type: multipart/alternative; boundary=a\r\n\r\n",
    "3": b"--a\r\n\r\nalternative\r\n--a--\r\n",
    "RFC822.SIZE": b"1000",
    "BODYSTRUCTURE": b'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 0)("MESSAGE" "RFC822" NIL NIL NIL "7BIT" %d '
    b'(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL) %b 4)((%b) "ALTERNATIVE") "MIXED")'
    % (len(HEADER + TEXT), STRUCTURE, STRUCTURE.strip(b"()")),
}
MAILBOXES = {"INBOX": {20: MESSAGE, 21: PARTS}, "Entw&APw-rfe": {20: MESSAGE}}


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WINDOW", WINDOW)


def reference(url: str, is_whole: bool = False) -> Reference:
    """Return the reference that a part with this URL, or a whole submission with it, makes."""
    parsed = parse_imap_url(url)
    if parsed.section:
        return Reference(parsed, url, f"{parsed.section}.MIME", parsed.section)
    return Reference(parsed, url, *(("HEADER", "TEXT") if is_whole else (None, "")))


@contextmanager
def reader(server: ScriptedImap, most: int = 1000, timeout: float = AMPLE) -> Iterator[Reader]:
    def connection() -> BoundedIMAP:
        imap = BoundedIMAP(server_of(server, timeout), CLIENT, lambda: None)
        imap.state = "AUTH"
        return imap

    reader = Reader(connection, most)
    try:
        yield reader
    finally:
        reader.close()


def octets_of(content: Content) -> bytes:
    return b"".join(content.chunks())


WHOLE = "/INBOX/;UID=20"
PART = "/INBOX/;UID=20/;SECTION=1"


def refusal(script: dict[str, Script], url: str = WHOLE, most: int = 1000, timeout: float = AMPLE) -> str:
    """Return why what the URL names cannot be read; a reader that failed leaves nothing open."""
    with nothing_left(), ScriptedImap(script, MAILBOXES) as server, reader(server, most, timeout) as opened:
        with pytest.raises(SubmissionRefused) as caught:
            octets_of(opened.named(reference(url)).content)
        text = caught.value.text
    prefix = f" cannot read {url}: "
    return text.replace(prefix, ": ")


# What references name.


@pytest.mark.parametrize(
    ("url", "is_whole", "header", "size", "octets"),
    [
        (WHOLE, False, b"", len(HEADER + TEXT), HEADER + TEXT),
        (WHOLE, True, HEADER, len(TEXT), TEXT),
        ("/INBOX;UIDVALIDITY=7/;UID=20", False, b"", len(HEADER + TEXT), HEADER + TEXT),
        ("/Entw%C3%BCrfe/;UID=20", False, b"", len(HEADER + TEXT), HEADER + TEXT),
        (PART, False, HEADER, len(TEXT), TEXT),
        ("/INBOX/;UID=21/;SECTION=1", False, b"", 5, b"first"),
        ("/INBOX/;UID=21/;SECTION=2", False, PARTS["2.MIME"], len(HEADER + TEXT), HEADER + TEXT),
        ("/INBOX/;UID=21/;SECTION=2.1", False, HEADER, len(TEXT), TEXT),
        ("/INBOX/;UID=21/;SECTION=3", False, PARTS["3.MIME"], None, PARTS["3"]),
    ],
)
def test_reads(url: str, is_whole: bool, header: bytes, size: int | None, octets: bytes) -> None:
    with ScriptedImap(mailboxes=MAILBOXES) as server, reader(server) as opened:
        found = opened.named(reference(url, is_whole))
        assert (found.header, found.content.size) == (header, size)
        for _ in range(2):
            assert octets_of(found.content) == octets


def test_reads_in_windows_without_a_trace() -> None:
    with ScriptedImap(mailboxes=MAILBOXES) as server:
        with reader(server) as opened:
            windows = list(opened.named(reference(PART)).content.chunks())
        assert windows == [b"01234567", b"89abcdef", b"ghij\r\n"]
        assert server.commands == [
            "CAPABILITY",
            'EXAMINE "INBOX"',
            f"UID FETCH 20 (UID BODYSTRUCTURE BODY.PEEK[1.MIME]<0.{MAX_HEADER + 1}>)",
            "UID FETCH 20 (UID BODY.PEEK[1]<0.8>)",
            "UID FETCH 20 (UID BODY.PEEK[1]<8.8>)",
            "UID FETCH 20 (UID BODY.PEEK[1]<16.8>)",
            "LOGOUT",
        ]


def test_one_connection_examines_each_mailbox_when_it_is_its_turn() -> None:
    urls = [WHOLE, "/Entw%C3%BCrfe/;UID=20", "/Entw%C3%BCrfe/;UID=20/;SECTION=1"]
    with ScriptedImap(mailboxes=MAILBOXES) as server:
        with reader(server) as opened:
            found = [opened.named(reference(url)) for url in urls]
            for each in found:
                octets_of(each.content)
        examined = [command.split()[1] for command in server.commands if command.startswith("EXAMINE")]
        assert examined == ['"INBOX"', '"Entw&APw-rfe"', '"INBOX"', '"Entw&APw-rfe"']
        assert server.connections == 1


@pytest.mark.parametrize("announced", [b"1", b"8", b"16", b"24", b"1000", b"NIL"])
def test_a_content_ends_where_it_ends_whatever_was_announced(announced: bytes) -> None:
    for size in (0, 1, 7, 8, 9, 16, 17):
        text = b"0123456789abcdefg"[:size]
        message = {"": text, "RFC822.SIZE": announced}
        with ScriptedImap(mailboxes={"INBOX": {20: message}}) as server, reader(server) as opened:
            assert octets_of(opened.named(reference(WHOLE)).content) == text


def test_a_server_may_give_less_than_it_was_asked_for() -> None:
    first = "* 1 FETCH (UID 20 BODY[]<0> {3}\nabc)\nTAG OK done"
    second = '* 1 FETCH (UID 20 BODY[]<3> "defg")\nTAG OK done'
    script: dict[str, Script] = {
        "UID FETCH 20 (UID RFC": "* 1 FETCH (UID 20 RFC822.SIZE 7)\nTAG OK done",
        "UID FETCH 20 (UID BODY.PEEK[]<0.": first,
        "UID FETCH 20 (UID BODY.PEEK[]<3.": second,
    }
    with ScriptedImap(script, MAILBOXES) as server, reader(server) as opened:
        assert octets_of(opened.named(reference(WHOLE)).content) == b"abcdefg"


def test_unasked_responses_are_passed_over() -> None:
    noise = "* 5 EXISTS\n* 9 FETCH (UID 99 FLAGS (\\Seen))\n* OK still here {5}"
    with ScriptedImap({"UID FETCH": (noise, USUAL)}, MAILBOXES) as server, reader(server) as opened:
        assert octets_of(opened.named(reference(WHOLE)).content) == HEADER + TEXT


def test_a_connection_that_was_lost_is_made_anew() -> None:
    second = "* 1 FETCH (UID 20 BODY[]<8> {2}\nab)\nTAG OK done"
    script: dict[str, Script] = {SECOND: Turns(CLOSE, second)}
    with ScriptedImap(script, MAILBOXES) as server, reader(server) as opened:
        content = opened.named(reference(WHOLE)).content
        with pytest.raises(SubmissionRefused):
            octets_of(content)
        assert octets_of(content)[:10] == MESSAGE[""][:8] + b"ab"
        assert server.connections == 2


def test_nothing_is_done_where_nothing_is_read() -> None:
    with ScriptedImap() as server:
        with reader(server):
            pass
        assert server.connections == 0


# What describes the only part of a message.


@pytest.mark.parametrize(
    ("url", "answers", "header"),
    [
        (PART, {}, HEADER),
        (PART, {"HEADER": HEADER.replace(b"text/plain", b"multipart/mixed")}, b""),
        (PART, {"HEADER": b""}, b""),
        ("/INBOX/;UID=20/;SECTION=11", {"HEADER": b"never asked for"}, b""),
    ],
)
def test_a_server_that_describes_no_only_part(url: str, answers: dict[str, bytes], header: bytes) -> None:
    eleven = b'(%b "MIXED")' % (STRUCTURE * 11)
    structure = {"BODYSTRUCTURE": eleven} if url.endswith("11") else {}
    message = MESSAGE | {"1.MIME": b"", "11.MIME": b""} | structure | answers
    with ScriptedImap(mailboxes={"INBOX": {20: message}}) as server, reader(server) as opened:
        assert opened.named(reference(url)).header == header


@pytest.mark.parametrize(
    "answer", ["TAG NO no", "TAG BAD no", "TAG OK done", "* 1 FETCH (UID 20 BODY[HEADER]<0> NIL)\nTAG OK done"]
)
def test_a_server_that_describes_nothing(answer: str) -> None:
    script: dict[str, Script] = {f"UID FETCH 20 (UID BODY.PEEK[HEADER]<0.{MAX_HEADER + 1}>)": answer}
    mailboxes = {"INBOX": {20: MESSAGE | {"1.MIME": b""}}}
    with ScriptedImap(script, mailboxes) as server, reader(server) as opened:
        found = opened.named(reference(PART))
        assert (found.header, octets_of(found.content)) == (b"", TEXT)


# What cannot be read.

NAMING = "UID FETCH 20 (UID RFC822.SIZE"
NAMING_A_PART = "UID FETCH 20 (UID BODYSTRUCTURE"
FIRST = "UID FETCH 20 (UID BODY.PEEK[]<0.8>)"
SECOND = "UID FETCH 20 (UID BODY.PEEK[]<8.8>)"


@pytest.mark.parametrize(
    ("url", "script", "text"),
    [
        ("/INBOX/;UID=99", {}, "5.6.6: no such message"),
        ("/INBOX;UIDVALIDITY=8/;UID=20", {}, "5.6.6: UIDVALIDITY has changed"),
        ("/INBOX;UIDVALIDITY=7/;UID=20", {"EXAMINE": "TAG OK done"}, "5.6.6: UIDVALIDITY has changed"),
        ("/nosuch/;UID=20", {}, "5.6.6: no such mailbox"),
        ("/x%22%20(%7B5%7D/;UID=20", {"EXAMINE": "TAG NO no"}, "5.6.6: no such mailbox"),
        (WHOLE, {"EXAMINE": "TAG NO [NOPERM] not yours"}, "5.6.6: not yours"),
        (WHOLE, {"EXAMINE": "TAG NO [UNAVAILABLE] disk is away"}, "4.2.0: disk is away"),
        (WHOLE, {"EXAMINE": "TAG NO [SERVERBUG] see the log"}, "4.2.0: see the log"),
        (WHOLE, {"EXAMINE": "TAG BAD what?"}, "5.6.6: no such mailbox"),
        (WHOLE, {NAMING: "TAG NO [EXPUNGEISSUED] gone"}, "5.6.6: gone"),
        (WHOLE, {NAMING: "* 1 FETCH (UID 21 RFC822.SIZE 9)\nTAG OK done"}, "5.6.6: no such message"),
        ("/INBOX/;UID=20/;SECTION=2", {}, "5.6.6: no such part"),
        ("/INBOX/;UID=21/;SECTION=2.1.1", {}, "5.6.6: no such part"),
        ("/INBOX/;UID=21/;SECTION=4", {}, "5.6.6: no such part"),
        (
            PART,
            {"UID FETCH 20 (UID BODY.PEEK[1]<8.8>)": "* 1 FETCH (UID 20 BODY[1]<8> NIL)\nTAG OK done"},
            "5.6.6: no such part",
        ),
        (WHOLE, {FIRST: "* 1 FETCH (UID 20 BODY[]<0> NIL)\nTAG OK done"}, "5.6.6: no such message"),
        (WHOLE, {SECOND: "* 1 FETCH (UID 20 BODY[]<8> NIL)\nTAG OK done"}, "5.6.6: no such message"),
        (WHOLE, {SECOND: "* 1 FETCH (UID 20 BODY[]<0> {2}\nab)\nTAG OK done"}, "5.6.6: no such message"),
        (WHOLE, {SECOND: "* 1 FETCH (UID 21 BODY[]<8> {2}\nab)\nTAG OK done"}, "5.6.6: no such message"),
        (WHOLE, {SECOND: "TAG OK done"}, "5.6.6: no such message"),
        (WHOLE, {SECOND: "TAG NO [EXPUNGEISSUED] gone"}, "5.6.6: gone"),
    ],
)
def test_cannot_be_read(url: str, script: dict[str, Script], text: str) -> None:
    assert refusal(script, url) == text


LOST = "4.4.2: the connection to the IMAP server is lost"
OUT_OF_STEP = "4.5.0: the IMAP server sent what cannot be understood"


SILENT = "4.4.2: the IMAP server does not respond"
HALF_A_WINDOW = b"* 1 FETCH (UID 20 BODY[]<8> {8}\r\n1234"


@pytest.mark.parametrize("step", ["GREETING", "CAPABILITY", "EXAMINE", NAMING, FIRST, SECOND])
@pytest.mark.parametrize(
    ("script", "text"),
    [
        (CLOSE, LOST),
        (SILENCE, SILENT),
        (("* BYE shutting down", CLOSE), "4.4.2: the IMAP server has ended the connection: shutting down"),
        (f"* 1 FETCH (UID 20 BODY[]<8> {{{2**63}}}", OUT_OF_STEP),
        ("what?", OUT_OF_STEP),
    ],
)
def test_is_lost_at_each_step(step: str, script: Script, text: str) -> None:
    assert refusal({step: script}, timeout=TIMEOUT if text == SILENT else AMPLE) == text


@pytest.mark.parametrize("step", [NAMING, FIRST, SECOND])
@pytest.mark.parametrize(("end", "text"), [(CLOSE, LOST), (RESET, LOST), (SILENCE, SILENT)])
def test_is_lost_within_a_literal(step: str, end: Script, text: str) -> None:
    assert refusal({step: (HALF_A_WINDOW, end)}, timeout=TIMEOUT if text == SILENT else AMPLE) == text


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({NAMING: "* 1 FETCH (UID 20 RFC822.SIZE -5)\nTAG OK done"}, OUT_OF_STEP),
        ({NAMING: "* 1 FETCH (UID 20 RFC822.SIZE (5))\nTAG OK done"}, OUT_OF_STEP),
        ({FIRST: "* 1 FETCH (UID 20 BODY[]<0> {9}\n123456789)\nTAG OK done"}, OUT_OF_STEP),
        ({FIRST: '* 1 FETCH (UID 20 BODY[]<0> "123456789")\nTAG OK done'}, OUT_OF_STEP),
        ({FIRST: "* 1 FETCH (UID 20 BODY[]<0> (a b))\nTAG OK done"}, OUT_OF_STEP),
    ],
)
def test_a_server_that_lies(script: dict[str, Script], text: str) -> None:
    assert refusal(script) == text


@pytest.mark.parametrize("structure", ["NIL", "", "5", "(5 6)", "()"])
def test_a_server_that_lies_about_parts(structure: str) -> None:
    answer = f"* 1 FETCH (UID 20 BODYSTRUCTURE {structure} BODY[1.MIME]<0> NIL)\nTAG OK done"
    assert refusal({NAMING_A_PART: answer}, PART) == OUT_OF_STEP


def test_a_server_without_end() -> None:
    script: dict[str, Script] = {
        f"UID FETCH 20 (UID BODY.PEEK[]<{n}.": f"* 1 FETCH (UID 20 BODY[]<{n}> {{8}}\n12345678)\nTAG OK done"
        for n in range(0, 200, 8)
    }
    assert refusal(script, most=100) == "5.3.4 message too large"


def test_a_header_without_end() -> None:
    asked = reference(WHOLE, is_whole=True)
    mailboxes = {"INBOX": {20: MESSAGE | {"HEADER": b"x" * (MAX_HEADER + 5)}}}
    with ScriptedImap(mailboxes=mailboxes) as server, reader(server) as opened:
        with pytest.raises(SubmissionRefused) as caught:
            opened.named(asked)
        assert caught.value.text == f"5.3.4 cannot read {WHOLE}: its header is too large"


@pytest.mark.parametrize("size", [b"NIL", b"10"])
def test_a_text_whose_size_cannot_be_told(size: bytes) -> None:
    mailboxes = {"INBOX": {20: MESSAGE | {"RFC822.SIZE": size}}}
    with ScriptedImap(mailboxes=mailboxes) as server, reader(server) as opened:
        content = opened.named(reference(WHOLE, is_whole=True)).content
        assert content.size is None
        assert octets_of(content) == TEXT


def test_a_mailbox_that_is_another_one_now() -> None:
    answers = [f"* OK [UIDVALIDITY {n}] ok\nTAG OK done" for n in (7, 8)]
    script: dict[str, Script] = {'EXAMINE "INBOX"': Turns(*answers)}
    with ScriptedImap(script, MAILBOXES) as server, reader(server) as opened:
        content = opened.named(reference(WHOLE)).content
        opened.named(reference("/Entw%C3%BCrfe/;UID=20"))
        with pytest.raises(SubmissionRefused, match="UIDVALIDITY has changed"):
            octets_of(content)


def test_a_mailbox_that_is_not_there_leaves_the_others() -> None:
    with ScriptedImap(mailboxes=MAILBOXES) as server, reader(server) as opened:
        content = opened.named(reference(WHOLE)).content
        with pytest.raises(SubmissionRefused):
            opened.named(reference("/nosuch/;UID=20"))
        assert octets_of(content) == HEADER + TEXT
        assert server.connections == 1
