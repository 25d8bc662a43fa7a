"""The disk on which journal and log lie is full, from one moment of a submission until its client is answered."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from tests.faults.breaks import Break, break_of
from tests.faults.house import House, told
from tests.faults.small_disk import can_mount
from tests.faults.steps import Moment, imap_moments, login, smtp_moments
from tests.faults.submissions import USUAL, Draft


def full_disk() -> Iterator[Break]:
    """The disk fills at each step, and before the first; there is no break where no disk can be mounted."""
    for submission in USUAL if can_mount() else ():
        for moment in (login(submission), *smtp_moments(submission), *imap_moments(submission)):
            yield _full(moment)


def _full(moment: Moment) -> Break:
    """Fill it then. That the SMTP server took the message is known, though there is no room to write it down."""

    def attempt(house: House, draft: Draft) -> str | None:
        house.empty_write_ahead_log()
        with ExitStack() as stack:
            client = stack.enter_context(house.client())
            stack.callback(house.disk.clear)
            moment.arm(house, house.disk.fill)
            return told(client, draft)

    broken = break_of(moment.submission, f"at {moment.name}", attempt)
    style = replace(broken.style, is_on_small_disk=True)
    return replace(broken, style=style, is_sent=moment.is_in_doubt or moment.is_settled)
