from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from time import monotonic

import pytest

from imapproxy.errors import DeliveryUncertain, SubmissionRefused
from imapproxy.message.address import Address
from imapproxy.message.segments import Rendering
from imapproxy.message.site import Extensions
from imapproxy.net.client_address import User
from imapproxy.net.deliver import UNCERTAIN, Accepted, SmtpServer, deliver
from imapproxy.net.smtp import GARBLED, LOST, NOT_RESPONDING
from imapproxy.net.smtp_opening import NO_STARTTLS
from imapproxy.protocol.login import Credentials
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, FakeSmtp, Received, Script, Turns
from tests.net.peers import until
from tests.net.played import CLIENT

AMPLE = 20.0  # seconds, for what is to succeed on a busy machine too
TIMEOUT = 0.4  # seconds, for what is to fail
INTERVAL = 0.05  # seconds
CONTENT = b"Subject: hello\r\n\r\n.\r\n..two\r\nend\r\n"
CHUNKS = (CONTENT[:19], CONTENT[19:])

FRED = Address("fred", "example.com")
ANN = Address("ann", "example.com")
BOB = Address("bob", "example.com")
BAD = Address("bad", "example.com")
USER = User(Credentials("fred", "fred", "pencil", "PLAIN"), CLIENT)


@dataclass(frozen=True)
class Outgoing:
    """A message and its one segment, of which nothing but what delivery looks at is there."""

    recipients: tuple[Address, ...] = (ANN,)
    sender: Address = FRED
    smtputf8: bool = False
    size: int = len(CONTENT)
    content: Callable[[], Iterator[bytes]] = lambda: iter(CHUNKS)
    asked: list[Extensions] = field(default_factory=list)

    def rendering(self, extensions: Extensions) -> Rendering:
        self.asked.append(extensions)
        return Rendering([self], self.size, self.smtputf8)

    def chunks(self) -> Iterator[bytes]:
        yield from self.content()


class Waits:
    """Counts the calls of ``waiting``."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def smtp_server(fake: FakeSmtp, timeout: float = AMPLE) -> SmtpServer:
    return SmtpServer("127.0.0.1", fake.port, "none", "", "", timeout, "proxy.example")


def ignore(_: object = None) -> None:
    """Do nothing at all."""


@dataclass(frozen=True)
class Noting:
    """What is done when a message has come so far."""

    sending: Callable[[], None] = ignore
    accepted: Callable[[str], None] = ignore


def send(
    fake: FakeSmtp,
    message: Outgoing,
    waiting: Callable[[], None] | None = None,
    timeout: float = AMPLE,
    notes: Noting = Noting(),
) -> Accepted:
    return deliver(message, smtp_server(fake, timeout), USER, notes, waiting or Waits(), INTERVAL)


def refusal(fake: FakeSmtp, message: Outgoing, timeout: float = AMPLE) -> str:
    """Return what the SUBMIT's answer is made of: text, then recipients, commas between."""
    with pytest.raises(SubmissionRefused) as caught:
        send(fake, message, timeout=timeout)
    return str(caught.value)


# The dialogue of a message that everybody accepts.


def test_a_message_for_all() -> None:
    with FakeSmtp(extensions=()) as fake:
        accepted = send(fake, message := Outgoing((ANN, BOB)))
    assert accepted == Accepted("250 2.0.0 ok: queued as FAKE1", Rendering([message], len(CONTENT), smtputf8=False))
    assert fake.commands == [
        "ehlo proxy.example",
        "MAIL FROM:<fred@example.com>",
        "RCPT TO:<ann@example.com>",
        "RCPT TO:<bob@example.com>",
        "DATA",
        "QUIT",
    ]
    assert fake.messages == [Received(fake.commands[1], tuple(fake.commands[2:4]), CONTENT)]


@pytest.mark.parametrize(
    ("extensions", "asked", "parameters"),
    [
        ((), Extensions(False, False), ""),
        (("8BITMIME",), Extensions(True, False), " BODY=8BITMIME"),
        (("SIZE",), Extensions(False, False), f" SIZE={len(CONTENT)}"),
        (("8bitmime", "smtputf8", "size 0"), Extensions(True, True), f" SIZE={len(CONTENT)} BODY=8BITMIME"),
        (("SIZE 1000", "PIPELINING"), Extensions(False, False), f" SIZE={len(CONTENT)}"),
        (("SIZE " + "9" * 5000,), Extensions(False, False), f" SIZE={len(CONTENT)}"),
        (("SIZE lots",), Extensions(False, False), f" SIZE={len(CONTENT)}"),
    ],
)
def test_uses_what_the_server_offers(extensions: Sequence[str], asked: Extensions, parameters: str) -> None:
    message = Outgoing()
    with FakeSmtp(extensions) as fake:
        send(fake, message)
    assert message.asked == [asked]
    assert fake.commands[1] == f"MAIL FROM:<fred@example.com>{parameters}"


def test_an_internationalized_message() -> None:
    message = Outgoing((Address("é", "example.com"),), Address("ü", "example.com"), smtputf8=True)
    with FakeSmtp(("8BITMIME", "SMTPUTF8")) as fake:
        send(fake, message)
    assert fake.commands[1:3] == ["MAIL FROM:<ü@example.com> BODY=8BITMIME SMTPUTF8", "RCPT TO:<é@example.com>"]


def test_a_server_without_extensions_gets_helo() -> None:
    message = Outgoing()
    with FakeSmtp(replies={"EHLO": "502 5.5.1 unknown command"}) as fake:
        send(fake, message)
    assert fake.commands[:3] == ["ehlo proxy.example", "helo proxy.example", "MAIL FROM:<fred@example.com>"]
    assert message.asked == [Extensions(False, False)]


def test_a_message_larger_than_all_buffers() -> None:
    line = b".x" * 30 + b"\r\n"
    chunk = line * 1000
    with FakeSmtp() as fake:
        send(fake, Outgoing(size=200 * len(chunk), content=lambda: iter([chunk] * 200)))
    assert fake.messages[0].content == chunk * 200


@pytest.mark.parametrize("quit_reply", [SILENCE, CLOSE, RESET, "500 what", b"x"])
def test_a_failing_farewell_changes_nothing(quit_reply: Script) -> None:
    with FakeSmtp(replies={"QUIT": quit_reply}) as fake:
        assert send(fake, Outgoing(), timeout=TIMEOUT).reply.startswith("250")


def test_nothing_that_happens_after_acceptance_hides_it() -> None:
    def waiting() -> None:
        raise BrokenPipeError

    with FakeSmtp(replies={"QUIT": SILENCE}) as fake:
        assert send(fake, Outgoing(), waiting, timeout=TIMEOUT).reply.startswith("250")


@pytest.mark.parametrize("late", ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "."])
def test_waiting_is_called_at_every_step(late: str) -> None:
    waiting = Waits()
    with FakeSmtp() as fake:
        usual = fake.script[late]
        fake.script[late] = Turns(chain(until(lambda: waiting.count >= 2), [usual]), usual)
        send(fake, Outgoing(), waiting)


@pytest.mark.parametrize("late", ["GREETING", "RCPT", "."])
@pytest.mark.parametrize("error", [KeyError(), BrokenPipeError(), TimeoutError()])
def test_what_waiting_raises_is_no_failure_of_the_server(late: str, error: Exception) -> None:
    def waiting() -> None:
        raise error

    with FakeSmtp(replies={late: SILENCE}) as fake, pytest.raises(type(error)) as caught:
        send(fake, Outgoing(), waiting)
    assert caught.value is error


def test_the_final_dot_has_twice_the_patience() -> None:
    with FakeSmtp(replies={".": (1.5 * TIMEOUT, "250 ok")}) as fake:
        assert send(fake, Outgoing(), timeout=TIMEOUT).reply == "250 ok"


# All or none: each way to be refused, the answer to it, and what the server heard.

TRIED_ALL = ["EHLO", "MAIL", "RCPT", "RCPT", "RCPT", "RSET", "QUIT"]


@pytest.mark.parametrize(
    ("replies", "answer", "verbs"),
    [
        # some recipients refused
        ({"RCPT bad@example.com": "550 5.1.1 no such user"}, ",bad@example.com", TRIED_ALL),
        ({"RCPT": "550 5.1.1 no"}, ",ann@example.com,bad@example.com,bob@example.com", TRIED_ALL),
        ({"RCPT bad@example.com": "450 4.2.0 greylisted"}, "450 4.2.0 greylisted,bad@example.com", TRIED_ALL),
        (
            {"RCPT": Turns("550 5.1.1 no", "450 4.2.0 first", "451 4.3.0 second")},
            "450 4.2.0 first,ann@example.com,bad@example.com,bob@example.com",
            TRIED_ALL,
        ),
        ({"RCPT bad@example.com": "550-5.1.1 no\n550 5.1.1 user"}, ",bad@example.com", TRIED_ALL),
        ({"RCPT bad@example.com": "550 no", "RSET": CLOSE}, ",bad@example.com", TRIED_ALL[:-1]),
        # any other failure, in the server's words
        ({"GREETING": "554 5.7.1 go away"}, "554 5.7.1 go away,", ["QUIT"]),
        ({"GREETING": ("421 4.3.2 busy", CLOSE)}, "421 4.3.2 busy,", []),
        ({"EHLO": "421 4.3.2 busy"}, "421 4.3.2 busy,", ["EHLO", "QUIT"]),
        ({"EHLO": "550 5.7.1 no", "HELO": "550 5.7.1 never"}, "550 5.7.1 never,", ["EHLO", "HELO", "QUIT"]),
        ({"MAIL": "452 4.3.1 disk full"}, "452 4.3.1 disk full,", ["EHLO", "MAIL", "QUIT"]),
        ({"MAIL": "553-5.7.1 not\n553 5.7.1 owner"}, "553 5.7.1 not 5.7.1 owner,", ["EHLO", "MAIL", "QUIT"]),
        ({"DATA": "451 4.3.0 try later"}, "451 4.3.0 try later,", [*TRIED_ALL[:5], "DATA", "QUIT"]),
        ({"DATA": "250 ok"}, "250 ok,", [*TRIED_ALL[:5], "DATA", "QUIT"]),
        ({".": "554 5.7.1 spam"}, "554 5.7.1 spam,", [*TRIED_ALL[:5], "DATA", "QUIT"]),
        ({".": ("421 4.3.0 later", CLOSE)}, "421 4.3.0 later,", [*TRIED_ALL[:5], "DATA"]),
        # any other failure, in ours
        ({"GREETING": CLOSE}, f"{LOST},", []),
        ({"GREETING": "SSH-2.0-OpenSSH_9.2"}, f"{GARBLED},", []),
        ({"EHLO": CLOSE}, f"{LOST},", ["EHLO"]),
        ({"MAIL": RESET}, f"{LOST},", ["EHLO", "MAIL"]),
        ({"MAIL": (b"250 half a li", CLOSE)}, f"{LOST},", ["EHLO", "MAIL"]),
        ({"DATA": CLOSE}, f"{LOST},", [*TRIED_ALL[:5], "DATA"]),
        # both
        (
            {"RCPT": Turns("550 no", "250 ok", ("421 4.3.2 shutting down", CLOSE))},
            "421 4.3.2 shutting down,ann@example.com",
            TRIED_ALL[:5],
        ),
        ({"RCPT": Turns("450 4.2.0 later", "250 ok", CLOSE)}, f"{LOST},ann@example.com", TRIED_ALL[:5]),
        ({"RCPT": Turns("550 no", "?")}, f"{GARBLED},ann@example.com", TRIED_ALL[:4]),
        ({"RCPT": CLOSE}, f"{LOST},", TRIED_ALL[:3]),
        # the server vanished after the final dot, before its reply
        ({".": CLOSE}, f"{UNCERTAIN},", [*TRIED_ALL[:5], "DATA"]),
        ({".": RESET}, f"{UNCERTAIN},", [*TRIED_ALL[:5], "DATA"]),
        ({".": (b"250 o", CLOSE)}, f"{UNCERTAIN},", [*TRIED_ALL[:5], "DATA"]),
        ({".": "what?"}, f"{UNCERTAIN},", [*TRIED_ALL[:5], "DATA"]),
    ],
)
def test_refused(replies: Mapping[str, Script], answer: str, verbs: list[str]) -> None:
    with FakeSmtp(replies=replies) as fake:
        assert refusal(fake, Outgoing((ANN, BAD, BOB))) == answer.removesuffix(",")
    assert fake.verbs() == verbs


@pytest.mark.parametrize(
    ("replies", "answer", "verbs"),
    [
        ({"RCPT bad@example.com": "550 no", "RSET": SILENCE}, ",bad@example.com", TRIED_ALL[:-1]),
        ({"GREETING": SILENCE}, f"{NOT_RESPONDING},", []),
        ({"MAIL": SILENCE}, f"{NOT_RESPONDING},", ["EHLO", "MAIL"]),
        ({"RCPT": Turns("550 no", SILENCE)}, f"{NOT_RESPONDING},ann@example.com", TRIED_ALL[:4]),
        ({".": SILENCE}, f"{UNCERTAIN},", [*TRIED_ALL[:5], "DATA"]),
    ],
)
def test_refused_in_silence(replies: Mapping[str, Script], answer: str, verbs: list[str]) -> None:
    began = monotonic()
    with FakeSmtp(replies=replies) as fake:
        assert refusal(fake, Outgoing((ANN, BAD, BOB)), TIMEOUT) == answer.removesuffix(",")
        assert monotonic() - began < AMPLE
    assert fake.verbs() == verbs


@pytest.mark.parametrize(
    ("reply", "is_uncertain"), [(CLOSE, True), ("554 5.7.1 spam", False), ("421 4.3.0 later", False)]
)
def test_only_a_reply_that_is_missing_leaves_it_uncertain(reply: Script, is_uncertain: bool) -> None:
    with FakeSmtp(replies={".": reply}) as fake, pytest.raises(SubmissionRefused) as caught:
        send(fake, Outgoing())
    assert isinstance(caught.value, DeliveryUncertain) == is_uncertain


# What is noted before the final dot, and behind it.


def test_all_but_the_final_dot_is_sent_before_it_is_said_so() -> None:
    said: list[int] = []
    with FakeSmtp() as fake:
        send(fake, Outgoing(), notes=Noting(sending=lambda: said.append(len(fake.messages))))
    assert said == [0]
    assert len(fake.messages) == 1


@pytest.mark.parametrize(
    "replies", [{"MAIL": "550 no"}, {"RCPT": "550 no"}, {"DATA": "451 not now"}, {"DATA": ("354 go", RESET)}]
)
def test_what_is_refused_before_is_never_said_to_be_sent(replies: Mapping[str, Script]) -> None:
    said: list[str | None] = []
    chunk = b"x" * 998 + b"\r\n"
    with FakeSmtp(replies=replies) as fake, pytest.raises(SubmissionRefused):
        send(
            fake, Outgoing(content=lambda: iter([chunk] * 20_000)), notes=Noting(lambda: said.append(None), said.append)
        )
    assert said == []


def test_that_it_was_accepted_is_said_before_anything_else_is() -> None:
    verbs: list[str] = []
    replies: list[str] = []

    def note(reply: str) -> None:
        replies.append(reply)
        verbs.extend(fake.verbs())

    with FakeSmtp() as fake:
        accepted = send(fake, Outgoing(), notes=Noting(accepted=note))
    assert replies == [accepted.reply] == ["250 2.0.0 ok: queued as FAKE1"]
    assert verbs == ["EHLO", "MAIL", "RCPT", "DATA"]


@pytest.mark.parametrize("reply", [CLOSE, "451 4.3.0 not now"])
def test_what_was_not_accepted_is_never_said_to_be(reply: Script) -> None:
    said: list[str] = []
    with FakeSmtp(replies={".": reply}) as fake, pytest.raises(SubmissionRefused):
        send(fake, Outgoing(), notes=Noting(accepted=said.append))
    assert said == []


def test_where_it_must_not_be_sent_there_is_no_final_dot() -> None:
    error = SubmissionRefused("4.3.0 no journal")

    def fail() -> None:
        raise error

    with FakeSmtp() as fake, pytest.raises(SubmissionRefused) as caught:
        send(fake, Outgoing(), notes=Noting(sending=fail))
    assert caught.value is error
    assert fake.messages == []
    assert len(fake.unfinished) == 1
    assert fake.verbs()[-1] == "DATA"


def test_the_uncertain_answer_is_what_the_documentation_says() -> None:
    assert UNCERTAIN == "4.4.2 delivery uncertain; no reply from the mail server"


def test_nobody_listens() -> None:
    with FakeSmtp() as fake:
        pass
    assert refusal(fake, Outgoing()) == NOT_RESPONDING


def test_a_message_over_the_servers_limit() -> None:
    with FakeSmtp(extensions=(f"SIZE {len(CONTENT) - 1}",)) as fake:
        assert refusal(fake, Outgoing()).startswith("5.3.4 message too large")
    assert fake.verbs() == ["EHLO", "QUIT"]


def test_a_rendering_that_is_refused() -> None:
    class Refused(Outgoing):
        def rendering(self, extensions: Extensions) -> Rendering:
            raise SubmissionRefused("5.6.1 signed part has 8-bit data")

    with FakeSmtp(extensions=()) as fake:
        assert refusal(fake, Refused()) == "5.6.1 signed part has 8-bit data"
    assert fake.verbs() == ["EHLO", "QUIT"]


@pytest.mark.parametrize(("end", "text"), [(CLOSE, LOST), (RESET, LOST), (SILENCE, NOT_RESPONDING)])
def test_lost_before_the_final_dot(end: Script, text: str) -> None:
    chunk = b"x" * 998 + b"\r\n"
    with FakeSmtp(replies={"DATA": ("354 go", end)}) as fake:
        assert refusal(fake, Outgoing(content=lambda: iter([chunk] * 20_000)), TIMEOUT) == text
    assert fake.messages == []


def test_cut_short_by_the_server_with_a_reason() -> None:
    chunk = b"x" * 998 + b"\r\n"
    with FakeSmtp(replies={"DATA": ("354 go", "552 5.3.4 too much", CLOSE)}) as fake:
        assert refusal(fake, Outgoing(content=lambda: iter([chunk] * 20_000))) == "552 5.3.4 too much"


@pytest.mark.parametrize("error", [SubmissionRefused("4.4.2 upstream lost"), OSError("disk"), KeyboardInterrupt()])
def test_a_message_that_breaks_off_gets_no_final_dot(error: BaseException) -> None:
    def content() -> Iterator[bytes]:
        yield CHUNKS[0]
        raise error

    with FakeSmtp() as fake, pytest.raises(type(error)) as caught:
        send(fake, Outgoing(content=content))
    assert caught.value is error
    assert fake.messages == []
    assert fake.unfinished == [CHUNKS[0]]


def test_a_hostile_address_says_one_command_at_most() -> None:
    hostile = Address("ann@example.com>\r\nRCPT TO:<eve", "example.com")
    with FakeSmtp() as fake:
        assert refusal(fake, Outgoing((hostile,))).startswith("5.5.2")
    assert fake.verbs() == ["EHLO", "MAIL", "QUIT"]


def test_a_dialogue_that_does_not_begin_is_a_submission_that_reached_nobody() -> None:
    with FakeSmtp() as fake, pytest.raises(SubmissionRefused) as caught:
        deliver(Outgoing(), replace(smtp_server(fake), tls="starttls"), USER, Noting(), Waits(), INTERVAL)
    assert str(caught.value) == NO_STARTTLS
    assert fake.verbs() == ["EHLO", "QUIT"]
