"""A small file system, which can be full: only root can have one."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

SIZE = 16 << 20  # octets


class SmallDisk:
    """What is mounted at ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._filler = directory / "filler"

    def fill(self) -> None:
        """Leave no room."""
        with self._filler.open("ab", buffering=0) as stream:
            while room := _room(self._directory):
                try:
                    os.posix_fallocate(stream.fileno(), os.fstat(stream.fileno()).st_size, room)
                except OSError as failure:
                    if failure.errno != errno.ENOSPC:  # the program has written meanwhile
                        raise

    def clear(self) -> None:
        """Leave all the room that others have not taken."""
        self._filler.unlink(missing_ok=True)


def _room(directory: Path) -> int:
    disk = os.statvfs(directory)
    return disk.f_bavail * disk.f_frsize


@contextmanager
def mounted(directory: Path) -> Iterator[SmallDisk]:
    """Mount one; CalledProcessError where we may not."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(directory)]
    subprocess.run(mount, capture_output=True, check=True)
    try:
        yield SmallDisk(directory)
    finally:
        subprocess.run(["umount", str(directory)], check=True)


@cache
def can_mount() -> bool:
    """Tell whether we may mount one."""
    try:
        with tempfile.TemporaryDirectory(prefix="imapproxy-faults-") as directory, mounted(Path(directory)):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False
