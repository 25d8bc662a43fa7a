r"""Dialogues with a real IMAP server, written as scripts, and the client that plays them.

    C: STORE 2 +FLAGS (\Deleted)
    S: * 2 FETCH (FLAGS (...\Deleted...))
    S: OK
    C: EXPUNGE
    S: * 2 EXPUNGE
    S: OK Expunge completed

A command stands without its tag. ``<name>`` in it is a literal, one of the texts that are given with the script, for
which the client waits for ``+``; ``<name+>`` one that it sends unasked, ``~<name>`` a literal8. Commands with no ``S:``
between them are sent at once. ``2C:`` is a second client of the same user, and ``2S:`` is what that one hears.

What is expected is the beginning of a response, ``...`` is anything. The tagged ones must come in that order, one for
each command; the untagged ones must each be there, in any order, and others may be.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from tests.functional.clients import RecordingClient

Texts = Mapping[str, bytes]

LITERAL = re.compile(r"(~?)<([a-z0-9-]+)(\+?)>")
LINE = re.compile(r"([2-9]?)([CS]): (.+)")
ANNOUNCED = re.compile(rb"\{([0-9]+)\}\r\n\Z")
STATES = ("OK", "NO", "BAD")


@dataclass(frozen=True)
class Exchange:
    """Commands that one client sends at once, and what it is to hear before they are all complete."""

    client: int
    commands: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)


def exchanges(script: str) -> list[Exchange]:
    """Read a script."""
    read: list[Exchange] = []
    for line in filter(None, map(str.strip, script.splitlines())):
        found = LINE.fullmatch(line)
        assert found, f"no line of a script: {line!r}"
        client = int(found[1] or 1) - 1
        if found[2] == "C":
            if not read or read[-1].expected or read[-1].client != client:
                read.append(Exchange(client))
            read[-1].commands.append(found[3])
        else:
            assert read, "somebody must speak first"
            assert read[-1].client == client, f"the other client has spoken last: {line!r}"
            read[-1].expected.append(found[3])
    return read


class Player:
    """A client that sends commands and reads whole responses."""

    def __init__(self, client: RecordingClient, texts: Texts) -> None:
        self._client = client
        self._texts = texts
        self._numbers = count(1)

    def play(self, exchange: Exchange) -> None:
        tags = [b"X%d" % next(self._numbers) for _ in exchange.commands]
        responses: list[bytes] = []
        unsent = b""
        for tag, command in zip(tags, exchange.commands, strict=True):
            *asked_for, last = self._pieces(tag, command)
            for piece in asked_for:
                self._client.send(unsent + piece)
                unsent = b""
                responses += self._until((b"+", tag))
            # A server that has refused the literal has completed the command, and wants no more of it.
            if not responses or not responses[-1].startswith(tag):
                unsent += last
        self._client.send(unsent)
        responses += self._until_complete(tags, responses)
        check(responses, exchange)

    def _pieces(self, tag: bytes, command: str) -> Iterator[bytes]:
        """Yield the command, cut where the client waits for ``+``."""
        piece, end = tag + b" ", 0
        for found in LITERAL.finditer(command):
            text = self._texts[found[2]]
            mark = b"%b{%d%b}\r\n" % (found[1].encode(), len(text), found[3].encode())
            piece += command[end : found.start()].encode() + mark
            if not found[3]:
                yield piece
                piece = b""
            piece += text
            end = found.end()
        yield piece + command[end:].encode() + b"\r\n"

    def _until_complete(self, tags: Sequence[bytes], heard: Sequence[bytes]) -> list[bytes]:
        responses: list[bytes] = []
        if not (heard and heard[-1].startswith(tags[-1] + b" ")):
            responses += self._until((tags[-1],))
        return responses

    def _until(self, words: tuple[bytes, ...]) -> list[bytes]:
        """Return the responses up to one whose first word is one of these, or to the server's end."""
        responses: list[bytes] = []
        while not responses or responses[-1].split(b" ")[0].rstrip() not in words:
            response = self._response()
            if not response:
                break
            responses.append(response)
        return responses

    def _response(self) -> bytes:
        response = self._client.readline()
        while announced := ANNOUNCED.search(response):
            response += self._client.read(int(announced[1])) + self._client.readline()
        return response


def check(responses: Sequence[bytes], exchange: Exchange) -> None:
    """See that what came is what the script says."""
    tagged = [response.split(b" ", 1)[1] for response in responses if response[:1] not in b"*+"]
    states = [expected for expected in exchange.expected if expected.startswith(STATES)]
    assert len(tagged) == len(states) == len(exchange.commands), (exchange, responses)
    for state, response in zip(states, tagged, strict=True):
        assert pattern_of(state).match(response), (state, response)
    for expected in exchange.expected:
        if expected not in states:
            assert any(map(pattern_of(expected).match, responses)), (expected, responses)


def pattern_of(expected: str) -> re.Pattern[bytes]:
    return re.compile(b".*".join(re.escape(part.encode()) for part in expected.split("...")), re.DOTALL)
