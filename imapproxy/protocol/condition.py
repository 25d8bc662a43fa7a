"""Status responses as the proxy reads them where it is itself the client (RFC 9051 7.1): what is so, and why.

A server's words are printable and bounded here: they come to stand in logs and in answers.
"""

import re
from typing import NamedTuple

MAX_WORDS = 200  # characters of the server's that are passed on

# resp-cond-state = ("OK" / "NO" / "BAD") SP resp-text ; resp-cond-bye, resp-cond-auth: "BYE" / "PREAUTH" likewise
# resp-text = ["[" resp-text-code "]" SP] [text] ; resp-text-code = atom [SP 1*<any TEXT-CHAR except "]">] ...
# Possessive: a code without its end is gone through once, not once more from each of its octets.
_RESP_TEXT = re.compile(rb"(?:\[(?P<code>[!-Z^-~]++)[^\]]*+\] ?)?(?P<text>.*)", re.DOTALL)
_CONDITION = re.compile(rb"(?P<tag>[^ ]+) (?P<state>OK|NO|BAD|BYE|PREAUTH)(?: (?P<text>.*))?\r?\n", re.I | re.DOTALL)
# capability-data = "CAPABILITY" *(SP capability) ; capability = ("AUTH=" auth-type) / atom, of which "]" is no part
_CAPABILITIES = re.compile(rb"\* CAPABILITY(?P<listed>(?: [!-Z^-~]++)+) ?\r?\n", re.I)
_NOT_PRINTABLE = re.compile(r"[^ -~]")


class RespText(NamedTuple):
    """A status response's code in upper case, "" where it has none, and its words, one printable line."""

    code: str
    words: str

    @classmethod
    def of(cls, text: bytes) -> "RespText":
        """Read what stands behind OK, NO, BAD, BYE or PREAUTH."""
        match = _RESP_TEXT.match(text)
        assert match is not None  # it matches anything
        return cls((match["code"] or b"").decode("ascii").upper(), printable(match["text"]))


class Condition(NamedTuple):
    """A status response: whose it is (``*`` where it is nobody's), what it says, and why."""

    tag: bytes
    state: bytes
    text: RespText


def condition(line: bytes) -> Condition | None:
    """Return what a line with its end says, if it is a status response."""
    match = _CONDITION.fullmatch(line)
    return match and Condition(match["tag"], match["state"].upper(), RespText.of(match["text"] or b""))


def capabilities(line: bytes) -> bytes | None:
    """Return what an untagged CAPABILITY response lists, if the line is one."""
    match = _CAPABILITIES.fullmatch(line)
    return match and match["listed"].lstrip(b" ")


def greeting(listed: bytes | None, words: str) -> bytes:
    """Return a greeting (RFC 9051 7.1.1), with a capability list if there is one, and no code besides."""
    code = b"" if listed is None else b"[CAPABILITY %b] " % listed
    return b"* OK %b%b\r\n" % (code, b"ready" if not words or words.startswith("[") else words.encode("ascii"))


def printable(text: bytes) -> str:
    """Return the server's words on one line, bounded."""
    return _NOT_PRINTABLE.sub("?", " ".join(text.decode("ascii", "replace").split()))[:MAX_WORDS]
