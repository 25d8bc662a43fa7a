"""The configuration: flags and an INI file (docs/man/imapproxy.conf.5) become a frozen ``Config``.

Each option is declared once, as a field of ``Config``: the field's name and type, the section, the kind of values, the
default and the help text stand together there, and the flags, ``--help`` and the INI keys follow from it. A default is
written as the administrator would write it. The files that options name (identities, passwords) are read here, so
that nothing else reads any; passwords are taken from nowhere but such files, and the environment is not looked at.

Nothing is ignored: what cannot be used is a ``ConfigError``, a line for each problem, which names file, section and
key.
"""

# ruff: noqa: RUF009 (``option`` is a ``field``: what it returns is shared by no two configurations)

import configparser
import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn, TextIO, TypeVar, cast

import configargparse  # type: ignore[import-untyped]

from imapproxy import __version__
from imapproxy.errors import ConfigError
from imapproxy.values import (
    HostPort,
    Kind,
    choice,
    each,
    host_port,
    identities_from_file,
    log_target,
    mail_domains,
    mailbox,
    number,
    password_from_file,
    printable,
    seconds,
    server_names,
    size,
    word_for,
)

__all__ = [
    "OPTIONS",
    "SECTIONS",
    "CommandLine",
    "Config",
    "HostPort",
    "Option",
    "command_line_parser",
    "parse_command_line",
]

T = TypeVar("T")

DAY = 24 * 3600.0
# Of IMAP4rev1 (RFC 3501, section 9, "number"): a literal's size has 32 bits.
LARGEST_LITERAL = 2**32 - 1


# --- the options -------------------------------------------------------------------------------------------------

SWITCH = word_for({"on": True, "off": False, "yes": True, "no": False, "true": True, "false": False}, "on|off")
LOG_LEVEL = word_for(
    {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR},
    "debug|info|warning|error",
)
AuthMechanisms = Literal["reusable", "all"]
SmtpAuth = Literal["none", "user", "fixed"]
FromPolicy = Literal["check", "rewrite", "trust"]


@dataclass(frozen=True)
class Option:
    """An option as declared; ``--name`` is its flag and ``name`` its key in ``section``."""

    attribute: str
    name: str
    section: str
    kind: Kind[Any]
    default: str
    help: str

    def value(self, given: Sequence[str] | None) -> Any:
        """Return the attribute's value from the texts that were given, None for the default."""
        if given is None:
            return self.kind.convert(self.default)
        if len(given) > 1 and not self.kind.repeatable:
            raise ValueError("is given twice")
        text = "\n".join(given)
        if "\n" in text and not self.kind.repeatable:
            raise ValueError(f"takes one line, not {text!r}")
        return self.kind.convert(text)


def option(  # noqa: PLR0913
    section: str, kind: Kind[T], default: str, help_text: str, *, name: str = "", secret: bool = False
) -> T:
    """Declare an option as a field of ``Config``; ``name`` where it is not the field's own, with hyphens."""

    def declaration(attribute: str) -> Option:
        return Option(attribute, name or attribute.replace("_", "-"), section, kind, default, help_text)

    return cast(T, field(metadata={"declaration": declaration}, repr=not secret))


@dataclass(frozen=True)
class Config:
    """What the administrator has decided, checked and converted."""

    listen: tuple[HostPort, ...] = option(
        "listen",
        each(host_port(lowest_port=0)),
        "127.0.0.1:1143",
        "where clients connect; repeatable. This version speaks no TLS to clients, so it does not listen to the world"
        " unless told. Port 0: any free one; the log says which",
    )
    server_names: tuple[str, ...] = option(
        "listen",
        Kind("HOST", server_names, repeatable=True),
        "",
        "what clients call this host, by name or address: an IMAP URL that names another host refers to mail that is"
        " not here; repeatable (default: the machine's host name)",
    )
    max_clients: int = option(
        "listen",
        number(1, 100_000),
        "1000",
        "how many clients may be connected at once; one more is told so and let go",
    )
    login_timeout: float = option(
        "listen",
        seconds(0.1, DAY),
        "60",
        "how long a client may take to log in",
    )
    idle_timeout: float = option(
        "listen",
        seconds(0.1, 7 * DAY),
        "1800",
        "how long a logged-in session may be silent; RFC 9051 (5.4) asks for 1800 at least, less is for tests",
    )
    imap_server: HostPort = option(
        "imap",
        host_port(lowest_port=1),
        "127.0.0.1:143",
        "the IMAP server behind the proxy",
    )
    auth_mechanisms: AuthMechanisms = option(
        "imap",
        choice(AuthMechanisms),
        "reusable",
        "which SASL mechanisms of the IMAP server clients are offered: 'reusable', those whose credentials the proxy"
        " can use again for the user, or 'all' that do not encrypt the session",
    )
    smtp_server: HostPort = option(
        "smtp",
        host_port(lowest_port=1),
        "127.0.0.1:25",
        "the SMTP server that takes what clients SUBMIT",
    )
    smtp_auth: SmtpAuth = option(
        "smtp",
        choice(SmtpAuth),
        "none",
        "how the proxy authenticates there: not at all, with what the user logged in with, or as smtp-username",
    )
    smtp_username: str = option(
        "smtp",
        Kind("NAME", printable),
        "",
        "the user name for smtp-auth = fixed (default: none)",
    )
    smtp_password: str = option(
        "smtp",
        Kind("FILE", password_from_file),
        "",
        "a file that holds the password for smtp-auth = fixed, on one line (default: none)",
        name="smtp-password-file",
        secret=True,
    )
    smtp_timeout: float = option(
        "smtp",
        seconds(0.1, DAY),
        "300",
        "how long the SMTP server may take for an answer (RFC 5321, 4.5.3.2)",
    )
    mail_domain: tuple[str, ...] = option(
        "submit",
        Kind("DOMAIN", mail_domains, repeatable=True),
        "",
        "the domains of the users' addresses; repeatable; the first completes a bare user name"
        " (default: the machine's mail name, from /etc/mailname, else its host name)",
    )
    from_policy: FromPolicy = option(
        "submit",
        choice(FromPolicy),
        "check",
        "what happens to a From that is not one of the user's addresses: 'check' refuses the message, 'rewrite' puts"
        " the user's address there, 'trust' leaves it and names the user in Sender",
    )
    identities: Mapping[str, tuple[str, ...]] = option(
        "submit",
        Kind("FILE", identities_from_file),
        "",
        "a file of further addresses, a line per user: 'user address address ...' (default: none)",
    )
    max_message_size: int = option(
        "submit",
        size(1, LARGEST_LITERAL),
        "50M",
        "how many octets a client may SUBMIT at once; K, M or G may follow (powers of 1024)",
    )
    max_composed_size: int = option(
        "submit",
        size(1, LARGEST_LITERAL),
        "100M",
        "how many octets a message may have with what it refers to",
    )
    max_recipients: int = option(
        "submit",
        number(1, 100_000),
        "100",
        "how many recipients a message may have",
    )
    references: bool = option(
        "submit",
        SWITCH,
        "on",
        "whether a message may refer to what lies in its sender's mailboxes (RFC 2017), and is sent with it",
    )
    received_client_address: bool = option(
        "submit",
        SWITCH,
        "on",
        "whether the Received line that the proxy adds shows the client's address",
    )
    sent_mailbox: str = option(
        "submit",
        Kind("MAILBOX|auto", mailbox),
        "",
        "the user's mailbox for a copy of what is sent; 'auto': the one that the IMAP server calls \\Sent (RFC 6154)"
        " (default: none, no copy)",
    )
    log_level: int = option(
        "log",
        LOG_LEVEL,
        "info",
        "the least that is logged",
    )
    log_to: str = option(
        "log",
        Kind("stderr|syslog|FILE", log_target),
        "stderr",
        "where the log goes: 'stderr', 'syslog' (facility mail), or a file, which may be moved away at any time",
    )


OPTIONS: tuple[Option, ...] = tuple(
    each_field.metadata["declaration"](each_field.name) for each_field in fields(Config)
)
BY_NAME: Mapping[str, Option] = {declared.name: declared for declared in OPTIONS}
SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(declared.section for declared in OPTIONS))


# --- the INI file ------------------------------------------------------------------------------------------------


class _Ini(configparser.ConfigParser):
    """The file's syntax. A section's name has its line to itself: the stock pattern ignores what follows it."""

    SECTCRE = re.compile(r"\[(?P<header>[^]]+)\]$")

    def optionxform(self, optionstr: str) -> str:
        return optionstr


class IniFile(configargparse.ConfigparserConfigFileParser):  # type: ignore[misc]
    """The file's meaning. The stock parser interpolates ``%``, evaluates ``[…]`` and ignores sections."""

    def parse(self, stream: TextIO) -> Mapping[str, str]:
        """Return the text of each key, once it is certain that every one is an option in its section."""
        ini = _Ini(
            delimiters=("=",),
            inline_comment_prefixes=("#", ";"),
            interpolation=None,
            default_section="",
        )
        try:
            ini.read_string(stream.read())
        except UnicodeDecodeError:
            raise ConfigError(f"{stream.name}: it is not UTF-8 text") from None
        except (
            configparser.DuplicateOptionError,
            configparser.DuplicateSectionError,
            configparser.ParsingError,
        ) as error:
            raise ConfigError(f"{stream.name}: {_syntax_error(error)}") from None
        if problems := [f"{stream.name}: {problem}" for problem in _strangers(ini)]:
            raise ConfigError("\n".join(problems))
        return {key: text for section in ini.sections() for key, text in ini.items(section)}


_SyntaxError = configparser.DuplicateOptionError | configparser.DuplicateSectionError | configparser.ParsingError


def _syntax_error(error: _SyntaxError) -> str:
    """Say in a sentence of ours what configparser could not read."""
    match error:
        case configparser.DuplicateOptionError():
            return f"line {error.lineno}: [{error.section}] {error.option}: is given twice"
        case configparser.DuplicateSectionError():
            return f"line {error.lineno}: [{error.section}] is given twice"
        case configparser.MissingSectionHeaderError():
            return f"line {error.lineno}: {error.line.strip()!r} stands before the first [section]"
    line_number, line = error.errors[0]
    return f"line {line_number}: {line} is neither 'key = value' nor a [section]"


def _strangers(ini: configparser.ConfigParser) -> Iterator[str]:
    """Name the sections that do not exist, and the keys that do not or not there."""
    for section in ini.sections():
        if section not in SECTIONS:
            yield f"[{section}]: no such section{_suggestion(section, {name: f'[{name}]' for name in SECTIONS})}"
            continue
        for key in ini.options(section):
            if key not in BY_NAME:
                near = {name: f"{name} in [{declared.section}]" for name, declared in BY_NAME.items()}
                yield f"[{section}] {key}: no such key{_suggestion(key, near)}"
            elif BY_NAME[key].section != section:
                yield f"[{section}] {key}: belongs in [{BY_NAME[key].section}]"


def _suggestion(wrong: str, right: Mapping[str, str]) -> str:
    """Return a question that names what was probably meant, or nothing."""
    near = difflib.get_close_matches(wrong.strip().lower(), right, n=1)
    return f"; is {right[near[0]]} meant?" if near else ""


# --- the command line --------------------------------------------------------------------------------------------


class CommandLine(NamedTuple):
    """What the program was called with."""

    config: Config
    file: str | None
    check_config: bool
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
    parser.add_argument(
        "--check-config", action="store_true", help="say whether the configuration is good (exit status 0 or 2)"
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
    places = _places(parser, file)
    config = _config(arguments, places)
    if problems := [f"{places[name]}: {problem}" for name, problem in _contradictions(config)]:
        raise ConfigError("\n".join(problems))
    password_file = (arguments["smtp-password-file"] or [""])[0]
    warnings = [*_doubts(config), *_exposed("smtp-password-file", password_file)]
    return CommandLine(
        config, file, arguments["check_config"], tuple(f"{places[name]}: {doubt}" for name, doubt in warnings)
    )


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


def _contradictions(config: Config) -> Iterator[tuple[str, str]]:
    """Name the options that cannot be used together, each time with the option to change."""
    if config.smtp_auth == "fixed" and not config.smtp_username:
        yield "smtp-auth", "'fixed' needs smtp-username"
    if config.smtp_auth == "fixed" and not config.smtp_password:
        yield "smtp-auth", "'fixed' needs smtp-password-file"
    if config.imap_server in config.listen:
        yield "imap-server", f"{config.imap_server} is where the proxy itself listens"
    if config.smtp_server in config.listen:
        yield "smtp-server", f"{config.smtp_server} is where the proxy itself listens"


def _doubts(config: Config) -> Iterator[tuple[str, str]]:
    """Name the options that can be used, but probably not to the effect that is hoped for."""
    if config.references and config.max_composed_size < config.max_message_size:
        yield "max-composed-size", f"is less than max-message-size ({config.max_message_size} octets)"
    if config.server_names and not config.references:
        yield "server-names", "has no effect unless references = on"
    if config.smtp_auth != "fixed" and config.smtp_username:
        yield "smtp-username", "has no effect unless smtp-auth = fixed"
    if config.smtp_auth != "fixed" and config.smtp_password:
        yield "smtp-password-file", "has no effect unless smtp-auth = fixed"
    if config.smtp_auth == "user" and config.auth_mechanisms == "all":
        yield "auth-mechanisms", "with 'all' and smtp-auth = user, some ways to log in cannot be used to submit"


def _exposed(name: str, secret_file: str) -> Iterator[tuple[str, str]]:
    """Warn of a secret that every user of the machine can read."""
    if secret_file and Path(secret_file).stat().st_mode & 0o004:
        yield name, f"{secret_file} can be read by everybody; chmod o-r is advised"
