"""Mail programs that know nothing of SUBMIT, sending by it: through the proxy, TLS on, to real Dovecot and Postfix.

Each has the one line of configuration that imap-submit(1) gives for it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates
from tests.functional.delivered import parsed, without_trace
from tests.functional.dovecot import Dovecot
from tests.functional.home import Home, move_in
from tests.functional.mail_programs import (
    Letter,
    Send,
    bsd_mailx,
    cron,
    git_send_email,
    mailutils,
    mutt,
    python,
    run_git_send_email,
    run_mailutils,
)
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy


@dataclass(frozen=True)
class MailProgram:
    """One of them; ``status`` and ``words`` are how it says that sendmail refused somebody."""

    name: str
    send: Send
    status: int
    words: str
    repeats: bool = True  # what sendmail itself said
    account: str = ""  # further lines of the account's configuration

    def __str__(self) -> str:
        return self.name


MUTT = MailProgram("mutt", mutt, 1, "Error sending message, child exited 67 (User unknown.).")
GIT = MailProgram("git send-email", git_send_email, 67, words="")  # it dies of the same status
# It says user@host in -f, and has no From: the manual gives two ways out.
MAILUTILS = MailProgram(
    "mail of mailutils",
    mailutils,
    1,
    "cannot send message: Process exited with a non-zero status",
    repeats=False,
    account="set-from = on\n",
)
BSD_MAILX = MailProgram(
    "mail of bsd-mailx", bsd_mailx, 1, "Can't send mail: sendmail process failed with error code 67"
)
PYTHON = MailProgram("Python", python, 1, "returned non-zero exit status 67.")

every_program = pytest.mark.parametrize("program", [MUTT, GIT, MAILUTILS, BSD_MAILX, PYTHON], ids=str)
# The others attach nothing.
attaching = pytest.mark.parametrize("program", [MUTT, MAILUTILS, PYTHON], ids=str)


@pytest.fixture(scope="module")
def proxy(
    dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    tls = {"listen-tls": "127.0.0.1:0", "tls-cert": str(certificates.cert), "tls-key": str(certificates.key)}
    directory = tmp_path_factory.mktemp("proxy")
    options = {"listen": tls, "submit": {"journal": str(directory / "journal")}}
    with running_proxy(directory, dovecot.port, postfix.port, options) as running:
        yield running


Furnish = Callable[..., Home]


@pytest.fixture
def furnish(proxy: Proxy, dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path: Path) -> Furnish:
    """Return what makes the home of a user that nobody else is; it takes further lines of the account."""
    postfix.sink.forget()

    def furnished(more: str = "") -> Home:
        return move_in(tmp_path, dovecot.new_user(), f"localhost:{proxy.tls_port}", certificates.ca, more)

    return furnished


def assert_nobody_got_anything(program: MailProgram, home: Home, postfix: Postfix) -> None:
    """Check that what is sent now is the first to arrive."""
    assert program.send(home, Letter(body="the first to arrive\n")).status == 0
    assert b"the first to arrive" in postfix.take(1)["joe@example.com"].content


@every_program
def test_letter_arrives(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    home = furnish(program.account)
    ran = program.send(home, Letter(subject="Hello", body="How are you?\n"))
    assert ran.status == 0, ran.said
    (arrival,) = postfix.take(1).values()
    message = parsed(without_trace(arrival.content))
    assert arrival.sender == home.from_
    assert parseaddr(message["From"])[1] == home.from_
    assert parseaddr(message["To"])[1] == arrival.recipient == "joe@example.com"
    assert message["Subject"] == "Hello"
    assert "How are you?" in message.get_content().splitlines()


@every_program
def test_letter_that_is_sent_twice_arrives_twice(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    """Within one second, and some programs write no Message-ID: the proxy, which has a journal, takes both."""
    home = furnish(program.account)
    for _ in range(2):
        ran = program.send(home, Letter(body="Twice.\n"))
        assert (ran.status, "accepted earlier" in ran.said) == (0, False)
    for _ in range(2):
        assert b"Twice." in postfix.take(1)["joe@example.com"].content


@pytest.mark.parametrize("program", [MUTT, GIT, BSD_MAILX, PYTHON], ids=str)
def test_lone_dot_is_no_end(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    home = furnish(program.account)
    assert program.send(home, Letter(body="before\n.\nafter\n")).status == 0
    assert b"before\r\n.\r\nafter\r\n" in postfix.take(1)["joe@example.com"].content


@every_program
def test_eight_bits_arrive_as_they_are(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    """In the charset of the program's choice."""
    assert program.send(furnish(program.account), Letter(body="Schöne Grüße\n")).status == 0
    content = postfix.take(1)["joe@example.com"].content
    assert "Schöne Grüße".encode() in content or "Schöne Grüße".encode("latin-1") in content


@every_program
def test_who_is_in_bcc_gets_it_and_nobody_sees_it(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    letter = Letter(cc=("mooch@owatagu.siam.edu",), bcc=("ann@example.com",))
    ran = program.send(furnish(program.account), letter)
    assert ran.status == 0, ran.said
    arrivals = postfix.take(3)
    assert set(arrivals) == {"joe@example.com", "mooch@owatagu.siam.edu", "ann@example.com"}
    (content,) = {without_trace(arrival.content) for arrival in arrivals.values()}
    assert b"\nbcc:" not in content.lower()
    assert b"ann@" not in content


@every_program
def test_only_bcc(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    """Beside one recipient whom all see, several whom nobody does."""
    letter = Letter(bcc=("ann@example.com", "mooch@owatagu.siam.edu"))
    assert program.send(furnish(program.account), letter).status == 0
    contents = [arrival.content for arrival in postfix.take(3).values()]
    assert not [content for content in contents if b"ann@" in content or b"mooch@" in content]


@attaching
def test_attachment(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    home = furnish(program.account)
    octets = bytes(range(256)) * 100
    (home.directory / "plans.bin").write_bytes(octets)
    ran = program.send(home, Letter(attachment="plans.bin"))
    assert ran.status == 0, ran.said
    (attachment,) = parsed(postfix.take(1)["joe@example.com"].content).iter_attachments()
    assert attachment.get_filename() == "plans.bin"
    assert attachment.get_content() == octets


@every_program
def test_refused_recipient_shows(program: MailProgram, furnish: Furnish, postfix: Postfix) -> None:
    """As each program shows sendmail's refusals; and nobody gets the letter."""
    home = furnish(program.account)
    ran = program.send(home, Letter(to=("joe@example.com", "bad@example.com"), body="refused\n"))
    assert ran.status == program.status
    assert program.words in ran.said
    assert ("\nbad@example.com\n" in f"\n{ran.said}") == program.repeats
    assert_nobody_got_anything(program, home, postfix)


def test_mailutils_keeps_what_was_refused(furnish: Furnish) -> None:
    home = furnish(MAILUTILS.account)
    mailutils(home, Letter(to=("bad@example.com",), body="refused\n"))
    assert "refused\n" in (home.directory / "dead.letter").read_text(encoding="utf-8")


def test_mutt_says_that_a_refusal_is_temporary(furnish: Furnish, postfix: Postfix) -> None:
    home = furnish()
    ran = mutt(home, Letter(to=("grey@example.com",)))
    assert "child exited 75 (Deferred.)" in ran.said
    assert "greylisted" in ran.said
    assert_nobody_got_anything(MUTT, home, postfix)


def test_git_stops_at_the_first_patch_that_is_refused(furnish: Furnish, postfix: Postfix) -> None:
    home = furnish()
    for number, to in enumerate(("joe@example.com", "bad@example.com", "ann@example.com")):
        home.write(f"{number}.patch", f"From: {home.from_}\nTo: {to}\nSubject: patch {number}\n\nHello\n")
    ran = run_git_send_email(home, "--to-cmd=true", "0.patch", "1.patch", "2.patch")
    assert ran.status == 67
    assert b"patch 0" in postfix.take(1)["joe@example.com"].content
    assert_nobody_got_anything(GIT, home, postfix)


def test_mailutils_with_its_own_address(furnish: Furnish, postfix: Postfix) -> None:
    """The other way that the manual gives."""
    home = furnish()
    home.write(".mailrc", f'set sendmail="sendmail:{home.imap_submit}"\nset return-address={home.from_}\n')
    ran = run_mailutils(home, Letter())
    assert ran.status == 0, ran.said
    arrival = postfix.take(1)["joe@example.com"]
    assert parsed(arrival.content)["From"] == arrival.sender == home.from_


def test_mailutils_without_either(furnish: Furnish, postfix: Postfix) -> None:
    """Nobody may send as user@host; the proxy says so."""
    home = furnish()
    assert mailutils(home, Letter()).status == 1
    assert_nobody_got_anything(MUTT, home, postfix)


def test_cron(furnish: Furnish, postfix: Postfix) -> None:
    """Both ``root`` and ``joe`` are completed, and root is whose account it is."""
    home = furnish("set-from = on\n")
    ran = cron(home, Letter(to=("joe",), body="It failed.\n"))
    assert (ran.status, ran.said) == (0, "")
    arrival = postfix.take(1)["joe@example.com"]
    message = parsed(without_trace(arrival.content))
    assert arrival.sender == parseaddr(message["From"])[1] == home.from_
    assert message["To"] == "joe@example.com"
    assert message["X-Cron-Env"] == "<MAILTO=joe>"
    assert message.get_content() == "It failed.\r\n"
