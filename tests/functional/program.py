"""The real program whose processes come and go: reloaded, restarted, killed; its configuration may change meanwhile."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.functional.fake_imap import Listener
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.process import ended, terminate
from tests.functional.proxy_process import PROGRAM, Options, configuration
from tests.functional.scripted import eventually


class Program:
    """The program in the foreground, its configuration, which may change, and its log."""

    def __init__(
        self,
        directory: Path,
        imap_port: int,
        smtp_port: int,
        options: Options,
        command: Sequence[str] = (str(PROGRAM),),
        python_path: Path | None = None,
    ) -> None:
        """``python_path``: where the package is, if it is another than the one that is tested."""
        self._command = command
        self._environment = {**os.environ, **({"PYTHONPATH": str(python_path)} if python_path else {})}
        self.config, self.log_file = directory / "imapproxy.conf", directory / "imapproxy.log"
        self._errors = directory / "errors"
        self._servers = imap_port, smtp_port
        self.configure(options)
        self.start()

    def configure(self, options: Options) -> None:
        log = {"log": {"log-to": str(self.log_file)}}
        self.config.write_text(configuration(*self._servers, {**log, **options}), encoding="utf-8")

    def start(self) -> None:
        before = self.count("listening")
        with self._errors.open("ab") as errors:
            command = [sys.executable, *self._command, "-c", str(self.config)]
            self.process = subprocess.Popen(command, stderr=errors, env=self._environment)
        if not eventually(lambda: self.count("listening") > before or ended(self.process, 0)):
            terminate(self.process)
            raise AssertionError(self.log())
        assert self.process.poll() is None, self._errors.read_text()

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8") if self.log_file.exists() else ""

    def lines(self, event: str) -> list[str]:
        return re.findall(rf"(?m)^\S+ imapproxy\[\d+\]: [A-Z]+ ({event}\b.*)$", self.log())

    def count(self, event: str) -> int:
        return len(self.lines(event))

    def ports(self) -> list[int]:
        """The ports of all addresses that were ever listened at, the first ones first."""
        return [int(port) for line in self.lines("listening") for port in re.findall(r":(\d+)(?: |$)", line)]

    def workers(self) -> list[int]:
        """The workers that there are, the eldest first."""
        of_parent = {int(pid) for pid in children(self.process.pid)}
        started = [int(line.rpartition("=")[2]) for line in self.lines("worker-started")]
        return [pid for pid in started if pid in of_parent]

    def await_workers(self, within: float) -> None:
        """Return once all workers that ever were have ended, those without a parent, too."""
        started = [int(line.rpartition("=")[2]) for line in self.lines("worker-started")]
        assert eventually(lambda: not any(map(self._is_ours, started)), within), self.log()

    def _is_ours(self, pid: int) -> bool:
        """Whether it is one of our processes: the number may be another one's by now."""
        with suppress(OSError):
            return str(self.config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return False

    def tell(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def reload(self) -> None:
        before = self.count("reloaded")
        self.tell(signal.SIGHUP)
        assert eventually(lambda: self.count("reloaded") > before), self.log()

    def stop(self) -> None:
        assert terminate(self.process) == 0, self.log()

    def check(self, logged: int = 0) -> None:
        """See that nothing went wrong, as the log says behind so many octets."""
        errors = self._errors.read_text(encoding="utf-8").replace("imapproxy: warning: ", "")
        said = self.log().encode("utf-8")[logged:].decode("utf-8") + errors
        assert "Traceback" not in said, said


def children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()


@contextmanager
def program(
    directory: Path,
    imap: Listener,
    smtp: FakeSmtp,
    options: Options | None = None,
    command: Sequence[str] = (str(PROGRAM),),
) -> Iterator[Program]:
    """Run the program, or what ``command`` makes Python run instead, with a configuration."""
    running = Program(directory, imap.port, smtp.port, options or {}, command)
    try:
        yield running
    finally:
        running.stop()
    running.check()
