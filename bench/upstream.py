"""The canned IMAP server, and nginx's authentication server: one process, one epoll loop, answers built beforehand.

``python -m bench.upstream`` prints its IMAP port and its HTTP port, and ends when its standard input does: so it never
outlives the process that started it. Long answers lie in a memfd and leave by sendfile, which costs this process next
to nothing; it understands no more IMAP than the load and nginx speak to it.
"""

import os
import select
import socket
import sys
from collections.abc import Callable

from bench import canned

READ_SIZE = 4096
# The most that one connection may hand to the kernel before the others get their turn.
TURN = 1024 * 1024

Handler = Callable[[int], None]


class LongAnswer:
    """A prebuilt answer in a memfd."""

    __slots__ = ("file", "size")

    def __init__(self, answer: bytes) -> None:
        self.file = os.memfd_create("answer")
        self.size = len(answer)
        with open(self.file, "wb", closefd=False) as file:
            file.write(answer)


class Loop:
    """An epoll loop: a handler for each descriptor, until standard input ends."""

    def __init__(self) -> None:
        self.epoll = select.epoll()
        self.handlers: dict[int, Handler] = {}

    def watch(self, descriptor: int, handler: Handler) -> None:
        """Call `handler` with the events of `descriptor` whenever it can be read."""
        self.handlers[descriptor] = handler
        self.epoll.register(descriptor, select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Watch `descriptor` no more."""
        self.epoll.unregister(descriptor)
        del self.handlers[descriptor]

    def run(self) -> None:
        """Serve until standard input ends."""
        poll, handlers, stdin = self.epoll.poll, self.handlers, sys.stdin.fileno()
        self.epoll.register(stdin, select.EPOLLIN)
        while True:
            for descriptor, events in poll():
                if descriptor == stdin:
                    return
                handlers[descriptor](events)


class Imap:
    """One connection of the canned IMAP server."""

    __slots__ = ("answer", "descriptor", "loop", "offset", "received", "server", "sock")

    def __init__(self, server: "ImapServer", sock: socket.socket) -> None:
        self.server = server
        self.loop = server.loop
        self.sock = sock
        self.descriptor = sock.fileno()
        self.received = b""
        self.answer: LongAnswer | None = None
        self.offset = 0
        self.loop.watch(self.descriptor, self.handle)
        os.write(self.descriptor, canned.GREETING)

    def handle(self, _: int) -> None:
        """Go on with the long answer that is on its way, or read a command."""
        try:
            if self.answer is None:
                self.read()
            else:
                self.send(self.answer)
        except (BrokenPipeError, ConnectionResetError):
            self.close()

    def read(self) -> None:
        """Read what has come; a NOOP that came alone, the usual case, is answered at once."""
        chunk = os.read(self.descriptor, READ_SIZE)
        if chunk == canned.NOOP:
            os.write(self.descriptor, canned.NOOP_REPLY)
        elif not chunk:
            self.close()
        else:
            self.execute(self.received + chunk)

    def execute(self, received: bytes) -> None:
        """Answer the command when it is whole; nginx sends LOGIN's arguments as literals (without line ends)."""
        self.received = received
        if received.endswith(b"}\r\n"):
            os.write(self.descriptor, canned.CONTINUATION)
            return
        if not received.endswith(b"\r\n"):
            return
        self.received = b""
        if received in self.server.answers:
            self.start(self.server.answers[received])
            return
        name = received.split()[1].upper()
        os.write(self.descriptor, self.server.replies[name].replace(b"a ", received.split()[0] + b" ", 1))
        if name == b"LOGOUT":
            self.close()

    def start(self, answer: LongAnswer) -> None:
        """Send `answer`, and read nothing more before it has gone."""
        self.answer, self.offset = answer, 0
        self.loop.epoll.modify(self.descriptor, select.EPOLLOUT)
        self.send(answer)

    def send(self, answer: LongAnswer) -> None:
        """Send as much of `answer` as the kernel takes now."""
        try:
            self.offset += os.sendfile(self.descriptor, answer.file, self.offset, min(TURN, answer.size - self.offset))
        except BlockingIOError:
            return
        if self.offset == answer.size:
            self.answer = None
            self.loop.epoll.modify(self.descriptor, select.EPOLLIN)

    def close(self) -> None:
        """End the connection."""
        self.loop.forget(self.descriptor)
        self.sock.close()


class ImapServer:
    """The canned IMAP server: its answers, and a listening socket."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.answers = {response.command: LongAnswer(response.build()) for response in canned.RESPONSES}
        self.replies = {
            b"LOGIN": canned.LOGIN_REPLY,
            b"LOGOUT": canned.LOGOUT_REPLY,
            b"NOOP": canned.NOOP_REPLY,
        }
        self.listener = listening_socket()
        loop.watch(self.listener.fileno(), self.accept)

    def accept(self, _: int) -> None:
        """Take one connection."""
        sock, _address = self.listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        Imap(self, sock)


class AuthServer:
    """The HTTP server that nginx asks at each login: always yes, always the same upstream."""

    def __init__(self, loop: Loop, imap_port: int) -> None:
        self.loop = loop
        self.listener = listening_socket()
        self.reply = (
            f"HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: {canned.HOST}\r\nAuth-Port: {imap_port}\r\n\r\n"
        ).encode("ascii")
        loop.watch(self.listener.fileno(), self.accept)

    def accept(self, _: int) -> None:
        """Take one connection."""
        sock, _address = self.listener.accept()
        sock.setblocking(False)
        self.loop.watch(sock.fileno(), lambda _: self.answer(sock))

    def answer(self, sock: socket.socket) -> None:
        """Answer the request; nginx writes it in one piece."""
        self.loop.forget(sock.fileno())
        with sock:
            if sock.recv(READ_SIZE):
                sock.send(self.reply)


def listening_socket() -> socket.socket:
    """Return a socket that listens on a free port."""
    listener = socket.create_server((canned.HOST, 0), backlog=4096)
    listener.setblocking(False)
    return listener


def main() -> None:
    """Print both ports, then serve."""
    loop = Loop()
    imap = ImapServer(loop)
    imap_port = imap.listener.getsockname()[1]
    auth = AuthServer(loop, imap_port)
    print(imap_port, auth.listener.getsockname()[1], flush=True)
    loop.run()


if __name__ == "__main__":
    main()
