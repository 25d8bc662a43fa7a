"""One client's dialogue with the IMAP server, as a pure state machine: octets of either side in, actions out.

Everything the client says is passed on but SUBMIT, STARTTLS and COMPRESS, which are answered here; everything the
server says is passed on but capability lists, which are rewritten. The server's side stands here; when the client's
octets are looked at is ``intake``'s affair, and what they are ``dispatch``'s.

Never here: sockets, clocks, logs, the meaning of any other command.
"""

from datetime import datetime

from imapproxy.errors import ClientError, SubmissionRefused, UpstreamError
from imapproxy.protocol import response
from imapproxy.protocol.action import Action, Close, ToClient
from imapproxy.protocol.dispatch import take_command
from imapproxy.protocol.framing import Line, Octets, PassedLine, ResponseFramer
from imapproxy.protocol.intake import Intake
from imapproxy.protocol.offer import Offer
from imapproxy.protocol.output import MAX_UNTAKEN, Output
from imapproxy.protocol.terms import Terms


class Dialogue:
    """The state machine of one session.

    Views among the actions' octets are valid as long as the buffer they came in is unchanged. ``from_client`` and
    ``from_upstream`` raise LimitExceeded or UpstreamError for what ends the session; ``farewell`` then returns what
    was still to be done, with views of the same buffer, and says goodbye where that can still be said.
    """

    __slots__ = ("_greeted", "_intake", "_offer", "_output", "_responses", "upstream_said_bye")

    def __init__(self, terms: Terms, is_secure: bool) -> None:
        """``is_secure``: the client speaks TLS from the first octet on."""
        self._responses = ResponseFramer()
        self._output = Output(self._responses)
        self._offer = Offer(terms, is_secure)
        self._intake = Intake(terms, self._offer, self._output, take_command)
        self._greeted = False
        self.upstream_said_bye = False

    @property
    def is_greeted(self) -> bool:
        """Whether the server has greeted."""
        return self._greeted

    @property
    def authenticated(self) -> bool:
        """Whether the server accepted a login, or greeted with PREAUTH."""
        return self._intake.authenticated

    @property
    def wants_client(self) -> bool:
        """Whether the client is to be read: its octets do not pile up, and are not those of a TLS handshake, say."""
        return self._intake.wants_octets

    @property
    def waits_for_reader(self) -> bool:
        """Whether no more is answered until the client has taken the answers: call ``answers_taken`` then."""
        return self._output.untaken >= MAX_UNTAKEN

    @property
    def is_behind(self) -> bool:
        """Whether something that the client has sent, which may be a whole SUBMIT, still waits for the server."""
        return self._intake.is_behind

    @property
    def awaits_server(self) -> bool:
        """Whether the server still has to say something that needs no more octets of the client's."""
        return self._intake.awaits_server

    @property
    def doing(self) -> str:
        """What the client is about, in one short printable word, for a status; any thread may ask."""
        return self._intake.doing

    def identified(self, answer: bytes) -> None:
        """Take what the server has answered to the proxy's own ID: whole responses, or nothing."""
        self._intake.answer_to_own_id = answer

    def from_client(self, octets: Octets, end: int) -> list[Action]:
        """Take ``octets[:end]`` from the client."""
        self._intake.receive(octets, end)
        return self._output.take()

    def from_upstream(self, octets: Octets, end: int) -> list[Action]:
        """Take ``octets[:end]`` from the IMAP server."""
        if self._intake.answer_to_own_id:  # most sessions have none, and need not ask the rest each time
            # What is said before the tagged response to an ID must be said before its first octet.
            self._responses.holds_status = self._intake.may_answer_id
        for event in self._responses.feed(octets, end):
            if isinstance(event, Line):
                self._read(event.octets)
            elif isinstance(event, PassedLine):
                self._note_status(event.beginning)
            elif self._greeted:
                if self._intake.may_answer_id:
                    self._intake.note_data()
                self._output.actions.append(ToClient(event.octets))
            else:
                raise UpstreamError("the IMAP server does not greet as one")
        if self._output.unsaid and self._responses.at_boundary:
            self._output.say_unsaid()
        self._intake.resume()
        return self._output.take()

    def answers_taken(self) -> list[Action]:
        """Go on with what the client has sent: it has taken all that was said to it."""
        self._output.untaken = 0
        self._intake.resume()
        return self._output.take()

    def submitted(self, remark: str = "") -> list[Action]:
        """Answer the submission under way: all recipients have it; ``remark`` is what did not go well besides."""
        self._intake.answer(response.submitted(self._submission_tag(), remark))
        return self._output.take()

    def submitted_earlier(self, at: datetime, remark: str = "") -> list[Action]:
        """Answer the submission under way: all recipients have had it since ``at`` (UTC); ``remark`` as above."""
        self._intake.answer(response.submitted_earlier(self._submission_tag(), at, remark))
        return self._output.take()

    def not_submitted(self, failure: SubmissionRefused | ClientError) -> list[Action]:
        """Answer the submission under way: nobody has it."""
        self._intake.answer(response.not_submitted(self._submission_tag(), failure))
        return self._output.take()

    def tls_started(self) -> None:
        """Go on after ``StartTls``: what comes from the client now has come through TLS."""
        self._intake.tls_started()

    def taken_back(self) -> bytes:
        """Go on after ``Compress``: return what was read of the client's compressed octets already.

        Those come first into what inflates; ``from_client`` then takes what comes out of it.
        """
        return self._intake.taken_back()

    def farewell(self, text: str) -> list[Action]:
        """Say BYE, unless it could not be understood any more or the server has said it, and end."""
        can_speak = self._output.at_boundary and not self._intake.is_switching and not self.upstream_said_bye
        self._intake.end()
        if can_speak:
            self._output.say(response.bye(text))
        self._output.actions.append(Close())
        return self._output.take()

    def _submission_tag(self) -> bytes:
        assert self._intake.own is not None
        return self._intake.own.tag

    def _read(self, line: bytes) -> None:
        output = self._output
        if output.unsaid:
            output.say_unsaid()
        if not self._greeted:
            self._read_greeting(line)
        if line.startswith(b"+"):
            if self._intake.continued():
                output.actions.append(ToClient(line))
            return
        is_login_response = line.startswith(b"*") and self._intake.awaits_login and not self._intake.authenticated
        self._note_status(line)
        # A capability list stands in a response code, or in an untagged CAPABILITY.
        if b"[" in line or line[2:3] in b"Cc":
            line = self._offer.rewrite_during_login(line) if is_login_response else self._offer.rewrite(line)
        output.actions.append(ToClient(line))

    def _note_status(self, line: bytes) -> None:
        """Note what a status response means for the session; its beginning is enough."""
        if line.startswith(b"*"):
            if line[2:5].upper() == b"BYE":
                self.upstream_said_bye = True
            return
        # response-tagged = tag SP resp-cond-state CRLF. A list in it holds for the state that it leads to.
        tag, _, status = line.partition(b" ")
        self._intake.completed(tag, status[:2].upper() == b"OK")

    def _read_greeting(self, line: bytes) -> None:
        # greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF (RFC 9051 section 9)
        status = line[2:].upper()
        if not line.startswith(b"* ") or not status.startswith((b"OK ", b"PREAUTH ", b"BYE ")):
            raise UpstreamError("the IMAP server does not greet as one")
        is_preauthenticated = status.startswith(b"PREAUTH ")
        if is_preauthenticated and self._offer.disables_login:
            raise UpstreamError("the IMAP server greets with PREAUTH, and this client speaks no TLS")
        self._greeted = True
        self._intake.greeted(is_preauthenticated)
