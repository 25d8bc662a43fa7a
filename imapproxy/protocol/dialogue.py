"""One client's dialogue with the IMAP server, as a pure state machine: octets of either side in, actions out.

Everything the client says is passed on but SUBMIT, which is answered here (draft-royer-lemonade-submit-00); everything
the server says is passed on but capability lists, which are rewritten. The server's side stands here; what the
client's octets are is ``intake``'s affair.

Never here: sockets, clocks, logs, the meaning of any other command.
"""

from imapproxy.errors import ClientError, SubmissionRefused, UpstreamError
from imapproxy.protocol import response
from imapproxy.protocol.action import Action, Close, ToClient
from imapproxy.protocol.capability import CAN_SUBMIT, Offer, Policy
from imapproxy.protocol.framing import Line, Octets, ResponseFramer
from imapproxy.protocol.intake import Intake
from imapproxy.protocol.output import Output


class Dialogue:
    """The state machine of one session.

    Views among the actions' octets are valid as long as the buffer they came in is unchanged. ``from_client`` and
    ``from_upstream`` raise LimitExceeded or UpstreamError for what ends the session; ``farewell`` then says goodbye
    where that can still be said.
    """

    __slots__ = ("_greeted", "_intake", "_offer", "_output", "_responses", "upstream_said_bye")

    def __init__(self, max_draft: int, may_offer: Policy, announced: tuple[bytes, ...] = (CAN_SUBMIT,)) -> None:
        """``max_draft`` is in octets; ``may_offer`` says which SASL mechanisms a client may use.

        ``announced`` are the capabilities of the proxy's own.
        """
        self._responses = ResponseFramer()
        self._output = Output(self._responses)
        self._offer = Offer(may_offer, announced)
        self._intake = Intake(max_draft, self._offer, self._output)
        self._greeted = False
        self.upstream_said_bye = False

    @property
    def authenticated(self) -> bool:
        """Whether the server accepted a login, or greeted with PREAUTH."""
        return self._intake.authenticated

    @property
    def wants_client(self) -> bool:
        """Whether more octets of the client's can be taken without piling up."""
        return self._intake.wants_octets

    @property
    def is_behind(self) -> bool:
        """Whether something that the client has sent, which may be a whole SUBMIT, still waits for the server."""
        return self._intake.is_behind

    def from_client(self, octets: Octets, end: int) -> list[Action]:
        """Take ``octets[:end]`` from the client."""
        self._intake.receive(octets, end)
        return self._output.take()

    def from_upstream(self, octets: Octets, end: int) -> list[Action]:
        """Take ``octets[:end]`` from the IMAP server."""
        for event in self._responses.feed(octets, end):
            if isinstance(event, Line):
                self._read(event.octets)
            elif self._greeted:
                self._output.actions.append(ToClient(event.octets))
            else:
                raise UpstreamError("the IMAP server does not greet as one")
        if self._output.unsaid and self._responses.at_boundary:
            self._output.say_unsaid()
        self._intake.resume()
        return self._output.take()

    def submitted(self, remark: str = "") -> list[Action]:
        """Answer the submission under way: all recipients have it; ``remark`` is what did not go well besides."""
        self._intake.answer(response.submitted(self._intake.submission_tag(), remark))
        return self._output.take()

    def not_submitted(self, failure: SubmissionRefused | ClientError) -> list[Action]:
        """Answer the submission under way: nobody has it."""
        self._intake.answer(response.not_submitted(self._intake.submission_tag(), failure))
        return self._output.take()

    def farewell(self, text: str) -> list[Action]:
        """Say BYE, unless a response is under way or the server has said it, and end."""
        self._intake.end()
        if self._output.at_boundary and not self.upstream_said_bye:
            self._output.say(response.bye(text))
        self._output.actions.append(Close())
        return self._output.take()

    def _read(self, line: bytes) -> None:
        if self._output.unsaid:
            self._output.say_unsaid()
        if b"[" in line or line.startswith(b"* "):
            line = self._offer.rewrite(line)
        if not self._greeted:
            self._read_greeting(line)
        self._output.actions.append(ToClient(line))
        if line.startswith(b"+"):
            self._intake.continued()
        elif not line.startswith(b"*"):
            # response-tagged = tag SP resp-cond-state CRLF
            tag, _, status = line.partition(b" ")
            self._intake.completed(tag, status[:2].upper() == b"OK")
        elif line[2:5].upper() == b"BYE":
            self.upstream_said_bye = True

    def _read_greeting(self, line: bytes) -> None:
        # greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF (RFC 9051 section 9)
        status = line[2:].upper()
        if not line.startswith(b"* ") or not status.startswith((b"OK ", b"PREAUTH ", b"BYE ")):
            raise UpstreamError("the IMAP server does not greet as one")
        self._greeted = True
        self._intake.greeted(preauthenticated=status.startswith(b"PREAUTH "))
