"""The program ``imapproxy``: its command line, and then what that asks for."""

import sys
from collections.abc import Sequence

from imapproxy.config import CommandLine, Config, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, record
from imapproxy.net import detach, journal_file, process
from imapproxy.net.contexts import contexts_of

BAD_CONFIGURATION = 2


def main(arguments: Sequence[str]) -> int:
    """Run the program with the command line's ``arguments``; return its exit status."""
    try:
        return _run(parse_command_line(arguments), arguments)
    except ConfigError as failure:
        _say(str(failure))
        return BAD_CONFIGURATION


def _run(command_line: CommandLine, arguments: Sequence[str]) -> int:
    config = command_line.config
    for warning in command_line.warnings:
        _say(f"warning: {warning}")
    if command_line.check_config:
        contexts_of(config)
        if config.journal:
            journal_file.check(config.journal)
        print(f"{command_line.file or 'command line'}: configuration is good")  # noqa: T201 - for who asked
        return 0
    if command_line.status:
        from imapproxy.net.status import print_status  # noqa: PLC0415 - its libraries are of no use to the server

        return print_status(config.control_socket)
    # First of all, before anything is opened.
    starter = detach.detach() if config.daemon else detach.Starter()
    try:
        process.run(config, lambda: _read_anew(arguments), starter)
    except ConfigError as failure:
        starter.fail(_said(str(failure)), BAD_CONFIGURATION)
        raise
    return 0


def _read_anew(arguments: Sequence[str]) -> Config:
    """Return the configuration as it is now; doubts go to the log, as nobody looks at the terminal any more."""
    command_line = parse_command_line(arguments)
    for warning in command_line.warnings:
        LOGGER.warning(record("configuration-doubtful", reason=warning))
    return command_line.config


def _say(text: str) -> None:
    print(_said(text), file=sys.stderr)  # noqa: T201 - for the person who started it


def _said(text: str) -> str:
    return f"imapproxy: {text}"
