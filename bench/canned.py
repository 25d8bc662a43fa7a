"""The conversation that is measured: what the client sends, what the upstream answers, both known beforehand.

The upstream and the load share this module, so that the load knows how many octets to expect and need not parse.
Every command has the same tag, which RFC 9051 section 2.2.1 allows once the one before is complete.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

HOST = "127.0.0.1"

GREETING = b"* OK [CAPABILITY IMAP4rev1 SASL-IR LITERAL+ IDLE AUTH=PLAIN] canned upstream ready\r\n"
LOGIN = b"a LOGIN user@example.com password\r\n"
LOGIN_REPLY = b"a OK [CAPABILITY IMAP4rev1 LITERAL+ IDLE UIDPLUS] logged in\r\n"
LOGOUT = b"a LOGOUT\r\n"
LOGOUT_REPLY = b"* BYE logging out\r\na OK LOGOUT completed\r\n"
NOOP = b"a NOOP\r\n"
NOOP_REPLY = b"a OK NOOP completed\r\n"
CONTINUATION = b"+ OK\r\n"
FETCH_END = b"a OK FETCH completed\r\n"

LITERAL_SIZE = 32 * 1024 * 1024
MESSAGES = 2_000
MESSAGE_SIZE = 10 * 1024
SHORT_LINES = 100_000


@dataclass(frozen=True, slots=True)
class Response:
    """A FETCH and how to build its long answer."""

    command: bytes
    build: Callable[[], bytes]


def body(size: int) -> bytes:
    """Return `size` octets that look like a base64 attachment."""
    line = b"QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5ejAxMjM0\r\n"
    return (line * (size // len(line) + 1))[:size]


def message(number: int, size: int) -> bytes:
    """Return one FETCH response with a literal of `size` octets."""
    return b"* %d FETCH (UID %d BODY[] {%d}\r\n%b)\r\n" % (number, number, size, body(size))


def flags() -> Iterator[bytes]:
    """Yield the lines with which a client's first synchronization of a large mailbox is answered."""
    number = 0
    while True:
        number += 1
        yield b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (number, number)


LITERAL = Response(
    b"a FETCH 1 (UID BODY.PEEK[])\r\n",
    lambda: message(1, LITERAL_SIZE) + FETCH_END,
)
MANY_MESSAGES = Response(
    b"a FETCH 1:%d (UID BODY.PEEK[])\r\n" % MESSAGES,
    lambda: b"".join(message(number, MESSAGE_SIZE) for number in range(1, MESSAGES + 1)) + FETCH_END,
)
MANY_LINES = Response(
    b"a FETCH 1:%d (FLAGS UID)\r\n" % SHORT_LINES,
    lambda: b"".join(islice(flags(), SHORT_LINES)) + FETCH_END,
)
RESPONSES = (LITERAL, MANY_MESSAGES, MANY_LINES)
