"""The project's own ``make``, as a developer, a packager or an administrator types it."""

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def make(target: str, **variables: str) -> str:
    """Return what the target says on standard output; the variables of a ``make`` that runs us do not count."""
    assignments = [f"{name}={value}" for name, value in variables.items()]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "--directory", str(ROOT), target, *assignments]
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
