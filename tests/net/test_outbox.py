"""A draft while it comes in, and what keeps it from going out before anybody is asked; the rest is a session's test."""

import threading
from collections.abc import Iterator

import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.net import outbox as outbox_module
from imapproxy.net.client_address import ClientAddress, User
from imapproxy.net.outbox import Outbox
from imapproxy.protocol.login import Credentials
from tests.functional.fake_smtp import FakeSmtp
from tests.net.peers import Stop, nothing_left
from tests.net.services import counting, service_for

FRED = User(
    Credentials(user="fred", login="fred", secret="sesame", mechanism="LOGIN"),
    ClientAddress("203.0.113.9", 40000, "198.51.100.1", 143, False),
)
DRAFT = memoryview(b"From: fred@example.com\r\nTo: ann@example.com\r\n\r\nhello\r\n")


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


def ignore() -> None:
    """Do nothing while a submission takes its time."""


def test_a_draft_goes_out_once(stop: Stop) -> None:
    with FakeSmtp() as smtp:
        outbox = Outbox(service_for(1, smtp.port, stop.fd), ignore)
        outbox.write(DRAFT[:10])
        outbox.write(DRAFT[10:])
        submitted = outbox.submit(FRED)
        assert (submitted.recipients, submitted.size) == (1, len(smtp.messages[0].content))
        assert b"Received: from [203.0.113.9]\r\n" in smtp.messages[0].content
        with pytest.raises(ClientError, match="empty"):
            outbox.submit(FRED)


def test_what_is_dropped_is_gone(stop: Stop) -> None:
    outbox = Outbox(service_for(1, 25, stop.fd), ignore)
    outbox.write(DRAFT)
    outbox.drop()
    outbox.drop()
    with pytest.raises(ClientError, match="empty"):
        outbox.submit(FRED)


def test_what_went_wrong_with_a_draft_is_said_when_it_is_whole_and_then_forgotten(stop: Stop) -> None:
    with FakeSmtp() as smtp:
        outbox = Outbox(service_for(1, smtp.port, stop.fd), ignore)
        outbox.write(memoryview(b"\0"))
        outbox.write(DRAFT)
        with pytest.raises(ClientError, match="NUL"):
            outbox.submit(FRED)
        outbox.write(DRAFT)
        assert outbox.submit(FRED).recipients == 1


def test_a_user_past_the_limit_is_refused_before_anybody_is_asked(stop: Stop) -> None:
    with FakeSmtp() as smtp, counting(submissions_per_hour=1) as ledger:
        outbox = Outbox(service_for(1, smtp.port, stop.fd, ledger=ledger), ignore)
        outbox.write(DRAFT)
        outbox.submit(FRED)
        smtp.commands.clear()
        outbox.write(DRAFT)
        with pytest.raises(SubmissionRefused) as caught:
            outbox.submit(FRED)
        assert caught.value.text == "4.7.1 too many submissions; try again later"
        assert smtp.commands == []


def test_while_others_submit_it_waits_and_says_so(stop: Stop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "WAITING_INTERVAL", 0.01)
    places = threading.BoundedSemaphore(1)
    waits = []

    def wait() -> None:
        waits.append(1)
        if len(waits) == 3:
            places.release()

    with FakeSmtp() as smtp, places:
        outbox = Outbox(service_for(1, smtp.port, stop.fd, running_submissions=places), wait)
        outbox.write(DRAFT)
        assert outbox.submit(FRED).recipients == 1
        places.acquire()
    assert len(waits) == 3
