"""Commands that are passed on as they are: those with literals, piece by piece, and IDLE.

A disagreement with the server about what is a command would let a client pass a foreign name off as its own: it could
hide a command whose OK then seems to answer a LOGIN. So nothing is passed on that servers may frame in different ways:
every line must be a clean one; and before login a literal stands only where it is LOGIN's, or where the server has to
ask for it first.
"""

from imapproxy.errors import ClientError, LimitExceeded
from imapproxy.protocol import response
from imapproxy.protocol.action import ToUpstream
from imapproxy.protocol.command import Command
from imapproxy.protocol.framing import Literal, literal_at_end
from imapproxy.protocol.intake import Intake, Outstanding, Wait
from imapproxy.protocol.refusal import refuse

NO_LITERAL = "No literal here before login"


def take_other(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take a command that the proxy has nothing to say about."""
    if literal is None:
        intake.pass_command(command, line)
    elif intake.authenticated or (command.name == b"ID" and literal.synchronizing):
        Forwarding(intake.pass_command(command, line)).expect_literal(intake, literal)
    else:
        refuse(intake, response.bad(command.tag, NO_LITERAL), literal)


class Forwarding:
    """A command whose first line has been passed on, and whose literals follow."""

    __slots__ = ("_command",)

    def __init__(self, command: Outstanding) -> None:
        """Where the command has a login, that reads what passes."""
        self._command = command

    def expect_literal(self, intake: Intake, literal: Literal) -> None:
        """Take the literal that the line just passed on announces."""

        def pass_on(octets: memoryview) -> None:
            intake.output.actions.append(ToUpstream(octets))
            if self._command.login:
                self._command.login.add_literal(octets)

        intake.unfinished = self._command
        intake.expect_octets(literal.size, pass_on, self._pass_rest)
        if literal.synchronizing:
            intake.await_decision(self._command, Wait.LITERAL)

    def _pass_rest(self, intake: Intake) -> bool:
        line = intake.clean_line()
        if line is None:
            return False
        literal = literal_at_end(line)
        self._examine(intake, line, literal)
        intake.output.actions.append(ToUpstream(line))
        if literal is None:
            intake.expect_command()
        else:
            self.expect_literal(intake, literal)
        return True

    def _examine(self, intake: Intake, line: bytes, literal: Literal | None) -> None:
        """Raise LimitExceeded where a command goes on as it may not: its beginning cannot be refused any more."""
        if self._command.login:
            try:
                self._command.login.follow(line.removesuffix(b"\r\n"), literal, intake.offer.takes_unasked)
            except ClientError as failure:
                raise LimitExceeded(str(failure)) from failure
        elif literal is not None and not literal.synchronizing and not intake.authenticated:
            raise LimitExceeded(NO_LITERAL)


def take_idle(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take IDLE, which the client ends by a line (RFC 2177)."""
    if literal is not None:
        refuse(intake, response.bad(command.tag, "IDLE takes no arguments"), literal)
        return
    intake.unfinished = intake.pass_command(command, line)
    intake.await_decision(intake.unfinished, Wait.DECISION)
    intake.step = _pass_done


def _pass_done(intake: Intake) -> bool:
    # Whatever line it is, it ends the server's IDLE: DONE with an OK, anything else with a BAD.
    line = intake.clean_line()
    if line is None:
        return False
    intake.output.actions.append(ToUpstream(line))
    intake.expect_command()
    return True
