from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.inclusion import Content, Named, Span, Unfit
from imapproxy.message.message import Extensions, Message, Rendering, Site, Stamp, Submitter
from imapproxy.message.reference import Reference
from imapproxy.submission import Submitted, submit

SITE = Site(
    mail_domains=("example.com",),
    from_policy="check",
    identities={},
    max_recipients=100,
    host_name="proxy.example.com",
    received_client_address=True,
    references=True,
    max_composed_size=1000,
    sent_mailbox="",
    server_names=frozenset(),
)
FILING = replace(SITE, sent_mailbox="Sent")
SUBMITTER = Submitter("fred", "192.0.2.1", None)
STAMP = Stamp(datetime(2024, 2, 29, 12, 0, tzinfo=UTC), "abcdefghijklmnop")

DRAFT = (
    b"From: fred@example.com\r\n"
    b"To: ann@example.com, bob@example.com\r\n"
    b"Bcc: joe@example.com\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"Subject: hello\r\n"
    b"\r\n"
    b"Hello\r\n"
)
FORWARD = DRAFT.replace(
    b"\r\n\r\nHello\r\n", b'\r\nContent-Type: message/external-body; access-type=URL; URL="%s"\r\n\r\n\r\n'
)


@dataclass(frozen=True)
class Stored:
    octets: bytes = b"stored\r\n"

    @property
    def size(self) -> int:
        return len(self.octets)

    def chunks(self) -> Iterator[bytes]:
        yield self.octets


@dataclass
class Mailboxes:
    """A mailbox in which every reference names the same, or fails."""

    stored: bytes = b"stored\r\n"
    failure: SubmissionRefused | None = None
    asked: list[str] = field(default_factory=list)
    filed: list[tuple[str, bytes]] = field(default_factory=list)
    kept_contents: int = 0

    def named(self, reference: Reference) -> Named:
        self.asked.append(reference.text)
        if self.failure:
            raise self.failure
        return Named(b"Content-Type: text/plain\r\n", Stored(self.stored))

    def kept(self, contents: Sequence[Content]) -> Sequence[Span]:
        self.kept_contents += len(contents)
        octets = self.stored.replace(b"\n", b"\r\n")
        return [Span(octets, 0, len(octets)) for _ in contents]

    def append(self, mailbox: str, message: Rendering) -> None:
        if self.failure:
            raise self.failure
        self.filed.append((mailbox, b"".join(message.chunks())))


@dataclass(frozen=True)
class Acceptance:
    reply: str
    rendering: Rendering


@dataclass
class Delivery:
    """An SMTP server that takes everything."""

    sent: list[bytes] = field(default_factory=list)

    def __call__(self, message: Message) -> Acceptance:
        rendering = message.rendering(Extensions(eight_bit_mime=True, smtputf8=False))
        self.sent.append(b"".join(rendering.chunks()))
        return Acceptance("250 ok", rendering)


def refused(error: Exception) -> Callable[[Message], Acceptance]:
    def deliver(message: Message) -> Acceptance:
        raise error

    return deliver


def forward(url: bytes = b"/INBOX/;UID=20") -> bytes:
    return FORWARD % url


def test_a_draft_is_delivered_and_accounted_for() -> None:
    mailboxes, delivery = Mailboxes(), Delivery()
    (submitted, [sent]) = (submit(DRAFT, SITE, SUBMITTER, STAMP, mailboxes, delivery), delivery.sent)
    assert submitted == Submitted("<1@example.com>", len(sent), 3, 0, "250 ok", "")
    assert sent.endswith(b"\r\n\r\nHello\r\n")
    assert (mailboxes.asked, mailboxes.filed) == ([], [])


def test_what_it_refers_to_is_delivered_with_it() -> None:
    mailboxes, delivery = Mailboxes(), Delivery()
    submitted = submit(forward(), SITE, SUBMITTER, STAMP, mailboxes, delivery)
    assert (submitted.references, submitted.size) == (1, len(delivery.sent[0]))
    assert mailboxes.asked == ["/INBOX/;UID=20"]
    assert delivery.sent[0].endswith(b"\r\n\r\nstored\r\n")
    assert mailboxes.kept_contents == 0


def test_what_turned_out_to_be_unfit_on_its_way_is_kept_and_delivered_then() -> None:
    mailboxes, delivery = Mailboxes(b"lone\nline ends\n"), Delivery()
    submit(forward(), FILING, SUBMITTER, STAMP, mailboxes, delivery)
    assert mailboxes.kept_contents == 1
    (sent,) = delivery.sent
    assert sent.endswith(b"\r\n\r\nlone\r\nline ends\r\n")
    assert mailboxes.filed == [("Sent", b"Bcc: joe@example.com\r\n" + sent)]


@pytest.mark.parametrize(
    ("draft", "error"),
    [
        (b"", ClientError),
        (DRAFT.replace(b"To:", b"X-To:").replace(b"Bcc:", b"X:"), SubmissionRefused),
        (forward(b"imaps://x/"), SubmissionRefused),
    ],
)
def test_what_cannot_be_sent_is_not_delivered(draft: bytes, error: type[Exception]) -> None:
    mailboxes = Mailboxes()
    with pytest.raises(error):
        submit(draft, FILING, SUBMITTER, STAMP, mailboxes, refused(AssertionError()))
    assert (mailboxes.asked, mailboxes.filed) == ([], [])


def test_what_cannot_be_read_is_not_delivered() -> None:
    failure = SubmissionRefused("5.6.6 cannot read /INBOX/;UID=20: no such message")
    with pytest.raises(SubmissionRefused) as caught:
        submit(forward(), FILING, SUBMITTER, STAMP, Mailboxes(failure=failure), refused(AssertionError()))
    assert caught.value is failure


def test_a_refused_delivery_is_passed_on_and_not_filed() -> None:
    failure, mailboxes = SubmissionRefused("", ["bob@example.com"]), Mailboxes()
    with pytest.raises(SubmissionRefused) as caught:
        submit(DRAFT, FILING, SUBMITTER, STAMP, mailboxes, refused(failure))
    assert caught.value is failure
    assert mailboxes.filed == []


def test_what_was_sent_is_filed_with_its_bcc() -> None:
    mailboxes, delivery = Mailboxes(), Delivery()
    assert not submit(DRAFT, FILING, SUBMITTER, STAMP, mailboxes, delivery).sent_failure
    assert mailboxes.filed == [("Sent", b"Bcc: joe@example.com\r\n" + delivery.sent[0])]


def test_what_was_sent_was_sent_even_if_it_cannot_be_filed() -> None:
    failure = SubmissionRefused("5.2.2 mailbox is full")
    submitted = submit(DRAFT, FILING, SUBMITTER, STAMP, Mailboxes(failure=failure), Delivery())
    assert submitted.sent_failure == "5.2.2 mailbox is full"


@pytest.mark.parametrize(
    ("failure", "want"),
    [
        (Unfit(), "4.4.2 what is included has changed meanwhile"),
        (KeyError("secret"), "4.3.0 unexpected KeyError"),
    ],
)
def test_whatever_happens_while_it_is_filed_it_was_sent(failure: Exception, want: str) -> None:
    class Failing(Mailboxes):
        def append(self, mailbox: str, message: Rendering) -> None:
            raise failure

    assert submit(DRAFT, FILING, SUBMITTER, STAMP, Failing(), Delivery()).sent_failure == want
