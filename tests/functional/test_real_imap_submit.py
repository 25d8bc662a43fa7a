"""What a person does with imap-submit: send, look for mail, send that on, have several accounts; all servers real."""

import random
import re
from base64 import encodebytes
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parseaddr
from os import EX_NOINPUT, EX_NOPERM, EX_NOUSER, EX_OK, EX_PROTOCOL, EX_TEMPFAIL, EX_UNAVAILABLE, EX_USAGE
from pathlib import Path

import pytest

from tests.functional.certificates import Certificates
from tests.functional.clients import RecordingClient, logged_in
from tests.functional.delivered import parsed, seen, without_trace
from tests.functional.dovecot import PASSWORD, Dovecot
from tests.functional.home import Home, Ran, move_in
from tests.functional.mail_tree import Entity, leaf, multipart
from tests.functional.manual import examples
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.scripted import eventually

KIB = 1 << 10
BASE64 = b"Content-Transfer-Encoding: base64\r\n"
PLANS = random.Random(5).randbytes(300 * KIB)
ATTACHED = b"Content-Disposition: attachment; filename=plans.pdf\r\n"
NOTE = leaf("text/plain", b"Here are the plans.\r\n")
PDF = leaf("application/pdf", encodebytes(PLANS).replace(b"\n", b"\r\n"), BASE64 + ATTACHED)
FROM_ANNA = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Anna <anna@example.com>\r\nSubject: The plans\r\n"
    b"Message-ID: <plans@example.com>\r\nMIME-Version: 1.0\r\n"
)
MESSAGE = multipart(b"=_stored", NOTE, PDF).headed(FROM_ANNA)

LETTER = "To: joe@example.com\nSubject: Hello\n\nHow are you?\n"


@pytest.fixture(scope="module")
def proxy(
    dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    listen = {
        "listen": "127.0.0.1:0",
        "listen-tls": "127.0.0.1:0",
        "tls-cert": str(certificates.cert),
        "tls-key": str(certificates.key),
    }
    directory = tmp_path_factory.mktemp("proxy")
    options = {"listen": listen, "submit": {"journal": str(directory / "journal")}}
    with running_proxy(directory, dovecot.port, postfix.port, options) as running:
        yield running


@dataclass(frozen=True)
class Person:
    """A user that nobody else is; ``direct`` is logged in to Dovecot, past the proxy."""

    home: Home
    direct: RecordingClient
    postfix: Postfix
    proxy: Proxy

    def submit(self, *arguments: str, given: str | bytes = LETTER) -> Ran:
        return self.home.run("imap-submit", *arguments, given=given)

    def find(self, *arguments: str) -> list[list[str]]:
        """Return the columns of each line that ``--find`` prints."""
        found = self.submit("--find", *arguments, given="")
        assert found.status == EX_OK, found.said
        return [line.split("\t") for line in found.said.splitlines()]

    def arrival(self) -> bytes:
        """Return what joe gets next, without trace."""
        return without_trace(self.postfix.take(1)["joe@example.com"].content)

    def assert_nobody_got_anything(self) -> None:
        """Check that what is sent now is the first to arrive."""
        assert self.submit("-t", given=LETTER + "The first to arrive\n") == Ran(EX_OK, "")
        assert b"The first to arrive" in self.arrival()

    def octets_through_the_proxy(self, sessions: int) -> list[tuple[int, int]]:
        """Return how many octets each of that many sessions sent and was sent, once they have ended."""
        end = re.compile(rf"disconnect user={self.home.user} .*received=(\d+) sent=(\d+)")
        assert eventually(lambda: len(end.findall(self.proxy.log())) == sessions)
        return [(int(received), int(sent)) for received, sent in end.findall(self.proxy.log())]


@pytest.fixture
def person(
    proxy: Proxy, dovecot: Dovecot, postfix: Postfix, certificates: Certificates, tmp_path: Path
) -> Iterator[Person]:
    postfix.sink.forget()
    user = dovecot.new_user()
    home = move_in(tmp_path, user, f"localhost:{proxy.tls_port}", certificates.ca)
    with logged_in(dovecot.port, user) as direct:
        yield Person(home, direct, postfix, proxy)


# Forwarding, as the manual shows it


def test_attachment_is_forwarded_without_downloading_it(person: Person) -> None:
    """The manual's own commands, in the order in which it gives them."""
    find, _, send_on, _ = examples("FORWARDING")
    person.direct.store_message("INBOX", MESSAGE.octets)
    for script in (find, send_on):
        ran = person.home.run_script(script)
        assert ran.status == EX_OK, ran.said
    message = parsed(person.arrival())
    (attachment,) = message.iter_attachments()
    assert attachment.get_filename() == "The house.pdf"
    assert attachment.get_content() == PLANS
    assert message["Subject"] == "The plans"
    text = message.get_body()
    assert text is not None
    assert text.get_content() == "Joe, here they are.\r\n"
    for received, sent in person.octets_through_the_proxy(sessions=3):
        assert received < 2 * KIB
        assert sent < 4 * KIB


def test_script_of_the_manual_picks_one_of_several_matches(person: Person) -> None:
    _, _, send_on, _ = examples("FORWARDING")
    for _ in range(2):
        person.direct.store_message("INBOX", MESSAGE.octets)
    ran = person.home.run_script(send_on)
    assert ran.status == EX_OK, ran.said
    (attachment,) = parsed(person.arrival()).iter_attachments()
    assert attachment.get_content() == PLANS


def test_message_is_forwarded_whole(person: Person) -> None:
    *_, forward = examples("FORWARDING")
    person.direct.store_message("INBOX", MESSAGE.octets)
    ran = person.home.run_script(forward)
    assert ran.status == EX_OK, ran.said
    text, included = seen(person.arrival()).parts
    assert text.body == b"Please have a look.\r\n"
    assert included.fields["content-type"] == "message/rfc822"
    assert included.body == MESSAGE.octets


def test_what_is_found_looks_as_the_manual_shows_it(person: Person) -> None:
    _, shown, _, _ = examples("FORWARDING")
    person.direct.store_message("INBOX", MESSAGE.octets)
    expected = [line.split("\t") for line in shown.splitlines()]
    found = person.find("FROM anna SUBJECT plans")
    assert [len(columns) for columns in found] == [len(columns) for columns in expected]
    assert [columns[-2:] for columns in found] == [columns[-2:] for columns in expected]
    (message_url, message_size, *_), (part_url, part_size, *_) = found
    assert re.fullmatch(r"/INBOX;UIDVALIDITY=\d+/;UID=1", message_url)
    assert part_url == f"{message_url}/;SECTION=2"
    assert (message_size, part_size) == ("411K", "411K")  # as it is stored, in base64


def test_nothing_found_is_no_failure(person: Person) -> None:
    assert person.find("FROM nobody") == []


def test_other_mailboxes_and_other_letters(person: Person) -> None:
    person.direct.create('"Entw&APw-rfe"')
    message = leaf("text/plain", b"Hi\r\n").headed("Subject: Grüße\r\nFrom: Jürgen <j@example.com>\r\n".encode())
    person.direct.store_message('"Entw&APw-rfe"', message.octets)
    ((url, _, _, sender, subject),) = person.find('SUBJECT "Grüße"', "--in", "Entwürfe")
    assert (sender, subject) == ("Jürgen <j@example.com>", "Grüße")
    assert person.submit("-t", "--attach-from", url).status == EX_OK
    assert seen(person.arrival()).parts[1].body == message.octets


def test_newest_come_first_and_no_more_than_wanted(person: Person) -> None:
    for number in range(5):
        person.direct.store_message("INBOX", Entity(b"Subject: %d\r\n" % number, b"Hi\r\n").octets)
    assert [columns[-1] for columns in person.find("ALL", "--limit", "3")] == ["4", "3", "2"]


def test_several_attachments_come_in_their_order(person: Person) -> None:
    person.direct.store_message("INBOX", MESSAGE.octets)
    part, whole = "/INBOX/;UID=1/;SECTION=2", "/INBOX/;UID=1"
    ran = person.submit("-t", "--attach-from", part, "--attach-from", part, "--as", "ä.pdf", "--forward", whole)
    assert ran.status == EX_OK, ran.said
    attachments = [*parsed(person.arrival()).iter_attachments()]
    assert [attachment.get_content_type() for attachment in attachments] == [
        *("application/pdf", "application/pdf", "message/rfc822")
    ]
    assert [attachment.get_filename() for attachment in attachments[:2]] == ["plans.pdf", "ä.pdf"]


def test_what_is_not_there_cannot_be_sent_on(person: Person) -> None:
    ran = person.submit("-t", "--attach-from", "/INBOX/;UID=99")
    assert ran.status == EX_NOINPUT
    assert "cannot read /INBOX/;UID=99" in ran.said
    person.assert_nobody_got_anything()


# Recipients


def test_arguments_that_the_header_lacks_are_hidden(person: Person) -> None:
    assert person.submit("joe@example.com", "ann@example.com") == Ran(EX_OK, "")
    contents = [without_trace(arrival.content) for arrival in person.postfix.take(2).values()]
    assert contents[0] == contents[1]
    assert b"ann@" not in contents[0]


def test_argument_that_is_left_out_is_not_written_to(person: Person) -> None:
    ran = person.submit("joe@example.com", given=f"Cc: ann@example.com\n{LETTER}")
    assert ran.status == EX_USAGE
    assert "ann@example.com" in ran.said
    person.assert_nobody_got_anything()


def test_refused_recipients_one_a_line(person: Person) -> None:
    ran = person.submit("-t", "bad@example.com", "unknown@example.com")
    assert ran.status == EX_NOUSER
    assert ran.said.splitlines()[-2:] == ["bad@example.com", "unknown@example.com"]
    person.assert_nobody_got_anything()


def test_temporary_refusal(person: Person) -> None:
    ran = person.submit("-t", "grey@example.com")
    assert ran.status == EX_TEMPFAIL
    assert "greylisted" in ran.said
    assert "grey@example.com" in ran.said.splitlines()
    person.assert_nobody_got_anything()


# What is one message, to a proxy that has a journal


def test_two_calls_are_two_messages_however_alike(person: Person) -> None:
    letter = f"Date: Mon, 7 Feb 1994 21:52:25 -0800\n{LETTER}"
    for _ in range(2):
        assert person.submit("-t", given=letter) == Ran(EX_OK, "")
    first, second = (parsed(person.arrival()) for _ in range(2))
    assert first["Message-ID"] != second["Message-ID"]
    assert first["Message-ID"].endswith("@example.com>")


def test_same_message_tried_again_arrives_once(person: Person) -> None:
    letter = f"Message-ID: <{person.home.user}.plans@example.com>\n{LETTER}"
    assert person.submit("-t", given=letter) == Ran(EX_OK, "")
    again = person.submit("-t", given=letter)
    assert again.status == EX_OK
    assert "accepted earlier" in again.said
    assert b"How are you?" in person.arrival()
    person.assert_nobody_got_anything()


# Who sends


def test_sender_that_is_not_the_users(person: Person) -> None:
    assert person.submit("-t", "-f", "boss@example.com").status == EX_NOPERM
    person.assert_nobody_got_anything()


def test_account_is_chosen_by_from(person: Person, dovecot: Dovecot) -> None:
    """Each logs in as its own user, and what is not said for one is said for all."""
    other = dovecot.new_user()
    configuration = person.home.directory / ".config" / "imap-submit.conf"
    shared = "".join(
        line for line in configuration.read_text().splitlines(True) if not line.startswith(("user", "from"))
    )
    accounts = "".join(f"[{user}]\nuser = {user}\nfrom = {user}@example.com\n" for user in (person.home.user, other))
    configuration.write_text(shared + accounts)
    first, second = person.home.from_, f"{other}@example.com"
    for arguments, header, sender in (
        (("-t",), f"From: Fred <{second.upper()}>\n", second),
        (("-t",), f"From: {first}\n", first),
        (("-t",), "", first),
        (("-t", "-a", other), "", second),
    ):
        ran = person.submit(*arguments, given=header + LETTER)
        assert ran.status == EX_OK, ran.said
        (arrival,) = person.postfix.take(1).values()
        assert arrival.sender == sender
        assert parseaddr(parsed(arrival.content)["From"])[1].lower() == sender


def test_name_and_domain_are_completed(person: Person) -> None:
    assert person.submit("-F", "Fred Foobar", "joe", given="To: joe\n\nHello\n") == Ran(EX_OK, "")
    message = parsed(person.arrival())
    assert message["From"] == f"Fred Foobar <{person.home.from_}>"
    assert message["To"] == "joe@example.com"


# The way to the server


@pytest.mark.parametrize("tls", ["on", "starttls", "off"])
def test_ways_of_connecting(person: Person, proxy: Proxy, tls: str) -> None:
    port = proxy.tls_port if tls == "on" else proxy.port
    ran = person.submit("-t", "--server", f"localhost:{port}", "--tls", tls)
    assert ran == Ran(EX_OK, "")
    (login,) = re.findall(rf"^.* login user={person.home.user} .*", proxy.log(), re.MULTILINE)
    assert ("tls=TLSv1" in login) == (tls != "off")
    assert b"How are you?" in person.arrival()


def test_certificate_that_nobody_vouches_for(person: Person, certificates: Certificates) -> None:
    """No password is given away; and the text says that it is the certificate."""
    before = person.proxy.log().count(f"user={person.home.user} ")
    ran = person.submit("-t", "--tls-ca", str(certificates.other_ca))
    assert ran.status == EX_PROTOCOL
    assert "certificate" in ran.said
    assert person.proxy.log().count(f"user={person.home.user} ") == before
    assert person.submit("-t", "--tls-ca", str(certificates.other_ca), "--tls-verify", "off") == Ran(EX_OK, "")
    assert b"How are you?" in person.arrival()


def test_empty_flag_does_not_take_tls_away(person: Person, certificates: Certificates) -> None:
    """Nor the look at the certificate."""
    for flags in (("--tls", ""), ("--tls-verify=",), ("--tls=", "--tls-verify", "")):
        ran = person.submit("-t", *flags, "--tls-ca", str(certificates.other_ca))
        assert ran.status == EX_PROTOCOL
        assert "certificate" in ran.said
        assert person.submit("-t", *flags, "--server", f"localhost:{person.proxy.port}").status == EX_PROTOCOL
    assert f"user={person.home.user} " not in person.proxy.log()


def test_wrong_password(person: Person) -> None:
    person.home.write("secret", "wrong\n")
    ran = person.submit("-t")
    assert ran.status == EX_NOPERM
    assert "wrong" not in ran.said


def test_password_is_asked_for_where_nothing_says_it(person: Person) -> None:
    """At the terminal, since standard input is the message; and it is not shown."""
    configuration = person.home.directory / ".config" / "imap-submit.conf"
    configuration.write_text(re.sub("(?m)^password-command.*\n", "", configuration.read_text()))
    person.home.write("letter", LETTER)
    ran = person.home.answer_at_terminal("imap-submit -t <letter", prompt="assword", answer=PASSWORD)
    assert ran.status == EX_OK, ran.said
    assert PASSWORD not in ran.said
    assert b"How are you?" in person.arrival()


def test_nobody_can_be_asked_for_the_password(person: Person) -> None:
    configuration = person.home.directory / ".config" / "imap-submit.conf"
    configuration.write_text(re.sub("(?m)^password-command.*\n", "", configuration.read_text()))
    ran = person.submit("-t")
    assert ran.status == EX_NOPERM
    assert "password-command" in ran.said


def test_nobody_there(person: Person) -> None:
    assert person.submit("-t", "--server", "localhost:1").status == EX_TEMPFAIL


def test_server_without_submit(person: Person, dovecot: Dovecot) -> None:
    ran = person.submit("-t", "--server", f"localhost:{dovecot.port}", "--tls", "off")
    assert ran.status == EX_UNAVAILABLE
    assert "SUBMIT" in ran.said
