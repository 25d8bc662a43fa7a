"""The classic way to send mail, for comparison: a second connection, to the SMTP server (RFC 5321, RFC 6409)."""

import re
from collections.abc import Sequence

from link import Link


def send(link: Link, sender: str, recipients: Sequence[str], message: bytes) -> None:
    """Hand over a message as a mail program does, up to the answer that it was accepted.

    Each command waits for its answer, since the demo's server does not announce PIPELINING (RFC 2920).
    """
    _expect(link, b"220")
    _command(link, b"EHLO phone.example.com", b"250")
    _command(link, b"MAIL FROM:<%b> SIZE=%d" % (sender.encode(), len(message)), b"250")
    for recipient in recipients:
        _command(link, b"RCPT TO:<%b>" % recipient.encode(), b"250")
    _command(link, b"DATA", b"354")
    stuffed = re.sub(rb"(?m)^\.", b"..", message)
    _command(link, stuffed + b".", b"250")


def _command(link: Link, text: bytes, code: bytes) -> None:
    link.send(text + b"\r\n")
    _expect(link, code)


def _expect(link: Link, code: bytes) -> None:
    """Read a reply, of several lines perhaps: all but its last have a hyphen after the code (RFC 5321 4.2)."""
    line = link.read_line()
    while line[3:4] == b"-":
        line = link.read_line()
    if not line.startswith(code):
        raise ConnectionError(f"the SMTP server answered: {line.decode('ascii', 'backslashreplace')}")
