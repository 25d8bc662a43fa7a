"""The failures that the program foresees, and what they say."""

import pytest

from imapproxy.errors import (
    ClientError,
    ConfigError,
    DeliveryUncertain,
    LimitExceeded,
    ProxyError,
    SubmissionRefused,
    UpstreamError,
    WorkerError,
)


@pytest.mark.parametrize(
    "kind", [ConfigError, WorkerError, ClientError, UpstreamError, LimitExceeded, SubmissionRefused, DeliveryUncertain]
)
def test_each_is_a_failure_that_the_program_foresees(kind: type[ProxyError]) -> None:
    assert issubclass(kind, ProxyError)
    assert str(kind("what is wrong")) == "what is wrong"


@pytest.mark.parametrize(
    ("refusal", "text"),
    [
        (SubmissionRefused(), ""),
        (SubmissionRefused("5.3.4 message too large"), "5.3.4 message too large"),
        (SubmissionRefused(recipients=["bad@example.com"]), ",bad@example.com"),
        (
            SubmissionRefused("450 4.2.0 greylisted", ["a@example.com", "b@c.d"]),
            "450 4.2.0 greylisted,a@example.com,b@c.d",
        ),
    ],
)
def test_a_refusal_reads_as_its_answer_does(refusal: SubmissionRefused, text: str) -> None:
    assert str(refusal) == text


def test_a_refusal_keeps_its_recipients_whatever_becomes_of_the_list() -> None:
    recipients = ["bad@example.com"]
    refusal = SubmissionRefused("", recipients)
    recipients.clear()
    assert refusal.recipients == ("bad@example.com",)
