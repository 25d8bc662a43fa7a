"""The figures as Prometheus reads them, through its own library's parsers."""

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from imapproxy.net.metrics import Figures, RisingTotals, exposition, totals_of
from tests.net.figures import figures, session, worker

FIGURES = figures(
    worker(
        *(10, session(tls="TLSv1.3", compress="deflate"), session(user=None, doing="login")),
        sessions=12,
        logins_accepted=7,
        logins_refused=3,
        received=1000,
        turned_away=1,
    ),
    worker(
        *(11, session(user="ann", tls="TLSv1.2", doing="submitting")),
        sessions=5,
        logins_accepted=2,
        submissions_accepted=4,
        submissions_repeated=2,
        submissions_refused=1,
        sent=1 << 40,
        retiring=True,
    ),
)
WANTED = {
    'imapproxy_build_info{version="1.2.3"}': 1,
    'imapproxy_workers{state="serving"}': 1,
    'imapproxy_workers{state="retiring"}': 1,
    "imapproxy_sessions": 3,
    "imapproxy_sessions_logged_in": 2,
    "imapproxy_sessions_tls": 2,
    "imapproxy_sessions_compressed": 1,
    "imapproxy_submissions_running": 1,
    "imapproxy_connections_total": 17,
    "imapproxy_connections_turned_away_total": 1,
    "imapproxy_tls_handshakes_failed_total": 0,
    'imapproxy_logins_total{result="accepted"}': 9,
    'imapproxy_logins_total{result="refused"}': 3,
    'imapproxy_submissions_total{result="accepted"}': 4,
    'imapproxy_submissions_total{result="repeated"}': 2,
    'imapproxy_submissions_total{result="refused"}': 1,
    'imapproxy_client_bytes_total{direction="received"}': 1000,
    'imapproxy_client_bytes_total{direction="sent"}': 1 << 40,
}
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def samples(answer: Figures, accept: str = "") -> dict[str, float]:
    """Return what a scraper that sends this Accept field reads."""
    body, content_type = exposition(answer, RisingTotals().after(answer), accept)
    parse = openmetrics if content_type.startswith("application/openmetrics-text") else prometheus
    return {
        f"{sample.name}{labels(sample.labels)}": sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


def labels(given: dict[str, str]) -> str:
    return "{" + ",".join(f'{name}="{value}"' for name, value in given.items()) + "}" if given else ""


@pytest.mark.parametrize("accept", ["", "text/plain", "*/*", OPENMETRICS, "nonsense;;=,"])
def test_each_scraper_reads_the_same(accept: str) -> None:
    assert samples(FIGURES, accept) == WANTED


def test_formats_are_named() -> None:
    totals = RisingTotals().after(FIGURES)
    assert exposition(FIGURES, totals, "")[1].startswith("text/plain; version=0.0.4")
    assert exposition(FIGURES, totals, OPENMETRICS)[1].startswith("application/openmetrics-text; version=1.0.0")


def test_without_workers_all_is_zero() -> None:
    assert set(samples(figures()).values()) == {0.0, 1.0}  # the 1 is imapproxy_build_info


def test_each_metric_says_what_it_is() -> None:
    body, _ = exposition(FIGURES, RisingTotals().after(FIGURES), "")
    for family in prometheus(body.decode()):
        assert family.documentation.endswith(".")
        assert family.type in {"gauge", "counter"}


# Totals that never fall.


def test_totals_are_those_of_all_workers_that_ever_were() -> None:
    answer = figures(worker(10, sessions=1), worker(11, sessions=2))
    assert totals_of(answer)["sessions"] == 3
    assert totals_of(Figures(**answer, ended={"sessions": 4, "sent": 9}))["sessions"] == 7


def test_a_worker_that_missed_an_answer_or_was_killed_takes_nothing_along() -> None:
    rising = RisingTotals()
    answers = [[worker(10, sessions=5), worker(11, sent=7)], [worker(10, sessions=6)], [worker(10, sessions=7)], []]
    totals = [rising.after(figures(*workers)) for workers in answers]
    assert [(now["sessions"], now["sent"]) for now in totals] == [(5, 7), (6, 7), (7, 7), (7, 7)]
