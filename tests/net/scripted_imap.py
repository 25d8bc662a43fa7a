r"""An IMAP server with mailboxes of its own, that does what its script says instead wherever there is one.

    with ScriptedImap({"EXAMINE": "TAG NO [NONEXISTENT] no such mailbox"}) as server: ...
    assert server.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", 'EXAMINE "INBOX"', "LOGOUT"]

A step is named by how the command begins, the tag left out; the longest name counts. ``GREETING`` is the connection.
What the server does then is one of these, or a sequence (any iterable, an endless one too) of them:

- text: its lines, with CRLF; ``TAG`` in it becomes the command's tag;
- octets: sent as they are, but for ``TAG``;
- a number: a pause of so many seconds;
- ``CLOSE``, ``RESET``, ``SILENCE``, as in ``tests.functional.fake_smtp``;
- ``Turns``: one of these for each time the step comes, the last one for all the rest;
- ``USUAL``: what a well-behaved server does; ``HEAR``: it reads a line, which is then in ``heard``; ``TAKE``: it reads
  the literal that ends a SUBMIT, having asked for it if it must, which is then in ``submitted``.
"""

import enum
import re
import threading
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from tests.functional.fake_imap import FakeImap, Peer
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE, Act


class Step(enum.Enum):
    """What this server can do besides."""

    USUAL = enum.auto()
    HEAR = enum.auto()
    TAKE = enum.auto()


USUAL, HEAR, TAKE = Step


class Turns:
    """Another step each time; the last one stays."""

    def __init__(self, *steps: "Script") -> None:
        self._steps = list(steps)

    def next(self) -> "Script":
        return self._steps.pop(0) if len(self._steps) > 1 else self._steps[0]


Script: TypeAlias = "str | bytes | float | Act | Step | Turns | Iterable[Script]"

UIDVALIDITY = 7
CAPABILITIES = "IMAP4rev1 AUTH=PLAIN"
GREETING = "* OK hello"

_ITEM = re.compile(r"BODY\.PEEK\[(?P<section>[^\]]*)\]<(?P<start>\d+)\.(?P<count>\d+)>|[A-Z0-9.]+")

# Mailboxes by name, of messages by UID, of what each item or section is.
Mailboxes = Mapping[str, Mapping[int, Mapping[str, bytes]]]


class ScriptedImap(FakeImap):
    """The server, running as long as the ``with`` block does; what came is in ``commands`` and the rest."""

    def __init__(self, script: Mapping[str, Script] | None = None, mailboxes: Mailboxes | None = None) -> None:
        super().__init__(self._serve_client)
        self.script: dict[str, Script] = dict(script or {})
        self.mailboxes = mailboxes or {"INBOX": {}}
        self.capabilities = CAPABILITIES
        self.connections = 0
        self.commands: list[str] = []
        self.answers: list[bytes] = []  # to AUTHENTICATE, decoded, and to LOGIN
        self.heard: list[str] = []
        self.appended: list[bytes] = []
        self.submitted: list[bytes] = []

    def _serve_client(self, peer: Peer) -> None:
        self.connections += 1
        _Client(self, peer).serve()


class _Client:
    def __init__(self, server: ScriptedImap, peer: Peer) -> None:
        self._server = server
        self._peer = peer
        self._tag = b"*"
        self._mailbox = ""
        self._usual: dict[str, Callable[[str], None]] = {
            "GREETING": lambda _: self._say(GREETING),
            "CAPABILITY": lambda _: self._say(f"* CAPABILITY {server.capabilities}\nTAG OK done"),
            "AUTHENTICATE": self._authenticate,
            "LOGIN": self._log_in,
            "EXAMINE": self._examine,
            "UID FETCH": self._fetch,
            "LIST": lambda _: self._say('* LIST () "/" INBOX\n* LIST (\\Sent) "/" "Gesendet"\nTAG OK done'),
            "APPEND": self._append,
            "SUBMIT": self._submit,
            "LOGOUT": self._log_out,
        }

    def serve(self) -> None:
        self._step("GREETING")
        while True:
            self._tag, _, command = self._peer.line().rstrip(b"\r\n").partition(b" ")
            self._server.commands.append(command.decode("latin-1"))
            if command.startswith(b"EXAMINE"):
                self._mailbox = command.decode("latin-1").split('"')[1]
            self._step(self._server.commands[-1])

    def _step(self, command: str) -> None:
        names = [name for name in self._server.script if command.startswith(name)]
        self._perform(self._server.script[max(names, key=len)] if names else USUAL, command)

    def _perform(self, script: Script, command: str) -> None:
        match script:
            case Turns():
                self._perform(script.next(), command)
            case Step.HEAR:
                self._server.heard.append(self._peer.line().decode("latin-1").rstrip("\r\n"))
            case Step.TAKE:
                self._take(command)
            case Step.USUAL:
                name = next((name for name in self._usual if command.startswith(name)), None)
                self._usual[name](command) if name else self._say("TAG OK done")
            case str():
                self._say(script)
            case bytes():
                self._peer.send(script.replace(b"TAG", self._tag))
            case int() | float():
                threading.Event().wait(script)
            case Act():
                self._act(script)
            case _:
                for step in script:
                    self._perform(step, command)

    def _act(self, act: Act) -> None:
        if act is SILENCE:
            self._peer.rest()
        elif act is RESET:
            self._peer.reset()
        assert act in {CLOSE, RESET, SILENCE}
        raise EOFError

    def _say(self, text: str) -> None:
        lines = text.replace("TAG", self._tag.decode()).split("\n")
        self._peer.send("".join(f"{line}\r\n" for line in lines).encode("latin-1"))

    def _authenticate(self, _: str) -> None:
        self._say("+ ")
        self._server.answers.append(b64decode(self._peer.line()))
        self._say("TAG OK logged in")

    def _log_in(self, command: str) -> None:
        size = re.fullmatch(r"LOGIN \{(\d+)\}", command)
        while size:
            self._say("+ go on")
            self._server.answers.append(self._peer.read(int(size[1])))
            size = re.fullmatch(r" \{(\d+)\}\r\n", self._peer.line().decode("latin-1"))
        self._say("TAG OK logged in")

    def _examine(self, _: str) -> None:
        if self._mailbox in self._server.mailboxes:
            self._say(f"* 3 EXISTS\n* OK [UIDVALIDITY {UIDVALIDITY}] ok\nTAG OK [READ-ONLY] done")
        else:
            self._say("TAG NO [NONEXISTENT] no such mailbox")

    def _fetch(self, command: str) -> None:
        _, _, uid, items = command.split(" ", 3)
        message = self._server.mailboxes[self._mailbox].get(int(uid))
        if message is not None:
            values = [_value(item, uid, message) for item in _ITEM.finditer(items)]
            self._peer.send(b"* 1 FETCH (%b)\r\n" % b" ".join(values))
        self._say("TAG OK done")

    def _append(self, command: str) -> None:
        size = re.search(r"\{(\d+)\}$", command)
        assert size
        self._say("+ go on")
        self._server.appended.append(self._peer.read(int(size[1])))
        assert self._peer.line() == b"\r\n"
        self._say("TAG OK done")

    def _submit(self, command: str) -> None:
        self._take(command)
        self._say("TAG OK SUBMIT completed")

    def _take(self, command: str) -> None:
        size = re.fullmatch(r"SUBMIT \{(\d+)(\+?)\}", command)
        assert size
        if not size[2]:
            self._say("+ go on")
        self._server.submitted.append(self._peer.read(int(size[1])))
        assert self._peer.line() == b"\r\n"

    def _log_out(self, _: str) -> None:
        self._say("* BYE bye\nTAG OK done")
        raise EOFError


def _value(item: re.Match[str], uid: str, message: Mapping[str, bytes]) -> bytes:
    if item[0] == "UID":
        return f"UID {uid}".encode()
    if item["section"] is None:
        return item[0].encode() + b" " + message[item[0]]
    start, count = int(item["start"]), int(item["count"])
    octets = message.get(item["section"], b"")[start : start + count]
    return b"BODY[%b]<%d> {%d}\r\n%b" % (item["section"].encode(), start, len(octets), octets)
