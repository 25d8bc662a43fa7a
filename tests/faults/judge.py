"""What came of a submission that was broken and then tried again: the one place that says what is good. Pure."""

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
class Story:
    """A submission, and what followed.

    ``told`` and ``told_again`` are the answers to the first try and to the one after the fault; None where the
    connection broke before. ``copies_when_told`` and ``copies`` are how many the SMTP server had taken by then.
    ``is_window``: what the SMTP server said of a message may have been lost. ``is_doubt_logged``: so the log says.
    ``is_behind_354``: whether it got the message whole may be unknown. ``is_sent``: whether the first try alone must
    have sent it, None where that depends. ``filed`` copies are in Sent, where there must be one if ``is_filed``; or,
    where it ``may_lack_copy`` by what was broken, an answer that tells of its lack.
    """

    told: str | None
    copies_when_told: int
    told_again: str | None
    copies: int
    is_window: bool = False
    is_doubt_logged: bool = False
    is_behind_354: bool = False
    is_sent: bool | None = None
    is_filed: bool = False
    filed: int = 0
    may_lack_copy: bool = False

    @property
    def heard(self) -> Told:
        """What the answer to the first try means."""
        if self.told is None:
            return Told.NOTHING
        if self.told == UNCERTAIN:
            return Told.UNCERTAIN
        return Told.SENT if SENT.fullmatch(self.told) else Told.REFUSED

    def verdict(self) -> Verdict:
        """Say how good that is."""
        if self.copies == 0 or (self.heard is Told.SENT and self.copies_when_told == 0):
            return Verdict.LOST
        if self.copies > 1 and not self._is_excused():
            return Verdict.DOUBLED
        if any(True for _ in self.complaints()):
            return Verdict.WRONG
        return Verdict.WINDOW if self.copies > 1 else Verdict.ONCE

    def _is_excused(self) -> bool:
        """Whether the second copy is one that nobody could have avoided, and that the log tells of."""
        return self.copies == 2 and self.is_window and self.is_doubt_logged and self.heard is not Told.SENT

    def complaints(self) -> Iterator[str]:
        """Yield what else is not as it must be."""
        if self.heard is Told.REFUSED and self.copies_when_told:
            yield f"told {self.told!r}, and it was sent"
        if self.heard is Told.UNCERTAIN and not (self.is_window or self.is_behind_354):
            yield f"told {self.told!r}, and it is certain that it was not sent"
        if _ok(self.told_again) is None:
            yield f"told {self.told_again!r} when it was tried again"
        if self.is_sent not in {None, self._was_sent_before()}:
            yield f"told {self.told_again!r} when it was tried again: the first try {_did(not self.is_sent)} it"
        yield from self._complaints_about_sent()

    def _complaints_about_sent(self) -> Iterator[str]:
        """Yield what is wrong with the copy in Sent, or with what was said of it."""
        most = self.copies if self.is_filed else 0
        remarks = [match["remark"] for match in map(_ok, (self.told, self.told_again)) if match]
        if self.is_filed and None in remarks and self.filed == 0:
            yield "no copy in Sent, and nothing said of that"
        if self.filed > most:
            yield f"copies in Sent: {self.filed} instead of at most {most}"
        if any(remarks) and not self.is_filed:
            yield f"told {self.told!r}, then {self.told_again!r}: nobody wants a copy in Sent"
        elif any(remarks) and not self.may_lack_copy:
            yield f"told {self.told!r}, then {self.told_again!r}: nothing kept the proxy from filing the copy"
        elif len(remarks) == 2 and remarks[0] is None and remarks[1]:
            yield f"told {self.told_again!r}, after it was said that there is a copy"

    def _was_sent_before(self) -> bool:
        return SENT_EARLIER.fullmatch(self.told_again or "") is not None


def _ok(answer: str | None) -> re.Match[str] | None:
    """Return what an answer that tells of success says; its ``remark`` is None where it claims a copy in Sent."""
    return SENT.fullmatch(answer or "") or SENT_EARLIER.fullmatch(answer or "")


def _did(is_sent: bool) -> str:
    return "sent" if is_sent else "did not send"
