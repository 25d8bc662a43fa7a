"""Steps that can change nothing any more: goodbyes, closing, notes of what has happened.

A message that the SMTP server has accepted was sent. Nothing that fails afterwards may end the session before the
client has heard its OK, because a client that does not hear it sends the message again.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from imapproxy.logs import LOGGER, record


@contextmanager
def cleanup(step: str) -> Iterator[None]:
    """Log what goes wrong within this step, and go on; a failure that is expected there is the step's to catch."""
    try:
        yield
    except Exception:
        LOGGER.exception(record("cleanup-failed", step=step))
