"""Flags and file to ``Config``, what is wrong with them, and the files that describe them to the administrator."""

import configparser
import logging
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imapproxy import __version__
from imapproxy.config import OPTIONS, SECTIONS, CommandLine, Config, HostPort, command_line_parser, parse_command_line
from imapproxy.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "etc" / "imapproxy.conf"
MAN_CONF = ROOT / "docs" / "man" / "imapproxy.conf.5"
MAN_PROGRAM = ROOT / "docs" / "man" / "imapproxy.8"

NAMES = [option.name for option in OPTIONS]


def from_file(directory: Path, text: str, *flags: str) -> CommandLine:
    file = directory / "imapproxy.conf"
    file.write_text(text, encoding="utf-8")
    return parse_command_line(["-c", str(file), *flags])


def refusal(directory: Path, text: str, *flags: str) -> str:
    """The error's text, the file's name written as FILE."""
    with pytest.raises(ConfigError) as caught:
        from_file(directory, text, *flags)
    return str(caught.value).replace(str(directory / "imapproxy.conf"), "FILE")


WHOLE = """
; Every option, none at its default.
[listen]
listen = 127.0.0.1:143, [::1]:143
         192.0.2.1:1143
    # a comment between values

         [2001:db8::1]:1143   ; and one behind a value
server-names = IMAP.example.org, [2001:DB8::0:1]
    mail
max-clients = 7
login-timeout = 1.5
idle-timeout = 10
[imap]
imap-server = [::1]:144
auth-mechanisms = all
[smtp]
smtp-server = mail.example.org:587
smtp-auth = fixed
smtp-username = 50%(of)s [us]
smtp-password-file = {directory}/password
smtp-timeout = 20
[submit]
mail-domain = example.org
    bücher.example
from-policy = rewrite
identities = {directory}/identities
max-message-size = 10K
max-composed-size = 20K
max-recipients = 5
references = off
received-client-address = no
sent-mailbox = Gesendete Objekte/Büro
[log]
log-level = WARNING
log-to = ./imapproxy.log
"""


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("50%[secret]\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "identities").write_text("Fred fred.bloggs@example.org\n")
    command_line = from_file(tmp_path, WHOLE.format(directory=tmp_path))
    config = Config(
        listen=(
            HostPort("127.0.0.1", 143),
            HostPort("::1", 143),
            HostPort("192.0.2.1", 1143),
            HostPort("2001:db8::1", 1143),
        ),
        server_names=("imap.example.org", "2001:db8::1", "mail"),
        max_clients=7,
        login_timeout=1.5,
        idle_timeout=10.0,
        imap_server=HostPort("::1", 144),
        auth_mechanisms="all",
        smtp_server=HostPort("mail.example.org", 587),
        smtp_auth="fixed",
        smtp_username="50%(of)s [us]",
        smtp_password="50%[secret]",
        smtp_timeout=20.0,
        mail_domain=("example.org", "xn--bcher-kva.example"),
        from_policy="rewrite",
        identities={"fred": ("fred.bloggs@example.org",)},
        max_message_size=10_240,
        max_composed_size=20_480,
        max_recipients=5,
        references=False,
        received_client_address=False,
        sent_mailbox="Gesendete Objekte/Büro",
        log_level=logging.WARNING,
        log_to="./imapproxy.log",
    )
    file = str(tmp_path / "imapproxy.conf")
    doubt = f"{file}: [listen] server-names: has no effect unless references = on"
    assert command_line == CommandLine(config, file, False, (doubt,))


def test_the_defaults() -> None:
    config, file, check_config, warnings = parse_command_line([])
    assert (file, check_config, warnings) == (None, False, ())
    assert config.listen == (HostPort("127.0.0.1", 1143),)
    assert config.server_names == ()
    assert config.max_clients == 1000
    assert config.login_timeout == 60
    assert config.idle_timeout == 1800
    assert config.imap_server == HostPort("127.0.0.1", 143)
    assert config.auth_mechanisms == "reusable"
    assert config.smtp_server == HostPort("127.0.0.1", 25)
    assert (config.smtp_auth, config.smtp_username, config.smtp_password) == ("none", "", "")
    assert config.smtp_timeout == 300
    assert len(config.mail_domain) == 1
    assert (config.from_policy, config.identities) == ("check", {})
    assert config.max_message_size == 50 * 1024 * 1024
    assert config.max_composed_size == 100 * 1024 * 1024
    assert config.max_recipients == 100
    assert config.references is True
    assert config.received_client_address is True
    assert config.sent_mailbox == ""
    assert (config.log_level, config.log_to) == (logging.INFO, "stderr")


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    config = parse_command_line(
        ["--smtp-auth=fixed", "--smtp-username=fred", f"--smtp-password-file={password}"]
    ).config
    assert config.smtp_password == "secret"
    assert "secret" not in repr(config)


def test_flags_have_precedence_over_the_file(tmp_path: Path) -> None:
    text = "[listen]\nlisten = 127.0.0.1:1, 127.0.0.1:2\nmax-clients = 5\nlogin-timeout = 7\n"
    config = from_file(tmp_path, text, "--listen", "[::1]:3", "--listen=[::1]:4", "--max-clients=6").config
    assert config.listen == (HostPort("::1", 3), HostPort("::1", 4))
    assert config.max_clients == 6
    assert config.login_timeout == 7


def test_what_a_flag_overrides_is_not_read(tmp_path: Path) -> None:
    text = "[submit]\nidentities = /nonexistent\n[smtp]\nsmtp-server = nonsense\n"
    config = from_file(tmp_path, text, "--identities=", "--smtp-server=127.0.0.1:25").config
    assert config.identities == {}


def test_empty_values_where_they_mean_none(tmp_path: Path) -> None:
    text = (
        "[listen]\nserver-names =\n[smtp]\nsmtp-username =\nsmtp-password-file =\n"
        "[submit]\nidentities =\nmail-domain =\nsent-mailbox =\n"
    )
    assert from_file(tmp_path, text).config == parse_command_line([]).config


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for variable in (name, name.upper().replace("-", "_"), "IMAPPROXY_" + name.upper().replace("-", "_")):
            monkeypatch.setenv(variable, "nonsense")
    assert parse_command_line([]).config.max_clients == 1000


# What the file says, the flags after it, and the error.
REFUSED: list[tuple[str, tuple[str, ...], str]] = [
    # names
    ("[listne]\n", (), "FILE: [listne]: no such section; is [listen] meant?"),
    ("[LISTEN]\n", (), "FILE: [LISTEN]: no such section; is [listen] meant?"),
    ("[ smtp ]\n", (), "FILE: [ smtp ]: no such section; is [smtp] meant?"),
    ("[zzzz]\n", (), "FILE: [zzzz]: no such section"),
    ("[DEFAULT]\nmax-clients = 5\n", (), "FILE: [DEFAULT]: no such section"),
    ("[listen]\nmax-cleints = 5\n", (), "FILE: [listen] max-cleints: no such key; is max-clients in [listen] meant?"),
    ("[listen]\nMax-Clients = 5\n", (), "FILE: [listen] Max-Clients: no such key; is max-clients in [listen] meant?"),
    ("[listen]\nmax_clients = 5\n", (), "FILE: [listen] max_clients: no such key; is max-clients in [listen] meant?"),
    ("[listen]\nsmtp-srever = a:1\n", (), "FILE: [listen] smtp-srever: no such key; is smtp-server in [smtp] meant?"),
    ("[listen]\nzzzz = 5\n", (), "FILE: [listen] zzzz: no such key"),
    ("[listen]\nlisten-tls = [::1]:993\n", (), "FILE: [listen] listen-tls: no such key; is listen in [listen] meant?"),
    ("[listen]\nconfig = other\n", (), "FILE: [listen] config: no such key"),
    ("[listen]\ncheck-config = yes\n", (), "FILE: [listen] check-config: no such key"),
    (
        "[listen]\n--max-clients = 5\n",
        (),
        "FILE: [listen] --max-clients: no such key; is max-clients in [listen] meant?",
    ),
    ("[listen]\nsmtp-auth = user\n", (), "FILE: [listen] smtp-auth: belongs in [smtp]"),
    (
        "[listne]\n[smtp]\nmax-clients = 5\nx = y\n",
        (),
        "FILE: [listne]: no such section; is [listen] meant?\n"
        "FILE: [smtp] max-clients: belongs in [listen]\n"
        "FILE: [smtp] x: no such key",
    ),
    # syntax
    ("[listen]\nmax-clients = 5\nmax-clients = 5\n", (), "FILE: line 3: [listen] max-clients: is given twice"),
    ("[smtp]\n[listen]\n[smtp]\n", (), "FILE: line 3: [smtp] is given twice"),
    ("max-clients = 5\n", (), "FILE: line 1: 'max-clients = 5' stands before the first [section]"),
    ("\ufeff[listen]\n", (), "FILE: line 1: '\\ufeff[listen]' stands before the first [section]"),
    ("[listen]\nmax-clients\n", (), "FILE: line 2: 'max-clients\\n' is neither 'key = value' nor a [section]"),
    ("[listen]\nmax-clients: 5\n", (), "FILE: line 2: 'max-clients: 5\\n' is neither 'key = value' nor a [section]"),
    ("[log]\n[listen] junk\n", (), "FILE: line 2: '[listen] junk\\n' is neither 'key = value' nor a [section]"),
    ("[log]\n[listen] zzzz = y\n", (), "FILE: [log] [listen] zzzz: no such key; is listen in [listen] meant?"),
    # values
    (
        "[listen]\nmax-clients = 0\n",
        (),
        "FILE: [listen] max-clients: '0' is not a whole number from 1 to 100000",
    ),
    ("[listen]\nmax-clients =\n", (), "FILE: [listen] max-clients: '' is not a whole number from 1 to 100000"),
    (
        "[listen]\nmax-clients = 5\n  login-timeout = 5\n",
        (),
        "FILE: [listen] max-clients: takes one line, not '5\\nlogin-timeout = 5'",
    ),
    ("[listen]\nlisten =\n", (), "FILE: [listen] listen: at least one value is needed"),
    ("[listen]\nlisten = [::1]:1, [::1]:1\n", (), "FILE: [listen] listen: [::1]:1 is given twice"),
    (
        "[listen]\nlisten = ['127.0.0.1:143']\n",
        (),
        "FILE: [listen] listen: \"['127.0.0.1:143']\" is not host:port with a port from 0 to 65535",
    ),
    (
        "[imap]\nimap-server = 127.0.0.1:0\n",
        (),
        "FILE: [imap] imap-server: '127.0.0.1:0' is not host:port with a port from 1 to 65535",
    ),
    ("[smtp]\nsmtp-auth = plain\n", (), "FILE: [smtp] smtp-auth: 'plain' is not one of none, user, fixed"),
    (
        "[submit]\nreceived-client-address = 1\n",
        (),
        "FILE: [submit] received-client-address: '1' is not one of on, off, yes, no, true, false",
    ),
    (
        "[submit]\nmax-composed-size = 5G\n",
        (),
        "FILE: [submit] max-composed-size: '5G' is not a number of octets (K, M or G may follow) from 1 to 4294967295",
    ),
    (
        "[listen]\nserver-names = a..b\n",
        (),
        "FILE: [listen] server-names: 'a..b' is neither a host name nor an address",
    ),
    ("[submit]\nsent-mailbox = a\tb\n", (), "FILE: [submit] sent-mailbox: 'a\\tb' holds control characters"),
    (
        "[submit]\nidentities = /nonexistent\n",
        (),
        "FILE: [submit] identities: cannot read /nonexistent: No such file or directory",
    ),
    (
        "[smtp]\nsmtp-password-file = /nonexistent\n",
        (),
        "FILE: [smtp] smtp-password-file: cannot read /nonexistent: No such file or directory",
    ),
    (
        "[log]\nlog-level = loud\n[smtp]\nsmtp-timeout = -1\n",
        ("--max-recipients=x",),
        "FILE: [smtp] smtp-timeout: '-1' is not a number of seconds from 0.1 to 86400\n"
        "--max-recipients: 'x' is not a whole number from 1 to 100000\n"
        "FILE: [log] log-level: 'loud' is not one of debug, info, warning, error",
    ),
    # flags
    ("", ("--max-clients=5", "--max-clients=6"), "--max-clients: is given twice"),
    ("", ("--max-clients=",), "--max-clients: '' is not a whole number from 1 to 100000"),
    ("", ("--listen=[::1]:1", "--listen=[::1]:1"), "--listen: [::1]:1 is given twice"),
    ("", ("--max-client=5",), "unrecognized arguments: --max-client=5"),
    ("", ("--smtp-password=secret",), "unrecognized arguments: --smtp-password=secret"),
    ("", ("serve",), "unrecognized arguments: serve"),
    ("", ("--max-clients",), "argument --max-clients: expected one argument"),
    ("", ("--config=",), "--config: the file's name is empty"),
    # what does not go together
    (
        "[smtp]\nsmtp-auth = fixed\nsmtp-username = fred\n",
        (),
        "FILE: [smtp] smtp-auth: 'fixed' needs smtp-password-file",
    ),
    (
        "",
        ("--smtp-auth=fixed",),
        "--smtp-auth: 'fixed' needs smtp-username\n--smtp-auth: 'fixed' needs smtp-password-file",
    ),
    (
        "[imap]\nimap-server = [::1]:143\n",
        ("--listen=127.0.0.1:143,[0::1]:143",),
        "FILE: [imap] imap-server: [::1]:143 is where the proxy itself listens",
    ),
    ("", ("--listen=127.0.0.1:25",), "--smtp-server: 127.0.0.1:25 is where the proxy itself listens"),
]


@pytest.mark.parametrize(("text", "flags", "want"), REFUSED)
def test_refused(text: str, flags: tuple[str, ...], want: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text, *flags) == want


@pytest.mark.parametrize("name", ["none", "."])
def test_a_file_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    with pytest.raises(ConfigError, match=re.escape(f"Unable to open config file: {file}")):
        parse_command_line(["--config", str(file)])


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "imapproxy.conf"
    file.write_bytes(b"[submit]\nmail-domain = b\xfccher.example\n")
    with pytest.raises(ConfigError, match=re.escape(f"{file}: it is not UTF-8 text")):
        parse_command_line(["-c", str(file)])


def test_check_config(tmp_path: Path) -> None:
    assert from_file(tmp_path, "", "--check-config").check_config


WARNED = [
    (("--max-message-size=200M",), "--max-composed-size: is less than max-message-size (209715200 octets)"),
    (("--references=off", "--server-names=mail"), "--server-names: has no effect unless references = on"),
    (("--smtp-username=fred",), "--smtp-username: has no effect unless smtp-auth = fixed"),
    (
        ("--smtp-auth=user", "--auth-mechanisms=all"),
        "--auth-mechanisms: with 'all' and smtp-auth = user, some ways to log in cannot be used to submit",
    ),
]


@pytest.mark.parametrize(("flags", "want"), WARNED)
def test_warnings(flags: tuple[str, ...], want: str) -> None:
    assert parse_command_line(flags).warnings == (want,)


def test_a_password_without_use(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    password.chmod(0o600)
    (warning,) = parse_command_line([f"--smtp-password-file={password}"]).warnings
    assert warning == "--smtp-password-file: has no effect unless smtp-auth = fixed"


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_password_file_that_all_can_read(mode: int, exposed: bool, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret\n")
    password.chmod(mode)
    text = f"[smtp]\nsmtp-auth = fixed\nsmtp-username = fred\nsmtp-password-file = {password}\n"
    want = (
        f"{tmp_path}/imapproxy.conf: [smtp] smtp-password-file: {password} can be read by everybody; "
        "chmod o-r is advised"
    )
    assert from_file(tmp_path, text).warnings == ((want,) if exposed else ())


def test_version_and_help_end_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for flag, want in (("--version", f"imapproxy {__version__}\n"), ("--help", command_line_parser().format_help())):
        with pytest.raises(SystemExit) as caught:
            parse_command_line([flag])
        assert caught.value.code == 0
        assert capsys.readouterr().out == want


def test_help_states_every_option_its_section_and_its_default() -> None:
    text = " ".join(command_line_parser().format_help().split())
    for section in SECTIONS:
        assert f" [{section}]: " in text
    for option in OPTIONS:
        assert f" --{option.name} {option.kind.metavar} {' '.join(option.help.split())}" in text
        assert f"(default: {option.default}" in text


# --- what is written for the administrator ---


def test_the_sample_names_every_option_in_its_section_with_its_default() -> None:
    found, section = [], ""
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[([a-z]+)\]", line):
            section = header[1]
        elif setting := re.fullmatch(r"#([a-z-]+) =( .+)?", line):
            found.append((section, setting[1], (setting[2] or "").strip()))
    assert found == [(option.section, option.name, option.default) for option in OPTIONS]


def test_the_sample_as_it_is_changes_nothing() -> None:
    assert parse_command_line(["-c", str(SAMPLE)]).config == parse_command_line([]).config


def test_the_sample_with_its_settings_uncommented_changes_nothing(tmp_path: Path) -> None:
    text = re.sub("^#([a-z-]+ =)", r"\1", SAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(text)
    assert sum(len(ini.options(section)) for section in SECTIONS) == len(OPTIONS)
    assert from_file(tmp_path, text).config == parse_command_line([]).config


def manual_text(page: Path) -> str:
    """The page's source without the escapes of hyphens and macros' names."""
    return page.read_text(encoding="utf-8").replace("\\-", "-")


def test_the_manual_of_the_file_describes_every_option_in_its_section() -> None:
    found, section = [], ""
    for line in manual_text(MAN_CONF).splitlines():
        if header := re.fullmatch(r'\.SS "?\[([a-z]+)\]"?', line):
            section = header[1]
        elif setting := re.fullmatch(r"\.BI? ([a-z-]+) .*", line):
            found.append((section, setting[1]))
    assert found == [(option.section, option.name) for option in OPTIONS]


def test_the_manual_of_the_file_states_every_default() -> None:
    entries = dict(re.findall(r"^\.BI ([a-z-]+) (.*?)(?=^\.TP|^\.S[SH]|\Z)", manual_text(MAN_CONF), re.M | re.S))
    for option in OPTIONS:
        if option.default:
            assert f"Default: {option.default}." in entries[option.name].replace("\n", " ")


def test_the_manual_of_the_program_names_every_flag() -> None:
    text = manual_text(MAN_PROGRAM)
    synopsis = text.partition(".SH SYNOPSIS")[2].partition(".SH")[0]
    for flag in ("--config", "--check-config", "--version", "--help"):
        assert flag in synopsis
        assert flag in text.partition(".SH OPTIONS")[2]


@pytest.mark.parametrize("page", [MAN_CONF, MAN_PROGRAM], ids=lambda page: page.name)
def test_the_manuals_are_well_formed(page: Path) -> None:
    groff = shutil.which("groff")
    assert groff, "the package groff is needed"
    checked = subprocess.run([groff, "-man", "-ww", "-z", page], capture_output=True, text=True, check=True)
    assert checked.stderr == ""
