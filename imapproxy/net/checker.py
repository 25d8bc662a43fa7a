"""A child that checks for the parent what may take long: a disk, a name server, a large file.

The parent answers its workers meanwhile. A check that does not end in time has failed; its child is killed, and reaped
when the kernel lets go of it.
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from imapproxy.errors import ConfigError, WorkerError
from imapproxy.net.channel import Channel, channel_pair
from imapproxy.net.children import EndingChildren, has_ended
from imapproxy.net.loop import Loop, Timer
from imapproxy.net.workers import fork

# What is read of the reason why a check failed, in bytes: some hundred lines.
LONGEST_REASON = 16 * 1024
# How often the channel of a child that has ended is read: what was not read yet, and the end of the file.
LAST_READS = 3

Done = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Check:
    """What is to be checked, by ``body``, which raises ConfigError or OSError if it is not good.

    ``late`` and ``broken`` are what is wrong if that takes longer than so many ``seconds``, or fails in another way.
    """

    body: Callable[[], object]
    seconds: float
    late: str
    broken: str


@dataclass(slots=True)
class _Running:
    pid: int
    channel: Channel
    check: Check
    done: Done
    timer: Timer
    reason: bytes = b""
    is_broken: bool = False


class Checker:
    """One check at a time. ``close_parents`` closes in the child what is the parent's alone."""

    def __init__(self, loop: Loop, ending: EndingChildren, close_parents: Callable[[], None]) -> None:
        self._loop = loop
        self._ending = ending
        self._close_parents = close_parents
        self._running: _Running | None = None

    @property
    def is_running(self) -> bool:
        """Whether a check is under way."""
        return self._running is not None

    def run(self, check: Check, done: Done) -> None:
        """Have a check done, and ``done`` called with what is wrong, "" if it is good.

        Raise ConfigError if the machine has no room for a child.
        """
        assert self._running is None
        try:
            pid, near = self._fork(check)
        except OSError as failure:
            reason = f"cannot start a process that checks the configuration: {failure.strerror}"
            raise ConfigError(reason) from failure
        timer = self._loop.later(check.seconds, self._give_up)
        running = self._running = _Running(pid, near, check, done, timer)
        self._loop.when_readable(near.fileno(), lambda: self._hear(running))

    def _fork(self, check: Check) -> tuple[int, Channel]:
        with ExitStack() as parents, ExitStack() as childs:
            near, far = channel_pair()
            parents.enter_context(near)
            childs.enter_context(far)
            near.set_blocking(is_blocking=False)
            pid = fork(lambda: self._child(check, near, far))
            parents.pop_all()
        return pid, near

    def _child(self, check: Check, near: Channel, far: Channel) -> int:
        self._close_parents()
        near.close()
        try:
            check.body()
        except (ConfigError, OSError) as failure:
            far.send_all(str(failure).encode("utf-8", "replace")[:LONGEST_REASON])
        return 0

    def reap(self) -> None:
        """See whether the check is over, after SIGCHLD."""
        running = self._running
        if running and (status := has_ended(running.pid)) is not None:
            for _ in range(LAST_READS):
                self._hear(running)
            self._end(running)
            is_broken = status or running.is_broken
            running.done(_printable(running.reason) or (running.check.broken if is_broken else ""))

    def cancel(self) -> None:
        """Give up a check that is under way, without telling its caller."""
        if running := self._running:
            self._end(running)
            self._ending.kill(running.pid, 0)

    def close(self) -> None:
        """In a child of the parent: close what is the parent's."""
        if self._running:
            self._running.channel.close()

    def _give_up(self) -> None:
        if running := self._running:
            self.cancel()
            running.done(running.check.late)

    def _hear(self, running: _Running) -> None:
        try:
            data = running.channel.receive(LONGEST_REASON)
        except WorkerError:  # it was taken over by what it read
            running.is_broken = True
            data = b""
        if data:
            running.reason = (running.reason + data)[:LONGEST_REASON]
        elif data is not None:
            self._loop.unwatch(running.channel)

    def _end(self, running: _Running) -> None:
        self._loop.cancel(running.timer)
        self._loop.unwatch(running.channel)
        self._ending.close([running.channel])
        self._running = None


def _printable(reason: bytes) -> str:
    """Return a reason that a terminal may show: what a journal is said to contain may come from anyone."""
    text = reason.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
