"""STARTTLS (RFC 9051 6.2.1) and COMPRESS (RFC 4978): what changes the client's own hop, and is the proxy's to answer.

Both wait until every command sent before them is complete, so that the OK is the last that the client hears in the old
manner. What a client sends behind STARTTLS before TLS stands may be anybody's, and is thrown away; what it sends behind
COMPRESS is compressed.
"""

from imapproxy.protocol import response
from imapproxy.protocol.action import Compress, StartTls
from imapproxy.protocol.command import Command
from imapproxy.protocol.framing import Literal
from imapproxy.protocol.intake import Intake
from imapproxy.protocol.refusal import refuse


def take_starttls(intake: Intake, command: Command, literal: Literal | None, _line: bytes) -> None:
    """Take STARTTLS, which waits for its turn."""

    def start_tls(intake: Intake) -> bool:
        if literal is not None or command.arguments or not intake.offer.has_starttls:
            refuse(intake, response.bad(command.tag, response.NOT_OFFERED), literal)
            return True
        intake.output.say(response.ok(command.tag, "Begin TLS negotiation now"))
        intake.output.actions.append(StartTls())
        intake.await_switch()
        return False

    intake.await_turn(command, start_tls)


def take_compress(intake: Intake, command: Command, literal: Literal | None, _line: bytes) -> None:
    """Take COMPRESS, which waits for its turn."""

    def start_compressing(intake: Intake) -> bool:
        refusal = _refusal(intake, command, literal)
        if refusal is not None:
            refuse(intake, refusal, literal)
            return True
        intake.output.say(response.ok(command.tag, "DEFLATE active"))
        intake.output.actions.append(Compress())
        intake.offer.compressed()
        intake.await_switch()
        return False

    intake.await_turn(command, start_compressing)


def _refusal(intake: Intake, command: Command, literal: Literal | None) -> bytes | None:
    # compress = "COMPRESS" SP algorithm; algorithm = "DEFLATE"
    if literal is not None or command.arguments.upper() != b"DEFLATE":
        return response.bad(command.tag, "COMPRESS takes one argument: DEFLATE")
    if intake.offer.is_compressed:
        return response.no(command.tag, "[COMPRESSIONACTIVE] DEFLATE is active already")
    if not intake.offer.has_compress:
        return response.bad(command.tag, response.NOT_OFFERED)
    return None
