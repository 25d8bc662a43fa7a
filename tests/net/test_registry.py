"""What a worker knows of its sessions, and counts."""

import json
import threading
from typing import Any

import pytest

from imapproxy.net.registry import COUNTED, LONGEST_USER, Registry, Report, SessionReport
from tests.net.peers import PATIENCE, SILENCE, Background


class Session:
    """A session that runs."""

    def __init__(self, **figures: Any) -> None:
        self.figures = figures

    def report(self) -> SessionReport:
        usual = SessionReport(
            user=None, client="192.0.2.1", tls=None, compress=None, since=1.5, received=0, sent=0, doing="login"
        )
        return usual | self.figures  # type: ignore[return-value]


def test_a_registry_begins_with_nothing() -> None:
    assert Registry().report() == Report(sessions=[], totals=dict.fromkeys((*COUNTED, "received", "sent"), 0))


def test_a_session_is_there_while_it_runs() -> None:
    registry = Registry()
    fred, ann = Session(user="fred"), Session(user="ann")
    with registry.entered(fred):
        with registry.entered(ann):
            assert registry.report()["sessions"] == [fred.report(), ann.report()]
        assert registry.report()["sessions"] == [fred.report()]
    assert registry.report()["sessions"] == []
    assert registry.report()["totals"]["sessions"] == 2


def test_octets_count_while_a_session_runs_and_after() -> None:
    registry = Registry()
    session = Session(received=1, sent=10)
    with registry.entered(session):
        assert registry.report()["totals"]["received"] == 1
        session.figures = {"received": 2, "sent": 20}
        assert registry.report()["totals"]["received"] == 2
        session.figures = {"received": 3, "sent": 30}
    totals = registry.report()["totals"]
    assert (totals["received"], totals["sent"]) == (3, 30)


def test_a_session_that_ends_while_the_figures_are_gathered_is_counted_once_and_whole() -> None:
    """Else what is counted would go down for a moment, which Prometheus takes for a restart."""
    registry, asked, done = Registry(), threading.Event(), threading.Event()

    class Ending(Session):
        def report(self) -> SessionReport:
            if threading.current_thread() is not threading.main_thread():
                asked.set()
                assert not done.wait(SILENCE), "it has left"
            return super().report()

    session = Ending(received=5)
    with registry.entered(session):
        asking = Background(registry.report)
        assert asked.wait(PATIENCE)
    done.set()
    assert asking.result()["totals"]["received"] == 5
    assert registry.report()["totals"]["received"] == 5


def test_a_session_that_fails_leaves_too() -> None:
    registry = Registry()
    with pytest.raises(RuntimeError), registry.entered(Session(sent=7)):
        raise RuntimeError
    report = registry.report()
    assert (report["sessions"], report["totals"]["sent"]) == ([], 7)


@pytest.mark.parametrize("event", COUNTED)
def test_each_event_is_counted_by_itself(event: Any) -> None:
    registry = Registry()
    registry.count(event)
    registry.count(event)
    assert registry.report()["totals"] == Registry().report()["totals"] | {event: 2}


def test_a_report_is_json_whatever_a_user_is_called() -> None:
    registry = Registry()
    with registry.entered(Session(user="fr\u00e9d\udcff\x1b" * 1000)):
        report = registry.report()
        assert json.loads(json.dumps(report)) == report
    assert len(report["sessions"][0]["user"] or "") == LONGEST_USER
