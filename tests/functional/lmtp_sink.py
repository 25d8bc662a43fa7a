"""Where the throw-away Postfix delivers: an LMTP server (RFC 2033) that keeps what arrives, octet for octet."""

import queue
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from tests.functional.process import PATIENCE

# RFC 2033 wants a reply for each recipient after the final dot; Postfix is told to give us one recipient at a time.
RECIPIENT_LIMIT = 1


@dataclass(frozen=True)
class Arrival:
    """A message as it came to one recipient: CRLF lines, dot-stuffing undone."""

    sender: str
    recipient: str
    content: bytes


class LmtpSink(socketserver.ThreadingTCPServer):
    """Takes any message for anybody; ``take`` hands them out in the order in which they came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), LmtpSession)
        self.arrivals: queue.Queue[Arrival] = queue.Queue()

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def take(self) -> Arrival:
        """Wait for the next message."""
        return self.arrivals.get(timeout=PATIENCE)

    def forget(self) -> None:
        """Drop what came and nobody took, as after a test that failed."""
        with suppress(queue.Empty):
            while True:
                self.arrivals.get_nowait()


class LmtpSession(socketserver.StreamRequestHandler):
    """One connection: as much LMTP as Postfix speaks to a server that offers 8BITMIME and SMTPUTF8."""

    server: LmtpSink

    def handle(self) -> None:
        self.reply("220 sink")
        sender = recipient = ""
        while line := self.rfile.readline().decode().strip():
            match line[:4].upper():
                case "LHLO":
                    self.reply("250-sink", "250-8BITMIME", "250 SMTPUTF8")
                case "MAIL":
                    sender = path(line)
                    self.reply("250 ok")
                case "RCPT":
                    recipient = path(line)
                    self.reply("250 ok")
                case "DATA":
                    self.reply("354 go on")
                    self.server.arrivals.put(Arrival(sender, recipient, self.read_message()))
                    self.reply("250 kept")
                case "QUIT":
                    self.reply("221 bye")
                case _:
                    self.reply("250 ok")

    def reply(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    def read_message(self) -> bytes:
        lines = iter(self.rfile.readline, b".\r\n")
        return b"".join(line.removeprefix(b".") for line in lines)


def path(line: str) -> str:
    """Return the address in a MAIL or RCPT command."""
    return line[line.index("<") + 1 : line.rindex(">")]


@contextmanager
def running_lmtp_sink() -> Iterator[LmtpSink]:
    """Run a sink on a loopback port in a thread of its own."""
    with LmtpSink() as sink:
        thread = threading.Thread(target=sink.serve_forever, name="lmtp-sink", daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            sink.shutdown()
            thread.join()
