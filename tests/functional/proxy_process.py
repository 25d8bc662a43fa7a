"""The real program, as its user starts it: ``bin/imapproxy`` with an INI file, in the foreground, on a free port."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from tests.functional.process import PATIENCE, POLL_INTERVAL, ended, terminate

PROGRAM = Path(__file__).resolve().parents[2] / "bin" / "imapproxy"

Options = Mapping[str, Mapping[str, str]]  # section -> key -> value


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where it listens, the file into which it logs, and the process that was started.

    That one is the parent of those that serve (``scripted.pid_of``).
    """

    ports: tuple[int, ...]  # of ``listen``, then of ``listen-tls``
    log_file: Path
    pid: int

    @property
    def port(self) -> int:
        """Where it listens first."""
        return self.ports[0]

    @property
    def tls_port(self) -> int:
        """Where it listens last: for TLS, if ``listen-tls`` was among the options."""
        return self.ports[-1]

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")


@contextmanager
def running_proxy(directory: Path, imap_port: int, smtp_port: int, options: Options | None = None) -> Iterator[Proxy]:
    """Run the proxy between two servers on loopback; afterwards, it must end in order and have had no surprise.

    ``options`` come on top of, or in the place of, those that every test wants.
    """
    config_file, log_file = directory / "imapproxy.conf", directory / "imapproxy.log"
    text = configuration(imap_port, smtp_port, options or {})
    config_file.write_text(text, encoding="utf-8")
    with running_program(config_file, log_file, listening=addresses_in(text)) as proxy:
        yield proxy


@contextmanager
def running_program(config_file: Path, log_file: Path, listening: int) -> Iterator[Proxy]:
    """Run the proxy with a configuration of which it listens at so many addresses; afterwards as ``running_proxy``.

    ``log_file`` is what the configuration says, or gets the standard error where that is where it logs.
    """
    log_file.touch()
    with config_file.with_suffix(".err").open("w+b") as errors:
        into = log_file.open("ab") if is_logging_to_stderr(config_file) else errors
        process = subprocess.Popen([sys.executable, str(PROGRAM), "-c", str(config_file)], stderr=into)
        try:
            yield Proxy(await_listening(process, log_file, listening), log_file, process.pid)
        finally:
            status = terminate(process)
        errors.seek(0)
        said = log_file.read_text(encoding="utf-8") + errors.read().decode()
    assert status == 0, said
    assert "Traceback" not in said


def configuration(imap_port: int, smtp_port: int, options: Options) -> str:
    """Return the text of an INI file."""
    defaults: dict[str, Mapping[str, str]] = {
        "listen": {"listen": "127.0.0.1:0"},
        "imap": {"imap-server": f"127.0.0.1:{imap_port}"},
        "smtp": {"smtp-server": f"127.0.0.1:{smtp_port}"},
        "submit": {"mail-domain": "example.com"},
        "log": {"log-to": "stderr"},
    }
    sections = {
        section: {**defaults.get(section, {}), **options.get(section, {})} for section in {**defaults, **options}
    }
    return "".join(f"[{section}]\n{written(keys)}\n" for section, keys in sections.items())


def written(keys: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in keys.items())


def addresses_in(configuration: str) -> int:
    """Return at how many addresses clients are listened for, by one-line values."""
    return sum(len(value.split(",")) for value in re.findall(r"(?m)^listen(?:-tls)? = (.+)$", configuration))


def is_logging_to_stderr(config_file: Path) -> bool:
    return "log-to = stderr" in config_file.read_text(encoding="utf-8")


def await_listening(process: subprocess.Popen[bytes], log_file: Path, count: int = 1) -> tuple[int, ...]:
    """Return the ports in the first log lines that say where the proxy listens, once there are so many."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        ports = re.findall(r"listening address=\S+:(\d+)\b", log_file.read_text(encoding="utf-8"))
        if len(ports) >= count:
            return tuple(map(int, ports[:count]))
        if ended(process, within=POLL_INTERVAL):
            break
    raise RuntimeError(f"the proxy does not listen:\n{log_file.read_text(encoding='utf-8')}")
