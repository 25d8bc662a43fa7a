"""A throw-away Exim on loopback: never root, its own configuration and queue, no mail to the outside.

Debian's Exim ends at once where no account is called Debian-exim. So it runs with Debian's ``libnss_wrapper``, by which
it finds one in a file of the test's: ours, or nobody's where we are root.
"""

import os
import pwd
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functional.certificates import Pair
from tests.functional.dovecot import PASSWORD, PASSWORDS, give_to
from tests.functional.lmtp_sink import RECIPIENT_LIMIT, Arrival, LmtpSink, running_lmtp_sink
from tests.functional.packages import is_root
from tests.functional.postfix import SIZE_LIMIT, USERS
from tests.functional.process import await_port, free_ports, public_directory, terminate
from tests.functional.unpacked import Unpacked

PROGRAM = "/usr/sbin/exim4"
ACCOUNT = "Debian-exim"

# As small as it can be: no DNS, mail for known users to the sink, everything else refused, each message delivered as it
# comes. Each port takes mail from everybody here, but one wants AUTH.
CONFIGURATION = """\
exim_path = {program}
spool_directory = {directory}/spool
log_file_path = {directory}/exim-%s.log
pid_file_path = {directory}/exim.pid
keep_environment = LD_PRELOAD : LD_LIBRARY_PATH : NSS_WRAPPER_PASSWD : NSS_WRAPPER_GROUP
deliver_drop_privilege
primary_hostname = mail.example.com
disable_ipv6
local_interfaces = 127.0.0.1
daemon_smtp_ports = {ports}
smtp_accept_max = 100
rfc1413_query_timeout = 0s
host_lookup =
message_size_limit = {size_limit}
accept_8bitmime = {eight_bit}
smtputf8_advertise_hosts = {everybody_if_eight_bit}
tls_advertise_hosts = ${{if ={{$received_port}}{{{starttls_port}}}{{*}}}}
tls_certificate = {cert}
tls_privatekey = {key}
auth_advertise_hosts = ${{if ={{$received_port}}{{{auth_port}}}{{*}}}}
acl_smtp_rcpt = check_recipient
acl_smtp_data = accept

begin acl

check_recipient:
  deny message = authentication required
    condition = ${{if ={{$received_port}}{{{auth_port}}}}}
    !authenticated = *
  accept condition = ${{if ={{$received_port}}{{{credulous_port}}}}}
  defer message = 4.2.0 greylisted
    recipients = grey@example.com
  accept recipients = {users}
  deny message = 5.1.1 unknown user

begin routers

sink:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = sink

begin transports

sink:
  driver = smtp
  protocol = lmtp
  port = {sink_port}
  max_rcpt = {recipient_limit}
  allow_localhost

begin authenticators

plain:
  driver = plaintext
  public_name = PLAIN
  server_condition = ${{if eq{{$auth3}}{{${{lookup{{$auth2}}lsearch{{{directory}/users}}{{$value}}{{{password}}}}}}}}}
  server_set_id = $auth2

login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${{if eq{{$auth2}}{{${{lookup{{$auth1}}lsearch{{{directory}/users}}{{$value}}{{{password}}}}}}}}}
  server_set_id = $auth1
"""


@dataclass(frozen=True)
class Exim:
    """A running server, listening in several ways."""

    directory: Path
    sink: LmtpSink
    port: int  # for everybody on loopback
    seven_bit_port: int  # offers neither 8BITMIME nor SMTPUTF8
    auth_port: int  # wants AUTH, users and passwords being those of ``dovecot``
    credulous_port: int  # takes unknown recipients
    starttls_port: int  # offers STARTTLS, if there is a certificate

    @property
    def xclient_port(self) -> int:
        """Nothing is known of XCLIENT here, nor elsewhere."""
        return self.port

    def take(self, recipients: int) -> dict[str, Arrival]:
        """Wait for as many recipients as that to get a message; return what each got."""
        return {arrival.recipient: arrival for arrival in [self.sink.take() for _ in range(recipients)]}


@contextmanager
def running_exim(programs: Unpacked, pair: Pair | None = None) -> Iterator[Exim]:
    """Run two Exims that know the users of ``postfix``, since one offers 8BITMIME on all its ports or on none."""
    programs.require(PROGRAM)
    with public_directory("imapproxy-exim-") as directory, running_lmtp_sink() as sink:
        exim = Exim(directory, sink, *free_ports(5))
        write_accounts(directory)
        eight_bit_ports = [exim.port, exim.auth_port, exim.credulous_port, exim.starttls_port]
        with (
            started(exim, programs, "eight-bit", eight_bit_ports, pair, eight_bit=True),
            started(exim, programs, "seven-bit", [exim.seven_bit_port], pair, eight_bit=False),
        ):
            yield exim


@contextmanager
def started(
    exim: Exim, programs: Unpacked, name: str, ports: list[int], pair: Pair | None, eight_bit: bool
) -> Iterator[None]:
    """Run one in a subdirectory of that name."""
    program = programs.require(PROGRAM)
    directory = exim.directory / name
    (directory / "spool").mkdir(parents=True)
    configuration = directory / "exim.conf"
    configuration.write_text(configured(exim, directory, program, ports, pair, eight_bit), encoding="utf-8")
    users = "".join(f"{user}: {password}\n" for user, password in PASSWORDS.items())
    (directory / "users").write_text(users, encoding="utf-8")
    give_to(account(), directory)
    process = start([str(program), "-C", str(configuration), "-bdf"], programs, exim.directory)
    try:
        await_port(process, ports[-1], directory / "exim-main.log")
        yield
    finally:
        terminate(process)


def configured(exim: Exim, directory: Path, program: Path, ports: list[int], pair: Pair | None, eight_bit: bool) -> str:
    return CONFIGURATION.format(
        program=program,
        directory=directory,
        ports=" : ".join(map(str, ports)),
        size_limit=SIZE_LIMIT,
        eight_bit="yes" if eight_bit else "no",
        everybody_if_eight_bit="*" if eight_bit else "",
        starttls_port=exim.starttls_port if pair else 0,
        auth_port=exim.auth_port,
        credulous_port=exim.credulous_port,
        cert=pair.cert if pair else "",
        key=pair.key if pair else "",
        users=" : ".join(USERS),
        sink_port=exim.sink.port,
        recipient_limit=RECIPIENT_LIMIT,
        password=PASSWORD,
    )


def write_accounts(directory: Path) -> None:
    owner = account()
    (directory / "passwd").write_text(f"{ACCOUNT}:x:{owner.pw_uid}:{owner.pw_gid}::/:/bin/false\n")
    (directory / "group").write_text(f"{ACCOUNT}:x:{owner.pw_gid}:\n")


def start(command: list[str], programs: Unpacked, accounts: Path) -> subprocess.Popen[bytes]:
    owner = account()
    environment = {
        **programs.environment(),
        "LD_PRELOAD": "libnss_wrapper.so",
        "NSS_WRAPPER_PASSWD": str(accounts / "passwd"),
        "NSS_WRAPPER_GROUP": str(accounts / "group"),
    }
    if is_root():
        return subprocess.Popen(command, env=environment, user=owner.pw_uid, group=owner.pw_gid, extra_groups=[])
    return subprocess.Popen(command, env=environment)


def account() -> pwd.struct_passwd:
    """Return the account that Exim runs as: ours, or nobody's where we are root."""
    return pwd.getpwnam("nobody") if is_root() else pwd.getpwuid(os.geteuid())
