"""What is counted for all workers together: clients, failed logins and submissions.

The parent keeps the ``Book``; a worker asks it through its ``Ledger``, over a ``Channel`` of its own, one message a
question. That costs a fifth of a login, so what every login needs is on the ``Board``, memory that they share: how many
clients each worker has, which it alone writes, and what the parent has to say to all. What a worker that has died had
counted vanishes with it. Addresses and users are names to count under and nothing else here; every table is bounded,
and forgets what was touched least recently. A worker that has been taken over can count what it likes under any name,
and so have others forgotten; it cannot have more kept than the tables hold, nor make the parent wait.

A worker waits ``ANSWER_PATIENCE`` for an answer, and does without one after that until the parent answers again.
"""

import contextlib
import select
import threading
import time
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from ipaddress import IPv6Address

from imapproxy.errors import SubmissionRefused, WorkerError
from imapproxy.logs import LOGGER, record
from imapproxy.message.host import bare_address
from imapproxy.net.board import Board, Seat
from imapproxy.net.channel import Channel, channel_pair

TOO_MANY = "max-clients"
TOO_MANY_OF_ADDRESS = "max-clients-per-ip"

HOUR = 3600.0
# So many failures cost an address nothing, since people mistype; each further one twice as much as the one before.
FREE_FAILURES = 2
FIRST_DELAY = 1.0  # seconds
LONGEST_DELAY = 16.0  # seconds; a mail program asks its user again after 30 or so
FAILURES_KEPT_FOR = 600.0  # seconds without another
# Addresses with failures, and users with submissions, that are remembered.
MAX_NAMES = 20_000
# Submissions that are remembered, of all users; twice as many as the highest limit allows one user.
MAX_SUBMISSIONS = 2_000_000

# A name is cut off here; longer ones than any address or user that a login can have (RFC 5321, 4.5.3.1: 320 octets).
LONGEST_NAME = 1024
# What one message may have, a letter before the name included; answers are short.
LONGEST_MESSAGE = 1 + LONGEST_NAME
# Messages of one worker that are answered before the parent turns to the next.
MESSAGES_AT_ONCE = 64

# How long a worker waits for the parent, which answers in less than a millisecond unless it has been stopped; seconds.
ANSWER_PATIENCE = 5.0

_ADMIT, _LEAVE, _MAY_SUBMIT, _FAILED, _SUCCEEDED = b"a", b"l", b"s", b"f", b"o"
# A message without octets would look like the end of the stream.
_ANSWER = b"="
_NO = "no"


@dataclass(frozen=True, slots=True)
class Limits:
    """What the administrator allows; 0 means no limit, but for ``clients``."""

    clients: int
    clients_per_address: int
    submissions_per_hour: int


@dataclass(slots=True)
class Book:
    """The counts. ``worker`` is a number that is one worker's alone; times are a monotonic clock's seconds."""

    limits: Limits
    board: Board = field(default_factory=Board)
    _clients: dict[int, Counter[str]] = field(default_factory=dict)
    _of_address: Counter[str] = field(default_factory=Counter)
    _total: int = 0
    _failures: dict[str, tuple[int, float]] = field(default_factory=dict)  # how many, and when the last was
    _submissions: OrderedDict[str, deque[float]] = field(default_factory=OrderedDict)
    _submissions_kept: int = 0

    def __post_init__(self) -> None:
        self.allow(self.limits)

    def allow(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self.limits = limits
        self.board.announce(limits.clients, limits.clients_per_address, limits.submissions_per_hour)

    def admit(self, worker: int, ip: str) -> str:
        """Count a client in, and return ""; or return the name of the limit that keeps it out."""
        address = counted_as(ip)
        if self._total >= self.limits.clients:
            return TOO_MANY
        if self.limits.clients_per_address and self._of_address[address] >= self.limits.clients_per_address:
            return TOO_MANY_OF_ADDRESS
        self._clients.setdefault(worker, Counter())[address] += 1
        self._of_address[address] += 1
        self._total += 1
        return ""

    def leave(self, worker: int, ip: str) -> None:
        """Count a client out that was let in."""
        address = counted_as(ip)
        if self._clients.get(worker, Counter())[address]:
            self._take(address, 1)
            self._clients[worker][address] -= 1
            if not self._clients[worker][address]:
                del self._clients[worker][address]

    def forget(self, worker: int) -> None:
        """Count out all clients of a worker that is gone."""
        for address, count in self._clients.pop(worker, Counter()).items():
            self._take(address, count)

    def _take(self, address: str, count: int) -> None:
        self._total -= count
        self._of_address[address] -= count
        if not self._of_address[address]:
            del self._of_address[address]

    def may_submit(self, user: str, now: float) -> bool:
        """Count a submission of the user's, unless there were too many within the hour that ends now."""
        if not self.limits.submissions_per_hour:
            return True
        times = self._submissions_of(user)
        while times and times[0] <= now - HOUR:
            times.popleft()
            self._submissions_kept -= 1
        if len(times) >= self.limits.submissions_per_hour:
            return False
        times.append(now)
        self._submissions_kept += 1
        return True

    def _submissions_of(self, user: str) -> deque[float]:
        """Return the times of the user's submissions, who is then the last to be forgotten."""
        times = self._submissions.setdefault(user, deque())
        self._submissions.move_to_end(user)
        while len(self._submissions) > MAX_NAMES or (
            self._submissions_kept >= MAX_SUBMISSIONS and len(self._submissions) > 1
        ):
            _, forgotten = self._submissions.popitem(last=False)
            self._submissions_kept -= len(forgotten)
        return times

    def login_failed(self, ip: str, now: float) -> float:
        """Count a failed login; return for how many seconds the client is to wait."""
        address = counted_as(ip)
        self._forgive_old(now)
        count, _ = self._failures.pop(address, (0, now))
        if not count:
            self._make_room()
            self.board.note_failing(address, 1)
        self._failures[address] = (count + 1, now)  # the latest is last
        doublings = count - FREE_FAILURES
        return 0.0 if doublings < 0 else min(FIRST_DELAY * 2.0 ** min(doublings, 32), LONGEST_DELAY)

    def login_succeeded(self, ip: str) -> None:
        """Forgive one failure. Not all: else who has one password could try others without end."""
        address = counted_as(ip)
        count, last = self._failures.get(address, (0, 0.0))
        if count > 1:
            self._failures[address] = (count - 1, last)
        elif count:
            self._forgive(address)

    def _forgive_old(self, now: float) -> None:
        while self._failures:
            address, (_, last) = next(iter(self._failures.items()))
            if now - last <= FAILURES_KEPT_FOR:
                return
            self._forgive(address)

    def _make_room(self) -> None:
        if len(self._failures) >= MAX_NAMES:
            self._forgive(next(iter(self._failures)))

    def _forgive(self, address: str) -> None:
        del self._failures[address]
        self.board.note_failing(address, -1)


def counted_as(ip: str) -> str:
    """Return what an address is counted as: an IPv6 client has a whole /64 (RFC 6177), so that is one address."""
    if ":" not in ip:
        return ip
    try:
        address = bare_address(ip)
    except ValueError:
        return ip
    return str(address if address.version == 4 else IPv6Address(int(address) >> 64 << 64))


# The way between them ------------------------------------------------------------------------------------------------


def ledger_pair() -> tuple[Channel, Channel]:
    """Return the parent's end and the worker's; neither waits."""
    parent, worker = channel_pair(keeps_messages=True)
    parent.set_blocking(is_blocking=False)
    worker.set_blocking(is_blocking=False)
    return parent, worker


def answer(book: Book, worker: int, channel: Channel, now: float) -> bool:
    """Answer what has come on a worker's channel; return False if the worker is gone.

    Raise WorkerError if it says what it may not, or does not read its answers.
    """
    for _ in range(MESSAGES_AT_ONCE):
        message = channel.receive(LONGEST_MESSAGE + 1)
        if message is None:
            return True
        if not message:
            return False
        if len(message) > LONGEST_MESSAGE:
            raise WorkerError("a question is too long")
        reply = _reply(book, worker, message[:1], message[1:].decode("utf-8", "surrogateescape"), now)
        if reply is not None and not _send_answer(channel, reply):
            return False
    return True


def _send_answer(channel: Channel, reply: str) -> bool:
    try:
        if not channel.send(_ANSWER + reply.encode("ascii")):  # a worker never has two answers to read
            raise WorkerError("it does not read its answers")
    except OSError:
        return False
    return True


def _reply(book: Book, worker: int, question: bytes, name: str, now: float) -> str | None:
    if question == _ADMIT:
        return book.admit(worker, name)
    if question == _MAY_SUBMIT:
        return "" if book.may_submit(name, now) else _NO
    if question == _FAILED:
        return str(book.login_failed(name, now))
    if question == _LEAVE:
        book.leave(worker, name)
    elif question == _SUCCEEDED:
        book.login_succeeded(name)
    else:
        raise WorkerError("this is no question")
    return None


class _Silence(Enum):
    """The parent did not answer in time: whether the question was sent, so that it counts."""

    UNASKED = auto()
    UNANSWERED = auto()


class Ledger:
    """The worker's side, for all its threads. If the parent is gone, all is allowed: the worker ends soon.

    If the parent is there and does not answer, clients are let in, as many as there is room for by the board; a failed
    login costs what the first one that is not free costs; and submissions that must be counted are refused for now.
    Without a ``seat`` at the board everything is asked.
    """

    def __init__(self, channel: Channel, seat: Seat | None = None) -> None:
        self._channel = channel
        self._seat = seat
        self._counting = threading.Lock()
        self._told: Counter[str] = Counter()  # clients that the parent knows of
        self._asking = threading.Lock()
        self._is_owed = False  # an answer is still to come that no thread waits for any more
        self._is_silent = False  # the last question was not answered in time
        self._telling = threading.Lock()
        self._untold: deque[bytes] = deque()  # no more than clients that have left, and one

    def admit(self, ip: str) -> str:
        """Count a client in, and return ""; or return the name of the limit that keeps it out."""
        seat = self._seat
        if seat:
            with self._counting:
                if not seat.has_room():
                    return TOO_MANY
                seat.add(1)
        if not seat or seat.counts_addresses:
            answer = self._ask(_ADMIT, ip)
            with self._counting:
                # The parent counts it in even if the answer comes too late.
                if not answer or answer is _Silence.UNANSWERED:
                    self._told[ip] += 1
                elif seat and isinstance(answer, str):
                    seat.add(-1)
            return answer if isinstance(answer, str) else ""
        return ""

    def leave(self, ip: str) -> None:
        """Count a client out that was let in."""
        with self._counting:
            if self._seat:
                self._seat.add(-1)
            is_told = ip in self._told
            if is_told:
                self._told[ip] -= 1
                if not self._told[ip]:
                    del self._told[ip]
        if is_told:
            self._tell(_LEAVE, ip)

    def recount(self) -> None:
        """Write at the board how many clients there are, where a worker that was taken over may have written."""
        with self._counting:
            if self._seat:
                self._seat.add(0)

    def may_submit(self, user: str) -> bool:
        """Count a submission of the user's; return False, and do not, if there were too many within an hour.

        Raise SubmissionRefused if there is a limit and the parent does not answer.
        """
        if self._seat and not self._seat.counts_submissions:
            return True
        answer = self._ask(_MAY_SUBMIT, user)
        if isinstance(answer, _Silence):
            raise SubmissionRefused("4.3.0 submissions cannot be counted now; try again later")
        return answer != _NO

    def login_failed(self, ip: str) -> float:
        """Count a failed login; return for how many seconds the client is to wait."""
        answer = self._ask(_FAILED, ip)
        return FIRST_DELAY if isinstance(answer, _Silence) else float(answer or 0)

    def login_succeeded(self, ip: str) -> None:
        """Tell that a client at that address knew a password."""
        if self._untold:  # the parent is behind, and this is not worth keeping
            return
        if not self._seat or self._seat.may_have_failures(counted_as(ip)):
            self._tell(_SUCCEEDED, ip)

    # Asking: one question at a time, so that an answer is always that to the last question ----------------------------

    def _ask(self, question: bytes, name: str) -> "str | _Silence":
        """Return the answer; "" if the parent is gone."""
        deadline = time.monotonic() + ANSWER_PATIENCE
        if not self._asking.acquire(timeout=ANSWER_PATIENCE):
            return _Silence.UNASKED
        try:
            return self._answer_to(_message(question, name), deadline)
        except (OSError, EOFError):
            return ""
        finally:
            self._asking.release()

    def _answer_to(self, message: bytes, deadline: float) -> "str | _Silence":
        # One thread has waited for all: until the parent is back, no other one waits as long again.
        until = time.monotonic() if self._is_silent else deadline
        if self._is_owed:
            if self._receive(until) is None:
                return self._silence(_Silence.UNASKED)
            self._is_owed = False
        if not self._send(message, until):
            return self._silence(_Silence.UNASKED)
        self._is_owed = True
        reply = self._receive(deadline)
        if reply is None:
            return self._silence(_Silence.UNANSWERED)
        self._is_owed = self._is_silent = False
        return reply

    def _silence(self, silence: "_Silence") -> "_Silence":
        if not self._is_silent:
            LOGGER.error(record("parent-silent", patience=ANSWER_PATIENCE))
        self._is_silent = True
        return silence

    def _receive(self, deadline: float) -> str | None:
        if not _is_possible(self._channel.fileno(), select.POLLIN, deadline):
            return None
        data = self._channel.receive(LONGEST_MESSAGE)
        if not data:
            raise EOFError
        return data.removeprefix(_ANSWER).decode("ascii")

    def _send(self, message: bytes, deadline: float) -> bool:
        while not (self._send_untold() and self._channel.send(message)):
            if not _is_possible(self._channel.writer_fileno(), select.POLLOUT, deadline):
                return False
        return True

    # Telling: without ever waiting ------------------------------------------------------------------------------------

    def _tell(self, what: bytes, name: str) -> None:
        self._untold.append(_message(what, name))
        with contextlib.suppress(OSError):
            self._send_untold()

    def _send_untold(self) -> bool:
        """Send what could not be sent before; return True if nothing of it is left."""
        with self._telling:
            while self._untold:
                if not self._channel.send(self._untold[0]):
                    return False
                self._untold.popleft()
        return True


def _is_possible(fd: int, event: int, deadline: float) -> bool:
    """Wait until the descriptor is ready, or the end of the file is there; return False if the deadline is first."""
    poll = select.poll()
    poll.register(fd, event)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _message(letter: bytes, name: str) -> bytes:
    return letter + name.encode("utf-8", "surrogateescape")[:LONGEST_NAME]
