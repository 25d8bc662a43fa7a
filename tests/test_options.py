"""What each option may be, and what describes the options to the administrator."""

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imapproxy.options import BY_NAME, OPTIONS, Config
from imapproxy.values import HostPort

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "etc" / "imapproxy.conf"
MAN_CONF = ROOT / "docs" / "man" / "imapproxy.conf.5"
MAN_PROGRAM = ROOT / "docs" / "man" / "imapproxy.8"

DEFAULTS = Config(**{option.attribute: option.value(None) for option in OPTIONS})


def test_the_defaults() -> None:
    config = DEFAULTS
    assert (config.listen, config.listen_tls) == ((HostPort("127.0.0.1", 1143),), ())
    assert config.server_names == ()
    assert (config.tls_cert, config.tls_key, config.require_tls) == ("", "", False)
    assert config.proxy_protocol_from == ()
    assert (config.max_clients, config.max_clients_per_ip, config.workers) == (1000, 0, 1)
    assert config.login_timeout == 60
    assert config.idle_timeout == 1800
    assert config.imap_server == HostPort("127.0.0.1", 143)
    assert (config.imap_tls, config.imap_tls_ca, config.imap_tls_verify) == ("off", "", True)
    assert config.imap_send_client_ip == "off"
    assert config.auth_mechanisms == "reusable"
    assert (config.smtp_tls, config.smtp_tls_ca, config.smtp_tls_verify) == ("off", "", True)
    assert config.smtp_server == HostPort("127.0.0.1", 25)
    assert (config.smtp_auth, config.smtp_username, config.smtp_password) == ("none", "", "")
    assert (config.smtp_timeout, config.smtp_xclient) == (300, False)
    assert len(config.mail_domain) == 1
    assert (config.from_policy, config.identities) == ("check", {})
    assert config.max_message_size == 50 * 1024 * 1024
    assert config.max_composed_size == 100 * 1024 * 1024
    assert (config.max_recipients, config.max_submissions_per_hour) == (100, 0)
    assert config.references is True
    assert config.received_client_address is True
    assert (config.sent_mailbox, config.journal) == ("", "")
    assert (config.log_level, config.log_to) == (logging.INFO, "stderr")
    assert (config.daemon, config.pidfile, config.user, config.group) == (False, "", "", "")
    assert (config.control_socket, config.status_listen) == ("", None)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(replace(DEFAULTS, smtp_password="secret"))


def test_each_name_is_one_option() -> None:
    assert [BY_NAME[option.name] for option in OPTIONS] == list(OPTIONS)


# An option's name, the texts that were given for it, and the value.
GOOD: list[tuple[str, Sequence[str], Any]] = [
    *(("daemon", [text], True) for text in ("on", "yes", "true", "ON")),
    *(("references", [text], False) for text in ("off", "no", "false", "Off")),
    ("listen", ["[::1]:1", "[::1]:0,127.0.0.1:1"], (HostPort("::1", 1), HostPort("::1", 0), HostPort("127.0.0.1", 1))),
    ("listen", ["[::1]:1\n127.0.0.1:1"], (HostPort("::1", 1), HostPort("127.0.0.1", 1))),
    ("listen", [""], ()),
    ("imap-server", ["localhost:143"], HostPort("localhost", 143)),
    ("workers", ["256"], 256),
    ("idle-timeout", ["604800"], 604_800),
    ("max-clients-per-ip", ["0"], 0),
    ("max-submissions-per-hour", ["0"], 0),
    ("max-message-size", ["4294967295"], 2**32 - 1),
    ("log-level", ["debug"], logging.DEBUG),
    ("log-level", ["error"], logging.ERROR),
    ("smtp-username", ["50%(of)s [us]"], "50%(of)s [us]"),
    ("status-listen", ["[::]:0"], HostPort("::", 0)),
]


@pytest.mark.parametrize(("name", "given", "want"), GOOD)
def test_good_values(name: str, given: Sequence[str], want: object) -> None:
    assert BY_NAME[name].value(given) == want


# An option's name, the texts that were given for it, and what is wrong with them.
REFUSED: list[tuple[str, Sequence[str], str]] = [
    ("max-clients", ["5", "6"], "is given twice"),
    ("max-clients", ["5\n6"], "takes one line, not '5\\n6'"),
    ("max-clients", ["0"], "'0' is not a whole number from 1 to 100000"),
    ("max-clients", [""], "'' is not a whole number from 1 to 100000"),
    ("max-recipients", ["x"], "'x' is not a whole number from 1 to 100000"),
    ("workers", ["0"], "'0' is not a whole number from 1 to 256"),
    ("login-timeout", ["0"], "'0' is not a number of seconds from 0.1 to 86400"),
    ("smtp-timeout", ["-1"], "'-1' is not a number of seconds from 0.1 to 86400"),
    ("idle-timeout", ["604801"], "'604801' is not a number of seconds from 0.1 to 604800"),
    ("listen", [","], "at least one value is needed"),
    ("listen", ["[::1]:1, [::1]:1"], "[::1]:1 is given twice"),
    ("listen", ["[::1]:1", "[::1]:1"], "[::1]:1 is given twice"),
    ("listen", ["nonsense"], "'nonsense' is not host:port with a port from 0 to 65535"),
    ("imap-server", ["127.0.0.1:0"], "'127.0.0.1:0' is not host:port with a port from 1 to 65535"),
    ("smtp-server", ["127.0.0.1:0"], "'127.0.0.1:0' is not host:port with a port from 1 to 65535"),
    ("status-listen", ["9143"], "the host is missing (every IPv4 address is 0.0.0.0, every IPv6 address is [::])"),
    ("server-names", ["a..b"], "'a..b' is neither a host name nor an address"),
    (
        "proxy-protocol-from",
        ["192.0.2.1/24"],
        "'192.0.2.1/24' has bits set behind the network's; is 192.0.2.0/24 meant?",
    ),
    ("daemon", [""], "'' is not one of on, off, yes, no, true, false"),
    ("received-client-address", ["1"], "'1' is not one of on, off, yes, no, true, false"),
    ("imap-tls", ["yes"], "'yes' is not one of off, starttls, on"),
    ("smtp-auth", ["plain"], "'plain' is not one of none, user, fixed"),
    ("log-level", ["loud"], "'loud' is not one of debug, info, warning, error"),
    ("log-to", ["log"], "'log' is neither stderr nor syslog, nor a file's path with a / in it"),
    (
        "log-to",
        ["/nonexistent/log"],
        "there is no directory /nonexistent for /nonexistent/log; make one, which only root can write to",
    ),
    ("max-composed-size", ["5G"], "'5G' is not a number of octets (K, M or G may follow) from 1 to 4294967295"),
    ("sent-mailbox", ["a\tb"], "'a\\tb' holds control characters"),
    ("identities", ["/nonexistent"], "cannot read /nonexistent: No such file or directory"),
    ("smtp-password-file", ["/nonexistent"], "cannot read /nonexistent: No such file or directory"),
    (
        "imap-tls-ca",
        ["/nonexistent"],
        "cannot read /nonexistent: No such file or directory; name a file that holds the certificates of authorities,"
        " in PEM, and that you can read",
    ),
    (
        "tls-cert",
        ["/nonexistent"],
        "cannot read /nonexistent: No such file or directory; name a file that holds the certificate and its chain,"
        " in PEM, and that you can read",
    ),
    (
        "tls-key",
        ["/"],
        "cannot read /: it is not a file; name a file that holds the certificate's key, in PEM, and that you can read",
    ),
    (
        "user",
        ["no-such"],
        "this machine has no user 'no-such'; create it (adduser --system --group NAME) or name another",
    ),
    ("group", ["no-such"], "this machine has no group 'no-such'; create it (addgroup --system NAME) or name another"),
]


@pytest.mark.parametrize(("name", "given", "want"), REFUSED)
def test_refused(name: str, given: Sequence[str], want: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(want)}$"):
        BY_NAME[name].value(given)


# --- what is written for the administrator ---


def test_the_sample_names_every_option_in_its_section_with_its_default() -> None:
    found, section = [], ""
    for line in SAMPLE.read_text(encoding="utf-8").splitlines():
        if header := re.fullmatch(r"\[([a-z]+)\]", line):
            section = header[1]
        elif setting := re.fullmatch(r"#([a-z-]+) =( .+)?", line):
            found.append((section, setting[1], (setting[2] or "").strip()))
    assert found == [(option.section, option.name, option.default) for option in OPTIONS]


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


def test_the_manual_of_the_program_names_every_event_of_the_log() -> None:
    sources = [source.read_text(encoding="utf-8") for source in (ROOT / "imapproxy").rglob("*.py")]
    logged = {event for text in sources for event in re.findall(r'\b(?:record|_log)\(\s*"([a-z-]+)"', text)}
    (log,) = re.findall(r"^\.SH LOG$(.*?)^\.SH ", manual_text(MAN_PROGRAM), re.M | re.S)
    assert logged == set(re.findall(r"\\fB([a-z]+(?:-[a-z]+)*)\\fR", log)) - {"user"}
