"""The table: a line a kind, what the clients heard, what came of it. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.faults.judge import Told, Verdict
from tests.faults.outcome import Result

_HEAD = "what is broken"
_COLUMNS = ("breaks", *(f"told {told.value}" for told in Told), *(verdict.value for verdict in Verdict))


def table(results: Sequence[Result], kinds: Sequence[str]) -> Iterator[str]:
    """Yield its lines, in the order of the kinds; Markdown, and readable as it is."""
    width = max(map(len, (_HEAD, *kinds)))
    yield _line(_HEAD, _COLUMNS, width)
    yield _line("-" * width, ["-" * (len(column) - 1) + ":" for column in _COLUMNS], width)
    for kind in kinds:
        yield _line(kind, _counts([result for result in results if result.kind == kind]), width)
    yield _line("all", _counts(results), width)


def _counts(results: Sequence[Result]) -> list[str]:
    heard = Counter(told for result in results for told in result.heard)
    verdicts = Counter(result.verdict for result in results)
    return [str(number) for number in (len(results), *(heard[told] for told in Told), *(verdicts[v] for v in Verdict))]


def _line(name: str, cells: Sequence[str], width: int) -> str:
    fitted = [cell.rjust(len(column)) for cell, column in zip(cells, _COLUMNS, strict=True)]
    return "| " + " | ".join([name.ljust(width), *fitted]) + " |"
