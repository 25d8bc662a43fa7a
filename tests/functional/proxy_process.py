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
    """A running proxy, and the file into which it logs."""

    port: int
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8")


@contextmanager
def running_proxy(directory: Path, imap_port: int, smtp_port: int, options: Options | None = None) -> Iterator[Proxy]:
    """Run the proxy between two servers on loopback; afterwards, it must end in order and have had no surprise.

    ``options`` come on top of, or in the place of, those that every test wants.
    """
    config_file, log_file = directory / "imapproxy.conf", directory / "imapproxy.log"
    config_file.write_text(configuration(imap_port, smtp_port, options or {}), encoding="utf-8")
    with log_file.open("wb") as log:
        process = subprocess.Popen([sys.executable, str(PROGRAM), "-c", str(config_file)], stderr=log)
    try:
        proxy = Proxy(await_listening(process, log_file), log_file)
        yield proxy
    finally:
        status = terminate(process)
    assert status == 0, proxy.log()
    assert "Traceback" not in proxy.log()


def configuration(imap_port: int, smtp_port: int, options: Options) -> str:
    """Return the text of an INI file."""
    defaults: Options = {
        "listen": {"listen": "127.0.0.1:0"},
        "imap": {"imap-server": f"127.0.0.1:{imap_port}"},
        "smtp": {"smtp-server": f"127.0.0.1:{smtp_port}"},
        "submit": {"mail-domain": "example.com"},
        "log": {"log-to": "stderr"},
    }
    sections = {section: {**keys, **options.get(section, {})} for section, keys in defaults.items()}
    return "".join(f"[{section}]\n{written(keys)}\n" for section, keys in sections.items())


def written(keys: Mapping[str, str]) -> str:
    return "".join(f"{key} = {value}\n" for key, value in keys.items())


def await_listening(process: subprocess.Popen[bytes], log_file: Path) -> int:
    """Return the port in the log line that says where the proxy listens."""
    deadline = monotonic() + PATIENCE
    while monotonic() < deadline:
        if match := re.search(r"listening address=127\.0\.0\.1:(\d+)\b", log_file.read_text(encoding="utf-8")):
            return int(match[1])
        if ended(process, within=POLL_INTERVAL):
            break
    raise RuntimeError(f"the proxy does not listen:\n{log_file.read_text(encoding='utf-8')}")
