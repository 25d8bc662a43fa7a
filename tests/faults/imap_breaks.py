"""The IMAP server does not do its part: each answer that is none, at each step of the side connections."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from tests.faults.breaks import Break, break_of, prepared
from tests.faults.house import House, nothing
from tests.faults.steps import ImapStep, imap_steps
from tests.faults.submissions import ALL, Submission
from tests.functional.fake_imap import Peer
from tests.functional.fake_mailboxes import Deviation, closes, halves, instead, resets


def _stays_silent(peer: Peer, _: bytes, __: bytes) -> None:
    """Say nothing, until the proxy ends the connection."""
    peer.rest()
    raise EOFError


DEVIATIONS: Mapping[str, Deviation] = {
    "NO": instead(b"%b NO not now\r\n"),
    "BAD": instead(b"%b BAD what\r\n"),
    "BYE": instead(b"* BYE shutting down\r\n"),
    "garbage": instead(b"\x00\xff\x1b[2J garbage {5} \r\n%b OK done\r\n"),
    "half a line": halves,
    "RST": resets,
    "FIN": closes,
}
REFUSALS = frozenset({"NO", "BAD"})
# A server that refuses has not done it.
UNDOING: Mapping[str, Callable[[House], None]] = {"APPENDED": House.take_back, "CREATE": House.remove_sent_mailbox}


def imap_failures() -> Iterator[Break]:
    """Yield each step's."""
    for submission in ALL:
        for step in imap_steps(submission):
            for name, deviation in DEVIATIONS.items():
                yield _imap_break(submission, step, name, deviation)


def imap_silence() -> Iterator[Break]:
    """Yield each step's; the proxy bears it for two minutes."""
    for submission in ALL:
        for step in imap_steps(submission):
            yield replace(_imap_break(submission, step, "silence", _stays_silent), is_long=True)


def _imap_break(submission: Submission, step: ImapStep, name: str, deviation: Deviation) -> Break:
    undo = UNDOING.get(step.name) if name in REFUSALS else None

    def prepare(house: House) -> None:
        step.arm(house, lambda: house.at_imap(step.name, deviation, partial(undo, house) if undo else nothing))

    broken = break_of(submission, f"{name} at {step}", prepared(prepare))
    return replace(broken, may_lack_copy=step.is_filing)
