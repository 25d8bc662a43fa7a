"""What is measured: a direct connection, nginx, HAProxy where it is installed, imapproxy, and any other program.

CLASSIC, no proxy either, is what forwarding is compared with (`forward`).

A `Contestant` says how to start one; `running` starts it on the proxy's processor, waits until it takes connections and
gives the `Instance` that measures work with.
"""

import shlex
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import nginx
from bench.canned import HOST
from bench.processes import Process, helper, pinned

START_TIMEOUT = 15.0
ROOT = Path(__file__).resolve().parent.parent

DIRECT = "direct"
NGINX = "nginx"
HAPROXY = "haproxy"
IMAPPROXY = "imapproxy"
CLASSIC = "classic"
IMAPPROXY_COMMAND = f"{shlex.quote(sys.executable)} {shlex.quote(str(ROOT / 'bin' / 'imapproxy'))} -c {{config}}"

HAPROXY_CONFIGURATION = """\
global
    maxconn 1100
    nbthread 1
defaults
    mode tcp
    timeout connect 10s
    timeout client 10m
    timeout server 10m
listen imap
    bind {host}:{port} backlog 1024
    server upstream {host}:{upstream}
"""

IMAPPROXY_CONFIGURATION = """\
[listen]
listen = {host}:{port}
max-clients = 1100

[imap]
imap-server = {host}:{upstream}

[submit]
mail-domain = example.com
"""
# Where there is an SMTP server; the last section above goes on.
SUBMISSION_CONFIGURATION = """\
sent-mailbox = Sent

[smtp]
smtp-server = {host}:{smtp}
"""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where the servers behind a proxy are reached: IMAP, nginx's authentication server, SMTP (0: there is none)."""

    port: int
    auth_port: int = 0
    smtp_port: int = 0


@dataclass(frozen=True, slots=True)
class Instance:
    """Something that takes IMAP connections on `port`; `process` is the proxy's, None for a direct connection."""

    port: int
    process: Process | None

    @property
    def pid(self) -> int | None:
        """The proxy's number."""
        return None if self.process is None else self.process.pid


@dataclass(frozen=True, slots=True)
class Contestant:
    """A name, and the command for a working directory, a port to listen on and an upstream (None: nothing to start)."""

    name: str
    command: Callable[[Path, int, Upstream], list[str]] | None


@contextmanager
def upstream() -> Iterator[Upstream]:
    """Run the canned upstream for the length of the block."""
    with helper("bench.upstream") as (_, stdout):
        ports = stdout.readline().split()
        if len(ports) != 2:
            raise ChildProcessError("the canned upstream did not start")
        yield Upstream(int(ports[0]), int(ports[1]))


def haproxy_command(directory: Path, port: int, upstream: Upstream) -> list[str]:
    """Return the command that runs HAProxy, passing octets on, in the foreground."""
    configuration = directory / "haproxy.cfg"
    text = HAPROXY_CONFIGURATION.format(host=HOST, port=port, upstream=upstream.port)
    configuration.write_text(text, encoding="utf-8")
    return [haproxy_program() or HAPROXY, "-db", "-f", str(configuration)]


def haproxy_program() -> str | None:
    """Return where HAProxy is installed, if it is."""
    return shutil.which(HAPROXY, path="/usr/sbin:/usr/local/sbin:/usr/bin")


def program(name: str, command_line: str) -> Contestant:
    """Return a contestant that is run by `command_line`, in which {config}, {port} and {upstream} are replaced."""

    def command(directory: Path, port: int, upstream: Upstream) -> list[str]:
        configuration = directory / "imapproxy.conf"
        template = IMAPPROXY_CONFIGURATION + (SUBMISSION_CONFIGURATION if upstream.smtp_port else "")
        text = template.format(host=HOST, port=port, upstream=upstream.port, smtp=upstream.smtp_port)
        configuration.write_text(text, encoding="utf-8")
        values = {"config": configuration, "port": port, "upstream": upstream.port}
        return [word.format_map(values) for word in shlex.split(command_line)]

    return Contestant(name, command)


def standard() -> list[Contestant]:
    """Return what is always measured, as far as it is installed."""
    contestants = [
        Contestant(DIRECT, None),
        Contestant(NGINX, lambda directory, port, upstream: nginx.command(directory, port, upstream.auth_port)),
    ]
    if haproxy_program():
        contestants.append(Contestant(HAPROXY, haproxy_command))
    return contestants


@contextmanager
def running(contestant: Contestant, upstream: Upstream, cpus: frozenset[int]) -> Iterator[Instance]:
    """Run `contestant` on `cpus` for the length of the block."""
    if contestant.command is None:
        yield Instance(upstream.port, None)
        return
    with TemporaryDirectory(prefix=f"bench-{contestant.name}-") as name:
        directory = Path(name)
        port = free_port()
        arguments = contestant.command(directory, port, upstream)
        with pinned(cpus):
            process = Process(arguments, directory / "output.log")
        with process:
            await_greeting(process, port)
            yield Instance(port, process)
            process.raise_if_ended()


def free_port() -> int:
    """Return a port on which nobody listens now."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def await_greeting(process: Process, port: int) -> None:
    """Wait until an IMAP greeting comes from `port`."""
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        process.raise_if_ended()
        try:
            with socket.create_connection((HOST, port), timeout=1) as sock:
                if sock.recv(4096).startswith(b"* OK"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{' '.join(process.arguments)} does not greet on port {port}")
