"""A message as programs hand it to sendmail: lines that end in LF, an mbox line on top, no header at all.

The header ends where sendmail ends it: at the first line that is neither a field nor a continuation. If that is no
empty line, it is the body's first, so that `echo text | sendmail anna` sends a text.
"""

import re
from dataclasses import dataclass
from os import EX_DATAERR

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.draft import LineEnds
from imapproxy.message.fields import MAX_HEADER, Field, read_header
from imapproxy.sendmail.failure import Failure

# What stands before each message of an mbox file; "From :" is a field (RFC 5322, 4.5).
_MBOX_LINE = re.compile(rb"From (?![ \t]*:)[^\r\n]*\r\n")

# field-name *WSP ":" unstructured CRLF                         ; RFC 5322, 4.5
_FIELD_LINE = re.compile(rb"[!-9;-~]+[ \t]*:[^\r\n]*\r\n")
# the same, or a continuation: 1*WSP unstructured CRLF
_HEADER_LINE = re.compile(rb"(?:[!-9;-~]+[ \t]*:|[ \t])[^\r\n]*\r\n")


@dataclass(frozen=True, slots=True)
class Original:
    """The fields of a message, maybe none, and its body; every line end is CRLF."""

    fields: tuple[Field, ...]
    body: bytes


def read_original(octets: bytes) -> Original:
    """Return what a program wrote to standard input; Failure (EX_DATAERR) where that can be no message."""
    try:
        lines = _with_line_ends(octets)
        mbox_line = _MBOX_LINE.match(lines)
        start = mbox_line.end() if mbox_line else 0
        end = _fields_end(lines, start)
        return Original(read_header(lines[start:end], 0, end - start).fields, lines[end:].removeprefix(b"\r\n"))
    except ClientError as error:
        raise Failure(EX_DATAERR, str(error)) from None
    except SubmissionRefused as refused:
        raise Failure(EX_DATAERR, refused.text) from None


def _with_line_ends(octets: bytes) -> bytes:
    line_ends = LineEnds()
    return b"".join([*line_ends.feed(octets), *line_ends.finish()])


def _fields_end(lines: bytes, start: int) -> int:
    """Return where the lines end that a header may have; those of one that is too large are not read further."""
    end = start
    line = _FIELD_LINE.match(lines, start)
    while line is not None and end - start <= MAX_HEADER:
        end = line.end()
        line = _HEADER_LINE.match(lines, end)
    return end
