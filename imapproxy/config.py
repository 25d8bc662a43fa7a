"""The configuration: flags and an INI file (docs/man/imapproxy.conf.5) become a checked, frozen ``Config``.

Which options there are is declared in ``options``; the parser here follows from that. Which of them cannot or should
not be used together is ``consistency``'s to say; here the places are added to that. The environment is not looked at.

Nothing is ignored: what cannot be used is a ``ConfigError``, a line for each problem, which names file, section and
key.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn, TextIO

import configargparse  # type: ignore[import-untyped]

from imapproxy import __version__
from imapproxy.consistency import contradictions, doubts, exposed_secrets
from imapproxy.errors import ConfigError
from imapproxy.ini import Ini, suggestion
from imapproxy.options import BY_NAME, OPTIONS, SECTIONS, Config, Option
from imapproxy.values import HostPort

__all__ = ["CommandLine", "Config", "HostPort", "command_line_parser", "parse_command_line"]


# --- the INI file ------------------------------------------------------------------------------------------------


class IniFile(configargparse.ConfigparserConfigFileParser):  # type: ignore[misc]
    """The file's meaning. The stock parser interpolates ``%``, evaluates ``[…]`` and ignores sections."""

    def parse(self, stream: TextIO) -> Mapping[str, str]:
        """Return the text of each key, once it is certain that every one is an option in its section."""
        ini = Ini(comments_behind_values=("#", ";"))
        ini.read_stream(stream)
        if problems := [f"{stream.name}: {problem}" for problem in (*_strangers(ini), *_empty_switches(ini))]:
            raise ConfigError("\n".join(problems))
        return {key: text for section in ini.sections() for key, text in ini.items(section)}


def _strangers(ini: Ini) -> Iterator[str]:
    """Name the sections that do not exist, and the keys that do not or not there."""
    for section in ini.sections():
        if section not in SECTIONS:
            yield f"[{section}]: no such section{suggestion(section, {name: f'[{name}]' for name in SECTIONS})}"
            continue
        for key in ini.options(section):
            if key not in BY_NAME:
                near = {name: f"{name} in [{declared.section}]" for name, declared in BY_NAME.items()}
                yield f"[{section}] {key}: no such key{suggestion(key, near)}"
            elif BY_NAME[key].section != section:
                yield f"[{section}] {key}: belongs in [{BY_NAME[key].section}]"


def _empty_switches(ini: Ini) -> Iterator[str]:
    """Name the keys that lack their value, and whose flags need none: for those the stock parser drops them."""
    for section in ini.sections():
        for key, text in ini.items(section):
            if not text and key in BY_NAME and BY_NAME[key].kind.alone is not None:
                yield f"[{section}] {key}: the value is missing ({BY_NAME[key].kind.metavar})"


# --- the command line --------------------------------------------------------------------------------------------


class CommandLine(NamedTuple):
    """What the program was called with.

    With ``status`` the configuration is good for ``control_socket`` alone: whoever may ask for the status need not be
    able to read the keys and the passwords.
    """

    config: Config
    file: str | None
    check_config: bool
    status: bool
    warnings: tuple[str, ...]


class _Parser(configargparse.ArgumentParser):  # type: ignore[misc]
    """The flags, and the same names as keys of a file."""

    def error(self, message: object) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(str(message))


def command_line_parser() -> configargparse.ArgumentParser:
    """Return the parser that follows from the options."""
    parser = _Parser(
        prog="imapproxy",
        description="An IMAP proxy through which a client also sends mail (SUBMIT).",
        epilog="Each option is also a key of the configuration file, in the section under whose name it stands here,"
        " see imapproxy.conf(5). A flag has precedence over the file.",
        allow_abbrev=False,
        add_config_file_help=False,
        add_env_var_help=False,
        config_file_parser_class=IniFile,
        config_file_open_func=partial(open, encoding="utf-8"),
    )
    parser.add_argument("-c", "--config", metavar="FILE", is_config_file_arg=True, help="the configuration file")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check-config", action="store_true", help="say whether the configuration is good (exit status 0 or 2)"
    )
    instead.add_argument(
        "--status",
        action="store_true",
        help="print the sessions of the proxy that runs with this configuration; needs control-socket",
    )
    parser.add_argument("--version", action="version", version=f"imapproxy {__version__}")
    for section in SECTIONS:
        group = parser.add_argument_group(f"[{section}]")
        for declared in OPTIONS:
            if declared.section == section:
                _add_flag(group, declared)
    return parser


def _add_flag(group: Any, declared: Option) -> None:
    default = f" (default: {declared.default})" if declared.default else ""
    group.add_argument(
        f"--{declared.name}",
        dest=declared.name,
        action="append",
        nargs=None if declared.kind.alone is None else "?",
        const=declared.kind.alone,
        metavar=declared.kind.metavar,
        help=(declared.help + default).replace("%", "%%"),
    )


def parse_command_line(argv: Sequence[str]) -> CommandLine:
    """Return the configuration that flags and file make; raise ConfigError with all that is wrong with it.

    ``--help`` and ``--version`` print and raise SystemExit, as argparse does.
    """
    parser = command_line_parser()
    arguments = vars(parser.parse_args(list(argv), env_vars={}))
    file = arguments["config"]
    if file == "":
        raise ConfigError("--config: the file's name is empty")
    if arguments["status"]:
        arguments = _for_status(arguments)
    places = _places(parser, file)
    config = _config(arguments, places)
    if problems := [f"{places[name]}: {problem}" for name, problem in contradictions(config)]:
        raise ConfigError("\n".join(problems))
    password_file = (arguments["smtp-password-file"] or [""])[0]
    warnings = [*doubts(config), *exposed_secrets(config, password_file)]
    return CommandLine(
        config,
        file,
        arguments["check_config"],
        arguments["status"],
        tuple(f"{places[name]}: {doubt}" for name, doubt in warnings),
    )


def _for_status(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return of the arguments what ``--status`` needs, and ``mail-domain``, whose default the machine may not have."""
    if not any(arguments["control-socket"] or ()):
        raise ConfigError("--status: needs control-socket, the path with which the running proxy was started")
    needed = ("config", "check_config", "status", "control-socket", "mail-domain")
    return {name: value if name in needed else None for name, value in arguments.items()}


def _places(parser: configargparse.ArgumentParser, file: str | None) -> Mapping[str, str]:
    """Return for each option's name what an error about it begins with: its key in the file, or its flag."""
    in_file = {
        key
        for source, settings in parser.get_source_to_settings_dict().items()
        if source.startswith("config_file")
        for key in settings
    }
    return {
        name: f"{file}: [{declared.section}] {name}" if name in in_file else f"--{name}"
        for name, declared in BY_NAME.items()
    }


def _config(arguments: Mapping[str, Any], places: Mapping[str, str]) -> Config:
    values, problems = {}, []
    for declared in OPTIONS:
        try:
            values[declared.attribute] = declared.value(arguments[declared.name])
        except ValueError as error:
            problems.append(f"{places[declared.name]}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    return Config(**values)
