"""Lines of ours: one line each, printable US-ASCII, bounded, and a SUBMIT's answer in the draft's form."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.protocol import response


@pytest.mark.parametrize(
    ("failure", "want"),
    [
        # The draft's own examples (section 3), and DESIGN's table.
        (
            SubmissionRefused("", ["badUser@example.com", "unknownUser@example.com"]),
            b"t NO ,badUser@example.com,unknownUser@example.com\r\n",
        ),
        (SubmissionRefused("MX server not responding"), b"t NO MX server not responding,\r\n"),
        (
            SubmissionRefused("450 4.2.0 greylisted", ["bad1@example.com"]),
            b"t NO 450 4.2.0 greylisted,bad1@example.com\r\n",
        ),
        (
            SubmissionRefused("", ['"a,b"@example.com', r"j\x{F6}rg@x.example"]),
            b't NO ,"a,b"@example.com,j\\x{F6}rg@x.example\r\n',
        ),
        (SubmissionRefused("one, two, three"), b"t NO one; two; three,\r\n"),
        (SubmissionRefused("[ALERT] click here"), b"t NO ALERT] click here,\r\n"),
        (SubmissionRefused("[[ [x"), b"t NO x,\r\n"),
        (SubmissionRefused("a\r\n* BYE\tb\x00\x7f\u00e9"), b"t NO a  * BYE b???,\r\n"),
        (SubmissionRefused("x" * 5000), b"t NO " + b"x" * response.MAX_TEXT + b",\r\n"),
        (SubmissionRefused(), b"t NO ,\r\n"),
        (ClientError("not a message, at all"), b"t BAD not a message, at all\r\n"),
    ],
)
def test_answer_to_a_submission_that_reached_nobody(failure: SubmissionRefused | ClientError, want: bytes) -> None:
    assert response.not_submitted(b"t", failure) == want


def test_answer_to_a_submission_that_reached_all() -> None:
    assert response.submitted(b"A003") == b"A003 OK SUBMIT completed\r\n"


@pytest.mark.parametrize(
    ("remark", "want"),
    [
        ("no copy in Sent (over quota)", b"t OK SUBMIT completed; no copy in Sent (over quota)\r\n"),
        ("a\r\n* BYE\tb\x00\u00e9", b"t OK SUBMIT completed; a  * BYE b??\r\n"),
        ("x" * 5000, b"t OK SUBMIT completed; " + b"x" * response.MAX_TEXT + b"\r\n"),
    ],
)
def test_what_did_not_go_well_after_a_submission_reached_all(remark: str, want: bytes) -> None:
    assert response.submitted(b"t", remark) == want


def test_answer_to_a_submission_that_reached_all_before() -> None:
    at = datetime(2026, 11, 24, 10, 0, 7, tzinfo=UTC)
    assert response.submitted_earlier(b"t", at) == (
        b"t OK SUBMIT completed (accepted earlier, at 2026-11-24 10:00:07 UTC)\r\n"
    )


def test_our_other_lines() -> None:
    assert response.bye("so\nlong") == b"* BYE so long\r\n"
    assert response.ok(b"a", "so") == b"a OK so\r\n"
    assert response.bad(b"*", "no") == b"* BAD no\r\n"
    assert response.no(b"a", "[CANNOT] no") == b"a NO [CANNOT] no\r\n"


@given(st.text(), st.lists(st.text(), max_size=3))
def test_whatever_a_peer_said_the_answer_is_one_printable_line(text: str, recipients: list[str]) -> None:
    answer = response.not_submitted(b"t", SubmissionRefused(text, recipients))
    assert answer.endswith(b"\r\n")
    assert all(0x20 <= octet <= 0x7E for octet in answer[:-2])
    assert not answer.startswith(b"t NO [")
