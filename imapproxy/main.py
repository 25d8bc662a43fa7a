"""The program ``imapproxy``: configuration, log, and then the server."""

import sys
from collections.abc import Sequence

from imapproxy import logs
from imapproxy.config import CommandLine, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net import process

BAD_CONFIGURATION = 2


def main(arguments: Sequence[str]) -> int:
    """Run the program with the command line's ``arguments``; return its exit status."""
    try:
        return _run(parse_command_line(arguments))
    except ConfigError as failure:
        print(f"imapproxy: {failure}", file=sys.stderr)  # noqa: T201 - for the person who started it
        return BAD_CONFIGURATION


def _run(command_line: CommandLine) -> int:
    for warning in command_line.warnings:
        print(f"imapproxy: warning: {warning}", file=sys.stderr)  # noqa: T201
    if command_line.check_config:
        print(f"{command_line.file or 'command line'}: configuration is good")  # noqa: T201
        return 0
    logs.set_up(command_line.config.log_to, command_line.config.log_level)
    process.run(command_line.config)
    return 0
