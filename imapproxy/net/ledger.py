"""What is counted for all workers together: clients, failed logins and submissions.

The parent keeps the ``Book``; a worker asks it through its ``Ledger``, over a ``Channel`` of its own, one message a
question. That costs a fifth of a login, so what every login needs is on the ``Board``, memory that they share: how many
clients each worker has, which it alone writes, and what the parent has to say to all. What a worker that has died had
counted vanishes with it. Addresses and users are names to count under and nothing else here; every table is bounded,
and forgets what was touched least recently.
"""

import contextlib
import threading
from collections import Counter, OrderedDict, deque
from dataclasses import dataclass, field
from ipaddress import IPv6Address

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

# A name is cut off here; longer ones than any address or user that a login can have (RFC 5321, 4.5.3.1: 320 octets).
LONGEST_NAME = 1024
# What one message may have, a letter before the name included; answers are short.
LONGEST_MESSAGE = 1 + LONGEST_NAME
# Messages of one worker that are answered before the parent turns to the next.
MESSAGES_AT_ONCE = 64

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

    def __post_init__(self) -> None:
        self.allow(self.limits)

    def allow(self, limits: Limits) -> None:
        """Have other limits from now on."""
        self.limits = limits
        self.board.announce(limits.clients, limits.clients_per_address)

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
        if len(times) >= self.limits.submissions_per_hour:
            return False
        times.append(now)
        return True

    def _submissions_of(self, user: str) -> deque[float]:
        """Return the times of the user's submissions, who is then the last to be forgotten."""
        if user not in self._submissions and len(self._submissions) >= MAX_NAMES:
            self._submissions.popitem(last=False)
        times = self._submissions.setdefault(user, deque())
        self._submissions.move_to_end(user)
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
    """Return the parent's end, which never waits, and the worker's."""
    parent, worker = channel_pair(keeps_messages=True)
    parent.set_blocking(is_blocking=False)
    return parent, worker


def answer(book: Book, worker: int, channel: Channel, now: float) -> bool:
    """Answer what has come on a worker's channel; return False where the worker is gone."""
    for _ in range(MESSAGES_AT_ONCE):
        message = channel.receive(LONGEST_MESSAGE)
        if message is None:
            return True
        if not message:
            return False
        reply = _reply(book, worker, message[:1], message[1:].decode("utf-8", "surrogateescape"), now)
        if reply is not None:
            try:
                channel.send(_ANSWER + reply.encode("ascii"))
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
    return None


class Ledger:
    """The worker's side, for all its threads. Where the parent is gone, all is allowed: the worker ends soon.

    Without a ``seat`` at the board everything is asked.
    """

    def __init__(self, channel: Channel, seat: Seat | None = None) -> None:
        self._channel = channel
        self._seat = seat
        self._lock = threading.Lock()
        self._told: Counter[str] = Counter()  # clients that the parent knows of

    def admit(self, ip: str) -> str:
        """Count a client in, and return ""; or return the name of the limit that keeps it out."""
        with self._lock:
            seat = self._seat
            if seat and not seat.has_room():
                return TOO_MANY
            if not seat or seat.counts_addresses:
                if limit := self._ask(_ADMIT, ip):
                    return limit
                self._told[ip] += 1
            if seat:
                seat.add(1)
            return ""

    def leave(self, ip: str) -> None:
        """Count a client out that was let in."""
        with self._lock:
            if self._seat:
                self._seat.add(-1)
            if ip in self._told:
                self._told[ip] -= 1
                if not self._told[ip]:
                    del self._told[ip]
                self._tell(_LEAVE, ip)

    def may_submit(self, user: str) -> bool:
        """Count a submission of the user's; return False, and do not, where there were too many within an hour."""
        with self._lock:
            return self._ask(_MAY_SUBMIT, user) != _NO

    def login_failed(self, ip: str) -> float:
        """Count a failed login; return for how many seconds the client is to wait."""
        with self._lock:
            return float(self._ask(_FAILED, ip) or 0)

    def login_succeeded(self, ip: str) -> None:
        """Tell that somebody at that address knew a password."""
        if not self._seat or self._seat.may_have_failures(counted_as(ip)):
            self._tell(_SUCCEEDED, ip)

    def _ask(self, question: bytes, name: str) -> str:
        """Return the answer; the lock is held, so that it is nobody else's."""
        try:
            self._channel.send(_message(question, name))
            return (self._channel.receive(LONGEST_MESSAGE) or b"")[1:].decode("ascii")
        except OSError:
            return ""

    def _tell(self, what: bytes, name: str) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(_message(what, name))


def _message(letter: bytes, name: str) -> bytes:
    return letter + name.encode("utf-8", "surrogateescape")[:LONGEST_NAME]
