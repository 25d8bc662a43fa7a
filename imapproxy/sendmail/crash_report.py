"""What a person can report of an error that the program did not foresee: its kind, and where in the code it happened.

An exception's own text is never part of it, nor are values: they may hold the message or a password. Pure.
"""

from collections.abc import Iterator
from types import TracebackType

# Calls that are named of each error, the last ones: a report fits on a screen, even if a function called itself.
MAX_CALLS = 12
# Errors that are told of a chain in which each led to the next.
MAX_ERRORS = 3


def crash_report(failure: BaseException, version: str, python: str) -> str:
    """Return a line with the versions of the program and of Python, and for each error its calls, a line each."""
    lines = [f"imap-submit {version}, Python {python}"]
    error: BaseException | None = failure
    for _ in range(MAX_ERRORS):
        if error is None:
            break
        lines += [type(error).__name__, *_calls(error.__traceback__)]
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(f"  {line}" for line in lines)


def _calls(traceback: TracebackType | None) -> list[str]:
    return [f"  {call}" for call in list(_all_calls(traceback))[-MAX_CALLS:]]


def _all_calls(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        frame = traceback.tb_frame
        yield f"{frame.f_globals.get('__name__')}, line {traceback.tb_lineno}, in {frame.f_code.co_qualname}"
        traceback = traceback.tb_next
