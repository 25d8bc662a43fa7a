"""The program, whose first workers have been taken over by an attacker, and do what their parts say.

All that such a worker has is what every worker has: its user's rights, two channels to the parent, the memory that they
share, the listening sockets, and whatever it can connect to. Run as ``command`` says.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from imapproxy import main as imapproxy_main
from imapproxy.net import control, privileges, process, workers
from imapproxy.net.board import Seat
from imapproxy.net.channel import Channel
from imapproxy.net.ledger import LONGEST_NAME, Ledger
from imapproxy.net.registry import Registry
from imapproxy.net.worker_message import encode
from imapproxy.net.workers import Assignment
from tests.net.figures import session
from tests.net.lingering import fill

ROOT = Path(__file__).resolve().parents[2]

TOTALS = Registry().report()["totals"]


def command(*parts: str) -> Sequence[str]:
    """Return what makes Python run the program with those parts in it, one after another."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.functional.taken_over import main; main()"
    return ("-c", code, json.dumps(parts))


class TakenOver:
    """What the worker has in its hands."""

    def __init__(self, assignment: Assignment, orders: Channel, questions: Channel, seat: Seat) -> None:
        self.assignment = assignment
        self.orders = orders
        self.questions = questions
        self.seat = seat

    def say(self, *lines: bytes) -> None:
        self.orders.send_all(b"".join(lines))

    def await_order(self) -> dict[str, object]:
        self.orders.set_blocking(is_blocking=True)
        order: dict[str, object] = json.loads((self.orders.receive(4096) or b"{}").splitlines()[0])
        return order

    def stay(self) -> None:
        while True:
            signal.pause()


Part = Callable[[TakenOver], None]


def saying(*lines: bytes) -> Part:
    """Once ready, say that, and stay."""

    def play(worker: TakenOver) -> None:
        worker.say(encode("ready"), *lines)
        worker.stay()

    return play


def saying_on(data: bytes) -> Part:
    """Once ready, say that again and again."""

    def play(worker: TakenOver) -> None:
        worker.say(encode("ready"))
        while True:
            worker.say(data)

    return play


def reporting(*lines: bytes, again: bytes = b"") -> Part:
    """Say that when a report is asked for, and then something again and again."""

    def play(worker: TakenOver) -> None:
        worker.say(encode("ready"))
        worker.await_order()
        worker.say(*lines)
        while again:
            worker.say(again)
        worker.stay()

    return play


def asking(*questions: bytes, again: bytes = b"") -> Part:
    """Ask the ledger, and read no answer."""

    def play(worker: TakenOver) -> None:
        worker.questions.set_blocking(is_blocking=True)
        worker.say(encode("ready"))
        for question in questions:
            worker.questions.send(question)
        while again:
            worker.questions.send(again)
        worker.stay()

    return play


def never_ready(worker: TakenOver) -> None:
    """Say nothing."""
    worker.stay()


def scribble(worker: TakenOver) -> None:
    """Write all over the memory that the workers share with the parent."""
    cells = worker.seat._cells
    worker.say(encode("ready"))
    for number in (-(1 << 63), (1 << 63) - 1):
        for cell in range(len(cells)):
            cells[cell] = number
    worker.stay()


def poison(worker: TakenOver) -> None:
    """Ask at the control socket without ever reading, and send along what the one who closes it last waits for."""
    worker.say(encode("ready"))
    worker.await_order()
    with socket.create_server(("127.0.0.1", 0)) as unread:
        kept = []
        for _ in range(40):
            stream = socket.socket(socket.AF_UNIX)
            stream.connect(worker.assignment.config.control_socket)
            with socket.socket() as lingering, contextlib.suppress(OSError):  # it may have been let go of already
                fill(lingering, unread)
                socket.send_fds(stream, [b"x"], [lingering.fileno()])
            kept.append(stream)
        worker.stay()


def turn_listeners(worker: TakenOver) -> None:
    """Make connections that linger of the listening sockets."""
    with socket.create_server(("127.0.0.1", 0)) as unread:
        for door in worker.assignment.doors:
            door.stream.shutdown(socket.SHUT_RDWR)
            fill(door.stream, unread)
            door.stream.close()
        worker.say(encode("ready"))
        worker.stay()


def haunt(worker: TakenOver) -> None:
    """End, with a pipe full of last words, and a child that has the pipes and goes on."""
    fcntl.fcntl(worker.orders.writer_fileno(), fcntl.F_SETPIPE_SZ, 1 << 20)
    worker.say(encode("ready"))
    if not os.fork():
        signal.alarm(60)
        while True:
            worker.say(b"x" * 4000 + b"\n")
    os._exit(3)


# With these the parent waits a second, where it would wait longer.
QUICK = {"never ready", "orders that are never read", "descriptors"}
PARTS: dict[str, Part] = {
    "no json": saying(b"report {\n"),
    "no json when asked": reporting(b"session {\n"),
    "no text": saying(b"\xff\xfe\0\n"),
    "a word of its own": saying(b"stop null\n"),
    "ready again": saying(encode("ready")),
    "a report nobody asked for": saying(encode("report", [1, TOTALS])),
    "a report of another number": reporting(encode("report", [7, TOTALS])),
    "a report of another shape": reporting(encode("report", {"sessions": 5})),
    "a session of other types": reporting(encode("session", session(since="now"))),
    "totals that are no counts": reporting(encode("report", [1, {**TOTALS, "sent": {}}])),
    "NaN": reporting(b'session {"since": NaN}\n'),
    "a number without end": reporting(b'session {"since": 1e999}\n'),
    "a huge number": reporting(b"session " + b"9" * 4301 + b"\n"),
    "a deep nesting": reporting(b"session " + b"[" * 4000 + b"\n"),
    "totals at the end that are none": saying(encode("ended", {"x" * 1000: 1})),
    "an end that is none": saying(encode("ended", TOTALS), encode("ended", TOTALS)),
    "retired without being told": saying(encode("retired")),
    "an endless line": saying_on(b"x" * 65536),
    "an endless line when asked": reporting(b"session ", again=b" " * 65536),
    "a flood of sessions": reporting(again=encode("session", session(user="x" * 300)) * 100),
    "a flood of messages": saying_on(encode("ready") * 1000),
    "no question": asking(b"?fred"),
    "a long question": asking(b"s" + b"x" * (LONGEST_NAME + 1)),
    "a flood of questions, and no answer read": asking(again=b"f192.0.2.1"),
    "never ready": never_ready,
    "a flood of news": asking(again=b"l192.0.2.1"),
    "a flood in the memory": scribble,
    "orders that are never read": saying(),
    "descriptors": poison,
    "listeners": turn_listeners,
    "a haunting child": haunt,
}


def main() -> None:
    """Run the program: the first workers play their parts, all others are as they should be."""
    parts, *arguments = sys.argv[1:]
    waiting = json.loads(parts)
    process.RESPAWN_PAUSE = 0.05
    if set(waiting) & QUICK:
        process.START_PATIENCE = process.RETIRE_PATIENCE = 1.0
        control.REPORT_PATIENCE, control.READ_PATIENCE = 0.5, 1.5
    usual, honest = workers.fork_worker, workers.work

    def fork_worker(assignment: Assignment, seat: Seat, close_parents: Callable[[], None]) -> workers.Worker:
        vars(workers)["work"] = playing(PARTS[waiting.pop(0)]) if waiting else honest
        return usual(assignment, seat, close_parents)

    vars(process)["fork_worker"] = fork_worker
    sys.exit(imapproxy_main.main(arguments))


def playing(part: Part) -> Callable[[Assignment, Channel, Ledger], NoReturn]:
    """Return what a worker does that plays the part, in the place of ``workers.work``."""

    def work(assignment: Assignment, orders: Channel, ledger: Ledger) -> NoReturn:
        if assignment.owner:
            privileges.drop(assignment.owner)
        assert ledger._seat
        try:
            part(TakenOver(assignment, orders, ledger._channel, ledger._seat))
        finally:
            os._exit(3)

    return work
