"""What goes over the budget of work, and what does not: cheap and costly, linear and not, whole and in packets."""

import re
from collections.abc import Callable

import pytest

from tests.fuzz.budget import SIZES, WHOLE, Grown, cut, excess

LINE = Grown(b"a ", b"xy ", b"")
PACKETS = [*SIZES]


def a_long_time(times: int) -> None:
    for _ in range(times):
        pass


def costly(octets: bytes, packet: int) -> None:
    for chunk in cut(octets, packet):
        a_long_time(100 + len(chunk))


def searching_again(octets: bytes, packet: int) -> None:
    held = bytearray()
    for chunk in cut(octets, packet):
        held += chunk
        re.search(rb"x[^z]z", held)


def copying(octets: bytes, packet: int) -> None:
    held = b""
    for chunk in cut(octets, packet):
        held += chunk


def going_back(octets: bytes, _packet: int) -> None:
    re.match(rb"([a-y ]+)[a-z ]*:", octets)


def going_back_without_end(octets: bytes, _packet: int) -> None:
    re.match(rb"(?:a |xy |x|y )*:", octets)


def more_costly_from_some_size_on(octets: bytes, packet: int) -> None:
    times = 30 if len(octets) < SIZES[packet] // 2 else 300
    for chunk in cut(octets, packet):
        a_long_time(times + len(chunk))


def bounded(octets: bytes, packet: int) -> None:
    searching_again(octets[:500], packet)


@pytest.mark.parametrize("packet", PACKETS)
@pytest.mark.parametrize("work", [costly, bounded, more_costly_from_some_size_on])
def test_what_is_linear_is_within_the_budget_however_much_it_costs(
    work: Callable[[bytes, int], None], packet: int
) -> None:
    assert excess(work, LINE, packet) == ""


@pytest.mark.parametrize(
    ("work", "packet", "told"),
    [
        (searching_again, 1, "in packets of 1"),
        (searching_again, 64, "in packets of 64"),
        (copying, 64, "in packets of 64"),
        (going_back, WHOLE, "in one packet"),
    ],
)
def test_what_grows_with_what_came_before_is_over_it(
    work: Callable[[bytes, int], None], packet: int, told: str
) -> None:
    assert excess(work, LINE, packet).endswith(told)


def test_what_does_not_end_is_over_it_and_broken_off() -> None:
    assert excess(going_back_without_end, LINE, WHOLE) == "more than 300 us of processor time an octet in one packet"


def test_a_grown_input_has_its_middle_as_often_as_it_takes() -> None:
    assert Grown(b"<", b"ab", b">").of(5) == b"<ababab>"


@pytest.mark.parametrize(("packet", "chunks"), [(1, [b"a", b"b", b"c"]), (2, [b"ab", b"c"]), (WHOLE, [b"abc"])])
def test_octets_are_cut_into_packets(packet: int, chunks: list[bytes]) -> None:
    assert list(cut(b"abc", packet)) == chunks
