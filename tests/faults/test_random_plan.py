"""What happens in a random break is drawn from the seed and its number alone."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.faults.random_kinds import RANDOM_KINDS
from tests.faults.random_plan import IMAP, KINDS, LINKS, PROCESSES, SMTP, WIRES, Place, plan
from tests.faults.wire import Stretch

PLANS = [plan("seed", number) for number in range(3000)]
DIALOGUE = [
    Stretch(SMTP, True, 0, 10),
    Stretch(SMTP, False, 0, 4),
    Stretch(SMTP, True, 10, 6),
    Stretch(IMAP, True, 0, 3),
]


def test_the_same_seed_and_number_are_the_same_break() -> None:
    assert [plan("seed", number) for number in range(100)] == PLANS[:100]
    assert [plan("another", number) for number in range(100)] != PLANS[:100]


def test_two_numbers_are_two_breaks() -> None:
    assert all(one != next_one for one, next_one in pairwise(PLANS))


def test_its_name_says_how_to_have_it_once_more() -> None:
    assert PLANS[17].name.startswith("--seed seed --replay 17: ")


def test_each_kind_is_broken_as_often_as_it_says() -> None:
    counts = Counter(one.faults[0].kind for one in PLANS)
    assert counts.keys() == KINDS.keys() == RANDOM_KINDS.keys()
    for kind, weight in KINDS.items():
        expected = weight * len(PLANS) / sum(KINDS.values())
        assert expected / 2 < counts[kind] < expected * 2, kind


def test_a_second_fault_meets_no_program_that_cannot_be_started() -> None:
    pairs = [tuple(fault.kind for fault in one.faults) for one in PLANS if len(one.faults) > 1]
    assert pairs
    for first, second in pairs:
        assert second in LINKS or (first in LINKS and second in PROCESSES)


def test_all_submissions_of_a_break_are_for_one_house() -> None:
    for one in PLANS:
        assert one.style.is_wired
        plain = replace(one.style, is_wired=False, is_on_small_disk=False, workers=1)
        assert {submission.style for submission in one.submissions} == {plain}


def test_only_links_have_wires_of_their_own() -> None:
    for kind in KINDS:
        wires = RANDOM_KINDS[kind].wires
        assert (wires == set(WIRES)) == (kind not in LINKS)


@pytest.mark.parametrize(
    ("place", "wire", "octet"),
    [
        (Place(0.0, 0.0, None), SMTP, 0),
        (Place(0.0, 0.5, None), SMTP, 5),
        (Place(0.2, 0.0, 0), SMTP, 10),
        (Place(0.3, 0.9, 1), SMTP, 3),
        (Place(0.5, 0.5, None), SMTP, 13),
        (Place(0.99, 1.0, None), IMAP, 3),
        (Place(0.99, 1.0, 5), IMAP, 0),
    ],
)
def test_a_place_is_an_octet_of_a_stretch(place: Place, wire: str, octet: int) -> None:
    stretch, octets = place.octet(DIALOGUE)
    assert (stretch.wire, octets) == (wire, octet)
