"""Processes that a test starts: waiting until they listen, ending them by their own pid."""

import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic

PATIENCE = 60.0  # seconds: an orderly start or end takes one, on a busy machine many
POLL_INTERVAL = 0.05  # seconds


@contextmanager
def public_directory(prefix: str) -> Iterator[Path]:
    """Make a temporary directory through which servers that are not our user can reach their own files.

    Not pytest's: that one is closed to others, and too long a path for a Unix socket.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


def free_ports(count: int) -> list[int]:
    """Return loopback ports that nobody has at the moment, for servers that must be told theirs."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def await_port(process: subprocess.Popen[bytes], port: int, log: Path, host: str = "127.0.0.1") -> None:
    """Return once the process listens on the port; raise with its log if it ends or does not get that far."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        with suppress(ConnectionRefusedError), socket.create_connection((host, port), PATIENCE):
            return
        if ended(process, within=POLL_INTERVAL):
            break
    raise RuntimeError(f"{process.args!r} does not listen on port {port}:\n{log.read_text(errors='replace')}")


@contextmanager
def taking(number: signal.Signals) -> Iterator[None]:
    """Have programs that are started meanwhile take a signal that those of nohup and of a shell's ``&`` ignore."""
    usual = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, usual)


def ended(process: subprocess.Popen[bytes], within: float) -> bool:
    """Say whether the process has ended, or does so within that many seconds."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(within)
    return process.poll() is not None


def terminate(process: subprocess.Popen[bytes]) -> int:
    """End the process by SIGTERM, by force if that does not help, and return its exit status."""
    process.terminate()
    if not ended(process, within=PATIENCE):
        process.kill()
    return process.wait()
