"""What a machine of the guide for Cyrus and Exim has already: Debian's files, users, and Exim's delivery to Cyrus."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.functional import cyrus as cyrus_server
from tests.functional import exim as exim_server
from tests.functional.clients import RecordingClient
from tests.functional.dovecot import PASSWORD, give_to
from tests.functional.guide import USERS, WORLD, Machine, open_to_servers
from tests.functional.lmtp_sink import RECIPIENT_LIMIT, LmtpSink
from tests.functional.process import await_port, terminate
from tests.functional.unpacked import Unpacked

# Cyrus: Debian's files, but users in a file of the test's, and of the services those that the guide is about.

CYRUS_ADDITIONS = """\
servername: {server_name}
sasl_auxprop_plugin: sasldb
sasl_sasldb_path: {users}
"""
SERVICES = ("imap", "lmtpunix")
STARTED_FIRST = ("recover",)

# What Debian's Cyrus and Exim have of the file system.
CYRUS_DIRECTORIES = (
    *("var/lib/cyrus/db", "var/lib/cyrus/socket", "var/spool/cyrus/mail", "var/spool/sieve"),
    *("run/cyrus/proc", "run/cyrus/lock", "run/cyrus/socket"),
)
EXIM_DIRECTORIES = ("var/spool/exim4", "var/log/exim4")


def lay_out_cyrus(machine: Machine, programs: Unpacked) -> None:
    """Write Debian's configuration, and make the users."""
    users = machine.path("/var/lib/cyrus/sasldb2")
    additions = CYRUS_ADDITIONS.format(server_name=cyrus_server.SERVER_NAME, users=users)
    for name, added in (("imapd.conf", additions), ("cyrus.conf", "")):
        text = (programs.root / "etc" / name).read_text(encoding="utf-8")
        machine.path(f"/etc/{name}").write_text(machine.local(text) + added, encoding="utf-8")
    for directory in CYRUS_DIRECTORIES:
        (machine.root / directory).mkdir(parents=True, exist_ok=True)
    for directory in ("var/lib/cyrus", "var/spool", "run/cyrus"):
        give_to(cyrus_server.account(), machine.root / directory)
    for user in USERS:
        cyrus_server.set_password(programs, users, user, PASSWORD)


@contextmanager
def running_cyrus(machine: Machine, programs: Unpacked, port: int) -> Iterator[None]:
    """Run Cyrus, whose users have logged in once and so have their mailboxes."""
    configuration, services = machine.path("/etc/imapd.conf"), machine.path("/etc/cyrus.conf")
    text = adapted(services.read_text(encoding="utf-8"), programs, configuration)
    services.write_text(text, encoding="utf-8")
    log = machine.root / "cyrus.log"
    command: Sequence[str | Path] = [
        programs.require(f"{cyrus_server.PROGRAMS}/master"),
        *("-D", "-C", configuration, "-M", services, "-p", machine.root / "run/cyrus/master.pid"),
    ]
    with log.open("wb") as errors:
        process = cyrus_server.start(command, programs, stderr=errors)
    try:
        await_port(process, port, log)
        for user in USERS:
            client = RecordingClient(port)
            client.login(user, PASSWORD)
            client.logout()
        yield
    finally:
        terminate(process)


def adapted(services: str, programs: Unpacked, configuration: Path) -> str:
    """Return a cyrus.conf with the services that are needed, whose programs are the unpacked ones."""
    kept = []
    for line in services.splitlines():
        name = line.split()[:1]
        is_entry = "cmd=" in line and not line.lstrip().startswith("#")
        if not is_entry or name[0] in (*SERVICES, *STARTED_FIRST):
            kept.append(line)
    command = rf'cmd="{programs.root}{cyrus_server.PROGRAMS}/\1 -C {configuration}'
    return re.sub(r'cmd="(?:/usr/sbin/cyrus )?(\w+)', command, "\n".join(kept)) + "\n"


# Exim: Debian's template with what its installation puts into it, and two routers of the test's before its own.

EXIM_MACROS = """\
MAIN_LOCAL_INTERFACES = {address}
MAIN_LOCAL_DOMAINS = @:localhost:example.com
MAIN_RELAY_TO_DOMAINS =
MAIN_RELAY_NETS = : 127.0.0.1 : ::::1
ETC_MAILNAME = mail.example.com
LOCAL_DELIVERY = mail_spool
DC_minimaldns = 1
DC_eximconfig_configtype = internet
DCconfig_internet = 1
"""

# First what only the test needs.
EXIM_MAIN = """\
MAIN_HARDCODE_PRIMARY_HOSTNAME = mail.example.com
MAIN_KEEP_ENVIRONMENT = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
SPOOLDIR = {root}/var/spool/exim4
CONFDIR = {root}/etc/exim4
log_file_path = {root}/var/log/exim4/%slog
pid_file_path = {root}/run/exim4.pid
daemon_smtp_ports = {port}
deliver_drop_privilege
"""

EXIM_ROUTERS = """\
begin routers

to_cyrus:
  driver = accept
  domains = example.com
  local_parts = {users}
  transport = to_cyrus

to_the_world:
  driver = manualroute
  domains = {world}
  route_list = * 127.0.0.1 byname
  self = send
  transport = to_sink
"""

EXIM_TRANSPORTS = """\
begin transports

to_cyrus:
  driver = lmtp
  socket = {root}/run/cyrus/socket/lmtp

to_sink:
  driver = smtp
  protocol = lmtp
  port = {sink_port}
  max_rcpt = {recipient_limit}
  allow_localhost
"""


def lay_out_exim(machine: Machine, programs: Unpacked) -> None:
    """Make the directories of Debian's Exim, and the file that the guide adds to."""
    for directory in EXIM_DIRECTORIES:
        (machine.root / directory).mkdir(parents=True, exist_ok=True)
        give_to(exim_server.account(), machine.root / directory)
    exim_server.write_accounts(machine.root)
    for name in ("passwd", "group"):  # Debian's template names some
        with (machine.root / name).open("a", encoding="utf-8") as file:
            file.write(Path("/etc", name).read_text(encoding="utf-8"))
    own = EXIM_MAIN.format(root=machine.root, port=machine.ports[25])
    machine.path("/etc/exim4/exim4.conf.localmacros").write_text(own, encoding="utf-8")
    programs.require(exim_server.PROGRAM)


@contextmanager
def running_exim(machine: Machine, programs: Unpacked, sink: LmtpSink) -> Iterator[None]:
    """Put the configuration together as Debian's update-exim4.conf does, and run Exim with it."""
    template = (programs.root / "etc/exim4/exim4.conf.template").read_text(encoding="utf-8")
    program = programs.require(exim_server.PROGRAM)
    for place, text in (
        ("exim_path = /usr/sbin/exim4\n", f"exim_path = {program}\n"),
        ("UPEX4CmacrosUPEX4C = 1\n", EXIM_MACROS.format(address=machine.address)),
        ("begin routers\n", EXIM_ROUTERS.format(users=" : ".join(USERS), world=WORLD)),
        (
            "begin transports\n",
            EXIM_TRANSPORTS.format(root=machine.root, sink_port=sink.port, recipient_limit=RECIPIENT_LIMIT),
        ),
    ):
        assert template.count(f"\n{place}") == 1, place
        template = template.replace(f"\n{place}", f"\n{text}")
    addresses = machine.path("/etc/email-addresses")
    addresses.touch()
    template = template.replace("/etc/email-addresses", str(addresses))
    localmacros = machine.path("/etc/exim4/exim4.conf.localmacros").read_text(encoding="utf-8")
    configuration = machine.path("/var/lib/exim4/config.autogenerated")
    configuration.write_text(localmacros + template, encoding="utf-8")
    open_to_servers(configuration.parent)
    process = exim_server.start([str(program), "-C", str(configuration), "-bdf"], programs, machine.root)
    try:
        await_port(process, machine.ports[25], machine.root / "var/log/exim4/mainlog")
        yield
    finally:
        terminate(process)
