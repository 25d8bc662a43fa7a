"""What the parent and a worker say to each other: a Unix socket that keeps messages apart, and takes bytes only.

A worker that has been taken over could make the parent wait, and with it every login that asks for a place:

- by a descriptor that it sends along (SCM_RIGHTS, unix(7)). Receiving the message without it closes it, and closing a
  TCP socket can take as long as its SO_LINGER says. So a message is looked at before it is received, and one with a
  descriptor never is. It goes with the socket, which for the same reason the parent has a child close
  (``EndingChildren.close``). A stream socket would also have urgent data, which cannot be looked at first.
- by a pipe, in the place of a socket: a process that reads or writes it holds its lock while it waits for its own
  memory, which may lie in a file that never answers. Of a socket each end has a lock of its own.

When the other process dies, that is an end of the file, whatever it has not read.
"""

import socket
from typing import Self

from imapproxy.errors import WorkerError

# What ``send_all`` sends as one message, in bytes; what receives it must have room for that.
PIECE = 16 * 1024


class Channel:
    """One end."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def fileno(self) -> int:
        """Return its descriptor; -1 once it is closed."""
        return self._stream.fileno()

    def set_blocking(self, *, is_blocking: bool) -> None:
        """Wait in ``receive`` and ``send``, or never. A new channel waits."""
        self._stream.setblocking(is_blocking)

    def receive(self, most: int) -> bytes | None:
        """Return a message, cut off at so many bytes; None if there is none, b"" if the other end is closed.

        Raise WorkerError, and receive nothing, if descriptors come along.
        """
        try:
            try:
                return self._receive(most)
            except ConnectionResetError:  # said once: it has died, and had not read everything; what it said is there
                return self._receive(most)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def _receive(self, most: int) -> bytes:
        data, _, flags, _ = self._stream.recvmsg(most, 0, socket.MSG_PEEK)
        if flags & socket.MSG_CTRUNC:
            raise WorkerError("it sends descriptors")
        return self._stream.recv(most) if data else b""

    def send(self, message: bytes) -> bool:
        """Send a message, which is not empty; return False if there is no room for it.

        Raise OSError if the other end is closed.
        """
        try:
            self._stream.send(message)
        except BlockingIOError:
            return False
        return True

    def send_all(self, data: bytes) -> None:
        """Send any number of bytes, in pieces, over a channel that waits; raise OSError if the other end is closed."""
        for start in range(0, len(data), PIECE):
            self._stream.send(data[start : start + PIECE])

    def close(self) -> None:
        """Close it; once more is no harm."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def channel_pair() -> tuple[Channel, Channel]:
    """Return both ends; raise OSError if there are no descriptors left."""
    first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(first), Channel(second)
