"""Marks: who is there, and who is not there any more."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from imapproxy.net.presence import Presence
from tests.net.child import child
from tests.net.peers import nothing_left


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


@pytest.fixture
def path(tmp_path: Path) -> str:
    file = tmp_path / "lock"
    file.touch()
    return str(file)


def test_who_has_entered_is_there_for_itself_and_for_others_until_it_leaves(path: str) -> None:
    with closing(Presence(path)) as we, closing(Presence(path)) as they:
        mark = we.enter()
        assert we.is_there(mark)
        assert they.is_there(mark)
        we.leave(mark)
        assert not we.is_there(mark)
        assert not they.is_there(mark)


def test_marks_are_many_and_each_its_own(path: str) -> None:
    with closing(Presence(path)) as we, closing(Presence(path)) as they:
        first, second, theirs = we.enter(), we.enter(), they.enter()
        we.leave(first)
        assert [they.is_there(mark) for mark in (first, second, theirs)] == [False, True, True]
        assert [we.is_there(mark) for mark in (first, second, theirs)] == [False, True, True]


def test_who_closes_is_gone_with_all_marks_and_nobody_elses(path: str) -> None:
    with closing(Presence(path)) as watcher:
        with ExitStack() as stack:
            we, they = (stack.enter_context(closing(Presence(path))) for _ in range(2))
            ours, theirs = [we.enter(), we.enter()], they.enter()
            we.close()
            assert [watcher.is_there(mark) for mark in (*ours, theirs)] == [False, False, True]
        assert not watcher.is_there(theirs)


def test_a_process_that_is_killed_is_gone(path: str) -> None:
    with closing(Presence(path)) as watcher, child(lambda say: say(str(Presence(path).enter()))) as killed:
        mark = int(killed.said())
        assert watcher.is_there(mark)
        killed.kill()
        assert not watcher.is_there(mark)


def test_a_file_is_not_made(tmp_path: Path) -> None:
    presence = Presence(str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        presence.enter()
    with pytest.raises(FileNotFoundError):
        presence.is_there(1)
    assert list(tmp_path.iterdir()) == []


def test_marks_in_a_file_that_was_removed_are_gone_and_the_next_go_into_the_new_one(path: str) -> None:
    with closing(Presence(path)) as we, closing(Presence(path)) as they:
        old = we.enter()
        os.unlink(path)
        Path(path).touch()
        new = we.enter()
        assert [they.is_there(mark) for mark in (old, new)] == [False, True]
        assert not we.is_there(old)
        we.leave(old)
        assert they.is_there(new)
