"""The workers' figures for Prometheus: names and units by its conventions, a collector of our own over one answer.

The client library's multi-process mode keeps files per pid, and would put its counting into the sessions' path; here
the figures are the workers' own, asked for when somebody reads them.
"""

from collections.abc import Iterator
from typing import NotRequired, TypedDict

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from imapproxy.net.registry import COUNTED, Report, SessionReport


class WorkerFigures(TypedDict):
    """A worker's report; a ``retiring`` one takes no new clients."""

    pid: int
    retiring: bool
    report: Report


class Figures(TypedDict):
    """What the control socket answers: the whole program's figures; ``ended`` are the totals of workers that ended."""

    version: str
    pid: int
    workers: list[WorkerFigures]
    ended: NotRequired[dict[str, int]]


def totals_of(figures: Figures) -> dict[str, int]:
    """Return the totals since the program's start: of ended workers, and of those that answer."""
    parts = [figures.get("ended", {}), *(worker["report"]["totals"] for worker in figures["workers"])]
    return {name: sum(part.get(name, 0) for part in parts) for name in (*COUNTED, "received", "sent")}


class RisingTotals:
    """Totals that never fall while this process lives.

    A worker that is busy may miss an answer, and one that is killed takes its totals along; Prometheus would take a
    lower sum for a new start and count everything again.
    """

    def __init__(self) -> None:
        self._highest: dict[str, int] = {}

    def after(self, figures: Figures) -> dict[str, int]:
        """Return the totals with these figures."""
        self._highest = {name: max(count, self._highest.get(name, 0)) for name, count in totals_of(figures).items()}
        return self._highest


class FiguresCollector(Collector):
    """One answer of the control socket, and the totals after it, as metrics."""

    def __init__(self, figures: Figures, totals: dict[str, int]) -> None:
        self._figures = figures
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        yield from self._program()
        yield from self._sessions()
        yield from self._counters()

    def _program(self) -> Iterator[Metric]:
        # By convention an info: a gauge that is always 1, with what there is to know in its labels.
        build = GaugeMetricFamily("imapproxy_build_info", "The program's version.", labels=["version"])
        build.add_metric([self._figures["version"]], 1)
        yield build
        workers = GaugeMetricFamily("imapproxy_workers", "Worker processes that answer, by state.", labels=["state"])
        retiring = sum(worker["retiring"] for worker in self._figures["workers"])
        workers.add_metric(["serving"], len(self._figures["workers"]) - retiring)
        workers.add_metric(["retiring"], retiring)
        yield workers

    def _sessions(self) -> Iterator[Metric]:
        sessions = sessions_of(self._figures)
        for name, text, count in (
            ("sessions", "Clients that are connected.", len(sessions)),
            ("sessions_logged_in", "Clients that have logged in.", sum(one["user"] is not None for one in sessions)),
            ("sessions_tls", "Clients whose connection is encrypted.", sum(bool(one["tls"]) for one in sessions)),
            ("sessions_compressed", "Clients that compress.", sum(bool(one["compress"]) for one in sessions)),
            ("submissions_running", "Messages on their way.", sum(one["doing"] == "submitting" for one in sessions)),
        ):
            yield GaugeMetricFamily(f"imapproxy_{name}", text, value=count)

    def _counters(self) -> Iterator[Metric]:
        for name, text, counted in (
            ("connections_total", "Clients that were let in.", "sessions"),
            ("connections_turned_away_total", "Clients over max-clients or max-clients-per-ip.", "turned_away"),
            ("tls_handshakes_failed_total", "TLS handshakes with clients that failed.", "handshakes_failed"),
        ):
            yield CounterMetricFamily(f"imapproxy_{name}", text, value=self._totals[counted])
        yield self._by("result", "logins_total", "Logins.", logins_accepted="accepted", logins_refused="refused")
        yield self._by(
            *("result", "submissions_total", "Messages submitted."),
            submissions_accepted="accepted",
            submissions_repeated="repeated",
            submissions_refused="refused",
        )
        yield self._by(
            *("direction", "client_bytes_total", "Octets from and to clients, running sessions included."),
            received="received",
            sent="sent",
        )

    def _by(self, label: str, name: str, text: str, **values: str) -> Metric:
        """Return a counter with one sample for each of ``values``: what is counted, and the label's value for it."""
        family = CounterMetricFamily(f"imapproxy_{name}", text, labels=[label])
        for counted, value in values.items():
            family.add_metric([value], self._totals[counted])
        return family


def sessions_of(figures: Figures) -> list[SessionReport]:
    """Return the running sessions of all workers."""
    return [session for worker in figures["workers"] for session in worker["report"]["sessions"]]


def exposition(figures: Figures, totals: dict[str, int], accept: str) -> tuple[bytes, str]:
    """Return the figures in a format that an HTTP client with this Accept field reads, and the format's name."""
    registry = CollectorRegistry()
    registry.register(FiguresCollector(figures, totals))
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type
