"""``make install``: what goes where, with PREFIX and DESTDIR; and on a real machine, from there to a login."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imapproxy import __version__
from tests.installation.machine import Debian, Machine
from tests.installation.make import ROOT, make
from tests.installation.test_real_package import CONFIGURATION, LOGIN

PREFIX = "/opt/mail"

FILES = {
    "opt/mail/bin/imap-submit": 0o755,
    "opt/mail/bin/imapproxy": 0o755,
    "opt/mail/share/doc/imapproxy/examples/imap-submit.conf": 0o644,
    "opt/mail/share/imapproxy/imap-submit-command": 0o755,
    "opt/mail/share/imapproxy/imapproxy-command": 0o755,
    "opt/mail/share/imapproxy/make-account": 0o755,
    "opt/mail/share/man/man1/imap-submit.1": 0o644,
    "opt/mail/share/man/man5/imapproxy.conf.5": 0o644,
    "opt/mail/share/man/man8/imapproxy.8": 0o644,
    "etc/fail2ban/filter.d/imapproxy.conf": 0o644,
    "etc/fail2ban/jail.d/imapproxy.conf": 0o644,
    "etc/imapproxy/imapproxy.conf": 0o644,
    "etc/init.d/imapproxy": 0o755,
    "etc/logrotate.d/imapproxy": 0o644,
    "etc/systemd/system/imapproxy.service": 0o644,
}

# What the program's package on the disk is made from.
SOURCES = ("Makefile", "bin", "docs", "etc", "imapproxy", "tests/setup")

SERVICE_SETTINGS = {
    "log-to = /var/log/imapproxy/imapproxy.log",
    "pidfile = /run/imapproxy/imapproxy.pid",
    "journal = /var/lib/imapproxy/journal",
    "user = imapproxy",
    "group = imapproxy",
    "control-socket = /run/imapproxy/control",
}


def install(destination: Path) -> None:
    make("install", DESTDIR=str(destination), PREFIX=PREFIX, PYTHON=sys.executable)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    destination = tmp_path_factory.mktemp("installed")
    install(destination)
    return destination


def modes(destination: Path) -> dict[str, int]:
    files = {path.relative_to(destination): path for path in destination.rglob("*") if path.is_file()}
    return {str(name): path.stat().st_mode & 0o777 for name, path in files.items()}


def test_every_file_has_its_place_and_mode(installed: Path) -> None:
    package = "opt/mail/share/imapproxy/imapproxy/"
    found = modes(installed)
    modules = {name.removeprefix(package): mode for name, mode in found.items() if name.startswith(package)}
    assert {name: mode for name, mode in found.items() if not name.startswith(package)} == FILES
    assert modules == {
        str(path.relative_to(ROOT / "imapproxy")): 0o644
        for pattern in ("*.py", "py.typed")
        for path in (ROOT / "imapproxy").rglob(pattern)
    }


def version(program: Path) -> str:
    return subprocess.run([program, "--version"], cwd="/", capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("program", ["imapproxy", "imap-submit"])
def test_program_runs_from_where_it_is(installed: Path, program: str) -> None:
    assert version(installed / "opt/mail/bin" / program) == f"{program} {__version__}\n"


def test_imap_submit_runs_under_the_name_of_sendmail(installed: Path, tmp_path: Path) -> None:
    sendmail = tmp_path / "sendmail"
    sendmail.symlink_to(installed / "opt/mail/bin/imap-submit")
    assert version(sendmail) == f"imap-submit {__version__}\n"


def test_imap_submit_says_that_it_cannot_read_a_directory(installed: Path) -> None:
    program = installed / "opt/mail/bin/imap-submit"
    ran = subprocess.run(["/bin/sh", "-c", f"{program} -t </"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (os.EX_IOERR, "imap-submit: standard input: Is a directory\n")


def test_manual_names_what_lies_under_the_prefix(installed: Path) -> None:
    manual = (installed / "opt/mail/share/man/man1/imap-submit.1").read_text()
    assert "set sendmail=/opt/mail/bin/imap\\-submit\n" in manual
    assert "\n.I /opt/mail/share/imapproxy\n" in manual
    assert not re.search("/usr/(bin|share)", manual)


@pytest.mark.parametrize("file", ["etc/init.d/imapproxy", "etc/systemd/system/imapproxy.service"])
def test_service_starts_the_program_under_the_prefix(installed: Path, file: str) -> None:
    text = (installed / file).read_text()
    assert "/opt/mail/bin/imapproxy" in text
    assert "/usr/bin/imapproxy" not in text


def test_configuration_is_the_documented_one_with_the_service_in_it(installed: Path) -> None:
    lines = (installed / "etc/imapproxy/imapproxy.conf").read_text().splitlines()
    assert {line for line in lines if line and line[0] not in "#["} == SERVICE_SETTINGS
    assert len(lines) == len((ROOT / "etc/imapproxy.conf").read_text().splitlines())


def test_installing_again_keeps_what_the_administrator_changed(tmp_path: Path) -> None:
    install(tmp_path)
    changed = [tmp_path / "etc" / name for name in ("imapproxy/imapproxy.conf", "fail2ban/jail.d/imapproxy.conf")]
    stale = tmp_path / "opt/mail/share/imapproxy/imapproxy/of_an_older_version.py"
    for file in (*changed, stale):
        file.write_text("# mine\n")
    install(tmp_path)
    assert [file.read_text() for file in changed] == ["# mine\n"] * 2
    assert not stale.exists()


def test_uninstalling_leaves_the_configuration_alone(tmp_path: Path) -> None:
    install(tmp_path)
    make("uninstall", DESTDIR=str(tmp_path), PREFIX=PREFIX)
    assert set(modes(tmp_path)) == {"etc/imapproxy/imapproxy.conf"}


def test_uninstalling_leaves_what_the_administrator_changed(tmp_path: Path) -> None:
    install(tmp_path)
    (tmp_path / "etc/logrotate.d/imapproxy").write_text("# mine\n")
    make("uninstall", DESTDIR=str(tmp_path), PREFIX=PREFIX)
    assert set(modes(tmp_path)) == {"etc/imapproxy/imapproxy.conf", "etc/logrotate.d/imapproxy"}


@pytest.fixture
def machine(debian: Debian) -> Iterator[Machine]:
    with debian.machine() as machine:
        yield machine


def test_administrator_installs_starts_and_uninstalls(machine: Machine) -> None:
    machine.path("/root/source").mkdir()
    archive = subprocess.run(["tar", "-c", *SOURCES], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    machine.path("/root/source.tar").write_bytes(archive)
    machine.run("tar", "-x", "-f", "/root/source.tar", "-C", "/root/source")
    make_there = ("make", "--no-print-directory", "--directory=/root/source")

    assert machine.run(*make_there, "install").startswith("Installed.")
    machine.run("imapproxy", "--config", CONFIGURATION, "--check-config")
    machine.run("service", "imapproxy", "start")
    assert machine.run("python3", "-c", LOGIN, "fred", "secret").startswith("True")

    machine.run(*make_there, "install")
    machine.run("service", "imapproxy", "restart")
    assert machine.run("python3", "-c", LOGIN, "joe", "secret").startswith("True")

    machine.run("service", "imapproxy", "stop")
    machine.run(*make_there, "uninstall")
    for program in ("imapproxy", "imap-submit"):
        assert machine.status("sh", "-c", f"command -v {program}") != 0
    assert "Traceback" not in machine.path("/var/log/imapproxy/imapproxy.log").read_text()
