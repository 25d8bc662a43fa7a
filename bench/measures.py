"""What is measured, how, and the marks that the proxy is to reach (issue 2, from the table in DESIGN 3).

A measure works with one running instance for about a second and returns one value for each of its figures. It is
called for each contestant in turn, round by round, so that a change in the machine's load meets them all.
"""

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache

from bench import canned
from bench.load import Session, logins, logins_at_once, noops_at_once, percentile
from bench.processes import cpu_seconds, helper, resident_kilobytes
from bench.proxies import NGINX, Instance

IDLE_SESSIONS = 1_000
PARALLEL_NOOPS = 50
PARALLEL_LOGINS = 8
PARALLEL_DOWNLOADS = 4


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the report, its mark (a ratio to reach, or a value to stay under), and to whom the ratio is."""

    name: str
    what: str
    unit: str
    more_is_better: bool
    least_ratio: float | None = None
    below: float | None = None
    reference: str = NGINX


FIGURES = (
    Figure("bulk", "FETCH of one 32 MiB literal", "MB/s", True, least_ratio=2.0),
    Figure("bulk-cpu", "... its processor time", "s/GB", False),
    Figure("messages", "FETCH of 2,000 messages of 10 KiB", "MB/s", True, least_ratio=2.0),
    Figure("messages-cpu", "... its processor time", "s/GB", False),
    Figure("lines", "response of 100,000 short lines", "MB/s", True, least_ratio=8.0),
    Figure("lines-cpu", "... its processor time", "s/GB", False),
    Figure("noop", "NOOP round trip, one client, median", "us", False, least_ratio=0.9),
    Figure("noops", "NOOPs by 50 clients at once", "1/s", True, least_ratio=0.5),
    Figure("noops-cpu", "... processor time of each", "us", False),
    Figure("logins", "logins, one after the other", "1/s", True, least_ratio=0.9),
    Figure("logins-cpu", "... processor time of each", "us", False),
    Figure("logins-parallel", "logins, 8 at any time", "1/s", True),
    Figure("memory", "memory per idle session, of 1,000", "KB", False, below=30.0),
    Figure("beside", "NOOP beside 4 downloads, median", "us", False),
    Figure("beside-p95", "... 95 of 100 are faster than", "us", False),
    Figure("beside-bulk", "... the downloads meanwhile", "MB/s", True),
)

Values = Mapping[str, float]
# How to start an instance that nothing else has used, for the measure that wants one.
Fresh = Callable[[], AbstractContextManager[Instance]]
Measure = Callable[[Instance, Fresh], Values]


@cache
def size_of(response: canned.Response) -> int:
    """Return the octets of a long answer."""
    return len(response.build())


def download(name: str, response: canned.Response, times: int) -> Measure:
    """Return the measure of a long answer: its rate, each time from the command to the tagged answer; its CPU cost."""

    def measure(instance: Instance, _: Fresh) -> Values:
        size = size_of(response)
        with Session(instance.port) as session:
            session.fetch(response.command, size)
            used = processor_time(instance)
            start = time.perf_counter()
            for _turn in range(times):
                session.fetch(response.command, size)
            duration = time.perf_counter() - start
            return {
                name: times * size / duration / 1e6,
                **cost(f"{name}-cpu", instance, used, times * size / 1e9),
            }

    return measure


def processor_time(instance: Instance) -> float:
    """Return the seconds that the proxy has worked, if there is one."""
    return 0.0 if instance.pid is None else cpu_seconds(instance.pid)


def cost(figure: str, instance: Instance, used: float, amount: float) -> Values:
    """Return as `figure` the processor time that the proxy spent for each of `amount`, after it had `used` some."""
    return {} if instance.pid is None else {figure: (processor_time(instance) - used) / amount}


def noop(instance: Instance, _: Fresh) -> Values:
    """Measure the round trips of a client that is alone."""
    with Session(instance.port) as session:
        session.noops(200)
        return {"noop": statistics.median(session.noops(5_000)) * 1e6}


def noops(instance: Instance, _: Fresh) -> Values:
    """Measure what 50 clients get done, each with one NOOP on its way at any time."""
    count = 20_000
    with contextlib.ExitStack() as stack:
        sessions = [stack.enter_context(Session(instance.port)) for _ in range(PARALLEL_NOOPS)]
        noops_at_once(sessions, 1_000)
        used = processor_time(instance)
        duration = noops_at_once(sessions, count)
        return {"noops": count / duration, **cost("noops-cpu", instance, used, count / 1e6)}


def login(instance: Instance, _: Fresh) -> Values:
    """Measure logins: connect, greeting, LOGIN, LOGOUT, end of the stream."""
    count = 400
    logins(instance.port, 20)
    used = processor_time(instance)
    values = {"logins": count / logins(instance.port, count), **cost("logins-cpu", instance, used, count / 1e6)}
    logins_at_once(instance.port, 20, PARALLEL_LOGINS)
    return {**values, "logins-parallel": count / logins_at_once(instance.port, count, PARALLEL_LOGINS)}


def memory(_: Instance, fresh: Fresh) -> Values:
    """Measure by how much 1,000 logged-in sessions make a fresh proxy grow; each has done one NOOP and waits."""
    with fresh() as instance, contextlib.ExitStack() as stack:
        if instance.pid is None:
            return {}
        logins(instance.port, 10)
        before = resident_kilobytes(instance.pid)
        for _turn in range(IDLE_SESSIONS):
            stack.enter_context(Session(instance.port, buffer_size=0)).command(canned.NOOP)
        return {"memory": (resident_kilobytes(instance.pid) - before) / IDLE_SESSIONS}


def beside(instance: Instance, _: Fresh) -> Values:
    """Measure whether bulk downloads starve the small commands of another client."""
    arguments = (str(instance.port), str(PARALLEL_DOWNLOADS))
    with (
        Session(instance.port) as session,
        helper("bench.downloads", *arguments) as (stdin, stdout),
    ):
        if not stdout.readline():
            raise ChildProcessError("the downloads did not start")
        durations = session.noops(400)
        stdin.close()
        result = [float(word) for word in stdout.readline().split()]
    if len(result) != 2:
        raise ChildProcessError("the downloads ended early")
    octets, seconds = result
    return {
        "beside": statistics.median(durations) * 1e6,
        "beside-p95": percentile(durations, 95) * 1e6,
        "beside-bulk": octets / seconds / 1e6,
    }


MEASURES: Mapping[str, Measure] = {
    "bulk": download("bulk", canned.LITERAL, 5),
    "messages": download("messages", canned.MANY_MESSAGES, 8),
    "lines": download("lines", canned.MANY_LINES, 15),
    "noop": noop,
    "noops": noops,
    "logins": login,
    "memory": memory,
    "beside": beside,
}
