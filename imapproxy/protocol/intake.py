"""What the client's octets are, and what becomes of them: passed on, answered with a refusal, or taken as a draft.

After a synchronizing literal, AUTHENTICATE or IDLE *the server* decides whether the client's next octets are data (it
says ``+``) or a new command (it says the tagged response). Octets that come before it has decided are held, as are
those behind a SUBMIT until all that came before it is complete.

A disagreement with the server about what is a command would let a client pass a foreign name off as its own: it could
hide a command whose OK then seems to answer a LOGIN. So nothing is passed on that servers may frame in different ways:
every line must be a clean one; and before login a literal stands only where it is LOGIN's, or where the server has to
ask for it first.
"""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from imapproxy.errors import ClientError, LimitExceeded, SubmissionRefused
from imapproxy.protocol import response
from imapproxy.protocol.action import DraftOctets, DropDraft, LoggedIn, LoginRefused, Submit, ToUpstream
from imapproxy.protocol.capability import Offer
from imapproxy.protocol.command import Command, is_clean, is_sole_literal, parse_command, plain_command, tag_of
from imapproxy.protocol.framing import CommandFramer, Literal, Octets, literal_at_end
from imapproxy.protocol.login import Credentials, LoginExchange
from imapproxy.protocol.output import MAX_UNSAID, Output

# Before login a line holds at most a SASL response: OAuth tokens with all their claims reach 8 KiB or so in base64.
MAX_LINE_BEFORE_LOGIN = 16 * 1024
# After it, a long UID set: Dovecot takes lines of 64 KiB unless told otherwise, Cyrus words of 128 KiB.
MAX_LINE = 256 * 1024
# A user name or a password as a literal.
MAX_LOGIN_LITERAL = 4 * 1024
# Commands without their tagged response: past this the client is not read until some are complete.
MAX_OUTSTANDING = 1000
# A literal of a refused command that comes unasked is read and dropped, up to this over what a draft may have; past
# it the session ends.
DROP_BEYOND_DRAFT = 16 * 1024 * 1024


class Wait(Enum):
    """What must happen before the client's next octets are looked at."""

    GREETING = "the server's greeting"
    DECISION = "the server's continuation, or a tagged response instead"
    BARRIER = "the tagged responses of all outstanding commands, and the end of the response under way"
    OUTCOME = "the outcome of a submission"
    END = "nothing that could come"


class Outstanding:
    """A command passed on whose tagged response has not come. Compared by identity: tags may recur."""

    __slots__ = ("login", "name", "tag")

    def __init__(self, tag: bytes, name: bytes, login: LoginExchange | None) -> None:
        self.tag = tag
        self.name = name
        self.login = login


class Submission(NamedTuple):
    """A SUBMIT that waits for its turn, comes in, or is under way."""

    command: Command
    literal: Literal | None


class Refusal:
    """An answer that waits until the octets that the client sends unasked have been dropped."""

    __slots__ = ("answer", "budget")

    def __init__(self, answer: bytes, budget: int) -> None:
        self.answer = answer
        self.budget = budget  # octets


class Intake:
    """The client's side of a dialogue: a state machine whose state is the function that takes the next octets."""

    __slots__ = (
        "_asking",
        "_commands",
        "_current",
        "_max_draft",
        "_offer",
        "_output",
        "_outstanding",
        "_refusal",
        "_remaining",
        "_step",
        "_submission",
        "_wait",
        "authenticated",
        "credentials",
    )

    def __init__(self, max_draft: int, offer: Offer, output: Output) -> None:
        """``max_draft`` is in octets."""
        self.authenticated = False
        self.credentials: Credentials | None = None
        self._max_draft = max_draft
        self._offer = offer
        self._output = output
        self._commands = CommandFramer(MAX_LINE_BEFORE_LOGIN)
        self._wait: Wait | None = Wait.GREETING
        self._step: Callable[[Intake], bool] = Intake._take_command
        self._outstanding: list[Outstanding] = []
        self._current: Outstanding | None = None  # whose rest is being taken
        self._asking: Outstanding | None = None  # for which the server decides what comes next
        self._remaining = 0  # octets of the literal being taken
        self._refusal: Refusal | None = None
        self._submission: Submission | None = None

    @property
    def wants_octets(self) -> bool:
        """Whether more of the client can be taken without piling up."""
        return not self._commands.holds_octets or self._is_taking()

    @property
    def is_behind(self) -> bool:
        """Whether something that the client has sent, which may be a whole SUBMIT, still waits for the server."""
        return self._wait is Wait.BARRIER or (self._commands.holds_octets and not self._is_taking())

    def receive(self, octets: Octets, end: int) -> None:
        """Take ``octets[:end]`` from the client."""
        self._commands.receive(octets, end)
        self._advance()

    def resume(self) -> None:
        """Go on with what was held, after something has come from the server."""
        if self._wait is Wait.BARRIER:
            self._lift_barrier()
        if self._submission or self._commands.holds_octets:
            self._advance()

    def end(self) -> None:
        """Take nothing any more."""
        self._wait = Wait.END

    def _is_taking(self) -> bool:
        return self._wait is None and len(self._outstanding) < MAX_OUTSTANDING and len(self._output.unsaid) < MAX_UNSAID

    def _advance(self) -> None:
        while self._is_taking() and self._step(self):
            pass
        self._commands.settle()

    # What the server has said -------------------------------------------------------------------------------------

    def greeted(self, preauthenticated: bool) -> None:
        """Begin: the server has greeted. PREAUTH names no user (RFC 9051 7.1.4)."""
        self._wait = None
        if preauthenticated:
            self._become_authenticated(None)

    def continued(self) -> None:
        """Take the server's ``+`` for what it was asked."""
        if self._wait is not Wait.DECISION:
            return
        self._wait = None
        if self._step is Intake._pass_literal:
            # It asked for these octets: an early tagged response no longer changes what they are.
            self._asking = None

    def completed(self, tag: bytes, ok: bool) -> None:
        """Take a tagged response: the oldest command with its tag is complete (RFC 9051 2.2.1)."""
        for index, outstanding in enumerate(self._outstanding):
            if outstanding.tag == tag:
                del self._outstanding[index]
                self._complete(outstanding, ok)
                return

    def _complete(self, command: Outstanding, ok: bool) -> None:
        if command is self._asking:
            self._expect_command()
        if command.login is not None:
            self._finish_login(command.login, ok)
        elif command.name == b"UNAUTHENTICATE" and ok:
            self._forget_user()

    def _finish_login(self, login: LoginExchange, ok: bool) -> None:
        if self.authenticated:  # a second login changes nothing about who the user is
            return
        credentials = login.credentials()
        if not ok:
            self._output.actions.append(LoginRefused(credentials))
            return
        self._become_authenticated(credentials)
        self._output.actions.append(LoggedIn(credentials))

    def _become_authenticated(self, credentials: Credentials | None) -> None:
        self.authenticated = True
        self.credentials = credentials
        self._commands.max_line = MAX_LINE

    def _forget_user(self) -> None:
        self.authenticated = False
        self.credentials = None
        self._commands.max_line = MAX_LINE_BEFORE_LOGIN
        self._offer.forget()

    # Commands that are passed on ------------------------------------------------------------------------------------

    def _take_command(self) -> bool:
        plain = self._commands.line_like(_PLAIN_COMMAND)
        if plain is not None:
            self._outstanding.append(Outstanding(plain[1], plain[2], None))
            self._output.actions.append(ToUpstream(plain[0]))
            return self._commands.holds_octets
        line = self._commands.line()
        if line is None:
            return False
        command = parse_command(line)
        literal = literal_at_end(line)
        if command is None:
            self._refuse(response.bad(tag_of(line), "Not a command: a tag, a space, a name, CRLF at the end"), literal)
            return True
        _TAKERS.get(command.name, Intake._take_other)(self, command, literal, line)
        return self._commands.holds_octets or self._step is not Intake._take_command

    def _take_other(self, command: Command, literal: Literal | None, line: bytes) -> None:
        if literal is None:  # a second login, say
            self._pass_command(command, line)
        elif self.authenticated or (command.name == b"ID" and literal.synchronizing):
            self._current = self._pass_command(command, line)
            self._expect_literal(literal)
        else:
            self._refuse(response.bad(command.tag, "No literal here before login"), literal)

    def _pass_command(self, command: Command, line: bytes, login: LoginExchange | None = None) -> Outstanding:
        outstanding = Outstanding(command.tag, command.name, login)
        self._outstanding.append(outstanding)
        self._output.actions.append(ToUpstream(line))
        return outstanding

    def _expect_command(self) -> None:
        self._asking = self._current = self._wait = None
        self._step = Intake._take_command

    def _expect_literal(self, literal: Literal) -> None:
        self._remaining = literal.size
        self._step = Intake._pass_literal
        if literal.synchronizing:
            self._await_decision()

    def _await_decision(self) -> None:
        self._asking = self._current
        self._wait = Wait.DECISION

    def _pass_literal(self) -> bool:
        octets = self._commands.octets(self._remaining)
        if self._remaining and not octets:
            return False
        self._remaining -= len(octets)
        if octets:
            self._output.actions.append(ToUpstream(octets))
        if login := self._login():
            login.add_literal(octets)
        if not self._remaining:
            self._step = Intake._pass_rest
        return True

    def _pass_rest(self) -> bool:
        line = self._clean_line()
        if line is None:
            return False
        literal = literal_at_end(line)
        if login := self._login():
            try:
                self._follow_login(login, line.removesuffix(b"\r\n"), literal)
            except ClientError as failure:  # the beginning is passed on, and cannot be refused any more
                raise LimitExceeded(str(failure)) from failure
        elif literal is not None and not literal.synchronizing and not self.authenticated:
            raise LimitExceeded("No literal here before login")
        self._output.actions.append(ToUpstream(line))
        if literal is None:
            self._expect_command()
        else:
            self._expect_literal(literal)
        return True

    def _login(self) -> LoginExchange | None:
        return self._current.login if self._current else None

    def _clean_line(self) -> bytes | None:
        line = self._commands.line()
        if line is not None and not is_clean(line):
            raise LimitExceeded("A line must end in CRLF, and hold no other CR, LF or NUL")
        return line

    # Commands that change who the client is, or what its next octets are ----------------------------------------------

    def _take_login(self, command: Command, literal: Literal | None, line: bytes) -> None:
        if self.authenticated:  # the server will refuse it
            self._take_other(command, literal, line)
            return
        login = LoginExchange(None)
        try:
            self._follow_login(login, command.arguments, literal)
        except ClientError as failure:
            self._refuse(response.bad(command.tag, str(failure)), literal)
            return
        self._current = self._pass_command(command, line, login)
        if literal is None:
            self._expect_command()
        else:
            self._expect_literal(literal)

    def _follow_login(self, login: LoginExchange, text: bytes, literal: Literal | None) -> None:
        arguments = login.add_text(text)
        if literal is None:
            if arguments != 2:
                raise ClientError("LOGIN takes a user name and a password")
            return
        if literal.size > MAX_LOGIN_LITERAL:
            raise ClientError("User name or password too long")
        if not literal.synchronizing and not self._offer.takes_unasked(literal.size):
            raise ClientError("The server has not announced that it takes non-synchronizing literals")
        login.begin_literal()

    def _take_authenticate(self, command: Command, literal: Literal | None, line: bytes) -> None:
        mechanism, has_initial, initial = command.arguments.partition(b" ")
        mechanism = mechanism.upper()
        if literal is not None:
            self._refuse(response.bad(command.tag, "AUTHENTICATE takes no literal"), literal)
            return
        if not self._offer.has_mechanism(mechanism):
            self._output.say(response.no(command.tag, "[CANNOT] This mechanism was not offered"))
            return
        login = LoginExchange(mechanism)
        if has_initial:
            login.add_response(initial)
        self._current = self._pass_command(command, line, login)
        self._step = Intake._pass_response
        self._await_decision()

    def _pass_response(self) -> bool:
        line = self._clean_line()
        if line is None:
            return False
        login = self._login()
        assert login is not None
        login.add_response(line.removesuffix(b"\r\n"))
        self._output.actions.append(ToUpstream(line))
        self._await_decision()
        return True

    def _take_idle(self, command: Command, literal: Literal | None, line: bytes) -> None:
        if literal is not None:
            self._refuse(response.bad(command.tag, "IDLE takes no arguments"), literal)
            return
        self._current = self._pass_command(command, line)
        self._step = Intake._pass_done
        self._await_decision()

    def _pass_done(self) -> bool:
        # Whatever line it is, it ends the server's IDLE (RFC 2177): DONE with an OK, anything else with a BAD.
        line = self._clean_line()
        if line is None:
            return False
        self._output.actions.append(ToUpstream(line))
        self._expect_command()
        return True

    def _take_unsupported(self, command: Command, literal: Literal | None, _line: bytes) -> None:
        # STARTTLS and COMPRESS would make the stream opaque (RFC 9051 6.2.1, RFC 4978).
        self._refuse(response.bad(command.tag, "This command was not offered"), literal)

    def _take_unauthenticate(self, command: Command, literal: Literal | None, line: bytes) -> None:
        # Only a server that announced it may be believed when it seems to say OK to it (RFC 8437).
        if literal is None and self._offer.has_unauthenticate():
            self._pass_command(command, line)
        else:
            self._take_unsupported(command, literal, line)

    # Refusing: the framing is kept, and the answer comes when the client's octets have all come ----------------------

    def _refuse(self, answer: bytes, literal: Literal | None) -> None:
        self._drop(Refusal(answer, self._max_draft + DROP_BEYOND_DRAFT), literal)

    def _drop(self, refusal: Refusal, literal: Literal | None) -> None:
        if literal is None or literal.synchronizing:
            self._refusal = None
            self._step = Intake._take_command
            self._output.say(refusal.answer)
            return
        refusal.budget -= literal.size
        if refusal.budget < 0:
            raise LimitExceeded("Literal too large")
        self._refusal = refusal
        self._remaining = literal.size
        self._step = Intake._drop_literal

    def _drop_literal(self) -> bool:
        octets = self._commands.octets(self._remaining)
        self._remaining -= len(octets)
        if self._remaining:
            return bool(octets)
        self._step = Intake._drop_rest
        return True

    def _drop_rest(self) -> bool:
        line = self._commands.line()
        if line is None:
            return False
        assert self._refusal is not None
        self._drop(self._refusal, literal_at_end(line))
        return True

    # SUBMIT -----------------------------------------------------------------------------------------------------------

    def answer(self, answer: bytes) -> None:
        """Answer the submission under way, and go on with what the client sent behind it."""
        self._submission = None
        self._expect_command()
        self._output.say(answer)
        self._advance()

    def submission_tag(self) -> bytes:
        """Return the tag of the submission under way."""
        assert self._submission is not None
        return self._submission.command.tag

    def _take_submit(self, command: Command, literal: Literal | None, _line: bytes) -> None:
        self._submission = Submission(command, literal)
        self._step = Intake._begin_draft
        self._lift_barrier()

    def _lift_barrier(self) -> None:
        # Neither "+" nor the answer may stand inside a response of the server's.
        is_clear = not self._outstanding and self._output.at_boundary
        self._wait = None if is_clear else Wait.BARRIER

    def _begin_draft(self) -> bool:
        assert self._submission is not None
        command, literal = self._submission
        try:
            self._accept_draft(command, literal)
        except (ClientError, SubmissionRefused) as failure:
            self._submission = None
            self._refuse(response.not_submitted(command.tag, failure), literal)
        return True

    def _accept_draft(self, command: Command, literal: Literal | None) -> None:
        if not self.authenticated:
            raise ClientError("Log in first")
        if literal is None or not is_sole_literal(command.arguments):
            raise ClientError("SUBMIT takes one argument: the message as a literal")
        if self.credentials is None:
            raise SubmissionRefused("5.7.8 cannot tell who you are; log in with a password or a bearer token")
        if literal.size > self._max_draft:
            raise SubmissionRefused("5.3.4 message too large")
        if literal.synchronizing:
            self._output.say(response.CONTINUE_DRAFT)
        self._remaining = literal.size
        self._step = Intake._take_draft

    def _take_draft(self) -> bool:
        octets = self._commands.octets(self._remaining)
        self._remaining -= len(octets)
        if octets:
            self._output.actions.append(DraftOctets(octets))
        if self._remaining:
            return bool(octets)
        self._step = Intake._take_end_of_submit
        return True

    def _take_end_of_submit(self) -> bool:
        line = self._commands.line()
        if line is None:
            return False
        if line == b"\r\n":
            self._step = Intake._hand_over
            self._lift_barrier()
            return True
        answer = response.bad(self.submission_tag(), "SUBMIT takes one argument, and CRLF behind it")
        self._submission = None
        self._output.actions.append(DropDraft())
        self._refuse(answer, literal_at_end(line))
        return True

    def _hand_over(self) -> bool:
        assert self.credentials is not None
        self._wait = Wait.OUTCOME
        self._output.actions.append(Submit(self.credentials))
        return True


_Taker = Callable[[Intake, Command, Literal | None, bytes], None]
_TAKERS: dict[bytes, _Taker] = {
    b"LOGIN": Intake._take_login,
    b"AUTHENTICATE": Intake._take_authenticate,
    b"IDLE": Intake._take_idle,
    b"SUBMIT": Intake._take_submit,
    b"STARTTLS": Intake._take_unsupported,
    b"COMPRESS": Intake._take_unsupported,
    b"UNAUTHENTICATE": Intake._take_unauthenticate,
}
_PLAIN_COMMAND = plain_command(_TAKERS)
