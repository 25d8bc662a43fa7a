"""A SUBMIT's NO, as the client reads what the proxy wrote.

The input's first line is the mail server's text, each further one an address that it refused. As a whole it is also an
answer that anybody may have written.
"""

import contextlib

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import AddressError, parse_address
from imapproxy.protocol.response import MAX_TEXT, not_submitted
from imapproxy.protocol.submit_answer import Refusal, read_refusal


def check(octets: bytes) -> None:
    """Write an answer and read it, and read one that was not written."""
    _check_printable(read_refusal(octets))
    text, *lines = octets.decode("utf-8", "surrogateescape").split("\n")
    recipients = []
    for line in lines:
        with contextlib.suppress(AddressError):
            recipients.append(parse_address(line, "example.com").printable)
    answer = not_submitted(b"a", SubmissionRefused(text, recipients))
    assert answer.startswith(b"a NO ")
    assert answer.endswith(b"\r\n")
    refusal = read_refusal(answer.removeprefix(b"a NO ").removesuffix(b"\r\n"))
    _check_printable(refusal)
    assert refusal.recipients == tuple(recipients)
    assert len(refusal.text) <= MAX_TEXT
    for char, other in zip(reversed(text[:MAX_TEXT]), reversed(refusal.text), strict=False):
        assert other == (char if " " <= char <= "~" and char != "," else ";" if char == "," else other)


def work(octets: bytes, _packet: int) -> None:
    """Read an answer, and write one."""
    read_refusal(octets)
    text, *recipients = octets.decode("utf-8", "surrogateescape").split("\n")
    not_submitted(b"a", SubmissionRefused(text, recipients))


def _check_printable(refusal: Refusal) -> None:
    for text in (refusal.text, *refusal.recipients, refusal.code):
        assert text.isprintable()
        assert text.isascii()
    assert refusal.is_temporary <= refusal.code.startswith("4")
