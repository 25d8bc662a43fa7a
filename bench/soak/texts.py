"""What is stored and sent, made from numbers: whoever has the numbers knows every octet. Pure."""

import base64
import random
import re
from dataclasses import dataclass

# What must stand in a message that arrives, as pairs of numbers.
_TEXTS = re.compile(rb"(?m)^X-Soak-Texts: ([0-9: ]+)\r$")
_TO = re.compile(rb"(?m)^To: ([^\r\n]+)\r$")
_MESSAGE_ID = re.compile(rb"(?m)^Message-ID: <([a-z0-9.-]+)@soak\.example>\r$")


@dataclass(frozen=True, slots=True)
class Text:
    """Lines of base64, ended by CRLF: ``size`` octets encoded, from a random source that begins with ``seed``."""

    seed: int
    size: int

    def octets(self) -> bytes:
        """Return them."""
        return base64.encodebytes(random.Random(self.seed).randbytes(self.size)).replace(b"\n", b"\r\n")

    def __str__(self) -> str:
        return f"{self.seed}:{self.size}"


@dataclass(frozen=True, slots=True)
class Referred:
    """A stored message that another one refers to: where it is in INBOX, and its text."""

    uid: int
    text: Text


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that arrived: its name, to whom it should go, and whether all that must stand in it does."""

    name: str
    to: str
    is_whole: bool

    def as_event(self, recipient: str) -> str:
        """Return the line in which the host tells that this came to somebody, as `book` reads it."""
        if not self.is_whole:
            return f"{self.name} damaged"
        return f"{self.name} {'whole' if recipient == self.to else 'misdirected'}"


def stored(text: Text) -> bytes:
    """Return a message to be stored, whose one part is the text."""
    header = f"From: soak@example.com\r\nSubject: {text}\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
    return header.encode("ascii") + text.octets()


def plain_draft(name: str, user: str, recipients: str, text: Text) -> bytes:
    """Return a message that is sent as it is."""
    return _header(name, user, recipients, str(text)) + b"Content-Type: text/plain\r\n\r\n" + text.octets()


def referring_draft(name: str, user: str, recipients: str, text: Text, referred: Referred) -> bytes:
    """Return a message that refers to the text of a stored one."""
    boundary = f"=_{name}"
    reference = f'message/external-body; access-type=URL; URL="/INBOX/;UID={referred.uid}/;SECTION=1"'
    return b"".join(
        [
            _header(name, user, recipients, f"{text} {referred.text}"),
            f'Content-Type: multipart/mixed; boundary="{boundary}"\r\n\r\n--{boundary}\r\n\r\n'.encode("ascii"),
            text.octets(),
            f"\r\n--{boundary}\r\nContent-Type: {reference}\r\n\r\n".encode("ascii"),
            f"\r\n--{boundary}--\r\n".encode("ascii"),
        ]
    )


def _header(name: str, user: str, recipients: str, texts: str) -> bytes:
    return (
        f"From: {user}@example.com\r\nTo: {recipients}\r\nSubject: {name}\r\nMessage-ID: <{name}@soak.example>\r\n"
        f"X-Soak-Texts: {texts}\r\nMIME-Version: 1.0\r\n"
    ).encode("ascii")


def arrival(message: bytes) -> Arrival:
    """Return what a message that arrived is, or ValueError where it is none of ours."""
    header, _, body = message.partition(b"\r\n\r\n")
    name, to, texts = (pattern.search(header + b"\r\n") for pattern in (_MESSAGE_ID, _TO, _TEXTS))
    if name is None or to is None or texts is None:
        raise ValueError(f"this is no message of ours: {header[:500]!r}")
    known = [Text(*map(int, pair.split(b":"))).octets() for pair in texts[1].split()]
    is_whole = _addresses_and_subject(header) == _wanted(name[1], to[1]) and _texts_in(body, len(known)) == known
    return Arrival(name[1].decode("ascii"), to[1].decode("ascii"), is_whole)


def _addresses_and_subject(header: bytes) -> list[bytes]:
    names = (b"from:", b"sender:", b"to:", b"cc:", b"bcc:", b"subject:")
    return [line for line in header.split(b"\r\n") if line.lower().startswith(names)]


def _wanted(name: bytes, to: bytes) -> list[bytes]:
    return [b"From: %b@example.com" % name.rpartition(b"-")[0], b"To: %b" % to, b"Subject: %b" % name]


def _texts_in(body: bytes, count: int) -> list[bytes]:
    """Return the body, or its parts' bodies where it has so many; the proxy has chosen the boundary."""
    if count == 1:
        return [body]
    delimiter = b"\r\n" + body.partition(b"\r\n")[0]
    before, *parts, after = (b"\r\n" + body).split(delimiter)
    return [part.partition(b"\r\n\r\n")[2] for part in parts] if (before, after) == (b"", b"--\r\n") else []
