"""A throw-away Dovecot on loopback: never root, its own configuration, users and maildirs, nothing of the host's."""

import grp
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.functional.certificates import Pair
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
    prefix: str = ""
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

    def deliver(self, user: str, octets: bytes, mailbox: str = "INBOX") -> None:
        """Put a message into a user's mailbox as a delivery agent does."""
        deliver(account(), self.maildir(user) / ("" if mailbox == "INBOX" else f".{mailbox}"), octets)


@contextmanager
def running_dovecot(additions: str = "") -> Iterator[Dovecot]:
    """Run a Dovecot to which every user is known; ``additions`` come after its configuration."""
    require(PROGRAM)
    with public_directory("imapproxy-dovecot-") as directory:
        port, auth_port = free_ports(2)
        dovecot = Dovecot(directory, port, auth_port)
        write_files(dovecot, account(), additions)
        with started(directory / "dovecot.conf", directory / "dovecot.log", ("127.0.0.1", port)):
            yield dovecot


# TLS on both ports, on each address with its certificate; two listeners that want a PROXY header; and belief in what
# the proxy says by ID, but only as long as it comes from 127.0.0.1.
SECURED = """\
listen = {addresses}
ssl = yes
ssl_cert = <{pair.cert}
ssl_key = <{pair.key}
login_trusted_networks = 127.0.0.1
haproxy_trusted_networks = 127.0.0.1
service imap-login {{
  inet_listener imaps {{
    port = {tls_port}
  }}
  inet_listener proxied {{
    port = {proxied_port}
    haproxy = yes
  }}
  inet_listener proxied-tls {{
    port = {proxied_tls_port}
    haproxy = yes
    ssl = yes
  }}
}}
"""

SECURED_ADDRESS = """\
local {address} {{
  ssl_cert = <{pair.cert}
  ssl_key = <{pair.key}
}}
"""


@dataclass(frozen=True)
class SecuredDovecot:
    """A running server that listens in four ways, all on each address that it has a certificate for."""

    server: Dovecot
    tls_port: int
    proxied_port: int
    proxied_tls_port: int

    @property
    def port(self) -> int:
        """The port without TLS, with STARTTLS."""
        return self.server.port

    def log(self) -> str:
        return (self.server.directory / "dovecot.log").read_text(errors="replace")


@contextmanager
def running_secured_dovecot(pairs: Mapping[str, Pair]) -> Iterator[SecuredDovecot]:
    """Run a Dovecot with these certificates by the address that it listens on; the first is for 127.0.0.1."""
    ports = free_ports(3)
    first, *others = pairs.items()
    additions = SECURED.format(
        addresses=" ".join(pairs),
        pair=first[1],
        tls_port=ports[0],
        proxied_port=ports[1],
        proxied_tls_port=ports[2],
    ) + "".join(SECURED_ADDRESS.format(address=address, pair=pair) for address, pair in others)
    with running_dovecot(additions) as server:
        yield SecuredDovecot(server, *ports)


@contextmanager
def started(configuration: Path, log: Path, address: tuple[str, int]) -> Iterator[None]:
    """Run Dovecot with a configuration by which it listens there."""
    process = start(configuration)
    try:
        await_port(process, address[1], log, address[0])
        yield
    finally:
        terminate(process)


def start(configuration: Path) -> subprocess.Popen[bytes]:
    owner = account()
    command = [PROGRAM, "-F", "-c", str(configuration)]
    if is_root():
        return subprocess.Popen(command, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[])
    return subprocess.Popen(command)


def account() -> pwd.struct_passwd:
    """Return the account that Dovecot runs as: ours, or its package's where we are root."""
    return pwd.getpwnam("dovecot") if is_root() else pwd.getpwuid(os.geteuid())


def group_of(owner: pwd.struct_passwd) -> str:
    return grp.getgrgid(owner.pw_gid).gr_name


def write_files(dovecot: Dovecot, owner: pwd.struct_passwd, additions: str) -> None:
    directory = dovecot.directory
    text = CONFIGURATION.format(
        directory=directory,
        account=owner,
        group=group_of(owner),
        password=PASSWORD,
        sent=SENT,
        port=dovecot.port,
        auth_port=dovecot.auth_port,
    )
    (directory / "dovecot.conf").write_text(text + additions, encoding="utf-8")
    users = "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in PASSWORDS.items())
    (directory / "users").write_text(users, encoding="utf-8")
    (directory / "dovecot.log").touch()
    for name in ("home", "mail"):
        (directory / name).mkdir()
    give_to(owner, directory)


def deliver(owner: pwd.struct_passwd, maildir: Path, octets: bytes) -> None:
    """Put a message with CRLF lines into an account's maildir as new mail comes."""
    with tempfile.NamedTemporaryFile(dir=maildir / "new", delete=False) as file:
        file.write(octets.replace(b"\r\n", b"\n"))
    give_to(owner, Path(file.name))


def give_to(owner: pwd.struct_passwd, path: Path) -> None:
    """Make the account the owner of the path and of everything below it."""
    for each in (path, *path.rglob("*")):
        os.chown(each, owner.pw_uid, owner.pw_gid)
