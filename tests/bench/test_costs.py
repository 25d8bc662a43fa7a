"""The measure `costs`: its ratios, by a clock that counts work; what it feeds; and clients that drip."""

import os
from collections.abc import Callable

import pytest

from bench import costs, drips
from bench.canned import NOOP
from bench.load import Session
from bench.processes import helper
from bench.proxies import IMAPPROXY, IMAPPROXY_COMMAND, program, running, upstream
from bench.report import FIGURES, marks
from imapproxy.errors import SubmissionRefused
from imapproxy.message.message import read_draft
from imapproxy.protocol.action import ToClient, ToUpstream


class Clock:
    """A clock that work advances."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, amount: float) -> Callable[[], None]:
        def work() -> None:
            self.now += amount

        return work


def test_the_time_of_each_is_what_all_of_them_take() -> None:
    clock = Clock()
    assert costs.timed(clock.work(30.0), 10, clock) == 3.0


def test_growth_compares_the_least_of_each() -> None:
    large, small = iter([9.0, 8.0, 40.0]), iter([2.0, 30.0, 4.0])
    assert costs.growth(lambda: next(large), lambda: next(small)) == 4.0


@pytest.mark.parametrize("is_logged_in", [False, True])
def test_a_clients_line_is_held_and_then_whole(is_logged_in: bool) -> None:
    line = costs.client_line(1000, is_logged_in=is_logged_in).held()
    line.drip()
    actions = line.dialogue.from_client(b"\r\n", 2)
    assert [type(action) for action in actions] == [ToUpstream]
    assert sum(len(action.octets) for action in actions if isinstance(action, ToUpstream)) == 1000 + costs.DRIPS + 2


def test_servers_lines_are_of_thirteen_forms_and_none_of_them_is_refused() -> None:
    assert len(costs.FORMS) == 13
    for form in range(13):
        line = costs.server_line(form, costs.LATE_OF_SERVER).held()
        line.drip()
        actions = line.dialogue.from_upstream(b"\r\n", 2)
        assert all(isinstance(action, ToClient) for action in actions)
        assert actions
        costs.server_line(form, costs.EARLY).whole()


def test_a_draft_comes_in() -> None:
    draft = costs.Incoming(1000)
    before = len(draft.spool.content())
    draft.close()
    assert before >= 1000


@pytest.mark.parametrize(
    ("shape", "most"),
    [(costs.recipients, 20_000), (costs.fields, 1_990), (costs.parts, 4_998), (costs.levels, 30)],
)
def test_drafts_are_as_large_as_may_be(shape: Callable[[int], bytes], most: int) -> None:
    draft = read_draft(shape(most), costs._SITE, costs._FRED, costs._STAMP).message([], lambda _: [])
    assert draft.rendering(costs._SEVEN_BIT).size > 10 * most


@pytest.mark.parametrize(("shape", "count"), [(costs.fields, 20_000), (costs.parts, 10_000), (costs.levels, 500)])
def test_drafts_of_more_are_refused(shape: Callable[[int], bytes], count: int) -> None:
    with pytest.raises(SubmissionRefused):
        read_draft(shape(count), costs._SITE, costs._FRED, costs._STAMP).message([], lambda _: []).rendering(
            costs._SEVEN_BIT
        )


def test_every_figure_is_measured() -> None:
    measured = {*costs.in_process(), "cost-noop", "cost-noop-time", "cost-noop-p95"}
    assert measured == {figure.name for figure in costs.FIGURES}
    assert {*costs.FIGURES} <= {*FIGURES}


def test_the_mark_says_that_a_cost_is_flat() -> None:
    samples = {"imapproxy": {"cost-line": [1.1], "cost-server": [75.0], "cost-noop-time": [100.0]}}
    assert [" ".join(line.split()) for line in marks(samples, "imapproxy")] == [
        "Marks of imapproxy",
        "client's line after login, 250 KB flat: under 2 x 1.10 x reached",
        "server's line, worst of 13, 60 KB flat: under 2 x 75.0 x MISSED",
    ]


def test_noops_beside_clients_that_drip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "BESIDE_SECONDS", 0.2)
    cpus = frozenset(os.sched_getaffinity(0))
    contestant = program(IMAPPROXY, IMAPPROXY_COMMAND)
    with upstream() as server, running(contestant, server, cpus) as instance:
        values = costs.beside_drips(instance, lambda: running(contestant, server, cpus))
        assert set(values) == {"cost-noop", "cost-noop-time", "cost-noop-p95"}
        assert all(value > 0 for value in values.values())
        with helper("bench.drips", str(instance.port)) as (_, stdout), Session(instance.port) as session:
            assert stdout.readline().strip() == drips.DRIPPING
            session.command(NOOP)
