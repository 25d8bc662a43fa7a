"""The Debian package on a Debian, as its administrator has it: installed, started by its init script, used, purged.

Dovecot and Postfix are as Debian installs them, and imapproxy's configuration is as it comes.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapproxy import __version__
from imapproxy.logs import record
from tests.functional.packages import require
from tests.installation.machine import HOST_NAME, CommandFailed, Debian, Machine
from tests.installation.make import make

PACKAGE = "/root/imapproxy.deb"
CONFIGURATION = "/etc/imapproxy/imapproxy.conf"
LOG = "/var/log/imapproxy/imapproxy.log"
PIDFILE = "/run/imapproxy/imapproxy.pid"

# What a package may leave behind when it is purged: Debian's own records of it.
LEFT_BY_DEBIAN = re.compile(
    r"/var/lib/dpkg/|/var/log/|/var/cache/|/etc/(passwd|group|shadow|gshadow|subuid|subgid)-|/run/adduser"
)

LOGIN = """\
import imaplib, sys
client = imaplib.IMAP4("127.0.0.1", 1143)
client.login(sys.argv[1], sys.argv[2])
print("CAN-SUBMIT" in client.capabilities, client.select())
client.logout()
"""

REFUSED_LOGIN = """\
import imaplib, sys
client = imaplib.IMAP4("127.0.0.1", 1143)
try:
    client.authenticate("PLAIN", lambda challenge: b"\\0" + sys.argv[1].encode() + b"\\0wrong")
except imaplib.IMAP4.error as refusal:
    print(refusal)
"""

SUBMIT = """\
import imaplib, socket
domain = socket.gethostname()
imaplib.Commands["SUBMIT"] = ("AUTH",)
client = imaplib.IMAP4("127.0.0.1", 1143)
client.login("fred", "secret")
header = f"Message-ID: <1@{domain}>\\r\\nFrom: fred@{domain}\\r\\nTo: joe@{domain}\\r\\nSubject: hello\\r\\n"
client.literal = f"{header}\\r\\nHello Joe.\\r\\n".encode()
print(*client._simple_command("SUBMIT"))
client.logout()
"""

# For imap-submit, in fred's home.
ACCOUNT = f"""\
server = 127.0.0.1:1143
tls = off
user = fred
from = fred@{HOST_NAME}
password-command = echo secret
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require("dh", "dh_python3")
    directory = tmp_path_factory.mktemp("package")
    make("deb", BUILD=str(directory / "build"), DIST=str(directory))
    [package] = directory.glob("imapproxy_*_all.deb")
    return package


@pytest.fixture(scope="module")
def machine(debian: Debian, package: Path) -> Iterator[Machine]:
    """Return a machine on which the package was installed, which starts it."""
    with debian.machine() as machine:
        install(machine, package)
        yield machine


def install(machine: Machine, package: Path) -> None:
    shutil.copy(package, machine.path(PACKAGE))
    machine.run("dpkg", "--install", PACKAGE)


def log(machine: Machine) -> str:
    return machine.path(LOG).read_text()


def service(machine: Machine, action: str) -> str:
    return machine.run("service", "imapproxy", action)


def parent(machine: Machine) -> int:
    return int(machine.path(PIDFILE).read_text())


def test_service_runs_once_it_is_installed(machine: Machine) -> None:
    assert "imapproxy is running" in service(machine, "status")
    assert "already" in service(machine, "start")


def test_workers_are_not_root(machine: Machine) -> None:
    pid = parent(machine)
    workers = machine.run("cat", f"/proc/{pid}/task/{pid}/children").split()
    owners = {machine.run("stat", "--format=%U:%G", f"/proc/{worker}").strip() for worker in workers}
    assert owners == {"imapproxy:imapproxy"}


@pytest.mark.parametrize(
    ("path", "owner"),
    [
        (LOG, "imapproxy:adm 640"),
        ("/var/log/imapproxy", "root:root 755"),
        ("/var/lib/imapproxy", "imapproxy:imapproxy 750"),
        ("/var/lib/imapproxy/journal", "imapproxy:imapproxy 600"),
        ("/run/imapproxy", "root:root 755"),
        ("/run/imapproxy/control", "imapproxy:imapproxy 660"),
        (PIDFILE, "root:root 644"),
        (CONFIGURATION, "root:root 644"),
    ],
)
def test_files_belong_to_whom_they_should(machine: Machine, path: str, owner: str) -> None:
    assert machine.run("stat", "--format=%U:%G %a", path).strip() == owner


def test_user_logs_in_through_it(machine: Machine) -> None:
    assert machine.run("python3", "-c", LOGIN, "fred", "secret").strip() == "True ('OK', [b'0'])"
    assert re.search(r" login user=fred client=127\.0\.0\.1 ", log(machine))


def test_user_sends_through_it(machine: Machine) -> None:
    assert machine.run("python3", "-c", SUBMIT).startswith("OK [b'SUBMIT completed")
    assert re.search(r" submission user=fred .*queued as", log(machine))


def test_what_it_sends_again_is_not_sent_again(machine: Machine) -> None:
    for _ in range(2):
        answer = machine.run("python3", "-c", SUBMIT)
    assert answer.startswith("OK [b'SUBMIT completed (accepted earlier, at ")


def test_user_sends_from_the_command_line(machine: Machine) -> None:
    before = len(log(machine))
    machine.run("su", "fred", "-c", "mkdir ~/.config && cat >~/.config/imap-submit.conf", stdin=ACCOUNT)
    machine.run("su", "fred", "-c", "imap-submit joe", stdin="Subject: hello\n\nHello Joe.\n")
    assert re.search(r" submission user=fred .*queued as", log(machine)[before:])


@pytest.mark.parametrize(
    "document",
    [
        *("doc/imapproxy/examples/imap-submit.conf", "man/man1/imap-submit.1.gz"),
        *("man/man5/imapproxy.conf.5.gz", "man/man8/imapproxy.8.gz"),
        *("doc/imapproxy/README.md", "doc/imapproxy/SECURITY.md", "doc/imapproxy/docs/dovecot-and-postfix.md"),
    ],
)
def test_documents_lie_where_debian_looks_for_them(machine: Machine, document: str) -> None:
    assert machine.path(f"/usr/share/{document}").is_file()


def test_library_is_where_its_manual_says(machine: Machine) -> None:
    machine.run("env", "PYTHONPATH=/usr/share/imapproxy", "python3", "-c", "from imapproxy.client import submit")


@pytest.mark.parametrize("program", ["imapproxy", "imap-submit"])
def test_program_says_which_it_is(machine: Machine, program: str) -> None:
    assert machine.run(program, "--version") == f"{program} {__version__}\n"


def test_sessions_are_shown(machine: Machine) -> None:
    machine.run("imapproxy", "--config", CONFIGURATION, "--status")


def test_fail2ban_finds_who_was_refused(machine: Machine) -> None:
    assert "failed" in machine.run("python3", "-c", REFUSED_LOGIN, 'x" client=192.0.2.7 y').lower()
    assert machine.run("fail2ban-regex", "--out=ip", LOG, "imapproxy").split() == ["127.0.0.1"]


# Lines as the program writes them, and whom fail2ban is to find in them.
REFUSED = record("login-refused", user="fred", client="192.0.2.66", mechanism="LOGIN")
LINES = [
    (REFUSED, "192.0.2.66"),
    (record("login-refused", user="fred", client="2001:db8::1", tls="TLSv1.3", mechanism="PLAIN"), "2001:db8::1"),
    (record("login-refused", user="fred", client="192.0.2.111", written="client=192.0.2.7"), "192.0.2.111"),
    (record("login-refused", user=None, client="192.0.2.101"), "192.0.2.101"),
    (record("login-refused", user="", client="192.0.2.102"), "192.0.2.102"),
    (record("login-refused", user="client=192.0.2.7", client="192.0.2.103"), "192.0.2.103"),
    (record("login-refused", user='" client=192.0.2.7 "', client="192.0.2.104"), "192.0.2.104"),
    (record("login-refused", user="a\\", client="192.0.2.105"), "192.0.2.105"),
    (
        record("login-refused", user=f"a\r\n2026-11-24 imapproxy[1]: {REFUSED}", client="192.0.2.106"),
        "192.0.2.106",
    ),
    (record("login-refused", user="jürgen" * 100, client="192.0.2.107"), "192.0.2.107"),
    (record("login", user="login-refused", client="192.0.2.108", mechanism="LOGIN"), None),
    (record("login", user=REFUSED, client="192.0.2.109", mechanism="LOGIN"), None),
    (record("disconnect", user="fred", client="192.0.2.110", reason=REFUSED), None),
]


# The log file's, and what two configurations of a syslog daemon make of it.
PREFIXES = ["2026-11-24T10:15:00.123+01:00 ", "Nov 24 10:15:00 mail ", "2026-11-24T10:15:00.123456+01:00 mail "]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_fail2ban_believes_no_user_name(machine: Machine, prefix: str) -> None:
    machine.path("/root/log").write_text("".join(f"{prefix}imapproxy[1234]: INFO {line}\n" for line, _ in LINES))
    found = machine.run("fail2ban-regex", "--out=ip", "/root/log", "imapproxy")
    assert found.split() == [client for _, client in LINES if client]


def test_fail2ban_takes_the_jail_once_it_is_enabled(machine: Machine) -> None:
    local = machine.path("/etc/fail2ban/jail.d/imapproxy.local")
    assert "imapproxy" not in machine.run("fail2ban-client", "--dump")
    local.write_text("[imapproxy]\nenabled = true\n[sshd]\nenabled = false\n")
    assert f"['set', 'imapproxy', 'addlogpath', '{LOG}'" in machine.run("fail2ban-client", "--dump")
    local.unlink()


def test_log_is_rotated_under_it(machine: Machine) -> None:
    machine.run("logrotate", "--force", "/etc/logrotate.d/imapproxy")
    assert log(machine) == ""
    machine.run("python3", "-c", LOGIN, "joe", "secret")
    assert " login user=joe " in log(machine)
    assert machine.run("stat", "--format=%U:%G %a", LOG).strip() == "imapproxy:adm 640"


def test_reload_keeps_the_process_and_bad_configuration_changes_nothing(machine: Machine) -> None:
    before = parent(machine)
    service(machine, "reload")
    configuration = machine.path(CONFIGURATION)
    good = configuration.read_text()
    configuration.write_text(good.replace("#max-clients =", "max-clients = many #"))
    for action in ("reload", "force-reload", "restart"):
        with pytest.raises(CommandFailed, match="max-clients"):
            service(machine, action)
    configuration.write_text(good)
    assert parent(machine) == before
    assert "imapproxy is running" in service(machine, "status")


def test_upgrade_starts_it_anew_and_keeps_the_configuration(machine: Machine, package: Path) -> None:
    configuration = machine.path(CONFIGURATION)
    configuration.write_text(configuration.read_text() + "# mine\n")
    before = parent(machine)
    install(machine, package)
    assert parent(machine) != before
    assert configuration.read_text().endswith("# mine\n")


def test_stop_ends_it_and_start_says_why_it_cannot_start(machine: Machine) -> None:
    service(machine, "stop")
    assert machine.status("service", "imapproxy", "status") == 3
    assert not machine.path(PIDFILE).exists()
    service(machine, "stop")
    configuration = machine.path(CONFIGURATION)
    good = configuration.read_text()
    configuration.write_text(good.replace("#tls-cert =", "tls-cert = /etc/none.pem #"))
    with pytest.raises(CommandFailed, match=r"/etc/none\.pem"):
        service(machine, "start")
    configuration.write_text(good)
    service(machine, "start")
    service(machine, "restart")
    machine.run("python3", "-c", LOGIN, "fred", "secret")
    assert "Traceback" not in log(machine)


def test_purge_leaves_nothing(debian: Debian, package: Path) -> None:
    with debian.machine() as machine:
        before = files(machine)
        install(machine, package)
        pid = parent(machine)
        machine.run("dpkg", "--purge", "imapproxy")
        assert not machine.path(f"/proc/{pid}").exists()
        assert sorted(files(machine) - before) == [PACKAGE]


def files(machine: Machine) -> set[str]:
    found = machine.run("find", "/", "-xdev", "-path", "/proc", "-prune", "-o", "-print").splitlines()
    return {path for path in found if not LEFT_BY_DEBIAN.match(path)}
