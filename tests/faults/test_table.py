"""The table of the fault harness."""

from tests.faults.judge import Told, Verdict
from tests.faults.outcome import Result
from tests.faults.table import table

RESULTS = [
    Result("SIGKILL", "at MAIL", Verdict.ONCE, (Told.NOTHING,)),
    Result("SIGKILL", "at the dot", Verdict.WINDOW, (Told.NOTHING,)),
    Result("no room", "0 KiB", Verdict.ONCE, (Told.REFUSED,)),
    Result("SIGKILL", "under load", Verdict.LOST, (Told.SENT, Told.UNCERTAIN)),
    Result("no room", "it did not even begin", Verdict.WRONG),
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_each_kind_has_its_line_and_all_of_them_one() -> None:
    head, _, *lines = map(cells, table(RESULTS, ["no room", "SIGKILL", "nothing"]))
    numbers = {line[0]: dict(zip(head[1:], map(int, line[1:]), strict=True)) for line in lines}
    none = dict.fromkeys(head[1:], 0)
    assert list(numbers) == ["no room", "SIGKILL", "nothing", "all"]
    assert numbers == {
        "no room": none | {"breaks": 2, "told NO": 1, "once": 1, "wrong": 1},
        "SIGKILL": none
        | {"breaks": 3, "told OK": 1, "told uncertain": 1, "told nothing": 2, "once": 1, "window": 1, "lost": 1},
        "nothing": none,
        "all": none
        | {
            "breaks": 5,
            "told OK": 1,
            "told NO": 1,
            "told uncertain": 1,
            "told nothing": 2,
            "once": 2,
            "window": 1,
            "wrong": 1,
            "lost": 1,
        },
    }


def test_it_is_markdown_whose_columns_stand_below_each_other() -> None:
    lines = list(table(RESULTS, ["no room", "SIGKILL"]))
    bars = {tuple(index for index, sign in enumerate(line) if sign == "|") for line in lines}
    assert len(bars) == 1
    assert set(lines[1]) == set("|-: ")
