"""What soak complains of at its end, besides lost and doubled messages."""

from dataclasses import replace

import pytest

from bench.soak.verdict import NEEDED, Limits, deaths, idleness, leaks, surprises
from bench.soak.watch import Holdings

HELD = Holdings(kilobytes=80_000, processes=3, threads=7, descriptors=52)
LIMITS = Limits(threads=7, growth=10_000)
USUAL = """\
2026-11-24T14:00:00+0000 WARNING privileges-kept user=root
2026-11-24T14:00:01+0000 INFO login user=fred client=127.0.0.1 mechanism=PLAIN
"""


def test_every_client_lives_to_the_end() -> None:
    assert [*deaths(900, 900)] == []
    assert [*deaths(899, 900)] == ["1 of 900 clients did not live to the end"]


@pytest.mark.parametrize("what", NEEDED)
def test_what_never_happened_was_not_tested(what: str) -> None:
    all_happened = dict.fromkeys(NEEDED, 1)
    assert [*idleness(all_happened)] == []
    assert [*idleness(all_happened | {what: 0})] == [f"never happened: {what}"]
    assert [*idleness({key: 1 for key in NEEDED if key != what})] == [f"never happened: {what}"]


@pytest.mark.parametrize(
    "ended",
    [HELD, replace(HELD, kilobytes=HELD.kilobytes + LIMITS.growth), Holdings(1, 1, 1, 1)],
)
def test_no_more_is_held_than_before(ended: Holdings) -> None:
    assert [*leaks(HELD, ended, LIMITS)] == []


@pytest.mark.parametrize(
    "ended",
    [replace(HELD, processes=4), replace(HELD, threads=8), replace(HELD, descriptors=53)],
)
def test_a_process_a_thread_or_a_descriptor_more_is_a_leak(ended: Holdings) -> None:
    assert [*leaks(HELD, ended, LIMITS)] == [f"more is held than before: {HELD} became {ended}"]


def test_memory_beyond_the_allocators_share_is_a_leak() -> None:
    ended = replace(HELD, kilobytes=HELD.kilobytes + LIMITS.growth + 1000)
    assert [*leaks(HELD, ended, LIMITS)] == ["memory grew by 11.0 MB"]


@pytest.mark.parametrize(
    "line",
    [
        "2026-11-24T14:00:02+0000 WARNING journal-failed",
        "2026-11-24T14:00:02+0000 ERROR session-failed",
        "Traceback (most recent call last):",
    ],
)
def test_what_no_client_explains_is_said(line: str) -> None:
    assert [*surprises(USUAL)] == []
    assert [*surprises(USUAL + line + "\n" + USUAL)] == [
        f"1 lines in the log that should not be there, such as: {line}"
    ]
