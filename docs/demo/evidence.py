"""What arrived at the SMTP server and what was filed in Sent: shown to the reader, and compared."""

from collections.abc import Iterable, Iterator
from itertools import groupby

import direct
from letters import BCC, ENCODED_LINE, RECIPIENTS
from report import Report
from stage import USER_ADDRESS, Arrival, Stage

ENCODED_LINES_SHOWN = 2


def show_arrival(arrival: Arrival, report: Report) -> None:
    """Show an envelope and a message as they came; of an attachment, how it begins."""
    report.note("As it came there:")
    report.mail(b"MAIL FROM:<%b>" % arrival.sender.encode())
    for recipient in arrival.recipients:
        report.mail(b"RCPT TO:<%b>" % recipient.encode())
    report.mail(b"")
    for line in _abridged(arrival.message.splitlines()):
        report.mail(line)


def check_envelope(arrival: Arrival, report: Report) -> None:
    """Check who sent a message to whom, and that its blind copy stayed blind."""
    report.check("the envelope sender is the user who had logged in", arrival.sender == USER_ADDRESS)
    report.check("the recipients are those of To and Bcc", arrival.recipients == RECIPIENTS)
    report.check("no Bcc in the message", arrival.field("Bcc") is None and b"terry" not in arrival.message)


def check_sent_copy(arrival: Arrival, stage: Stage, report: Report) -> bytes:
    """Compare the newest message in Sent with what arrived, and return it."""
    copy = direct.newest(stage, b"Sent")
    report.check("the copy in Sent is the same message, with its Bcc", same_but_bcc(copy.message, arrival.message))
    report.check("and it is marked as read", copy.is_read)
    return copy.message


def same_but_bcc(with_bcc: bytes, without: bytes) -> bool:
    """Tell whether two messages are octet for octet the same, but for one Bcc line."""
    return with_bcc.count(BCC) == 1 and with_bcc.replace(BCC, b"") == without


def _abridged(lines: Iterable[bytes]) -> Iterator[bytes]:
    for is_encoded, run in groupby(lines, _is_encoded):
        alike = list(run)
        yield from alike[:ENCODED_LINES_SHOWN] if is_encoded else alike
        if is_encoded and len(alike) > ENCODED_LINES_SHOWN:
            yield f"({len(alike) - ENCODED_LINES_SHOWN:,} more lines like these)".encode()


def _is_encoded(line: bytes) -> bool:
    return len(line) == ENCODED_LINE and b" " not in line
