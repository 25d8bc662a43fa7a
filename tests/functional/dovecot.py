"""A throw-away Dovecot on loopback: never root, its own configuration, users and maildirs, nothing of the host's."""

import grp
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.functional.packages import is_root, require
from tests.functional.process import await_port, free_ports, public_directory, terminate

PROGRAM = "/usr/sbin/dovecot"
PASSWORD = "secret"  # anybody's: each test has a user of its own, and thus a mailbox that nobody else changes
# Further passwords: this one SASL PLAIN carries as UTF-8, and LOGIN cannot.
PASSWORDS = {"zoe": "pässwörd"}
# The mailbox that has \Sent (RFC 6154), once a user has made it; the name is in modified UTF-7 on the wire.
SENT = "Verschickte Entwürfe"
SENT_ON_THE_WIRE = '"Verschickte Entw&APw-rfe"'

# Debian's defaults, but: one user for everything and no chroot (both need root), and no TLS.
CONFIGURATION = """\
base_dir = {directory}/run
state_dir = {directory}/run
log_path = {directory}/dovecot.log
listen = 127.0.0.1
protocols = imap
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_username_chars =
default_internal_user = {account.pw_name}
default_internal_group = {group}
default_login_user = {account.pw_name}
mail_location = maildir:{directory}/mail/%u
mail_max_userip_connections = 1000
first_valid_uid = 1
passdb {{
  driver = passwd-file
  args = username_format=%u {directory}/users
}}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={account.pw_uid} gid={account.pw_gid} home={directory}/home/%u
}}
namespace inbox {{
  inbox = yes
  mailbox "{sent}" {{
    special_use = \\Sent
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service auth {{
  inet_listener {{
    port = {auth_port}
  }}
}}
"""


@dataclass(frozen=True)
class Dovecot:
    """A running server: ``port`` speaks IMAP, ``auth_port`` Dovecot's authentication protocol (for Postfix)."""

    directory: Path
    port: int
    auth_port: int
    user_numbers: Iterator[int] = field(default_factory=count)

    def maildir(self, user: str) -> Path:
        return self.directory / "mail" / user

    def new_user(self, mail: Path | None = None) -> str:
        """Return a user that nobody else is, with a copy of that maildir, its UIDVALIDITY and dates included."""
        user = f"user{next(self.user_numbers):04}"
        if mail is not None:
            shutil.copytree(mail, self.maildir(user))
            give_to(account(), self.maildir(user))
        return user


@contextmanager
def running_dovecot() -> Iterator[Dovecot]:
    """Run a Dovecot to which every user is known."""
    require(PROGRAM)
    with public_directory("imapproxy-dovecot-") as directory:
        port, auth_port = free_ports(2)
        dovecot = Dovecot(directory, port, auth_port)
        process = start(dovecot)
        try:
            await_port(process, dovecot.port, directory / "dovecot.log")
            yield dovecot
        finally:
            terminate(process)


def start(dovecot: Dovecot) -> subprocess.Popen[bytes]:
    owner = account()
    write_files(dovecot, owner)
    command = [PROGRAM, "-F", "-c", str(dovecot.directory / "dovecot.conf")]
    if is_root():
        return subprocess.Popen(command, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[])
    return subprocess.Popen(command)


def account() -> pwd.struct_passwd:
    """Return the account that Dovecot runs as: ours, or its package's where we are root."""
    return pwd.getpwnam("dovecot") if is_root() else pwd.getpwuid(os.geteuid())


def write_files(dovecot: Dovecot, owner: pwd.struct_passwd) -> None:
    directory = dovecot.directory
    group = grp.getgrgid(owner.pw_gid).gr_name
    text = CONFIGURATION.format(
        directory=directory,
        account=owner,
        group=group,
        password=PASSWORD,
        sent=SENT,
        port=dovecot.port,
        auth_port=dovecot.auth_port,
    )
    (directory / "dovecot.conf").write_text(text, encoding="utf-8")
    users = "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in PASSWORDS.items())
    (directory / "users").write_text(users, encoding="utf-8")
    (directory / "dovecot.log").touch()
    for name in ("home", "mail"):
        (directory / name).mkdir()
    give_to(owner, directory)


def give_to(owner: pwd.struct_passwd, path: Path) -> None:
    """Make the account the owner of the path and of everything below it."""
    for each in (path, *path.rglob("*")):
        os.chown(each, owner.pw_uid, owner.pw_gid)
