"""SUBMIT (DESIGN 4) through the real program: the command in all its forms, and every answer there is."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.functional.fake_imap import Peer, Stage
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, Script, Turns
from tests.functional.proxy_process import Options
from tests.functional.scripted import DRAFT, HEADER, Theatre, eventually, refusing_port, theatre

KEEP_ALIVE = b"* OK Still submitting\r\n"
LIMIT = 1000  # octets of a draft
DROPPED = LIMIT + (16 << 20)  # octets that are dropped before the client is taken for hostile

CHUNKS = pytest.mark.parametrize("chunk", [1 << 20, 1], ids=["whole", "octet by octet"])


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    options: Options = {"submit": {"max-message-size": str(LIMIT)}, "smtp": {"smtp-timeout": "1"}}
    with theatre(tmp_path_factory.mktemp("submit"), options) as house:
        yield house


@pytest.fixture
def house(opened: Theatre) -> Iterator[Theatre]:
    with opened.performance():
        yield opened


@pytest.fixture(scope="module", autouse=True)
def thoughtful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A submission to an SMTP server that thinks for 21 s; it does so while the other tests run."""
    with theatre(tmp_path_factory.mktemp("thoughtful")) as house, house.fred() as stage:
        house.script({".": (21, "250 2.0.0 ok")})
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        yield stage


@pytest.fixture
def fred(house: Theatre) -> Iterator[Stage]:
    with house.fred() as stage:
        yield stage


def to(*recipients: str) -> bytes:
    """Return a draft to these."""
    return HEADER.replace(b"joe@example.org", ", ".join(recipients).encode()) + b"\r\nHello\r\n"


def assert_in_step(stage: Stage) -> None:
    """Check that the next command is read as one, by both sides."""
    stage.play(r"""
        C: Z NOOP
        U: Z NOOP
        S: Z OK done
        P: Z OK done
    """)


# The command's forms


@CHUNKS
def test_synchronizing(house: Theatre, fred: Stage, chunk: int) -> None:
    fred.play(f"C: A SUBMIT {{{len(DRAFT)}}}\nP: + Ready for the message", chunk)
    fred.client.send(DRAFT + b"\r\n", chunk)
    fred.client.expect(b"A OK SUBMIT completed\r\n")
    assert house.smtp.messages[0].content.endswith(DRAFT)
    assert_in_step(fred)


@CHUNKS
def test_non_synchronizing(house: Theatre, fred: Stage, chunk: int) -> None:
    """Taken whatever the upstream offers, in either case; what comes behind it is the next command."""
    fred.client.send(b"A submit {%d+}\r\n%b\r\nB NOOP\r\n" % (len(DRAFT), DRAFT), chunk)
    fred.client.expect(b"A OK SUBMIT completed\r\n")
    fred.server.expect(b"B NOOP\r\n")
    assert house.smtp.messages[0].content.endswith(DRAFT)


def test_several_in_one_breath(house: Theatre, fred: Stage) -> None:
    command = b"SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT)
    fred.client.send(b"".join(b"%d " % number + command for number in range(5)))
    fred.client.expect(b"".join(b"%d OK SUBMIT completed\r\n" % number for number in range(5)))
    assert len(house.smtp.messages) == 5


@CHUNKS
@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("A SUBMIT", "BAD SUBMIT takes one argument: the message as a literal"),
        ('A SUBMIT "Subject: x"', "BAD SUBMIT takes one argument: the message as a literal"),
        ("A SUBMIT x {5}", "BAD SUBMIT takes one argument: the message as a literal"),
        ("A SUBMIT ~{5}", "BAD SUBMIT takes one argument: the message as a literal"),
        (r"A SUBMIT x {5+}\r\nB NOO", "BAD SUBMIT takes one argument: the message as a literal"),
        (r"A SUBMIT {0} {5+}\r\nB NOO", "BAD SUBMIT takes one argument: the message as a literal"),
        (r"A SUBMIT {5+}\r\nabcde more", "BAD SUBMIT takes one argument, and CRLF behind it"),
        (r"A SUBMIT {5+}\r\nabcde {3+}\r\nabc {3}", "BAD SUBMIT takes one argument, and CRLF behind it"),
        ("A SUBMIT {4+}\\r\\na:b\\n\\n\\", "BAD SUBMIT takes one argument, and CRLF behind it"),
        (r"A SUBMIT {0+}\r\n", "BAD The message is empty"),
        (r"A SUBMIT {9+}\r\nno header", "BAD not a message"),
        (r"A SUBMIT {8+}\r\n\r\nbody\r\n", "BAD not a message"),
        (r"A SUBMIT {7+}\r\nTo: x\0y", "BAD NUL in the message"),
        (r"A SUBMIT {7+}\r\nTo: \0 y more", "BAD SUBMIT takes one argument, and CRLF behind it"),
        ("A SUBMIT {1001}", "NO 5.3.4 message too large,"),
        ("A SUBMIT {4294967296}", "NO 5.3.4 message too large,"),
        (r"A SUBMIT {1002+}\r\n" + "B NOOP" * 167, "NO 5.3.4 message too large,"),
    ],
)
def test_what_is_refused_out_of_hand(house: Theatre, fred: Stage, command: str, answer: str, chunk: int) -> None:
    fred.play(f"C: {command}\nP: A {answer}", chunk)
    assert_in_step(fred)
    assert not house.smtp.commands


@CHUNKS
@pytest.mark.parametrize("literal", ["{10}", r"{10+}\r\n0123456789"])
def test_before_login(house: Theatre, chunk: int, literal: str) -> None:
    script = rf"""
        S: * OK hi
        P: * OK hi
        C: A SUBMIT {literal}
        P: A BAD Log in first
        C: B NOOP
        U: B NOOP
    """
    with house.scene() as stage:
        stage.play(script, chunk)


def test_non_synchronizing_literal_that_is_only_just_dropped(fred: Stage) -> None:
    fred.client.send(b"A SUBMIT {%d+}\r\n" % DROPPED + b"B NOOP\r\n" * (DROPPED // 8) + bytes(DROPPED % 8) + b"\r\n")
    fred.client.expect(b"A NO 5.3.4 message too large,\r\n")
    assert_in_step(fred)


def test_non_synchronizing_literal_past_the_bound(fred: Stage) -> None:
    fred.client.send(b"A SUBMIT {%d+}\r\n" % (DROPPED + 1))
    assert fred.client.rest() == b"* BYE Literal too large\r\n"
    assert fred.server.rest() == b""


# Its place among other commands


def test_it_waits_for_what_came_before(house: Theatre, fred: Stage) -> None:
    """Also for the end of the response under way; only then comes the ``+``."""
    fred.play(r"""
        C: A FETCH 1 BODY[]\r\nB NOOP\r\nC SUBMIT {6}
        U: A FETCH 1 BODY[]\r\nB NOOP
        S: B OK noop
        P: B OK noop
        S: * 1 FETCH (BODY[] {4}\r\nabcd)\r\nA OK done\r\n* 2 FETCH (BODY[] {3}\r\na
        P: * 1 FETCH (BODY[] {4}\r\nabcd)\r\nA OK done\r\n* 2 FETCH (BODY[] {3}\r\na
        S: )
        P: )\r\n+ Ready for the message
        C: a: b\r\n
        P: C NO 5.1.3 no recipients,
    """)


def test_it_is_pipelined_behind_the_login(house: Theatre) -> None:
    with house.scene() as stage:
        stage.play(r"""
            S: * OK hi
            P: * OK hi
        """)
        stage.client.send(b"A LOGIN fred secret\r\nB SUBMIT {%d+}\r\n%b\r\nC NOOP\r\n" % (len(DRAFT), DRAFT))
        stage.play(r"""
            U: A LOGIN fred secret
            S: A OK in
            P: A OK in\r\nB OK SUBMIT completed
            U: C NOOP
        """)
    assert len(house.smtp.messages) == 1


def test_commands_behind_it_wait(house: Theatre, fred: Stage) -> None:
    """They are passed on once it is answered, and the server's news are too."""
    house.script({".": (0.3, "250 2.0.0 ok")})
    fred.client.send(b"A SUBMIT {%d+}\r\n%b\r\nB NOOP\r\n" % (len(DRAFT), DRAFT))
    assert eventually(lambda: bool(house.smtp.messages))
    fred.server.send(b"* 1 EXISTS\r\n")
    fred.check_silence()
    fred.client.expect(b"A OK SUBMIT completed\r\n* 1 EXISTS\r\n")
    fred.server.expect(b"B NOOP\r\n")


def test_it_waits_behind_idle(fred: Stage) -> None:
    fred.play(r"""
        C: A IDLE
        U: A IDLE
        S: + idling
        P: + idling
        C: DONE\r\nB SUBMIT {5}
        U: DONE
        S: * 3 EXISTS
        P: * 3 EXISTS
        S: A OK done
        P: A OK done\r\n+ Ready for the message
        C: :\r\n\r\n
        P: B BAD not a message
    """)


# The answers


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ({}, b"OK SUBMIT completed"),
        ({"RCPT bad@example.org": "550 5.1.1 no"}, b"NO ,bad@example.org"),
        (
            {"RCPT bad@example.org": "550 5.1.1 no", "RCPT joe@example.org": "553 no"},
            b"NO ,joe@example.org,bad@example.org",
        ),
        ({"RCPT bad@example.org": "450 4.2.0 greylisted"}, b"NO 450 4.2.0 greylisted,bad@example.org"),
        (
            {"RCPT": Turns("250 ok", "451-4.3.0 not, now\n451 4.3.0 later")},
            b"NO 451 4.3.0 not; now 4.3.0 later,bad@example.org,al@example.org",
        ),
        (
            {"RCPT joe@example.org": "550 5.1.1 no", "RCPT al@example.org": "450 4.2.0 greylisted"},
            b"NO 450 4.2.0 greylisted,joe@example.org,al@example.org",
        ),
        ({"RCPT bad@example.org": "421 4.3.2 shutting down"}, b"NO 421 4.3.2 shutting down,"),
        (
            {"RCPT joe@example.org": "550 5.1.1 no", "RCPT bad@example.org": ("421 4.3.2 shutting down", CLOSE)},
            b"NO 421 4.3.2 shutting down,joe@example.org",
        ),
        (
            {"RCPT joe@example.org": "550 5.1.1 no", "RCPT bad@example.org": CLOSE},
            b"NO 4.4.2 connection to the mail server lost,joe@example.org",
        ),
        ({"RCPT bad@example.org": RESET}, b"NO 4.4.2 connection to the mail server lost,"),
        ({"RCPT bad@example.org": SILENCE}, b"NO 4.4.1 mail server not responding,"),
        ({"GREETING": "554 5.7.1 go away, you"}, b"NO 554 5.7.1 go away; you,"),
        ({"GREETING": "421 4.3.2 too many"}, b"NO 421 4.3.2 too many,"),
        ({"GREETING": SILENCE}, b"NO 4.4.1 mail server not responding,"),
        ({"GREETING": CLOSE}, b"NO 4.4.2 connection to the mail server lost,"),
        ({"GREETING": b"* OK IMAP4rev1 ready\r\n"}, b"NO 4.5.0 mail server does not speak SMTP,"),
        ({"EHLO": "550 no", "HELO": "550 5.0.0 neither"}, b"NO 550 5.0.0 neither,"),
        ({"EHLO": ("250-fake", RESET)}, b"NO 4.4.2 connection to the mail server lost,"),
        ({"EHLO": b"250-x\r\n" * 1000}, b"NO 4.5.0 mail server does not speak SMTP,"),
        ({"EHLO": b"250-" + b"x" * 100_000}, b"NO 4.5.0 mail server does not speak SMTP,"),
        ({"MAIL": "550 [no] \xe9, no"}, b"NO 550 [no] ??; no,"),
        ({"MAIL": "451 4.3.0 later"}, b"NO 451 4.3.0 later,"),
        ({"MAIL": CLOSE}, b"NO 4.4.2 connection to the mail server lost,"),
        ({"DATA": "451 4.3.0 disk full"}, b"NO 451 4.3.0 disk full,"),
        ({"DATA": RESET}, b"NO 4.4.2 connection to the mail server lost,"),
        ({"DATA": "250 what?"}, b"NO 250 what?,"),
        (
            {".": b"554 5.7.1 spam\rA OK forged\0\xff\r\nA OK SUBMIT completed\r\n"},
            b"NO 554 5.7.1 spam A OK forged??,",
        ),
        ({".": "554-5.7.1 spam, and\n554 5.7.1 worse"}, b"NO 554 5.7.1 spam; and 5.7.1 worse,"),
        ({".": "452 4.3.1 full"}, b"NO 452 4.3.1 full,"),
        ({".": "421 4.3.2 shutting down"}, b"NO 421 4.3.2 shutting down,"),
        ({".": CLOSE}, b"NO 4.4.2 delivery uncertain; no reply from the mail server,"),
        ({".": RESET}, b"NO 4.4.2 delivery uncertain; no reply from the mail server,"),
        ({".": ("250-half a re", RESET)}, b"NO 4.4.2 delivery uncertain; no reply from the mail server,"),
        ({".": SILENCE}, b"NO 4.4.2 delivery uncertain; no reply from the mail server,"),
        ({"RSET": CLOSE, "RCPT bad@example.org": "550 no"}, b"NO ,bad@example.org"),
        ({"QUIT": RESET}, b"OK SUBMIT completed"),
        ({"QUIT": CLOSE, "RSET": SILENCE}, b"OK SUBMIT completed"),
    ],
)
def test_answers(house: Theatre, fred: Stage, replies: dict[str, Script], answer: bytes) -> None:
    """And the session goes on; a message got through to the final dot, or not at all."""
    house.script(replies)
    assert fred.submit(to("joe@example.org", "bad@example.org", "al@example.org")) == answer
    assert_in_step(fred)
    assert bool(house.smtp.messages) == (not replies or not replies.keys().isdisjoint({".", "QUIT"}))
    assert not house.smtp.unfinished


def test_all_recipients_are_tried_and_nobody_gets_it(house: Theatre) -> None:
    house.script({"RCPT": Turns("550 5.1.1 no", "250 ok")})
    assert house.submit(to("a@example.org", "b@example.org", "c@example.org")) == b"NO ,a@example.org"
    assert house.smtp.verbs() == ["EHLO", "MAIL", "RCPT", "RCPT", "RCPT", "RSET", "QUIT"]


def test_refused_recipients_as_they_are_written(house: Theatre) -> None:
    """In the order of the message, quoted as in RCPT TO, A-labels, RFC 6533 for what is not ASCII."""
    house.script({"RCPT": "550 5.1.1 no"})
    answer = house.submit(to('"a, b"@example.org', "Zoë <x@bücher.example>", "é@example.org", "X@example.org"))
    assert answer == b'NO ,"a, b"@example.org,x@xn--bcher-kva.example,\\x{E9}@example.org,X@example.org'


def test_smtp_server_is_not_there(tmp_path: Path) -> None:
    with refusing_port() as port, theatre(tmp_path, {"smtp": {"smtp-server": f"127.0.0.1:{port}"}}) as house:
        assert house.submit(DRAFT) == b"NO 4.4.1 mail server not responding,"


def test_smtp_server_vanishes_within_the_message(tmp_path: Path) -> None:
    """Before the final dot nobody has it, and none was written."""
    draft = HEADER + b"\r\n" + b"line after line after line\r\n" * 500_000
    with theatre(tmp_path) as house:
        house.script({"DATA": ("354 go ahead", 0.1, RESET)})
        assert house.submit(draft) == b"NO 4.4.2 connection to the mail server lost,"
        house.script({"DATA": (b"354 go ahead\r\n421 4.3.2 shutting down\r\n", 0.1, CLOSE)})
        assert house.submit(draft).startswith(b"NO 4")
        assert not house.smtp.messages


# A client that vanishes


@pytest.mark.parametrize("leave", [Peer.reset, Peer.close])
@pytest.mark.parametrize("missing", [1, 2, 3])
def test_client_vanishes_before_its_command_is_whole(
    house: Theatre, leave: Callable[[Peer], None], missing: int
) -> None:
    """Nothing has been sent; the CRLF behind the literal counts."""
    with house.fred() as stage:
        stage.client.send((b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))[:-missing])
        leave(stage.client)
        assert stage.server.rest() == b""
    assert house.submit(DRAFT) == b"OK SUBMIT completed"
    assert len(house.smtp.messages) == 1


def test_client_vanishes_after_its_command_is_whole(house: Theatre) -> None:
    """It has been sent once."""
    house.script({".": (0.2, "250 2.0.0 ok")})
    with house.fred() as stage:
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        stage.client.close()
        assert stage.server.rest() == b""
        assert eventually(lambda: "QUIT" in house.smtp.verbs())
    assert len(house.smtp.messages) == 1


def test_client_ends_its_output_before_its_command_is_whole(house: Theatre) -> None:
    with house.fred() as stage:
        stage.client.send((b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))[:-1])
        stage.client.end_output()
        assert stage.server.rest() == b""
        assert stage.client.rest() == b""
    assert not house.smtp.commands


def test_client_that_only_ends_its_output_is_answered(house: Theatre) -> None:
    """As ``printf ... | nc -N`` does."""
    with house.fred() as stage:
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        stage.client.end_output()
        stage.client.expect(b"A OK SUBMIT completed\r\n")
        assert stage.server.rest() == b""
    assert len(house.smtp.messages) == 1


def test_client_breaks_off_while_the_smtp_server_thinks(house: Theatre) -> None:
    house.script({".": (0.3, "250 2.0.0 ok")})
    with house.fred() as stage:
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: bool(house.smtp.messages))
        stage.client.reset()
        assert eventually(lambda: "QUIT" in house.smtp.verbs())
        assert stage.server.rest() == b""
    assert len(house.smtp.messages) == 1


def test_client_vanishes_while_its_command_waits(house: Theatre) -> None:
    """It is whole, so it is sent, as soon as what came before it is complete."""
    with house.fred() as stage:
        stage.client.send(b"A NOOP\r\nB SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        stage.server.expect(b"A NOOP\r\n")
        stage.client.close()
        stage.server.send(b"A OK done\r\n")
        assert stage.server.rest() == b""
        assert eventually(lambda: "QUIT" in house.smtp.verbs())
    assert len(house.smtp.messages) == 1


def test_server_vanishes_while_a_command_waits(house: Theatre) -> None:
    """What came before it cannot be complete any more: it does not begin."""
    with house.fred() as stage:
        stage.client.send(b"A NOOP\r\nB SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        stage.server.expect(b"A NOOP\r\n")
        stage.server.close()
        assert stage.client.rest() == b"* BYE The IMAP server closed the connection\r\n"
    assert not house.smtp.commands


def test_server_vanishes_during_a_submission(house: Theatre) -> None:
    """It is answered, and then comes the goodbye."""
    house.script({".": (0.2, "250 2.0.0 ok")})
    with house.fred() as stage:
        stage.client.send(b"A SUBMIT {%d+}\r\n%b\r\n" % (len(DRAFT), DRAFT))
        assert eventually(lambda: bool(house.smtp.messages))
        stage.server.close()
        assert stage.client.rest() == b"A OK SUBMIT completed\r\n* BYE The IMAP server closed the connection\r\n"


# Waiting: this one has been under way since the module's first test


def test_phones_hear_something_every_twenty_seconds(thoughtful: Stage) -> None:
    thoughtful.client.expect(KEEP_ALIVE + b"A OK SUBMIT completed\r\n")
