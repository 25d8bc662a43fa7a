"""The program imap-submit as its callers see it: what it sends, what it says, and what it ends with."""

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from email import message_from_bytes
from pathlib import Path
from typing import IO

import pytest

from tests.functional.fake_smtp import CLOSE, SILENCE
from tests.functional.home import PROGRAM, Home, Ran, seen_at
from tests.functional.process import PATIENCE, taking
from tests.functional.scripted import eventually
from tests.net.scripted_imap import TAKE, Script, ScriptedImap

MESSAGE = b"To: joe@example.org\n\nHello\n.\nGoodbye\n"
SENT = b"To: joe@example.org\r\nFrom: fred@example.com\r\n\r\nHello\r\n"
MESSAGE_ID = re.compile(rb"(?m)^Message-ID: <([0-9a-f]{32})@example\.com>\r\n")
ID_SIZE = len(f"Message-ID: <{'0' * 32}@example.com>\r\n")

# What could change the terminal's title, or look like a line of ours.
HOSTILE = b"\x1b]0;you\x07 \x9b31m no\rimap-submit: sent"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path, "fred")
    home.write("bin/imap-submit", f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n').chmod(0o755)
    return home


@contextmanager
def server(home: Home, script: Mapping[str, Script] | None = None) -> Iterator[ScriptedImap]:
    """A server, which is that of the account in this home."""
    with ScriptedImap(script) as server:
        server.capabilities = "IMAP4rev1 AUTH=PLAIN LITERAL+ CAN-SUBMIT"
        home.write("secret", "pencil\n").chmod(0o600)
        keys = (f"server = 127.0.0.1:{server.port}", "tls = off", "user = fred", f"from = {home.from_}")
        home.write(".config/imap-submit.conf", "\n".join((*keys, "password-file = ~/secret")))
        yield server


def without_id(octets: bytes) -> bytes:
    """Return a message without the Message-ID that it got."""
    text, count = MESSAGE_ID.subn(b"", octets)
    assert count == 1
    return text


def submit(home: Home, *arguments: str, given: bytes = MESSAGE) -> Ran:
    return home.run("imap-submit", *arguments, given=given)


# --- what is sent ------------------------------------------------------------------------------------------------


def test_a_message_is_sent_and_nothing_is_said(home: Home) -> None:
    with server(home) as imap:
        assert submit(home, "-t") == Ran(os.EX_OK, "")
    assert imap.answers == [b"\0fred\0pencil"]
    assert [*map(without_id, imap.submitted)] == [SENT]


def test_each_call_is_a_message_of_its_own(home: Home) -> None:
    """Alike to the octet, its Date in whole seconds: the proxy's journal would take the second for the first again."""
    given = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\n" + MESSAGE
    with server(home) as imap:
        for _ in range(2):
            assert submit(home, "-t", given=given) == Ran(os.EX_OK, "")
    first, second = imap.submitted
    assert without_id(first) == without_id(second)
    assert MESSAGE_ID.findall(first) != MESSAGE_ID.findall(second)


def test_who_tries_the_same_message_again_keeps_its_message_id(home: Home) -> None:
    given = b"Message-ID: <plans@example.org>\n" + MESSAGE
    with server(home) as imap:
        for _ in range(2):
            assert submit(home, "-t", given=given) == Ran(os.EX_OK, "")
    assert imap.submitted == [b"Message-ID: <plans@example.org>\r\n" + SENT] * 2


@pytest.mark.parametrize(("host", "domain"), [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")])
def test_a_message_of_whose_sender_no_domain_is_known_has_the_servers(home: Home, host: str, domain: str) -> None:
    with server(home) as imap:
        arguments = ("-t", "--from", "", "--server", f"{host}:{imap.port}")
        assert submit(home, *arguments, given=b"From: fred\n" + MESSAGE) == Ran(os.EX_OK, "")
    assert f"@{domain}>\r\n".encode() in imap.submitted[0]


def test_a_lone_dot_is_kept_where_it_is_wanted(home: Home) -> None:
    with server(home) as imap:
        assert submit(home, "-t", "-oi") == Ran(os.EX_OK, "")
    assert [*map(without_id, imap.submitted)] == [SENT + b".\r\nGoodbye\r\n"]


def test_with_v_it_says_what_it_does(home: Home) -> None:
    with server(home) as imap:
        ran = submit(home, "-t", "-v")
        assert ran == Ran(
            os.EX_OK,
            f"imap-submit: logged in to 127.0.0.1:{imap.port} as fred; sending {len(SENT) + ID_SIZE} octets\n"
            "imap-submit: SUBMIT completed\n",
        )


def test_what_a_repeat_is_told_is_passed_on(home: Home) -> None:
    """The proxy's journal knows the message: the caller's retry is nothing to worry about, but no secret either."""
    repeated = "SUBMIT completed (accepted earlier, at 2026-11-24 10:00:00 UTC)"
    with server(home, {"SUBMIT": (TAKE, f"TAG OK {repeated}")}):
        assert submit(home, "-t") == Ran(os.EX_OK, f"imap-submit: {repeated}\n")


def test_a_wish_without_effect_is_said(home: Home) -> None:
    with server(home):
        ran = submit(home, "-t", "-N", "failure")
    note = "imap-submit: -N: without effect, since SUBMIT carries no wish for delivery reports\n"
    assert ran == Ran(os.EX_OK, note)


def test_what_lies_on_the_server_is_attached_in_the_order_given(home: Home) -> None:
    attachments = ("--attach-from", "/INBOX/;UID=20/;SECTION=2", "--as", "plans.pdf", "--forward", "/INBOX/;UID=21")
    with server(home) as imap:
        assert submit(home, "-t", *attachments) == Ran(os.EX_OK, "")
    text, *references = message_from_bytes(imap.submitted[0]).walk()
    assert text.get_content_type() == "multipart/mixed"
    urls = [part.get_param("url") for part in references if part.get_content_type() == "message/external-body"]
    assert urls == ["/INBOX/;UID=20/;SECTION=2", "/INBOX/;UID=21"]


# --- what is not sent --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (
            "TAG NO ,joe@example.org,anna@example.org",
            os.EX_NOUSER,
            "recipients were refused; nobody got the message\njoe@example.org\nanna@example.org\n",
        ),
        ("TAG NO 4.3.0 later,", os.EX_TEMPFAIL, "4.3.0 later\n"),
        ("TAG NO 5.7.1 From is not yours,", os.EX_NOPERM, "5.7.1 From is not yours\n"),
        ("TAG NO 5.6.6 no such message,", os.EX_NOINPUT, "5.6.6 no such message\n"),
        ("TAG NO 5.3.4 too large,", os.EX_DATAERR, "5.3.4 too large\n"),
        ("TAG NO 5.0.0 never,", os.EX_UNAVAILABLE, "5.0.0 never\n"),
        ("TAG NO 5.5.2 what?,", os.EX_PROTOCOL, "5.5.2 what?\n"),
        ("TAG NO 5.1.7 From cannot be read,", os.EX_DATAERR, "5.1.7 From cannot be read\n"),
        ("TAG BAD no header", os.EX_DATAERR, "the server takes it for no message: no header\n"),
        (CLOSE, os.EX_TEMPFAIL, "the connection to the IMAP server is lost; the message may have been sent\n"),
    ],
)
def test_a_refusal_is_said_and_is_the_exit_status(home: Home, answer: Script, status: int, said: str) -> None:
    with server(home, {"SUBMIT": (TAKE, answer)}):
        assert submit(home, "-t") == Ran(status, f"imap-submit: {said}")


def test_a_server_without_submit(home: Home) -> None:
    with server(home) as imap:
        imap.capabilities = "IMAP4rev1 AUTH=PLAIN"
        assert submit(home, "-t") == Ran(os.EX_UNAVAILABLE, "imap-submit: the server does not announce CAN-SUBMIT\n")


def test_a_login_that_is_refused_does_not_show_the_password(home: Home) -> None:
    with server(home, {"AUTHENTICATE": "TAG NO [AUTHENTICATIONFAILED] wrong"}):
        assert submit(home, "-t", "-v") == Ran(os.EX_NOPERM, "imap-submit: login refused: wrong\n")


@pytest.mark.parametrize("given", [b"To: joe@example.org\n\nHi\n", b"Subject: no recipient\n\nHi\n"])
def test_more_people_than_were_asked_for_get_nothing(home: Home, given: bytes) -> None:
    arguments = ("anna@example.org",) if b"joe" in given else ("-t",)
    with server(home) as imap:
        assert submit(home, *arguments, given=given).status == os.EX_USAGE
    assert imap.connections == 0


@pytest.mark.parametrize(
    "script",
    [
        {"GREETING": b"* BYE " + HOSTILE + b"\r\n"},
        {"AUTHENTICATE": b"TAG NO " + HOSTILE + b"\r\n"},
        {"SUBMIT": (TAKE, b"TAG NO ,joe@example.org" + HOSTILE + b",x\r\n")},
        {"SUBMIT": (TAKE, b"TAG OK " + HOSTILE + b"\r\n")},
    ],
)
def test_what_the_server_says_is_harmless_at_a_terminal(home: Home, script: dict[str, Script]) -> None:
    with server(home, script):
        said = submit(home, "-t").said
    assert said.isascii()
    assert all(line.isprintable() for line in said.split("\n"))
    assert said.count("imap-submit: ") <= 2  # ours, and what the server wrote, on the same line
    assert "\nimap-submit: sent" not in said


# --- what is found -----------------------------------------------------------------------------------------------

FOUND = (
    '* 1 FETCH (UID 20 RFC822.SIZE 5 INTERNALDATE "24-Nov-2026 11:34:00 +0000" ENVELOPE (NIL "=?utf-8?q?Pl=C3=A4ne?="'
    ' ((NIL NIL "anna" "example.com")) NIL NIL NIL NIL NIL NIL NIL) BODYSTRUCTURE ("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3'
    " 1))\nTAG OK done"
)
FINDING: dict[str, Script] = {"UID SEARCH": "* SEARCH 20\nTAG OK done", "UID FETCH": FOUND}


def test_what_is_found_is_listed(home: Home) -> None:
    with server(home, FINDING):
        ran = submit(home, "--find", "FROM anna")
    assert ran == Ran(os.EX_OK, "/INBOX;UIDVALIDITY=7/;UID=20\t5\t2026-11-24 11:34\tanna@example.com\tPläne\n")


def test_what_is_left_out_is_said_beside_what_is_listed(home: Home) -> None:
    script: dict[str, Script] = {**FINDING, "UID SEARCH": "* SEARCH 20 21\nTAG OK done"}
    script |= dict.fromkeys(["UID FETCH 21,20 ", "UID FETCH 21 "], b"* " + b"x" * (2 << 20))
    with server(home, script):
        ran = submit(home, "--find", "ALL")
    note, line, rest = ran.said.split("\n")
    assert (ran.status, note, rest) == (
        os.EX_OK,
        "imap-submit: /INBOX;UIDVALIDITY=7/;UID=21 is left out: its description is too long",
        "",
    )
    assert line.startswith("/INBOX;UIDVALIDITY=7/;UID=20\t")


def test_a_search_for_nothing_is_refused_before_anybody_is_asked(home: Home) -> None:
    with server(home) as imap:
        assert submit(home, "--find", " ").status == os.EX_USAGE
    assert imap.connections == 0


def test_a_header_that_attachments_make_too_long_is_said(home: Home) -> None:
    given = b"To: joe@example.org\n" + b"X: y\n" * 1999 + b"\nHi\n"
    with server(home) as imap:
        ran = submit(home, "-t", "ann@example.org", "--forward", "/INBOX/;UID=1", given=given)
    assert ran == Ran(os.EX_DATAERR, "imap-submit: 5.3.4 too many header fields\n")
    assert imap.connections == 0


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--server=", "server: must be given: in "),
        ("--user=", "user: must be given: in "),
        ("--password-file=~nosuchuser/x", "--password-file: '~nosuchuser/x': this machine does not know where"),
        ("--tls-ca=~nosuchuser/x", "--tls-ca: '~nosuchuser/x': this machine does not know where"),
        ("--timeout=soon", "--timeout: 'soon' is not a number of seconds"),
    ],
)
def test_a_flag_that_cannot_be_used_is_named_and_nobody_is_asked(home: Home, flag: str, said: str) -> None:
    with server(home) as imap:
        ran = submit(home, "-t", flag)
    assert ran.status == os.EX_CONFIG
    assert ran.said.startswith(f"imap-submit: {said}")
    assert imap.connections == 0


def test_an_empty_flag_takes_back_what_the_file_says(home: Home) -> None:
    with server(home) as imap:
        assert submit(home, "-t", "--timeout=", "--tls-verify", "", "--from=") == Ran(os.EX_OK, "")
    assert b"From:" not in imap.submitted[0]


def test_a_terminal_that_cannot_show_a_letter_shows_a_question_mark(home: Home) -> None:
    with server(home, FINDING):
        environment = {**home.environment, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        ran = home.run("imap-submit", "--find", "FROM anna", environment=environment)
    assert ran.status == os.EX_OK
    assert ran.said.endswith("\tPl?ne\n")


def test_who_has_seen_enough_may_close_the_pipe(home: Home) -> None:
    with server(home, FINDING), broken_pipe() as pipe:
        ran = subprocess.run(
            [home.imap_submit, "--find", "ALL"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            env=home.environment,
            timeout=PATIENCE,
            check=False,
        )
    assert (ran.returncode, ran.stderr) == (os.EX_OK, b"")


def test_that_nobody_listens_does_not_change_what_becomes_of_the_message(home: Home) -> None:
    with server(home, {"SUBMIT": (TAKE, "TAG NO 5.7.1 no,")}), broken_pipe() as pipe:
        ran = subprocess.run(
            [home.imap_submit, "-v", "joe@example.org"],
            input=MESSAGE,
            stderr=pipe,
            env=home.environment,
            timeout=PATIENCE,
            check=False,
        )
    assert ran.returncode == os.EX_NOPERM


@contextmanager
def broken_pipe() -> Iterator[IO[bytes]]:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        yield pipe


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("imap-submit --find ALL >&-", os.EX_OK),
        ("imap-submit --find ALL >/dev/full", os.EX_IOERR),
        ("imap-submit -tv <letter 2>/dev/full", os.EX_OK),
        ("imap-submit --find ALL <&- >&- 2>&-", os.EX_OK),
        ("imap-submit -t <letter >&- 2>&-", os.EX_OK),
        ("imap-submit -t <&-", os.EX_USAGE),
        ("imap-submit -t 0>letter", os.EX_IOERR),
        ("imap-submit -t <&- >&- 2>&-", os.EX_USAGE),
    ],
)
def test_streams_that_are_closed_or_full_do_not_change_how_it_ends(home: Home, script: str, status: int) -> None:
    home.write("letter", MESSAGE.decode())
    with server(home, FINDING):
        assert home.run_script(script).status == status


# --- a person at the terminal ------------------------------------------------------------------------------------


def test_who_waits_sees_how_far_a_large_message_is(home: Home) -> None:
    home.write("letter", "To: joe@example.org\n\n" + "x" * 70 + "\n" + ("y" * 70 + "\n") * 40_000)
    with server(home) as imap:
        seen = at_terminal(home, "imap-submit -ti <letter")
    assert len(imap.submitted[0]) > 2 << 20
    assert seen.startswith("\rimap-submit:   9 % of 2.7 MiB sent\r")
    assert seen.endswith("\rimap-submit: 100 % of 2.7 MiB sent\r\n")


def test_who_reads_a_log_does_not(home: Home) -> None:
    with server(home):
        assert submit(home, "-ti", given=b"To: joe@example.org\n\n" + b"x\n" * (1 << 20)) == Ran(os.EX_OK, "")


def at_terminal(home: Home, script: str) -> str:
    """All that is seen of what a person types."""
    screen, terminal = pty.openpty()
    with (
        closing(os.fdopen(screen, "rb", buffering=0)),
        subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            cwd=home.directory,
            env=home.environment,
        ) as process,
    ):
        os.close(terminal)
        seen = b""
        # Linux says EIO when the last process that had the terminal is gone.
        with suppress(OSError):
            while octets := seen_at(screen):
                seen += octets
        assert process.wait(PATIENCE) == os.EX_OK
        return seen.decode()


def interrupted(home: Home, is_time: Callable[[], bool]) -> tuple[int, str]:
    """The status of a call that is interrupted once it is time to, and what it says then."""
    with taking(signal.SIGINT):
        called = subprocess.Popen(
            [home.imap_submit, "joe@example.org"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=home.environment
        )
    with called as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(MESSAGE)
        process.stdin.close()
        assert eventually(is_time)
        process.send_signal(signal.SIGINT)
        return process.wait(PATIENCE), process.stderr.read().decode()


def test_who_interrupts_it_hears_that_the_message_may_have_been_sent(home: Home) -> None:
    with server(home, {"SUBMIT": (TAKE, SILENCE)}) as imap:
        assert interrupted(home, lambda: bool(imap.submitted)) == (
            130,
            "imap-submit: interrupted; the message may have been sent\n",
        )


def test_but_not_of_one_that_did_not_leave(home: Home) -> None:
    with server(home, {"SUBMIT": SILENCE}) as imap:
        imap.capabilities = "IMAP4rev1 AUTH=PLAIN CAN-SUBMIT"
        ran = interrupted(home, lambda: any(command.startswith("SUBMIT") for command in imap.commands))
        assert ran == (130, "imap-submit: interrupted\n")


def test_a_directory_as_its_input_is_an_error_like_any_other(home: Home) -> None:
    """Python ends with status 1 before it reads a line of the program."""
    environment = {**home.environment, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    ran = home.run("/bin/sh", "-c", f'exec "{PROGRAM}" -t </', environment=environment)
    assert ran == Ran(os.EX_IOERR, "imap-submit: standard input: Is a directory\n")


def test_arguments_and_input_reach_it_as_they_are(home: Home) -> None:
    environment = {**home.environment, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"}
    with server(home) as imap:
        ran = home.run(str(PROGRAM), "-F", "Fred $HOME  'Smith'", "-t", given=MESSAGE, environment=environment)
        assert ran == Ran(os.EX_OK, "")
    (sent,) = imap.submitted
    assert b"$HOME  'Smith'" in sent


def test_who_interrupts_it_while_it_is_loaded_sees_no_traceback(home: Home) -> None:
    """Most of its life it loads modules: here one that interrupts it, as a person would."""
    program = Path(home.write("program/bin/imap-submit", PROGRAM.read_text(encoding="utf-8")))
    home.write("program/bin/imapproxy/__init__.py", "")
    home.write("program/bin/imapproxy/sendmail/__init__.py", "")
    home.write("program/bin/imapproxy/sendmail/main.py", "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    with taking(signal.SIGINT):
        assert home.run(sys.executable, str(program), "-t") == Ran(130, "")
