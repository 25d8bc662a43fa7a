"""A message with an attachment: in the mailbox, forwarded by either way, and found again by its digest. Pure.

The digest is that of the attachment's encoded body without the line end before the boundary (which RFC 2046 section
5.1.1 counts as the boundary's): what both ways must leave as it is.
"""

import base64
import hashlib
import random
from dataclasses import dataclass

SENDER = "fred@example.com"
RECIPIENT = "joe@example.com"
# Where the attachment is in every message made here.
SECTION = "2"

HEADER = f"""\
Date: Mon, 7 Feb 1994 21:52:25 -0800
From: Fred Foobar <{SENDER}>
To: {RECIPIENT}
Subject: %(subject)s
Message-Id: <%(subject)s.%(number)d@example.com>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="%(boundary)s"

--%(boundary)s
Content-Type: text/plain; charset=us-ascii

%(text)s
--%(boundary)s
"""
ATTACHMENT_HEADER = """\
Content-Type: application/octet-stream
Content-Disposition: attachment; filename="attachment"
Content-Transfer-Encoding: base64

"""
REFERENCE = """\
Content-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=%(uid)d/;SECTION=%(section)s"

Content-Type: application/octet-stream

"""
# No encoded line begins with a hyphen, so that the first one that does ends the attachment.
BOUNDARY = "=-bench"
DELIMITER = b"\r\n--"
END = f"--{BOUNDARY}--\n"
ENCODED_LINE = 76
# The last field of an attachment's header, and the line that ends it, wherever the attachment lies.
ATTACHMENT_BEGINS = b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Attachment:
    """The encoded body of an attachment, without a line end at its end."""

    body: bytes

    @property
    def digest(self) -> str:
        """Return what `Digest` finds of it in a message."""
        return hashlib.sha256(self.body).hexdigest()


def attachment(size: int) -> Attachment:
    """Return an attachment of `size` octets (more when encoded) without any pattern."""
    encoded = base64.b64encode(random.Random(size).randbytes(size))
    return Attachment(b"\r\n".join(encoded[at : at + ENCODED_LINE] for at in range(0, len(encoded), ENCODED_LINE)))


def original(content: Attachment) -> bytes:
    """Return the message that lies in the mailbox."""
    return _head("original", 0, "Here it is.") + _crlf(ATTACHMENT_HEADER) + content.body + _tail()


def draft(uid: int, number: int) -> bytes:
    """Return what is submitted to forward the attachment of message `uid`; `number` makes the message a new one."""
    reference = REFERENCE % {"uid": uid, "section": SECTION}
    return _head("forwarded", number, "See the attachment.") + _crlf(reference) + _tail()


def forwarded(mime_header: bytes, body: bytes, number: int) -> bytes:
    """Return the same message as made by a client that has read the attachment's header and body."""
    return b"".join((_head("forwarded", number, "See the attachment."), mime_header, body, _tail()))


def _head(subject: str, number: int, text: str) -> bytes:
    values = {"subject": subject, "number": number, "boundary": BOUNDARY, "text": text}
    return _crlf(HEADER % values)


def _tail() -> bytes:
    return b"\r\n" + _crlf(END)


def _crlf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode("ascii")


class Digest:
    """Takes a message in pieces, of any size, and has the digest of its attachment; keeps no more than a header."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._kept = b""
        self._begun = self._ended = False

    def feed(self, piece: bytes) -> None:
        """Take the next octets of the message."""
        if self._ended:
            return
        octets = self._kept + piece
        if not self._begun:
            before, begins, octets = octets.partition(ATTACHMENT_BEGINS)
            if not begins:
                self._kept = before
                return
            self._begun = True
        body, delimiter, _ = octets.partition(DELIMITER)
        self._ended = bool(delimiter)
        # A delimiter may have begun in what is kept.
        keep = 0 if self._ended else len(DELIMITER) - 1
        self._hash.update(body[: len(body) - keep])
        self._kept = body[max(0, len(body) - keep) :] if keep else b""

    def __str__(self) -> str:
        """Return the digest in hexadecimal, or what was wrong with the message."""
        return self._hash.hexdigest() if self._ended else "no whole attachment"
