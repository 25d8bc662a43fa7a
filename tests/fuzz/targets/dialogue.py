r"""A dialogue between a client and a server that say anything, in any order.

The input's first octet chooses the terms. Then ``\x01`` comes before what the client says, ``\x02`` before what the
server says; at ``\x03`` a submission ends well, at ``\x04`` it is refused.
"""

import re

from imapproxy.errors import LimitExceeded, SubmissionRefused, UpstreamError
from imapproxy.protocol.action import Action, Compress, StartTls, Submit
from imapproxy.protocol.capability import is_reusable
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.terms import Terms
from tests.fuzz.budget import cut
from tests.fuzz.conversation import Conversation

MAX_DRAFT = 100
REFUSAL = SubmissionRefused("550 5.1.1 no, \x1b[2J\r\nthere is none", ["joe@example.com", '"a, b"@example.com'])

_TURN = re.compile(rb"([\x01-\x04])([^\x01-\x04]*)")


def check(octets: bytes) -> None:
    """Play a conversation."""
    conversation = Conversation(terms_of(octets[:1]), is_secure=octets[:1] == b"s")
    for turn, said in _TURN.findall(octets[1:]):
        if turn == b"\x01":
            conversation.client(said)
        elif turn == b"\x02":
            conversation.server(said)
        else:
            conversation.submission_ends(None if turn == b"\x03" else REFUSAL)
    conversation.check()


def work(octets: bytes, packet: int) -> None:
    """Play a conversation that nobody watches; what a client asks for besides passing octets on is done at once."""
    dialogue = Dialogue(terms_of(octets[:1]), is_secure=octets[:1] == b"s")
    try:
        for turn, said in _TURN.findall(octets[1:]):
            take = dialogue.from_client if turn == b"\x01" else dialogue.from_upstream
            for chunk in cut(said if turn < b"\x03" else b"", packet):
                do(dialogue, take(chunk, len(chunk)))
    except (LimitExceeded, UpstreamError):
        return


def do(dialogue: Dialogue, actions: list[Action]) -> None:
    """Carry out what a dialogue waits for."""
    for action in actions:
        match action:
            case Submit():
                do(dialogue, dialogue.not_submitted(REFUSAL))
            case StartTls():
                dialogue.tls_started()
            case Compress():
                octets = dialogue.taken_back()
                do(dialogue, dialogue.from_client(octets, len(octets)))


def terms_of(choice: bytes) -> Terms:
    """Return the terms that a letter stands for: as they are by default, but for one thing."""
    return Terms(
        MAX_DRAFT,
        is_reusable,
        starttls=choice in {b"t", b"r"},
        require_tls=choice in {b"r", b"s"},
        compress=choice != b"n",
        hides_forwarding_ids=choice == b"h",
    )
