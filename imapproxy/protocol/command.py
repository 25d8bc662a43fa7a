"""A client's command line, read as far as the proxy needs: tag, name, and the rest as it stands."""

import re
from collections.abc import Iterable
from typing import NamedTuple

# command = tag SP (...) CRLF; tag = 1*<any ASTRING-CHAR except "+"> (RFC 9051 section 9). CR, LF and NUL stand in no
# line: a server that took one of them for a line end would see commands that the proxy did not. The quantifiers are
# possessive: an octet that one of them took is not looked at again if the expression does not match.
_TAG = rb'[^\x00-\x20(){%*"\\+\x7f-\xff]++'
_NAME = rb'[^\x00-\x20(){%*"\\\x7f-\xff]++'
_COMMAND = re.compile(rb"(" + _TAG + rb") (" + _NAME + rb")(?: ([^\x00\r\n]*+))?\r\n")
_TAG_AT_START = re.compile(rb"(" + _TAG + rb")[ \r\n]")
_SOLE_LITERAL = re.compile(rb"\{[0-9]{1,20}\+?\}")
_CLEAN_LINE = re.compile(rb"[^\x00\r\n]*+\r\n")


class Command(NamedTuple):
    """The first line of a command. ``arguments`` may end in a literal's mark, and is b"" where none stand."""

    tag: bytes
    name: bytes
    arguments: bytes


def parse_command(line: bytes) -> Command | None:
    """Return the command that ``line`` (line end included) begins, its name in upper case; None if it is no command."""
    match = _COMMAND.fullmatch(line)
    if match is None:
        return None
    tag, name, arguments = match.groups(b"")
    return Command(tag, name.upper(), arguments)


def plain_command(names: Iterable[bytes]) -> re.Pattern[bytes]:
    """Return what matches the whole line of a command without literals that is none of ``names``: tag and name."""
    others = rb"(?!(?i:" + rb"|".join(map(re.escape, names)) + rb")[ \r])"
    return re.compile(rb"(" + _TAG + rb") " + others + rb"(" + _NAME + rb")(?: [^\x00\r\n]*+(?<!\}))?\r\n")


def tag_of(line: bytes) -> bytes:
    """Return the tag with which a line that is no command can be answered: its own, or ``*``."""
    match = _TAG_AT_START.match(line)
    return match[1] if match else b"*"


def is_clean(line: bytes) -> bool:
    """Tell whether a line ends in CRLF and holds no other CR, LF or NUL, so that every server sees one line in it."""
    return _CLEAN_LINE.fullmatch(line) is not None


def is_sole_literal(arguments: bytes) -> bool:
    """Tell whether a command's arguments are the mark of one literal (not a literal8) and nothing else."""
    return _SOLE_LITERAL.fullmatch(arguments) is not None
