"""From why a message was not sent to the exit status by which callers go on (sysexits.h): the one place for it."""

from collections.abc import Sequence
from os import EX_DATAERR, EX_NOINPUT, EX_NOPERM, EX_NOUSER, EX_PROTOCOL, EX_TEMPFAIL, EX_UNAVAILABLE

# RFC 3463 codes, a dot behind them, by how they begin: the first that fits.
_PERMANENT = (
    ("5.1.7.", EX_DATAERR),  # who sends is no address, ...
    ("5.1.8.", EX_DATAERR),  # ... or is nowhere
    ("5.1.", EX_NOUSER),
    ("5.3.4.", EX_DATAERR),  # too large
    ("5.5.3.", EX_DATAERR),  # too many recipients
    ("5.5.", EX_PROTOCOL),
    ("5.6.6.", EX_NOINPUT),  # what the message refers to cannot be read
    ("5.6.", EX_DATAERR),
    ("5.7.", EX_NOPERM),
)


def status_of_refusal(code: str, is_temporary: bool, recipients: Sequence[str]) -> int:
    """Return the status for a NO of a SUBMIT: its RFC 3463 code, or an SMTP server's, and who was refused."""
    if is_temporary:
        return EX_TEMPFAIL
    if recipients:
        return EX_NOUSER
    return next((status for beginning, status in _PERMANENT if f"{code}.".startswith(beginning)), EX_UNAVAILABLE)


def status_of_connection(code: str) -> int:
    """Return the status for a dialogue that cannot go on, by its RFC 3463 code."""
    # 4.4: network. All else (garbled, no TLS that can be trusted) will not go away by trying again.
    return EX_TEMPFAIL if code.startswith("4.4.") else EX_PROTOCOL
