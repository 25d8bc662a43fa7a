"""A throw-away Debian: a whole file system in memory, and machines made of it, on which things are really installed.

Nothing of the host is touched. The file system lies in a tmpfs that only a mount namespace knows; a machine is a copy
of it with processes, network (a loopback of its own, and nothing else), host name and mounts of its own. All of it is
gone when the process that holds it ends, which is when its standard input closes: with us, however we end.

``mmdebstrap`` fetches the packages from Debian's mirror; nothing is kept for the next time.
"""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from tests.functional.packages import is_root, require
from tests.functional.process import PATIENCE, public_directory

RELEASE = "bookworm"
HOST_NAME = "mail.example.com"

# What the package wants there, and what a mail host has beside it.
PACKAGES = (
    *("adduser", "init-system-helpers", "python3-configargparse", "python3-daemon", "python3-idna"),
    *("python3-prometheus-client", "dovecot-imapd", "postfix", "logrotate", "fail2ban", "make"),
)

# Notes which process it is, as the host counts; it is told from here once all is in its place.
NOTE = "read -r pid rest </proc/self/stat"

BASE = f"""\
set -e
{NOTE}
mount -t tmpfs -o mode=755 tmpfs "$1"
mmdebstrap --quiet --mode=root --variant=essential --include={",".join(PACKAGES)} {RELEASE} "$1/base" >&2
echo $pid
exec cat
"""

# Where there is no init, Debian starts services only if this file says so: status 0.
ALLOW_SERVICES = "#!/bin/sh\nexit 0\n"

# An init that only has the kernel clear away processes that end. Once it speaks, its root is the machine's, and no
# longer the host's: nothing may be written to the machine's files before.
HOLD = """\
import signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print(sys.argv[1], flush=True)
sys.stdin.read()
"""

MACHINE = f"""\
set -e
{NOTE}
cp -a "$1/base" "$2"
hostname {HOST_NAME}
ip link set lo up
mount -t proc proc "$2/proc"
exec chroot "$2" python3 -c '{HOLD}' $pid
"""

ENVIRONMENT = (
    "env",
    "-i",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME=/root",
    "LANG=C.UTF-8",
)
NUMBERS = count(1)
LONGEST_COMMAND = 120.0  # seconds


class CommandFailed(Exception):
    """A command on the machine ended with another status than 0; its output is the text."""


@dataclass(frozen=True)
class Machine:
    """A running machine, known by the process that holds it."""

    pid: int

    def path(self, name: str) -> Path:
        """Return where the machine's file can be read and written from here."""
        return Path(f"/proc/{self.pid}/root") / name.lstrip("/")

    def run(self, *command: str, stdin: str = "") -> str:
        """Return what the command says, on either output."""
        ended = self._ended(command, stdin)
        if ended.returncode != 0:
            raise CommandFailed(f"{' '.join(command)}: status {ended.returncode}\n{ended.stdout}")
        return ended.stdout

    def status(self, *command: str) -> int:
        """Return the command's exit status."""
        return self._ended(command, "").returncode

    def _ended(self, command: Sequence[str], stdin: str) -> subprocess.CompletedProcess[str]:
        enter = ("nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--root", "--wd")
        # Not a pipe: a daemon that keeps it open would keep us waiting; nor is there a terminal.
        with public_directory("imapproxy-output-") as directory, (directory / "output").open("w+") as output:
            ended = subprocess.run(
                [*enter, *ENVIRONMENT, *command],
                input=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=LONGEST_COMMAND,
                check=False,
            )
            output.seek(0)
            return subprocess.CompletedProcess(ended.args, ended.returncode, output.read())


@dataclass(frozen=True)
class Debian:
    """The file system from which machines are made."""

    directory: Path
    pid: int

    @contextmanager
    def machine(self) -> Iterator[Machine]:
        """Make a machine, with users fred and joe (password: secret), Dovecot and Postfix as Debian installs them."""
        enter = ("nsenter", f"--mount=/proc/{self.pid}/ns/mnt")
        apart = ("unshare", "--mount", "--uts", "--ipc", "--net", "--pid", "--fork", "--kill-child")
        root = self.directory / f"machine-{next(NUMBERS)}"
        try:
            with held([*enter, *apart, "sh", "-c", MACHINE, "sh", str(self.directory), str(root)]) as pid:
                machine = Machine(pid)
                assert not machine.path("/").samefile("/"), "this is no machine but the host"
                furnish(machine)
                yield machine
        finally:
            subprocess.run([*enter, "rm", "-rf", str(root)], check=True)


@contextmanager
def running_debian() -> Iterator[Debian]:
    """Make the file system; half a minute. Skip the test that asks where that cannot be done."""
    require("mmdebstrap")
    if (
        not is_root()
        or subprocess.run(["unshare", "--mount", "--net", "--pid", "--fork", "true"], check=False).returncode
    ):
        pytest.skip("needs root, and the right to make namespaces")
    with public_directory("imapproxy-debian-") as directory:
        command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", BASE, "sh", str(directory)]
        with held(command) as pid:
            yield Debian(directory, pid)


@contextmanager
def held(command: Sequence[str]) -> Iterator[int]:
    """Run the command as long as its standard input is open; yield the number of a process, which it prints first."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            said = process.stdout.readline()
            if not said:
                raise CommandFailed(f"{' '.join(command[:3])}: status {process.wait(PATIENCE)}; its error is above")
            yield int(said)
        finally:
            process.stdin.close()
            process.wait(PATIENCE)


def furnish(machine: Machine) -> None:
    policy = machine.path("/usr/sbin/policy-rc.d")
    policy.write_text(ALLOW_SERVICES)
    policy.chmod(0o755)
    machine.path("/etc/hosts").write_text(f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n")
    for user in ("fred", "joe"):
        machine.run("useradd", "--create-home", user)
        machine.run("chpasswd", stdin=f"{user}:secret\n")
    machine.run("postconf", "-e", f"myhostname = {HOST_NAME}", "mydestination = $myhostname")
    for service in ("dovecot", "postfix"):
        machine.run("service", service, "start")
