"""The SMTP server does not do its part: each answer that is none, at each step of the dialogue with it."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from tests.faults.breaks import Break, break_of, prepared
from tests.faults.house import House
from tests.faults.steps import smtp_steps
from tests.faults.submissions import ALL, RECIPIENTS, SECURED, USUAL, Submission
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, Script

REFUSALS: Mapping[str, Script] = {
    "4xx": "450 4.2.0 not now",
    "5xx": "550 5.7.1 never",
    "421": ("421 4.3.2 shutting down", CLOSE),
}
FAILURES: Mapping[str, Script] = {
    "garbage": b"\x00\xff\x1b[2J garbage {5} \r\n",
    "half a line": (b"250 2.0.0 o", CLOSE),
    "half a reply": (b"250-first\r\n", CLOSE),
    "silence": SILENCE,
    "RST": RESET,
    "FIN": CLOSE,
}
# Whether the message is sent whatever comes there; elsewhere it is not. A server that knows no EHLO is told HELO.
IS_SENT: Mapping[str, bool | None] = {"EHLO": None, ".": None, "QUIT": True}
# What comes when the proxy has been told to go ahead.
BREAKS_OFF: Mapping[str, Script] = {
    f"354 and {name}": ("354 go ahead", end) for name, end in (("silence", SILENCE), ("RST", RESET), ("FIN", CLOSE))
}
# What comes in place of the server's part of the handshake.
HANDSHAKES: Mapping[str, Script] = {
    f"220 and {name}": ("220 2.0.0 go ahead", FAILURES[name]) for name in ("garbage", "silence", "RST", "FIN")
}


def smtp_refusals() -> Iterator[Break]:
    """Yield each step's refusals."""
    for submission in ALL:
        for step in smtp_steps(submission):
            for name, script in REFUSALS.items():
                yield _smtp_break(submission, step, name, script, is_taken=step != ".")
    for submission in USUAL:
        yield from _undoing(submission, REFUSALS)


def smtp_failures() -> Iterator[Break]:
    """Yield each step's failures, but for those that leave open what became of the message."""
    for submission in ALL:
        for step in smtp_steps(submission):
            for name, script in FAILURES.items() if step != "." else ():
                yield _smtp_break(submission, step, name, script)
    for name, script in HANDSHAKES.items():
        yield _smtp_break(SECURED, "STARTTLS", name, script)
    for submission in USUAL:
        for name, script in BREAKS_OFF.items():
            yield replace(_smtp_break(submission, "DATA", name, script), is_behind_354=True)
        yield from _undoing(submission, FAILURES)


def _undoing(submission: Submission, scripts: Mapping[str, Script]) -> Iterator[Break]:
    """Yield what can come in place of the reply to the RSET that follows on a refused recipient."""
    for name, script in scripts.items():
        refusal = {f"RCPT {RECIPIENTS[1]}": "550 5.1.1 no such user"}
        yield _smtp_break(submission, "RSET", name, script, also=refusal)


def lost_replies(is_taken: bool) -> Iterator[Break]:
    """Yield what can come in place of the reply to the final dot, by a server that has taken the message, or not."""
    for submission in USUAL:
        for name, script in FAILURES.items():
            yield _smtp_break(submission, ".", name, script, is_taken=is_taken, is_window=True)


def _smtp_break(
    submission: Submission,
    step: str,
    name: str,
    script: Script,
    *,
    also: Mapping[str, Script] | None = None,
    is_taken: bool = True,
    is_window: bool = False,
) -> Break:
    def prepare(house: House) -> None:
        house.smtp.script |= also or {}
        house.at_smtp(step, script)

    broken = break_of(submission, f"{name} at {step}", prepared(prepare))
    return replace(broken, is_taken=is_taken, is_window=is_window, is_sent=IS_SENT.get(step.partition(" ")[0], False))
