from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain, repeat
from time import monotonic

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.net.imap import (
    MAX_LINES,
    BoundedIMAP,
    ImapRefusal,
    SideConnectionError,
    mailbox_argument,
    out_of_step,
    quoted,
)
from imapproxy.protocol.condition import MAX_WORDS
from imapproxy.protocol.fetched import Listed
from imapproxy.protocol.namespace import Namespaces
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE
from tests.net.peers import nothing_left, until
from tests.net.played import CLIENT, server_of
from tests.net.scripted_imap import HEAR, USUAL, Script, ScriptedImap

AMPLE = 20.0  # seconds, for what is to succeed on a busy machine too
TIMEOUT = 0.3  # seconds, for what is to fail
INTERVAL = 0.05  # seconds

UNREACHABLE = "4.4.1 the IMAP server cannot be reached"
SILENT = "4.4.2 the IMAP server does not respond"
LOST = "4.4.2 the connection to the IMAP server is lost"
ENDED = "4.4.2 the IMAP server has ended the connection: "
OUT_OF_STEP = str(out_of_step())


class Waits:
    """Counts the calls of ``waiting``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@contextmanager
def connection(
    server: ScriptedImap, timeout: float = AMPLE, waiting: Callable[[], None] | None = None
) -> Iterator[BoundedIMAP]:
    imap = BoundedIMAP(server_of(server, timeout), CLIENT, waiting or Waits(), INTERVAL)
    try:
        imap.state = "AUTH"
        yield imap
    finally:
        imap.farewell()


class Text:
    """A message to file: its size, and octets that may be of another one."""

    def __init__(self, chunks: list[bytes], size: int | None = None) -> None:
        self._chunks = chunks
        self.size = sum(map(len, chunks)) if size is None else size

    def chunks(self) -> Iterator[bytes]:
        return iter(self._chunks)


# Failures: each at each step, each the same way.

HOSTILE: list[tuple[Script, str]] = [
    (CLOSE, LOST),
    ((b"* OK half a li", CLOSE), LOST),
    (SILENCE, SILENT),
    ((b"* OK half a li", SILENCE), SILENT),
    (("* BYE shutting down", CLOSE), ENDED + "shutting down"),
    ((b"* BYE [UNAVAILABLE] caf\xe9\t\x1b[0m\r\n", CLOSE), ENDED + "caf? ?[0m"),
    ("hello", OUT_OF_STEP),
    (b"* OK bare line feed\n", OUT_OF_STEP),
    (b"\r\n", OUT_OF_STEP),
    ("OTHER1 OK done", OUT_OF_STEP),
    (f"* 1 FETCH (BODY[] {{{2**63}}}", OUT_OF_STEP),
    (f"* 1 FETCH (BODY[] {{{'9' * 5000}}}", OUT_OF_STEP),
    ("* 1 FETCH (BODY[] {1}", OUT_OF_STEP),
    (repeat(b"* 1 EXISTS and so on\r\n"), OUT_OF_STEP),
    (repeat(b"* 1 EXISTS\r\n"), OUT_OF_STEP),
    (repeat(b"+ go on\r\n"), OUT_OF_STEP),
    (repeat(b"a line without end"), OUT_OF_STEP),
]


@pytest.mark.parametrize("step", ["GREETING", "CAPABILITY", "EXAMINE"])
@pytest.mark.parametrize(("script", "text"), HOSTILE)
def test_a_hostile_server_is_left(step: str, script: Script, text: str) -> None:
    began = monotonic()
    with nothing_left(), ScriptedImap({step: script}) as server:
        with (
            pytest.raises(SideConnectionError) as caught,
            connection(server, TIMEOUT if text == SILENT else AMPLE) as imap,
        ):
            imap.examine('"INBOX"')
        assert str(caught.value) == text
    assert monotonic() - began < AMPLE / 2


@pytest.mark.parametrize(
    ("step", "ask"),
    [
        ("EXAMINE", lambda imap: imap.examine('"INBOX"')),
        ("APPEND", lambda imap: imap.append_seen('"INBOX"', Text([b"x"]))),
    ],
)
def test_a_server_that_says_goodbye_and_does_not_go(step: str, ask: Callable[[BoundedIMAP], object]) -> None:
    began = monotonic()
    with ScriptedImap({step: ("* BYE shutting down", SILENCE)}) as server, connection(server) as imap:
        with pytest.raises(SideConnectionError) as caught:
            ask(imap)
        assert str(caught.value) == ENDED + "shutting down"
    assert monotonic() - began < AMPLE / 2


@pytest.mark.parametrize("step", ["CAPABILITY", "EXAMINE"])
def test_a_server_that_vanishes(step: str) -> None:
    with nothing_left(), ScriptedImap({step: RESET}) as server:
        with pytest.raises(SideConnectionError) as caught, connection(server) as imap:
            imap.examine('"INBOX"')
        assert str(caught.value) == LOST


@pytest.mark.parametrize(
    ("capabilities", "text"),
    [
        ("* CAPABILITY IMAP2\nTAG OK done", OUT_OF_STEP),
        ("* CAPABILITY IMAP4rev1 \xe9\nTAG OK done", OUT_OF_STEP),
        ("TAG OK done", OUT_OF_STEP),
        ("TAG BAD what?", OUT_OF_STEP),
    ],
)
def test_a_server_of_another_kind(capabilities: str, text: str) -> None:
    with ScriptedImap({"CAPABILITY": capabilities}) as server:
        with pytest.raises(SideConnectionError) as caught, connection(server):
            pass
        assert str(caught.value) == text


def test_nobody_listens() -> None:
    with ScriptedImap() as server:
        gone = server_of(server, AMPLE)
    with pytest.raises(SideConnectionError) as caught:
        BoundedIMAP(gone, CLIENT, Waits())
    assert str(caught.value) == UNREACHABLE


def test_an_answer_that_comes_drop_by_drop_is_bounded_as_a_whole() -> None:
    drops = (step for _ in range(1000) for step in (b"* 1 EXISTS\r\n", INTERVAL))
    began = monotonic()
    with ScriptedImap({"EXAMINE": drops}) as server:
        with pytest.raises(SideConnectionError) as caught, connection(server, TIMEOUT) as imap:
            imap.examine('"INBOX"')
        assert str(caught.value) == SILENT
        assert monotonic() - began < AMPLE


def test_a_connection_that_failed_stays_closed() -> None:
    with ScriptedImap({"EXAMINE": CLOSE}) as server, connection(server) as imap:
        for _ in range(2):
            with pytest.raises(SideConnectionError) as caught:
                imap.examine('"INBOX"')
            assert str(caught.value) == LOST


def test_waiting_is_called() -> None:
    waiting = Waits()
    late: Script = chain[Script](until(lambda: waiting.count >= 3), [USUAL])
    with ScriptedImap({"EXAMINE": late}) as server, connection(server, waiting=waiting) as imap:
        imap.examine('"INBOX"')


@pytest.mark.parametrize("step", ["GREETING", "EXAMINE", "APPEND"])
@pytest.mark.parametrize("error", [KeyError(), BrokenPipeError(), TimeoutError(), ValueError()])
def test_what_waiting_raises_is_no_failure_of_the_server(step: str, error: Exception) -> None:
    def waiting() -> None:
        raise error

    with ScriptedImap({step: SILENCE}) as server, pytest.raises(type(error)) as caught:
        examine_and_append(server, waiting)
    assert caught.value is error


def examine_and_append(server: ScriptedImap, waiting: Callable[[], None]) -> None:
    with connection(server, waiting=waiting) as imap:
        imap.examine('"INBOX"')
        imap.append_seen('"INBOX"', Text([bytes(1 << 20)] * 50))


def test_what_waiting_raises_while_a_message_is_sent_passes_too() -> None:
    error = BrokenPipeError()

    def waiting() -> None:
        raise error

    with ScriptedImap({"APPEND": ("+ go on", 10 * INTERVAL)}) as server, pytest.raises(BrokenPipeError) as caught:
        examine_and_append(server, waiting)
    assert caught.value is error


def test_a_farewell_after_that_is_silent() -> None:
    def waiting() -> None:
        raise KeyError

    with ScriptedImap({"NOOP": SILENCE}) as server, connection(server, waiting=waiting) as imap:
        with pytest.raises(KeyError):
            imap.ask(imap.noop)
        imap.farewell()


# Refusals leave the connection as it is.


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        ("TAG NO [NONEXISTENT] no such mailbox", "NONEXISTENT", "no such mailbox"),
        ("TAG NO [nonexistent] no such mailbox", "NONEXISTENT", "no such mailbox"),
        ("TAG NO [BADURL /x;y (z)] no", "BADURL", "no"),
        ("TAG NO no such mailbox", "", "no such mailbox"),
        ("TAG NO [LIMIT]", "LIMIT", "LIMIT"),
        ("TAG NO ", "", "refused without a reason"),
        ("TAG NO [", "", "["),
        ("TAG BAD [CLIENTBUG] what?", "CLIENTBUG", "what?"),
        ("* BAD untagged\n* NO untagged\nTAG BAD what?", "", "what?"),
        ("TAG MAYBE not", "", "not"),
        ("TAG NO \xe9\x01 \t x" + "y" * 1000, "", ("?? x" + "y" * 1000)[:MAX_WORDS]),
    ],
)
def test_a_refusal(answer: str, code: str, words: str) -> None:
    with ScriptedImap({'EXAMINE "x"': answer}) as server, connection(server) as imap:
        with pytest.raises(ImapRefusal) as caught:
            imap.examine('"x"')
        assert (caught.value.code, caught.value.words) == (code, words)
        assert imap.examine('"INBOX"') == 7


def test_what_the_server_can_do_is_asked_once() -> None:
    with ScriptedImap({"CAPABILITY": "* CAPABILITY IMAP4rev1 catenate\nTAG OK done"}) as server:
        with connection(server) as imap:
            assert imap.announced() == imap.announced() == {"IMAP4REV1", "CATENATE"}
        assert server.commands == ["CAPABILITY", "CAPABILITY", "LOGOUT"]


@pytest.mark.parametrize("hostile", ["a\r\nX", "a\nX", "a\rX", "a\0", "a\x1b", "a\x7f"])
def test_no_command_holds_a_control_character(hostile: str) -> None:
    with ScriptedImap() as server:
        with connection(server) as imap, pytest.raises(SubmissionRefused, match=r"^5\.5\.2"):
            imap.examine(quoted(hostile))
        assert server.commands == ["CAPABILITY", "LOGOUT"]


@pytest.mark.parametrize(
    ("answer", "uidvalidity"),
    [
        ("* OK [UIDVALIDITY 12] ok\nTAG OK done", 12),
        ("* OK [UIDVALIDITY 12] ok {5}\nTAG OK done", 12),
        ("* NO careful {5}\n* OK [UIDVALIDITY 1] a ] b\n* OK [UIDVALIDITY 12] a ] b {12}\nTAG OK done {7}", 12),
        ("TAG OK done", None),
        ("* OK [UIDVALIDITY 0] ok\nTAG OK done", None),
        ("* OK [UIDVALIDITY] ok\nTAG OK done", None),
        ("* OK [UIDVALIDITY 12345678901] ok\nTAG OK done", None),
        ("* UIDVALIDITY 5\nTAG OK done", 5),
    ],
)
def test_examine(answer: str, uidvalidity: int | None) -> None:
    with ScriptedImap({"EXAMINE": answer}) as server:
        with connection(server) as imap:
            assert imap.examine('"x"') == uidvalidity
        assert server.commands == ["CAPABILITY", 'EXAMINE "x"', "LOGOUT"]


def test_a_server_that_speaks_of_another_access_than_was_asked_for() -> None:
    with ScriptedImap({"NOOP": "* OK [READ-ONLY] now\nTAG OK done"}) as server, connection(server) as imap:
        imap.ask(imap.noop)
        imap.append_seen('"x"', Text([b"x"]))
    assert server.appended == [b"x"]


# FETCH

FETCH = "UID FETCH 20 (UID X)"


@pytest.mark.parametrize(
    ("answer", "items"),
    [
        ("* 1 FETCH (UID 20 X {5}\nhello)\nTAG OK done", {"UID": b"20", "X": b"hello"}),
        ("* 3 FETCH (FLAGS ())\n* 1 FETCH (X 1 UID 20)\n* 2 EXPUNGE\nTAG OK done", {"UID": b"20", "X": b"1"}),
        ("* 1 FETCH (UID 20 X NIL)\n* 1 FETCH (UID 20 FLAGS ())\nTAG OK done", {"UID": b"20", "X": None, "FLAGS": ()}),
        ("* 1 FETCH (UID 21 X 1)\nTAG OK done", None),
        ("* 1 FETCH (X 1)\nTAG OK done", None),
        ("TAG OK done", None),
    ],
)
def test_fetch(answer: str, items: dict[str, object] | None) -> None:
    with ScriptedImap({"UID FETCH": answer}) as server, connection(server) as imap:
        imap.examine('"INBOX"')
        found = imap.fetch_message(20, "UID X", 5)
        assert (found and found.items) == items
        assert FETCH in server.commands


@pytest.mark.parametrize(
    "answer",
    [
        "* 1 FETCH (UID 20 X {6}\nhello!)\nTAG OK done",
        "* 1 FETCH (UID 20 X {3}\nabc Y {3}\ndef)\nTAG OK done",
        "* 1 FETCH (UID twenty)\nTAG OK done",
        "* 1 FETCH (UID 20\nTAG OK done",
        "* 1 FETCH UID 20\nTAG OK done",
        "* 1 FETCH (UID 20 X " + "(" * 10_000 + "\nTAG OK done",
    ],
)
def test_an_answer_of_another_size_or_form_ends_the_connection(answer: str) -> None:
    with ScriptedImap({"UID FETCH": answer}) as server, connection(server) as imap:
        imap.examine('"INBOX"')
        with pytest.raises(SideConnectionError) as caught:
            imap.fetch_message(20, "UID X", 5)
        assert str(caught.value) == OUT_OF_STEP
        with pytest.raises(SideConnectionError):
            imap.examine('"INBOX"')


def test_nothing_piles_up() -> None:
    answer = "* 1 FETCH (UID 20)\n* 5 RECENT\n* X Y\n* OK [ALERT] z\nTAG OK done"
    with ScriptedImap({"UID FETCH": answer}) as server, connection(server) as imap:
        imap.examine('"INBOX"')
        for _ in range(3):
            imap.fetch_message(20, "UID X", 5)
            kept = {name: len(said) for name, said in imap.untagged_responses.items()}
            assert kept == {"RECENT": 1, "X": 1, "OK": 1, "ALERT": 1}
            assert imap.tagged_commands == {}


def test_many_flags_change_meanwhile() -> None:
    lines = repeat("* 9 FETCH (UID 9 FLAGS (\\Seen))", MAX_LINES - 2)
    answer = chain(lines, ["* 1 FETCH (UID 20 X 1)\nTAG OK done"])
    with ScriptedImap({"UID FETCH": answer}) as server, connection(server) as imap:
        imap.examine('"INBOX"')
        assert imap.fetch_message(20, "UID X", 5) is not None


# LIST


def test_list() -> None:
    with ScriptedImap({"LIST": '* LIST (\\Sent) "/" {3}\na"b\n* LIST () NIL INBOX\nTAG OK done'}) as server:
        with connection(server) as imap:
            mailboxes = [Listed(frozenset({"\\sent"}), b'a"b'), Listed(frozenset(), b"INBOX")]
            assert imap.list_mailboxes() == mailboxes
            assert imap.list_mailboxes("(SPECIAL-USE)") == mailboxes
        assert server.commands[1:3] == ['LIST "" "*"', 'LIST (SPECIAL-USE) "" "*"']


def test_where_mailbox_names_begin() -> None:
    script: dict[str, Script] = {"NAMESPACE": '* NAMESPACE (("INBOX." ".")) NIL (("#shared." "."))\nTAG OK done'}
    with ScriptedImap(script) as server, connection(server) as imap:
        assert imap.namespaces() == Namespaces((b"INBOX.",), (b"#shared.",))


def test_namespaces_that_are_none() -> None:
    with ScriptedImap({"NAMESPACE": "* NAMESPACE nothing\nTAG OK done"}) as server, connection(server) as imap:
        with pytest.raises(SideConnectionError) as caught:
            imap.namespaces()
        assert str(caught.value) == OUT_OF_STEP


def test_a_list_that_is_none() -> None:
    with ScriptedImap({"LIST": "* LIST nothing\nTAG OK done"}) as server, connection(server) as imap:
        with pytest.raises(SideConnectionError) as caught:
            imap.list_mailboxes()
        assert str(caught.value) == OUT_OF_STEP


# APPEND


def test_append_streams() -> None:
    chunks = [bytes([n]) * 100_000 for n in range(100)]
    with ScriptedImap() as server:
        with connection(server) as imap:
            imap.append_seen('"Sent"', Text(chunks))
            imap.append_seen('"Sent"', Text([]))
        assert server.appended == [b"".join(chunks), b""]
        assert server.commands[1:3] == ['APPEND "Sent" (\\Seen) {10000000}', 'APPEND "Sent" (\\Seen) {0}']


def test_append_of_pieces() -> None:
    """Each text is sent when the server asks for it, the URLs of what it has behind it."""
    asking = ("+ go on", HEAR, "+ go on", HEAR, "TAG OK done")
    with ScriptedImap({"APPEND": asking}) as server:
        with connection(server) as imap:
            imap.append_catenated('"Sent"', ["/a/;UID=1", Text([b"one"]), "/b/;UID=2", '/"/;UID=3', Text([b"two"])])
        assert server.commands[1] == 'APPEND "Sent" (\\Seen) CATENATE (URL "/a/;UID=1" TEXT {3}'
        assert server.heard == ['one URL "/b/;UID=2" URL "/\\"/;UID=3" TEXT {3}', "two)"]


@pytest.mark.parametrize("pieces", [["/a/;UID=1"], [Text([b"one"])]])
def test_a_server_that_asks_for_pieces_that_there_are_not(pieces: list[Text | str]) -> None:
    with ScriptedImap({"APPEND": ("+ go on", HEAR, "+ go on")}) as server, connection(server) as imap:
        with pytest.raises(SideConnectionError) as caught:
            imap.append_catenated('"Sent"', pieces)
        assert str(caught.value) == OUT_OF_STEP


def test_an_append_that_is_refused_before_the_message() -> None:
    with ScriptedImap({'APPEND "x"': "TAG NO [TRYCREATE] no such mailbox"}) as server:
        with connection(server) as imap:
            with pytest.raises(ImapRefusal) as caught:
                imap.append_seen('"x"', Text([b"hello"]))
            assert caught.value.code == "TRYCREATE"
            imap.append_seen('"y"', Text([b"hello"]))
        assert server.appended == [b"hello"]


def test_an_append_that_is_refused_after_the_message() -> None:
    script = {"APPEND": ("+ go on", "TAG NO [OVERQUOTA] full", SILENCE)}
    with ScriptedImap(script) as server, connection(server) as imap, pytest.raises(ImapRefusal, match="full"):
        imap.append_seen('"x"', Text([b"hello"]))


@pytest.mark.parametrize("size", [4, 6])
def test_a_message_of_another_size_is_never_whole(size: int) -> None:
    with ScriptedImap() as server:
        with connection(server) as imap, pytest.raises(SubmissionRefused):
            imap.append_seen('"x"', Text([b"hel", b"lo"], size))
        assert server.appended == []
        assert server.commands == ["CAPABILITY", f'APPEND "x" (\\Seen) {{{size}}}']


@pytest.mark.parametrize("error", [SubmissionRefused("4.4.2 lost"), KeyError(), KeyboardInterrupt()])
def test_a_message_that_breaks_off_is_never_whole(error: BaseException) -> None:
    class Breaking(Text):
        def chunks(self) -> Iterator[bytes]:
            yield b"hel"
            raise error

    with ScriptedImap() as server:
        with connection(server) as imap, pytest.raises(type(error)) as caught:
            imap.append_seen('"x"', Breaking([b"hello"]))
        assert caught.value is error
        assert server.appended == []
        assert server.commands[-1].startswith("APPEND")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        (("+ go on", CLOSE), LOST),
        (("+ go on", RESET), LOST),
        (("+ go on", "+ go on", SILENCE), OUT_OF_STEP),
        (("+ go on", SILENCE), SILENT),
    ],
)
def test_a_server_that_is_lost_with_the_message(script: Script, text: str) -> None:
    with ScriptedImap({"APPEND": script}) as server, connection(server, TIMEOUT) as imap:
        with pytest.raises(SideConnectionError) as caught:
            imap.append_seen('"x"', Text([b"x" * 1000] * 5))
        assert str(caught.value) == text


# The way out


@pytest.mark.parametrize(
    "script", [SILENCE, CLOSE, RESET, "TAG OK without BYE", "TAG NO", "what?", repeat(b"* 1 X\r\n")]
)
def test_a_failing_farewell_changes_nothing(script: Script) -> None:
    began = monotonic()
    with nothing_left(), ScriptedImap({"LOGOUT": script}) as server:
        with connection(server):
            pass
        assert server.commands == ["CAPABILITY", "LOGOUT"]
    assert monotonic() - began < 5


def test_nobody_is_told_of_a_farewell() -> None:
    waiting = Waits()
    with ScriptedImap({"LOGOUT": SILENCE}) as server, connection(server, waiting=waiting):
        waiting.count = 0
    assert waiting.count == 0


# Words


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("INBOX", '"INBOX"'),
        ("a b", '"a b"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        ("Entwürfe & mehr", '"Entw&APw-rfe &- mehr"'),
        ("{5}", '"{5}"'),
        ("%*", '"%*"'),
    ],
)
def test_a_mailbox_as_an_argument(name: str, argument: str) -> None:
    assert mailbox_argument(name) == argument


def test_a_name_that_is_no_text() -> None:
    with pytest.raises(SubmissionRefused):
        mailbox_argument("a\udce9")
