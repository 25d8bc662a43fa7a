"""What is counted for all workers together: the parent's book, and the workers' questions."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

import pytest

from imapproxy.errors import SubmissionRefused, WorkerError
from imapproxy.net import ledger as ledger_module
from imapproxy.net.board import Seat
from imapproxy.net.channel import Channel
from imapproxy.net.ledger import (
    FAILURES_KEPT_FOR,
    FIRST_DELAY,
    FREE_FAILURES,
    HOUR,
    LONGEST_DELAY,
    LONGEST_NAME,
    MESSAGES_AT_ONCE,
    TOO_MANY,
    TOO_MANY_OF_ADDRESS,
    Book,
    Ledger,
    Limits,
    answer,
    counted_as,
    ledger_pair,
)
from tests.net.peers import PATIENCE, Background, Log

ONE, OTHER = "192.0.2.1", "192.0.2.2"
UNLIMITED = Limits(1000, 0, 0)

Pair = tuple[Channel, Channel]


# The book: clients.


def test_clients_are_admitted_up_to_the_limit_of_all_workers_together() -> None:
    book = Book(Limits(2, 0, 0))
    assert [book.admit(1, ONE), book.admit(2, OTHER), book.admit(1, OTHER)] == ["", "", TOO_MANY]
    book.leave(2, OTHER)
    assert book.admit(1, OTHER) == ""


def test_clients_are_admitted_up_to_the_limit_of_their_address() -> None:
    book = Book(Limits(10, 2, 0))
    assert [book.admit(worker, ONE) for worker in (1, 2, 3)] == ["", "", TOO_MANY_OF_ADDRESS]
    assert book.admit(3, OTHER) == ""
    book.leave(2, ONE)
    assert book.admit(3, ONE) == ""


def test_the_clients_of_a_worker_that_died_count_no_more() -> None:
    book = Book(Limits(2, 2, 0))
    assert [book.admit(1, ONE), book.admit(1, ONE)] == ["", ""]
    book.forget(1)
    book.forget(1)
    assert [book.admit(2, ONE), book.admit(2, ONE), book.admit(2, ONE)] == ["", "", TOO_MANY]


def test_who_was_not_let_in_cannot_leave() -> None:
    book = Book(Limits(1, 1, 0))
    book.leave(1, ONE)
    assert book.admit(1, ONE) == ""
    book.leave(2, ONE)
    book.leave(1, OTHER)
    assert book.admit(1, OTHER) == TOO_MANY


def test_other_limits_count_those_who_are_there() -> None:
    book = Book(Limits(10, 0, 0))
    assert [book.admit(1, ONE), book.admit(1, ONE)] == ["", ""]
    book.allow(Limits(10, 2, 0))
    assert book.admit(1, ONE) == TOO_MANY_OF_ADDRESS


@pytest.mark.parametrize(
    ("ip", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::1", "2001:db8:1:2::"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::"),
        ("no:address", "no:address"),
    ],
)
def test_an_ipv6_client_is_counted_by_its_network(ip: str, counted: str) -> None:
    assert counted_as(ip) == counted


# The book: submissions.


def test_a_user_may_submit_so_often_within_any_hour() -> None:
    book = Book(Limits(1, 0, 2))
    assert [book.may_submit("fred", now) for now in (0.0, 100.0, 200.0, HOUR - 1)] == [True, True, False, False]
    assert book.may_submit("ann", 200.0)
    assert [book.may_submit("fred", HOUR + now) for now in (0.0, 1.0, 100.0)] == [True, False, True]


def test_without_a_limit_submissions_are_not_counted() -> None:
    book = Book(UNLIMITED)
    assert all(book.may_submit("fred", 0.0) for _ in range(1000))
    book.allow(Limits(1, 0, 1))
    assert [book.may_submit("fred", 0.0) for _ in range(2)] == [True, False]


def test_the_user_longest_not_seen_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_NAMES", 2)
    book = Book(Limits(1, 0, 1))
    assert [book.may_submit(user, 0.0) for user in ("ann", "bob", "ann", "cid")] == [True, True, False, True]
    assert [book.may_submit(user, 1.0) for user in ("ann", "bob")] == [False, True]


# The book: failed logins.


def test_each_further_failure_costs_twice_as_much_up_to_a_bound() -> None:
    book = Book(UNLIMITED)
    waits = [book.login_failed(ONE, 0.0) for _ in range(FREE_FAILURES + 7)]
    assert waits == [0.0] * FREE_FAILURES + [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_DELAY, LONGEST_DELAY]
    assert book.login_failed(OTHER, 0.0) == 0.0
    for _ in range(2000):
        assert book.login_failed(ONE, 1.0) == LONGEST_DELAY


def test_a_success_forgives_one_failure() -> None:
    book = Book(UNLIMITED)
    for _ in range(FREE_FAILURES + 1):
        book.login_failed(ONE, 0.0)
    book.login_succeeded(ONE)
    assert book.login_failed(ONE, 0.0) == 1.0
    for _ in range(100):
        book.login_succeeded(ONE)
    assert book.login_failed(ONE, 0.0) == 0.0


def test_failures_are_forgotten_when_there_are_no_more_for_some_time() -> None:
    book = Book(UNLIMITED)
    seat = book.board.seat()
    for _ in range(5):
        book.login_failed(ONE, 0.0)
    assert book.login_failed(ONE, FAILURES_KEPT_FOR) > 0
    assert seat.may_have_failures(ONE)
    assert book.login_failed(OTHER, 2 * FAILURES_KEPT_FOR + 1) == 0.0
    assert not seat.may_have_failures(ONE)
    assert book.login_failed(ONE, 2 * FAILURES_KEPT_FOR + 1) == 0.0


def test_the_address_longest_without_a_failure_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_NAMES", 2)
    book = Book(UNLIMITED)
    for ip in (ONE, OTHER, ONE, ONE, "192.0.2.3"):
        book.login_failed(ip, 0.0)
    assert book.login_failed(ONE, 0.0) > 0
    assert book.login_failed(OTHER, 0.0) == 0.0


# The way between them.


@contextmanager
def served(book: Book, parent: Channel, channel: Channel, worker: int = 1) -> Iterator[None]:
    """Have a parent that answers, until the worker's ``channel`` is closed at the end."""
    parent.set_blocking(is_blocking=True)

    def serve() -> None:
        while answer(book, worker, parent, 0.0):
            pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield
    channel.close()
    thread.join()


@contextmanager
def asking(book: Book, seat: Seat | None = None) -> Iterator[Ledger]:
    """Have a worker's ledger that a parent answers."""
    parent, channel = ledger_pair()
    with parent, channel, served(book, parent, channel):
        yield Ledger(channel, seat)


def test_a_ledger_asks_and_tells_the_parent() -> None:
    book = Book(Limits(2, 1, 1))
    with asking(book) as ledger:
        assert [ledger.admit(ONE), ledger.admit(ONE), ledger.admit(OTHER), ledger.admit("192.0.2.3")] == [
            *("", TOO_MANY_OF_ADDRESS, "", TOO_MANY)
        ]
        ledger.leave(ONE)
        assert ledger.admit(ONE) == ""
        assert [ledger.may_submit("fréd"), ledger.may_submit("fréd"), ledger.may_submit("ann")] == [True, False, True]
        assert [ledger.login_failed(ONE) for _ in range(3)] == [0.0, 0.0, 1.0]
        ledger.login_succeeded(ONE)
        assert ledger.login_failed(ONE) == 1.0


def test_at_the_board_nothing_is_asked_about_who_may_come() -> None:
    book = Book(Limits(1, 0, 0))
    parent, channel = ledger_pair()
    with parent, channel:
        first, second = (Ledger(channel, book.board.seat()) for _ in range(2))
        assert [first.admit(ONE), second.admit(ONE)] == ["", TOO_MANY]
        first.leave(ONE)
        assert second.admit(ONE) == ""
        second.login_succeeded(ONE)
        assert parent.receive(1) is None


def test_with_a_limit_for_addresses_the_parent_is_asked_too() -> None:
    book = Book(Limits(2, 1, 0))
    with asking(book, book.board.seat()) as ledger:
        assert [ledger.admit(ONE), ledger.admit(ONE), ledger.admit(OTHER), ledger.admit("192.0.2.3")] == [
            *("", TOO_MANY_OF_ADDRESS, "", TOO_MANY)
        ]
        ledger.leave(ONE)
        assert ledger.admit(ONE) == ""


def test_who_came_before_there_was_a_limit_for_addresses_may_leave_after() -> None:
    book = Book(Limits(10, 0, 0))
    with asking(book, book.board.seat()) as ledger:
        assert ledger.admit(ONE) == ""
        book.allow(Limits(10, 1, 0))
        assert [ledger.admit(ONE), ledger.admit(ONE)] == ["", TOO_MANY_OF_ADDRESS]
        ledger.leave(ONE)
        ledger.leave(ONE)
        assert ledger.admit(ONE) == ""


def test_clients_are_recounted_at_the_board() -> None:
    board = Book(UNLIMITED).board
    with asking(Book(UNLIMITED), board.seat()) as ledger:
        ledger.admit(ONE)
        assert ledger._seat
        ledger._seat._cells[ledger._seat.cell] = 1 << 40
        ledger.recount()
        assert ledger._seat.has_room()
    with asking(Book(UNLIMITED)) as ledger:
        ledger.recount()  # which is nothing without a board


def test_a_success_is_told_where_there_is_something_to_forgive() -> None:
    book = Book(UNLIMITED)
    with asking(book, book.board.seat()) as ledger:
        assert [ledger.login_failed(ONE) for _ in range(3)] == [0.0, 0.0, 1.0]
        ledger.login_succeeded(ONE)
        assert ledger.login_failed(ONE) == 1.0


def test_many_threads_get_their_own_answers() -> None:
    book = Book(Limits(1000, 0, 1))
    results: dict[int, list[bool]] = {}
    with asking(book) as ledger:

        def ask(number: int) -> None:
            results[number] = [ledger.may_submit(f"user{number}") for _ in range(50)]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert all(result == [True] + [False] * 49 for result in results.values())
    assert len(results) == 8


def test_without_a_parent_all_is_allowed() -> None:
    parent, channel = ledger_pair()
    parent.close()
    with channel:
        ledger = Ledger(channel)
        assert ledger.admit(ONE) == ""
        ledger.leave(ONE)
        assert ledger.may_submit("fred")
        assert ledger.login_failed(ONE) == 0.0
        ledger.login_succeeded(ONE)


def test_the_parent_notices_that_a_worker_is_gone() -> None:
    parent, channel = ledger_pair()
    with parent:
        assert answer(Book(UNLIMITED), 1, parent, 0.0)
        channel.close()
        assert not answer(Book(UNLIMITED), 1, parent, 0.0)
    assert not answer(Book(UNLIMITED), 1, parent, 0.0)


@pytest.mark.parametrize("name", ["", "x" * 100_000, "\udcff\udcfe", "a\nb\0c"])
def test_any_name_can_be_counted_under(name: str) -> None:
    book = Book(Limits(10, 0, 1))
    with asking(book) as ledger:
        assert [ledger.may_submit(name), ledger.may_submit(name[:LONGEST_NAME])] == [True, False]
        assert ledger.admit(name) == ""


# A parent that does not answer.


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """The ends of the parent, which does not answer, and of the worker."""
    monkeypatch.setattr(ledger_module, "ANSWER_PATIENCE", 0.1)
    parent, channel = ledger_pair()
    with parent, channel:
        yield parent, channel


def test_without_an_answer_clients_are_let_in_and_submissions_are_refused_for_now(pair: Pair, log: Log) -> None:
    ledger = Ledger(pair[1])
    assert ledger.admit(ONE) == ""
    assert ledger.login_failed(ONE) == FIRST_DELAY
    with pytest.raises(SubmissionRefused, match=r"^4\.3\.0 submissions cannot be counted now; try again later,?$"):
        ledger.may_submit("fred")
    assert log.lines == ["parent-silent patience=0.1"]


def test_without_a_limit_submissions_are_not_asked_about(pair: Pair) -> None:
    parent, channel = pair
    assert Ledger(channel, Book(UNLIMITED).board.seat()).may_submit("fred")
    assert parent.receive(1) is None


def test_no_other_thread_waits_once_one_has_waited_in_vain(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger(pair[1])
    ledger.admit(ONE)
    monkeypatch.setattr(ledger_module, "ANSWER_PATIENCE", 10 * PATIENCE)
    began = monotonic()
    for _ in range(100):
        assert ledger.admit(ONE) == ""
    assert monotonic() - began < PATIENCE


def test_threads_wait_for_the_parent_at_the_same_time(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "ANSWER_PATIENCE", 1.0)
    ledger = Ledger(pair[1])
    began = monotonic()
    asking = [Background(lambda: ledger.admit(ONE)) for _ in range(20)]
    assert [one.result() for one in asking] == [""] * 20
    assert monotonic() - began < 20 * 1.0


def test_an_answer_that_comes_late_is_taken_for_no_other(pair: Pair) -> None:
    parent, channel = pair
    book = Book(Limits(10, 1, 1))
    ledger = Ledger(channel)
    assert book.may_submit("fred", 0.0)
    with pytest.raises(SubmissionRefused):
        ledger.may_submit("fred")
    assert answer(book, 1, parent, 0.0)  # it is no
    with served(book, parent, channel):
        assert [ledger.may_submit("ann"), ledger.may_submit("ann"), ledger.may_submit("fred")] == [True, False, False]


def test_who_came_and_went_while_the_parent_was_silent_does_not_count(pair: Pair) -> None:
    parent, channel = pair
    book = Book(Limits(2, 1, 0))
    ledger = Ledger(channel)
    for _ in range(3):  # of which the parent hears of the first
        assert ledger.admit(ONE) == ""
    ledger.leave(ONE)
    with served(book, parent, channel):
        assert select.select([channel], [], [], PATIENCE)[0]  # the parent is back
        assert [ledger.admit(ONE), ledger.admit(ONE)] == ["", TOO_MANY_OF_ADDRESS]
        for _ in range(2):
            ledger.leave(ONE)
        assert [ledger.admit(OTHER), ledger.admit(OTHER)] == ["", TOO_MANY_OF_ADDRESS]


def test_what_there_was_no_room_to_tell_is_told_later(pair: Pair) -> None:
    parent, channel = pair
    book = Book(Limits(1000, 300, 0))
    ledger = Ledger(channel)
    for _ in range(300):
        ledger._told[ONE] += 1
        assert book.admit(1, ONE) == ""
    for _ in range(300):  # more than the pipe holds
        ledger.leave(ONE)
    ledger.login_succeeded(ONE)  # which is not worth keeping
    with served(book, parent, channel):
        assert ledger.admit(OTHER) == ""
        assert book._of_address == {OTHER: 1}


# A worker that has been taken over.


def refusal(*messages: bytes) -> str:
    """Return why the parent does not go on with a worker that says this."""
    parent, channel = ledger_pair()
    with parent, channel:
        for message in messages:
            channel.send(message)
        with pytest.raises(WorkerError) as caught:
            answer(Book(UNLIMITED), 1, parent, 0.0)
        return str(caught.value)


def test_a_message_that_is_no_question_is_refused() -> None:
    assert refusal(b"?") == refusal(b"\xff\0") == refusal(b"=no") == "this is no question"


def test_a_question_that_is_too_long_is_refused() -> None:
    assert refusal(b"s" + bytes(LONGEST_NAME + 1)) == refusal(b"?" + bytes(3000)) == "a question is too long"


def test_a_worker_that_does_not_read_its_answers_is_refused() -> None:
    parent, channel = ledger_pair()
    book = Book(UNLIMITED)

    def ask_on() -> None:
        while True:
            channel.send(b"f" + ONE.encode())
            answer(book, 1, parent, 0.0)

    with parent, channel, pytest.raises(WorkerError, match=r"^it does not read its answers$"):
        ask_on()


def test_a_flood_is_answered_a_few_messages_at_a_time() -> None:
    parent, channel = ledger_pair()
    channel.set_blocking(is_blocking=True)
    book = Book(Limits(1, 1, 0))
    with parent:
        flood = Background(lambda: [channel.send(b"l" + ONE.encode()) for _ in range(10 * MESSAGES_AT_ONCE)])
        turns = 0
        while select.select([parent], [], [], PATIENCE)[0] and answer(book, 1, parent, 0.0):
            turns += 1
            if not flood.thread.is_alive():
                channel.close()
        flood.result()
    assert turns >= 9


def test_names_without_end_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_NAMES", 50)
    monkeypatch.setattr(ledger_module, "MAX_SUBMISSIONS", 100)
    book = Book(Limits(10, 10, 90))
    parent, channel = ledger_pair()
    with parent, channel:
        for number in range(5000):
            name = b"%d" % (number // 90) + b"x" * 900
            for letter in (b"s", b"f", b"a", b"l"):
                channel.send(letter + name)
                assert answer(book, 1, parent, float(number))
                channel.receive(100)
    assert len(book._submissions) <= 50
    assert sum(map(len, book._submissions.values())) == book._submissions_kept <= 100
    assert len(book._failures) <= 50
    assert book._of_address == {}


def test_the_submissions_longest_not_counted_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MAX_SUBMISSIONS", 4)
    book = Book(Limits(1, 0, 2))
    assert [book.may_submit(user, 0.0) for user in ("ann", "ann", "bob", "bob")] == [True] * 4
    assert [book.may_submit(user, 1.0) for user in ("cid", "bob", "ann", "ann")] == [True, False, True, True]
