"""The judge of the fault harness: what came of a submission, and how good that is."""

from dataclasses import replace

import pytest

from tests.faults.judge import GOOD, Story, Told, Try, Verdict

SENT = "OK SUBMIT completed"
EARLIER = "OK SUBMIT completed (accepted earlier, at 2026-11-24 10:00:00 UTC)"
UNFILED = "OK SUBMIT completed; no copy in Sent (4.4.2 the IMAP server does not answer)"
EARLIER_UNFILED = f"{EARLIER}; perhaps no copy in Sent"
REFUSED = "NO 451 4.3.0 not now,"
UNCERTAIN = "NO 4.4.2 delivery uncertain; no reply from the mail server,"

NOTHING_YET = Try(None, 0)

# Sent at the first try, and at the second known to be so.
SMOOTH = Story((Try(SENT, 1),), told_again=EARLIER, copies=1)
# Broken before the SMTP server got it, and sent at the second try.
REPEATED = Story((NOTHING_YET,), told_again=SENT, copies=1)
# Taken by the SMTP server, whose word of it was lost.
IN_DOUBT = Story((Try(UNCERTAIN, 1),), told_again=SENT, copies=2, windows=1, doubts=1)
# Sent by a proxy that makes the copy in Sent, and nothing was in its way; and where something was.
FILED = replace(SMOOTH, is_filed=True, filed=1)
HINDERED = replace(FILED, tries=(Try(UNFILED, 1),), told_again=EARLIER_UNFILED, filed=0, may_lack_copy=True)
LEFT_BEHIND = (Try(None, 1),)  # the client heard nothing of what was sent


def refused(told: str = REFUSED) -> tuple[Try]:
    return (Try(told, 0),)


@pytest.mark.parametrize(
    ("told", "heard"),
    [
        (SENT, Told.SENT),
        (UNFILED, Told.SENT),
        (EARLIER, Told.SENT),
        (REFUSED, Told.REFUSED),
        ("NO ,joe@example.com", Told.REFUSED),
        ("BAD what is this", Told.REFUSED),
        (UNCERTAIN, Told.UNCERTAIN),
        (None, Told.NOTHING),
    ],
)
def test_what_an_answer_means(told: str | None, heard: Told) -> None:
    assert Try(told, 0).heard is heard


@pytest.mark.parametrize(
    "story",
    [
        SMOOTH,
        REPEATED,
        replace(REPEATED, tries=refused()),
        replace(REPEATED, tries=refused(UNCERTAIN), windows=1, doubts=1),
        replace(REPEATED, tries=refused(UNCERTAIN), is_behind_354=True),
        replace(SMOOTH, tries=LEFT_BEHIND),
        # The first is still under way when the client is back.
        replace(SMOOTH, tries=(NOTHING_YET, Try(EARLIER, 1))),
        replace(SMOOTH, tries=(NOTHING_YET, Try(REFUSED, 1))),
        replace(SMOOTH, tries=(*refused(), *refused(), Try(SENT, 1))),
    ],
)
def test_one_copy_and_a_second_try_that_is_told_so_are_good(story: Story) -> None:
    assert story.verdict() is Verdict.ONCE
    assert not list(story.complaints())


@pytest.mark.parametrize(
    "story",
    [
        replace(REPEATED, copies=0),
        replace(REPEATED, copies=0, told_again=REFUSED),
        replace(SMOOTH, copies=0, tries=(Try(SENT, 0),)),
        # It came in the end, but a client that was told OK does not try again.
        replace(SMOOTH, tries=(Try(SENT, 0),)),
        replace(SMOOTH, tries=(Try(EARLIER, 0),)),
        replace(SMOOTH, tries=(*refused(), Try(SENT, 0), Try(SENT, 1))),
    ],
)
def test_no_copy_is_a_loss_whatever_was_told(story: Story) -> None:
    assert story.verdict() is Verdict.LOST


def test_two_copies_are_excused_where_the_reply_was_lost_and_the_log_says_so() -> None:
    assert IN_DOUBT.verdict() is Verdict.WINDOW
    assert replace(IN_DOUBT, tries=LEFT_BEHIND).verdict() is Verdict.WINDOW


def test_a_copy_in_doubt_may_come_while_the_next_try_is_refused() -> None:
    story = replace(IN_DOUBT, tries=(Try(UNCERTAIN, 0), Try(REFUSED, 1), Try(SENT, 2)), told_again=EARLIER, doubts=2)
    assert story.verdict() is Verdict.WINDOW


def test_three_are_where_it_was_lost_twice() -> None:
    story = replace(IN_DOUBT, tries=(Try(UNCERTAIN, 1), Try(UNCERTAIN, 2)), copies=3, windows=2, doubts=2)
    assert story.verdict() is Verdict.WINDOW
    assert replace(story, tries=(Try(UNCERTAIN, 1), Try(SENT, 2)), copies=2, told_again=EARLIER).verdict() is (
        Verdict.WINDOW
    )


@pytest.mark.parametrize(
    "story",
    [
        replace(IN_DOUBT, windows=0),
        replace(IN_DOUBT, doubts=0),
        replace(IN_DOUBT, copies=3),
        replace(IN_DOUBT, copies=3, windows=2, doubts=1),
        replace(IN_DOUBT, copies=3, windows=1, doubts=2),
        # More than there were tries that may have sent it.
        replace(IN_DOUBT, copies=3, windows=2, doubts=2),
        replace(IN_DOUBT, told_again=EARLIER),
        # After the client was told OK.
        replace(IN_DOUBT, tries=(Try(SENT, 1),)),
        replace(IN_DOUBT, tries=(Try(SENT, 1), Try(UNCERTAIN, 2)), windows=2, doubts=2),
        replace(SMOOTH, copies=2),
    ],
)
def test_else_they_are_a_double(story: Story) -> None:
    assert story.verdict() is Verdict.DOUBLED


@pytest.mark.parametrize(
    ("story", "complaint"),
    [
        (replace(SMOOTH, tries=(Try(REFUSED, 1),)), f"told {REFUSED!r}, and it was sent"),
        (replace(SMOOTH, tries=(*refused("NO first,"), Try(REFUSED, 1))), f"told {REFUSED!r}, and it was sent"),
        (
            replace(SMOOTH, tries=(Try(SENT, 1),), told_again=SENT),
            f"told {SENT!r} when it was tried again: no copy came of that",
        ),
        (replace(REPEATED, told_again=REFUSED), f"told {REFUSED!r} when it was tried again"),
        (replace(REPEATED, told_again=None), "told None when it was tried again"),
        (replace(REPEATED, tries=refused(UNCERTAIN)), f"told {UNCERTAIN!r}, and it is certain that it was not sent"),
        (
            replace(SMOOTH, is_sent=False),
            f"told {EARLIER!r} when it was tried again: the first try sent it",
        ),
        (replace(REPEATED, is_sent=True), f"told {SENT!r} when it was tried again: the first try did not send it"),
    ],
)
def test_what_is_wrong_without_a_loss_or_a_double_is_said(story: Story, complaint: str) -> None:
    assert story.copies == 1
    assert story.verdict() is Verdict.WRONG
    assert list(story.complaints()) == [complaint]


@pytest.mark.parametrize(
    "story",
    [
        FILED,
        HINDERED,
        # The worker that was to file it has been killed; or before it could say that it is there.
        replace(HINDERED, tries=LEFT_BEHIND),
        replace(HINDERED, tries=LEFT_BEHIND, filed=1),
        # The IMAP server has filed it, and its word of that was lost.
        replace(HINDERED, filed=1),
        # Each copy sent is another message.
        replace(IN_DOUBT, is_filed=True, filed=1),
        replace(IN_DOUBT, is_filed=True, filed=2),
    ],
)
def test_a_copy_in_sent_is_there_or_is_not_claimed(story: Story) -> None:
    assert story.verdict() in GOOD


@pytest.mark.parametrize(
    ("story", "complaint"),
    [
        (replace(FILED, filed=0), "no copy in Sent, and nothing said of that"),
        (replace(FILED, filed=0, may_lack_copy=True), "no copy in Sent, and nothing said of that"),
        (replace(HINDERED, tries=(Try(SENT, 1),)), "no copy in Sent, and nothing said of that"),
        (replace(HINDERED, tries=LEFT_BEHIND, told_again=EARLIER), "no copy in Sent, and nothing said of that"),
        # The client repeats it after the first was told that there is none.
        (replace(HINDERED, told_again=EARLIER), "no copy in Sent, and nothing said of that"),
        (replace(FILED, filed=2), "copies in Sent: 2 instead of at most 1"),
        (replace(SMOOTH, filed=1), "copies in Sent: 1 instead of at most 0"),
        (
            replace(HINDERED, tries=(Try(SENT, 1),), filed=1),
            f"told {EARLIER_UNFILED!r}, after it was said that there is a copy",
        ),
        (
            replace(FILED, tries=LEFT_BEHIND, told_again=EARLIER_UNFILED),
            f"told {[None, EARLIER_UNFILED]!r}: nothing kept the proxy from filing the copy",
        ),
        (
            replace(SMOOTH, told_again=EARLIER_UNFILED),
            f"told {[SENT, EARLIER_UNFILED]!r}: no copy in Sent is wanted",
        ),
    ],
)
def test_what_is_wrong_with_the_copy_in_sent_is_said(story: Story, complaint: str) -> None:
    assert story.verdict() is Verdict.WRONG
    assert complaint in list(story.complaints())


@pytest.mark.parametrize("story", [replace(SMOOTH, is_sent=True), replace(REPEATED, is_sent=False)])
def test_the_second_try_is_told_whether_the_first_sent_it(story: Story) -> None:
    assert story.verdict() is Verdict.ONCE


def test_a_verdict_is_worse_than_those_before_it() -> None:
    assert list(Verdict) == [Verdict.ONCE, Verdict.WINDOW, Verdict.WRONG, Verdict.DOUBLED, Verdict.LOST]
    assert {Verdict.ONCE, Verdict.WINDOW} == GOOD
