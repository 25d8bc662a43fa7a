"""What soak's clients take for an answer to a SUBMIT."""

import pytest

from bench.soak.life import Told, told_by
from bench.soak.link import Wrong

EARLIER = b"OK SUBMIT completed (accepted earlier, at 2026-11-24 14:54:49 UTC)"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"OK SUBMIT completed", Told.NOW),
        (EARLIER, Told.EARLIER),
        (b"NO 4.4.1 no SMTP server can be reached", Told.LATER),
        (b"NO 450 4.2.0 later,joe@example.com", Told.LATER),
    ],
)
def test_a_submission_is_taken_or_may_be_later(answer: bytes, told: Told) -> None:
    assert told_by(answer) is told


@pytest.mark.parametrize(
    "answer",
    [
        b"NO 5.1.1 never,joe@example.com",
        b"BAD what",
        b"OK",
        b"OK SUBMIT completed; no copy in Sent: 4.4.1 the IMAP server cannot be reached",
        EARLIER + b"; perhaps no copy in Sent",
    ],
)
def test_all_else_is_wrong(answer: bytes) -> None:
    """A copy in Sent that may not be there, too: nobody who files one is killed."""
    with pytest.raises(Wrong, match="a submission is answered with"):
        told_by(answer)
