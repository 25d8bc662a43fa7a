"""A client that says anything to a server that keeps the rules: answers every command, and asks for what it wants.

The input's first octet chooses the terms, as for ``dialogue``, its second how the server answers; the rest is what the
client says. Whatever it says, and however it is cut, it ends in the same once the client is logged in, and no command
of it is answered twice.
"""

from collections.abc import Sequence

from imapproxy.errors import LimitExceeded, SubmissionRefused, UpstreamError
from imapproxy.protocol.action import Action, ToUpstream
from imapproxy.protocol.dialogue import Dialogue
from tests.fuzz.budget import cut
from tests.fuzz.chunking import chunkings
from tests.fuzz.conversation import Conversation
from tests.fuzz.reference.client import check_answers
from tests.fuzz.reference.upstream import Command
from tests.fuzz.targets.dialogue import REFUSAL, do, terms_of

_LISTS = {
    ord("+"): b"IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER AUTH=GSSAPI",
    ord("-"): b"IMAP4rev2 STARTTLS LOGINDISABLED UNAUTHENTICATE COMPRESS=DEFLATE AUTH=PLAIN",
}


def check(octets: bytes) -> None:
    """Play what a client says in every chunking, from the greeting on and from a login on."""
    choice, server, said = octets[:1], octets[1:2], octets[2:]
    for chunks in chunkings(said):
        _played(choice, server, chunks)
    if choice not in {b"r", b"s"} and b"UNAUTH" not in said.upper():
        outcomes = [_outcome_once_logged_in(choice, server, chunks) for chunks in chunkings(said)]
        assert outcomes[0] == outcomes[1] == outcomes[2], outcomes


def work(octets: bytes, packet: int) -> None:
    """Play what a client says to a server that asks for what it can, and takes each line for a command."""
    dialogue = Dialogue(terms_of(octets[:1]), is_secure=octets[:1] == b"s")
    said = b"* OK [CAPABILITY %b] ready\r\n" % _LISTS.get(octets[1] if len(octets) > 1 else 0, b"IMAP4rev1")
    try:
        do(dialogue, dialogue.from_upstream(said, len(said)))
        for chunk in cut(octets[2:], packet):
            _respond(dialogue, dialogue.from_client(chunk, len(chunk)))
    except (LimitExceeded, UpstreamError):
        return


def _respond(dialogue: Dialogue, actions: list[Action]) -> None:
    """Answer each line that reaches the server, in its haste what is no command too."""
    while answers := b"".join(_answer_to(action) for action in actions):
        do(dialogue, actions)
        actions = dialogue.from_upstream(answers, len(answers))
    do(dialogue, actions)


def _answer_to(action: Action) -> bytes:
    if not isinstance(action, ToUpstream):
        return b""
    end = bytes(action.octets[-3:])
    if end == b"}\r\n" and bytes(action.octets[-4:-3]) != b"+":
        return b"+ \r\n"
    return b"+ \r\n%b OK done\r\n" % bytes(action.octets[:20]).partition(b" ")[0] if end.endswith(b"\r\n") else b""


def _outcome_once_logged_in(
    choice: bytes, server: bytes, chunks: Sequence[bytes]
) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Return what reached the server, what was submitted, and which lines the client was told, in no order.

    What a session was told that ended early depends on how far its server was, so nothing of that is returned.
    """
    chunks = [b"0 LOGIN fred secret\r\n", *chunks]
    conversation = _played(choice, server, chunks)
    check_answers(bytes(conversation.told), b"".join(chunks))
    told = [] if conversation.is_over else bytes(conversation.told).splitlines(keepends=True)
    return [bytes(piece) for piece in conversation.upstream.pieces], conversation.drafts, sorted(told)


def _played(choice: bytes, server: bytes, chunks: Sequence[bytes]) -> Conversation:
    """Have all of it said and answered."""
    conversation = Conversation(terms_of(choice), is_secure=choice == b"s")
    listed = _LISTS.get(server[0] if server else 0, b"IMAP4rev1")
    conversation.server(b"* OK [CAPABILITY %b] ready\r\n" % listed)
    for chunk in chunks:
        conversation.client(chunk)
        _answer_all(conversation)
    conversation.check()
    return conversation


def _answer_all(conversation: Conversation) -> None:
    """Have the server say what it has to say until there is nothing."""
    outcomes: list[SubmissionRefused | None] = [None, REFUSAL]
    while not conversation.is_over:
        if conversation.is_submitting:
            conversation.submission_ends(outcomes[len(conversation.drafts) % 2])
            continue
        upstream = conversation.upstream
        answer = next(filter(None, map(_answer, upstream.outstanding)), b"+ \r\n" if upstream.decides else b"")
        if not answer:
            break
        conversation.server(answer)


def _answer(command: Command) -> bytes:
    """Return the answer to a command that needs nothing more."""
    if not command.is_whole or (command.name in {b"IDLE", b"AUTHENTICATE"} and not _is_enough(command)):
        return b""
    is_refused = b"wrong" in command.octets or (command.name == b"LOGIN" and command.began_authenticated)
    return b"* %d EXISTS\r\n%b %b\r\n" % (len(command.data), command.tag, b"NO no" if is_refused else b"OK done")


def _is_enough(command: Command) -> bool:
    """Tell whether a command has all the data it needs."""
    needed = 2 if command.lines[0].upper().endswith(b"LOGIN") else 1
    has_initial = command.name == b"AUTHENTICATE" and command.lines[0].count(b" ") > 2
    return len(command.data) + has_initial >= needed
