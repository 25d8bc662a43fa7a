"""Which command is whose: the step that takes the beginning of a command, and the table of those not just passed on."""

from collections.abc import Callable

from imapproxy.protocol import response
from imapproxy.protocol.action import ToUpstream
from imapproxy.protocol.command import Command, parse_command, plain_command, tag_of
from imapproxy.protocol.forwarding import take_idle, take_other
from imapproxy.protocol.framing import Literal, literal_at_end
from imapproxy.protocol.hop_command import take_compress, take_starttls
from imapproxy.protocol.id_command import take_id
from imapproxy.protocol.intake import Intake, Outstanding
from imapproxy.protocol.login_command import take_authenticate, take_login, take_unauthenticate
from imapproxy.protocol.refusal import refuse
from imapproxy.protocol.submit_command import take_submit

# Given a command, the literal that its line announces, and the line.
_Taker = Callable[[Intake, Command, Literal | None, bytes], None]
_TAKERS: dict[bytes, _Taker] = {
    b"LOGIN": take_login,
    b"AUTHENTICATE": take_authenticate,
    b"UNAUTHENTICATE": take_unauthenticate,
    b"IDLE": take_idle,
    b"SUBMIT": take_submit,
    b"STARTTLS": take_starttls,
    b"COMPRESS": take_compress,
    b"ID": take_id,
}
_PLAIN_COMMAND = plain_command(_TAKERS)


def take_command(intake: Intake) -> bool:
    """Take the beginning of a command: most are one line, passed on after one look."""
    commands = intake.commands
    plain = commands.line_like(_PLAIN_COMMAND)
    if plain is not None:
        intake.outstanding.append(Outstanding(plain[1], plain[2], None))
        intake.output.actions.append(ToUpstream(plain[0]))
        return commands.holds_octets
    line = commands.line()
    if line is None:
        return False
    command = parse_command(line)
    literal = literal_at_end(line)
    if command is None:
        intake.note_junk()
        refuse(intake, response.bad(tag_of(line), "Not a command: a tag, a space, a name, CRLF at the end"), literal)
    else:
        _TAKERS.get(command.name, take_other)(intake, command, literal, line)
    return True
