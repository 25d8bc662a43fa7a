"""SUBMIT between real Dovecot and real Postfix or Exim: what is answered, who gets the message, what it looks like."""

import email
import email.policy
import re
from collections.abc import Iterator
from contextlib import ExitStack
from email.message import EmailMessage
from pathlib import Path

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.dovecot import PASSWORD, PASSWORDS, Dovecot
from tests.functional.lmtp_sink import Arrival
from tests.functional.postfix import SIZE_LIMIT
from tests.functional.process import free_ports
from tests.functional.proxy_process import Options, Proxy, running_proxy
from tests.functional.samples import big_message
from tests.functional.smtp_servers import SMTP_SERVERS, RealSmtpServer, SmtpServer

# The draft's example (section 3), with an address after 'Fred Foobar' and a Message-Id where its copy lost them.
EXAMPLE = b"""\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <fred@example.com>
Subject: afternoon meeting
To: mooch@owatagu.siam.edu,badUser@example.com,
    unknownUser@example.com
Message-Id: <B27397-0100000@Blurdybloop.example.com>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?

""".replace(b"\n", b"\r\n")

# Fields whose odd spelling and folding must survive.
HEADER = (
    b"date:Mon, 7 Feb 1994 21:52:25 -0800\r\n"
    b"From:  Fred   Foobar <fred@example.com>\r\n"
    b"Message-Id: <1@example.com>\r\n"
    b"X-Odd: one\r\n\t two  \r\n"
)

# One trace field, as the SMTP server and the proxy put before the header.
RECEIVED = re.compile(rb"(?:Received: [^\r]+\r\n(?:[ \t][^\r]+\r\n)*)+")


class MailHost:
    """Proxies in front of the servers, each started when it is first wanted, and clients logged in through them."""

    def __init__(
        self, dovecot: Dovecot, smtp: RealSmtpServer, server: SmtpServer, directory: Path, stack: ExitStack
    ) -> None:
        self.smtp = smtp
        self.server = server
        self._dovecot = dovecot
        self._directory = directory
        self._stack = stack
        self._running: dict[str, Proxy] = {}

    def proxy(self, smtp_port: int | None = None, options: Options | None = None) -> Proxy:
        """Return a proxy, by default to the port that takes mail from everybody here."""
        key = f"{smtp_port} {options}"
        if key not in self._running:
            directory = self._directory / str(len(self._running))
            directory.mkdir()
            running = running_proxy(directory, self._dovecot.port, smtp_port or self.smtp.port, options)
            self._running[key] = self._stack.enter_context(running)
        return self._running[key]

    def client(self, smtp_port: int | None = None, options: Options | None = None) -> RecordingClient:
        """Log fred in."""
        return self._stack.enter_context(logged_in(self.proxy(smtp_port, options).port, "fred"))


@pytest.fixture(scope="module", params=SMTP_SERVERS, ids=lambda server: server.name)
def host(
    request: pytest.FixtureRequest, dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MailHost]:
    server: SmtpServer = request.param
    smtp: RealSmtpServer = request.getfixturevalue(server.name)
    with ExitStack() as stack:
        yield MailHost(dovecot, smtp, server, tmp_path_factory.mktemp(server.name), stack)


@pytest.fixture(autouse=True)
def nothing_is_left(host: MailHost) -> None:
    """Drop what an earlier test that failed has left with the server."""
    host.smtp.sink.forget()


def draft(body: bytes = b"\r\nHello\r\n", to: bytes = b"joe@example.com") -> bytes:
    return HEADER + b"To: " + to + b"\r\n" + body


def parsed(arrival: Arrival) -> EmailMessage:
    message = email.message_from_bytes(arrival.content, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def assert_arrived_untouched(arrival: Arrival, sent: bytes) -> None:
    """Check that nothing but trace fields came before what was sent, and that this is as it was."""
    at = len(arrival.content) - len(sent)
    assert arrival.content[at:] == sent
    assert RECEIVED.fullmatch(arrival.content[:at])


def assert_nobody_got_anything(host: MailHost, client: RecordingClient) -> None:
    """Check that what is sent now is the first to arrive."""
    assert client.submit(draft(b"\r\nthe first to arrive\r\n")) == "OK SUBMIT completed"
    assert b"the first to arrive" in host.smtp.take(1)["joe@example.com"].content


def dialogue(client: RecordingClient, tag: bytes, literal: bytes) -> bytes:
    """Send SUBMIT by hand and return all that the server says."""
    client.heard()
    client.send(b"%b SUBMIT {%d}\r\n" % (tag, len(literal)))
    assert client.readline().startswith(b"+ ")
    client.heard()
    client.converse(literal + b"\r\n", last_tag=tag)
    return client.heard()


def test_example_of_success(host: MailHost) -> None:
    client = host.client(host.smtp.credulous_port)
    assert dialogue(client, b"A003", EXAMPLE) == b"A003 OK SUBMIT completed\r\n"
    arrivals = host.smtp.take(3)
    assert set(arrivals) == {"mooch@owatagu.siam.edu", "badUser@example.com", "unknownUser@example.com"}
    for arrival in arrivals.values():
        assert arrival.sender == "fred@example.com"
        assert_arrived_untouched(arrival, EXAMPLE)


def test_example_of_refused_recipients(host: MailHost) -> None:
    client = host.client()
    assert dialogue(client, b"A123", EXAMPLE) == b"A123 NO ,badUser@example.com,unknownUser@example.com\r\n"
    assert_nobody_got_anything(host, client)


def test_example_of_a_failure_that_is_nobodys(host: MailHost) -> None:
    [nobody] = free_ports(1)
    assert dialogue(host.client(nobody), b"A445", EXAMPLE) == b"A445 NO 4.4.1 mail server not responding,\r\n"


def test_message_arrives_untouched(host: MailHost) -> None:
    sent = draft(b"\r\n.\r\n..\r\n.dots \t\r\n\r\n\r\nlast line\r\n")
    assert host.client().submit(sent) == "OK SUBMIT completed"
    assert_arrived_untouched(host.smtp.take(1)["joe@example.com"], sent)


def test_big_message_arrives_untouched(host: MailHost) -> None:
    sent = big_message().replace(b"Subject:", b"Message-Id: <big@example.com>\r\nSubject:")
    assert host.client().submit(sent) == "OK SUBMIT completed"
    assert_arrived_untouched(host.smtp.take(1)["joe@example.com"], sent)


def test_non_synchronizing_literal_is_taken(host: MailHost) -> None:
    client = host.client()
    client.heard()
    client.converse(b"X1 SUBMIT {%d+}\r\n%b\r\nX2 NOOP\r\n" % (len(draft()), draft()), last_tag=b"X2")
    assert client.heard() == b"X1 OK SUBMIT completed\r\nX2 OK NOOP completed (stopwatch).\r\n"
    assert_arrived_untouched(host.smtp.take(1)["joe@example.com"], draft())


def test_bcc_gets_the_message_and_nobody_sees_it(host: MailHost) -> None:
    assert host.client().submit(b"Bcc: Ann <ann@example.com>\r\n" + draft()) == "OK SUBMIT completed"
    arrivals = host.smtp.take(2)
    assert set(arrivals) == {"joe@example.com", "ann@example.com"}
    for arrival in arrivals.values():
        assert_arrived_untouched(arrival, draft())


def test_one_bad_recipient_of_two_and_nobody_gets_it(host: MailHost) -> None:
    client = host.client()
    assert client.submit(draft(to=b"joe@example.com, bad@example.com")) == "NO ,bad@example.com"
    assert_nobody_got_anything(host, client)


def test_temporary_refusal_says_so(host: MailHost) -> None:
    client = host.client()
    assert client.submit(draft(to=b"joe@example.com, grey@example.com")) == (
        f"NO {host.server.greylisted},grey@example.com"
    )
    assert_nobody_got_anything(host, client)


def test_message_over_the_mail_servers_limit(host: MailHost) -> None:
    client = host.client()
    answer = client.submit(draft(b"\r\n" + b"0123456789\r\n" * (SIZE_LIMIT // 12 + 1)))
    assert re.fullmatch("NO [^,]*5\\.3\\.4 [^,]*,", answer)
    assert_nobody_got_anything(host, client)


@pytest.mark.parametrize(
    "end",
    [b"\r\n.\r\n", b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\r\n.\r\r\n"],
    ids=repr,
)
def test_no_second_message_can_be_smuggled(host: MailHost, end: bytes) -> None:
    client = host.client()
    smuggled = b"MAIL FROM:<boss@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nFrom: boss@example.com\r\n\r\nHa"
    assert client.submit(draft(b"\r\nHello" + end + smuggled + end)) == "OK SUBMIT completed"
    content = host.smtp.take(1)["joe@example.com"].content
    assert re.search(rb"\r\n\.\r\n(\r\n)?MAIL FROM:<boss@example\.com>\r\n", content)
    assert re.search(rb"Ha\r\n(\r\n)?\.\r\n", content)
    assert_nobody_got_anything(host, client)


EIGHT_BIT_BODY = (
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=latin1\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\nSch\xf6ne Gr\xfc\xdfe\r\n"
)


def test_eight_bits_arrive_untouched_where_offered(host: MailHost) -> None:
    assert host.client().submit(draft(EIGHT_BIT_BODY)) == "OK SUBMIT completed"
    assert_arrived_untouched(host.smtp.take(1)["joe@example.com"], draft(EIGHT_BIT_BODY))


def test_eight_bits_arrive_with_the_same_meaning_where_not_offered(host: MailHost) -> None:
    sent = "Subject: Grüße\r\n".encode() + draft(EIGHT_BIT_BODY)
    assert host.client(host.smtp.seven_bit_port).submit(sent) == "OK SUBMIT completed"
    arrival = host.smtp.take(1)["joe@example.com"]
    assert arrival.content.isascii()
    assert parsed(arrival)["Subject"] == "Grüße"
    assert parsed(arrival).get_content().splitlines() == ["Schöne Grüße"]
    assert parsed(arrival).get_content_charset() in {"latin1", "iso-8859-1"}


def test_international_address_is_reached_where_offered(host: MailHost) -> None:
    sent = draft(to="Jürgen <jürgen@example.com>".encode())
    assert host.client().submit(sent) == "OK SUBMIT completed"
    assert_arrived_untouched(host.smtp.take(1)["jürgen@example.com"], sent)


def test_international_address_is_refused_where_not_offered(host: MailHost) -> None:
    client = host.client(host.smtp.seven_bit_port)
    sent = draft(to="joe@example.com, jürgen@example.com".encode())
    assert client.submit(sent) == "NO ,j\\x{FC}rgen@example.com"
    assert_nobody_got_anything(host, client)


def test_smtp_login_as_the_user(host: MailHost) -> None:
    client = host.client(host.smtp.auth_port, {"smtp": {"smtp-auth": "user"}})
    assert client.submit(draft()) == "OK SUBMIT completed"
    assert host.server.with_login in host.smtp.take(1)["joe@example.com"].content


def test_smtp_login_as_a_user_whose_password_is_not_ascii(host: MailHost) -> None:
    proxy = host.proxy(host.smtp.auth_port, {"smtp": {"smtp-auth": "user"}})
    with RecordingClient(proxy.port) as client:
        client.authenticate("PLAIN", lambda _: f"\0zoe\0{PASSWORDS['zoe']}".encode())
        assert client.submit(draft().replace(b"fred@", b"zoe@")) == "OK SUBMIT completed"
    assert host.smtp.take(1)["joe@example.com"].sender == "zoe@example.com"


def test_smtp_login_as_the_proxy_itself(host: MailHost, tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(f"{PASSWORD}\n")
    password_file.chmod(0o600)
    options = {"smtp-auth": "fixed", "smtp-username": "proxy", "smtp-password-file": str(password_file)}
    assert host.client(host.smtp.auth_port, {"smtp": options}).submit(draft()) == "OK SUBMIT completed"
    assert host.smtp.take(1)["joe@example.com"].sender == "fred@example.com"


def test_no_smtp_login_where_one_is_wanted(host: MailHost) -> None:
    answer = host.client(host.smtp.auth_port).submit(draft())
    assert answer == "NO ,joe@example.com"


def test_xclient_is_said_where_it_is_offered(host: MailHost) -> None:
    """A server that does not offer it is not told who the client is, and takes the message all the same."""
    client = host.client(host.smtp.xclient_port, {"smtp": {"smtp-xclient": "on"}})
    assert client.submit(draft()) == "OK SUBMIT completed"
    content = host.smtp.take(1)["joe@example.com"].content
    assert (host.server.with_login in content) == host.server.has_xclient


def test_log_holds_neither_password_nor_text(host: MailHost) -> None:
    options = {"log": {"log-level": "debug"}}
    assert host.client(options=options).submit(draft()) == "OK SUBMIT completed"
    host.smtp.take(1)
    log = host.proxy(options=options).log()
    assert PASSWORD not in log
    assert "Hello" not in log
