"""Clients that forward an attachment: ``python -m bench.forwarders WAY IMAP-PORT SMTP-PORT PASSWORD COUNT``.

WAY is ``submit``: a reference to the attachment goes to the proxy by SUBMIT; or ``classic``: the attachment is read by
FETCH, sent by SMTP and filed in Sent by APPEND, as mail programs do. The classic client is as quick as Python can be:
it asks for the attachment in one piece and holds it in memory.

COUNT sessions log in and select INBOX, a line is printed, and then each line of standard input names a UID: every
session forwards that message's attachment, all of them at once, and the seconds until the last one is done are printed
with the octets that the clients sent and received meanwhile. A process of its own, so that the classic client's work
has the same processor to itself as the proxy's.
"""

import itertools
import re
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench import attachment
from bench.canned import HOST

# A server may need long to store 8 messages of 70 MB on a slow disk.
TIMEOUT = 300
BUFFER_SIZE = 256 * 1024
USER = attachment.SENDER.partition("@")[0]
SENT = "Sent"

# literal = "{" number64 "}" CRLF *CHAR8, in RFC 9051 section 9.
LITERAL = re.compile(rb"\{([0-9]+)\}\r\n\Z")


class Link:
    """A connection to a server on loopback, and how many octets went over it; a context manager."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection((HOST, port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb", BUFFER_SIZE)
        self.sent = self.received = 0

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, octets: bytes) -> None:
        """Send all of `octets`."""
        self.socket.sendall(octets)
        self.sent += len(octets)

    def readline(self) -> bytes:
        """Read a line, its end included."""
        line: bytes = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended after {line!r}")
        self.received += len(line)
        return line

    def read(self, size: int) -> bytes:
        """Read that many octets."""
        octets: bytes = self.file.read(size)
        if len(octets) < size:
            raise ConnectionError(f"the connection ended {size - len(octets)} octets too early")
        self.received += size
        return octets


class Imap:
    """A client's IMAP session, logged in."""

    def __init__(self, link: Link, password: str) -> None:
        self.link = link
        link.readline()
        self.command(f"LOGIN {USER} {password}")

    def command(self, text: str, literal: bytes | None = None) -> list[bytes]:
        """Send a command, the literal as its last argument; return the response's lines and literals, up to the OK."""
        if literal is None:
            self.link.send(f"a {text}\r\n".encode("ascii"))
            return list(self.answer())
        self.link.send(f"a {text} {{{len(literal)}}}\r\n".encode("ascii"))
        while not (line := self.link.readline()).startswith(b"+"):
            if line.startswith(b"a "):
                raise ConnectionError(f"{text} was answered with {line!r}")
        self.link.send(literal)
        self.link.send(b"\r\n")
        return list(self.answer())

    def answer(self) -> Iterator[bytes]:
        """Yield the lines and literals of a response; ConnectionError unless it ends with OK."""
        while not (line := self.link.readline()).startswith(b"a "):
            yield line
            if size := LITERAL.search(line):
                yield self.link.read(int(size[1]))
        if not line.startswith(b"a OK"):
            raise ConnectionError(f"a command was answered with {line!r}")
        yield line


@dataclass(frozen=True, slots=True)
class Traffic:
    """Octets on a client's link."""

    sent: int
    received: int


Forward = Callable[[Imap, int, int, int], Traffic]
"""Forward the attachment: a session, the SMTP port, the UID, and a number that no other message has."""


def by_reference(imap: Imap, _: int, uid: int, number: int) -> Traffic:
    """Forward by SUBMIT."""
    with counted(imap.link) as traffic:
        imap.command("SUBMIT", attachment.draft(uid, number))
    return traffic()


def classic(imap: Imap, smtp_port: int, uid: int, number: int) -> Traffic:
    """Forward by FETCH, SMTP and APPEND."""
    with counted(imap.link) as traffic:
        section = attachment.SECTION
        pieces = imap.command(f"UID FETCH {uid} (BODY.PEEK[{section}.MIME] BODY.PEEK[{section}])")
        if len(pieces) < 4:
            raise ConnectionError(f"message {uid} is not there")
        message = attachment.forwarded(pieces[1], pieces[3], number)
        with Link(smtp_port) as smtp:
            post(smtp, message)
        imap.command(f"APPEND {SENT} (\\Seen)", message)
    of_imap = traffic()
    return Traffic(of_imap.sent + smtp.sent, of_imap.received + smtp.received)


@contextmanager
def counted(link: Link) -> Iterator[Callable[[], Traffic]]:
    """Give a function that says how many octets went over `link` since the block began."""
    sent, received = link.sent, link.received
    yield lambda: Traffic(link.sent - sent, link.received - received)


def post(smtp: Link, message: bytes) -> None:
    """Send `message`, whose lines end in CRLF, from the sender to the recipient (RFC 5321)."""
    reply(smtp, b"220")
    for command, code in (
        ("EHLO client.example.com", b"250"),
        (f"MAIL FROM:<{attachment.SENDER}> SIZE={len(message)}", b"250"),
        (f"RCPT TO:<{attachment.RECIPIENT}>", b"250"),
        ("DATA", b"354"),
    ):
        smtp.send(f"{command}\r\n".encode("ascii"))
        reply(smtp, code)
    smtp.send(message.replace(b"\r\n.", b"\r\n.."))
    smtp.send(b".\r\n")
    reply(smtp, b"250")
    smtp.send(b"QUIT\r\n")
    reply(smtp, b"221")


def reply(smtp: Link, code: bytes) -> None:
    """Read a reply of any number of lines; ConnectionError if it is another one."""
    while (line := smtp.readline())[3:4] == b"-":
        pass
    if not line.startswith(code):
        raise ConnectionError(f"the SMTP server said {line!r}")


WAYS: dict[str, Forward] = {"submit": by_reference, "classic": classic}


class Clients:
    """Logged-in sessions that forward the same attachment, all at once, each in a thread of its own."""

    def __init__(self, forward: Forward, sessions: Sequence[Imap], smtp_port: int, pool: ThreadPoolExecutor) -> None:
        self.forward = forward
        self.sessions = sessions
        self.smtp_port = smtp_port
        self.pool = pool
        self.numbers = itertools.count()

    def forward_once(self, uid: int) -> tuple[float, Traffic]:
        """Forward once in each session; return the seconds until the last was done, and the octets of all of them."""
        start = time.perf_counter()
        jobs = [self.pool.submit(self.forward, imap, self.smtp_port, uid, next(self.numbers)) for imap in self.sessions]
        traffic = [job.result() for job in jobs]
        seconds = time.perf_counter() - start
        return seconds, Traffic(sum(each.sent for each in traffic), sum(each.received for each in traffic))


def serve(forward: Forward, imap_port: int, smtp_port: int, password: str, count: int) -> None:
    """Forward what standard input names, until it ends."""
    with ExitStack() as stack:
        sessions = [Imap(stack.enter_context(Link(imap_port)), password) for _ in range(count)]
        for imap in sessions:
            imap.command("SELECT INBOX")
        clients = Clients(forward, sessions, smtp_port, stack.enter_context(ThreadPoolExecutor(count)))
        print("ready", flush=True)
        for line in sys.stdin:
            seconds, traffic = clients.forward_once(int(line))
            print(seconds, traffic.sent, traffic.received, flush=True)


def main() -> None:
    """Do what the command line says; a failure is one line on standard error."""
    way, imap_port, smtp_port, password, count = sys.argv[1:]
    try:
        serve(WAYS[way], int(imap_port), int(smtp_port), password, int(count))
    except OSError as error:
        sys.exit(f"bench.forwarders, {way}: {error}")


if __name__ == "__main__":
    main()
