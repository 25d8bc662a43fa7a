"""What an octet costs: late in a line against early in it, and a unit of a large draft against one of half as many.

Each figure is a ratio of processor times within one run, and the mark is the same for all: flat, which is under 2. Work
that is linear in octets shows about 1 whatever the machine, work that goes over what is held already shows 100.

The lines and drafts go through this tree's own modules, in this process, one octet at a time and at once. The last
figure is the program's: NOOPs of a client beside twenty others that send an octet now and then.
"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from bench.drips import DRIPPING
from bench.load import Session, percentile
from bench.measures import Figure, Fresh, Values
from bench.processes import helper
from bench.proxies import Instance
from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import LineEnds
from imapproxy.message.message import Extensions, Site, Stamp, Submitter, read_draft
from imapproxy.net.spool import Spool
from imapproxy.protocol.action import Action, DraftOctets
from imapproxy.protocol.capability import is_reusable
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.terms import Terms

FLAT = 2.0
EARLY = 512  # octets that are held of a line when the cost of the next ones is measured
LATE_BEFORE_LOGIN = 60 * 1024
LATE = 250 * 1024
LATE_OF_SERVER = 60 * 1024
LATE_OF_DRAFT = 2 * 1024 * 1024
SMALL_DRAFT = 16 * 1024
DRIPS = 500  # octets whose cost is measured, one after the other
TIMES = 3  # that each of two costs is measured in turn; the least counts
BESIDE_SECONDS = 2.0  # for which NOOPs are measured beside those that drip


def _ratio(name: str, what: str) -> Figure:
    return Figure(name, what, "x", more_is_better=False, below=FLAT)


FIGURES = (
    _ratio("cost-line-login", "client's line before login, 60 KB"),
    _ratio("cost-line", "client's line after login, 250 KB"),
    _ratio("cost-line-once", "... the same line at once"),
    _ratio("cost-server", "server's line, worst of 13, 60 KB"),
    _ratio("cost-server-once", "... the same lines at once"),
    _ratio("cost-draft", "draft, 2 MB"),
    _ratio("cost-draft-once", "... the same draft at once"),
    _ratio("cost-recipients", "each of 20,000 recipients"),
    _ratio("cost-fields", "each of 20,000 header fields"),
    _ratio("cost-parts", "each of 10,000 parts"),
    _ratio("cost-levels", "each of 500 levels of nesting"),
    _ratio("cost-noop", "NOOP beside 20 that drip, median"),
    Figure("cost-noop-time", "... its time", "us", more_is_better=False),
    Figure("cost-noop-p95", "... 95 of 100 are faster than", "us", more_is_better=False),
)

_GREETING = b"* OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE AUTH=PLAIN] ready\r\n"
_LOGIN = (b"a LOGIN fred secret\r\n", b"a OK logged in\r\n")

# How a server's line may begin: status responses of all kinds, with codes and without; what is held until it is whole;
# data; a literal's mark, perhaps. The last one is a greeting.
FORMS = (
    *(b"* OK ", b"* NO ", b"* BAD ", b"* BYE ", b"* OK [COPYUID 7 1,3,5", b"* OK [CAPABILITY IMAP4rev1"),
    *(b"b OK ", b"b NO [MODIFIED 1,3,5", b"b OK [CAPABILITY IMAP4rev1", b"* CAPABILITY IMAP4rev1", b"+ "),
    *(b'* LIST () "/" ', b"* OK "),
)
_GREETING_FORM = len(FORMS) - 1

_EIGHT_BIT = "é\r\n".encode()
_SITE = Site(
    mail_domains=("example.com",),
    from_policy="check",
    identities={},
    max_recipients=100_000,
    host_name="mail.example.com",
    received_client_address=True,
    references=True,
    max_composed_size=1 << 30,
    sent_mailbox="",
    server_names=frozenset({"mail.example.com"}),
)
_FRED = Submitter("fred", "192.0.2.1", "192.0.2.143")
_STAMP = Stamp(datetime(2026, 11, 24, tzinfo=UTC), "k3xo9qlm2v7ab4cd")
_SEVEN_BIT = Extensions(eight_bit_mime=False, smtputf8=False)

# Returns the processor time of one octet, or of one unit.
Cost = Callable[[], float]


def in_process() -> Values:
    """Return the ratios of what is measured in this process."""
    return {name: measure() for name, measure in _MEASURES.items()}


def growth(large: Cost, small: Cost) -> float:
    """Return how many times the small one's cost the large one's is."""
    costs = [(large(), small()) for _ in range(TIMES)]
    return min(cost for cost, _ in costs) / min(cost for _, cost in costs)


def timed(work: Callable[[], object], amount: float, clock: Callable[[], float] = time.thread_time) -> float:
    """Return the processor time of each of so many that are done at once."""
    start = clock()
    work()
    return (clock() - start) / amount


# Lines --------------------------------------------------------------------------------------------------------------


class Line:
    """A dialogue in the midst of a line, of the client's or of the server's, of which so many octets have come."""

    def __init__(self, beginning: bytes, held: int, *, of_client: bool, is_logged_in: bool, greets: bool) -> None:
        self.dialogue = Dialogue(Terms(1 << 30, is_reusable), is_secure=False)
        if greets:
            self.dialogue.from_upstream(_GREETING, len(_GREETING))
        if is_logged_in:
            self.dialogue.from_client(_LOGIN[0], len(_LOGIN[0]))
            self.dialogue.from_upstream(_LOGIN[1], len(_LOGIN[1]))
        self.take = self.dialogue.from_client if of_client else self.dialogue.from_upstream
        self.octets = beginning + b"x" * (held - len(beginning))

    def held(self) -> "Line":
        """Take the octets."""
        self.take(self.octets, len(self.octets))
        return self

    def drip(self) -> None:
        """Take more, one at a time."""
        take = self.take
        for _ in range(DRIPS):
            take(b"x", 1)

    def whole(self) -> None:
        """Take the octets and a line's end."""
        self.take(self.octets + b"\r\n", len(self.octets) + 2)


def client_line(held: int, *, is_logged_in: bool) -> Line:
    """Return a command's line."""
    return Line(b"b SELECT ", held, of_client=True, is_logged_in=is_logged_in, greets=True)


def server_line(form: int, held: int) -> Line:
    """Return a line of one of FORMS."""
    is_greeting = form == _GREETING_FORM
    return Line(FORMS[form], held, of_client=False, is_logged_in=not is_greeting, greets=not is_greeting)


def dripping(line: Callable[[int], Line], late: int) -> float:
    """Return how many times the cost early in a line that of an octet late in it is."""

    def cost(held: int) -> float:
        return timed(line(held).held().drip, DRIPS)

    return growth(partial(cost, late), partial(cost, EARLY))


def at_once(line: Callable[[int], Line], late: int) -> float:
    """Return how many times the cost of a short line's octet that of a long line's is; both together are as long."""

    def cost(size: int) -> float:
        lines = [line(size) for _ in range(late // size)]

        def work() -> None:
            for each in lines:
                each.whole()

        return timed(work, len(lines) * size)

    return growth(partial(cost, late), partial(cost, EARLY))


def _worst(measure: Callable[[Callable[[int], Line], int], float]) -> float:
    return max(measure(partial(server_line, form), LATE_OF_SERVER) for form in range(len(FORMS)))


# Drafts -------------------------------------------------------------------------------------------------------------


class Incoming:
    """A draft that comes in, of which so many octets are here."""

    def __init__(self, held: int) -> None:
        self.spool = Spool()
        line = client_line(EARLY, is_logged_in=True)
        self.take = line.dialogue.from_client
        beginning = b"b SUBMIT {%d+}\r\n" % (1 << 29) + _draft_of(_header(b"")) + b"Hello\r\n" * (held // 7)
        self._write(self.take(beginning, len(beginning)))

    def drip(self) -> None:
        """Take more, one octet at a time."""
        for _ in range(DRIPS):
            self._write(self.take(b"x", 1))

    def close(self) -> None:
        """Forget it."""
        self.spool.close()

    def _write(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, DraftOctets):
                self.spool.write(action.octets)


def _dripping_draft() -> float:
    def cost(held: int) -> float:
        draft = Incoming(held)
        try:
            return timed(draft.drip, DRIPS)
        finally:
            draft.close()

    return growth(partial(cost, LATE_OF_DRAFT), partial(cost, EARLY))


def _draft_at_once() -> float:
    def cost(size: int) -> float:
        draft = _draft_of(_header(b"Content-Type: text/plain; charset=utf-8\r\n")) + _EIGHT_BIT * (size // 4)
        times = LATE_OF_DRAFT // size

        def work() -> None:
            for _ in range(times):
                _render(draft)

        return timed(work, times * len(draft))

    return growth(partial(cost, LATE_OF_DRAFT), partial(cost, SMALL_DRAFT))


def _header(fields: bytes) -> bytes:
    return b"From: fred@example.com\r\nTo: ann@example.com\r\nMIME-Version: 1.0\r\n" + fields


def _draft_of(header: bytes, body: bytes = b"") -> bytes:
    return header + b"\r\n" + body


def _render(octets: bytes) -> None:
    """Read a draft as one that is submitted, and convert it for a server that takes seven bits; or refuse it."""
    with suppress(SubmissionRefused):
        line_ends = LineEnds()
        draft = read_draft(b"".join(line_ends.feed(octets) + line_ends.finish()), _SITE, _FRED, _STAMP)
        for _chunk in draft.message([], lambda _: []).rendering(_SEVEN_BIT).chunks():
            pass


def recipients(count: int) -> bytes:
    """Return a draft to so many."""
    listed = b",\r\n\t".join(b"user%d@example.com" % number for number in range(count))
    return _draft_of(_header(b"Cc: " + listed + b"\r\n"))


def fields(count: int) -> bytes:
    """Return a draft with so many header fields."""
    return _draft_of(_header(b"".join(b"X-%d: hello\r\n" % number for number in range(count))))


def parts(count: int) -> bytes:
    """Return a draft of so many parts, each to be converted."""
    header = _header(b"Content-Type: multipart/mixed; boundary=b\r\n")
    return _draft_of(header, b"--b\r\n\r\n%b" % _EIGHT_BIT * count + b"--b--\r\n")


def levels(count: int) -> bytes:
    """Return a draft of so many multiparts, each in the one before, the innermost one to be converted."""
    kinds = [b"Content-Type: multipart/mixed; boundary=b%d\r\n" % level for level in range(count)]
    opening = b"".join(b"--b%d\r\n%b\r\n" % level_and_kind for level_and_kind in enumerate(kinds[1:]))
    closing = b"".join(b"--b%d--\r\n" % level for level in reversed(range(count)))
    return _draft_of(_header(kinds[0]), opening + b"--b%d\r\n\r\n%b" % (count - 1, _EIGHT_BIT) + closing)


def halved(shape: Callable[[int], bytes], *counts: int) -> float:
    """Return how many times the cost of a unit of half as many that of one of so many is; the worst of the counts.

    What is more than a draft may have is refused, which is measured like what is not.
    """

    def cost(count: int) -> float:
        return timed(partial(_render, shape(count)), count)

    return max(growth(partial(cost, count), partial(cost, count // 2)) for count in counts)


_MEASURES: Mapping[str, Callable[[], float]] = {
    "cost-line-login": lambda: dripping(partial(client_line, is_logged_in=False), LATE_BEFORE_LOGIN),
    "cost-line": lambda: dripping(partial(client_line, is_logged_in=True), LATE),
    "cost-line-once": lambda: at_once(partial(client_line, is_logged_in=True), LATE),
    "cost-server": lambda: _worst(dripping),
    "cost-server-once": lambda: _worst(at_once),
    "cost-draft": _dripping_draft,
    "cost-draft-once": _draft_at_once,
    "cost-recipients": lambda: halved(recipients, 20_000),
    # As many as may be, too (fields.MAX_FIELDS, mime.MAX_PARTS, mime.MAX_DEPTH).
    "cost-fields": lambda: halved(fields, 20_000, 1_990),
    "cost-parts": lambda: halved(parts, 10_000, 4_998),
    "cost-levels": lambda: halved(levels, 500, 30),
}


# NOOP beside what drips -----------------------------------------------------------------------------------------------


def beside_drips(instance: Instance, _: Fresh) -> Values:
    """Measure the NOOPs of a client alone, and beside twenty that drip."""
    with Session(instance.port) as session:
        session.noops(200)
        alone = statistics.median(session.noops(2_000))
        with helper("bench.drips", str(instance.port)) as (_stdin, stdout):
            if stdout.readline().strip() != DRIPPING:
                raise ChildProcessError("the drips did not start")
            durations: list[float] = []
            end = time.monotonic() + BESIDE_SECONDS
            while time.monotonic() < end:
                durations += session.noops(20)
    return {
        "cost-noop": statistics.median(durations) / alone,
        "cost-noop-time": statistics.median(durations) * 1e6,
        "cost-noop-p95": percentile(durations, 95) * 1e6,
    }
