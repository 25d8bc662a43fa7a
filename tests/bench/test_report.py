"""The report, from samples to verdicts."""

import pytest

from bench.measures import Figure
from bench.report import FIGURES, document, marks, reached, summaries, summarize, table

RATE = Figure("rate", "a rate", "1/s", more_is_better=True, least_ratio=0.5)
DELAY = Figure("delay", "a delay", "us", more_is_better=False, least_ratio=0.9)
MEMORY = Figure("memory", "memory", "KB", more_is_better=False, below=30.0)
PLAIN = Figure("plain", "no mark", "s", more_is_better=False)


@pytest.mark.parametrize(
    ("figure", "values", "reference", "ratio"),
    [
        (RATE, [10.0, 20.0], [10.0, 10.0], 1.5),
        (DELAY, [100.0, 50.0], [100.0, 100.0], 1.5),
        (RATE, [10.0], [], None),
        (RATE, [10.0, 20.0], [0.0, 10.0], 2.0),
    ],
)
def test_ratio_above_one_is_better_than_the_reference(
    figure: Figure, values: list[float], reference: list[float], ratio: float | None
) -> None:
    assert summarize(figure, values, reference).ratio == ratio


@pytest.mark.parametrize(
    ("figure", "value", "nginx", "want"),
    [
        (RATE, 5.0, [10.0], True),
        (RATE, 4.9, [10.0], False),
        (RATE, 5.0, [], None),
        (DELAY, 100.0, [90.0], True),
        (DELAY, 101.0, [90.0], False),
        (MEMORY, 29.9, [], True),
        (MEMORY, 30.0, [], False),
        (PLAIN, 1.0, [1.0], None),
    ],
)
def test_reached(figure: Figure, value: float, nginx: list[float], want: bool | None) -> None:
    assert reached(figure, summarize(figure, [value], nginx)) is want


def test_the_median_round_counts_and_the_spread_is_kept() -> None:
    summary = summarize(RATE, [1.0, 9.0, 2.0], [1.0, 1.0, 1.0])
    assert (summary.median, summary.least, summary.most, summary.ratio) == (2.0, 1.0, 9.0, 2.0)


SAMPLES = {
    "direct": {"bulk": [1000.0]},
    "nginx": {"bulk": [400.0], "memory": [9.7]},
    "imapproxy": {"bulk": [900.0], "memory": [31.0]},
}


def test_marks_say_what_was_reached_and_what_was_missed() -> None:
    assert [line.split() for line in marks(SAMPLES, "imapproxy")] == [
        ["Marks", "of", "imapproxy"],
        *(line.split() for line in (
            "FETCH of one 32 MiB literal 2 x nginx 2.25 x nginx reached",
            "memory per idle session, of 1,000 under 30 KB 31.0 KB MISSED",
        )),
    ]  # fmt: skip


FORWARDING = {
    "classic": {"forward-50x1": [3.0], "forward-50x1-sent": [140_000.0]},
    "imapproxy": {"forward-50x1": [2.0], "forward-50x1-sent": [0.7], "forward-50x1-memory": [17.0]},
}


def test_forwarding_is_compared_with_the_classic_way() -> None:
    assert {figure.name: of["imapproxy"].ratio for figure, of in summaries(FORWARDING)} == {
        "forward-50x1": 1.5,
        "forward-50x1-sent": pytest.approx(200_000),
        "forward-50x1-memory": None,
    }


def test_marks_of_forwarding() -> None:
    assert [" ".join(line.split()) for line in marks(FORWARDING, "imapproxy")] == [
        "Marks of imapproxy",
        "... rise of peak memory, 50 MiB under 16 MiB 17.0 MiB MISSED",
        "... the client sends, 50 MiB under 2 KiB 0.70 KiB reached",
    ]


def test_a_figure_that_does_not_apply_has_no_row() -> None:
    assert [(figure.name, list(of)) for figure, of in summaries(SAMPLES)] == [
        ("bulk", ["direct", "nginx", "imapproxy"]),
        ("memory", ["nginx", "imapproxy"]),
    ]
    assert sum(line.startswith("  ") for line in table(SAMPLES)) == 5


def test_a_rate_near_that_of_the_direct_connection_is_called_limited_by_the_load() -> None:
    assert [line.split()[0] for line in table(SAMPLES) if line.endswith("(limited by the load)")] == ["imapproxy"]


def test_the_document_judges_no_reference() -> None:
    bulk = document(SAMPLES, {})["figures"][0]["contestants"]
    assert (bulk["nginx"]["reached"], bulk["imapproxy"]["reached"]) == (None, True)


def test_every_mark_of_the_design_stands_in_the_table() -> None:
    marks = {figure.name: figure.least_ratio or figure.below for figure in FIGURES}
    assert {name: mark for name, mark in marks.items() if not name.startswith(("forward", "cost"))} == {
        "bulk": 2.0, "bulk-cpu": None, "messages": 2.0, "messages-cpu": None, "lines": 8.0, "lines-cpu": None,
        "noop": 0.9, "noops": 0.5, "noops-cpu": None, "logins": 0.9, "logins-cpu": None, "logins-parallel": None,
        "memory": 30.0, "beside": None, "beside-p95": None, "beside-bulk": None,
    }  # fmt: skip
    assert {name: mark for name, mark in marks.items() if name.startswith("forward") and mark} == {
        "forward-50x1-memory": 16, "forward-50x1-sent": 2,
    }  # fmt: skip
    assert {mark for name, mark in marks.items() if name.startswith("cost") and mark} == {2.0}
    assert [name for name, mark in marks.items() if name.startswith("cost") and not mark] == [
        "cost-noop-time",
        "cost-noop-p95",
    ]
