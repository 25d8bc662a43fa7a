"""The client's octets, each in its turn: when they may be looked at, and which commands the server has not answered.

After a synchronizing literal, AUTHENTICATE or IDLE *the server* decides whether the client's next octets are data (it
says ``+``) or a new command (it says the tagged response). Octets that come before it has decided are held, as are
those behind a command that the proxy carries out itself until all that came before it is complete.

What the octets are and what becomes of them is not known here: the state of an intake is the function that takes the
next of them, a *step*. ``dispatch`` has the first step of every command, the modules it names have the others.
"""

from collections.abc import Callable
from enum import Enum

from imapproxy.errors import LimitExceeded
from imapproxy.protocol.action import LoggedIn, LoggedOut, LoginRefused, ToClient, ToUpstream
from imapproxy.protocol.command import Command, is_clean
from imapproxy.protocol.framing import CommandFramer, Octets
from imapproxy.protocol.login import Credentials, LoginExchange
from imapproxy.protocol.offer import Offer
from imapproxy.protocol.output import MAX_UNSAID, MAX_UNTAKEN, Output
from imapproxy.protocol.terms import Terms

# The longest legal line before login is an ID (RFC 2971 section 3.3): 30 fields of 30 and 1024 octets, 62 KiB if each
# octet is quoted by a backslash. A SASL response is shorter: OAuth tokens with all their claims take some 8 KiB.
MAX_LINE_BEFORE_LOGIN = 64 * 1024
# After it, a long UID set: Dovecot takes lines of 64 KiB unless told otherwise, Cyrus words of 128 KiB.
MAX_LINE = 256 * 1024
# Commands without their tagged response: past this the client is not read until some are complete.
MAX_OUTSTANDING = 1000
# Lines of a session that are no commands, each of which is answered: what floods us with them gets little back.
MAX_JUNK_LINES = 1000
# Characters of a command's name in what a session is said to be doing.
MAX_DOING = 20


class Wait(Enum):
    """What must happen before the client's next octets are looked at."""

    GREETING = "the server's greeting"
    DECISION = "the server's continuation, or a tagged response instead"
    LITERAL = "the same, for a literal: once asked for, its octets are its octets"
    OWN_LITERAL = "the same, for a literal that the proxy has had the client send already"
    BARRIER = "the tagged responses of all outstanding commands, and the end of the response under way"
    OUTCOME = "the outcome of a submission"
    SWITCH = "TLS or compression, on the client's hop"
    END = "nothing that could come"


class Outstanding:
    """A command passed on whose tagged response has not come. Compared by identity: tags may recur."""

    __slots__ = ("is_answered", "login", "name", "tag")

    def __init__(self, tag: bytes, name: bytes, login: LoginExchange | None) -> None:
        self.tag = tag
        self.name = name
        self.login = login
        self.is_answered = False  # by data, as far as that is noted


class Intake:
    """The client's side of a dialogue.

    A step returns whether the next may follow at once: False where the octets it needs are not here.
    """

    __slots__ = (
        "_asking",
        "_junk_lines",
        "_take_command",
        "_wait",
        "answer_to_own_id",
        "authenticated",
        "commands",
        "credentials",
        "offer",
        "output",
        "outstanding",
        "own",
        "step",
        "terms",
        "unfinished",
    )

    def __init__(self, terms: Terms, offer: Offer, output: Output, take_command: "Step") -> None:
        """``take_command`` is the step that takes the beginning of a command."""
        self.answer_to_own_id = b""  # the server's, b"" if there is none
        self.authenticated = False
        self.credentials: Credentials | None = None
        self.terms = terms
        self.offer = offer
        self.output = output
        self.commands = CommandFramer(MAX_LINE_BEFORE_LOGIN)
        self.outstanding: list[Outstanding] = []
        self.unfinished: Outstanding | None = None  # passed on, and the client may have more of it to send
        self.own: Command | None = None  # carried out by the proxy itself, or waiting for its turn to be
        self._take_command = take_command
        self._junk_lines = 0
        self.step = take_command
        self._wait: Wait | None = Wait.GREETING
        self._asking: Outstanding | None = None  # for which the server decides what comes next

    @property
    def wants_octets(self) -> bool:
        """Whether more of the client can be taken without piling up, and is the dialogue's to take."""
        return self._is_taking() if self.commands.holds_octets else self._wait is not Wait.SWITCH

    @property
    def is_behind(self) -> bool:
        """Whether something that the client has sent, which may be a whole SUBMIT, still waits for the server."""
        return self._wait is Wait.BARRIER or (self.commands.holds_octets and not self._is_taking())

    @property
    def awaits_server(self) -> bool:
        """Whether the server still has to say something that needs no more octets of the client's.

        That is a greeting, a continuation, a response to a command that has been passed on whole, or the rest of one.
        """
        lacks_octets = self._wait is None and self.unfinished in self.outstanding
        return self._wait is not None or len(self.outstanding) > lacks_octets or not self.output.at_boundary

    @property
    def is_switching(self) -> bool:
        """Whether the client waits for TLS or compression, and would not understand a line."""
        return self._wait is Wait.SWITCH

    @property
    def doing(self) -> str:
        """What the client is about, in a word: the command that it waits for, or what state it is in."""
        if self._wait is Wait.OUTCOME:
            return "submitting"
        # Another thread may ask: what is outstanding now need not be at the next instruction.
        oldest = next(iter(self.outstanding), None)
        if oldest is not None and oldest.login is not None:
            return "login"
        command = oldest or self.own
        if command is not None:
            return command.name[:MAX_DOING].decode("ascii").lower()
        return "idle" if self.authenticated else "login"

    @property
    def awaits_login(self) -> bool:
        """Whether the next command that the server completes is a login."""
        return bool(self.outstanding) and self.outstanding[0].login is not None

    def receive(self, octets: Octets, end: int) -> None:
        """Take ``octets[:end]`` from the client."""
        self.commands.receive(octets, end)
        self._advance()

    def resume(self) -> None:
        """Go on with what was held, after something has come from the server."""
        if self._wait is Wait.BARRIER:
            self._lift_barrier()
        if self.step is not self._take_command or self.commands.holds_octets:
            self._advance()

    def end(self) -> None:
        """Take nothing any more."""
        self._wait = Wait.END

    def _is_taking(self) -> bool:
        return (
            self._wait is None
            and len(self.outstanding) < MAX_OUTSTANDING
            and len(self.output.unsaid) < MAX_UNSAID
            and self.output.untaken < MAX_UNTAKEN
        )

    def _advance(self) -> None:
        while self._is_taking() and self.step(self):
            pass
        self.commands.settle()

    # What the server has said -------------------------------------------------------------------------------------

    def greeted(self, preauthenticated: bool) -> None:
        """Begin: the server has greeted. PREAUTH names no user (RFC 9051 7.1.4)."""
        self._wait = None
        if preauthenticated:
            self._become_authenticated(None)

    def continued(self) -> bool:
        """Take the server's ``+`` for what it was asked; return whether the client is to see it."""
        wait = self._wait
        if wait is Wait.LITERAL or wait is Wait.OWN_LITERAL:
            # It asked for these octets: an early tagged response no longer changes what they are.
            self._asking = None
        elif wait is not Wait.DECISION:
            return True
        self._wait = None
        return wait is not Wait.OWN_LITERAL

    @property
    def may_answer_id(self) -> bool:
        """Whether a client's ID that the server does not answer with data gets what the server answered the proxy's.

        Cyrus answers one ID before login with data, and that is the proxy's own.
        """
        return not self.authenticated and bool(self.answer_to_own_id)

    def note_data(self) -> None:
        """Note that data has come: it answers the oldest command that is outstanding."""
        if self.outstanding:
            self.outstanding[0].is_answered = True

    def completed(self, tag: bytes, ok: bool) -> None:
        """Take a tagged response: the oldest command with its tag is complete (RFC 9051 2.2.1)."""
        for index, outstanding in enumerate(self.outstanding):
            if outstanding.tag == tag:
                del self.outstanding[index]
                self._complete(outstanding, ok)
                return

    def _complete(self, command: Outstanding, ok: bool) -> None:
        if command is self._asking:
            self.expect_command()
        if command.login is not None:
            self._finish_login(command.login, ok)
        elif command.name == b"UNAUTHENTICATE" and ok:
            self._forget_user()
        elif command.name == b"ID" and ok and self.may_answer_id and not command.is_answered:
            self.output.actions.append(ToClient(self.answer_to_own_id))

    def _finish_login(self, login: LoginExchange, ok: bool) -> None:
        if self.authenticated:  # a second AUTHENTICATE changes nothing about who the user is
            return
        credentials = login.credentials()
        if not ok:
            self.output.actions.append(LoginRefused(credentials))
            return
        self._become_authenticated(credentials)
        self.output.actions.append(LoggedIn(credentials))

    def _become_authenticated(self, credentials: Credentials | None) -> None:
        self.authenticated = True
        self.credentials = credentials
        self.commands.max_line = MAX_LINE
        self.offer.authenticated()

    def _forget_user(self) -> None:
        self.authenticated = False
        self.credentials = None
        self.commands.max_line = MAX_LINE_BEFORE_LOGIN
        self.offer.unauthenticated()
        self.output.actions.append(LoggedOut())

    # What steps do --------------------------------------------------------------------------------------------------

    def expect_command(self) -> None:
        """Have the next octets begin a command."""
        self._asking = self._wait = self.own = self.unfinished = None
        self.step = self._take_command

    def pass_command(self, command: Command, line: bytes, login: LoginExchange | None = None) -> Outstanding:
        """Pass on a command's line, whose tagged response is then outstanding."""
        outstanding = Outstanding(command.tag, command.name, login)
        self.outstanding.append(outstanding)
        self.output.actions.append(ToUpstream(line))
        return outstanding

    def expect_octets(self, count: int, take: Callable[[memoryview], None], then: "Step") -> None:
        """Have ``take`` get the next ``count`` octets, piece by piece as they come, and go on with ``then``."""
        remaining = count

        def take_some(intake: Intake) -> bool:
            nonlocal remaining
            octets = intake.commands.octets(remaining)
            remaining -= len(octets)
            if octets:
                take(octets)
            if remaining:
                return bool(octets)
            intake.step = then
            return True

        self.step = take_some

    def await_decision(self, asking: Outstanding, wait: Wait) -> None:
        """Hold what comes next until the server has said ``+``, or has completed this command instead."""
        self._asking = asking
        self._wait = wait

    def await_turn(self, own: Command, step: "Step") -> None:
        """Take ``step`` for this command once no other is outstanding and a line of ours can be said."""
        self.own = own
        self.step = step
        self._lift_barrier()

    def await_outcome(self) -> None:
        """Hold what comes next until the submission has been answered."""
        self._wait = Wait.OUTCOME

    def await_switch(self) -> None:
        """Have no more octets of the client's until its hop is TLS's, or compressed."""
        self._wait = Wait.SWITCH

    def _lift_barrier(self) -> None:
        # Neither "+" nor the answer may stand inside a response of the server's.
        is_clear = not self.outstanding and self.output.at_boundary
        self._wait = None if is_clear else Wait.BARRIER

    def note_junk(self) -> None:
        """Count a line that is no command; LimitExceeded after too many."""
        self._junk_lines += 1
        if self._junk_lines > MAX_JUNK_LINES:
            raise LimitExceeded("Too many lines that are no commands")

    def clean_line(self) -> bytes | None:
        """Take a line whose beginning has been passed on already; None while it is not complete."""
        line = self.commands.line()
        if line is not None and not is_clean(line):
            raise LimitExceeded("A line must end in CRLF, and hold no other CR, LF or NUL")
        return line

    # What the session has done --------------------------------------------------------------------------------------

    def answer(self, answer: bytes) -> None:
        """Answer the submission under way, and go on with what the client sent behind it."""
        self.expect_command()
        self.output.say(answer)
        self._advance()

    def tls_started(self) -> None:
        """Go on in TLS, without what was said before: anybody may have said that (RFC 9051 section 11.2)."""
        assert self._wait is Wait.SWITCH
        self.commands.rest()
        self.offer.tls_started()
        self.expect_command()

    def taken_back(self) -> bytes:
        """Return what was received and is compressed, and go on with what comes inflated."""
        assert self._wait is Wait.SWITCH
        self.expect_command()
        return self.commands.rest()


Step = Callable[[Intake], bool]
