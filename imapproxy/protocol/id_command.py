"""ID (RFC 2971), where the server believes of the proxy whose connection it forwards: taken whole, passed on filtered.

The names of the fields may be literals, so nothing of the command can be passed on before all of it is here: the proxy
asks for synchronizing literals itself, and does not show the client that the server asks for them again.
"""

from imapproxy.protocol import response
from imapproxy.protocol.action import ToUpstream
from imapproxy.protocol.command import Command, is_clean
from imapproxy.protocol.forwarding import NO_LITERAL, take_other
from imapproxy.protocol.framing import Literal, literal_at_end
from imapproxy.protocol.identification import without_forwarding
from imapproxy.protocol.intake import MAX_LINE_BEFORE_LOGIN, Intake, Outstanding, Wait
from imapproxy.protocol.refusal import refuse

# Octets of an ID, its literals included: it may be as long in several lines as in one.
MAX_ID = MAX_LINE_BEFORE_LOGIN


def take_id(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take ID, whose strings may be literals."""
    if intake.terms.hides_forwarding_ids:
        _Identification(command, line).add_line(intake, command.arguments + b"\r\n", literal)
    else:
        take_other(intake, command, literal, line)


class _Identification:
    """An ID that comes in."""

    __slots__ = ("_arguments", "_command", "_line")

    def __init__(self, command: Command, line: bytes) -> None:
        self._command = command
        self._line = line
        self._arguments = bytearray()

    def add_line(self, intake: Intake, line: bytes, literal: Literal | None) -> None:
        self._arguments += line
        refusal = self._refusal(intake, line, literal)
        if refusal:
            refuse(intake, response.bad(self._command.tag, refusal), literal)
        elif literal is None:
            self._pass(intake)
        else:
            if literal.synchronizing:
                intake.output.say(response.CONTINUE)
            intake.expect_octets(literal.size, self._add_literal, self._take_rest)

    def _refusal(self, intake: Intake, line: bytes, literal: Literal | None) -> str:
        if not is_clean(line):
            return "A line must end in CRLF, and hold no other CR, LF or NUL"
        if len(self._arguments) + (literal.size if literal else 0) > MAX_ID:
            return "ID too long"
        if literal is not None and not literal.synchronizing and not intake.authenticated:
            return NO_LITERAL
        return ""

    def _add_literal(self, octets: memoryview) -> None:
        self._arguments += octets

    def _take_rest(self, intake: Intake) -> bool:
        line = intake.commands.line()
        if line is None:
            return False
        self.add_line(intake, line, literal_at_end(line))
        return True

    def _pass(self, intake: Intake) -> None:
        pieces = without_forwarding(bytes(self._arguments))
        if pieces is None:
            answer = response.bad(self._command.tag, "ID takes names and values in parentheses, or NIL")
            refuse(intake, answer, None)
            return
        beginning = self._line[: len(self._line) - len(self._command.arguments) - len(b"\r\n")]
        _Replay(intake.pass_command(self._command, beginning + pieces[0]), pieces[1:]).go_on(intake)


class _Replay:
    """The rest of an ID, for whose literals the server asks one after the other."""

    __slots__ = ("_command", "_pieces")

    def __init__(self, command: Outstanding, pieces: list[bytes]) -> None:
        self._command = command
        self._pieces = pieces

    def go_on(self, intake: Intake) -> None:
        if self._pieces:
            intake.step = self._pass_piece
            intake.await_decision(self._command, Wait.OWN_LITERAL)
        else:
            intake.expect_command()

    def _pass_piece(self, intake: Intake) -> bool:
        intake.output.actions.append(ToUpstream(self._pieces.pop(0)))
        self.go_on(intake)
        return True
