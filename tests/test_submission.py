from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.message import Message, Site, Stamp, Submitter
from imapproxy.submission import Submitted, submit

SITE = Site(("example.com",), "check", {}, 100, "proxy.example.com", True)
SUBMITTER = Submitter("fred", "192.0.2.1")
STAMP = Stamp(datetime(2024, 2, 29, 12, 0, tzinfo=UTC), "abcdefghijklmnop")

DRAFT = (
    b"From: fred@example.com\r\n"
    b"To: ann@example.com, bob@example.com\r\n"
    b"Message-ID: <1@example.com>\r\n"
    b"Subject: hello\r\n"
    b"\r\n"
    b"Hello\r\n"
)


@dataclass(frozen=True)
class Acceptance:
    reply: str
    size: int
    recipients: int


def test_a_draft_is_delivered_and_accounted_for() -> None:
    delivered: list[Message] = []

    def deliver(message: Message) -> Acceptance:
        delivered.append(message)
        return Acceptance("250 ok", 345, len(message.recipients))

    assert submit(DRAFT, SITE, SUBMITTER, STAMP, deliver) == Submitted("<1@example.com>", 345, 2, "250 ok")
    assert [recipient.smtp for message in delivered for recipient in message.recipients] == [
        "ann@example.com",
        "bob@example.com",
    ]


@pytest.mark.parametrize(
    ("draft", "error"),
    [(b"", ClientError), (DRAFT.replace(b"To:", b"X-To:"), SubmissionRefused)],
)
def test_what_cannot_be_sent_is_not_delivered(draft: bytes, error: type[Exception]) -> None:
    def deliver(message: Message) -> Acceptance:
        raise AssertionError(message)

    with pytest.raises(error):
        submit(draft, SITE, SUBMITTER, STAMP, deliver)


def test_a_refused_delivery_is_passed_on() -> None:
    refused = SubmissionRefused("", ["bob@example.com"])

    def deliver(message: Message) -> Acceptance:
        raise refused

    with pytest.raises(SubmissionRefused) as caught:
        submit(DRAFT, SITE, SUBMITTER, STAMP, deliver)
    assert caught.value is refused
