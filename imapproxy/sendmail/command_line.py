"""What the program was called with: sendmail's options, as mail programs give them, and a few of its own. Pure.

What only tunes sendmail is taken and changes nothing; what asks it to be something else (a server, a queue) is refused.
Everything that is wrong is a ``Failure`` (EX_USAGE).
"""

import argparse
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import EX_USAGE
from typing import Any, NoReturn

from imapproxy import __version__
from imapproxy.message.imap_url import UrlError, parse_imap_url
from imapproxy.sendmail.accounts import KEYS, Wanted
from imapproxy.sendmail.failure import Failure
from imapproxy.values import CONTROL, Kind, mailbox, number

# Of sendmail's options, those that change nothing here: without a value, and with one.
_IGNORED = ("-G", "-m", "-n", "-U")
_IGNORED_WITH_VALUE = ("-A", "-B", "-e", "-h", "-L", "-O", "-p", "-X")

# Wishes for delivery reports (RFC 3461).
_UNSUPPORTED = ("-N", "-R", "-V")

# Options of one letter as getopt reads them: some without a value, and one with it, here or in the next argument.
_WITHOUT_VALUE = "".join(option[1] for option in ("-t", "-i", "-v", *_IGNORED))
_WITH_VALUE = "".join(
    option[1] for option in ("-f", "-r", "-F", "-o", "-b", "-a", "-C", *_IGNORED_WITH_VALUE, *_UNSUPPORTED)
)
_LETTERS = re.compile(rf"-(?P<before>[{_WITHOUT_VALUE}]*)(?P<option>[{_WITH_VALUE}])(?P<value>.*)", re.DOTALL)


def _mailbox(text: str) -> str:
    if not text:
        raise ValueError("it is no mailbox's name")
    return mailbox(text)


_MAILBOX = Kind("MAILBOX", _mailbox)
_DEFAULT_MAILBOX = "INBOX"

# Messages that --find lists; what is listed of each is held until all of them are known.
_LIMIT = number(1, 1000)
_DEFAULT_LIMIT = 20

# What no address, name or URL can hold: control characters, and octets that Python could not decode.
_NO_TEXT = re.compile(f"{CONTROL.pattern}|[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Attachment:
    """What lies on the server and is to be attached: its URL, and the file name to give it, or ""."""

    url: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What is wanted: to send a message, or, with ``find``, to list what these criteria match.

    Arguments that are recipients are not looked at: each may be an address, or a list of some, or neither.
    """

    recipients: tuple[str, ...]
    header_recipients: bool  # -t: those in the message are meant
    sender: str | None  # -f
    full_name: str  # -F
    dot_ends: bool  # whether a lone dot ends the message
    attachments: tuple[Attachment, ...]
    find: str | None
    mailbox: str  # where to find it
    limit: int  # how many messages of those found are listed, the newest
    wanted: Wanted  # whose account
    verbose: bool
    notes: tuple[str, ...]  # to be said on standard error


def parse_command_line(argv: Sequence[str]) -> CommandLine:
    """Return what the arguments (without the program's name) ask for, or raise Failure.

    ``--help`` and ``--version`` print and raise SystemExit, as argparse does.
    """
    _check_characters(argv)
    end = argv.index("--") if "--" in argv else len(argv)
    given, others = _parser().parse_known_args([*_with_values_joined(argv[:end])])
    _check_known(others)
    command_line = _command_line(given, (*others, *argv[end + 1 :]))
    _check_purpose(command_line, given)
    return command_line


def _command_line(given: argparse.Namespace, recipients: tuple[str, ...]) -> CommandLine:
    return CommandLine(
        recipients=recipients,
        header_recipients=given.header_recipients,
        sender=given.sender,
        full_name=given.full_name,
        dot_ends=given.dot_ends and "i" not in given.sendmail_options,
        attachments=_attachments(given.attachments),
        find=given.find,
        mailbox=given.mailbox or _DEFAULT_MAILBOX,
        limit=given.limit or _DEFAULT_LIMIT,
        wanted=Wanted(given.account, given.file, tuple(f"{flag}={text}" for flag, text in given.keys)),
        verbose=given.verbose,
        notes=tuple(_notes(given.unsupported)),
    )


def _with_values_joined(arguments: Iterable[str]) -> Iterator[str]:
    """Yield the arguments with each value of a letter's behind it and "=", so that argparse reads it as getopt would.

    Else it would take a value that begins with a hyphen for an option, and lose the "=" that one begins with.
    """
    rest = iter(arguments)
    for argument in rest:
        letters = _LETTERS.fullmatch(argument)
        value = letters and (letters["value"] or next(rest, None))
        if letters is None or value is None:  # another kind of argument, or a value that is missing
            yield argument
            continue
        if letters["before"]:
            yield f"-{letters['before']}"
        yield f"-{letters['option']}={value}"


# --- the options -------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise Failure(EX_USAGE, message)


class _InOrder(argparse.Action):
    """Options of several names, with their values in the order in which they are given."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        setattr(namespace, self.dest, (*getattr(namespace, self.dest), (option_string, values)))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="imap-submit",
        usage="imap-submit [option ...] [-t] [recipient ...] <message\n       imap-submit --find CRITERIA [option ...]",
        description="Send mail through an IMAP server that knows SUBMIT, called as sendmail is.",
        epilog="Options of sendmail's that only tune it are accepted and change nothing. See imap-submit(1).",
        add_help=False,
        allow_abbrev=False,
    )
    parser.add_argument("--help", action="help", help="print this and end")
    parser.add_argument("--version", action="version", version=f"imap-submit {__version__}", help="print it and end")
    _add_options_of_sendmail(parser)
    _add_own_options(parser)
    _add_keys(parser)
    return parser


def _add_options_of_sendmail(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("as sendmail has them")
    group.add_argument(
        "-t", dest="header_recipients", action="store_true", help="send to who is in the message's To, Cc and Bcc"
    )
    group.add_argument(
        "-i", dest="dot_ends", action="store_false", help="a line that is a dot is part of the message (also -oi)"
    )
    group.add_argument("-f", "-r", dest="sender", metavar="ADDRESS", type=_sender, help="who sends")
    group.add_argument("-F", dest="full_name", metavar="NAME", default="", help="the sender's name")
    group.add_argument("-v", dest="verbose", action="store_true", help="say what is done")
    group.add_argument("-o", dest="sendmail_options", action="append", default=[], help=argparse.SUPPRESS)
    for option in _IGNORED:
        group.add_argument(option, dest="ignored", action="store_true", help=argparse.SUPPRESS)
    for option in _IGNORED_WITH_VALUE:
        group.add_argument(option, dest="ignored", help=argparse.SUPPRESS)
    group.add_argument(*_UNSUPPORTED, dest="unsupported", action=_InOrder, default=(), help=argparse.SUPPRESS)
    group.add_argument("-b", dest="ignored", type=_mode, help=argparse.SUPPRESS)
    group.add_argument("-q", dest="ignored", nargs="?", type=_queue, const="", help=argparse.SUPPRESS)


def _add_own_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("its own")
    group.add_argument("-a", "--account", metavar="ACCOUNT", default="", help="the section of the configuration file")
    group.add_argument(
        "-C", "--config", dest="file", metavar="FILE", default="", help="instead of ~/.config/imap-submit.conf"
    )
    attachments: dict[str, Any] = {"dest": "attachments", "action": _InOrder, "default": ()}
    group.add_argument(
        "--attach-from", metavar="URL", help="attach what the URL names on the server; repeatable", **attachments
    )
    group.add_argument("--as", metavar="NAME", help="the file name of the attachment before it", **attachments)
    group.add_argument("--forward", metavar="URL", help="attach a whole message; repeatable", **attachments)
    group.add_argument("--find", metavar="CRITERIA", help="list what matches (IMAP's SEARCH) and its parts, with URLs")
    group.add_argument(
        "--in",
        dest="mailbox",
        metavar=_MAILBOX.metavar,
        type=_of(_MAILBOX),
        help=f"where to find it (default: {_DEFAULT_MAILBOX})",
    )
    group.add_argument(
        "--limit",
        metavar=_LIMIT.metavar,
        type=_of(_LIMIT),
        help=f"how many messages to list, the newest (default: {_DEFAULT_LIMIT})",
    )


def _add_keys(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("the account: keys of the file, IMAP_SUBMIT_... in the environment")
    for key in KEYS:
        text = f"{key.help} (default: {key.default})" if key.default else key.help
        group.add_argument(
            f"--{key.name}",
            dest="keys",
            action=_InOrder,
            default=(),
            metavar=key.kind.metavar,
            help=text.replace("%", "%%"),
        )


# --- their values ------------------------------------------------------------------------------------------------


def _of(kind: Kind[Any]) -> Any:
    """Return a kind's conversion, whose errors argparse is to show as they are."""

    def convert(text: str) -> Any:
        try:
            return kind.convert(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _sender(text: str) -> str:
    if text.strip() in ("", "<>"):
        raise argparse.ArgumentTypeError("a message cannot be from nobody: SUBMIT says whose it is")
    return text


def _mode(text: str) -> str:
    if text != "m":
        raise argparse.ArgumentTypeError(f"{text!a} is not what imap-submit does: it sends a message")
    return text


def _queue(_text: str) -> NoReturn:
    raise argparse.ArgumentTypeError("imap-submit has no queue: it sends at once, or says that it did not")


def _attachments(given: Iterable[tuple[str, str]]) -> tuple[Attachment, ...]:
    attachments: list[Attachment] = []
    previous = ""
    for option, text in given:
        if option != "--as":
            attachments.append(_attachment(option, text))
        elif previous == "--attach-from":
            attachments[-1] = replace(attachments[-1], name=text)
        else:
            raise Failure(EX_USAGE, f"--as {text!a}: must stand behind the --attach-from that it is for, and once")
        previous = option
    return tuple(attachments)


def _attachment(option: str, url: str) -> Attachment:
    try:
        section = parse_imap_url(url).section
    except UrlError as error:
        raise Failure(EX_USAGE, f"{option} {url!a}: {error}") from None
    if section and option == "--forward":
        raise Failure(EX_USAGE, f"--forward {url!a}: names a part; a part is attached by --attach-from")
    return Attachment(url)


def _notes(unsupported: Iterable[tuple[str, str]]) -> Iterator[str]:
    options = dict.fromkeys(option for option, _ in unsupported)
    if options:
        yield f"{', '.join(options)}: without effect, since SUBMIT carries no wish for delivery reports"


# --- what does not go together -----------------------------------------------------------------------------------


def _check_characters(argv: Iterable[str]) -> None:
    for argument in argv:
        if _NO_TEXT.search(argument):
            raise Failure(EX_USAGE, f"{argument!a} holds control characters, or is not UTF-8")


def _check_known(others: Iterable[str]) -> None:
    unknown = [argument for argument in others if argument.startswith("-")]
    if unknown:
        raise Failure(EX_USAGE, f"no such option: {', '.join(map(ascii, unknown))}; see imap-submit --help")


def _check_purpose(command_line: CommandLine, given: argparse.Namespace) -> None:
    sends = command_line.recipients or command_line.header_recipients
    if command_line.find is None:
        if given.mailbox or given.limit:
            raise Failure(EX_USAGE, "--in and --limit are for --find")
        if not sends:
            raise Failure(EX_USAGE, "no recipients: name them, or give -t if the message does")
    elif sends or command_line.attachments:
        raise Failure(EX_USAGE, "--find sends nothing: no recipients, no -t and no attachments can be given with it")
