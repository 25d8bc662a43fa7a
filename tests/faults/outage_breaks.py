"""A server is not there: for a moment, at each step of the dialogue with the other one, or when the client comes."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.faults.breaks import Break, break_of, prepared
from tests.faults.house import House
from tests.faults.steps import Moment, imap_moments, smtp_moments
from tests.faults.submissions import ALL, USUAL, Draft


def restarts() -> Iterator[Break]:
    """A server begins anew: the IMAP server at each step of SMTP, the SMTP server at each step of IMAP."""
    for submission in ALL:
        for moment in smtp_moments(submission):
            yield replace(_restart(moment, "IMAP server", House.restart_imap), may_lack_copy=True)
        for moment in imap_moments(submission):
            yield replace(_restart(moment, "SMTP server", House.restart_smtp), is_behind_354=moment.is_behind_354)


def _restart(moment: Moment, server: str, restart: Callable[[House], None]) -> Break:
    def prepare(house: House) -> None:
        moment.arm(house, lambda: restart(house))

    return break_of(moment.submission, f"{server} at {moment.name}", prepared(prepare))


def outages() -> Iterator[Break]:
    """A server is not there at all when the client comes."""
    for submission in USUAL:
        yield break_of(submission, "no IMAP server", _without_imap)
        yield break_of(submission, "no SMTP server", _without_smtp)


def _without_imap(house: House, draft: Draft) -> str | None:
    house.met.set()
    with house.imap_down():
        return house.submit(draft)


def _without_smtp(house: House, draft: Draft) -> str | None:
    house.met.set()
    with house.smtp_down():
        return house.submit(draft)
