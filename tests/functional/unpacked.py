"""Programs of Debian packages that cannot be installed beside others: copies of what ``make packages`` unpacks."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.process import public_directory

UNPACKED = Path(__file__).resolve().parents[2] / "build" / "servers"


@dataclass(frozen=True)
class Unpacked:
    """A root directory in which the packages lie, and nothing else."""

    root: Path

    def environment(self) -> dict[str, str]:
        """Return an environment in which the programs find the libraries that lie with them."""
        directories = [
            self.root / "usr/lib",
            *self.root.glob("usr/lib/*-linux-gnu*"),
            *self.root.glob("lib/*-linux-gnu*"),
        ]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, directories))}

    def require(self, program: str) -> Path:
        """Return where a program lies, ``program`` being its path on a host; skip the test if it was not unpacked."""
        path = self.root / program.removeprefix("/")
        if not path.exists():
            pytest.skip(f"needs {program}: 'make packages' unpacks it into {UNPACKED}")
        return path


@contextmanager
def unpacked() -> Iterator[Unpacked]:
    """Copy what is unpacked to where servers that are not our user can reach it, as they may not reach this tree."""
    with public_directory("imapproxy-unpacked-") as directory:
        root = directory / "root"
        if UNPACKED.exists():
            shutil.copytree(UNPACKED, root, symlinks=True)
        yield Unpacked(root)
