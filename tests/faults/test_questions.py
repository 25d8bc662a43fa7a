"""The fault runs ask for the status as monitoring does: a wrong answer is one, a program that is gone is not."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from tests.faults.questions import asked_for_status, submitting

PATIENCE = 25.0  # seconds
WHOLE = b'{"pid": 1, "workers": [{"pid": 2, "report": {"sessions": [{"doing": "submitting"}, {"doing": "IDLE"}]}}]}'


@contextmanager
def answering(path: Path, answer: bytes, times: int = 1) -> Iterator[threading.Event]:
    """A control socket that gives this answer; the event says that it did so often."""
    asked_enough = threading.Event()

    def serve() -> None:
        for number in count(1):
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.sendall(answer)
            if number == times:
                asked_enough.set()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield asked_enough
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def ask(path: Path, answer: bytes, times: int) -> None:
    with answering(path, answer, times) as asked_enough, asked_for_status(path):
        assert asked_enough.wait(PATIENCE)


@pytest.mark.parametrize("answer", [WHOLE, WHOLE[:-1], b""])
def test_an_answer_that_is_whole_or_breaks_off_is_good(tmp_path: Path, answer: bytes) -> None:
    ask(tmp_path / "control", answer, times=10)


@pytest.mark.parametrize("answer", [b"}", b"{}", b'{"pid": 1, "workers": [{}]}', b'{"pid": "1", "workers": []}'])
def test_an_answer_that_is_something_else_is_wrong(tmp_path: Path, answer: bytes) -> None:
    with pytest.raises(AssertionError, match="the status is"):
        ask(tmp_path / "control", answer, times=1)


def test_a_program_that_is_not_there_is_nothing_wrong(tmp_path: Path) -> None:
    with asked_for_status(tmp_path / "control"):
        pass


def test_sessions_that_submit_are_counted(tmp_path: Path) -> None:
    with answering(tmp_path / "control", WHOLE):
        assert submitting(tmp_path / "control") == 1
