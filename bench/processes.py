"""Processes: started on a processor of their own, watched through /proc, ended by their pid.

Nothing started here survives: `Process` is a context manager, and ends what it started however the block is left.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Self

STOP_TIMEOUT = 10.0


class Process:
    """A child process, its output in a file; a context manager that ends it."""

    def __init__(self, arguments: Sequence[str], log: Path, stdin: int = subprocess.DEVNULL) -> None:
        self.arguments = arguments
        self.log = log
        with log.open("wb") as output:
            # A process group of its own: Ctrl-C reaches the bench only, which then ends everything in order.
            self.popen = subprocess.Popen(
                arguments, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, process_group=0
            )

    @property
    def pid(self) -> int:
        """The process's number."""
        return self.popen.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        stop(self.popen)

    def raise_if_ended(self) -> None:
        """Raise ChildProcessError with the process's last words if it is no longer there."""
        if self.popen.poll() is None:
            return
        command = " ".join(self.arguments)
        raise ChildProcessError(f"{command} ended with status {self.popen.returncode}:\n{self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what the process wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-2000:]


@contextmanager
def helper(module: str, *arguments: str) -> Iterator[tuple[IO[str], IO[str]]]:
    """Run a module of the bench; give its standard input and its standard output; end it by closing its input."""
    popen = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert popen.stdin is not None
    assert popen.stdout is not None
    try:
        yield popen.stdin, popen.stdout
        popen.stdin.close()
        popen.wait(STOP_TIMEOUT)
    finally:
        stop(popen)
        popen.stdout.close()


def stop(popen: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """End a process and its descendants: by SIGTERM, and by SIGKILL what does not heed it."""
    if popen.poll() is not None:
        return
    pids = tree(popen.pid)
    popen.terminate()
    try:
        popen.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with suppress(ProcessLookupError):  # it has heeded it, and its parent has not
                os.kill(pid, signal.SIGKILL)
        popen.wait()


@contextmanager
def explained(process: Process | None) -> Iterator[None]:
    """Add to an error of the block what the process wrote last."""
    try:
        yield
    except OSError as error:
        reason = "no answer in time" if isinstance(error, BlockingIOError) else error
        words = "" if process is None else process.last_words()
        raise ChildProcessError(f"{reason}\n{words}") from error


@contextmanager
def pinned(cpus: frozenset[int]) -> Iterator[None]:
    """Run the block, and whatever is started in it for good, on `cpus` only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def priority() -> Iterator[None]:
    """Let everything that is started in the block go before other programs of this machine, where we may (root)."""
    # With autogroups (sched(7)) a process's own nice value counts only beside those of its session.
    group = Path("/proc/self/autogroup")
    before = group.read_text().split()[-1] if group.exists() else None
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, -20)
        if before is not None:
            group.write_text("-20")
    try:
        yield
    finally:
        if before is not None:
            with suppress(PermissionError):
                group.write_text(before)


def raise_descriptor_limit(needed: int) -> None:
    """Raise the limit of descriptors, for us and for our children, to what the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(f"the hard limit of descriptors is {hard}; {needed} are needed (ulimit -Hn)")


def tree(pid: int) -> list[int]:
    """Return `pid` and the numbers of all its living descendants."""
    pids = [pid]
    for parent in pids:
        for thread in _threads(parent):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                pids.extend(map(int, Path(f"/proc/{parent}/task/{thread}/children").read_text().split()))
    return pids


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):  # the process has ended, be it between two of our looks
        return []


def cpu_seconds(pid: int) -> float:
    """Return the processor time of `pid` and its living descendants."""
    # /proc/PID/stat counts in hundredths of a second; the process's own clock, whose number Linux makes of the pid
    # (clock_getcpuclockid(3)), says the same in nanoseconds.
    return sum(time.clock_gettime(~process << 3 | 2) for process in tree(pid))


def resident_kilobytes(pid: int) -> float:
    """Return the resident memory of `pid` and its descendants; a page that n of them share counts as 1/n for each."""
    return sum(proportional_set_size(process) for process in tree(pid))


def proportional_set_size(pid: int) -> float:
    """Return the Pss of one process in units of 1,000 octets."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "Pss":
            return int(value.split()[0]) * 1.024
    raise OSError(f"/proc/{pid}/smaps_rollup has no Pss")


def reset_peak(pid: int) -> None:
    """Let the peak of a process and its descendants begin at what is resident now."""
    for process in tree(pid):
        Path(f"/proc/{process}/clear_refs").write_text("5")  # proc_pid_clear_refs(5)


def peak_kibibytes(pid: int) -> int:
    """Return the most that was resident of `pid`, and of each of its descendants, since `reset_peak`."""
    return sum(high_water_mark(process) for process in tree(pid))


def high_water_mark(pid: int) -> int:
    """Return the VmHWM of one process in KiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0])
    raise OSError(f"/proc/{pid}/status has no VmHWM")


def busy_seconds() -> float:
    """Return how long the machine's processors have worked since its start, for whomever."""
    # user, nice, system, (idle, iowait,) irq, softirq, steal: proc_stat(5).
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    """Return how long this process, its living descendants and its ended children have worked."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return cpu_seconds(os.getpid()) + ended.ru_utime + ended.ru_stime
