"""Logging in, seen from the SMTP server: with ``smtp-auth = user`` it is shown what the IMAP server accepted."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.fake_imap import Stage
from tests.functional.fake_smtp import Turns
from tests.functional.scripted import DRAFT, Theatre, theatre

EHLO = "250-fake.example\n250-8BITMIME\n250 AUTH PLAIN LOGIN XOAUTH2 OAUTHBEARER"

MECHANISMS = "AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER"
OFFER = rf"""
    S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR {MECHANISMS}] hi
    P: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR {MECHANISMS} CAN-SUBMIT CAN-SUBMIT=URL] hi
"""
BARE = rf"""
    S: * OK [CAPABILITY IMAP4rev1 {MECHANISMS}] hi
    P: * OK [CAPABILITY IMAP4rev1 {MECHANISMS} CAN-SUBMIT CAN-SUBMIT=URL] hi
"""
ACCEPTED = r"""
    S: A OK [CAPABILITY IMAP4rev1] logged in
    P: A OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL COMPRESS=DEFLATE] logged in
"""


def b64(octets: bytes) -> str:
    return base64.b64encode(octets).decode()


XOAUTH2 = b"user=fred@example.com\1auth=Bearer t0ken\1\1"
OAUTHBEARER = b"n,a=fred@example.com,\1host=x\1port=143\1auth=Bearer t0ken\1\1"
SHOWN_PLAIN = "AUTH PLAIN " + b64(b"\0fred\0secret")
SHOWN_XOAUTH2 = "AUTH XOAUTH2 " + b64(XOAUTH2)
SHOWN_OAUTHBEARER = "AUTH OAUTHBEARER " + b64(b"n,a=fred@example.com,\1auth=Bearer t0ken\1\1")


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with theatre(tmp_path_factory.mktemp("login"), {"smtp": {"smtp-auth": "user"}}) as house:
        yield house


@pytest.fixture
def house(opened: Theatre) -> Iterator[Theatre]:
    with opened.performance():
        opened.script({"EHLO": EHLO})
        yield opened


@pytest.fixture
def stage(house: Theatre) -> Iterator[Stage]:
    with house.scene() as scene:
        yield scene


def passing(*lines: str) -> str:
    """Return the script of lines that the client sends and the server gets, each after a ``+`` but the first."""
    passed = (f"C: {line}\nU: {line}\n" for line in lines)
    return "S: + go on\nP: + go on\n".join(passed)


@pytest.mark.parametrize("chunk", [1 << 20, 1], ids=["whole", "octet by octet"])
@pytest.mark.parametrize(
    ("login", "shown"),
    [
        (passing("A LOGIN fred secret"), [SHOWN_PLAIN]),
        (passing('A LOGIN "fred" "secret"'), [SHOWN_PLAIN]),
        (passing('A login fred "sec \\\\"ret\\\\\\\\"'), ["AUTH PLAIN " + b64(b'\0fred\0sec "ret\\')]),
        (passing("A LOGIN {4}", "fred {6}", "secret"), [SHOWN_PLAIN]),
        (passing(r"A LOGIN fred {8}", r"sec\r\nret"), ["AUTH PLAIN " + b64(b"\0fred\0sec\r\nret")]),
        (passing(r"A LOGIN {4+}\r\nfred {6+}\r\nsecret"), [SHOWN_PLAIN]),
        (passing(r"A LOGIN fred s\xc3\xa9cret"), ["AUTH PLAIN " + b64(b"\0fred\0s\xc3\xa9cret")]),
        (passing("A AUTHENTICATE PLAIN", b64(b"\0fred\0secret")), [SHOWN_PLAIN]),
        (passing("A AUTHENTICATE PLAIN " + b64(b"\0fred\0secret")), [SHOWN_PLAIN]),
        (passing("A authenticate plain " + b64(b"fred\0fred\0secret")), [SHOWN_PLAIN]),
        (
            passing("A AUTHENTICATE PLAIN", b64(b"fred\0boss\0secret")),
            ["AUTH PLAIN " + b64(b"fred\0boss\0secret")],
        ),
        (passing("A AUTHENTICATE LOGIN", b64(b"fred"), b64(b"secret")), [SHOWN_PLAIN]),
        (passing("A AUTHENTICATE LOGIN " + b64(b"fred"), b64(b"secret")), [SHOWN_PLAIN]),
        (passing("A AUTHENTICATE XOAUTH2", b64(XOAUTH2)), [SHOWN_XOAUTH2]),
        (passing("A AUTHENTICATE XOAUTH2 " + b64(XOAUTH2)), [SHOWN_XOAUTH2]),
        (passing("A AUTHENTICATE OAUTHBEARER", b64(OAUTHBEARER)), [SHOWN_OAUTHBEARER]),
        (passing("A AUTHENTICATE OAUTHBEARER " + b64(OAUTHBEARER)), [SHOWN_OAUTHBEARER]),
    ],
)
def test_smtp_server_is_shown_the_same(house: Theatre, stage: Stage, login: str, shown: list[str], chunk: int) -> None:
    stage.play(OFFER + login + ACCEPTED, chunk)
    assert stage.submit(DRAFT) == b"OK SUBMIT completed"
    assert [command for command in house.smtp.commands if command.startswith("AUTH")] == shown
    assert house.smtp.messages[0].mail.startswith("MAIL FROM:<fred@example.com>")


def test_server_without_initial_responses_and_literals(house: Theatre, stage: Stage) -> None:
    stage.play(BARE + passing("A AUTHENTICATE PLAIN", b64(b"\0fred\0secret")) + ACCEPTED)
    assert stage.submit(DRAFT) == b"OK SUBMIT completed"
    assert SHOWN_PLAIN in house.smtp.commands


def test_smtp_server_that_knows_only_login(house: Theatre) -> None:
    house.script({"EHLO": "250-fake\n250 AUTH LOGIN", "AUTH": Turns("334 UGFzc3dvcmQ6", "235 2.7.0 logged in")})
    assert house.submit(DRAFT) == b"OK SUBMIT completed"
    assert house.smtp.commands[1:3] == ["AUTH LOGIN " + b64(b"fred"), b64(b"secret")]


def test_what_counts_is_the_login_that_succeeded(house: Theatre, stage: Stage) -> None:
    """One guess at a time: each waits for the answer to the one before."""
    stage.play(
        OFFER
        + r"""
        C: X LOGIN joe wrong\r\nX LOGIN fred secret\r\nX LOGIN jim late
        U: X LOGIN joe wrong
        S: X NO wrong
        P: X NO wrong
        U: X LOGIN fred secret
        S: X OK right
        P: X OK right
        U: X LOGIN jim late
        S: X BAD already
        P: X BAD already
    """
    )
    assert stage.submit(DRAFT) == b"OK SUBMIT completed"
    assert SHOWN_PLAIN in house.smtp.commands


def test_second_login_changes_nothing(house: Theatre, stage: Stage) -> None:
    """Even if the server says OK to it."""
    stage.play(
        OFFER
        + r"""
        C: X LOGIN fred secret
        U: X LOGIN fred secret
        S: X OK right
        P: X OK right
        C: Y LOGIN boss guessed
        U: Y LOGIN boss guessed
        S: Y OK whatever
        P: Y OK whatever
    """
    )
    assert stage.submit(DRAFT) == b"OK SUBMIT completed"
    assert SHOWN_PLAIN in house.smtp.commands


def test_server_refuses_the_user_name(house: Theatre, stage: Stage) -> None:
    """What was to be the name is then a command."""
    stage.play(
        OFFER
        + r"""
        C: X LOGIN {23}\r\nY LOGIN fred secret\r\n x y
        U: X LOGIN {23}
        S: X NO not like this
        P: X NO not like this
        U: Y LOGIN fred secret
        P: * BAD Not a command: a tag, a space, a name, CRLF at the end
        S: Y OK right
        P: Y OK right
    """
    )
    assert stage.submit(DRAFT) == b"OK SUBMIT completed"
    assert SHOWN_PLAIN in house.smtp.commands


def test_server_tells_of_a_bad_token(stage: Stage) -> None:
    """The client acknowledges with an empty line, and may try again."""
    stage.play(
        OFFER
        + r"""
        C: X AUTHENTICATE XOAUTH2 dXNlcj1mcmVkAWF1dGg9QmVhcmVyIG9sZAEB
        U: X AUTHENTICATE XOAUTH2 dXNlcj1mcmVkAWF1dGg9QmVhcmVyIG9sZAEB
        S: + eyJzdGF0dXMiOiI0MDAifQ==
        P: + eyJzdGF0dXMiOiI0MDAifQ==
        C:
        U:
        S: X NO expired
        P: X NO expired
        C: Y SUBMIT {5}
        P: Y BAD Log in first
    """
    )


def test_user_of_another_command_with_the_same_tag(house: Theatre, stage: Stage) -> None:
    """The OK of a CAPABILITY is not that of the LOGIN behind it."""
    stage.play(
        OFFER
        + r"""
        C: X CAPABILITY\r\nX LOGIN joe wrong\r\nY SUBMIT {10}
        U: X CAPABILITY\r\nX LOGIN joe wrong
        S: X OK capability\r\nX NO wrong
        P: X OK capability\r\nX NO wrong\r\nY BAD Log in first
    """
    )


def test_what_cannot_be_read_is_nobody(stage: Stage) -> None:
    """The server may understand it; who would be the sender is not known."""
    stage.play(OFFER + passing("A AUTHENTICATE PLAIN", "!not base64!") + ACCEPTED)
    assert stage.submit(DRAFT) == b"NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,"


@pytest.mark.parametrize(
    ("replies", "answer"),
    [
        ({"AUTH": "535 5.7.8 bad credentials"}, b"NO 535 5.7.8 bad credentials,"),
        ({"AUTH": "454 4.7.0 try later, please"}, b"NO 454 4.7.0 try later; please,"),
        ({"EHLO": "250 fake"}, b"NO 5.7.4 mail server offers no authentication that fits the login,"),
        (
            {"EHLO": "250-fake\n250 AUTH CRAM-MD5"},
            b"NO 5.7.4 mail server offers no authentication that fits the login,",
        ),
    ],
)
def test_smtp_server_does_not_accept_the_user(house: Theatre, replies: dict[str, str], answer: bytes) -> None:
    house.script(replies)
    assert house.submit(DRAFT) == answer
    assert not house.smtp.messages
    assert "MAIL" not in house.smtp.verbs()


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "OAUTHBEARER"])
def test_expired_token(house: Theatre, stage: Stage, mechanism: str) -> None:
    token = b64({"XOAUTH2": XOAUTH2, "OAUTHBEARER": OAUTHBEARER}[mechanism])
    house.smtp.script["AUTH"] = "535 5.7.8 expired"
    stage.play(OFFER + passing(f"A AUTHENTICATE {mechanism} {token}") + ACCEPTED)
    assert stage.submit(DRAFT) == b"NO 5.7.8 login expired; log in again,"


def test_fixed_login(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("ga%s(he]im\n", encoding="utf-8")
    password_file.chmod(0o600)
    smtp = {"smtp-auth": "fixed", "smtp-username": "proxy", "smtp-password-file": str(password_file)}
    with theatre(tmp_path, {"smtp": smtp, "log": {"log-level": "debug"}}) as house:
        house.script({"EHLO": EHLO})
        assert house.submit(DRAFT) == b"OK SUBMIT completed"
        assert "AUTH PLAIN " + b64(b"\0proxy\0ga%s(he]im") in house.smtp.commands
        assert "he]im" not in house.proxy.log()


def test_nobody_logs_in_where_smtp_auth_is_none(tmp_path: Path) -> None:
    with theatre(tmp_path) as house:
        house.script({"EHLO": EHLO})
        assert house.submit(DRAFT) == b"OK SUBMIT completed"
        assert "AUTH" not in house.smtp.verbs()


# The log


def test_log_holds_no_secret_and_nothing_forged(tmp_path: Path) -> None:
    """A user name with line ends, quotes and fields in it is one value on one line."""
    with theatre(tmp_path, {"smtp": {"smtp-auth": "user"}, "log": {"log-level": "debug"}}) as house:
        house.script({"EHLO": EHLO, "AUTH": "535 5.7.8 no\r\nforged smtp=1"})
        name = b'fred\r\nDATE imapproxy[1]: INFO login user=root" x\x1b[2J\xe2\x80\xa8'
        for tag, verdict in ((b"N", b"NO"), (b"O", b"OK")):
            with house.scene() as stage:
                stage.server.send(b"* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n")
                stage.client.line()
                command = b"%b LOGIN {%d+}\r\n%b hunter2\r\n" % (tag, len(name), name)
                stage.client.send(command)
                stage.server.expect(command)
                stage.server.send(b"%b %b done\r\n" % (tag, verdict))
                stage.client.line()
                if verdict == b"OK":
                    stage.submit(DRAFT)
        with house.scene() as stage:
            stage.play(OFFER + passing("A AUTHENTICATE PLAIN", b64(b"\0fred\0hunter2")) + ACCEPTED)
            stage.submit(DRAFT)
    log = house.proxy.log()
    assert "hunter2" not in log
    assert b64(b"\0fred\0hunter2") not in log
    assert "user=root" in log  # it has been logged, and below, escaped
    line = re.compile(
        r"\d{4}-\d\d-\d\dT[\d:.+Z-]+ imapproxy\[\d+\]: [A-Z]+ [a-z-]+(?: [a-z_]+=(?:[!-~]+|\"[ -~]*\"))*\n"
    )
    assert re.fullmatch(rf"(?:{line.pattern})+", log)
    assert len(re.findall(r"(?m)^\S+ imapproxy\[\d+\]: INFO login user=", log)) == 2
