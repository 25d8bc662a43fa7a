"""What a tree of processes holds, watched while its threads and processes come and go."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from bench.processes import tree
from bench.soak import watch
from bench.soak.watch import holdings, watched

LOOKS = 2000
# Threads and children that end as soon as they have begun: each look meets some that are gone when it gets to them.
RESTLESS = """
import subprocess, threading
while True:
    threads = [threading.Thread(target=subprocess.run, args=(["true"],)) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
"""


@pytest.fixture
def restless() -> Iterator[int]:
    with subprocess.Popen([sys.executable, "-c", RESTLESS]) as process:
        yield process.pid
        process.terminate()


def test_threads_and_processes_may_end_while_one_looks(restless: int) -> None:
    assert all(restless in tree(restless) for _ in range(LOOKS))
    assert all(holdings(restless).threads for _ in range(LOOKS))


def test_the_most_that_was_held_is_kept(restless: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "INTERVAL", 0.001)
    with watched(restless) as peak:
        now = holdings(restless)
        while peak.most.threads < now.threads:
            pass
    assert peak.most.descriptors >= 3


def test_what_watching_raises_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(pid: int) -> None:
        raise OSError(f"{pid} cannot be watched")

    monkeypatch.setattr(watch, "INTERVAL", 0.001)
    monkeypatch.setattr(watch, "holdings", fails)
    with pytest.raises(OSError, match="1 cannot be watched"), watched(1):
        pass
