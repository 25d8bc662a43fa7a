"""What is fuzzed: each target's check and work, its corpus, and the words that its input is made of."""

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.budget import SIZES, WHOLE, Work

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent.parent / "imapproxy"

_DIALOGUE = (
    *("action", "capability", "command", "dialogue", "dispatch", "forwarding", "framing", "hop_command"),
    *("id_command", "identification", "intake", "login", "login_command", "offer", "output", "refusal", "response"),
    *("submit_command", "terms"),
)
_MESSAGE = ("draft", "encoding", "envelope", "fields", "headers", "message", "mime", "segments", "site", "tokens")

# The package's modules that each target is about, for the coverage that it reaches.
_MODULES = {
    "server_framer": ("protocol", ["framing"]),
    "client_framer": ("protocol", ["framing", "command"]),
    "dialogue": ("protocol", _DIALOGUE),
    "session": ("protocol", _DIALOGUE),
    "submit_answer": ("protocol", ["submit_answer", "response"]),
    "fetched": ("protocol", ["fetched", "body_structure"]),
    "listed": ("protocol", ["fetched"]),
    "proxy_header": ("protocol", ["proxy_header"]),
    "deflate": ("net", ["deflate"]),
    "imap_url": ("message", ["imap_url"]),
    "header_policy": ("message", [*_MESSAGE, "address", "words"]),
    "references": ("message", [*_MESSAGE, "compose", "imap_url", "inclusion", "reference"]),
    "sendmail_draft": ("sendmail", ["attachments", "bare_names", "draft", "original", "originator", "recipients"]),
}


# Those whose octets come in packets.
_STREAMS = frozenset(
    {"server_framer", "client_framer", "dialogue", "session", "header_policy", "listed", "proxy_header", "deflate"}
)

# A line of a dictionary, as libFuzzer reads it.
_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")


@dataclass(frozen=True, slots=True)
class Target:
    """One of ``targets``."""

    name: str

    @property
    def check(self) -> Callable[[bytes], None]:
        """What takes any octets and fails where a rule does not hold; imported when it is asked for."""
        check: Callable[[bytes], None] = importlib.import_module(f"tests.fuzz.targets.{self.name}").check
        return check

    @property
    def work(self) -> Work:
        """What does with an input what the program would, without a slow reader beside it."""
        work: Work = importlib.import_module(f"tests.fuzz.targets.{self.name}").work
        return work

    @property
    def packets(self) -> Sequence[int]:
        """The sizes of packets in which its octets may come."""
        return tuple(SIZES) if self.name in _STREAMS else (WHOLE,)

    @property
    def words(self) -> Sequence[bytes]:
        """The words of its dictionary."""
        lines = self.dictionary.read_text(encoding="ascii").splitlines()
        return [_octets_of(word[1]) for word in map(_WORD.fullmatch, lines) if word]

    @property
    def corpus(self) -> Path:
        """The folder of inputs to begin with."""
        return HERE / "corpus" / self.name

    @property
    def dictionary(self) -> Path:
        """The words that inputs are made of, as libFuzzer reads them."""
        return HERE / "corpus" / f"{self.name}.dict"

    @property
    def modules(self) -> Iterable[Path]:
        """The modules that it is about."""
        part, names = _MODULES[self.name]
        return [PACKAGE / part / f"{name}.py" for name in names]


def _octets_of(word: str) -> bytes:
    return _ESCAPED.sub(lambda at: chr(int(at[1][1:], 16)) if len(at[1]) > 1 else at[1], word).encode("latin-1")


TARGETS = tuple(map(Target, _MODULES))
