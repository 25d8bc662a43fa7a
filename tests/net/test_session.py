"""One client's life between a scripted IMAP server and a scripted SMTP server, and what the log says of it."""

import base64
import re
import socket
import ssl
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Self

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.inclusion import Content, Named, Span
from imapproxy.message.message import Rendering
from imapproxy.message.reference import Reference
from imapproxy.net import outbox as outbox_module
from imapproxy.net import relay as relay_module
from imapproxy.net import session as session_module
from imapproxy.net.client_address import ClientAddress, User
from imapproxy.net.connection import Connection
from imapproxy.net.deliver import SmtpServer
from imapproxy.net.journal import Journal
from imapproxy.net.journal_file import make
from imapproxy.net.ledger import FIRST_DELAY, FREE_FAILURES
from imapproxy.net.outbox import Outbox
from imapproxy.net.relay import Patience, Relay
from imapproxy.net.service import Service
from imapproxy.net.session import Session, serve
from imapproxy.net.tls import server_context
from imapproxy.net.upstream import Said, UpstreamServer, connect_upstream
from imapproxy.protocol.capability import is_transparent
from imapproxy.protocol.proxy_header import proxy_v2
from tests.functional.certificates import Certificates, make_certificates
from tests.functional.fake_smtp import SILENCE, FakeSmtp, Script
from tests.net.peers import (
    PATIENCE,
    Background,
    Log,
    Peer,
    Stop,
    accepted_by,
    listening,
    nothing_left,
    nothing_waits_for_the_collector,
    port_of,
    tcp_pair,
)
from tests.net.services import MAX_MESSAGE_SIZE, SITE, TERMS, counting, service_for

CLIENT = "192.0.2.1"
PASSWORD = "sesame-open"
GREETING = b"* OK ready\r\n"
LOGIN = b"a LOGIN fred " + PASSWORD.encode() + b"\r\n"
DRAFT = b"From: fred@example.com\r\nTo: ann@example.com, bob@example.com\r\nSubject: hi\r\n\r\nhello\r\n"
TWO_RECIPIENTS = ["RCPT TO:<ann@example.com>", "RCPT TO:<bob@example.com>"]
OVER_MEMORY = 3 << 20  # octets of a draft that goes to a file


class Scene:
    """A session under way: its client, its IMAP server, its SMTP server and its log."""

    def __init__(
        self, client: Peer, server: Peer, smtp: FakeSmtp, log: Log, service: Service, work: Background[None]
    ) -> None:
        self.client = client
        self.server = server
        self.smtp = smtp
        self.log = log
        self.service = service
        self.end = work.result

    def log_in(self, command: bytes = LOGIN, answer: bytes = b"a OK done\r\n") -> None:
        self.server.say(GREETING)
        self.client.expect(GREETING)
        self.client.say(command)
        self.server.expect(command)
        self.server.say(answer)
        self.client.expect(answer)

    def submit(self, draft: bytes = DRAFT) -> bytes:
        """Submit a draft; return the answer."""
        self.client.say(b"s SUBMIT {%d+}\r\n" % len(draft) + draft + b"\r\n")
        return self.client.hear_line()

    def log_out(self) -> None:
        """Let both sides go, and wait until the session is over."""
        self.client.close()
        self.server.close()
        self.end()


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


@contextmanager
def session(
    log: Log,
    stop: Stop,
    replies: dict[str, Script] | None = None,
    client_tls: ssl.SSLContext | None = None,
    header: bytes = b"",
    **changes: Any,
) -> Iterator[Scene]:
    """Have a session; with ``client_tls`` its client speaks TLS from the first octet, behind a proxy's ``header``."""
    with ExitStack() as stack:
        smtp = stack.enter_context(FakeSmtp(replies=replies))
        listener = stack.enter_context(listening())
        service = service_for(port_of(listener), smtp.port, stop.fd, **changes)
        client, stream = tcp_pair()
        stack.enter_context(client)
        work = Background(lambda: serve(stream, CLIENT, service, client_tls is not None))
        client.say(header)
        if client_tls:
            secure(client, client_tls)
        server = stack.enter_context(accepted_by(listener))
        scene = Scene(client, server, smtp, log, service, work)
        try:
            yield scene
        finally:
            scene.log_out()
    assert stream.fileno() == -1


def secure(client: Peer, context: ssl.SSLContext) -> None:
    """Have the client do its part of a handshake."""
    client.stream = context.wrap_socket(client.stream, server_hostname="localhost")
    client.stream.settimeout(PATIENCE)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def server_tls(certificates: Certificates) -> ssl.SSLContext:
    return server_context(str(certificates.cert), str(certificates.key))


@pytest.fixture(scope="module")
def client_tls(certificates: Certificates) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificates.ca))


def fields(line: str) -> dict[str, str]:
    """Return a log line's fields, quotes kept."""
    return dict(re.findall(r'(\w+)=("(?:\\.|[^"])*"|\S+)', line))


def test_nothing_of_a_session_that_is_over_waits_for_the_collector(log: Log, stop: Stop) -> None:
    """At rest it does not come."""
    with nothing_waits_for_the_collector(Session, Relay, Connection, Outbox), session(log, stop) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"


# The log.


def test_a_session_is_logged_from_login_to_disconnect(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
    login, disconnect = log.lines
    assert login == "login user=fred client=192.0.2.1 mechanism=LOGIN"
    assert disconnect.startswith('disconnect user=fred client=192.0.2.1 reason="')
    known = fields(disconnect)
    assert known["received"] == str(len(LOGIN))
    assert known["sent"].isdecimal()
    assert re.fullmatch(r"\d+\.\d", known["seconds"])


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (b"a LOGIN fred guess\r\n", "login-refused user=fred client=192.0.2.1 mechanism=LOGIN"),
        (
            b"a AUTHENTICATE PLAIN " + base64.b64encode(b"\0ann\0guess") + b"\r\n",
            "login-refused user=ann client=192.0.2.1 mechanism=PLAIN",
        ),
        (b"a AUTHENTICATE PLAIN !\r\n", "login-refused client=192.0.2.1"),
        (b'a LOGIN "fred smith=" guess\r\n', 'login-refused user="fred smith=" client=192.0.2.1 mechanism=LOGIN'),
        (
            b"a LOGIN aLiCe guess\r\n",
            "login-refused user=alice client=192.0.2.1 mechanism=LOGIN written=aLiCe",
        ),
        (
            b'a LOGIN "\xe9 user=ann" guess\r\n',
            r'login-refused user="\xed\xb3\xa9 user=ann" client=192.0.2.1 mechanism=LOGIN',
        ),
    ],
)
def test_a_refused_login_is_logged(log: Log, stop: Stop, command: bytes, line: str) -> None:
    with session(log, stop) as scene:
        scene.log_in(command, b"a NO wrong\r\n")
    assert log.lines[0] == line
    assert "guess" not in "".join(log.lines)
    assert log.lines[1].startswith("disconnect client=192.0.2.1 reason=")


@pytest.mark.parametrize("written", ["ALICE", "Alice"])
def test_a_user_has_one_name_in_log_and_status_however_it_is_written(log: Log, stop: Stop, written: str) -> None:
    with session(log, stop) as scene:
        scene.log_in(f"a LOGIN {written} {PASSWORD}\r\n".encode())
        assert scene.service.registry.report()["sessions"][0]["user"] == "alice"
        draft = DRAFT.replace(b"fred@", b"alice@")
        assert scene.submit(draft) == b"s OK SUBMIT completed\r\n"
        assert scene.submit(draft.replace(b"alice@", b"ann@")).startswith(b"s NO 5.7.1 ")
    assert log.of("login") == [f"login user=alice client=192.0.2.1 mechanism=LOGIN written={written}"]
    for event in ("submission", "submission-refused", "disconnect"):
        assert [line.split()[1] for line in log.of(event)] == ["user=alice"], event


def test_a_login_with_a_mechanism_that_cannot_be_read_is_logged_without_its_user(log: Log, stop: Stop) -> None:
    with session(log, stop, terms=replace(TERMS, may_offer=is_transparent)) as scene:
        scene.log_in(b"a AUTHENTICATE SCRAM-SHA-1 abcd\r\n")
        assert scene.submit() == b"s NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,\r\n"
    assert log.lines[0] == "login client=192.0.2.1"


def test_a_user_who_unauthenticates_is_forgotten_by_the_log_and_the_status(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.server.say(b"* OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] ready\r\n")
        scene.client.hear_line()
        for command, answer in (
            (LOGIN, b"a OK done\r\n"),
            (b"b UNAUTHENTICATE\r\n", b"b OK done\r\n"),
            (b"c LOGIN ann guess\r\n", b"c NO wrong\r\n"),
        ):
            scene.client.say(command)
            scene.server.expect(command)
            scene.server.say(answer)
            scene.client.expect(answer)
        (running,) = scene.service.registry.report()["sessions"]
        assert (running["user"], running["doing"]) == (None, "login")
    assert [line.partition(" reason=")[0] for line in log.lines] == [
        "login user=fred client=192.0.2.1 mechanism=LOGIN",
        "logout user=fred client=192.0.2.1",
        "login-refused user=ann client=192.0.2.1 mechanism=LOGIN",
        "disconnect client=192.0.2.1",
    ]


def test_a_submission_is_logged(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
    known = fields(log.of("submission")[0])
    assert known.pop("message_id").strip('"<>').endswith("@proxy.example")
    assert known.pop("size") == str(len(scene.smtp.messages[0].content))
    assert known == {
        "user": "fred",
        "client": CLIENT,
        "recipients": "2",
        "references": "0",
        "reply": '"250 2.0.0 ok: queued as FAKE1"',
    }


def test_a_refused_submission_is_logged_as_it_is_answered(log: Log, stop: Stop) -> None:
    with session(log, stop, {"RCPT bob@example.com": "550 5.1.1 no such user"}) as scene:
        scene.log_in()
        assert scene.submit() == b"s NO ,bob@example.com\r\n"
        assert scene.smtp.messages == []
    assert log.of("submission-refused") == [
        "submission-refused user=fred client=192.0.2.1 answer=,bob@example.com",
    ]
    assert log.of("submission") == []


def test_a_repeated_submission_is_answered_with_when_it_was_accepted_and_logged(
    log: Log, stop: Stop, tmp_path: Path
) -> None:
    path = str(tmp_path / "journal")
    make(path)
    draft = b"Message-ID: <1@example.com>\r\n" + DRAFT
    with (
        closing(Journal(path, lambda: datetime(2026, 11, 24, 10, tzinfo=UTC).timestamp())) as journal,
        session(log, stop, journal=journal) as scene,
    ):
        scene.log_in()
        assert scene.submit(draft) == b"s OK SUBMIT completed\r\n"
        assert scene.submit(draft) == b"s OK SUBMIT completed (accepted earlier, at 2026-11-24 10:00:00 UTC)\r\n"
        assert len(scene.smtp.messages) == 1
        totals = scene.service.registry.report()["totals"]
    assert (totals["submissions_accepted"], totals["submissions_repeated"]) == (1, 1)
    assert log.of("submission-repeated") == [
        "submission-repeated user=fred client=192.0.2.1 accepted=2026-11-24T10:00:00Z"
        ' reply="250 2.0.0 ok: queued as FAKE1"'
    ]


@pytest.mark.parametrize(
    ("words", "end"),
    [
        (b"* BYE enough\r\n", "server said goodbye"),
        (b"", "server closed the connection"),
    ],
)
def test_why_a_session_ended_is_logged(log: Log, stop: Stop, words: bytes, end: str) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.server.say(words)
        scene.server.close()
        scene.client.hear_rest()
    assert fields(log.of("disconnect")[0])["reason"] == f'"{end}"'


@pytest.mark.parametrize("secret_in_failure", [False, True])
def test_no_password_is_ever_logged(log: Log, stop: Stop, secret_in_failure: bool) -> None:
    def may_offer(_mechanism: bytes) -> bool:
        if secret_in_failure:
            raise RuntimeError("a surprise")
        return True

    with session(log, stop, terms=replace(TERMS, may_offer=may_offer)) as scene:
        scene.log_in()
        scene.client.say(b"b AUTHENTICATE PLAIN " + base64.b64encode(b"\0fred\0" + PASSWORD.encode()) + b"\r\n")
        scene.server.is_spoken_to()
        scene.log_out()
    assert bool(log.of("session-failed")) == secret_in_failure
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode().rstrip("=")):
        assert secret not in "\n".join(log.lines)


# Drafts.


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b"\r"])
def test_a_draft_reaches_all_its_recipients_with_crlf(log: Log, stop: Stop, end: bytes) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        assert scene.submit(DRAFT.replace(b"\r\n", end)) == b"s OK SUBMIT completed\r\n"
        message = scene.smtp.messages[0]
        assert message.mail.startswith("MAIL FROM:<fred@example.com>")
        assert list(message.recipients) == TWO_RECIPIENTS
        assert message.content.endswith(DRAFT[-9:])
        assert b"[192.0.2.1]" in message.content


def test_a_draft_larger_than_memory_arrives_whole(log: Log, stop: Stop) -> None:
    body = b"0123456789abcdef\r\n" * (OVER_MEMORY // 18)
    with session(log, stop) as scene:
        scene.log_in()
        assert scene.submit(DRAFT + body) == b"s OK SUBMIT completed\r\n"
        assert scene.smtp.messages[0].content.endswith(b"hello\r\n" + body)


def test_a_nul_is_answered_after_the_whole_literal(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + b"\0" + DRAFT[1:-1])
        assert not scene.client.is_spoken_to()
        scene.client.say(DRAFT[-1:] + b"\r\n")
        assert scene.client.hear_line().startswith(b"s BAD ")
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert len(scene.smtp.messages) == 1


@pytest.mark.parametrize("draft", [b"", b"\r\n", b"no header\r\n"])
def test_what_is_no_message_at_all_gets_bad(log: Log, stop: Stop, draft: bytes) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        assert scene.submit(draft).startswith(b"s BAD ")
        assert scene.smtp.commands == []
        assert scene.submit() == b"s OK SUBMIT completed\r\n"


def test_a_draft_whose_command_goes_wrong_is_no_part_of_the_next(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"r SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b" \0\r\n")
        assert scene.client.hear_line().startswith(b"r BAD ")
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert scene.smtp.messages[0].content.count(b"Subject: hi") == 1


def test_a_draft_for_which_there_is_no_room_is_refused_and_the_session_goes_on(
    log: Log, stop: Stop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = DRAFT + b"0123456789abcdef\r\n" * (OVER_MEMORY // 18)
    with session(log, stop) as scene:
        scene.log_in()
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))  # as if the disk took nothing
        assert scene.submit(large) == b"s NO 4.3.1 no room for the message; try again later,\r\n"
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert len(scene.smtp.messages) == 1


def test_a_client_that_leaves_in_a_draft_leaves_nothing_behind(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d}\r\n" % MAX_MESSAGE_SIZE)
        assert scene.client.hear_line().startswith(b"+ ")
        scene.client.say(bytes(OVER_MEMORY).replace(b"\0", b"x"))
        scene.client.close()
        scene.server.hear_rest()
        scene.log_out()
        assert scene.smtp.commands == []


def test_commands_behind_a_submission_are_served_after_it(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b"\r\nb NOOP\r\n")
        scene.client.expect(b"s OK SUBMIT completed\r\n")
        scene.server.expect(b"b NOOP\r\n")
        assert len(scene.smtp.messages) == 1


@pytest.mark.parametrize(
    ("replies", "answer"),
    [({}, b"s OK SUBMIT completed\r\n"), ({"MAIL": "550 5.7.1 not you"}, b"s NO 550 5.7.1 not you,\r\n")],
)
def test_a_limit_exceeded_behind_a_submission_does_not_swallow_its_answer(
    log: Log, stop: Stop, replies: dict[str, Script], answer: bytes
) -> None:
    with session(log, stop, replies) as scene:
        scene.log_in()
        hostile = b"b SUBMIT {99999999999+}\r\n"
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b"\r\n" + hostile)
        scene.client.expect(answer)
        assert scene.client.hear_rest() == b"* BYE Literal too large\r\n"
    assert log.of("session-failed") == []


def test_a_submission_that_cannot_reach_the_mail_server_is_answered(log: Log, stop: Stop) -> None:
    with listening() as listener:
        port = port_of(listener)
    unreachable = SmtpServer("127.0.0.1", port, "none", "", "", PATIENCE, "proxy.example")
    with session(log, stop, smtp=unreachable) as scene:
        scene.log_in()
        assert re.fullmatch(rb"s NO 4\.\d\.\d [^,]+,\r\n", scene.submit())


def test_the_user_of_a_submission_is_logged_in_with_what_the_client_used(log: Log, stop: Stop) -> None:
    with FakeSmtp(extensions=("AUTH PLAIN",)) as smtp:
        server = SmtpServer("127.0.0.1", smtp.port, "user", "", "", PATIENCE, "proxy.example")
        with session(log, stop, smtp=server) as scene:
            scene.log_in()
            assert scene.submit() == b"s OK SUBMIT completed\r\n"
        initial = base64.b64encode(b"\0fred\0" + PASSWORD.encode()).decode()
        assert f"AUTH PLAIN {initial}" in smtp.commands


# What lies in the user's mailboxes.


class Mailboxes:
    """The mailboxes of one user: one message, and no room for a copy where ``failure`` says so."""

    def __init__(self, failure: str = "") -> None:
        self.failure = failure
        self.opened: list[tuple[object, ...]] = []
        self.closed = 0
        self.copies: list[tuple[str, bytes]] = []

    def __call__(self, server: UpstreamServer, user: User, most: int, waiting: Callable[[], None]) -> Self:
        """Stand in for the class."""
        self.opened.append((server, user.credentials.user, user.address.host, most))
        self.waiting = waiting
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed += 1

    def named(self, reference: Reference) -> Named:
        self.waiting()
        return Named(b"", Letter())

    def kept(self, contents: Sequence[Content]) -> Sequence[Span]:
        raise AssertionError("nothing needs to be converted")

    def append(self, mailbox: str, message: Rendering) -> None:
        if self.failure:
            raise SubmissionRefused(self.failure)
        self.copies.append((mailbox, b"".join(message.chunks())))


class Letter:
    """What a reference names."""

    octets = b"Subject: letter\r\n\r\nDear!\r\n"
    size = len(octets)

    def chunks(self) -> Iterator[bytes]:
        yield self.octets


@pytest.fixture
def mailboxes(monkeypatch: pytest.MonkeyPatch) -> Mailboxes:
    mailboxes = Mailboxes()
    monkeypatch.setattr(outbox_module, "Mailboxes", mailboxes)
    return mailboxes


def forward(url: str) -> bytes:
    """Return a draft that is to bring along what the URL names."""
    part = f'Content-Type: message/external-body; access-type=URL; URL="{url}"\r\n\r\nContent-Type: x/y\r\n\r\n'
    content = f"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n{part}\r\n--x--\r\n"
    return b"From: fred@example.com\r\nTo: ann@example.com\r\nMIME-Version: 1.0\r\n" + content.encode()


@pytest.mark.parametrize(
    "url",
    [
        "/INBOX/;UID=20",
        "imap://imap.example/INBOX/;UID=20",
        "imap://127.0.0.1/INBOX/;UID=20",  # the address that the client is connected to
    ],
)
def test_what_a_draft_refers_to_is_included(log: Log, stop: Stop, mailboxes: Mailboxes, url: str) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        assert scene.submit(forward(url)) == b"* OK Still submitting\r\n"
        assert scene.client.hear_line() == b"s OK SUBMIT completed\r\n"
        assert b"\r\nDear!\r\n" in scene.smtp.messages[0].content
        assert mailboxes.opened == [(scene.service.imap, "fred", CLIENT, scene.service.site.max_composed_size)]
    assert mailboxes.closed == 1
    assert fields(log.of("submission")[0])["references"] == "1"


def test_what_lies_elsewhere_is_not_included(log: Log, stop: Stop, mailboxes: Mailboxes) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        url = "imap://192.0.2.1/INBOX/;UID=20"  # the client's own address
        assert scene.submit(forward(url)) == f"s NO 5.6.6 cannot read {url}: it is on another server,\r\n".encode()
        assert scene.smtp.commands == []
    assert mailboxes.closed == 1


def test_a_sent_copy_is_filed_and_logged(log: Log, stop: Stop, mailboxes: Mailboxes) -> None:
    with session(log, stop, site=replace(SITE, sent_mailbox="auto")) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert mailboxes.copies == [("auto", scene.smtp.messages[0].content)]
    assert fields(log.of("submission")[0])["sent"] == "filed"
    assert log.of("sent-copy-failed") == []


def test_a_sent_copy_that_is_refused_does_not_change_the_ok(log: Log, stop: Stop, mailboxes: Mailboxes) -> None:
    mailboxes.failure = "4.2.2 over quota\r\n* BYE"
    with session(log, stop, site=replace(SITE, sent_mailbox="Sent")) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed; no copy in Sent (4.2.2 over quota  * BYE)\r\n"
        assert len(scene.smtp.messages) == 1
    known = fields(log.of("submission")[0])
    assert known["sent"] == "failed"
    assert fields(log.of("sent-copy-failed")[0]) == {
        "user": "fred",
        "client": CLIENT,
        "message_id": known["message_id"],
        "reason": r'"4.2.2 over quota\x0d\x0a* BYE"',
    }


def test_who_repeats_it_hears_that_there_may_be_no_copy(
    log: Log, stop: Stop, tmp_path: Path, mailboxes: Mailboxes
) -> None:
    """Who was told so the first time may not have heard it."""
    path = str(tmp_path / "journal")
    make(path)
    mailboxes.failure = "4.2.2 over quota"
    site = replace(SITE, sent_mailbox="Sent")
    with closing(Journal(path)) as journal, session(log, stop, journal=journal, site=site) as scene:
        scene.log_in()
        draft = b"Message-ID: <1@example.com>\r\n" + DRAFT
        assert scene.submit(draft) == b"s OK SUBMIT completed; no copy in Sent (4.2.2 over quota)\r\n"
        assert scene.submit(draft).endswith(b" UTC); perhaps no copy in Sent\r\n")
    assert fields(log.of("submission-repeated")[0])["sent"] == "unknown"


def test_what_the_service_announces_is_announced(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.server.say(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        scene.client.expect(b"* OK [CAPABILITY IMAP4rev1 CAN-SUBMIT CAN-SUBMIT=URL] ready\r\n")


# Waiting.


def test_submissions_over_the_bound_wait_and_the_client_hears_so(
    log: Log, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "WAITING_INTERVAL", 0.05)
    with session(log, stop, running_submissions=threading.BoundedSemaphore(1)) as scene:
        scene.log_in()
        with scene.service.running_submissions:
            assert scene.submit() == b"* OK Still submitting\r\n"
            scene.client.expect(b"* OK Still submitting\r\n")
            assert scene.smtp.commands == []
        while (line := scene.client.hear_line()) == b"* OK Still submitting\r\n":
            pass
        assert line == b"s OK SUBMIT completed\r\n"
        assert scene.service.running_submissions.acquire(blocking=False)
        scene.service.running_submissions.release()


@pytest.mark.parametrize("step", ["GREETING", "MAIL", "."])
def test_a_refused_or_lost_submission_makes_room_for_the_next(log: Log, stop: Stop, step: str) -> None:
    bound = threading.BoundedSemaphore(1)
    with session(log, stop, {step: "451 4.3.0 not now"}, running_submissions=bound) as scene:
        scene.log_in()
        for _ in range(3):
            assert scene.submit().startswith(b"s NO ")
        assert bound.acquire(blocking=False)
        bound.release()


class Gate:
    """A step at which the SMTP server waits until the test lets it go on."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def __iter__(self) -> Iterator[Script]:
        self._reached.set()
        assert self._open.wait(PATIENCE)
        yield "250 2.1.0 ok"

    def await_arrival(self) -> None:
        assert self._reached.wait(PATIENCE)

    def open(self) -> None:
        self._open.set()


def test_a_client_that_leaves_while_it_is_submitted_has_sent_its_message(log: Log, stop: Stop) -> None:
    gate = Gate()
    with session(log, stop, {"MAIL": gate}) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b"\r\n")
        gate.await_arrival()
        scene.client.reset()
        gate.open()
        scene.server.hear_rest()
        assert len(scene.smtp.messages) == 1
    assert len(log.of("submission")) == 1


def test_a_server_that_goes_while_a_message_is_submitted_does_not_take_its_answer_along(log: Log, stop: Stop) -> None:
    gate = Gate()
    with session(log, stop, {"MAIL": gate}) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b"\r\n")
        gate.await_arrival()
        scene.server.reset()
        gate.open()
        assert scene.client.hear_rest() == b"s OK SUBMIT completed\r\n* BYE The IMAP server closed the connection\r\n"


def test_a_stop_lets_a_submission_finish_and_then_says_bye(log: Log, stop: Stop) -> None:
    gate = Gate()
    with session(log, stop, {"MAIL": gate}) as scene:
        scene.log_in()
        scene.client.say(b"s SUBMIT {%d+}\r\n" % len(DRAFT) + DRAFT + b"\r\n")
        gate.await_arrival()
        stop.give()
        gate.open()
        assert scene.client.hear_rest() == b"s OK SUBMIT completed\r\n* BYE The server is shutting down\r\n"
        assert len(scene.smtp.messages) == 1


def test_a_mail_server_that_says_nothing_costs_the_session_its_timeout_only(log: Log, stop: Stop) -> None:
    with FakeSmtp(replies={"MAIL": SILENCE}) as smtp:
        server = SmtpServer("127.0.0.1", smtp.port, "none", "", "", 0.3, "proxy.example")
        with session(log, stop, smtp=server) as scene:
            scene.log_in()
            assert re.fullmatch(rb"s NO 4\.\d\.\d [^,]+,\r\n", scene.submit())
            scene.client.say(b"b NOOP\r\n")
            scene.server.expect(b"b NOOP\r\n")


# What goes wrong.


def test_a_client_past_a_limit_is_told_and_let_go(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"b SUBMIT {99999999999+}\r\n")
        assert scene.client.hear_rest() == b"* BYE Literal too large\r\n"
        assert scene.server.hear_rest() == b""
    assert fields(log.of("disconnect")[0])["reason"] == '"client went past a limit"'


UNCLEAN = b"* BYE A line must end in CRLF, and hold no other CR, LF or NUL\r\n"


@pytest.fixture
def _buffers_used_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have another session read into each buffer as soon as it is given back."""

    def return_buffer(buffer: bytearray) -> None:
        buffer[:] = b"#" * len(buffer)

    monkeypatch.setattr(relay_module, "return_buffer", return_buffer)


@pytest.mark.usefixtures("_buffers_used_by_others")
def test_what_came_before_a_limit_reaches_the_server_as_it_was(log: Log, stop: Stop) -> None:
    """Else it would get what another session read meanwhile: somebody else's mail in the user's own mailbox."""
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"b APPEND INBOX {5+}\r\nhello\0\r\n")
        assert scene.server.hear_rest() == b"b APPEND INBOX {5+}\r\nhello"
        assert scene.client.hear_rest() == UNCLEAN


@pytest.mark.usefixtures("_buffers_used_by_others")
def test_what_came_before_a_limit_reaches_the_client_as_it_was(log: Log, stop: Stop) -> None:
    """Else a client could choose to be shown what other sessions read."""
    response = b"* 1 FETCH (BODY[] {5}\r\nhello)\r\n+ go on\r\n"
    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"b APPEND INBOX {5}\r\n")
        scene.server.expect(b"b APPEND INBOX {5}\r\n")
        scene.client.say(b"hello\0\r\n")
        assert not scene.server.is_spoken_to()
        scene.server.say(response)
        assert scene.client.hear_rest() == response + UNCLEAN


def test_a_goodbye_reaches_a_client_that_is_still_speaking(log: Log, stop: Stop) -> None:
    with listening() as listener:
        client, stream = tcp_pair()
        client.say(b"x" * 400_000)  # more than is read of it before the session ends
        work = Background(lambda: serve(stream, CLIENT, service_for(port_of(listener), 25, stop.fd), False))
        with client, accepted_by(listener) as server:
            server.say(GREETING)
            client.expect(GREETING)
            assert client.hear_line().startswith(b"* BYE ")
            assert client.hear_rest() == b""  # and no reset, which can overtake the goodbye
        work.result()


@pytest.mark.parametrize("words", [b"220 smtp.example ESMTP\r\n", b"+ ready\r\n"])
def test_a_server_that_is_none_is_excused(log: Log, stop: Stop, words: bytes) -> None:
    with session(log, stop) as scene:
        scene.server.say(words)
        assert scene.client.hear_rest() == b"* BYE The IMAP server sent what cannot be understood\r\n"
        assert scene.server.hear_rest() == b""
    assert fields(log.of("disconnect")[0])["reason"] == '"the IMAP server does not greet as one"'


def test_what_nobody_foresaw_is_logged_on_one_event_and_ends_the_session(log: Log, stop: Stop) -> None:
    def may_offer(_mechanism: bytes) -> bool:
        raise RuntimeError("nobody foresaw this")

    with session(log, stop, terms=replace(TERMS, may_offer=may_offer)) as scene:
        scene.server.say(b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n")
        assert scene.client.hear_rest() == b""
        assert scene.server.hear_rest() == b""
    assert [line.split()[0] for line in log.lines] == ["disconnect", "session-failed"]
    assert fields(log.lines[0])["reason"] == '"unexpected error"'
    assert log.lines[1].startswith("session-failed client=192.0.2.1\nTraceback")
    assert log.lines[1].endswith("RuntimeError: nobody foresaw this")


def test_a_surprise_in_a_submission_ends_the_session_and_makes_room(log: Log, stop: Stop) -> None:
    bound = threading.BoundedSemaphore(1)
    with session(log, stop, site=None, running_submissions=bound) as scene:
        scene.log_in()
        assert scene.submit() == b""
        assert scene.server.hear_rest() == b""
        assert bound.acquire(blocking=False)
        bound.release()
    assert log.of("session-failed")


def test_a_server_that_cannot_be_reached_is_said_with_a_code_that_phones_know(log: Log, stop: Stop) -> None:
    with listening() as listener:
        port = port_of(listener)
    client, stream = tcp_pair()
    with client:
        serve(stream, CLIENT, service_for(port, 25, stop.fd), False)
        assert client.hear_rest() == b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"
    assert stream.fileno() == -1
    assert log.lines == [
        'upstream-unreachable client=192.0.2.1 reason="cannot reach the IMAP server: Connection refused"'
    ]


@pytest.mark.parametrize("words", [b"", b"* OK rea"])
def test_a_server_that_ends_before_it_greets_is_one_that_cannot_be_reached(log: Log, stop: Stop, words: bytes) -> None:
    """Courier does so past its MAXPERIP."""
    with session(log, stop) as scene:
        scene.server.say(words)
        scene.server.close()
        assert scene.client.hear_rest() == b"* BYE [UNAVAILABLE] The mail server is not reachable; try again later\r\n"
    reason = '"the IMAP server ended the connection before its greeting"'
    assert log.lines[0] == f"upstream-unreachable client=192.0.2.1 reason={reason}"
    assert fields(log.of("disconnect")[0])["reason"] == reason
    assert len(log.lines) == 2


# TLS and compression.


def test_a_session_in_tls_is_one_like_others(
    log: Log, stop: Stop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    with session(log, stop, client_tls=client_tls, tls=server_tls) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert scene.service.registry.report()["sessions"][0]["tls"] == "TLSv1.3"
    assert log.of("login") == ["login user=fred client=192.0.2.1 tls=TLSv1.3 mechanism=LOGIN"]
    assert fields(log.of("disconnect")[0])["tls"] == "TLSv1.3"


def test_starttls_goes_on_in_tls(log: Log, stop: Stop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    with session(log, stop, tls=server_tls, terms=replace(TERMS, starttls=True)) as scene:
        scene.server.say(b"* OK [CAPABILITY IMAP4rev1] ready\r\n")
        assert b" STARTTLS" in scene.client.hear_line()
        scene.client.say(b"t STARTTLS\r\n")
        scene.client.expect(b"t OK Begin TLS negotiation now\r\n")
        secure(scene.client, client_tls)
        scene.client.say(LOGIN)
        scene.server.expect(LOGIN)
        scene.server.say(b"a OK done\r\n")
        scene.client.expect(b"a OK done\r\n")
        (report,) = scene.service.registry.report()["sessions"]
        assert (report["tls"], report["received"]) == ("TLSv1.3", len(b"t STARTTLS\r\n" + LOGIN))
    assert log.of("login") == ["login user=fred client=192.0.2.1 tls=TLSv1.3 mechanism=LOGIN"]


def test_a_failed_handshake_is_one_line(log: Log, stop: Stop, server_tls: ssl.SSLContext) -> None:
    service = service_for(1, 25, stop.fd, tls=server_tls)
    client, stream = tcp_pair()
    with client:
        work = Background(lambda: serve(stream, CLIENT, service, True))
        client.say(b"a LOGIN fred sesame\r\n")
        work.result()
    (line,) = log.lines
    assert line.startswith("handshake-failed client=192.0.2.1 reason=")
    assert service.registry.report()["totals"]["handshakes_failed"] == 1
    assert stream.fileno() == -1


def test_a_silent_handshake_ends_with_the_patience_for_logins(log: Log, stop: Stop, server_tls: ssl.SSLContext) -> None:
    service = service_for(1, 25, stop.fd, tls=server_tls, patience=Patience(0.1, PATIENCE))
    client, stream = tcp_pair()
    with client:
        serve(stream, CLIENT, service, True)
        assert client.hear_rest() == b""
    assert log.lines == ['handshake-failed client=192.0.2.1 reason="it took too long"']


def test_a_handshake_that_fails_after_starttls_ends_the_session(
    log: Log, stop: Stop, server_tls: ssl.SSLContext
) -> None:
    with session(log, stop, tls=server_tls, terms=replace(TERMS, starttls=True)) as scene:
        scene.server.say(GREETING)
        scene.client.expect(GREETING)
        scene.client.say(b"t STARTTLS\r\n")
        scene.client.expect(b"t OK Begin TLS negotiation now\r\n")
        scene.client.say(b"a LOGIN fred sesame\r\n")
        assert scene.server.hear_rest() == b""
        scene.end()
    handshake, disconnect = log.lines
    assert handshake.startswith("handshake-failed client=192.0.2.1 reason=")
    assert fields(disconnect)["reason"] == '"TLS handshake failed"'
    assert fields(disconnect)["received"] == str(len(b"t STARTTLS\r\n"))


def test_a_compressed_session_is_one_like_others(log: Log, stop: Stop) -> None:
    deflater, inflater = zlib.compressobj(wbits=-15), zlib.decompressobj(wbits=-15)

    def deflated(octets: bytes) -> bytes:
        return deflater.compress(octets) + deflater.flush(zlib.Z_SYNC_FLUSH)

    with session(log, stop) as scene:
        scene.log_in()
        scene.client.say(b"c COMPRESS DEFLATE\r\n" + deflated(b"d NOOP\r\n"))
        assert scene.client.hear_line().startswith(b"c OK ")
        scene.server.expect(b"d NOOP\r\n")
        scene.server.say(b"d OK done\r\n")
        heard = b""
        while heard != b"d OK done\r\n":
            heard += inflater.decompress(scene.client.stream.recv(1000))
        assert scene.service.registry.report()["sessions"][0]["compress"] == "deflate"
    assert fields(log.of("disconnect")[0])["compress"] == "deflate"


# What is known of it while it runs.


def test_a_running_session_is_in_the_registry(log: Log, stop: Stop) -> None:
    began = time.time()
    with session(log, stop) as scene:
        registry = scene.service.registry
        scene.server.say(GREETING)
        scene.client.expect(GREETING)
        (report,) = registry.report()["sessions"]
        assert (report["user"], report["client"], report["doing"]) == (None, CLIENT, "login")
        assert began <= report["since"] <= time.time()
        scene.client.say(LOGIN)
        scene.server.expect(LOGIN)
        scene.server.say(b"a OK done\r\n")
        scene.client.expect(b"a OK done\r\n")
        (report,) = registry.report()["sessions"]
        assert (report["user"], report["doing"], report["received"]) == ("fred", "idle", len(LOGIN))
        while registry.report()["sessions"][0]["sent"] < len(GREETING + b"a OK done\r\n"):
            assert time.time() < began + PATIENCE  # it is counted just after it is sent
    report_after = registry.report()
    assert report_after["sessions"] == []
    assert report_after["totals"]["logins_accepted"] == report_after["totals"]["sessions"] == 1


def test_before_there_is_a_server_a_session_is_connecting(log: Log, stop: Stop, server_tls: ssl.SSLContext) -> None:
    service = service_for(1, 25, stop.fd, tls=server_tls)
    client, stream = tcp_pair()
    with client:
        work = Background(lambda: serve(stream, CLIENT, service, True))
        deadline = time.monotonic() + PATIENCE
        while not (reports := service.registry.report()["sessions"]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (reports[0]["user"], reports[0]["sent"]) == (None, 0)
        assert reports[0]["doing"] in {"connecting", "handshake"}
        client.close()
        work.result()


def test_submissions_are_counted(log: Log, stop: Stop) -> None:
    with session(log, stop, {"RCPT bob@example.com": "550 5.1.1 no such user"}) as scene:
        scene.log_in()
        assert scene.submit().startswith(b"s NO ")
        assert scene.submit(DRAFT.replace(b"bob@", b"ann@")).startswith(b"s OK ")
        totals = scene.service.registry.report()["totals"]
    assert (totals["submissions_accepted"], totals["submissions_refused"]) == (1, 1)


# Limits.


@pytest.mark.parametrize(
    ("limits", "text", "reason"),
    [
        ((1, 0), b"* BYE Too many clients; try again later\r\n", "max-clients"),
        ((9, 1), b"* BYE Too many clients from your address; try again later\r\n", "max-clients-per-ip"),
    ],
)
def test_one_client_too_many_is_told_so_until_another_has_left(
    log: Log, stop: Stop, limits: tuple[int, int], text: bytes, reason: str
) -> None:
    with counting(*limits) as ledger:
        with session(log, stop, ledger=ledger) as scene:
            scene.log_in()
            client, stream = tcp_pair()
            with client:
                serve(stream, CLIENT, scene.service, False)
                assert client.hear_rest() == text
            assert log.of("client-turned-away") == [f"client-turned-away client=192.0.2.1 reason={reason}"]
            totals = scene.service.registry.report()["totals"]
            assert (totals["turned_away"], totals["sessions"]) == (1, 1)
        with session(log, stop, ledger=ledger) as scene:
            scene.log_in()


def test_a_session_that_fails_makes_room_too(log: Log, stop: Stop) -> None:
    with counting(clients=1) as ledger:
        with session(log, stop, site=None, ledger=ledger) as scene:
            scene.log_in()
            assert scene.submit() == b""
        with session(log, stop, ledger=ledger) as scene:
            scene.log_in()


def test_too_many_submissions_are_refused_and_said_once(log: Log, stop: Stop) -> None:
    with counting(submissions_per_hour=1) as ledger, session(log, stop, ledger=ledger) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert scene.submit() == b"s NO 4.7.1 too many submissions; try again later,\r\n"
        assert len(scene.smtp.messages) == 1
    assert log.of("submission-refused") == [
        'submission-refused user=fred client=192.0.2.1 answer="4.7.1 too many submissions; try again later"'
    ]


def test_failed_logins_make_a_client_wait(log: Log, stop: Stop) -> None:
    guess = b"a LOGIN fred guess\r\n"
    with counting() as ledger, session(log, stop, ledger=ledger) as scene:
        scene.server.say(GREETING)
        scene.client.expect(GREETING)
        for _ in range(FREE_FAILURES + 1):
            scene.client.say(guess)
            scene.server.expect(guess)
            scene.server.say(b"a NO wrong\r\n")
            scene.client.expect(b"a NO wrong\r\n")
        refused = time.monotonic()
        scene.client.say(LOGIN)
        assert not scene.server.is_spoken_to(FIRST_DELAY / 2)
        scene.server.expect(LOGIN)
        assert time.monotonic() - refused >= FIRST_DELAY * 0.9
        scene.server.say(b"a OK done\r\n")
        scene.client.expect(b"a OK done\r\n")
        totals = scene.service.registry.report()["totals"]
    assert (totals["logins_refused"], totals["logins_accepted"]) == (FREE_FAILURES + 1, 1)
    plain = "login-refused user=fred client=192.0.2.1 mechanism=LOGIN"
    assert log.of("login-refused") == [plain] * FREE_FAILURES + [f"{plain} wait={FIRST_DELAY}"]


def test_pipelined_guesses_wait_too(log: Log, stop: Stop) -> None:
    guesses = [b"%d LOGIN fred guess%d\r\n" % (number, number) for number in range(FREE_FAILURES + 2)]
    with counting() as ledger, session(log, stop, ledger=ledger) as scene:
        scene.server.say(GREETING)
        scene.client.expect(GREETING)
        scene.client.say(b"".join(guesses))
        for number, guess in enumerate(guesses[:-1]):
            scene.server.expect(guess)
            assert not scene.server.is_spoken_to(0.05)
            scene.server.say(b"%d NO wrong\r\n" % number)
            scene.client.expect(b"%d NO wrong\r\n" % number)
        scene.server.expect(guesses[-1])
        scene.server.say(b"%d NO wrong\r\n" % (len(guesses) - 1))
        assert not scene.client.is_spoken_to(FIRST_DELAY / 2)
    assert log.of("session-failed") == []


# Behind a proxy.


def test_a_client_behind_a_proxy_is_who_the_proxy_says(log: Log, stop: Stop) -> None:
    proxies = (ip_network("192.0.2.0/24"),)
    header = b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 143\r\n"
    with session(log, stop, header=header, proxies=proxies) as scene:
        scene.log_in()
        assert scene.submit() == b"s OK SUBMIT completed\r\n"
        assert b"[203.0.113.9]" in scene.smtp.messages[0].content
        assert scene.service.registry.report()["sessions"][0]["client"] == "203.0.113.9"
    assert log.of("login") == ["login user=fred client=203.0.113.9 mechanism=LOGIN"]


def test_tls_that_ends_at_a_proxy_counts(log: Log, stop: Stop) -> None:
    terms = replace(TERMS, starttls=True, require_tls=True)
    header = proxy_v2(("203.0.113.9", 40000), ("198.51.100.1", 993), is_tls=True)
    with session(log, stop, header=header, proxies=(ip_network("192.0.2.1"),), terms=terms) as scene:
        scene.log_in()
    assert log.of("login") == ["login user=fred client=203.0.113.9 tls=proxy mechanism=LOGIN"]


def test_tls_begins_behind_the_header_of_a_proxy(
    log: Log, stop: Stop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    header = proxy_v2(("203.0.113.9", 40000), ("198.51.100.1", 993))
    proxies = (ip_network("192.0.2.1"),)
    with session(log, stop, client_tls=client_tls, header=header, proxies=proxies, tls=server_tls) as scene:
        scene.log_in()
    assert log.of("login") == ["login user=fred client=203.0.113.9 tls=TLSv1.3 mechanism=LOGIN"]


def test_header_handshake_and_login_have_one_time_together(
    log: Log, stop: Stop, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    client, stream = tcp_pair()
    with client, listening() as listener:
        proxies, patience = (ip_network("192.0.2.1"),), Patience(3, PATIENCE)
        service = service_for(port_of(listener), 25, stop.fd, tls=server_tls, proxies=proxies, patience=patience)
        began = time.monotonic()
        work = Background(lambda: serve(stream, CLIENT, service, True))
        time.sleep(1)
        client.say(proxy_v2(("203.0.113.9", 40000), ("198.51.100.1", 993)))
        time.sleep(1)
        secure(client, client_tls)
        secured = time.monotonic()
        with accepted_by(listener) as server:
            server.say(GREETING)
            client.expect(GREETING + b"* BYE Login takes too long\r\n")
            work.result()
    assert time.monotonic() - began >= 3
    assert time.monotonic() - secured < 3  # one second of it is left, or two on a busy machine's clock


def test_a_proxy_without_a_header_is_let_go(log: Log, stop: Stop) -> None:
    service = service_for(1, 25, stop.fd, proxies=(ip_network("192.0.2.0/24"),))
    client, stream = tcp_pair()
    with client:
        client.say(LOGIN)
        serve(stream, CLIENT, service, False)
        assert client.is_spoken_to()
    assert log.lines == ['proxy-header-refused client=192.0.2.1 reason="no PROXY header"']


@pytest.mark.parametrize("leaves", [Peer.close, Peer.reset])
def test_a_proxy_that_only_looks_whether_we_are_there_is_no_event(
    log: Log, stop: Stop, leaves: Callable[[Peer], None]
) -> None:
    client, stream = tcp_pair()
    leaves(client)
    serve(stream, CLIENT, service_for(1, 25, stop.fd, proxies=(ip_network("192.0.2.0/24"),)), False)
    assert stream.fileno() == -1
    assert log.lines == []


def test_others_who_speak_of_proxies_speak_no_imap(log: Log, stop: Stop) -> None:
    with session(log, stop) as scene:
        scene.client.say(b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 143\r\n")
        scene.server.say(GREETING)
        scene.client.expect(GREETING)
        scene.server.expect(b"PROXY TCP4 203.0.113.9 198.51.100.1 40000 143\r\n")
    assert fields(log.of("disconnect")[0])["client"] == CLIENT


# A server that has spoken already.


def test_what_the_server_has_said_while_connecting_comes_first(
    log: Log, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_and_hear(server: UpstreamServer, client: ClientAddress, deadline: float) -> tuple[socket.socket, Said]:
        return connect_upstream(server, client, deadline)[0], Said(GREETING)

    monkeypatch.setattr(session_module, "connect_upstream", connect_and_hear)
    with session(log, stop) as scene:
        scene.client.expect(GREETING)
        scene.client.say(LOGIN)
        scene.server.expect(LOGIN)


def test_what_the_server_has_said_while_connecting_may_be_nonsense(
    log: Log, stop: Stop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        session_module, "connect_upstream", lambda *to: (connect_upstream(*to)[0], Said(b"nonsense\r\n"))
    )
    with session(log, stop) as scene:
        assert scene.client.hear_rest() == b"* BYE The IMAP server sent what cannot be understood\r\n"
    assert fields(log.of("disconnect")[0])["reason"] == '"the IMAP server does not greet as one"'
