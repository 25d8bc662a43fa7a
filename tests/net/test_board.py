"""Numbers that processes share."""

import os

import pytest

from imapproxy.net.board import MAX_WORKERS, Board

ADDRESS = "192.0.2.1"


def test_all_workers_clients_count_together() -> None:
    board = Board()
    board.announce(3, 0, 0)
    first, second = board.seat(), board.seat()
    first.add(2)
    assert first.has_room()
    assert second.has_room()
    second.add(1)
    assert not first.has_room()
    first.add(-1)
    assert second.has_room()


def test_what_a_worker_that_is_gone_had_counted_is_forgotten_and_its_seat_taken_again() -> None:
    board = Board()
    board.announce(1, 0, 0)
    gone, other = board.seat(), board.seat()
    gone.add(1)
    assert not other.has_room()
    board.vacate(gone)
    assert other.has_room()
    assert board.seat().cell == gone.cell


def test_other_limits_hold_at_once() -> None:
    board = Board()
    board.announce(1, 0, 0)
    seat = board.seat()
    seat.add(1)
    assert (seat.has_room(), seat.counts_addresses, seat.counts_submissions) == (False, False, False)
    board.announce(2, 5, 3)
    assert (seat.has_room(), seat.counts_addresses, seat.counts_submissions) == (True, True, True)


def test_there_are_so_many_seats() -> None:
    board = Board()
    assert board.has_seats(MAX_WORKERS)
    assert not board.has_seats(MAX_WORKERS + 1)
    seats = [board.seat() for _ in range(MAX_WORKERS)]
    assert not board.has_seats(1)
    board.vacate(seats[0])
    assert board.has_seats(1)
    assert len({seat.cell for seat in seats}) == MAX_WORKERS


def test_an_address_with_failures_is_known() -> None:
    board = Board()
    seat = board.seat()
    assert not seat.may_have_failures(ADDRESS)
    board.note_failing(ADDRESS, 1)
    assert seat.may_have_failures(ADDRESS)
    assert not seat.may_have_failures("192.0.2.2")
    board.note_failing(ADDRESS, -1)
    assert not seat.may_have_failures(ADDRESS)


@pytest.mark.parametrize("clients", [1, 5])
def test_a_forked_process_writes_where_its_parent_reads(clients: int) -> None:
    board = Board()
    board.announce(clients, 0, 0)
    seat, ours = board.seat(), board.seat()
    if (pid := os.fork()) == 0:
        seat.add(clients)
        os._exit(0)
    os.waitpid(pid, 0)
    assert not ours.has_room()


@pytest.mark.parametrize("number", [-(1 << 63), -1, 0, (1 << 63) - 1])
def test_what_a_worker_writes_where_it_may_not_is_never_read_by_the_parent(number: int) -> None:
    board = Board()
    taken_over = board.seat()
    board.note_failing(ADDRESS, 1)
    if (pid := os.fork()) == 0:
        for cell in range(len(taken_over._cells)):
            taken_over._cells[cell] = number
        os._exit(0)
    os.waitpid(pid, 0)
    assert board.has_seats(MAX_WORKERS - 1)
    assert not board.has_seats(MAX_WORKERS)
    board.announce(1, 0, 0)
    board.note_failing(ADDRESS, 1)
    board.vacate(taken_over)
    one, other = board.seat(), board.seat()
    assert one.cell == taken_over.cell
    assert other.cell == taken_over.cell + 1
    assert one.may_have_failures(ADDRESS)
    for _ in range(2):
        board.note_failing(ADDRESS, -1)
    assert not one.may_have_failures(ADDRESS)
    one.add(1)
    assert not other.has_room()


def test_what_a_worker_wrote_where_it_may_not_is_right_again_when_it_has_ended() -> None:
    board = Board()
    board.announce(3, 2, 1)
    board.note_failing(ADDRESS, 1)
    taken_over, other = board.seat(), board.seat()
    other.add(2)
    for cell in range(len(taken_over._cells)):
        taken_over._cells[cell] = 1 << 40
    board.vacate(taken_over)
    other.add(0)
    assert other.has_room()
    other.add(1)
    assert not other.has_room()
    assert (other.counts_addresses, other.counts_submissions) == (True, True)
    assert (other.may_have_failures(ADDRESS), other.may_have_failures("192.0.2.2")) == (True, False)
    assert board.seat().cell == taken_over.cell
