"""The actions of a dialogue in order, and lines of ours among them: never inside a response of the server's."""

from imapproxy.protocol.action import Action, ToClient
from imapproxy.protocol.framing import ResponseFramer

# Lines of ours that wait for the end of a response; past this the client is not read.
MAX_UNSAID = 100
# Octets of our answers that the client may not have taken; past this no more of its commands are answered. An answer is
# longer than the shortest line that it refuses: without a bound, 256 KiB of such lines would make 5 MB of answers.
MAX_UNTAKEN = 64 * 1024


class Output:
    """What is to be done, and what is to be said as soon as that can be."""

    __slots__ = ("_responses", "actions", "unsaid", "untaken")

    def __init__(self, responses: ResponseFramer) -> None:
        """``responses`` knows whether the server's octets that have been passed on end with a whole response."""
        self.actions: list[Action] = []
        self._responses = responses
        self.unsaid: list[bytes] = []
        self.untaken = 0  # octets of lines of ours since the client last had taken all

    @property
    def at_boundary(self) -> bool:
        """Whether a line of ours can be said now."""
        return self._responses.at_boundary and not self.unsaid

    def say(self, line: bytes) -> None:
        """Say a line of ours, now or at the end of the response under way."""
        self.untaken += len(line)
        if self.at_boundary:
            self.actions.append(ToClient(line))
        else:
            self.unsaid.append(line)

    def say_unsaid(self) -> None:
        """Say what is left unsaid; to be called where one response has ended and no other begun."""
        self.actions.append(ToClient(b"".join(self.unsaid)))
        self.unsaid.clear()

    def take(self) -> list[Action]:
        """Return the actions so far, which are then the caller's to carry out."""
        actions, self.actions = self.actions, []
        return actions
