"""From samples to the table that is printed and the JSON that is written. Pure: no process, no clock, no socket."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench import costs, forward, measures
from bench.measures import Figure
from bench.proxies import CLASSIC, DIRECT, HAPROXY, NGINX

# Of one contestant, one value a round; NaN never stands here: a figure that does not apply has no entry.
Samples = Mapping[str, Mapping[str, Sequence[float]]]
REFERENCES = (DIRECT, NGINX, HAPROXY, CLASSIC)
FIGURES = (*measures.FIGURES, *forward.FIGURES, *costs.FIGURES)
# From this share of the direct connection's rate on, the load is said to limit a figure.
LIMIT = 0.8


@dataclass(frozen=True, slots=True)
class Summary:
    """The values of one figure for one contestant over all rounds, and its ratios to the reference, round by round."""

    median: float
    least: float
    most: float
    ratio: float | None
    least_ratio: float | None
    most_ratio: float | None


def summarize(figure: Figure, values: Sequence[float], reference: Sequence[float]) -> Summary:
    """Return the medians and the spread; a ratio above 1 is better than the reference, whatever the direction."""
    ratios = [
        value / other if figure.more_is_better else other / value
        for value, other in zip(values, reference, strict=False)
        if value > 0 and other > 0
    ]
    spread = (statistics.median(ratios), min(ratios), max(ratios)) if ratios else (None, None, None)
    return Summary(statistics.median(values), min(values), max(values), *spread)


def reached(figure: Figure, summary: Summary) -> bool | None:
    """Return whether the figure's mark is reached; None when it has none, or its reference was not measured."""
    if figure.below is not None:
        return summary.median < figure.below
    if figure.least_ratio is None or summary.ratio is None:
        return None
    return summary.ratio >= figure.least_ratio


def mark(figure: Figure) -> str:
    """Return the mark in words."""
    if figure.below is not None:
        return f"{'flat: ' if figure in costs.FIGURES else ''}under {figure.below:g} {figure.unit}"
    return "" if figure.least_ratio is None else f"{figure.least_ratio:g} x {figure.reference}"


def summaries(samples: Samples) -> Iterator[tuple[Figure, Mapping[str, Summary]]]:
    """Yield each figure that was measured, with the summary of each contestant that has it."""
    for figure in FIGURES:
        values = {name: figures[figure.name] for name, figures in samples.items() if figure.name in figures}
        if values:
            reference = values.get(figure.reference, [])
            yield figure, {name: summarize(figure, value, reference) for name, value in values.items()}


def table(samples: Samples) -> Iterator[str]:
    """Yield the lines of the comparison."""
    yield "Medians of all rounds [least .. most], and as 'x' the ratio to nginx, or to the classic way of forwarding"
    yield "(FETCH, SMTP, APPEND to Sent): above 1 is better than nginx or the classic way, always."
    yield "The costs are ratios themselves: of what an octet costs late in a line or draft to what it costs early, and"
    yield "of what a unit of a draft costs to what one of half as many does. About 1 is linear."
    for figure, of_contestants in summaries(samples):
        yield ""
        yield f"{figure.what} ({figure.name}, {figure.unit}, {'more' if figure.more_is_better else 'less'} is better)"
        for name, summary in of_contestants.items():
            note = "  (limited by the load)" if limited(figure, name, of_contestants) else ""
            yield f"  {name:<12}{row(summary)}{note}"


def limited(figure: Figure, name: str, of_contestants: Mapping[str, Summary]) -> bool:
    """Return whether a rate is so near to the direct connection's that load and upstream may be what limits it."""
    if not figure.more_is_better or name == DIRECT or DIRECT not in of_contestants:
        return False
    return of_contestants[name].median > LIMIT * of_contestants[DIRECT].median


def row(summary: Summary) -> str:
    """Return one contestant's line."""
    span = f"[{number(summary.least)} .. {number(summary.most)}]"
    text = f"{number(summary.median):>9} {span:<22}"
    if summary.ratio is None or summary.least_ratio is None or summary.most_ratio is None:
        return text.rstrip()
    return f"{text}{times(summary.ratio):>7} x [{times(summary.least_ratio)} .. {times(summary.most_ratio)}]"


def times(ratio: float) -> str:
    """Return a ratio; without a fraction where nobody cares."""
    return f"{ratio:.0f}" if ratio >= 1000 else f"{ratio:.2f}"


def number(value: float) -> str:
    """Return a value with as many digits as mean something."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def marks(samples: Samples, contestant: str) -> Iterator[str]:
    """Yield the lines that say which marks `contestant` reached."""
    yield f"Marks of {contestant}"
    for figure, of_contestants in summaries(samples):
        summary = of_contestants.get(contestant)
        verdict = None if summary is None else reached(figure, summary)
        if summary is None or verdict is None:
            continue
        got = reading(figure, summary)
        yield f"  {figure.what:<36}{mark(figure):<18}{got:<16}{'reached' if verdict else 'MISSED'}"


def reading(figure: Figure, summary: Summary) -> str:
    """Return in words what is compared with the mark."""
    if figure.below is not None:
        return f"{number(summary.median)} {figure.unit}"
    return f"{summary.ratio:.2f} x {figure.reference}"


def document(samples: Samples, environment: Mapping[str, object]) -> dict[str, Any]:
    """Return everything as what JSON can hold."""
    return {
        "environment": environment,
        "figures": [
            {
                "name": figure.name,
                "what": figure.what,
                "unit": figure.unit,
                "more_is_better": figure.more_is_better,
                "mark": mark(figure) or None,
                "reference": figure.reference,
                "contestants": {
                    name: {
                        "median": summary.median,
                        "ratio": summary.ratio,
                        "reached": None if name in REFERENCES else reached(figure, summary),
                        "rounds": list(samples[name][figure.name]),
                    }
                    for name, summary in of_contestants.items()
                },
            }
            for figure, of_contestants in summaries(samples)
        ],
    }
