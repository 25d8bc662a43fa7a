"""The journal becomes unusable: at one moment of a submission, until its client is answered."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from tests.faults.breaks import Break, break_of, once
from tests.faults.house import House, told
from tests.faults.journal_trouble import TROUBLES, Trouble
from tests.faults.steps import Moment, imap_moments, login, smtp_moments
from tests.faults.submissions import USUAL, Draft


def unusable_journal() -> Iterator[Break]:
    """Yield each way at each step, and before the first."""
    for submission in USUAL:
        for moment in (login(submission), *smtp_moments(submission), *imap_moments(submission)):
            for name, trouble in TROUBLES.items():
                yield _unusable(moment, name, trouble)


def _unusable(moment: Moment, name: str, trouble: Trouble) -> Break:
    """Begin the trouble then. What the SMTP server took is known, though it cannot be written down."""

    def attempt(house: House, draft: Draft) -> str | None:
        with ExitStack() as stack:
            client = stack.enter_context(house.client())
            moment.arm(house, once(lambda: stack.enter_context(trouble(house.setup.journal))))
            return told(client, draft)

    broken = break_of(moment.submission, f"{name} at {moment.name}", attempt)
    return replace(broken, is_sent=moment.is_in_doubt or moment.is_settled)
