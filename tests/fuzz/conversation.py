"""A dialogue between a client and a server that may say anything, watched from both ends by slow readers.

What holds whatever they say: the server is sent nothing that it could misread, or that is not its own; who is logged in
is the one whom the server logged in; the client is told what the server said.
"""

import re
from collections.abc import Callable

from imapproxy.errors import LimitExceeded, SubmissionRefused, UpstreamError
from imapproxy.protocol.action import (
    Action,
    Close,
    Compress,
    DraftOctets,
    DropDraft,
    LoggedIn,
    LoggedOut,
    LoginRefused,
    StartTls,
    Submit,
    ToClient,
    ToUpstream,
)
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.login import ENCODING_ERRORS, Credentials
from imapproxy.protocol.terms import Terms
from tests.fuzz.reference.client import check_told
from tests.fuzz.reference.stream import responses
from tests.fuzz.reference.upstream import Upstream


class Conversation:
    """A dialogue, its peers as they see it, and all that was said."""

    def __init__(self, terms: Terms, is_secure: bool) -> None:
        self.upstream = Upstream()
        self.is_over = False
        self.drafts: list[bytes] = []
        self.told = bytearray()  # to the client
        self._dialogue = Dialogue(terms, is_secure)
        self._hides_ids = terms.hides_forwarding_ids
        self._by_client = bytearray()
        self._unheard = b""  # of the server's, what is no whole response yet
        self._has_greeted = False
        self._to_be_told: list[bytes] = []
        self._draft = bytearray()
        self.is_submitting = False

    def client(self, octets: bytes) -> None:
        """Have the client say this."""
        if octets and not self.is_over:
            self._by_client += octets
            self._do(lambda: self._dialogue.from_client(octets, len(octets)))

    def server(self, octets: bytes) -> None:
        """Have the server say this, in a buffer that is used again."""
        if octets and not self.is_over:
            self._hear_server(octets)
            buffer = bytearray(octets)
            self._do(lambda: self._dialogue.from_upstream(buffer, len(buffer)))
            buffer[:] = b"#" * len(buffer)

    def submission_ends(self, outcome: SubmissionRefused | None) -> None:
        """Have the submission under way, if there is one, end like this."""
        if self.is_submitting and not self.is_over:
            self.is_submitting = False
            dialogue = self._dialogue
            self._do(lambda: dialogue.not_submitted(outcome) if outcome else dialogue.submitted())

    def check(self) -> None:
        """Fail where what was said on one side is not what was said on the other."""
        rest = self._unheard
        untold = check_told(bytes(self.told), self._to_be_told, rest)
        # What may be a literal's mark is held, and so is a line that may have to be read.
        assert self.is_over or not untold or (rest and (len(untold) <= 24 or b"\r\n" not in untold)), untold
        position = 0
        for piece in self.upstream.pieces:
            if not (self._hides_ids and piece.upper().split(b" ")[1:2] == [b"ID"]):
                found = self._by_client.find(piece, position)
                assert found >= 0, piece
                position = found + len(piece)

    def _hear_server(self, octets: bytes) -> None:
        """Tell the reader behind the server's back which responses it has said whole, as it means them."""
        whole, self._unheard = responses(self._unheard + octets)
        for response in whole:
            if not (self._hides_ids and response.octets.startswith(b"+") and self.upstream.asks_for_id):
                self._to_be_told.append(response.octets)
            if not self._has_greeted:
                self.upstream.greet(response.octets)
                self._has_greeted = True
            elif response.is_read:
                self.upstream.say(response.octets)

    def _do(self, step: Callable[[], list[Action]]) -> None:
        try:
            actions = step()
        except (LimitExceeded, UpstreamError) as failure:
            actions = self._dialogue.farewell(str(failure))
        for action in actions:
            self._carry_out(action)
        if not self.is_over:
            assert self._dialogue.authenticated == self.upstream.authenticated
        assert self._dialogue.doing.isprintable()

    def _carry_out(self, action: Action) -> None:
        match action:
            case ToClient(octets):
                self.told += octets
            case ToUpstream(octets):
                self.upstream.read(bytes(octets))
            case DraftOctets() | DropDraft() | Submit():
                self._take_draft(action)
            case LoggedIn(user):
                assert user is None or _octets_of(user) == self.upstream.user, (user, self.upstream.user)
            case LoggedOut() | LoginRefused():
                assert not self.upstream.authenticated
            case StartTls():
                self._dialogue.tls_started()
            case Compress():
                octets = self._dialogue.taken_back()
                self._do(lambda: self._dialogue.from_client(octets, len(octets)))
            case Close():
                self.is_over = True

    def _take_draft(self, action: DraftOctets | DropDraft | Submit) -> None:
        match action:
            case DraftOctets(octets):
                self._draft += octets
            case DropDraft():
                self._draft.clear()
            case Submit(user):
                self._submit(user)

    def _submit(self, user: Credentials) -> None:
        assert not self.is_submitting
        assert not self.upstream.outstanding
        assert self.upstream.authenticated
        assert _octets_of(user) == self.upstream.user, (user, self.upstream.user)
        draft = bytes(self._draft)
        self._draft.clear()
        submission = rb"(?i:SUBMIT) \{0*%d\+?\}\r\n%b\r\n" % (len(draft), re.escape(draft))
        assert re.search(submission, self._by_client), draft
        self.drafts.append(draft)
        self.is_submitting = True


def _octets_of(user: Credentials) -> bytes:
    return user.user.encode("utf-8", ENCODING_ERRORS)
