"""The program's status is asked for again and again, as monitoring does, whatever becomes of the program meanwhile."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

# Clients that usually ask at the same time, and how long each waits before its next question, in seconds.
ASKING = 3
INTERVAL = 0.001
# The parent waits two seconds for its workers' reports; a busy machine takes its time.
PATIENCE = 20.0
READ_SIZE = 1 << 16


@contextmanager
def asked_for_status(control_socket: Path, clients: int = ASKING) -> Iterator[None]:
    """Have so many clients ask for as long as this lasts; AssertionError where an answer does not come or is none.

    A program that is not there, or ends in the middle of its answer, is nothing wrong.
    """
    stop = Event()
    with ThreadPoolExecutor(clients) as pool:
        asking = [pool.submit(_ask_until, stop, control_socket) for _ in range(clients)]
        try:
            yield
        finally:
            stop.set()
    for one in asking:
        one.result()


def submitting(control_socket: Path) -> int:
    """Return how many sessions submit."""
    answer = _answer(control_socket)
    assert _is_whole(answer), answer
    sessions = [session for worker in json.loads(answer)["workers"] for session in worker["report"]["sessions"]]
    return sum(session["doing"] == "submitting" for session in sessions)


def _ask_until(stop: Event, control_socket: Path) -> None:
    while not stop.wait(INTERVAL):
        answer = _answer(control_socket)
        assert not answer.endswith(b"}") or _is_whole(answer), f"the status is {answer[-200:]!r}"


def _answer(control_socket: Path) -> bytes:
    """Return what is answered, nothing if the program is not there."""
    answer = b""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.settimeout(PATIENCE)
        try:
            stream.connect(str(control_socket))
            while octets := stream.recv(READ_SIZE):
                answer += octets
        except TimeoutError as failure:
            raise AssertionError("the status does not come") from failure
        except OSError:
            return b""
    return answer


def _is_whole(answer: bytes) -> bool:
    """Return whether an answer that is whole names the parent and its workers."""
    try:
        figures = json.loads(answer)
        return all(isinstance(one["pid"], int) for one in (figures, *figures["workers"]))
    except (ValueError, KeyError, TypeError):
        return False
