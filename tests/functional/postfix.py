"""A throw-away Postfix on loopback: its own configuration and queue, nothing of the host's, no mail to the outside.

Postfix insists on root, for its master gives every daemon an identity of its own. Where the tests are not root,
Debian's ``fakeroot`` makes it believe that it is and that it did; no user namespaces or subordinate ids are needed.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functional.certificates import Pair
from tests.functional.lmtp_sink import RECIPIENT_LIMIT, Arrival, LmtpSink, running_lmtp_sink
from tests.functional.packages import is_root, require
from tests.functional.process import PATIENCE, await_port, ended, free_ports, public_directory

MASTER = "/usr/lib/postfix/sbin/master"
SIZE_LIMIT = 8 * (1 << 20)
LARGE_SIZE_LIMIT = 100 * (1 << 20)

# Stock but for: no DNS, mail for known users to the sink, everything else refused, the host's files left alone.
# import_environment: Postfix cleans the environment of its daemons, fakeroot works through it.
MAIN = """\
compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
mail_owner = postfix
setgid_group = postdrop
maillog_file = {directory}/postfix.log
maillog_file_prefixes = {directory}
import_environment = MAIL_CONFIG MAIL_LOGTAG LANG=C LD_PRELOAD LD_LIBRARY_PATH FAKEROOTKEY
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.example.com
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
default_transport = error:5.4.4 no mail leaves this machine
virtual_mailbox_domains = example.com owatagu.siam.edu
virtual_mailbox_maps = inline:{{ {users} }}
virtual_transport = lmtp:inet:127.0.0.1:{sink_port}
lmtp_destination_recipient_limit = {recipient_limit}
message_size_limit = {size_limit}
smtpd_peername_lookup = no
smtpd_relay_restrictions = permit_mynetworks reject
smtpd_recipient_restrictions =
    check_recipient_access inline:{{ {{grey@example.com=450 4.2.0 greylisted}} }} reject_unlisted_recipient
"""

LISTENERS = """\
127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{seven_bit_port} inet n - n - - smtpd
    -o smtpd_discard_ehlo_keywords=8bitmime,smtputf8
127.0.0.1:{auth_port} inet n - n - - smtpd
    -o smtpd_sasl_auth_enable=yes
    -o smtpd_sasl_type=dovecot
    -o smtpd_sasl_path=inet:127.0.0.1:{dovecot_auth_port}
    -o smtpd_client_restrictions=permit_sasl_authenticated,reject
127.0.0.1:{credulous_port} inet n - n - - smtpd
    -o smtpd_recipient_restrictions=permit_mynetworks,reject
    -o smtpd_reject_unlisted_recipient=no
127.0.0.1:{large_port} inet n - n - - smtpd
    -o message_size_limit={large_size_limit}
    -o cleanup_service_name=large-cleanup
127.0.0.1:{xclient_port} inet n - n - - smtpd
    -o smtpd_authorized_xclient_hosts=127.0.0.0/8
    -o smtpd_sasl_auth_enable=yes
    -o smtpd_sasl_type=dovecot
    -o smtpd_sasl_path=inet:127.0.0.1:{dovecot_auth_port}
    -o smtpd_relay_restrictions=permit_sasl_authenticated,reject
large-cleanup unix n - n - 0 cleanup
    -o message_size_limit={large_size_limit}
"""

# What stands behind the listeners.
INNER_SERVICES = """\
postlog unix-dgram n - n - 1 postlogd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
"""

# TLS on one address, with the certificate that belongs there.
TLS_SERVICES = """\
{address}:{starttls_port} inet n - n - - smtpd
    -o smtpd_tls_security_level=encrypt
    -o smtpd_tls_cert_file={pair.cert}
    -o smtpd_tls_key_file={pair.key}
{address}:{tls_port} inet n - n - - smtpd
    -o smtpd_tls_wrappermode=yes
    -o smtpd_tls_cert_file={pair.cert}
    -o smtpd_tls_key_file={pair.key}
"""

# Recipients that exist; grey@example.com is greylisted, and everybody else in these domains is unknown (550 5.1.1).
USERS = (
    *("fred@example.com", "joe@example.com", "ann@example.com", "jürgen@example.com", "grey@example.com"),
    "mooch@owatagu.siam.edu",
)

QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid", "private"),
    *("public", "saved", "trace"),
)


@dataclass(frozen=True)
class Postfix:
    """A running server, listening in many ways."""

    directory: Path
    sink: LmtpSink
    port: int  # for everybody on loopback
    seven_bit_port: int  # offers neither 8BITMIME nor SMTPUTF8
    auth_port: int  # wants AUTH, users and passwords being Dovecot's
    credulous_port: int  # takes unknown recipients
    large_port: int  # takes messages of up to ``LARGE_SIZE_LIMIT``
    xclient_port: int  # for whom XCLIENT says that he has logged in
    starttls_port: int  # wants STARTTLS first; on each address of ``conftest.pairs``
    tls_port: int  # TLS from the start, likewise

    def take(self, recipients: int) -> dict[str, Arrival]:
        """Wait for as many recipients as that to get a message; return what each got."""
        arrivals = [self.sink.take() for _ in range(recipients)]
        return {arrival.recipient: arrival for arrival in arrivals}


@contextmanager
def running_postfix(dovecot_auth_port: int, pairs: Mapping[str, Pair] | None = None) -> Iterator[Postfix]:
    """Run a Postfix that knows ``USERS`` and asks that Dovecot about passwords.

    ``pairs`` are the certificates for TLS, by the address on which it listens with each.
    """
    require(MASTER, *(() if is_root() else ("fakeroot",)))
    with public_directory("imapproxy-postfix-") as directory, running_lmtp_sink() as sink:
        postfix = Postfix(directory, sink, *free_ports(8))
        write_files(postfix, dovecot_auth_port, pairs or {})
        with started(directory, postfix.port):
            yield postfix


@contextmanager
def started(directory: Path, port: int, host: str = "127.0.0.1") -> Iterator[None]:
    """Run a Postfix whose ``conf``, ``data`` and ``queue`` are there, and which listens at an address."""
    process = start(directory)
    try:
        await_port(process, port, directory / "postfix.log", host)
        yield
    finally:
        stop(process, directory)


def write_files(postfix: Postfix, dovecot_auth_port: int, pairs: Mapping[str, Pair]) -> None:
    directory = postfix.directory
    make_directories(directory)
    main = MAIN.format(
        directory=directory,
        users=", ".join(f"{user}=known" for user in USERS),
        sink_port=postfix.sink.port,
        recipient_limit=RECIPIENT_LIMIT,
        size_limit=SIZE_LIMIT,
    )
    services = LISTENERS.format(
        port=postfix.port,
        seven_bit_port=postfix.seven_bit_port,
        auth_port=postfix.auth_port,
        credulous_port=postfix.credulous_port,
        large_port=postfix.large_port,
        xclient_port=postfix.xclient_port,
        large_size_limit=LARGE_SIZE_LIMIT,
        dovecot_auth_port=dovecot_auth_port,
    )
    services += INNER_SERVICES + "".join(
        TLS_SERVICES.format(address=address, pair=pair, starttls_port=postfix.starttls_port, tls_port=postfix.tls_port)
        for address, pair in pairs.items()
    )
    (directory / "conf/main.cf").write_text(main, encoding="utf-8")
    (directory / "conf/master.cf").write_text(services, encoding="utf-8")


def make_directories(directory: Path) -> None:
    """Make what a Postfix must have, if it is not there."""
    for name in ("conf", "data", *(f"queue/{queue}" for queue in QUEUES)):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "postfix.log").touch()
    if is_root():
        give_to_postfix(directory)


def give_to_postfix(directory: Path) -> None:
    shutil.chown(directory / "data", "postfix", "postfix")
    for queue in QUEUES:
        shutil.chown(directory / "queue" / queue, "postfix", "postfix")


def start(directory: Path) -> subprocess.Popen[bytes]:
    command = [MASTER, "-d", "-c", str(directory / "conf")]
    return subprocess.Popen(command if is_root() else ["fakeroot", *command], start_new_session=True)


def stop(process: subprocess.Popen[bytes], directory: Path) -> None:
    """End the master by its own pid: fakeroot, its parent, would not pass a signal on, and ends after it."""
    pid_file = directory / "queue/pid/master.pid"
    master = int(pid_file.read_text()) if pid_file.exists() else process.pid
    os.kill(master, signal.SIGTERM)
    if not ended(process, within=PATIENCE):
        process.kill()
        process.wait()
