"""Fuzzing one target for a time, growing its inputs, and what came of it."""

import re
import subprocess
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.target import PACKAGE, Target

# Longer inputs find nothing that shorter ones do not: what is bounded by size has tests of its own.
MAX_INPUT = 2048
# An input that takes longer hangs; the slowest take milliseconds.
INPUT_SECONDS = 10
MAX_MEMORY = 1024  # MiB
# What the process needs beyond the time that it fuzzes: its imports, and the corpus once.
STARTUP_SECONDS = 60

_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_EDGES = re.compile(r"cov: (\d+)")
_GROWN = re.compile(r"^(\d+) inputs$", re.MULTILINE)
# A rule that does not hold; or an input that takes too long, or too much memory.
_FAILURE = re.compile(
    r"=== Uncaught Python exception.*?(?===\d+==)|^==\d+== ERROR: libFuzzer: (?:timeout|out).*",
    re.DOTALL | re.MULTILINE,
)
# Where the input is that failed.
_INPUT = re.compile(r"; Test unit written to (.+)")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it: ``edges`` are libFuzzer's, of the package and the slow readers; ``failure`` is empty if none."""

    executions: int
    edges: int
    failure: str


@dataclass(frozen=True, slots=True)
class Growth:
    """What came of growing inputs, so many of them; ``failure`` is empty if all of them were within the budget."""

    inputs: int
    failure: str


def fuzz(target: Target, seconds: int, folder: Path) -> Outcome:
    """Fuzz a target for so many seconds.

    Inputs that led further are kept in the folder's ``corpus``, where the next time begins; an input that failed lies
    beside it, with the log.
    """
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    log = folder / "log"
    options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", f"-timeout={INPUT_SECONDS}"]
    options += [f"-rss_limit_mb={MAX_MEMORY}", f"-artifact_prefix={folder}/", f"-dict={target.dictionary}"]
    command = ["tests.fuzz.engine", target.name, *options, "-print_final_stats=1", str(corpus), str(target.corpus)]
    return outcome_of(*_logged(command, log, seconds))


def grow(target: Target, seconds: int, folder: Path, options: Sequence[str] = ()) -> Growth:
    """Grow inputs of the target, those that fuzzing has left in the folder among them, for so many seconds.

    An input that goes over the budget of work lies in the folder then, with the log. ``options`` are those of
    ``growth``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["tests.fuzz.growth", target.name, str(folder), f"--seconds={seconds}", *options]
    return growth_of(*_logged(command, folder / "growth-log", seconds))


def _logged(command: Sequence[str], log: Path, seconds: int) -> tuple[str, int]:
    """Run a module, and return what it said and its exit status."""
    with log.open("wb") as output:
        ended = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=PACKAGE.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            timeout=seconds + STARTUP_SECONDS,
            check=False,
        )
    return log.read_text(encoding="utf-8", errors="replace"), ended.returncode


def outcome_of(log: str, status: int) -> Outcome:
    """Return what came of it by libFuzzer's log and its exit status; with a failure comes the input that led to it."""
    executions, edges = _EXECUTIONS.search(log), _EDGES.findall(log)
    failure = _FAILURE.search(log)
    reason = failure[0] if failure else log[-2000:] if status else ""
    found = "\n".join([reason, *map(_written_input, _INPUT.findall(log))]) if reason else ""
    return Outcome(int(executions[1]) if executions else 0, int(edges[-1]) if edges else 0, found)


def growth_of(log: str, status: int) -> Growth:
    """Return what came of growing inputs by what was said and the exit status."""
    count = _GROWN.search(log)
    return Growth(int(count[1]) if count else 0, log if status else "")


def _written_input(path: str) -> str:
    """Return it in a way that a log can hold, where the file is gone afterwards; libFuzzer does so with short ones."""
    return f"Base64 of the input: {b64encode(Path(path).read_bytes()).decode()}"


def coverage(target: Target, folder: Path) -> str:
    """Return how much of the target's modules its corpora run through, lines and branches, in percent."""
    # Without the project's own settings, which are for all of the package.
    options = ["--rcfile=", f"--data-file={folder / 'coverage'}"]
    modules = ",".join(map(str, target.modules))
    replay = ["-m", "tests.fuzz.replay", target.name, str(target.corpus), str(folder / "corpus")]
    _run_coverage("run", *options, "--branch", f"--include={modules}", *replay)
    return _run_coverage("report", *options, "--format=total", "--precision=1").strip()


def _run_coverage(*arguments: str) -> str:
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=PACKAGE.parent, check=True, stdout=subprocess.PIPE, text=True).stdout
