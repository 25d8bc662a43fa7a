"""What imap-submit(1) tells people to type, as it stands there."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "man" / "imap-submit.1"

_HEADING = re.compile(r'^\.(?:SH|SS) "?(.*?)"?$\n', re.MULTILINE)
_EXAMPLE = re.compile(r"^\.EX\n(.*?)^\.EE$", re.MULTILINE | re.DOTALL)


def examples(heading: str) -> list[str]:
    """Return the examples below a heading, up to the next one, each with its line ends."""
    page = PAGE.read_text(encoding="utf-8")
    _, *pieces = _HEADING.split(page)
    text = dict(zip(map(_typed, pieces[::2]), pieces[1::2], strict=True))[heading]
    return [_typed(example) for example in _EXAMPLE.findall(text)]


def example(heading: str) -> str:
    """Return the one example below a heading."""
    (only,) = examples(heading)
    return only


def _typed(text: str) -> str:
    return text.replace(r"\-", "-").replace(r"\e", "\\")
