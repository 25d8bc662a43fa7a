r"""A dialogue as a script: who says what, and what the proxy makes of it.

A line's first letter says whose it is::

    C: what the client sends          U: what the IMAP server must then have been sent
    S: what the IMAP server sends     P: what the client must then have been sent by the proxy
                                      !: what else the dialogue must have asked for, e.g. ``!: Submit fred``
    T: the session has done the TLS handshake that was asked for
    Z: it compresses from here on, and these octets of the client's it must have been given back

Each line ends in CRLF unless it ends in a backslash; other escapes are Python's. After each ``C``, ``S``,
``T`` or ``Z``, what is expected up to the next one must have come, and nothing else.
"""

from collections.abc import Callable

from imapproxy.protocol.action import Action, DraftOctets, LoggedIn, LoginRefused, Submit, ToClient, ToUpstream
from imapproxy.protocol.capability import is_reusable
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.terms import Terms

MAX_DRAFT = 1000
# What another session has left in a buffer: it would end a line, begin a literal, or be one.
STALE = b"\r\n* BYE {5}\r\na OK x\r\n{3+}\r\n\n}\r\n"
TERMS = Terms(MAX_DRAFT, is_reusable)

GREETING = r"""
    S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER] hello
    P: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=LOGIN AUTH=XOAUTH2 AUTH=OAUTHBEARER CAN-SUBMIT] hello
"""
LOGIN = r"""
    C: L LOGIN fred secret
    U: L LOGIN fred secret
    S: L OK logged in
    P: L OK logged in
    !: LoggedIn fred
"""


class Scene:
    """A dialogue, and what came of it since it was last looked at."""

    def __init__(self, chunk: int = 1 << 20, terms: Terms = TERMS, *, is_secure: bool = False) -> None:
        self.dialogue = Dialogue(terms, is_secure)
        self._chunk = chunk
        self.to_client = b""
        self.to_upstream = b""
        self.other: list[str] = []
        self.draft = b""

    def client(self, octets: bytes) -> None:
        """Have the client send octets, a chunk at a time."""
        self._send(octets, self.dialogue.from_client)

    def server(self, octets: bytes) -> None:
        """Have the server send octets, a chunk at a time."""
        self._send(octets, self.dialogue.from_upstream)

    def _send(self, octets: bytes, take: Callable[[bytearray, int], list[Action]]) -> None:
        """Send octets, each chunk in a buffer that was used before and will be used again."""
        for start in range(0, len(octets), self._chunk):
            piece = octets[start : start + self._chunk]
            buffer = bytearray(piece + STALE)
            self.take(take(buffer, len(piece)))
            buffer[:] = b"#" * len(buffer)

    def start_tls(self, _nothing: bytes) -> None:
        """Have the session done the handshake."""
        self.dialogue.tls_started()

    def compress(self, taken_back: bytes) -> None:
        """Have the session compress, and get back what it must."""
        assert self.dialogue.taken_back() == taken_back

    def take(self, actions: list[Action]) -> None:
        """Note what actions say."""
        for action in actions:
            if isinstance(action, ToClient):
                self.to_client += action.octets
            elif isinstance(action, ToUpstream):
                self.to_upstream += action.octets
            elif isinstance(action, DraftOctets):
                self.draft += action.octets
            else:
                self.other.append(described(action))

    def play(self, script: str) -> None:
        """Play a script; see the module's docstring."""
        expected = {"U": b"", "P": b"", "!": b""}
        for line in filter(None, map(str.strip, script.splitlines())):
            speaker, text = line[0], octets_of(line[3:])
            assert line[1:3] in {": ", ":"}, line
            if speaker in expected:
                expected[speaker] += text
                continue
            self.check(expected)
            expected = {"U": b"", "P": b"", "!": b""}
            {"C": self.client, "S": self.server, "T": self.start_tls, "Z": self.compress}[speaker](text)
        self.check(expected)

    def check(self, expected: dict[str, bytes]) -> None:
        """Compare what came with what is expected, and forget it."""
        others = "".join(f"{other}\r\n" for other in self.other).encode()
        assert {"U": self.to_upstream, "P": self.to_client, "!": others} == expected
        self.to_client = self.to_upstream = b""
        self.other = []


def octets_of(text: str) -> bytes:
    """Return the octets that a script's line stands for."""
    without_end = text.endswith("\\") and not text.endswith("\\\\")
    octets = text.removesuffix("\\" if without_end else "").encode("utf-8").decode("unicode_escape").encode("latin-1")
    return octets if without_end else octets + b"\r\n"


def described(action: Action) -> str:
    """Return an action's name, and the user's where it names one."""
    name = type(action).__name__
    if isinstance(action, Submit):
        return f"{name} {action.user.user}"
    if isinstance(action, LoggedIn | LoginRefused):
        return f"{name} {action.credentials.user if action.credentials else 'unknown'}"
    return name


def play(script: str, terms: Terms = TERMS, *, is_secure: bool = False) -> Scene:
    """Play a script whole, then octet by octet; return how it stands then."""
    for chunk in (1 << 20, 1):
        scene = Scene(chunk, terms, is_secure=is_secure)
        scene.play(script)
    return scene
