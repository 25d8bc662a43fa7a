"""INI files as both programs have them: what is read, and how what cannot be read is said."""

import configparser
import difflib
import re
from collections.abc import Mapping
from typing import TextIO

from imapproxy.errors import ConfigError


class Ini(configparser.ConfigParser):
    """The file's syntax. A section's name has its line to itself: the stock pattern ignores what follows it.

    Nothing is interpolated or inherited. Keys before the first section are those of the section ``general``; where that
    has no name, there can be none.
    """

    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]$")

    def __init__(self, comments_behind_values: tuple[str, ...] = (), general: str = "") -> None:
        super().__init__(
            delimiters=("=",),
            inline_comment_prefixes=comments_behind_values,
            interpolation=None,
            default_section="",
        )
        # The parser knows no keys before a section but by a header of ours, on a line of its own.
        self._head = f"[{general}]\n" if general else ""

    def optionxform(self, optionstr: str) -> str:
        """Return a key as it is compared."""
        return optionstr

    def read_stream(self, stream: TextIO) -> None:
        """Read a file that was opened as UTF-8; raise ConfigError, which names it and the line."""
        try:
            self.read_string(self._head + stream.read())
        except UnicodeDecodeError:
            raise ConfigError(f"{stream.name}: it is not UTF-8 text") from None
        except _SYNTAX_ERRORS as error:
            raise ConfigError(f"{stream.name}: {_account_of(error, len(self._head.splitlines()))}") from None


_SyntaxError = configparser.DuplicateOptionError | configparser.DuplicateSectionError | configparser.ParsingError
_SYNTAX_ERRORS = (configparser.DuplicateOptionError, configparser.DuplicateSectionError, configparser.ParsingError)


def _account_of(error: _SyntaxError, lines_before: int) -> str:
    """Say in a sentence of ours what configparser could not read."""
    match error:
        case configparser.DuplicateOptionError():
            section = "" if error.section.isspace() else f"[{error.section}] "
            return f"line {_line(error.lineno, lines_before)}: {section}{error.option}: is given twice"
        case configparser.DuplicateSectionError():
            return f"line {_line(error.lineno, lines_before)}: [{error.section}] is given twice"
        case configparser.MissingSectionHeaderError():
            return f"line {error.lineno}: {error.line.strip()!r} stands before the first [section]"
    line_number, line = error.errors[0]
    return f"line {_line(line_number, lines_before)}: {line} is neither 'key = value' nor a [section]"


def _line(number: int | None, lines_before: int) -> int:
    return (number or lines_before) - lines_before


def suggestion(wrong: str, right: Mapping[str, str]) -> str:
    """Return a question that names what was probably meant, or nothing; ``right``: names, and how each is said."""
    near = difflib.get_close_matches(wrong.strip().lower(), right, n=1)
    return f"; is {right[near[0]]} meant?" if near else ""
