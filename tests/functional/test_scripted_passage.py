"""Transparent passage (DESIGN 3) through the real program: what is rewritten, what is held, and nothing else."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.functional.fake_imap import GREETING, REWRITTEN_GREETING, Stage
from tests.functional.scripted import Theatre, theatre

CHUNKS = pytest.mark.parametrize("chunk", [1 << 20, 7, 1], ids=["whole", "by sevens", "octet by octet"])

# Responses that are easy to take for something else; all of them must arrive as they are.
RESPONSES = (
    b"* 1 FETCH (BODY[] {29}\r\n* CAPABILITY IMAP4rev1\r\nT OK {5}) UID 3 BODY[2] ~{4}\r\n\0\r\n\xff)\r\n"
    b"* OK this is text {5}\r\n* NO [ALERT] [CAPABILITY IMAP4rev1] is text {3}\r\n"
    b'* LIST (\\HasNoChildren) "/" {12}\r\n{100}\r\n* BYE)\r\n'
    b"* 2 FETCH (BODY[] {0}\r\n)\r\n* 3 FETCH (A {1}\r\n\r B {1}\r\n\n C {2}\r\n\r\n D {3}\r\n{1} E)\r\n"
    b'* 4 FETCH (ENVELOPE ("{5}" "~{5}" "}" "{" {7}\r\n}\r\n* OK) X)\r\n'
    b"* SEARCH" + b"".join(b" %d" % number for number in range(2000)) + b"\r\n"
    b'* ID ("name" "* CAPABILITY" "x" "[CAPABILITY IMAP4rev1]")\r\n* ENABLED X\r\n* BYELAW {3}\r\nabc\r\n'
    b"* CAPABILITYX IMAP4rev1\r\n\r\n* \r\n*\r\n"
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    options = {"submit": {"max-message-size": "1000"}}
    with theatre(tmp_path_factory.mktemp("passage"), options) as opened:
        yield opened


@pytest.fixture
def stage(house: Theatre) -> Iterator[Stage]:
    with house.scene() as opened:
        yield opened


@pytest.fixture
def fred(house: Theatre) -> Iterator[Stage]:
    with house.fred() as opened:
        yield opened


# Octets out are octets in


@CHUNKS
def test_responses_pass_as_they_are(fred: Stage, chunk: int) -> None:
    fred.server.send(RESPONSES, chunk)
    fred.client.expect(RESPONSES)


@CHUNKS
def test_commands_with_literals_pass_as_they_are(fred: Stage, chunk: int) -> None:
    script = r"""
        C: A APPEND x (\\Seen) {23}
        U: A APPEND x (\\Seen) {23}
        S: + go ahead
        P: + go ahead
        C: B SUBMIT {3}\r\nC NOOP\r\n\0\xff {4+}
        U: B SUBMIT {3}\r\nC NOOP\r\n\0\xff {4+}
        C: \r\n\r\n ~{0+}
        U: \r\n\r\n ~{0+}
        C: ~{2}
        U: ~{2}
        S: + more
        P: + more
        C: \r\r
        U: \r\r
        S: A OK appended
        P: A OK appended
        C: B APPEND x {0}
        U: B APPEND x {0}
        S: +
        P: +
        C: \r\nC NOOP {3+}\r\n \r\n
        U: \r\nC NOOP {3+}\r\n \r\n
        C: D NOOP {5} is text\r\nE SEARCH TEXT "{5}"\r\nF SUBMITTED\r\nSUBMIT NOOP
        U: D NOOP {5} is text\r\nE SEARCH TEXT "{5}"\r\nF SUBMITTED\r\nSUBMIT NOOP
    """
    fred.play(script, chunk)


@CHUNKS
def test_submit_is_a_command_only_where_a_command_stands(fred: Stage, chunk: int) -> None:
    script = r"""
        C: submit SELECT SUBMIT
        U: submit SELECT SUBMIT
        C: A CREATE {6}
        U: A CREATE {6}
        S: + go
        P: + go
        C: SUBMIT
        U: SUBMIT
        C: B IDLE
        U: B IDLE
        S: + idling
        P: + idling
        S: * 1 EXISTS
        P: * 1 EXISTS
        C: SUBMIT {3}
        U: SUBMIT {3}
        S: B BAD expected DONE
        P: B BAD expected DONE
    """
    fred.play(script, chunk)


def test_messages_larger_than_buffers_pass_both_ways_at_once(fred: Stage) -> None:
    """Neither side reads before it has written all of its own."""
    upload, download = random.Random(1).randbytes(6 << 20), random.Random(2).randbytes(6 << 20)
    command = b"A APPEND x {%d+}\r\n%b\r\n" % (len(upload), upload)
    response = b"* 1 FETCH (BODY[] {%d}\r\n%b)\r\n" % (len(download), download)
    senders = [
        threading.Thread(target=fred.client.send, args=(command,), daemon=True),
        threading.Thread(target=fred.server.send, args=(response,), daemon=True),
    ]
    for sender in senders:
        sender.start()
    fred.server.expect(command)
    fred.client.expect(response)
    for sender in senders:
        sender.join()


# Capability lists


@CHUNKS
@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"* OK [CAPABILITY IMAP4rev1] hi\r\n", b"* OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL] hi\r\n"),
        (b"* ok [capability imap4rev1] {5}\r\n", b"* ok [capability imap4rev1 CAN-SUBMIT CAN-SUBMIT=URL] {5}\r\n"),
        (
            b"* PREAUTH [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE IDLE] hi\r\n",
            b"* PREAUTH [CAPABILITY IMAP4rev1 IDLE CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] hi\r\n",
        ),
        (
            b"* OK [CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED AUTH=GSSAPI AUTH=PLAIN] hi\r\n",
            b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT CAN-SUBMIT=URL] hi\r\n",
        ),
        (
            b"* OK [CAPABILITY IMAP4rev1 auth=cram-md5 AUTH=SCRAM-SHA-256-PLUS AUTH=XOAUTH2 compress=deflate] hi\r\n",
            b"* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 CAN-SUBMIT CAN-SUBMIT=URL] hi\r\n",
        ),
        (
            b"* OK [CAPABILITY can-submit CAN-SUBMIT=SENT IMAP4rev1] hi\r\n",
            b"* OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL] hi\r\n",
        ),
        (b"* OK hello [CAPABILITY IMAP4rev1]\r\n", b"* OK hello [CAPABILITY IMAP4rev1]\r\n"),
    ],
)
def test_greeting_is_rewritten(stage: Stage, said: bytes, heard: bytes, chunk: int) -> None:
    stage.server.send(said, chunk)
    stage.client.expect(heard)


@CHUNKS
def test_capabilities_are_rewritten_after_the_greeting(fred: Stage, chunk: int) -> None:
    script = r"""
        C: A CAPABILITY
        U: A CAPABILITY
        S: * CAPABILITY IMAP4rev1 AUTH=PLAIN STARTTLS
        P: * CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE
        S: * capability IMAP4rev1
        P: * capability IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE
        S: A OK [CAPABILITY IMAP4rev1 COMPRESS=DEFLATE QUOTA] done
        P: A OK [CAPABILITY IMAP4rev1 QUOTA CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] done
        S: * OK [CAPABILITY IMAP4rev1] changed
        P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] changed
        S: B NO [CAPABILITY IMAP4rev1] no
        P: B NO [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] no
        S: C BAD [Capability IMAP4rev1] bad
        P: C BAD [Capability IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] bad
        S: * 1 FETCH (BODY[] {24}\r\n* CAPABILITY IMAP4rev1\r\n)
        P: * 1 FETCH (BODY[] {24}\r\n* CAPABILITY IMAP4rev1\r\n)
        S: D OK done [CAPABILITY IMAP4rev1]
        P: D OK done [CAPABILITY IMAP4rev1]
    """
    fred.play(script, chunk)


@pytest.mark.parametrize(
    ("submit", "announced"),
    [
        ({"references": "off"}, "CAN-SUBMIT"),
        ({"references": "off", "sent-mailbox": "auto"}, "CAN-SUBMIT CAN-SUBMIT=SENT"),
        ({"sent-mailbox": "Gesendete Objekte/Büro"}, "CAN-SUBMIT CAN-SUBMIT=URL CAN-SUBMIT=SENT"),
    ],
)
def test_what_is_announced_follows_the_configuration(submit: dict[str, str], announced: str, tmp_path: Path) -> None:
    with theatre(tmp_path, {"submit": submit}) as house, house.scene() as stage:
        stage.play(rf"""
            S: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT=X] hi
            P: * OK [CAPABILITY IMAP4rev1 {announced}] hi
        """)


def test_all_mechanisms_but_those_that_encrypt_are_offered_on_demand(tmp_path_factory: pytest.TempPathFactory) -> None:
    options = {"imap": {"auth-mechanisms": "all"}}
    with theatre(tmp_path_factory.mktemp("all"), options) as house, house.scene() as stage:
        stage.play(r"""
            S: * OK [CAPABILITY IMAP4rev1 AUTH=GSSAPI AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1 AUTH=SCRAM-SHA-1-PLUS] hi
            P: * OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1 CAN-SUBMIT CAN-SUBMIT=URL] hi
            C: A AUTHENTICATE GSSAPI
            P: A NO [CANNOT] This mechanism was not offered
            C: B AUTHENTICATE CRAM-MD5
            U: B AUTHENTICATE CRAM-MD5
            S: + PDE+
            P: + PDE+
            C: ZnJlZCAx
            U: ZnJlZCAx
            S: B OK logged in
            P: B OK logged in
            C: C SUBMIT {10+}\r\n0123456789
            P: C NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,
        """)


# Who decides about held octets: the server


@CHUNKS
def test_server_takes_the_literal(fred: Stage, chunk: int) -> None:
    script = r"""
        C: A APPEND x {8}\r\nB NOOP\r\n\r\nC NOOP
        U: A APPEND x {8}
        S: * 1 EXISTS
        P: * 1 EXISTS
        S: + go
        P: + go
        U: B NOOP\r\n\r\nC NOOP
        S: A OK done\r\nC OK done
        P: A OK done\r\nC OK done
    """
    fred.play(script, chunk)


@CHUNKS
def test_server_refuses_the_literal(house: Theatre, fred: Stage, chunk: int) -> None:
    """What came behind it is then commands: one to pass on, and one for the proxy."""
    script = r"""
        C: A APPEND x {8}\r\nB NOOP\r\nC SUBMIT
        U: A APPEND x {8}
        S: * 1 EXISTS
        P: * 1 EXISTS
        S: A NO [TRYCREATE] no
        P: A NO [TRYCREATE] no
        U: B NOOP
        S: B OK done
        P: B OK done\r\nC BAD SUBMIT takes one argument: the message as a literal
    """
    fred.play(script, chunk)


@CHUNKS
def test_server_refuses_to_idle(fred: Stage, chunk: int) -> None:
    script = r"""
        C: A IDLE\r\nDONE NOOP
        U: A IDLE
        S: * 1 EXISTS
        P: * 1 EXISTS
        S: A NO not now
        P: A NO not now
        U: DONE NOOP
    """
    fred.play(script, chunk)


@CHUNKS
def test_done_sent_before_the_server_idles(fred: Stage, chunk: int) -> None:
    script = r"""
        C: A IDLE\r\nDONE\r\nB NOOP
        U: A IDLE
        S: + idling
        P: + idling
        U: DONE\r\nB NOOP
        S: A OK done\r\nB OK done
        P: A OK done\r\nB OK done
    """
    fred.play(script, chunk)


def test_tags_may_be_used_again(fred: Stage) -> None:
    """The first answer completes the older of the two; SUBMIT waits for the other."""
    fred.play(r"""
        C: A NOOP\r\nA CHECK\r\nA SUBMIT {3}
        U: A NOOP\r\nA CHECK
        S: A OK noop
        P: A OK noop
        S: * 1 EXISTS
        P: * 1 EXISTS
        S: A OK check
        P: A OK check\r\n+ Ready for the message
        C: x\r\n
        P: A BAD not a message
    """)


# Logging in


def test_mechanism_that_was_not_offered(stage: Stage) -> None:
    stage.play(r"""
        S: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=GSSAPI] hi
        P: * OK [CAPABILITY IMAP4rev1 AUTH=PLAIN CAN-SUBMIT CAN-SUBMIT=URL] hi
        C: A AUTHENTICATE GSSAPI
        P: A NO [CANNOT] This mechanism was not offered
        C: B AUTHENTICATE XOAUTH2 dXNlcj0=
        P: B NO [CANNOT] This mechanism was not offered
        C: C AUTHENTICATE PLAIN
        U: C AUTHENTICATE PLAIN
        S: C NO not me
        P: C NO not me
        C: D NOOP
        U: D NOOP
    """)


def test_server_that_announces_nothing_is_offered_what_can_be_used_again(stage: Stage) -> None:
    stage.play(r"""
        S: * OK hi
        P: * OK hi
        C: A AUTHENTICATE SCRAM-SHA-1 biws\r\nB AUTHENTICATE login
        P: A NO [CANNOT] This mechanism was not offered
        U: B AUTHENTICATE login
    """)


def test_cancelled_authentication(stage: Stage) -> None:
    stage.play(r"""
        S: * OK hi
        P: * OK hi
        C: A AUTHENTICATE PLAIN\r\n*\r\nB NOOP
        U: A AUTHENTICATE PLAIN
        S: + go on
        P: + go on
        U: *
        S: A BAD cancelled
        P: A BAD cancelled
        U: B NOOP
        C: C SUBMIT {5}
        S: B OK done
        P: B OK done\r\nC BAD Log in first
    """)


@pytest.mark.parametrize("command", ["STARTTLS", "UNAUTHENTICATE", "starttls"])
def test_what_would_blind_the_proxy_is_not_passed_on(fred: Stage, command: str) -> None:
    """A server's answer to it would turn the stream into something that cannot be read."""
    fred.play(rf"""
        C: A {command}\r\nB NOOP
        P: A BAD This command was not offered
        U: B NOOP
    """)


def test_unauthenticate_forgets_the_user(stage: Stage) -> None:
    stage.log_in(greeting=b"* OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] hi\r\n")
    stage.play(r"""
        C: A UNAUTHENTICATE
        U: A UNAUTHENTICATE
        S: A OK forgotten
        P: A OK forgotten
        C: B SUBMIT {5}
        P: B BAD Log in first
    """)


def test_preauth_names_no_user(stage: Stage) -> None:
    stage.play(r"""
        S: * PREAUTH hello
        P: * PREAUTH hello
        C: A SUBMIT {5}
        P: A NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,
        C: B NOOP
        U: B NOOP
    """)


def test_login_is_passed_on_where_the_server_had_disabled_it(stage: Stage) -> None:
    """LOGINDISABLED is about the upstream hop, so it is for the server to refuse."""
    stage.play(r"""
        S: * OK [CAPABILITY IMAP4rev1 LOGINDISABLED STARTTLS] hi
        P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL] hi
        C: A LOGIN fred secret
        U: A LOGIN fred secret
        S: A NO [PRIVACYREQUIRED] no
        P: A NO [PRIVACYREQUIRED] no
    """)


def test_commands_wait_for_the_greeting(stage: Stage) -> None:
    stage.client.send(b"A LOGIN fred secret\r\n")
    stage.play(r"""
        S: * OK \
        S: hi
        P: * OK hi
        U: A LOGIN fred secret
    """)


# Refusals and drops


def test_greeting_is_a_goodbye(stage: Stage) -> None:
    stage.server.send(b"* BYE [ALERT] full\r\n")
    stage.server.close()
    assert stage.client.rest() == b"* BYE [ALERT] full\r\n"


GONE = b"* BYE The IMAP server closed the connection\r\n"
UNAVAILABLE = b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        (b"", UNAVAILABLE),
        (b"* OK [CAPABILITY IMAP4", UNAVAILABLE),
        (GREETING, REWRITTEN_GREETING + GONE),
        (GREETING + b"* 1 FETCH (BODY[] {100}\r\nabc", REWRITTEN_GREETING + b"* 1 FETCH (BODY[] {100}\r\nabc"),
        (GREETING + b"* BYE going\r\n", REWRITTEN_GREETING + b"* BYE going\r\n"),
        (GREETING + b"* OK fine\r\n* OK not fi", REWRITTEN_GREETING + b"* OK fine\r\n* OK not fi"),
        (GREETING + b"* OK fine\r\n* OK [CAPAB", REWRITTEN_GREETING + b"* OK fine\r\n" + GONE),
    ],
    ids=[
        *("before the greeting", "within it", "after it", "within a literal", "after BYE", "within a line"),
        "within a list",
    ],
)
def test_server_drops_the_connection(stage: Stage, said: bytes, heard: bytes) -> None:
    stage.server.send(said)
    stage.server.close()
    assert stage.client.rest() == heard


@pytest.mark.parametrize(
    "before", [b"A NOOP\r\n", b"A APPEND x {5}\r\n", b"A IDLE\r\n", b"A AUTHENTICATE PLAIN\r\n", b"A LOGI"]
)
def test_server_breaks_off_in_the_middle_of_a_command(house: Theatre, before: bytes) -> None:
    with house.fred() as stage:
        stage.client.send(before)
        if before.endswith(b"\n"):
            stage.server.line()
        stage.server.reset()
        assert stage.client.rest() == GONE


@pytest.mark.parametrize(
    "greeting", [b"220 smtp.example ESMTP\r\n", b"+ hello\r\n", b"* 1 EXISTS\r\n", b"\r\n", b"\0\xff\r\n"]
)
def test_server_that_does_not_greet_as_one(stage: Stage, greeting: bytes) -> None:
    stage.server.send(greeting)
    assert stage.client.rest() == b"* BYE The IMAP server sent what cannot be understood\r\n"


@pytest.mark.parametrize("beginning", [b"* OK [CAPABILITY ", b"* CAPABILITY ", b"+ "])
def test_server_that_never_ends_a_line_that_must_be_read_whole(fred: Stage, beginning: bytes) -> None:
    fred.server.send(beginning + b"x" * (70 << 10))
    assert fred.client.rest() == b"* BYE The IMAP server sent what cannot be understood\r\n"
    fred.server.rest()


def test_status_response_of_any_length_passes(fred: Stage) -> None:
    line = b"* OK [COPYUID 1 " + b"1234567," * (1 << 15) + b"9 1:32769] Copied\r\n"
    sender = threading.Thread(target=fred.server.send, args=(line,), daemon=True)
    sender.start()
    fred.client.expect(line)
    sender.join()


def test_data_line_without_end_passes(fred: Stage) -> None:
    """Only what must be read is held, and so bounded."""
    line = b"* SEARCH" + b" 1234567" * (1 << 18) + b"\r\n"
    sender = threading.Thread(target=fred.server.send, args=(line,), daemon=True)
    sender.start()
    fred.client.expect(line)
    sender.join()


@pytest.mark.parametrize(
    "octets",
    [b"A" * (300 << 10), b"A NOOP " + b"x" * (300 << 10) + b"\r\n"],
    ids=["no line", "a line"],
)
def test_client_sends_too_long_a_line(fred: Stage, octets: bytes) -> None:
    fred.client.send(octets)
    assert fred.client.line() == b"* BYE command line too long\r\n"
    assert fred.server.rest() == b""


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        (b"A NO\0OP\r\n", b"A BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
        (b"A NOOP\n", b"A BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
        (b"A NOOP\rB NOOP\r\n", b"A BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
        (b"\r\n", b"* BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
        (b"\x16\x03\x01\x02\n", b"* BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
        (b"A\x00 SUBMIT {3+}\r\nabc\r\n", b"* BAD Not a command: a tag, a space, a name, CRLF at the end\r\n"),
    ],
)
def test_line_that_servers_may_frame_in_different_ways(fred: Stage, line: bytes, answer: bytes) -> None:
    """It is refused, not passed on, and the session goes on."""
    fred.client.send(line)
    fred.client.expect(answer)
    fred.play(r"""
        C: Z NOOP
        U: Z NOOP
    """)


def test_unclean_rest_of_a_command_ends_the_session(fred: Stage) -> None:
    fred.client.send(b"A APPEND x {1+}\r\nx\nB NOOP\r\n")
    fred.server.expect(b"A APPEND x {1+}\r\nx")
    assert fred.client.rest() == b"* BYE A line must end in CRLF, and hold no other CR, LF or NUL\r\n"
    assert fred.server.rest() == b""


@pytest.mark.parametrize("size", [2**31, 2**63 - 1, 10**20 - 1])
def test_literals_that_nobody_has_room_for(fred: Stage, size: int) -> None:
    """The server decides about its own; ours never fill anything."""
    fred.play(rf"""
        C: A APPEND x {{{size}}}
        U: A APPEND x {{{size}}}
        S: A NO too big
        P: A NO too big
        C: B SUBMIT {{{size}}}
        P: B NO 5.3.4 message too large,
        S: * 1 FETCH (BODY[] {{{size}}}\r\nabc
        P: * 1 FETCH (BODY[] {{{size}}}\r\nabc
    """)


def test_endless_literal_of_a_command_that_is_none(fred: Stage) -> None:
    fred.client.send(b"A {%d+}\r\n" % 2**40)
    assert fred.client.rest() == b"* BYE Literal too large\r\n"


def test_answers_that_nobody_asked_for(fred: Stage) -> None:
    """They pass, and complete nothing."""
    fred.play(r"""
        S: + what?\r\nZ OK never heard of\r\nL OK again\r\n+\r\n+ {5}
        P: + what?\r\nZ OK never heard of\r\nL OK again\r\n+\r\n+ {5}
        C: A NOOP\r\nB SUBMIT {5}
        U: A NOOP
        S: B OK done
        P: B OK done
        S: A OK done
        P: A OK done\r\n+ Ready for the message
        C: :\r\n\r\n
        P: B BAD not a message
    """)


WORDS = (
    *(b"* ", b"+ ", b"A ", b"OK ", b"BYE ", b"CAPABILITY ", b"[CAPABILITY IMAP4rev1] ", b"FETCH ", b"(", b")", b'"'),
    *(b"LOGIN fred secret", b"AUTHENTICATE PLAIN", b"IDLE", b"DONE", b"SUBMIT ", b"APPEND x ", b"UNAUTHENTICATE"),
    *(b"{3}", b"{3+}", b"~{3+}", b"{0}", b"{99999999999}", b"{99999999999999999999999}", b"{-1}", b"\\", b"Subject: x"),
    *(b"\r\n", b"\r\n", b"\r\n", b"\r", b"\n", b"\0", b"\xff", b"x" * 5000, b" "),
)


@pytest.mark.parametrize("seed", range(20))
def test_garbage_from_both_sides(house: Theatre, seed: int) -> None:
    """Whatever it is, the session goes on or ends in order; the program has no surprise."""
    chance = random.Random(seed)
    with house.scene() as stage:
        with suppress(ConnectionError):
            stage.server.send(chance.choice([GREETING, b"* PREAUTH hi\r\n", b"* OK hi\r\nA OK\r\n"]))
            for _ in range(100):
                peer = chance.choice([stage.client, stage.server])
                peer.send(b"".join(chance.choices(WORDS, k=chance.randrange(1, 6))))
        stage.server.hang_up()
        stage.client.rest()
        stage.server.rest()
    assert "session-failed" not in house.proxy.log()


def test_literals_before_login(stage: Stage) -> None:
    stage.server.send(GREETING)
    stage.client.line()
    stage.play(r"""
        C: A LOGIN {4+}\r\nfred {6+}\r\nsecret
        U: A LOGIN {4+}\r\nfred {6+}\r\nsecret
        S: A NO wrong
        P: A NO wrong
        C: B SELECT {3}
        P: B BAD No literal here before login
        C: C AUTHENTICATE PLAIN {3+}\r\nabc
        P: C BAD AUTHENTICATE takes no literal
        C: D LOGIN fred {5000}
        P: D BAD User name or password too long
    """)


def test_non_synchronizing_literal_in_a_login_that_the_server_did_not_announce(stage: Stage) -> None:
    stage.play(r"""
        S: * OK [CAPABILITY IMAP4rev1] hi
        P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL] hi
        C: A LOGIN fred {6+}\r\nsecret
        P: A BAD The server has not announced that it takes non-synchronizing literals
    """)
