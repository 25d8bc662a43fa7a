"""Soak's book: what was told and what arrived, and what is wrong with that."""

from collections.abc import Sequence

import pytest

from bench.soak.book import MOST_SHOWN, Book


def book(events: Sequence[str], arrivals: Sequence[str]) -> Book:
    kept = Book()
    for event in events:
        kept.note(event)
    for arrival in arrivals:
        kept.note_arrival(arrival)
    return kept


def test_all_is_well_where_each_that_was_sent_arrived_once() -> None:
    kept = book(["sent a", "refused b", "sent c"], ["c whole", "a whole"])
    assert [*kept.complaints()] == []
    assert kept.figures == {"submissions sent": 2, "submissions refused": 1}


@pytest.mark.parametrize(
    ("events", "arrivals", "complaint"),
    [
        (["sent a"], [], "lost: a"),
        (["sent a"], ["a whole", "a whole"], "sent twice: a"),
        (["refused a"], ["a whole"], "sent though refused: a"),
        ([], ["a whole"], "nobody's: a"),
        (["sent a"], ["a damaged"], "damaged: a"),
        (["sent a"], ["a misdirected"], "misdirected: a"),
        (["wrong x-1: Wrong it is"], [], "found: x-1: Wrong it is"),
        (["Traceback of a crowd"], [], "found: Traceback of a crowd"),
        ([], ["this is no message of ours: b''"], "found: this is no message of ours: b''"),
    ],
)
def test_all_else_is_wrong(events: list[str], arrivals: list[str], complaint: str) -> None:
    assert [*book(events, arrivals).complaints()] == [complaint]


def test_of_many_some_are_shown() -> None:
    [complaint] = book([f"sent {n}" for n in range(MOST_SHOWN + 3)], []).complaints()
    assert complaint == "lost: 0; 1; 2; 3; 4 and 3 more"


def test_what_is_awaited_is_what_was_sent_and_has_not_arrived() -> None:
    assert book(["sent a", "sent b", "refused c"], ["a whole"]).awaits() == 1


def test_counts_add_up() -> None:
    assert book(["count octets fetched 5", "count octets fetched 7"], []).figures["octets fetched"] == 12
