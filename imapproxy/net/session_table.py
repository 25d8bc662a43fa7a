"""The running sessions as a table for people, as ``doveadm who`` prints one. Pure: figures in, text out."""

import re
import time
from collections.abc import Iterator, Sequence

from imapproxy.net.metrics import Figures, sessions_of, totals_of
from imapproxy.net.registry import SessionReport

# A column is no wider, whatever a client calls itself.
WIDEST = 48

HEADINGS = ("USER", "CLIENT", "TLS", "COMPRESS", "SINCE", "RECEIVED", "SENT", "DOING")
_FLUSH_RIGHT = {"RECEIVED", "SENT"}
_UNITS = "KMGTP"

_NOT_PLAIN = re.compile(rb"[^ -~]|\\")


def table(figures: Figures) -> str:
    """Return one line a session, by user and time, and one line about them all."""
    sessions = sorted(sessions_of(figures), key=lambda session: (session["user"] or "", session["since"]))
    rows = [HEADINGS, *map(_row, sessions)] if sessions else []
    return "".join(f"{line}\n" for line in (*_aligned(rows), _summary(figures)))


def _row(session: SessionReport) -> tuple[str, ...]:
    return (
        shown(session["user"]),
        shown(session["client"]),
        shown(session["tls"]),
        shown(session["compress"]),
        time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session["since"])),
        size(session["received"]),
        size(session["sent"]),
        shown(session["doing"]),
    )


def shown(text: str | None) -> str:
    r"""Return a cell: printable US-ASCII, the rest as ``\xNN``, and not too wide; ``-`` where there is nothing."""
    if not text:
        return "-"
    octets = text.encode("utf-8", "surrogatepass")
    plain = _NOT_PLAIN.sub(lambda match: b"\\x%02x" % match[0][0], octets).decode("ascii")
    return plain if len(plain) <= WIDEST else f"{plain[: WIDEST - 3]}..."


def size(octets: int) -> str:
    """Return a number of octets as people read it: three digits or so, K, M, G as in the configuration."""
    if octets < 1024:
        return str(octets)
    scaled, units = octets / 1024, _UNITS
    while scaled >= 999.5 and len(units) > 1:
        scaled, units = scaled / 1024, units[1:]
    return f"{scaled:.1f}{units[0]}" if scaled < 9.95 else f"{scaled:.0f}{units[0]}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.rjust(width) if heading in _FLUSH_RIGHT else cell.ljust(width)
            for cell, width, heading in zip(row, widths, HEADINGS, strict=True)
        )
        yield "  ".join(cells).rstrip()


def _summary(figures: Figures) -> str:
    workers = figures["workers"]
    retiring = sum(worker["retiring"] for worker in workers)
    parts = [
        f"imapproxy {shown(figures['version'])}: {_counted(len(sessions_of(figures)), 'session')}",
        _counted(len(workers), "worker") + (f" ({retiring} retiring)" if retiring else ""),
    ]
    totals = totals_of(figures)
    for name, plural in (("login", "logins"), ("submission", "submissions")):
        accepted, refused = totals[f"{plural}_accepted"], totals[f"{plural}_refused"]
        parts.append(_counted(accepted, name) + (f" ({refused} refused)" if refused else ""))
    return ", ".join(parts)


def _counted(count: int, name: str) -> str:
    return f"{count} {name}{'' if count == 1 else 's'}"
