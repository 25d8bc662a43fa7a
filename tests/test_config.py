"""Flags and file to ``Config``, what is wrong with them, and the files that describe them to the administrator."""

import configparser
import logging
import re
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path

import pytest

from imapproxy import __version__
from imapproxy.config import CommandLine, Config, HostPort, command_line_parser, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.options import OPTIONS, SECTIONS

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "etc" / "imapproxy.conf"
MAN_CONF = ROOT / "docs" / "man" / "imapproxy.conf.5"
MAN_PROGRAM = ROOT / "docs" / "man" / "imapproxy.8"
MAN_IMAP_SUBMIT = ROOT / "docs" / "man" / "imap-submit.1"

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
listen-tls = [::]:993
    0.0.0.0:993
server-names = IMAP.example.org, [2001:DB8::0:1]
    mail
tls-cert = {directory}/certificate.pem
tls-key = {directory}/key.pem
require-tls = on
proxy-protocol-from = 192.0.2.0/24, 2001:db8::1
max-clients = 7
max-clients-per-ip = 3
login-timeout = 1.5
idle-timeout = 10
workers = 4
[imap]
imap-server = [::1]:144
imap-tls = starttls
imap-tls-ca = {directory}/authorities.pem
imap-tls-verify = on
imap-send-client-ip = proxy-protocol
auth-mechanisms = all
[smtp]
smtp-server = mail.example.org:465
smtp-tls = on
smtp-tls-ca =
smtp-tls-verify = no
smtp-auth = fixed
smtp-username = 50%(of)s [us]
smtp-password-file = {directory}/password
smtp-timeout = 20
smtp-xclient = on
[submit]
mail-domain = example.org
    bücher.example
from-policy = rewrite
identities = {directory}/identities
max-message-size = 10K
max-composed-size = 20K
max-recipients = 5
max-submissions-per-hour = 9
references = off
received-client-address = no
sent-mailbox = Gesendete Objekte/Büro
journal = {directory}/journal
[log]
log-level = WARNING
log-to = ./imapproxy.log
[process]
daemon = on
pidfile = {directory}/pid
user = root
group = root
[status]
control-socket = {directory}/control
status-listen = 127.0.0.1:9143
"""


def test_a_whole_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("50%[secret]\n")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "identities").write_text("Fred fred.bloggs@example.org\n")
    for name in ("certificate.pem", "key.pem", "authorities.pem"):
        (tmp_path / name).touch(0o600)
    command_line = from_file(tmp_path, WHOLE.format(directory=tmp_path))
    config = Config(
        listen=(
            HostPort("127.0.0.1", 143),
            HostPort("::1", 143),
            HostPort("192.0.2.1", 1143),
            HostPort("2001:db8::1", 1143),
        ),
        listen_tls=(HostPort("::", 993), HostPort("0.0.0.0", 993)),
        server_names=("imap.example.org", "2001:db8::1", "mail"),
        tls_cert=f"{tmp_path}/certificate.pem",
        tls_key=f"{tmp_path}/key.pem",
        require_tls=True,
        proxy_protocol_from=(ip_network("192.0.2.0/24"), ip_network("2001:db8::1/128")),
        max_clients=7,
        max_clients_per_ip=3,
        login_timeout=1.5,
        idle_timeout=10.0,
        workers=4,
        imap_server=HostPort("::1", 144),
        imap_tls="starttls",
        imap_tls_ca=f"{tmp_path}/authorities.pem",
        imap_tls_verify=True,
        imap_send_client_ip="proxy-protocol",
        auth_mechanisms="all",
        smtp_server=HostPort("mail.example.org", 465),
        smtp_tls="on",
        smtp_tls_ca="",
        smtp_tls_verify=False,
        smtp_auth="fixed",
        smtp_username="50%(of)s [us]",
        smtp_password="50%[secret]",
        smtp_timeout=20.0,
        smtp_xclient=True,
        mail_domain=("example.org", "xn--bcher-kva.example"),
        from_policy="rewrite",
        identities={"fred": ("fred.bloggs@example.org",)},
        max_message_size=10_240,
        max_composed_size=20_480,
        max_recipients=5,
        max_submissions_per_hour=9,
        references=False,
        received_client_address=False,
        sent_mailbox="Gesendete Objekte/Büro",
        journal=f"{tmp_path}/journal",
        log_level=logging.WARNING,
        log_to="./imapproxy.log",
        daemon=True,
        pidfile=f"{tmp_path}/pid",
        user="root",
        group="root",
        control_socket=f"{tmp_path}/control",
        status_listen=HostPort("127.0.0.1", 9143),
    )
    file = str(tmp_path / "imapproxy.conf")
    doubts = (
        f"{file}: [listen] server-names: has no effect unless references = on",
        f"{file}: [smtp] smtp-tls-verify: is off: anybody on the way can pose as mail.example.org:465; "
        "name its certificate in smtp-tls-ca instead",
    )
    assert command_line._replace(warnings=()) == CommandLine(config, file, False, False, ())
    assert sorted(command_line.warnings) == sorted(doubts)


def test_flags_and_no_file(tmp_path: Path) -> None:
    assert parse_command_line([]) == CommandLine(from_file(tmp_path, "").config, None, False, False, ())


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
        "[listen]\nlisten-tls =\nserver-names =\ntls-cert =\ntls-key =\nproxy-protocol-from =\n"
        "[imap]\nimap-tls-ca =\n[smtp]\nsmtp-tls-ca =\nsmtp-username =\nsmtp-password-file =\n"
        "[submit]\nidentities =\nmail-domain =\nsent-mailbox =\n"
        "[process]\npidfile =\nuser =\ngroup =\n[status]\ncontrol-socket =\nstatus-listen =\n"
    )
    assert from_file(tmp_path, text).config == parse_command_line([]).config


def test_the_environment_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        for variable in (name, name.upper().replace("-", "_"), "IMAPPROXY_" + name.upper().replace("-", "_")):
            monkeypatch.setenv(variable, "nonsense")
    assert parse_command_line([]).config.max_clients == 1000


@pytest.mark.parametrize(
    ("flags", "is_daemon"),
    [
        ((), False),
        (("--daemon",), True),
        (("--daemon", "on"), True),
        (("--daemon=off",), False),
        (("--daemon", "off"), False),
        (("--daemon", "--workers=2"), True),
    ],
)
def test_a_switch_without_a_value_is_on(flags: tuple[str, ...], is_daemon: bool, tmp_path: Path) -> None:
    text = "[log]\nlog-to = syslog\n[process]\ndaemon = "
    assert parse_command_line(["--log-to=syslog", *flags]).config.daemon == is_daemon
    # Whatever the file says, a flag has precedence.
    assert from_file(tmp_path, f"{text}off", *flags).config.daemon == is_daemon
    assert from_file(tmp_path, f"{text}on", *flags).config.daemon == (is_daemon or not flags)


def test_listening_with_tls_only(tmp_path: Path) -> None:
    (tmp_path / "certificate").touch(0o600)
    flags = ["--listen=", "--listen-tls=[::]:993", f"--tls-cert={tmp_path}/certificate"]
    config, *_, warnings = parse_command_line(flags)
    assert (config.listen, config.listen_tls, warnings) == ((), (HostPort("::", 993),), ())


def test_the_status_needs_no_right_to_read_what_the_proxy_reads(tmp_path: Path) -> None:
    text = (
        "[listen]\ntls-cert = /nonexistent\nrequire-tls = on\n[smtp]\nsmtp-auth = fixed\n"
        "smtp-password-file = /nonexistent\n[submit]\nmail-domain = example.org\n[status]\ncontrol-socket = /run/c\n"
    )
    config, _, check_config, status, warnings = from_file(tmp_path, text, "--status")
    assert (config.control_socket, config.mail_domain) == ("/run/c", ("example.org",))
    assert (check_config, status, warnings) == (False, True, ())


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
    (
        "[listen]\nlistentls = [::1]:993\n",
        (),
        "FILE: [listen] listentls: no such key; is listen-tls in [listen] meant?",
    ),
    ("[status]\nstatus = on\n", (), "FILE: [status] status: no such key; is status-listen in [status] meant?"),
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
        "[listen]\nmax-clients = 5\n  login-timeout = 5\n",
        (),
        "FILE: [listen] max-clients: takes one line, not '5\\nlogin-timeout = 5'",
    ),
    ("[listen]\nmax-clients =\n", (), "FILE: [listen] max-clients: '' is not a whole number from 1 to 100000"),
    ("[listen]\nlisten = ,\n", (), "FILE: [listen] listen: at least one value is needed"),
    ("[process]\ndaemon =\n", (), "FILE: [process] daemon: the value is missing (on|off)"),
    (
        "[listen]\nlisten = ['127.0.0.1:143']\n",
        (),
        "FILE: [listen] listen: \"['127.0.0.1:143']\" is not host:port with a port from 0 to 65535",
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
    ("", ("--daemon=maybe",), "--daemon: 'maybe' is not one of on, off, yes, no, true, false"),
    ("", ("--daemon=",), "--daemon: '' is not one of on, off, yes, no, true, false"),
    ("", ("--daemon", "--daemon"), "--daemon: is given twice"),
    ("", ("--status",), "--status: needs control-socket, the path with which the running proxy was started"),
    (
        "[status]\ncontrol-socket =\n",
        ("--status",),
        "--status: needs control-socket, the path with which the running proxy was started",
    ),
    ("", ("--status", "--check-config"), "argument --check-config: not allowed with argument --status"),
    # what does not go together
    (
        "[listen]\nlisten =\n",
        (),
        "FILE: [listen] listen: there is nowhere to listen; give an address here or in listen-tls",
    ),
    (
        "[smtp]\nsmtp-auth = fixed\n",
        ("--listen=127.0.0.1:143",),
        "--imap-server: 127.0.0.1:143 is where the proxy itself listens\n"
        "FILE: [smtp] smtp-auth: 'fixed' needs smtp-username\n"
        "FILE: [smtp] smtp-auth: 'fixed' needs smtp-password-file",
    ),
]


@pytest.mark.parametrize(("text", "flags", "want"), REFUSED)
def test_refused(text: str, flags: tuple[str, ...], want: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, text, *flags) == want


@pytest.mark.parametrize("host", ["a..b", ".a", "a..", "127.0.0.256", "127.1"])
@pytest.mark.parametrize(
    ("section", "key", "port"),
    [
        ("listen", "listen", ":143"),
        ("listen", "listen-tls", ":993"),
        ("listen", "server-names", ""),
        ("imap", "imap-server", ":143"),
        ("smtp", "smtp-server", ":25"),
        ("status", "status-listen", ":8080"),
    ],
)
def test_what_is_no_host_is_refused_in_every_option_that_names_one(
    section: str, key: str, port: str, host: str, tmp_path: Path
) -> None:
    text = f"[{section}]\n{key} = {host}{port}\n"
    assert refusal(tmp_path, text) == f"FILE: [{section}] {key}: {host!r} is neither a host name nor an address"


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


def test_a_doubt_has_its_place(tmp_path: Path) -> None:
    doubts = from_file(tmp_path, "[smtp]\nsmtp-username = fred\n", "--max-clients-per-ip=1001").warnings
    assert doubts == (
        "--max-clients-per-ip: has no effect above max-clients (1000)",
        f"{tmp_path}/imapproxy.conf: [smtp] smtp-username: has no effect unless smtp-auth = fixed",
    )


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


def test_help_states_every_option_its_section_and_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # else words are broken at hyphens
    text = " ".join(command_line_parser().format_help().split())
    for section in SECTIONS:
        assert f" [{section}]: " in text
    for option in OPTIONS:
        metavar = option.kind.metavar if option.kind.alone is None else f"[{option.kind.metavar}]"
        assert f" --{option.name} {metavar} {' '.join(option.help.split())}" in text
        assert f"(default: {option.default}" in text


# --- what is written for the administrator ---


def test_the_sample_as_it_is_changes_nothing() -> None:
    assert parse_command_line(["-c", str(SAMPLE)]).config == parse_command_line([]).config


def test_the_sample_with_its_settings_uncommented_changes_nothing(tmp_path: Path) -> None:
    text = re.sub("^#([a-z-]+ =)", r"\1", SAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string(text)
    assert sum(len(ini.options(section)) for section in SECTIONS) == len(OPTIONS)
    assert from_file(tmp_path, text).config == parse_command_line([]).config


def test_the_manual_of_the_program_names_every_flag() -> None:
    text = MAN_PROGRAM.read_text(encoding="utf-8").replace("\\-", "-")
    synopsis = text.partition(".SH SYNOPSIS")[2].partition(".SH")[0]
    for flag in ("--config", "--check-config", "--status", "--version", "--help"):
        assert flag in synopsis
        assert flag in text.partition(".SH OPTIONS")[2]


@pytest.mark.parametrize("page", [MAN_CONF, MAN_PROGRAM, MAN_IMAP_SUBMIT], ids=lambda page: page.name)
def test_the_manuals_are_well_formed(page: Path) -> None:
    groff = shutil.which("groff")
    assert groff, "the package groff is needed"
    checked = subprocess.run([groff, "-man", "-ww", "-z", page], capture_output=True, text=True, check=True)
    assert checked.stderr == ""
