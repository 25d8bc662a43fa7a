"""A throw-away fail2ban: its own configuration, socket, pidfile and database, nothing of the host's.

The configuration is made of ``etc/fail2ban``'s filter and jail, as they are installed, beside the lines that the
administrator writes: which log it is, and what a ban does. Here it adds a line with the address to a file.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.functional.packages import require
from tests.functional.process import PATIENCE, POLL_INTERVAL, ended, public_directory, terminate

PROGRAM = "/usr/bin/fail2ban-server"
OURS = Path(__file__).resolve().parents[2] / "etc" / "fail2ban"

SERVER = """\
[Definition]
loglevel = INFO
logtarget = {directory}/fail2ban.log
socket = {directory}/socket
pidfile = {directory}/pid
dbfile = {directory}/database
dbpurgeage = 1d
"""

# What Debian's jail.conf says for every jail, but ``ignoreself``: the tests' clients are on this machine.
EVERY_JAIL = """\
[DEFAULT]
bantime = 10m
findtime = 10m
maxretry = 5
backend = auto
usedns = warn
ignoreself = false
"""

# What the administrator writes.
ENABLED = """\
[imapproxy]
enabled = true
logpath = {log}
action = note[file="{banned}"]
"""

ACTION = """\
[Definition]
actionban = echo <ip> >>'<file>'
actionunban =
"""


@dataclass(frozen=True)
class Fail2ban:
    """A running fail2ban."""

    file: Path

    def banned(self) -> list[str]:
        """Return the addresses that have been banned by now, the first one first."""
        return self.file.read_text(encoding="ascii").split()

    def forget(self) -> None:
        """Begin the list anew; who was banned is so all the same."""
        self.file.write_bytes(b"")


@contextmanager
def running_fail2ban(log: Path) -> Iterator[Fail2ban]:
    """Run it with our jail on that log, which may be empty but must be there."""
    require(PROGRAM)
    with public_directory("imapproxy-fail2ban-") as directory:
        banned = directory / "banned"
        banned.touch()
        configure(directory, log, banned)
        process = start(directory)
        try:
            await_jail(process, directory / "fail2ban.log")
            yield Fail2ban(banned)
        finally:
            terminate(process)


def configure(directory: Path, log: Path, banned: Path) -> None:
    etc = directory / "etc"
    shutil.copytree(OURS, etc)
    (etc / "action.d").mkdir()
    for name, text in {
        "fail2ban.conf": SERVER.format(directory=directory),
        "jail.conf": EVERY_JAIL,
        "jail.d/imapproxy.local": ENABLED.format(log=log, banned=banned),
        "action.d/note.conf": ACTION,
    }.items():
        (etc / name).write_text(text, encoding="utf-8")


def start(directory: Path) -> subprocess.Popen[bytes]:
    """Start it in the foreground; the paths on the command line are those that it would take from the host else."""
    command = [
        PROGRAM,
        "-f",
        "-c",
        str(directory / "etc"),
        "-s",
        str(directory / "socket"),
        "-p",
        str(directory / "pid"),
    ]
    with (directory / "fail2ban.err").open("wb") as errors:
        return subprocess.Popen([*command, "start"], stdout=errors, stderr=errors)


def await_jail(process: subprocess.Popen[bytes], log: Path) -> None:
    """Return once it reads the log; raise with what it said if it ends or does not get that far."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        if log.exists() and "Jail 'imapproxy' started" in log.read_text(errors="replace"):
            return
        if ended(process, within=POLL_INTERVAL):
            break
    said = "".join(path.read_text(errors="replace") for path in (log, log.with_suffix(".err")) if path.exists())
    raise RuntimeError(f"fail2ban does not run our jail:\n{said}")
