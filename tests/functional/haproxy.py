"""A throw-away HAProxy on loopback, with a configuration of the test's own."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.functional.packages import require
from tests.functional.process import await_port, terminate

PROGRAM = "/usr/sbin/haproxy"

DEFAULTS = """\
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
"""


@contextmanager
def running_haproxy(directory: Path, configuration: str, address: tuple[str, int]) -> Iterator[None]:
    """Run it in the foreground until the ``with`` ends; ``address`` is one where it listens."""
    require(PROGRAM)
    file, log = directory / "haproxy.cfg", directory / "haproxy.log"
    file.write_text(configuration, encoding="utf-8")
    with log.open("wb") as output:
        process = subprocess.Popen([PROGRAM, "-db", "-f", str(file)], stdout=output, stderr=output)
        try:
            await_port(process, address[1], log, address[0])
            yield
        finally:
            terminate(process)
