"""The accounts that mail is sent from: who logs in where (docs/man/imap-submit.1, ACCOUNTS).

Keys are declared here once; they are flags, variables of the environment and keys of the file. Keys before the first
section are for all accounts, each section is one. Nothing is ignored: what cannot be used is a ``Failure`` (EX_CONFIG)
that names file, section and key. Nor is an account taken for another: whose is a message, addresses say, read as the
message's are.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from os import EX_CONFIG
from pathlib import Path
from typing import Any, Literal, NamedTuple, NoReturn

import configargparse  # type: ignore[import-untyped]

from imapproxy.errors import ConfigError
from imapproxy.ini import Ini, suggestion
from imapproxy.message.address import AddressError, parse_address
from imapproxy.sendmail.failure import Failure
from imapproxy.values import SWITCH, HostPort, Kind, choice, host_port, path, printable, seconds

Tls = Literal["on", "starttls", "off"]

FILE_NAME = "imap-submit.conf"

# The name of the section that the keys before the first section are read into: no header has it.
_FOR_ALL = " "


class Key(NamedTuple):
    """A key: its name in the file, which is that of its flag too, what it may hold, and its text if it is not given."""

    name: str
    kind: Kind[Any]
    default: str
    help: str

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return f"IMAP_SUBMIT_{self.name.upper().replace('-', '_')}"


def _path_at_home(text: str) -> str:
    try:
        return str(Path(path(text)).expanduser())
    except RuntimeError:
        raise ValueError(f"{text!r}: this machine does not know where that home is") from None


def _address(text: str) -> str:
    try:
        parse_address(text)
    except AddressError as error:
        raise ValueError(f"{text!r} is not an address such as anna@example.com: {error}") from None
    return text


_TEXT = Kind("TEXT", printable)
_ADDRESS = Kind("ADDRESS", _address)
_COMMAND = Kind("COMMAND", printable)
_FILE = Kind("FILE", _path_at_home)

KEYS = (
    Key("server", host_port(lowest_port=1), "", "the IMAP server"),
    Key("tls", choice(Tls), "on", "TLS from the first octet (on), after STARTTLS, or none (off)"),
    Key("tls-verify", SWITCH, "on", "whether the server's certificate must be good for its name"),
    Key("tls-ca", _FILE, "", "a PEM file with the authorities to trust (default: the system's)"),
    Key("user", _TEXT, "", "who logs in"),
    Key("from", _ADDRESS, "", "the account's address: From of messages without one; its domain completes bare names"),
    Key("set-from", SWITCH, "off", "whether 'from' replaces the address of every From"),
    Key("password-file", _FILE, "", "the password is the first line of this file"),
    Key("password-command", _COMMAND, "", "the password is the first line that this command prints"),
    Key("token-command", _COMMAND, "", "the same, for an OAuth 2.0 access token"),
    Key("timeout", seconds(1, 3600), "120", "for how long the server may be silent"),
)
_NAMES = {key.name: key for key in KEYS}

# Where the secret is.
_SECRETS = ("password-file", "password-command", "token-command")


@dataclass(frozen=True, slots=True)
class Account:
    """An account, whole: each attribute is the key of its name; ``places`` is where each key was given."""

    server: HostPort
    tls: Tls
    tls_verify: bool
    tls_ca: str
    user: str
    from_: str
    set_from: bool
    password_file: str
    password_command: str
    token_command: str
    timeout: float  # seconds
    places: Mapping[str, str] = field(default_factory=dict, compare=False)

    def place(self, key: str) -> str:
        """Return what an error about a key's value begins with: file, section and key, a flag, or a variable."""
        return self.places.get(key, key)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line says of the account: its name, the file, and flags that are keys; "" for none."""

    account: str = ""
    file: str = ""
    flags: tuple[str, ...] = ()


def account_of(wanted: Wanted, environ: Mapping[str, str], from_address: str | None) -> Account:
    """Return the account that is wanted: the named one, else the one of that address, else the first.

    A flag has precedence over the environment, that over the account's section, and that over the keys for all.
    """
    try:
        section = _section(wanted, environ, from_address)
        return _account(_of_highest_secrets(_given(wanted.flags, environ, section)), section.file)
    except ConfigError as failure:
        raise Failure(EX_CONFIG, str(failure)) from failure


# The file --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Section:
    """An account as its file has it: the texts of its own keys, and of those for all; "" takes back what is for all."""

    file: str
    name: str
    own: Mapping[str, str]
    for_all: Mapping[str, str]

    @property
    def texts(self) -> Mapping[str, str]:
        return {name: text for name, text in {**self.for_all, **self.own}.items() if text}

    def place(self, key: str) -> str:
        return f"{self.file}: {_in_section(self.name if key in self.own else '', key)}"


def _section(wanted: Wanted, environ: Mapping[str, str], from_address: str | None) -> _Section:
    """Return the account's section: the named one, else the one of that address, else the first, if there is any."""
    file, ini = _asked_for(wanted.file) if wanted.file else _usual(environ)
    for_all = dict(ini.items(_FOR_ALL))
    sections = {
        name: _Section(file, name, dict(ini.items(name)), for_all) for name in ini.sections() if name != _FOR_ALL
    }
    if wanted.account:
        return _named(wanted.account, file, sections)
    of_address = _of_address(from_address, sections.values())
    return of_address or next(iter(sections.values()), _Section(file, "", {}, for_all))


def _named(name: str, file: str, sections: Mapping[str, _Section]) -> _Section:
    if name not in sections:
        near = suggestion(name, {name: f"[{name}]" for name in sections})
        raise ConfigError(f"{file}: there is no account [{name}]{near}")
    return sections[name]


def _of_address(text: str | None, sections: Iterable[_Section]) -> _Section | None:
    """Return the first account that is of the address; a text that is none, such as a bare name, is nobody's.

    What stands in 'from' and is no address may have been meant to be this one: ConfigError.
    """
    try:
        key = parse_address(text or "").key
    except AddressError:
        return None
    return next((section for section in sections if _from_key(section) == key), None)


def _from_key(section: _Section) -> str:
    text = section.texts.get("from")
    try:
        return parse_address(_address(text)).key if text else ""
    except ValueError as error:
        raise ConfigError(f"{section.place('from')}: {error}") from None


def _asked_for(file: str) -> tuple[str, Ini]:
    """Return a file's path and what it holds."""
    try:
        return file, _read(file)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {file}") from None


def _usual(environ: Mapping[str, str]) -> tuple[str, Ini]:
    """Return the same of the file at home; flags and environment may do without one, and without a home."""
    file = os.path.expanduser(Path(environ.get("XDG_CONFIG_HOME") or "~/.config") / FILE_NAME)
    with suppress(FileNotFoundError):
        if not file.startswith("~"):  # nobody knows where home is
            return file, _read(file)
    nothing = Ini(general=_FOR_ALL)
    nothing.add_section(_FOR_ALL)
    return file, nothing


def _read(file: str) -> Ini:
    """Return a file of which it is certain that all its keys are some, or raise ConfigError or FileNotFoundError."""
    ini = Ini(general=_FOR_ALL)
    try:
        with open(file, encoding="utf-8") as stream:
            ini.read_stream(stream)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from None
    if problems := [f"{file}: {problem}" for section in ini.sections() for problem in _bad(ini, section)]:
        raise ConfigError("\n".join(problems))
    return ini


def _bad(ini: Ini, section: str) -> Iterator[str]:
    """Name the keys that are none, and the texts that no value has."""
    for name, text in ini.items(section):
        place = _in_section("" if section == _FOR_ALL else section, name)
        if name not in _NAMES:
            yield f"{place}: no such key{suggestion(name, {key: key for key in _NAMES})}"
        elif "\n" in text:
            yield f"{place}: takes one line, not {text!r}"


def _in_section(section: str, name: str) -> str:
    return f"[{section}] {name}" if section else name


# What is given ---------------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """A key's text, what an error about it begins with, and how far up it is given: 0 has precedence over 1."""

    text: str
    place: str
    level: int


class _Lines(configargparse.ConfigFileParser):  # type: ignore[misc]
    """What was found in a file, as configargparse reads it once more: its own parsers change what they read."""

    def parse(self, stream: Iterable[str]) -> Mapping[str, str]:
        """Return the text of each key."""
        return dict(line.removesuffix("\n").split("=", 1) for line in stream)


class _Parser(configargparse.ArgumentParser):  # type: ignore[misc]
    """The keys as flags, as variables and in the file."""

    def error(self, message: object) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigError(str(message))


def _given(flags: Sequence[str], environ: Mapping[str, str], section: _Section) -> Mapping[str, _Given]:
    """Return what is given, by the names of keys; an empty flag takes back what is given elsewhere."""
    parser = _Parser(prog="imap-submit", add_help=False, allow_abbrev=False, config_file_parser_class=_Lines)
    for key in KEYS:
        parser.add_argument(f"--{key.name}", dest=key.name, env_var=key.variable)
    given = parser.parse_args(
        list(flags),
        config_file_contents="".join(f"{name}={text}\n" for name, text in section.texts.items()),
        env_vars={variable: text for variable, text in environ.items() if text},
    )
    places = _places(parser.get_source_to_settings_dict(), section)
    texts = vars(given)
    return {key.name: _Given(texts[key.name], *places(key)) for key in KEYS if texts[key.name]}


def _places(sources: Mapping[str, Mapping[str, Any]], section: _Section) -> Callable[[Key], tuple[str, int]]:
    """Return what tells of a key that is given where that is, and on which level."""
    variables = sources.get("environment_variables", {})
    in_file = {name for source, keys in sources.items() if source.startswith("config_file") for name in keys}

    def place(key: Key) -> tuple[str, int]:
        if key.name in in_file:
            return section.place(key.name), 2 if key.name in section.own else 3
        return (key.variable, 1) if key.variable in variables else (f"--{key.name}", 0)

    return place


# The account -----------------------------------------------------------------------------------------------------


def _account(given: Mapping[str, _Given], file: str) -> Account:
    """Return the account, or raise ConfigError with all that is wrong with it."""
    problems = [*_missing(given, file), *_secrets_too_many(given)]
    values: dict[str, Any] = {}
    for key in KEYS:
        text, place, _ = given.get(key.name, _Given(key.default, key.name, 0))
        try:
            values[key.name] = key.kind.convert(text) if text else ""
        except ValueError as error:
            problems.append(f"{place}: {error}")
    if values.get("set-from") and "from" not in given:
        problems.append(f"{given['set-from'].place}: needs the account's own address (from)")
    if problems:
        raise ConfigError("\n".join(problems))
    places = {name: what.place for name, what in given.items()}
    return Account(**{_attribute(name): value for name, value in values.items()}, places=places)


def _attribute(name: str) -> str:
    return "from_" if name == "from" else name.replace("-", "_")


def _missing(given: Mapping[str, _Given], file: str) -> Iterator[str]:
    for name in ("server", "user"):
        if name not in given:
            yield f"{name}: must be given: in {file}, as --{name} or as {_NAMES[name].variable}"


def _secrets_too_many(given: Mapping[str, _Given]) -> Iterator[str]:
    named = [given[name] for name in _SECRETS if name in given]
    if len(named) > 1:
        yield f"{' and '.join(secret.place for secret in named)}: only one of {', '.join(_SECRETS)} can be given"


def _of_highest_secrets(given: Mapping[str, _Given]) -> Mapping[str, _Given]:
    """Return what is given without the secrets that one further up has precedence over, whichever key that is."""
    level = min((given[name].level for name in _SECRETS if name in given), default=0)
    return {name: what for name, what in given.items() if name not in _SECRETS or what.level == level}
