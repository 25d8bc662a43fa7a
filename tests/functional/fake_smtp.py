"""A scripted SMTP server on loopback, for what real ones will not do on demand.

    with FakeSmtp(
        extensions=("8BITMIME", "SIZE 1000"),
        replies={
            "RCPT bad@example.com": "550 5.1.1 no such user",
            "RCPT": Turns("250 first", "450 4.2.0 second and later"),
            ".": (b"250-half a rep", CLOSE),
        },
    ) as server:
        ...  # have something deliver to 127.0.0.1, port server.port
    assert server.commands == ["EHLO proxy.example", "MAIL FROM:<fred@example.com>", ...]
    assert server.messages[0].content == b"Subject: hello\r\n..."

What is not scripted is answered as a well-behaved server does, which takes any recipient, any login and any message.

A step of the dialogue is named by what the client did: ``GREETING`` (it connected), a verb (``EHLO``, ``MAIL``), a
verb and the address in the angle brackets (``RCPT bad@example.com``), a verb and how often it came on this connection
(``EHLO 2``), both looked up before the verb alone, ``.`` (it wrote the final dot). A line that follows a 334 is an
``AUTH`` again, and so a ``Turns`` scripts a SASL exchange.

What the server does then is one of these, or a sequence (any iterable, an endless one too) of them:

- text: a reply, sent with CRLF; LF within it separates the lines of a longer one, each written out (``250-a\n250 b``).
  354 makes it read a message, 334 a SASL answer. Where no text is said, the next line is just the next command.
- octets: sent as they are: garbage, or half a line;
- a number: a pause of so many seconds;
- ``TLS``: the server's side of a handshake, by ``context``;
- ``CLOSE``, ``RESET``: end the connection with FIN (if nothing that the client sent is unread), with RST;
- ``SILENCE``: neither read nor write any more, until the client goes or the server is stopped.

``Turns`` gives one of these for each time the step comes, the last one for all the rest; it is one server's only.

What came is in ``commands`` (lines as text, greetings of all connections in the order in which they came),
``messages`` (with their final dot) and ``unfinished`` (octets of messages without). A client that has its answer finds
them complete; what it did without waiting for an answer is sure to be there after the ``with``. ``is_followed`` says of
a message whether the client went on after it: then it has read the reply to the final dot.
"""

import enum
import re
import select
import socket
import socketserver
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeAlias

PATIENCE = 60  # seconds that a client may stay silent, or leave what is said to it unread
MAX_LINE = 100_000  # octets of a line
MAX_MESSAGE = 256 << 20  # octets of a message


class Act(enum.Enum):
    """What a server can do instead of speaking."""

    CLOSE = enum.auto()
    RESET = enum.auto()
    SILENCE = enum.auto()
    TLS = enum.auto()


CLOSE, RESET, SILENCE, TLS = Act


class Turns:
    """Another step each time; the last one stays."""

    def __init__(self, *steps: "Script") -> None:
        self._steps = list(steps)

    def next(self) -> "Script":
        return self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]


Script: TypeAlias = "str | bytes | float | Act | Turns | Iterable[Script]"


@dataclass
class Received:
    """A message that came whole: its MAIL and RCPT commands, and its octets, dot-stuffing undone.

    ``recipients`` are those that were taken: who is answered with something else than 250 or 251 gets nothing.
    ``is_secured``: by TLS. ``is_followed``: the client has sent more on this connection since.
    """

    mail: str
    recipients: tuple[str, ...]
    content: bytes
    is_secured: bool = field(default=False, compare=False)
    is_followed: bool = field(default=False, compare=False)


class FakeSmtp:
    """The server, running as long as the ``with`` block does; see above."""

    def __init__(
        self,
        extensions: Iterable[str] = ("8BITMIME", "SMTPUTF8"),
        replies: Mapping[str, Script] | None = None,
        port: int = 0,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.context = context
        self.commands: list[str] = []
        self.messages: list[Received] = []
        self.unfinished: list[bytes] = []
        self.script: dict[str, Script] = _well_behaved(extensions) | dict(replies or {})
        self._server = _Server(self, port)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def port(self) -> int:
        """Where it listens on 127.0.0.1, from the beginning."""
        port: int = self._server.server_address[1]
        return port

    def verbs(self) -> list[str]:
        """Return the first words of all commands."""
        return [command.split(" ", 1)[0].upper() for command in self.commands]

    def __enter__(self) -> "FakeSmtp":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()  # waits for the connections' threads
        self._thread.join()


def _well_behaved(extensions: Iterable[str]) -> dict[str, Script]:
    lines = ["fake.example", *extensions]
    return {
        "GREETING": "220 fake.example ESMTP",
        "EHLO": "\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]),
        "HELO": "250 fake.example",
        "STARTTLS": ("220 2.0.0 go ahead", TLS),
        "XCLIENT": "220 fake.example ESMTP",
        "AUTH": "235 2.7.0 logged in",
        "MAIL": "250 2.1.0 ok",
        "RCPT": "250 2.1.5 ok",
        "DATA": "354 go ahead",
        ".": "250 2.0.0 ok: queued as FAKE1",
        "RSET": "250 2.0.0 ok",
        "NOOP": "250 2.0.0 ok",
        "QUIT": ("221 2.0.0 bye", CLOSE),
    }


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False
    request_queue_size = 100

    def __init__(self, fake: FakeSmtp, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Connection)
        self.fake = fake
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def process_request(
        self, request: socket.socket | tuple[bytes, socket.socket], client_address: tuple[str, int]
    ) -> None:
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket | tuple[bytes, socket.socket]) -> None:
        """Forget a connection that is over; ``hang_up`` must not meet a closed one."""
        assert isinstance(request, socket.socket)
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def replace(self, plain: socket.socket, secured: socket.socket) -> None:
        """Take notice that a connection is another socket's from now on."""
        with self._lock:
            self._open.discard(plain)
            self._open.add(secured)

    def hang_up(self) -> None:
        with self._lock:
            for connection in self._open:
                with suppress(OSError):
                    # Not the method of a TLS socket, which would end TLS under the thread that uses it.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


@dataclass
class _Transaction:
    mail: str = ""
    recipients: list[str] = field(default_factory=list)


class _Connection(socketserver.StreamRequestHandler):
    """One client: what it does is looked up in the script, and done."""

    server: _Server
    timeout = PATIENCE
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.transaction = _Transaction()
        self.counts: Counter[str] = Counter()
        self.last_message: Received | None = None
        self.plain = self.request
        try:
            with suppress(EOFError, OSError):
                self.perform("GREETING")
                while True:
                    self.serve_command(self.read_line().removesuffix(b"\r\n").decode("utf-8", "surrogateescape"))
        finally:
            if self.request is not self.plain:
                self.server.shutdown_request(self.request)

    def serve_command(self, line: str) -> None:
        self.server.fake.commands.append(line)
        verb = line.split(" ", 1)[0].upper()
        self.counts[verb] += 1
        self.note_transaction(verb, line)
        step = self.step(verb, line)
        said = self.perform(step) if step else self.say("500 5.5.2 unknown command")
        if verb == "RCPT" and said.startswith(("250", "251")):
            self.transaction.recipients.append(line)
        while said.startswith("334"):
            self.server.fake.commands.append(self.read_line().removesuffix(b"\r\n").decode())
            said = self.perform("AUTH")
        if said.startswith("354"):
            self.serve_message()

    def note_transaction(self, verb: str, line: str) -> None:
        match verb:
            case "MAIL":
                self.transaction = _Transaction(line)
            case "RSET":
                self.transaction = _Transaction()

    def serve_message(self) -> None:
        content = self.read_message()
        transaction = self.transaction
        is_secured = self.request is not self.plain
        self.last_message = Received(transaction.mail, tuple(transaction.recipients), content, is_secured)
        self.server.fake.messages.append(self.last_message)
        self.perform(".")

    def read_message(self) -> bytes:
        content = bytearray()
        try:
            while (line := self.rfile.readline(MAX_LINE)) != b".\r\n":
                content += line.removeprefix(b".")
                if not line.endswith(b"\n") or len(content) > MAX_MESSAGE:
                    raise EOFError
        except (EOFError, OSError):
            self.server.fake.unfinished.append(bytes(content))
            raise
        return bytes(content)

    def read_line(self) -> bytes:
        line = self.rfile.readline(MAX_LINE)
        if line and self.last_message is not None:
            self.last_message.is_followed = True
        if not line.endswith(b"\n"):
            raise EOFError
        return line

    def step(self, verb: str, line: str) -> str:
        """Return the script's name for a command, or nothing."""
        address = re.search(r"<(.*)>", line)
        names = [*([f"{verb} {address[1]}"] if address else []), f"{verb} {self.counts[verb]}", verb]
        return next((name for name in names if name in self.server.fake.script), "")

    def perform(self, step: str) -> str:
        """Do what the script says, and return the last text that was said."""
        return self.act(self.server.fake.script[step])

    def act(self, script: Script) -> str:
        match script:
            case str():
                return self.say(script)
            case bytes():
                self.request.sendall(script)
            case int() | float():
                self.pause(script)
            case Turns():
                return self.act(script.next())
            case Act.TLS:
                self.begin_tls()
            case Act():
                self.end(script)
            case _:
                return self.act_in_turn(script)
        return ""

    def act_in_turn(self, scripts: Iterable[Script]) -> str:
        said = ""
        for script in scripts:
            said = self.act(script) or said
        return said

    def say(self, reply: str) -> str:
        self.request.sendall(reply.replace("\n", "\r\n").encode() + b"\r\n")
        return reply

    def pause(self, seconds: float) -> None:
        """Wait so long, or until the client goes or the server is stopped."""
        poll = select.poll()
        poll.register(self.request, select.POLLRDHUP)
        poll.poll(seconds * 1000)

    def begin_tls(self) -> None:
        assert self.server.fake.context is not None
        secured = self.server.fake.context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
        self.server.replace(self.request, secured)
        self.request, self.rfile = secured, secured.makefile("rb")
        secured.do_handshake()

    def end(self, act: Act) -> None:
        if act is SILENCE:
            self.pause(PATIENCE)
        if act is RESET:
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.request.close()
        raise EOFError
