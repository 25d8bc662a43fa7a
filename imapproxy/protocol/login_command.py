"""LOGIN (RFC 9051 6.2.3), AUTHENTICATE (6.2.2) and UNAUTHENTICATE (RFC 8437): read as they pass, or not passed on.

Where TLS is demanded and is not there yet, neither LOGIN nor AUTHENTICATE reaches the server, whatever they bring with
them: RFC 9051 section 11.3.

One login at a time: another one waits for the outcome of the first, else a client could have many passwords tried by
one write, whatever it is made to wait for a wrong one.
"""

from collections.abc import Callable

from imapproxy.errors import ClientError
from imapproxy.protocol import response
from imapproxy.protocol.action import ToUpstream
from imapproxy.protocol.command import Command
from imapproxy.protocol.forwarding import Forwarding, take_other
from imapproxy.protocol.framing import Literal
from imapproxy.protocol.intake import Intake, Outstanding, Wait
from imapproxy.protocol.login import LoginExchange
from imapproxy.protocol.refusal import refuse


def take_login(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take LOGIN, whose arguments may be literals."""
    if intake.authenticated:  # the server will refuse it
        take_other(intake, command, literal, line)
        return
    if intake.offer.disables_login:
        _demand_privacy(intake, command, literal)
        return
    if _must_wait(intake):
        _take_later(intake, command, lambda: take_login(intake, command, literal, line))
        return
    login = LoginExchange(None)
    try:
        login.follow(command.arguments, literal, intake.offer.takes_unasked)
    except ClientError as failure:
        refuse(intake, response.bad(command.tag, str(failure)), literal)
        return
    outstanding = intake.pass_command(command, line, login)
    if literal is not None:
        Forwarding(outstanding).expect_literal(intake, literal)


def take_authenticate(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take AUTHENTICATE, with an initial response (RFC 4959) or without."""
    if intake.offer.disables_login:
        _demand_privacy(intake, command, literal)
        return
    if _must_wait(intake):
        _take_later(intake, command, lambda: take_authenticate(intake, command, literal, line))
        return
    mechanism, has_initial, initial = command.arguments.partition(b" ")
    mechanism = mechanism.upper()
    if literal is not None:
        refuse(intake, response.bad(command.tag, "AUTHENTICATE takes no literal"), literal)
        return
    if not intake.offer.has_mechanism(mechanism):
        intake.output.say(response.no(command.tag, "[CANNOT] This mechanism was not offered"))
        return
    login = LoginExchange(mechanism)
    if has_initial:
        login.add_response(initial)
    _Exchange(intake.pass_command(command, line, login), login).expect_response(intake)


def _must_wait(intake: Intake) -> bool:
    return not intake.authenticated and any(command.login is not None for command in intake.outstanding)


def _take_later(intake: Intake, command: Command, take: Callable[[], None]) -> None:
    def take_now(intake: Intake) -> bool:
        intake.expect_command()
        take()
        return True

    intake.await_turn(command, take_now)


def _demand_privacy(intake: Intake, command: Command, literal: Literal | None) -> None:
    refuse(intake, response.no(command.tag, "[PRIVACYREQUIRED] Start TLS first"), literal)


class _Exchange:
    """A SASL exchange: the client's responses, one for each ``+`` of the server's."""

    __slots__ = ("_command", "_login")

    def __init__(self, command: Outstanding, login: LoginExchange) -> None:
        self._command = command
        self._login = login

    def expect_response(self, intake: Intake) -> None:
        intake.unfinished = self._command
        intake.step = self._pass_response
        intake.await_decision(self._command, Wait.DECISION)

    def _pass_response(self, intake: Intake) -> bool:
        line = intake.clean_line()
        if line is None:
            return False
        self._login.add_response(line.removesuffix(b"\r\n"))
        intake.output.actions.append(ToUpstream(line))
        self.expect_response(intake)
        return True


def take_unauthenticate(intake: Intake, command: Command, literal: Literal | None, line: bytes) -> None:
    """Take UNAUTHENTICATE: only a server that announced it may be believed when it seems to say OK to it."""
    if literal is None and intake.offer.has_unauthenticate():
        intake.pass_command(command, line)
    else:
        refuse(intake, response.bad(command.tag, response.NOT_OFFERED), literal)
