r"""The log: one line an event, as ``event key=value key=value``.

``record`` makes such a line, pure; ``set_up`` says where the lines go. Nothing that a peer sends can end a line, begin
another or pass for another field: whatever is not plain is quoted, octets outside printable US-ASCII as ``\xNN``.
Passwords, tokens and a message's text are never given to ``record``; it could not know them.
"""

import contextlib
import logging
import logging.handlers
import os
import re
import time

from imapproxy.errors import ConfigError

LOGGER = logging.getLogger("imapproxy")

# Long enough for any address (RFC 5321, 4.5.3.1: 64 + 1 + 255 octets) and most replies of an SMTP server (512).
LONGEST_VALUE = 512

SYSTEM_LOG = "/dev/log"

# Printable US-ASCII without space, quote, "=" and backslash.
_PLAIN = re.compile(r"[!#-<>-\[\]-~]+")
_TO_ESCAPE = re.compile(rb'[^ -~]|["\\]')
_LINE_BREAKERS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def record(event: str, **fields: object) -> str:
    """Return an event's line; a field that is None is left out, bytes and text are written alike."""
    return " ".join([event, *(f"{name}={_value(value)}" for name, value in fields.items() if value is not None)])


def _value(value: object) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    if len(text) <= LONGEST_VALUE and _PLAIN.fullmatch(text):
        return text
    octets = value if isinstance(value, bytes) else text.encode("utf-8", "surrogatepass")
    rest = "..." if len(octets) > LONGEST_VALUE else ""
    return f'"{_TO_ESCAPE.sub(_escaped, octets[:LONGEST_VALUE]).decode("ascii")}{rest}"'


def _escaped(match: re.Match[bytes]) -> bytes:
    octet = match[0]
    return b"\\" + octet if octet in b'"\\' else b"\\x%02x" % octet[0]


class OneLine(logging.Formatter):
    """Keeps an event on one line, a traceback included."""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 (logging's name)
        """Return the local time with its zone (RFC 3339)."""
        local = time.localtime(record.created)
        zone = time.strftime("%z", local)
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{int(record.msecs):03d}{zone[:3]}:{zone[3:]}"

    def format(self, record: logging.LogRecord) -> str:
        """Return the line without anything in it that ends a line."""
        return _LINE_BREAKERS.sub(lambda match: repr(match[0])[1:-1], super().format(record))


def set_up(log_to: str, log_level: int) -> None:
    """Send what is logged from ``log_level`` up to ``stderr``, ``syslog`` or the file ``log_to``, and nowhere else."""
    # What no line of ours shows is not looked up (Python's logging HOWTO, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logMultiprocessing = False
    # A line that cannot be written (a full disk, no syslog daemon) is lost, and no traceback takes its place.
    logging.raiseExceptions = False
    try:
        handler = _handler(log_to)
    except OSError as error:
        raise ConfigError(f"log-to: cannot log to {log_to}: {error.strerror}") from None
    for previous in LOGGER.handlers[:]:
        LOGGER.removeHandler(previous)
        previous.close()
    LOGGER.addHandler(handler)
    LOGGER.setLevel(log_level)
    LOGGER.propagate = False


def separate() -> None:
    """In a forked child: share no socket and no open file with the parent, which the child could tamper with.

    It could connect the socket elsewhere, where the parent's next line waits for ever, or have the file refuse lines.
    """
    for handler in LOGGER.handlers:
        if isinstance(handler, logging.handlers.SysLogHandler):
            handler.close()  # the next line connects again
        elif isinstance(handler, SharedFile):
            handler.separate()


def _handler(log_to: str) -> logging.Handler:
    match log_to:
        case "stderr":
            handler: logging.Handler = logging.StreamHandler()
        case "syslog":
            return syslog_handler(SYSTEM_LOG)
        case _:
            handler = SharedFile(log_to)
    handler.setFormatter(OneLine("%(asctime)s imapproxy[%(process)d]: %(levelname)s %(message)s"))
    return handler


class SharedFile(logging.Handler):
    """A file that several processes write, and that logrotate may move away at any time.

    Each line is one write at the file's end, so that no process's line stands inside another's. A file that cannot be
    opened anew (the directory is not ours) or written (a full disk) costs lines, never a session.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._fd = -1
        self._open(path, os.O_CREAT)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line; called with the handler's lock held."""
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            if self._has_moved():
                self._open(self._path, os.O_CREAT)
        with contextlib.suppress(OSError):
            os.write(self._fd, line)

    def close(self) -> None:
        """Close the file."""
        with self.lock or contextlib.nullcontext():
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1
        super().close()

    def separate(self) -> None:
        """Open the same file once more, wherever it is now, and write to that."""
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError):
            self._open(f"/proc/self/fd/{self._fd}")

    def _open(self, path: str, flags: int = 0) -> None:
        # Without waiting: a worker that owns the file could have every open wait for its lease (F_SETLEASE, fcntl(2)).
        opened = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK | flags, 0o640)
        os.set_blocking(opened, True)
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = opened

    def _has_moved(self) -> bool:
        try:
            return not os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            return True


def syslog_handler(socket: str) -> logging.Handler:
    """Return a handler that sends to the syslog daemon, which adds the time, as facility mail."""
    handler = logging.handlers.SysLogHandler(socket, logging.handlers.SysLogHandler.LOG_MAIL)
    handler.append_nul = False
    handler.setFormatter(OneLine("imapproxy[%(process)d]: %(levelname)s %(message)s"))
    return handler
