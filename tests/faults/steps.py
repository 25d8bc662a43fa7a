"""The steps of the proxy's dialogues with the two servers: where a fault can come."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.house import House
from tests.faults.submissions import FILED, PLAIN, RECIPIENTS, REFERRING, REFERRING_AND_FILED, Submission

SMTP_STEPS = ("GREETING", "EHLO", "MAIL", *(f"RCPT {recipient}" for recipient in RECIPIENTS), "DATA", ".", "QUIT")

_READING = ("GREETING", "LOGIN", "EXAMINE", "FETCH 1", "FETCH 2", "FETCH 3", "LOGOUT")
_FILING = ("GREETING", "LOGIN", "APPEND", "APPENDED", "LOGOUT")
# By the connection that was read by: what goes into the copy is read once more.
_READING_AGAIN = ("FETCH 4", "FETCH 5")


@dataclass(frozen=True)
class ImapStep:
    """A step of a side connection; one that is used before the message is sent, or only then."""

    name: str
    is_filing: bool

    def __str__(self) -> str:
        return f"{'filing' if self.is_filing else 'reading'} {self.name}"

    def arm(self, house: House, prepare: Callable[[], None]) -> None:
        """Have what is to happen at the step prepared before the connection is made."""
        if self.is_filing:
            house.once_taken(prepare)
        else:
            prepare()


def imap_steps(submission: Submission) -> tuple[ImapStep, ...]:
    """Return the steps of a submission's side connections."""
    reading = {PLAIN: (), REFERRING: _READING, FILED: (), REFERRING_AND_FILED: _READING}[submission]
    filing = {PLAIN: (), REFERRING: (), FILED: _FILING, REFERRING_AND_FILED: (*_READING_AGAIN, *_FILING)}[submission]
    return (*(ImapStep(name, False) for name in reading), *(ImapStep(name, True) for name in filing))


# Has somebody act when a moment comes.
Arm = Callable[[House, Callable[[], object]], None]


@dataclass(frozen=True)
class Moment:
    """When somebody may act while a submission is under way, and the server then goes on as usual.

    ``is_in_doubt``: the message has come whole, and it is not yet on the disk that it was accepted. ``is_settled``: it
    is.
    """

    name: str
    submission: Submission
    arm: Arm
    is_in_doubt: bool = False
    is_settled: bool = False


def smtp_moments(submission: Submission) -> Iterator[Moment]:
    """Yield each step of the SMTP dialogue."""
    for step in SMTP_STEPS:
        yield Moment(f"SMTP {step}", submission, _at_smtp(step), is_in_doubt=step == ".", is_settled=step == "QUIT")


def imap_moments(submission: Submission) -> Iterator[Moment]:
    """Yield each step of the side connections."""
    for step in imap_steps(submission):
        yield Moment(f"IMAP {step}", submission, _at_imap(step), is_settled=step.is_filing or step.name == "LOGOUT")


def _at_smtp(step: str) -> Arm:
    return lambda house, act: house.at_smtp(step, act=act)


def _at_imap(step: ImapStep) -> Arm:
    return lambda house, act: step.arm(house, lambda: house.at_imap(step.name, act=act))
