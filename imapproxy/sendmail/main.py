"""The program ``imap-submit``: a message comes by standard input, and goes to the server; or what is there is listed.

It exits with one of ``os.EX_…`` (sysexits.h), by which its caller goes on.
"""

import os
import platform
import secrets
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from os import EX_DATAERR, EX_IOERR, EX_OK, EX_SOFTWARE, EX_USAGE
from typing import BinaryIO, TextIO

from imapproxy import __version__
from imapproxy.client import reference_part
from imapproxy.sendmail.accounts import Account, account_of
from imapproxy.sendmail.command_line import Attachment, CommandLine, parse_command_line
from imapproxy.sendmail.connection import Connection
from imapproxy.sendmail.crash_report import crash_report
from imapproxy.sendmail.credentials import ask_at_terminal, credentials_of, exposure
from imapproxy.sendmail.draft import Envelope, draft_of, from_address
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.message_id import with_message_id
from imapproxy.sendmail.progress import Progress
from imapproxy.sendmail.search import criteria

# Octets: more than any mail server takes; it is held in memory, several times.
MAX_MESSAGE = 1 << 30
# Octets of it that are read at a time.
_PIECE = 1 << 16
# Octets at random, by which no two messages are one.
_UNIQUE = 16

INTERRUPTED = 130  # as the shell has it for SIGINT

_MAY_BE_SENT = "the message may have been sent"
_PLAIN_SUCCESS = "SUBMIT completed"


def main(arguments: Sequence[str]) -> int:
    """Run the program with the command line's ``arguments``; return its exit status."""
    _open_closed_streams()
    try:
        return _run(parse_command_line(arguments))
    except Failure as failure:
        _say(str(failure))
        return failure.status
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except Exception as failure:
        # What became of the message comes first: it is all that some callers show.
        sent = f"{_MAY_BE_SENT}; " if _MAY_BE_SENT in getattr(failure, "__notes__", ()) else ""
        report = crash_report(failure, __version__, platform.python_version())
        _say(f"unexpected {type(failure).__name__}; {sent}please report it with these lines:\n{report}")
        return EX_SOFTWARE
    finally:
        _leave(sys.stdout)
        _leave(sys.stderr)


def _run(command_line: CommandLine) -> int:
    for note in command_line.notes:
        _say(note)
    if command_line.find is not None:
        _list(command_line, command_line.find)
    else:
        _send(command_line)
    return EX_OK


def _list(command_line: CommandLine, wanted: str) -> None:
    asked = criteria(wanted)
    account = account_of(command_line.wanted, os.environ, None)
    with _connection(account) as connection:
        found = connection.found(command_line.mailbox, asked, command_line.limit)
    for note in found.notes:
        _say(note)
    print_lines(found.lines)


def print_lines(found: Iterable[str]) -> None:
    """Print what was found; what the terminal cannot show is a question mark there. Failure (EX_IOERR): no room."""
    octets = "".join(f"{line}\n" for line in found).encode(sys.stdout.encoding, "replace")
    try:
        sys.stdout.buffer.write(octets)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        return  # who reads it has seen enough
    except OSError as error:
        raise Failure(EX_IOERR, f"standard output: {error.strerror}") from None


def _send(command_line: CommandLine) -> None:
    octets = read_message(sys.stdin.buffer, command_line.dot_ends)
    account = account_of(command_line.wanted, os.environ, from_address(octets) or command_line.sender)
    draft = _draft(octets, command_line, account)
    connection = _connection(account)
    with _told_if_it_may_be_sent(connection):
        with connection:
            if command_line.verbose:
                _say(f"logged in to {account.server} as {account.user}; sending {len(draft)} octets")
            with Progress(len(draft), sys.stderr) as progress:
                said = connection.submit(draft, progress.sent)
        if command_line.verbose or said != _PLAIN_SUCCESS:
            _say(said)


def _draft(octets: bytes, command_line: CommandLine, account: Account) -> bytes:
    draft = draft_of(octets, _envelope(command_line, account), [*map(_part, command_line.attachments)])
    host = account.server.host
    return with_message_id(draft, secrets.token_hex(_UNIQUE), f"[{host}]" if ":" in host else host)


@contextmanager
def _told_if_it_may_be_sent(connection: Connection) -> Iterator[None]:
    """Say of what ends the program too late that the message may have been sent."""
    try:
        yield
    except KeyboardInterrupt:
        if not connection.may_have_sent:
            raise
        raise Failure(INTERRUPTED, f"interrupted; {_MAY_BE_SENT}") from None
    except Failure:
        raise
    except Exception as failure:
        if connection.may_have_sent:
            failure.add_note(_MAY_BE_SENT)
        raise


def read_message(stream: BinaryIO, dot_ends: bool, most: int = MAX_MESSAGE) -> bytes:
    """Return a message from its stream, up to its end, or up to a line with a lone dot if that ends it.

    Failure: EX_DATAERR where it has more than ``most`` octets, EX_IOERR where it cannot be read.
    """
    try:
        octets = _lines_up_to_dot(stream, most) if dot_ends else _all(stream, most)
    except OSError as error:
        raise Failure(EX_IOERR, f"standard input: {error.strerror or error}") from None
    if len(octets) > most:
        raise Failure(EX_DATAERR, f"the message has more than {most} octets")
    return octets


def _all(stream: BinaryIO, most: int) -> bytes:
    """Return all octets, or the first of them, one more than so many."""
    octets = bytearray()
    # Python sets aside at once what a read may return.
    while piece := stream.read(min(_PIECE, most + 1 - len(octets))):
        octets += piece
    return bytes(octets)


def _lines_up_to_dot(stream: BinaryIO, most: int) -> bytes:
    """Return the lines before the dot, or the first of them, of more than so many octets."""
    octets = bytearray()
    while len(octets) <= most and (line := stream.readline(most + 1)) and line.rstrip(b"\r\n") != b".":
        octets += line
    return bytes(octets)


def _envelope(command_line: CommandLine, account: Account) -> Envelope:
    return Envelope(
        recipients=command_line.recipients,
        header_recipients=command_line.header_recipients,
        sender=command_line.sender,
        full_name=command_line.full_name,
        from_=account.from_,
        set_from=account.set_from,
    )


def _part(attachment: Attachment) -> bytes:
    try:
        return reference_part(attachment.url, attachment.name)
    except ValueError as error:
        raise Failure(EX_USAGE, f"--attach-from {attachment.url!a}: {error}") from error


def _connection(account: Account) -> Connection:
    note = exposure(account)
    if note is not None:
        _say(note)
    return Connection(account, credentials_of(account, ask_at_terminal))


def _open_closed_streams() -> None:
    """Have all three standard streams: a connection would take the descriptor of one that is closed."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - until the program's end


def _leave(stream: TextIO) -> None:
    """Drop what a stream does not take: at its end the interpreter would make an exit status of its own of that."""
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(text: str) -> None:
    first, *others = text.split("\n")
    with suppress(OSError):  # nobody has to listen, and it changes nothing
        print(f"imap-submit: {first}", *others, sep="\n", file=sys.stderr)  # noqa: T201 - for who called it
