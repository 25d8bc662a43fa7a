"""Mailbox names as IMAP writes them: modified UTF-7 (RFC 3501, 5.1.3; RFC 9051, A.1).

A name is Unicode text; the form on the wire is printable US-ASCII whatever the name holds. It still needs an IMAP
string around it: quotes and backslashes stand for themselves.
"""

import re
from base64 import b64decode, b64encode

# What does not stand for itself: "&", and any run of characters that are not printable US-ASCII.
_SHIFTED = re.compile(r"&|[^ -~]+")
# modified UTF-7 = *(printable / "&-" / "&" 1*modified-base64 "-") ; printable = %x20-25 / %x27-7E
# modified-base64 = ALPHA / DIGIT / "+" / ","                   ; UTF-16BE, no padding
_WRITTEN = re.compile(r"(?:[ -%'-~]|&[A-Za-z0-9+,]*-)*")
_SHIFT = re.compile(r"&([A-Za-z0-9+,]*)-")
_ALTCHARS = b"+,"


def modified_utf7(name: str) -> str:
    """Return a name as commands take it; a lone surrogate, which is no character, is a ValueError."""
    return _SHIFTED.sub(_shifted, name)


def from_modified_utf7(text: str) -> str:
    """Return the name that stands in a response; text that `modified_utf7` would not write is a ValueError."""
    if not _WRITTEN.fullmatch(text):
        raise ValueError("not modified UTF-7")
    try:
        name = _SHIFT.sub(_unshifted, text)
    except ValueError:
        raise ValueError("not modified UTF-7") from None
    # Two forms of one name would be two names to whoever compares them; the RFC allows one.
    if modified_utf7(name) != text:
        raise ValueError("not canonical modified UTF-7")
    return name


def _shifted(run: re.Match[str]) -> str:
    if run[0] == "&":
        return "&-"
    return "&" + b64encode(run[0].encode("utf-16-be"), _ALTCHARS).rstrip(b"=").decode("ascii") + "-"


def _unshifted(shift: re.Match[str]) -> str:
    if not shift[1]:
        return "&"
    return b64decode(shift[1] + "=" * (-len(shift[1]) % 4), _ALTCHARS).decode("utf-16-be")
