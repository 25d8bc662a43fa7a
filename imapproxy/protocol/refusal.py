"""Refusing a command: the framing is kept, and the answer comes when what the client sends unasked has all come.

A literal is never taken for commands because the command that it belongs to was none: what stands in it is dropped.
"""

from imapproxy.errors import LimitExceeded
from imapproxy.protocol.framing import Literal, literal_at_end
from imapproxy.protocol.intake import Intake

# A literal of a refused command that comes unasked is read and dropped, up to this over what a draft may have; past
# it the session ends.
DROP_BEYOND_DRAFT = 16 * 1024 * 1024


def refuse(intake: Intake, answer: bytes, literal: Literal | None) -> None:
    """Answer a command of which nothing was passed on; ``literal`` is what its line announces at its end."""
    _Refusal(answer, intake.terms.max_draft + DROP_BEYOND_DRAFT).drop(intake, literal)


class _Refusal:
    """An answer that waits until the octets that the client sends unasked have been dropped."""

    __slots__ = ("_answer", "_budget")

    def __init__(self, answer: bytes, budget: int) -> None:
        """``budget`` is how many octets may be dropped."""
        self._answer = answer
        self._budget = budget

    def drop(self, intake: Intake, literal: Literal | None) -> None:
        if literal is None or literal.synchronizing:
            intake.expect_command()
            intake.output.say(self._answer)
            return
        self._budget -= literal.size
        if self._budget < 0:
            raise LimitExceeded("Literal too large")
        intake.expect_octets(literal.size, lambda _octets: None, self._drop_rest)

    def _drop_rest(self, intake: Intake) -> bool:
        line = intake.commands.line()
        if line is None:
            return False
        self.drop(intake, literal_at_end(line))
        return True
