"""Become a daemon, by ``python-daemon``; whoever started it learns how that ended.

It is done first of all, before anything is opened: python-daemon closes all descriptors. The process that was started
waits until the daemon serves, so that an init script can rely on its exit status, and says what went wrong.

Of python-daemon's defaults, the umask would be 0, which lets everybody write; the directory "/", where a relative path
in the configuration would mean something else at the next reload; and SIGTERM would raise SystemExit.
"""

import contextlib
import os
import resource
import sys
from typing import NoReturn

# Debian 12's python-daemon 2.3 keeps a set of all descriptor numbers that there can be: 60 MB at systemd's limit.
HIGHEST_LIMIT = 65_536
# Log files are for their owner and group; nothing else is written under it.
UMASK = 0o027

_READY = b"\0"
_LONGEST_REASON = 65_536
# What a daemon without a word left behind: it was killed, or its log has a traceback.
_WORDLESS = 1


class Starter:
    """The process that was started, as the daemon sees it: it waits for one word. In the foreground nobody does."""

    def __init__(self, fd: int = -1) -> None:
        self._fd = fd

    def ready(self) -> None:
        """Let it end with exit status 0."""
        self._say(_READY)

    def fail(self, reason: str, status: int) -> None:
        """Let it print ``reason`` and end with ``status``."""
        self._say(bytes([status]) + reason.encode("utf-8", "backslashreplace")[:_LONGEST_REASON])

    def close(self) -> None:
        """Say nothing, now or later, as a forked child does."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _say(self, word: bytes) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # it may have been killed meanwhile
                os.write(self._fd, word)
            self.close()


def detach() -> Starter:
    """Go on as a daemon; the process that called this never returns."""
    _lower_limit()
    # Here, not above: see HIGHEST_LIMIT, and who stays in the foreground does not need it.
    from daemon import DaemonContext  # type: ignore[import-untyped]  # noqa: PLC0415

    reader, writer = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if child := os.fork():
        os.close(writer)
        _wait_for_word(reader, child)
    os.close(reader)
    DaemonContext(
        detach_process=True,  # else it would decide by whether init or inetd is its parent
        files_preserve=[writer],
        umask=UMASK,
        working_directory=os.getcwd(),
        signal_map={},
    ).open()
    return Starter(writer)


def _lower_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard > HIGHEST_LIMIT or hard == resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, HIGHEST_LIMIT), HIGHEST_LIMIT))


def _wait_for_word(reader: int, child: int) -> NoReturn:
    """End as the daemon says; ``child`` is the first of python-daemon's forks, which ends at once."""
    os.waitpid(child, 0)
    word = b""
    # Not up to the end of the stream after a good word: workers hold the other end for a moment longer.
    while word != _READY and (piece := os.read(reader, _LONGEST_REASON)):
        word += piece
    if word == _READY:
        os._exit(0)
    text = word[1:].decode("utf-8", "replace") or "imapproxy: the daemon ended before it was ready; its log says why"
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for the person who started it
    os._exit(word[0] if word else _WORDLESS)
