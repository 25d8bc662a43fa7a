"""What came of a submission that was broken and then tried again: this alone decides what is good. Pure."""

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass

SENT = re.compile(r"OK SUBMIT completed(?P<remark>; no copy in Sent \([ -~]+\))?")
SENT_EARLIER = re.compile(
    r"OK SUBMIT completed \(accepted earlier, at [-0-9]{10} [:0-9]{8} UTC\)(?P<remark>; perhaps no copy in Sent)?"
)
UNCERTAIN = "NO 4.4.2 delivery uncertain; no reply from the mail server,"


class Told(enum.Enum):
    """What a client heard of its submission."""

    SENT = "OK"
    REFUSED = "NO"
    UNCERTAIN = "uncertain"
    NOTHING = "nothing"


class Verdict(enum.Enum):
    """The worst of several is the last one here."""

    ONCE = "once"
    WINDOW = "window"  # twice, where the protocol itself leaves no other choice
    WRONG = "wrong"
    DOUBLED = "doubled"
    LOST = "lost"


GOOD = frozenset({Verdict.ONCE, Verdict.WINDOW})


@dataclass(frozen=True)
class Try:
    """A client's try: the answer, None if the connection broke before, and how many copies had been taken by then."""

    told: str | None
    copies: int

    @property
    def heard(self) -> Told:
        """What the answer means."""
        if self.told is None:
            return Told.NOTHING
        if self.told == UNCERTAIN:
            return Told.UNCERTAIN
        return Told.SENT if _ok(self.told) else Told.REFUSED


@dataclass(frozen=True)
class Story:
    """A submission, and what followed.

    ``tries`` are those while something is broken, in their order; ``told_again`` is the answer to the one after, and
    ``copies`` is how many the SMTP server has taken in the end. ``windows`` are those copies of which the SMTP server's
    word may have been lost, ``doubts`` is how often the log says so. ``is_behind_354``: whether the SMTP server got the
    message whole may be unknown. ``is_sent``: whether the first try alone must have sent it, None where that depends.
    ``filed`` copies are in Sent, where there must be one if ``is_filed``; or, where it ``may_lack_copy`` by what was
    broken, an answer that tells of its lack.
    """

    tries: tuple[Try, ...]
    told_again: str | None
    copies: int
    windows: int = 0
    doubts: int = 0
    is_behind_354: bool = False
    is_sent: bool | None = None
    is_filed: bool = False
    filed: int = 0
    may_lack_copy: bool = False

    def verdict(self) -> Verdict:
        """Say how good that is."""
        if self.copies == 0 or any(one.copies == 0 for one in self._tries_heard(Told.SENT)):
            return Verdict.LOST
        if self.copies > 1 and not self._are_excused():
            return Verdict.DOUBLED
        if any(True for _ in self.complaints()):
            return Verdict.WRONG
        return Verdict.WINDOW if self.copies > 1 else Verdict.ONCE

    def _are_excused(self) -> bool:
        """Return whether the second copy and all further ones could not be avoided, and the log tells of each."""
        more = self.copies - 1
        senders = sum(not SENT_EARLIER.fullmatch(told or "") for told in self._all_told())
        is_repeated_after_ok = any(one.copies < self.copies for one in self._tries_heard(Told.SENT))
        return more <= min(self.windows, self.doubts) and self.copies <= senders and not is_repeated_after_ok

    def _tries_heard(self, heard: Told) -> list[Try]:
        return [one for one in self.tries if one.heard is heard]

    def _all_told(self) -> list[str | None]:
        return [*(one.told for one in self.tries), self.told_again]

    def complaints(self) -> Iterator[str]:
        """Yield what else is not as it must be."""
        yield from self._complaints_about_refusals()
        for one in self._tries_heard(Told.UNCERTAIN):
            if not (self.windows or self.is_behind_354):
                yield f"told {one.told!r}, and it is certain that it was not sent"
        if _ok(self.told_again) is None:
            yield f"told {self.told_again!r} when it was tried again"
        elif self.copies == self.tries[-1].copies and not self._was_sent_before():
            yield f"told {self.told_again!r} when it was tried again: no copy came of that"
        if self.is_sent not in {None, self._was_sent_before()}:
            yield f"told {self.told_again!r} when it was tried again: the first try {_did(not self.is_sent)} it"
        yield from self._complaints_about_sent()

    def _complaints_about_refusals(self) -> Iterator[str]:
        """Yield the refusals of what was sent, up to a try whose message may reach the SMTP server in the next one."""
        before = 0
        for one in self.tries:
            if one.heard in {Told.NOTHING, Told.UNCERTAIN}:
                return
            if one.heard is Told.REFUSED and one.copies > before:
                yield f"told {one.told!r}, and it was sent"
            before = one.copies

    def _complaints_about_sent(self) -> Iterator[str]:
        """Yield what is wrong with the copy in Sent, or with what was said of it."""
        most = self.copies if self.is_filed else 0
        remarks = [match["remark"] for match in map(_ok, self._all_told()) if match]
        if self.is_filed and None in remarks and self.filed == 0:
            yield "no copy in Sent, and nothing said of that"
        if self.filed > most:
            yield f"copies in Sent: {self.filed} instead of at most {most}"
        if any(remarks) and not self.is_filed:
            yield f"told {self._all_told()!r}: no copy in Sent is wanted"
        elif any(remarks) and not self.may_lack_copy:
            yield f"told {self._all_told()!r}: nothing kept the proxy from filing the copy"
        elif None in remarks and any(remarks[remarks.index(None) :]):
            yield f"told {self.told_again!r}, after it was said that there is a copy"

    def _was_sent_before(self) -> bool:
        return SENT_EARLIER.fullmatch(self.told_again or "") is not None


def _ok(answer: str | None) -> re.Match[str] | None:
    """Return what an answer that tells of success says; its ``remark`` is None where it claims a copy in Sent."""
    return SENT.fullmatch(answer or "") or SENT_EARLIER.fullmatch(answer or "")


def _did(is_sent: bool) -> str:
    return "sent" if is_sent else "did not send"
