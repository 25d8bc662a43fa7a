"""SUBMIT (draft-royer-lemonade-submit-00, section 3): taken in, and handed over when it is whole.

It starts when every command sent before it is complete, and what is sent behind it waits for its outcome. Nothing of it
reaches the server.
"""

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.protocol import response
from imapproxy.protocol.action import DraftOctets, DropDraft, Submit
from imapproxy.protocol.command import Command, is_sole_literal
from imapproxy.protocol.framing import Literal, literal_at_end
from imapproxy.protocol.intake import Intake
from imapproxy.protocol.login import Credentials
from imapproxy.protocol.refusal import refuse


def take_submit(intake: Intake, command: Command, literal: Literal | None, _line: bytes) -> None:
    """Take SUBMIT, which waits for its turn."""

    def begin(intake: Intake) -> bool:
        try:
            _accept(intake, command, literal)
        except (ClientError, SubmissionRefused) as failure:
            refuse(intake, response.not_submitted(command.tag, failure), literal)
        return True

    intake.await_turn(command, begin)


def _accept(intake: Intake, command: Command, literal: Literal | None) -> None:
    """Have the draft come in, or raise what the command is refused with."""
    if not intake.authenticated:
        raise ClientError("Log in first")
    if literal is None or not is_sole_literal(command.arguments):
        raise ClientError("SUBMIT takes one argument: the message as a literal")
    if intake.credentials is None:
        raise SubmissionRefused("5.7.8 cannot tell who you are; log in with a password or a bearer token")
    if literal.size > intake.terms.max_draft:
        raise SubmissionRefused("5.3.4 message too large")
    if literal.synchronizing:
        intake.output.say(response.CONTINUE_DRAFT)
    draft = _Draft(command, intake.credentials)
    intake.expect_octets(literal.size, lambda octets: intake.output.actions.append(DraftOctets(octets)), draft.take_end)


class _Draft:
    """A draft that has come in, but for its command's end."""

    __slots__ = ("_command", "_user")

    def __init__(self, command: Command, user: Credentials) -> None:
        self._command = command
        self._user = user

    def take_end(self, intake: Intake) -> bool:
        line = intake.commands.line()
        if line is None:
            return False
        if line == b"\r\n":
            intake.await_turn(self._command, self._hand_over)
            return True
        intake.output.actions.append(DropDraft())
        answer = response.bad(self._command.tag, "SUBMIT takes one argument, and CRLF behind it")
        refuse(intake, answer, literal_at_end(line))
        return True

    def _hand_over(self, intake: Intake) -> bool:
        intake.await_outcome()
        intake.output.actions.append(Submit(self._user))
        return True
