"""The guides in ``docs/``, done as they are written, by the rules that the first of them states.

A block of a guide belongs to the file that its first line names. It is added to that file; of ``imapproxy.conf`` a
later block replaces keys, of ``cyrus.conf`` a line replaces the one that begins with the same word. What only whole
machines have is replaced (``Machine.local``): ports by free ones, addresses by loopback ones, directories by the
test's, accounts by none.
"""

import configparser
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functional import dovecot as dovecot_server
from tests.functional import postfix as postfix_server
from tests.functional.dovecot import PASSWORD, account
from tests.functional.lmtp_sink import LmtpSink
from tests.functional.packages import is_root, require
from tests.functional.process import PATIENCE, free_ports
from tests.functional.proxy_process import PROGRAM, Proxy, addresses_in, running_program

DOCS = Path(__file__).resolve().parents[2] / "docs"

USERS = ("fred", "joe")
WORLD = "world.example"  # a domain that is not ours: mail for it is relayed

# Ports that the guides name, in places where a port can stand.
PORTS = (25, 143, 587, 993, 9143, 925, 943, 957)
PORT = re.compile(rf"(:|\bport(?: =)? |\", )({'|'.join(map(str, PORTS))})\b")

# fence = "```" kind LF *line "```", indented as a whole
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)  # one # begins a comment in a block
# named = ["#!" interpreter LF] "# " file LF
NAMED = re.compile(r"\A(#!\S+\n)?# (\S+)\n")


@dataclass(frozen=True)
class Block:
    """What a guide says to type, or to write into a file; and the heading above it."""

    kind: str
    file: str  # "" where it is to be typed
    text: str
    heading: str


def blocks(guide: str) -> list[Block]:
    """Return all blocks of a guide, in order."""
    text = (DOCS / guide).read_text(encoding="utf-8")
    return [block(fence, text) for fence in FENCE.finditer(text)]


def block(fence: re.Match[str], guide: str) -> Block:
    indent, kind, indented = fence.groups()
    text = re.sub(rf"(?m)^{indent}", "", indented)
    *_, heading = ("", *(found[1] for found in HEADING.finditer(guide, 0, fence.start())))
    named = NAMED.match(text)
    if named is None:
        return Block(kind, "", text, heading)
    return Block(kind, named[2], (named[1] or "") + text[named.end() :], heading)


def under(found: Iterable[Block], *headings: str) -> list[Block]:
    """Return those blocks that stand under headings which contain one of these."""
    return [each for each in found if any(part in each.heading for part in headings)]


def port_numbers() -> Mapping[int, int]:
    """Return for each port of a guide a free one."""
    return dict(zip(PORTS, free_ports(len(PORTS)), strict=True))


@dataclass(frozen=True)
class Machine:
    """A machine of a guide: its address, and a directory that holds its ``/etc``, ``/run`` and ``/var``."""

    root: Path
    address: str
    ports: Mapping[int, int]

    def path(self, name: str) -> Path:
        """Return where a file of this machine is, its directory made."""
        path = self.root / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def local(self, text: str) -> str:
        """Return the text with what this machine is in the place of what the guide says."""
        text = PORT.sub(lambda found: f"{found[1]}{self.ports[int(found[2])]}", text)
        text = re.sub(r"(_networks = )(?=10\.)", r"\g<1>127.0.0.1 ", text)
        text = re.sub(r"\b10\.0\.0\.(?=\d)", "127.0.0.", text)
        text = text.replace("0.0.0.0", self.address).replace("[::]", "[::1]")
        text = re.sub(r"(?<![\w.}])/(?=(?:etc|run|var)/)", f"{self.root}/", text)
        text = re.sub(r"\bmode = 0660\b", "mode = 0666", text)
        return re.sub(r"(?m)^ *(user|group) = .*\n", self.account, text)

    def account(self, line: re.Match[str]) -> str:
        """Only the program itself, and only root's, can become somebody else."""
        if "imapproxy" not in line[0] or not is_root():
            return ""
        return f"{line[1]} = {'nobody' if line[1] == 'user' else 'nogroup'}\n"

    def typed(self, text: str) -> str:
        """Return what is to be typed, or a program, for this machine; a name becomes an address there."""
        return self.local(text.replace("mail.example.com", self.address))

    def add(self, found: Iterable[Block]) -> None:
        """Write blocks into their files; ``imapproxy.conf`` all at once."""
        found = [each for each in found if each.file.startswith("/")]
        proxys = [each for each in found if each.file.endswith("imapproxy.conf")]
        for each in found:
            if each.file.endswith("cyrus.conf"):
                self.replace_lines(each)
            elif each not in proxys:
                with self.path(each.file).open("a", encoding="utf-8") as file:
                    file.write(self.local(each.text))
                if each.text.startswith("#!"):
                    self.path(each.file).chmod(0o755)
        if proxys:
            self.path(proxys[0].file).write_text(self.local(merged(each.text for each in proxys)), encoding="utf-8")

    def replace_lines(self, found: Block) -> None:
        path = self.path(found.file)
        text = path.read_text(encoding="utf-8")
        for line in self.local(found.text).splitlines():
            text, count = re.subn(rf"(?m)^\s*{line.split()[0]}\s.*$", line, text)
            assert count == 1, line
        path.write_text(text, encoding="utf-8")


def merged(texts: Iterable[str]) -> str:
    """Return an INI file's text with the keys of the later texts in the place of the earlier ones'."""
    ini = configparser.ConfigParser(delimiters=("=",), interpolation=None, comment_prefixes=(";",))
    for text in texts:
        ini.read_string(text)
    sections = ((name, ini.items(name)) for name in ini.sections())
    return "".join(f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in keys) for name, keys in sections)


def open_to_servers(root: Path) -> None:
    """Let servers that are not our user go through the directories, and read what is there.

    Dovecot, which is not root here, puts a socket into Postfix's ``private``.
    """
    for path in (root, *root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            path.chmod(0o777 if path.name == "private" and path.parent.name == "postfix" else 0o755)
        elif stat.S_ISREG(mode) and not mode & stat.S_IXUSR:
            path.chmod(0o644)


# Dovecot: Debian's files; in local.conf what the test must have, then what the guide says.

DOVECOT_LOCAL = """\
base_dir = {root}/run/dovecot
state_dir = {root}/run/dovecot
log_path = {root}/var/log/dovecot.log
listen = {address}
default_internal_user = {account.pw_name}
default_internal_group = {group}
default_login_user = {account.pw_name}
mail_privileged_group =
first_valid_uid = 1
auth_mechanisms = plain login
mail_location = maildir:{root}/mail/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={account.pw_uid} gid={account.pw_gid} home={root}/home/%u
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
}}
"""


def lay_out_dovecot(machine: Machine) -> None:
    """Write Debian's configuration, but for its users: ours have mail in ``mail/``."""
    require(dovecot_server.PROGRAM)
    debian = Path("/usr/share/dovecot")
    for source in (debian / "dovecot.conf", *debian.glob("conf.d/*.conf")):
        text = re.sub(r"(?m)^!include auth-system.*$", "", source.read_text(encoding="utf-8"))
        target = machine.path(f"/etc/dovecot/{source.relative_to(debian)}")
        target.write_text(re.sub(r"(?<!\S)<(?=/etc/)", f"<{machine.root}", text), encoding="utf-8")
    owner = account()
    local = DOVECOT_LOCAL.format(
        root=machine.root,
        address=machine.address,
        account=owner,
        group=dovecot_server.group_of(owner),
        password=PASSWORD,
    )
    machine.path("/etc/dovecot/local.conf").write_text(local, encoding="utf-8")


@contextmanager
def running_dovecot(machine: Machine, address: tuple[str, int]) -> Iterator[None]:
    owner = account()
    log = machine.path("/var/log/dovecot.log")
    log.touch()
    directories = [machine.root / name for name in ("mail", "home", "run/dovecot")]
    for directory in directories:
        directory.mkdir(parents=True, exist_ok=True)
    for path in (log, *directories):
        dovecot_server.give_to(owner, path)
    with dovecot_server.started(machine.path("/etc/dovecot/dovecot.conf"), log, address):
        yield


# Postfix: Debian's main.cf with what its installation adds; two users whose mail is Dovecot's.

POSTFIX_MAIN = """\
myhostname = mail.example.com
mydestination =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
inet_interfaces = all
inet_protocols = ipv4
queue_directory = {root}/var/spool/postfix
data_directory = {root}/var/lib/postfix
maillog_file = {root}/postfix.log
maillog_file_prefixes = {root}
import_environment = MAIL_CONFIG MAIL_LOGTAG LANG=C LD_PRELOAD LD_LIBRARY_PATH FAKEROOTKEY
alias_maps =
alias_database =
default_transport = error:5.4.4 no mail leaves this machine
transport_maps = inline:{{ {world}=lmtp:inet:127.0.0.1:{sink.port} }}
lmtp_destination_recipient_limit = 1
smtpd_peername_lookup = no
virtual_mailbox_domains = example.com
virtual_mailbox_base = {root}/mail
virtual_mailbox_maps = inline:{{ {mailboxes} }}
virtual_minimum_uid = 1
virtual_uid_maps = static:{account.pw_uid}
virtual_gid_maps = static:{account.pw_gid}
"""

# What ``postfix_server`` calls the directories, and where Debian has them.
POSTFIX_PLACES = {"conf": "etc/postfix", "queue": "var/spool/postfix", "data": "var/lib/postfix"}

POSTFIX_MASTER = """\
{address}:{port} inet n - n - - smtpd
virtual unix - n n - - virtual
"""


def lay_out_postfix(machine: Machine, sink: LmtpSink, address: str) -> None:
    """Write Debian's configuration, for a server at port 25 of that address."""
    require(postfix_server.MASTER, *(() if is_root() else ("fakeroot",)))
    for name, place in POSTFIX_PLACES.items():
        (machine.root / place).mkdir(parents=True, exist_ok=True)
        (machine.root / name).symlink_to(machine.root / place)
    postfix_server.make_directories(machine.root)
    main = POSTFIX_MAIN.format(
        root=machine.root,
        sink=sink,
        world=WORLD,
        account=account(),
        mailboxes=", ".join(f"{user}@example.com={user}/" for user in USERS),
    )
    debian = Path("/usr/share/postfix/main.cf.debian").read_text(encoding="utf-8")
    machine.path("/etc/postfix/main.cf").write_text(debian + main, encoding="utf-8")
    services = POSTFIX_MASTER.format(address=address, port=machine.ports[25]) + postfix_server.INNER_SERVICES
    machine.path("/etc/postfix/master.cf").write_text(services, encoding="utf-8")


@contextmanager
def running_postfix(machine: Machine, address: tuple[str, int]) -> Iterator[None]:
    with postfix_server.started(machine.root, address[1], address[0]):
        yield


# The program


@contextmanager
def running_imapproxy(machine: Machine) -> Iterator[Proxy]:
    """Run it with the machine's configuration, in the directories that ``make install`` makes."""
    configuration = machine.path("/etc/imapproxy/imapproxy.conf")
    log = machine.path("/var/log/imapproxy/imapproxy.log")
    machine.path("/run/imapproxy/imapproxy.pid")
    state = machine.path("/var/lib/imapproxy/journal").parent
    if is_root():
        shutil.chown(state, "nobody", "nogroup")
    listening = addresses_in(configuration.read_text(encoding="utf-8"))
    with running_program(configuration, log, listening) as proxy:
        yield proxy


def run(machine: Machine, text: str, ca: Path, keys: str = "") -> str:
    """Type commands of a guide into a shell with no terminal, and return what is said; ``keys`` are typed then."""
    environment = {
        **os.environ,
        "PATH": f"{program_directory(machine)}:{os.environ['PATH']}",
        "SSL_CERT_FILE": str(ca),
        "CURL_CA_BUNDLE": str(ca),
    }
    done = subprocess.run(
        ["sh", "-e", "-c", machine.typed(text)],
        cwd=machine.root,
        env=environment,
        input=keys,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=PATIENCE,
        start_new_session=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def program_directory(machine: Machine) -> Path:
    """Return a directory with ``imapproxy`` and ``python3`` in it, as ``make install`` and Debian have them."""
    directory = machine.root / "usr/local/bin"
    directory.mkdir(parents=True, exist_ok=True)
    for name, command in (("imapproxy", f"{sys.executable} {PROGRAM}"), ("python3", sys.executable)):
        script = directory / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
    return directory
