"""The demo: mail is sent and forwarded through imapproxy by SUBMIT, and what that took is shown and checked.

``make demo`` runs it: ``.venv/bin/python docs/demo/demo.py``, from any directory, without root and configuration. Its
exit status is 0 only if every claim that it prints held. With ``KEEP=1`` in the environment the servers stay until
Ctrl-C, for a mail program to be pointed at them.
"""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from keep import keep_running
from processes import StartError
from report import Report
from stage import servers
from story import tell

TIME_LIMIT = 60  # seconds for the whole story; it takes about four
LOG_TAIL = 20  # lines of each server's log that a failed demo shows


class TimeLimitError(Exception):
    """The story did not end within ``TIME_LIMIT``."""


def main() -> int:
    """Tell the story, and return the exit status."""
    signal.signal(signal.SIGTERM, _end_by_signal)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job inherits it ignored
    report = Report()
    with tempfile.TemporaryDirectory(prefix="imapproxy-demo-") as directory:
        try:
            play(Path(directory), report)
        except (StartError, TimeLimitError, OSError) as error:
            report.failed.append(str(error))
        except KeyboardInterrupt:
            return 128 + signal.SIGINT
        if report.failed:
            show_failure(report.failed, Path(directory))
            return 1
    return 0


def play(place: Path, report: Report) -> None:
    """Run the servers as long as the story, or its audience, needs them."""
    with servers(place) as stage:
        with time_limit(TIME_LIMIT):
            tell(stage, report)
        if report.failed:
            return
        print("\nAll of this really happened: every line marked [ok] was checked.")
        if os.environ.get("KEEP") == "1":
            keep_running(stage)


def show_failure(failed: list[str], place: Path) -> None:
    """Name what did not hold, and show the ends of the servers' logs."""
    print("\nThe demo failed:")
    for claim in failed:
        print(f"   {claim}")
    for log in sorted(place.glob("*.log")):
        print(f"\nThe end of {log.name}:")
        for line in log.read_text(errors="replace").splitlines()[-LOG_TAIL:]:
            print(f"   {line}")


@contextmanager
def time_limit(seconds: int) -> Iterator[None]:
    """Raise ``TimeLimitError`` if the context lasts longer."""
    signal.signal(signal.SIGALRM, _time_is_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def _time_is_up(_number: int, _frame: FrameType | None) -> NoReturn:
    raise TimeLimitError(f"it took longer than {TIME_LIMIT} s")


def _end_by_signal(number: int, _frame: FrameType | None) -> NoReturn:
    """End as a signal ends a program, but by way of the contexts that tidy up."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
