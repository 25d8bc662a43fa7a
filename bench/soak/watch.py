"""What the proxy's processes hold: memory, threads, descriptors; the most of it, and what is left."""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.processes import proportional_set_size, tree

INTERVAL = 1.0  # seconds


@dataclass(frozen=True, slots=True)
class Holdings:
    """What all processes of a tree hold together: units of 1,000 octets, and how many."""

    kilobytes: float
    processes: int
    threads: int
    descriptors: int

    def is_as_many_as(self, other: "Holdings") -> bool:
        """Tell whether nothing but memory has come or gone in between."""
        return replace(self, kilobytes=other.kilobytes) == other

    def __str__(self) -> str:
        return (
            f"{self.kilobytes / 1000:.1f} MB, {self.processes} processes, {self.threads} threads, "
            f"{self.descriptors} descriptors"
        )


def holdings(pid: int) -> Holdings:
    """Return what a process and its descendants hold; one that ends meanwhile holds nothing."""
    found = [held for held in map(_held, tree(pid)) if held is not None]
    kilobytes, threads, descriptors = map(sum, zip(*found, strict=True)) if found else (0.0, 0, 0)
    return Holdings(kilobytes, len(found), int(threads), int(descriptors))


def _held(pid: int) -> tuple[float, int, int] | None:
    process = Path(f"/proc/{pid}")
    try:
        return proportional_set_size(pid), len(os.listdir(process / "task")), len(os.listdir(process / "fd"))
    except OSError:
        return None


class Peak:
    """The most that was held at a time, of each; looked at every INTERVAL seconds."""

    def __init__(self) -> None:
        self.most = Holdings(0, 0, 0, 0)

    def see(self, held: Holdings) -> None:
        """Take a look."""
        most = self.most
        self.most = Holdings(
            max(most.kilobytes, held.kilobytes),
            max(most.processes, held.processes),
            max(most.threads, held.threads),
            max(most.descriptors, held.descriptors),
        )


@contextmanager
def watched(pid: int) -> Iterator[Peak]:
    """Watch a process and its descendants for the length of the block; at its end, raise what watching raised."""
    peak, ended = Peak(), threading.Event()

    def watch() -> None:
        peak.see(holdings(pid))
        while not ended.wait(INTERVAL):
            peak.see(holdings(pid))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield peak
        finally:
            ended.set()
        watching.result()
