"""A throw-away Courier on loopback: its own configuration, users and maildirs, nothing of the host's.

The path of the socket at which Courier asks about users is compiled in, and so are where gamin lies, by which it locks
maildirs, and the account that does TLS. So Courier runs in a mount namespace of its own, in which these are the test's,
and in a process namespace, with which gamin's servers end. Both take root: an ordinary user's tests of Courier are
skipped. What answers at the socket is ours, and knows every user, as ``dovecot`` does.
"""

import pwd
import shutil
import socketserver
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from threading import Thread
from typing import BinaryIO

import pytest

from tests.functional.certificates import Pair
from tests.functional.dovecot import PASSWORD, deliver, give_to
from tests.functional.packages import is_root
from tests.functional.process import await_port, free_ports, public_directory
from tests.functional.unpacked import Unpacked

DAEMON = "/usr/sbin/couriertcpd"
MAILDIR = ("cur", "new", "tmp")

# All of /run is hidden, since the host need not have /run/courier. Debian's settings come before the test's own.
# GAM_CLIENT_ID: else all Couriers of the machine share one gamin.
START = """\
set -e
mount -t tmpfs none /run
mkdir /run/courier
mount --bind {directory}/run /run/courier
mount --bind {root}/usr/libexec /usr/libexec
mount --bind {directory}/passwd /etc/passwd
set -a
. {root}/etc/courier/imapd
{settings}
exec {root}{daemon} -address=127.0.0.1 -maxprocs={connections} -maxperip={connections} \\
    -nodnslookup -noidentlookup {port} {root}/usr/lib/courier/courier/imaplogin {root}/usr/bin/imapd Maildir
"""

SETTINGS = """\
IMAP_CAPABILITY="$IMAP_CAPABILITY AUTH=PLAIN"
IMAP_ENHANCEDIDLE=1
IMAP_STARTTLS={starttls}
IMAP_TLS_REQUIRED=0
COURIERTLS={root}/usr/bin/couriertls
TLS_CERTFILE={cert}
GAM_CLIENT_ID={port}
"""


@dataclass(frozen=True)
class Courier:
    """A running server: ``port`` speaks IMAP, with STARTTLS if it was given a certificate."""

    directory: Path
    port: int
    prefix: str = "INBOX."
    user_numbers: Iterator[int] = field(default_factory=count)

    def maildir(self, user: str) -> Path:
        return self.directory / "mail" / user / "Maildir"

    def new_user(self, mail: Path | None = None) -> str:
        """Return a user that nobody else is, with an empty maildir or a copy of that one, its UIDVALIDITY included."""
        user = f"user{next(self.user_numbers):04}"
        maildir = self.maildir(user)
        if mail is None:
            for name in MAILDIR:
                (maildir / name).mkdir(parents=True)
        else:
            shutil.copytree(mail, maildir)
        give_to(account(), maildir.parent)
        return user

    def deliver(self, user: str, octets: bytes, mailbox: str = "INBOX") -> None:
        """Put a message into a user's mailbox as a delivery agent does."""
        deliver(account(), self.maildir(user) / mailbox.removeprefix("INBOX"), octets)


class UserDaemon(socketserver.ThreadingUnixStreamServer):
    """What Courier takes for its authdaemond: everybody's password is ``PASSWORD``."""

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        self.mail = directory / "mail"
        super().__init__(str(directory / "run/authdaemon/socket"), Question)


class Question(socketserver.StreamRequestHandler):
    """Where the client is, ``AUTH <octets>``, and that many octets: service, kind, user and password, a line each."""

    def handle(self) -> None:
        assert isinstance(self.server, UserDaemon)
        while not (line := self.rfile.readline()).startswith(b"AUTH "):
            assert line
        size = int(line.removeprefix(b"AUTH "))
        _, _, user, password = self.rfile.read(size).decode().splitlines()
        owner = account()
        if password == PASSWORD:
            home = self.server.mail / user
            answer = f"UID={owner.pw_uid}\nGID={owner.pw_gid}\nHOME={home}\nADDRESS={user}\n.\n"
        else:
            answer = "FAIL\n"
        self.wfile.write(answer.encode())


@contextmanager
def running_courier(programs: Unpacked, pair: Pair | None = None, connections: int = 100) -> Iterator[Courier]:
    """Run a Courier to which every user is known, and which takes that many connections at a time."""
    programs.require(DAEMON)
    if not is_root():
        pytest.skip("needs root: Courier asks about users at a path that is compiled in")
    with public_directory("imapproxy-courier-") as directory:
        courier = Courier(directory, free_ports(1)[0])
        for name in ("mail", "run/authdaemon"):
            (directory / name).mkdir(parents=True)
        script = start_script(courier, programs, pair, connections)
        with running_user_daemon(directory), (directory / "courier.log").open("wb") as log:
            process = start(script, programs, log)
            try:
                await_port(process, courier.port, directory / "courier.log")
                yield courier
            finally:
                stop(process)


def start_script(courier: Courier, programs: Unpacked, pair: Pair | None, connections: int) -> str:
    directory, root = courier.directory, programs.root
    both = directory / "both.pem"
    if pair:
        both.write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    owner = account()
    accounts = Path("/etc/passwd").read_text() + f"courier:x:{owner.pw_uid}:{owner.pw_gid}::/:/bin/false\n"
    (directory / "passwd").write_text(accounts)
    settings = SETTINGS.format(root=root, port=courier.port, starttls="YES" if pair else "NO", cert=both)
    return START.format(
        directory=directory,
        root=root,
        daemon=DAEMON,
        settings=settings,
        port=courier.port,
        connections=connections,
    )


def start(script: str, programs: Unpacked, log: BinaryIO) -> subprocess.Popen[bytes]:
    namespaces = ("--mount", "--pid", "--fork", "--kill-child")
    return subprocess.Popen(
        ["unshare", *namespaces, "sh", "-c", script], env=programs.environment(), stdout=log, stderr=log
    )


def stop(process: subprocess.Popen[bytes]) -> None:
    """End ``unshare``, which takes no SIGTERM while it waits, and with it all processes of the namespace."""
    process.kill()
    process.wait()


@contextmanager
def running_user_daemon(directory: Path) -> Iterator[None]:
    with UserDaemon(directory) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def account() -> pwd.struct_passwd:
    """Return the account that owns all mail."""
    return pwd.getpwnam("nobody")
