"""A throw-away Cyrus on loopback: never root, its own configuration, users and mail, nothing of the host's."""

import os
import pwd
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.functional.certificates import Pair
from tests.functional.clients import logged_in
from tests.functional.dovecot import PASSWORD, give_to
from tests.functional.packages import is_root
from tests.functional.process import await_port, free_ports, public_directory, terminate
from tests.functional.unpacked import Unpacked

PROGRAMS = "/usr/lib/cyrus/bin"
SERVER_NAME = "localhost"  # the realm of the users, too

# Debian's defaults, but: everything in the test's directory, passwords in a file, PLAIN and LOGIN, no TLS unless asked
# for, and mailboxes that are made at the first login, none of them marked \Sent.
CONFIGURATION = """\
configdirectory: {directory}/conf
partition-default: {directory}/spool
defaultpartition: default
proc_path: {directory}/conf/proc
mboxname_lockpath: {directory}/conf/lock
idlesocket: {directory}/conf/socket/idle
servername: {server_name}
admins: cyrus
sasl_pwcheck_method: auxprop
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {directory}/conf/sasldb2
sasl_mech_list: PLAIN LOGIN
allowplaintext: yes
autocreate_quota: 0
autocreate_inbox_folders: Sent | Drafts
altnamespace: {beside_inbox}
unixhierarchysep: {beside_inbox}
"""

TLS = """\
tls_server_cert: {pair.cert}
tls_server_key: {pair.key}
"""

# Cyrus wants each brace on a line of its own. -U: an imapd serves that many clients, one after the other.
SERVICES = """\
START {{
  recover cmd="{programs}/ctl_cyrusdb -C {directory}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{programs}/imapd -C {directory}/imapd.conf -U 30" listen="127.0.0.1:{port}" proto="tcp4" prefork=0
}}
EVENTS {{
}}
DAEMON {{
  idled cmd="{programs}/idled -C {directory}/imapd.conf"
}}
"""

DIRECTORIES = ("conf/db", "conf/socket", "conf/proc", "conf/lock", "spool")


@dataclass(frozen=True)
class Cyrus:
    """A running server: ``port`` speaks IMAP, with STARTTLS if it was given a certificate."""

    directory: Path
    port: int
    programs: Unpacked
    prefix: str
    user_numbers: Iterator[int] = field(default_factory=count)

    def new_user(self) -> str:
        """Return a user that nobody else is, with an empty INBOX, Sent and Drafts."""
        user = f"user{next(self.user_numbers):04}"
        self.add_user(user)
        return user

    def deliver(self, user: str, octets: bytes, mailbox: str = "INBOX") -> None:
        """Put a message into a user's mailbox; to Cyrus one that was APPENDed is \\Recent, too."""
        with logged_in(self.port, user) as client:
            client.store_message(mailbox, octets)

    def add_user(self, user: str, password: str = PASSWORD) -> None:
        set_password(self.programs, self.directory / "conf/sasldb2", user, password)


@contextmanager
def running_cyrus(programs: Unpacked, pair: Pair | None = None, beside_inbox: bool = False) -> Iterator[Cyrus]:
    """Run a Cyrus to which no user is known yet.

    A user's mailboxes lie below INBOX and their names have dots (Debian's default), or they lie beside it and their
    names have slashes (Cyrus's own).
    """
    master = programs.require(f"{PROGRAMS}/master")
    with public_directory("imapproxy-cyrus-") as directory:
        cyrus = Cyrus(directory, free_ports(1)[0], programs, "" if beside_inbox else "INBOX.")
        write_files(cyrus, pair, beside_inbox)
        log = directory / "cyrus.log"
        command: Sequence[str | Path] = [master, "-D", "-C", directory / "imapd.conf", "-M", directory / "cyrus.conf"]
        with log.open("wb") as errors:
            process = start([*command, "-p", directory / "pid"], programs, stderr=errors)
        try:
            await_port(process, cyrus.port, log)
            yield cyrus
        finally:
            terminate(process)


def set_password(programs: Unpacked, database: Path, user: str, password: str) -> None:
    """Make a user, in a file that is made if it is not there."""
    saslpasswd2 = programs.require("/usr/sbin/saslpasswd2")
    command: Sequence[str | Path] = [saslpasswd2, "-p", "-c", "-u", SERVER_NAME, "-f", database, user]
    with start(command, programs, stdin=subprocess.PIPE) as process:
        process.communicate(password.encode())
    assert process.returncode == 0


def write_files(cyrus: Cyrus, pair: Pair | None, beside_inbox: bool) -> None:
    directory = cyrus.directory
    for name in DIRECTORIES:
        (directory / name).mkdir(parents=True)
    settings = CONFIGURATION.format(
        directory=directory, server_name=SERVER_NAME, beside_inbox="yes" if beside_inbox else "no"
    )
    services = SERVICES.format(directory=directory, port=cyrus.port, programs=f"{cyrus.programs.root}{PROGRAMS}")
    (directory / "imapd.conf").write_text(settings + (TLS.format(pair=pair) if pair else ""))
    (directory / "cyrus.conf").write_text(services)
    give_to(account(), directory)


def start(command: Sequence[str | Path], programs: Unpacked, **streams: Any) -> subprocess.Popen[bytes]:
    """Run a program in a session of its own: master ends by a signal to its process group."""
    owner = account()
    environment = {**programs.environment(), "CYRUS_USER": owner.pw_name}
    if is_root():
        streams |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
    return subprocess.Popen(command, env=environment, start_new_session=True, **streams)


def account() -> pwd.struct_passwd:
    """Return the account that Cyrus runs as: ours, or nobody's where we are root."""
    return pwd.getpwnam("nobody") if is_root() else pwd.getpwuid(os.geteuid())
