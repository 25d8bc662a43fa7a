"""Pipes between the parent and a worker. They carry bytes, and never descriptors.

A socket would be less code, but a worker that has been taken over could send descriptors over it (SCM_RIGHTS,
unix(7)). The parent discards them by receiving or by closing, and closing a TCP socket can take as long as its
SO_LINGER says: one message would stop the parent, and with it every login that asks for a place. For the same reason a
pipe ends with an end of file when the other process dies, whatever that one has not read.
"""

import os
import select
from typing import Self

# What is written at once is whole or not there at all, up to this size (pipe(7)).
ATOMIC = select.PIPE_BUF


class Channel:
    """One end: what comes is read from one pipe, what goes is written to another."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader = reader
        self._writer = writer

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something comes; -1 once the channel is closed."""
        return self._reader

    def writer_fileno(self) -> int:
        """Return the descriptor that becomes writable when there is room; -1 once the channel is closed."""
        return self._writer

    def set_blocking(self, *, is_blocking: bool) -> None:
        """Wait in ``receive`` and ``send``, or never. A new channel waits."""
        os.set_blocking(self._reader, is_blocking)
        os.set_blocking(self._writer, is_blocking)

    def receive(self, most: int) -> bytes | None:
        """Return what has come, at most so many bytes: None if nothing has, b"" if the other end is closed."""
        try:
            return os.read(self._reader, most)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> bool:
        """Send up to ``ATOMIC`` bytes at once; return False, with nothing sent, if there is no room for them.

        Raise OSError if the other end is closed.
        """
        try:
            os.write(self._writer, data)
        except BlockingIOError:
            return False
        return True

    def send_all(self, data: bytes) -> None:
        """Send any number of bytes over a channel that waits; raise OSError if the other end is closed."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._writer, rest) :]

    def close(self) -> None:
        """Close both pipes; once more is no harm."""
        for fd in (self._reader, self._writer):
            if fd >= 0:
                os.close(fd)
        self._reader = self._writer = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def channel_pair(*, keeps_messages: bool = False) -> tuple[Channel, Channel]:
    """Return both ends. With ``keeps_messages`` each ``receive`` returns one ``send``, cut off at its size.

    Raise OSError if there are no descriptors left.
    """
    flags = os.O_CLOEXEC | (os.O_DIRECT if keeps_messages else 0)
    first_reader, second_writer = os.pipe2(flags)
    try:
        second_reader, first_writer = os.pipe2(flags)
    except OSError:
        os.close(first_reader)
        os.close(second_writer)
        raise
    return Channel(first_reader, first_writer), Channel(second_reader, second_writer)
