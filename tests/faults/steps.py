"""The steps of the proxy's dialogues with the two servers: where a fault can come."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.faults.house import House
from tests.faults.submissions import (
    AUTHENTICATED,
    AUTOMATIC,
    CATENATED,
    CREATING,
    FILED,
    RECIPIENTS,
    REFERRING,
    REFERRING_AND_FILED,
    SECURED,
    TOLD_OF_CLIENT,
    USUAL,
    Submission,
)

_SENDING = ("GREETING", "EHLO", "MAIL", *(f"RCPT {recipient}" for recipient in RECIPIENTS), "DATA", ".", "QUIT")
_LOGGING_IN = ("EHLO", "AUTH", "MAIL")
_TELLING_OF_CLIENT = ("EHLO", "XCLIENT", "EHLO 2", "MAIL")
_SECURING = ("EHLO 1", "STARTTLS", "EHLO 2", "MAIL", "DATA", ".", "QUIT")

_READING = ("GREETING", "LOGIN", "EXAMINE", "FETCH 1", "FETCH 2", "FETCH 3", "LOGOUT")
_FILING = ("GREETING", "LOGIN", "CAPABILITY", "APPEND", "APPENDED", "LOGOUT")
# By the connection that was read by: what goes into the copy is read once more.
_READING_AGAIN = ("FETCH 4", "FETCH 5")
# By that connection too: a text, what the server has, a text.
_CATENATING = ("CAPABILITY", "APPEND 1", "APPEND 2", "APPENDED", "LOGOUT")
# The first APPEND finds that the mailbox is missing.
_CREATING = ("CAPABILITY", "NAMESPACE", "APPEND 1", "CREATE", "SUBSCRIBE", "APPEND 2", "APPENDED", "LOGOUT")
_FINDING = ("CAPABILITY", "LIST", "APPEND", "APPENDED", "LOGOUT")
_READING_BY_TLS = ("STARTTLS", "HANDSHAKE", "LOGIN", "EXAMINE", "FETCH 3", "LOGOUT")
_FILING_BY_TLS = ("STARTTLS", "HANDSHAKE", "LOGIN", "APPEND", "APPENDED", "LOGOUT")
# These are read while the message is on its way to the SMTP server.
_BEHIND_354 = ("FETCH 2", "FETCH 3")


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


_SMTP_STEPS = {
    **dict.fromkeys(USUAL, _SENDING),
    CATENATED: (".", "QUIT"),
    AUTHENTICATED: _LOGGING_IN,
    TOLD_OF_CLIENT: _TELLING_OF_CLIENT,
    SECURED: _SECURING,
}
_READING_STEPS = {REFERRING: _READING, REFERRING_AND_FILED: _READING, SECURED: _READING_BY_TLS}
_FILING_STEPS = {
    FILED: _FILING,
    REFERRING_AND_FILED: (*_READING_AGAIN, *_FILING),
    CATENATED: _CATENATING,
    CREATING: _CREATING,
    AUTOMATIC: _FINDING,
    SECURED: _FILING_BY_TLS,
}


def smtp_steps(submission: Submission) -> tuple[str, ...]:
    """Return the steps of the SMTP dialogue, but for those that are as in the usual submissions."""
    return _SMTP_STEPS.get(submission, ())


def imap_steps(submission: Submission) -> tuple[ImapStep, ...]:
    """Return the steps of a submission's side connections, but for those that are as in the usual submissions."""
    reading, filing = (steps.get(submission, ()) for steps in (_READING_STEPS, _FILING_STEPS))
    return (*(ImapStep(name, False) for name in reading), *(ImapStep(name, True) for name in filing))


# Has somebody act when a moment comes.
Arm = Callable[[House, Callable[[], object]], None]


@dataclass(frozen=True)
class Moment:
    """When somebody may act while a submission is under way, and the server then goes on as usual.

    ``is_behind_354``: the message is on its way. ``is_in_doubt``: it has come whole, and it is not yet on the disk that
    it was accepted. ``is_settled``: it is.
    """

    name: str
    submission: Submission
    arm: Arm
    is_behind_354: bool = False
    is_in_doubt: bool = False
    is_settled: bool = False


def login(submission: Submission) -> Moment:
    """Return the moment at which the client has logged in."""

    def arm(house: House, act: Callable[[], object]) -> None:
        house.met.set()
        act()

    return Moment("login", submission, arm)


def smtp_moments(submission: Submission) -> Iterator[Moment]:
    """Yield each step of the SMTP dialogue."""
    for step in smtp_steps(submission):
        yield Moment(f"SMTP {step}", submission, _at_smtp(step), is_in_doubt=step == ".", is_settled=step == "QUIT")


def imap_moments(submission: Submission) -> Iterator[Moment]:
    """Yield each step of the side connections."""
    for step in imap_steps(submission):
        yield Moment(
            f"IMAP {step}",
            submission,
            _at_imap(step),
            is_behind_354=step.name in _BEHIND_354,
            is_settled=step.is_filing or step.name == "LOGOUT",
        )


def _at_smtp(step: str) -> Arm:
    return lambda house, act: house.at_smtp(step, act=act)


def _at_imap(step: ImapStep) -> Arm:
    return lambda house, act: step.arm(house, lambda: house.at_imap(step.name, act=act))
