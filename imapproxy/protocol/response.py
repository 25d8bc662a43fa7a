"""Every line that the proxy itself says to a client; the one place where a failure becomes a response.

Nothing from a peer reaches a response unfiltered: our lines are printable US-ASCII, one line each, bounded. A SUBMIT's
answer is ``text,recipient,recipient`` (draft-royer-lemonade-submit-00, section 3): the text has no comma, and does not
begin with ``[``, which would make it a response code (RFC 9051 section 9, resp-text).
"""

from datetime import datetime

from imapproxy.errors import ClientError, SubmissionRefused

MAX_TEXT = 500  # octets of a text that came from a server: an SMTP server's may have any number of lines of 512

# Said of a command that the capabilities do not offer in this state.
NOT_OFFERED = "This command was not offered"

CONTINUE = b"+ Go ahead\r\n"
CONTINUE_DRAFT = b"+ Ready for the message\r\n"
STILL_SUBMITTING = b"* OK Still submitting\r\n"


def bye(text: str) -> bytes:
    """Return an untagged BYE."""
    return b"* BYE " + printable(text) + b"\r\n"


def ok(tag: bytes, text: str) -> bytes:
    """Return a tagged OK."""
    return tag + b" OK " + printable(text) + b"\r\n"


def bad(tag: bytes, text: str) -> bytes:
    """Return a BAD for ``tag``, which is ``*`` where the line had none."""
    return tag + b" BAD " + printable(text) + b"\r\n"


def no(tag: bytes, text: str) -> bytes:
    """Return a tagged NO; ``text`` may begin with a response code of ours."""
    return tag + b" NO " + printable(text) + b"\r\n"


def submitted(tag: bytes, remark: str = "") -> bytes:
    """Return the answer to a SUBMIT that reached all its recipients; ``remark`` is what did not go well besides."""
    return tag + b" OK SUBMIT completed" + _remark(remark) + b"\r\n"


def submitted_earlier(tag: bytes, at: datetime, remark: str = "") -> bytes:
    """Return the answer to a SUBMIT that reached all its recipients before, at that time (UTC); ``remark`` as above."""
    answer = tag + at.strftime(" OK SUBMIT completed (accepted earlier, at %Y-%m-%d %H:%M:%S UTC)").encode("ascii")
    return answer + _remark(remark) + b"\r\n"


def _remark(text: str) -> bytes:
    return b"; " + printable(text) if text else b""


def not_submitted(tag: bytes, failure: SubmissionRefused | ClientError) -> bytes:
    """Return the answer to a SUBMIT that reached nobody: NO with its recipients, or BAD for what is no message."""
    if isinstance(failure, ClientError):
        return bad(tag, str(failure))
    text = printable(failure.text).replace(b",", b";").lstrip(b"[ ")
    parts = [text, *(printable_whole(recipient) for recipient in failure.recipients)]
    # "a comma separates the parts": a text stands before one even where no recipient follows, as the draft shows.
    return tag + b" NO " + b",".join(parts if failure.recipients else [text, b""]) + b"\r\n"


def printable(text: str) -> bytes:
    """Return ``text`` as printable US-ASCII on one line, at most MAX_TEXT octets."""
    return printable_whole(text[:MAX_TEXT])


def printable_whole(text: str) -> bytes:
    """Return ``text`` as printable US-ASCII on one line, however long."""
    return bytes(ord(c) if " " <= c <= "~" else ord(" ") if c.isspace() else ord("?") for c in text)
