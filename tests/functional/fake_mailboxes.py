"""A scripted IMAP server that has mail: it serves the proxy's side connections, strictly, and notes all that they say.

    with FakeMailboxes({b"INBOX": {20: message}}) as imap, ...:
        with imap.performance():
            imap.replies = {"EXAMINE": no(b"[UNAVAILABLE] later"), "FETCH 2": halves}
            ...  # a client that says `imap.client_comes()`, connects and submits
        assert imap.commands == [b"T1 EXAMINE INBOX\r\n", ...]

The first connection after ``client_comes`` is the client's own; every other is a side connection. There, what is no
command by the grammar of RFC 9051, or one that the proxy has no business to give (a SELECT, a STORE, a FETCH that sets
\\Seen), is an ``AssertionError`` when the performance ends.

A step of the dialogue is named ``GREETING``, ``LOGIN`` (whatever the mechanism), by the command's name, by its name
and how often it came (``FETCH 2``, ``EXAMINE 1``; looked up first), or is what comes after APPEND's literal:
``APPENDED``. What the server then does in place of, or with, its usual answer is a ``Deviation``; ``cues`` are what is
done before, whatever the answer. Where ``capabilities`` say CATENATE, each text of such an APPEND is an ``APPEND``.
With a ``context``, the server does STARTTLS, and what comes in place of its part of the handshake is ``HANDSHAKE``.
A mailbox that is ``missing`` is there once it is created; an APPEND to it before is answered with [TRYCREATE]. With a
``prefix``, no mailbox without it can be created.
"""

import base64
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from tests.functional.fake_imap import CAPABILITIES, GREETING, PATIENCE, FakeImap, Peer
from tests.functional.mail_tree import Entity, sections, structure

MAX_LITERAL = 64 << 20  # octets
MAX_FLOOD = 64 << 20  # octets that a flood says before it takes whoever reads them for endlessly patient
UIDVALIDITY = 7

# What the server does: to whom, the command's tag, its usual answer.
Deviation: TypeAlias = Callable[[Peer, bytes, bytes], None]


def no(text: bytes) -> Deviation:
    """Refuse."""
    return instead(b"%b NO " + text + b"\r\n")


def instead(answer: bytes) -> Deviation:
    """Say this; ``%b`` stands for the command's tag."""
    return lambda peer, tag, _: peer.send(answer.replace(b"%b", tag))


def preceded(by: bytes) -> Deviation:
    """Say this first."""
    return lambda peer, _, usual: peer.send(by + usual)


def swapped(pattern: bytes, replacement: bytes) -> Deviation:
    """Say the usual with something in it replaced."""

    def act(peer: Peer, _: bytes, usual: bytes) -> None:
        changed, count = re.subn(pattern, replacement, usual, count=1)
        assert count == 1, f"{pattern!r} is not in {usual[:200]!r}"
        peer.send(changed)

    return act


def closes(_: Peer, __: bytes, ___: bytes) -> None:
    """Say nothing more: FIN."""
    raise EOFError


def resets(peer: Peer, _: bytes, __: bytes) -> None:
    """Break off: RST."""
    peer.reset()
    raise EOFError


def halves(peer: Peer, _: bytes, usual: bytes) -> None:
    """Say half of the usual answer, then no more."""
    peer.send(usual[: len(usual) // 2])
    raise EOFError


def floods(with_what: bytes) -> Deviation:
    """Say the same again and again, until nobody listens."""

    def act(peer: Peer, _: bytes, __: bytes) -> None:
        block = with_what * (65536 // len(with_what) + 1)
        for _block in range(MAX_FLOOD // len(block)):
            peer.send(block)
        raise AssertionError(f"all of {MAX_FLOOD} octets of {with_what[:20]!r} have been read")

    return act


@dataclass(frozen=True)
class Appended:
    """What came by APPEND."""

    mailbox: bytes
    flags: bytes
    octets: bytes


# astring = 1*ASTRING-CHAR / string ; what is quoted has no line ends, and escapes but `"` and `\`  (RFC 9051, 9)
ATOM = rb"[!#$&'+,./0-9:;<=>?@A-Z\[\]^_`a-z|}~-]+"
QUOTED = rb'"(?:[ !#-\[\]-~]|\\["\\])*"'
LITERAL = rb"\{\d+\+?\}\r\n"
ASTRING = rb"(?P<mailbox>" + ATOM + rb"|" + QUOTED + rb")"
COMMAND = re.compile(rb"([A-Za-z0-9]+) ((?:UID )?[A-Za-z]+)(?: ([ -~]*))?\r\n")
GRAMMAR = {
    name: re.compile(pattern)
    for name, pattern in {
        b"CAPABILITY": rb"",
        b"NOOP": rb"",
        b"LOGOUT": rb"",
        b"STARTTLS": rb"",
        b"CLOSE": rb"",
        b"UNSELECT": rb"",
        b"ID": rb"NIL|\([ -~]*\)",
        b"LOGIN": rb"(?:%b|%b) (?:%b|%b)" % (ATOM, QUOTED, ATOM, QUOTED),
        b"AUTHENTICATE": rb"(?P<mechanism>[A-Z0-9-]+)(?: [A-Za-z0-9+/=]+)?",
        b"EXAMINE": ASTRING,
        b"CREATE": ASTRING,
        b"SUBSCRIBE": ASTRING,
        b"NAMESPACE": rb"",
        b"LIST": rb'(?:\(SPECIAL-USE\) )?"" (?:\*|"\*")(?: RETURN \(SPECIAL-USE\))?',
        b"UID FETCH": rb"(?P<uid>[1-9]\d*) \(?(?P<items>[ -~]+?)\)?",
        b"APPEND": ASTRING
        + rb"(?: \((?P<flags>[ -~]*)\))?(?: \"[ -~]{26}\")? "
        + rb"(?:CATENATE \((?P<catenation>[ -~]+)|\{(?P<size>\d+)(?P<unsynchronized>\+?)\})",
    }.items()
}
ITEM = re.compile(rb"UID|FLAGS|RFC822\.SIZE|BODYSTRUCTURE|BODY\.PEEK\[([0-9A-Z.]*)\](?:<(\d+)\.(\d+)>)?")
# What stands between the texts of a CATENATE, or behind them; a URL as the proxy makes them (RFC 4469 section 5):
# relative to the mailbox that is EXAMINEd, as one of another form may change something in the mailbox.
CATENATION = re.compile(rb' ?(?P<urls>(?:URL "[^"]+" ?)*)(?:TEXT \{(?P<size>\d+)\}|\))')
URL = re.compile(rb'URL ";UID=(\d+)(?:/;SECTION=([0-9A-Z.]+))?"')


class FakeMailboxes(FakeImap):
    """The server; mailbox names are as on the wire, in modified UTF-7."""

    def __init__(
        self,
        mailboxes: Mapping[bytes, Mapping[int, Entity]],
        port: int = 0,
        patience: float = PATIENCE,
        context: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._serve_connection, port, patience)
        self.context = context
        self.mailboxes = {name: dict(messages) for name, messages in mailboxes.items()}
        self.capabilities = CAPABILITIES
        self.listing = b""
        self.namespaces = b""
        self.prefix = b""
        self.missing: set[bytes] = set()
        self.uidvalidity = UIDVALIDITY
        self.replies: dict[str, Deviation] = {}
        self.cues: dict[str, Callable[[], object]] = {}
        self.commands: list[bytes] = []
        self.appended: list[Appended] = []
        self.side_connections = 0
        self._client_comes = threading.Event()

    @contextmanager
    def performance(self) -> Iterator["FakeMailboxes"]:
        """One test's time: it begins with nothing said, what it scripts is forgotten, what went wrong is raised."""
        self.commands.clear()
        self.appended.clear()
        self.side_connections = 0
        self._client_comes.clear()
        mailboxes = {name: dict(messages) for name, messages in self.mailboxes.items()}
        yield self
        self.replies, self.cues, self.mailboxes, self.listing, self.missing = {}, {}, mailboxes, b"", set()
        self.capabilities, self.uidvalidity, self.namespaces, self.prefix = CAPABILITIES, UIDVALIDITY, b"", b""
        self.raise_failures()

    def client_comes(self) -> None:
        """Take the next connection for the client's own."""
        self._client_comes.set()

    def names(self) -> list[str]:
        """Return the names of the commands on side connections, in the order in which they came."""
        found = map(COMMAND.match, self.commands)
        return [match[2].decode().upper() for match in found if match]

    def _serve_connection(self, peer: Peer) -> None:
        if self._client_comes.is_set():
            self._client_comes.clear()
            _serve_client(peer)
        else:
            self.side_connections += 1
            _SideConnection(self, peer).serve()


def _serve_client(peer: Peer) -> None:
    """Take any login, and answer OK to every command."""
    peer.send(GREETING)
    while True:
        tag, name, *rest = peer.line().split()
        if name.upper() == b"AUTHENTICATE" and len(rest) == 1:
            peer.send(b"+ \r\n")
            peer.line()
        peer.send(b"%b OK done\r\n" % tag)


@dataclass
class _SideConnection:
    server: FakeMailboxes
    peer: Peer
    counts: dict[str, int] = field(default_factory=dict)
    selected: Mapping[int, Entity] | None = None
    is_secured: bool = False

    def serve(self) -> None:
        self.perform("GREETING", b"", b"* OK [CAPABILITY %b] fake\r\n" % self.server.capabilities)
        while True:
            line = self.peer.line()
            self.server.commands.append(line)
            command = COMMAND.fullmatch(line)
            assert command, f"not a command: {line[:500]!r}"
            tag, name, text = command[1], command[2].upper(), command[3] or b""
            assert name in GRAMMAR, f"not a command for a side connection: {line[:500]!r}"
            arguments = self.arguments(line, name, text)
            answer = getattr(self, f"on_{name.decode().lower().replace(' ', '_')}")(tag, arguments)
            if answer is not None:
                self.perform(name.decode().removeprefix("UID ").replace("AUTHENTICATE", "LOGIN"), tag, answer)
            if name == b"LOGOUT":
                return

    def arguments(self, line: bytes, name: bytes, text: bytes) -> re.Match[bytes]:
        if name == b"LOGIN":  # a secret may need a literal
            while text.endswith(b"}"):
                self.peer.send(b"+ \r\n")
                size = int(text[text.rindex(b"{") + 1 :].rstrip(b"+}"))
                self.peer.read(size)
                text = text[: text.rindex(b"{")] + b'"literal"' + self.peer.line().removesuffix(b"\r\n")
        found = GRAMMAR[name].fullmatch(text)
        assert found, f"not what the grammar says: {line[:500]!r}"
        return found

    def perform(self, step: str, tag: bytes, usual: bytes) -> bool:
        """Do what is to be done, and say whether that is something else than usual."""
        self.counts[step] = self.counts.get(step, 0) + 1
        names = (f"{step} {self.counts[step]}", step)
        for cue in [self.server.cues[name] for name in names if name in self.server.cues]:
            cue()
        deviation = next((self.server.replies[name] for name in names if name in self.server.replies), None)
        if deviation is None:
            self.peer.send(usual)
        else:
            deviation(self.peer, tag, usual)
        return deviation is not None

    # Each returns the usual answer, or has answered

    def on_capability(self, tag: bytes, _: re.Match[bytes]) -> bytes:
        return b"* CAPABILITY %b\r\n%b OK done\r\n" % (self.server.capabilities, tag)

    def on_noop(self, tag: bytes, _: re.Match[bytes]) -> bytes:
        return b"%b OK done\r\n" % tag

    def on_namespace(self, tag: bytes, _: re.Match[bytes]) -> bytes:
        return self.server.namespaces + b"%b OK done\r\n" % tag

    on_id = on_close = on_unselect = on_subscribe = on_noop

    def on_login(self, tag: bytes, arguments: re.Match[bytes]) -> bytes:
        self.check_secured()
        return self.on_noop(tag, arguments)

    def on_starttls(self, tag: bytes, _: re.Match[bytes]) -> None:
        assert self.server.context is not None, "STARTTLS is not offered"
        if self.perform("STARTTLS", tag, b"%b OK begin\r\n" % tag):
            return
        if self.perform("HANDSHAKE", tag, b""):
            self.peer.rest()  # which is the client's part of the handshake
            raise EOFError
        self.begin_tls(self.server.context)

    def begin_tls(self, context: ssl.SSLContext) -> None:
        try:
            self.peer.begin_tls(context)
            self.is_secured = True
        except ssl.SSLError as failure:  # the client left in the middle of it, or does not trust us
            raise EOFError from failure

    def check_secured(self) -> None:
        assert self.is_secured or self.server.context is None, "a password in plaintext"

    def on_create(self, tag: bytes, arguments: re.Match[bytes]) -> bytes:
        name = unquoted(arguments["mailbox"])
        if not name.startswith(self.server.prefix):
            return b"%b NO no such namespace\r\n" % tag
        self.server.missing.discard(name)
        return b"%b OK done\r\n" % tag

    def on_logout(self, tag: bytes, _: re.Match[bytes]) -> bytes:
        return b"* BYE done\r\n%b OK done\r\n" % tag

    def on_authenticate(self, tag: bytes, arguments: re.Match[bytes]) -> bytes:
        self.check_secured()
        if b" " not in arguments[0]:
            self.continue_authentication(b"")
        if arguments["mechanism"] == b"LOGIN":
            self.continue_authentication(b"Password:")
        return b"%b OK logged in\r\n" % tag

    def continue_authentication(self, challenge: bytes) -> None:
        self.peer.send(b"+ %b\r\n" % base64.b64encode(challenge))
        base64.b64decode(self.peer.line(), validate=False)

    def on_list(self, tag: bytes, _: re.Match[bytes]) -> bytes:
        return self.server.listing + b"%b OK done\r\n" % tag

    def on_examine(self, tag: bytes, arguments: re.Match[bytes]) -> bytes:
        self.selected = self.server.mailboxes.get(unquoted(arguments["mailbox"]))
        if self.selected is None:
            return b"%b NO [NONEXISTENT] no such mailbox\r\n" % tag
        return (
            b"* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS ()] none\r\n* %d EXISTS\r\n* 0 RECENT\r\n"
            b"* OK [UIDVALIDITY %d] uids\r\n* OK [UIDNEXT 1000] next\r\n%b OK [READ-ONLY] done\r\n"
        ) % (len(self.selected), self.server.uidvalidity, tag)

    def on_uid_fetch(self, tag: bytes, arguments: re.Match[bytes]) -> bytes:
        assert self.selected is not None, "FETCH without EXAMINE"
        uid = int(arguments["uid"])
        if uid not in self.selected:
            return b"%b OK nothing\r\n" % tag
        items = arguments["items"].split(b" ")
        told = b" ".join([b"UID %d" % uid, *(self.item(item, self.selected[uid]) for item in items if item != b"UID")])
        return b"* 1 FETCH (%b)\r\n%b OK done\r\n" % (told, tag)

    def item(self, asked: bytes, message: Entity) -> bytes:
        item = ITEM.fullmatch(asked)
        assert item, f"not an item to FETCH by a side connection: {asked!r}"
        if item[1] is None:
            constants = {
                b"FLAGS": b"()",
                b"RFC822.SIZE": b"%d" % len(message.octets),
                b"BODYSTRUCTURE": structure(message),
            }
            return b"%b %b" % (asked, constants[asked])
        name = b"BODY[%b]" % item[1] + (b"<%b>" % item[2] if item[2] else b"")
        octets = sections(message).get(item[1].decode())
        if octets is None:
            return name + b" NIL"
        if item[2]:
            octets = octets[int(item[2]) : int(item[2]) + int(item[3])]
        return b"%b {%d}\r\n%b" % (name, len(octets), octets)

    def on_append(self, tag: bytes, arguments: re.Match[bytes]) -> None:
        name = unquoted(arguments["mailbox"])
        if name in self.server.missing or not name.startswith(self.server.prefix):
            self.perform("APPEND", tag, b"%b NO [TRYCREATE] no such mailbox\r\n" % tag)
            return
        octets = self.catenated(tag, arguments) if arguments["catenation"] else self.whole(tag, arguments)
        if octets is not None:
            self.server.appended.append(Appended(unquoted(arguments["mailbox"]), arguments["flags"] or b"", octets))
            self.perform("APPENDED", tag, b"%b OK [APPENDUID 7 1] done\r\n" % tag)

    # What is appended, or None where that has been answered already

    def whole(self, tag: bytes, arguments: re.Match[bytes]) -> bytes | None:
        size = int(arguments["size"])
        assert size < MAX_LITERAL
        if self.perform("APPEND", tag, b"" if arguments["unsynchronized"] else b"+ go on\r\n"):
            return None
        octets = self.peer.read(size)
        assert self.peer.line() == b"\r\n", "an APPEND with more than one message"
        return octets

    def catenated(self, tag: bytes, arguments: re.Match[bytes]) -> bytes | None:
        assert b"CATENATE" in self.server.capabilities.split(), "CATENATE is not offered"
        octets, said = b"", arguments["catenation"]
        while True:
            parts = CATENATION.fullmatch(said)
            assert parts, f"no parts to put together: {said[:500]!r}"
            octets += b"".join(map(self.found_by, URL.findall(parts["urls"])))
            if parts["size"] is None:
                return octets
            assert int(parts["size"]) < MAX_LITERAL
            if self.perform("APPEND", tag, b"+ go on\r\n"):
                return None
            octets += self.peer.read(int(parts["size"]))
            said = self.peer.line().removesuffix(b"\r\n")

    def found_by(self, url: tuple[bytes, ...]) -> bytes:
        assert self.selected is not None, "a relative URL without EXAMINE"
        uid, section = url
        return sections(self.selected[int(uid)])[section.decode()]


def unquoted(astring: bytes) -> bytes:
    return re.sub(rb"\\(.)", rb"\1", astring[1:-1]) if astring.startswith(b'"') else astring
