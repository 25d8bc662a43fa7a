"""The mail of the story: what the client sends, and what somebody sent it before."""

import base64
import email
import hashlib
import random

SEED = 1994  # of the attachment, which is the same in every run
ATTACHMENT_SIZE = 4 * 1024 * 1024
ENCODED_LINE = 72  # characters of base64 in a line: at most 76 (RFC 2045 6.8), and a screen has room for these
OCTETS_IN_LINE = ENCODED_LINE // 4 * 3
ATTACHMENT_NAME = "measurements.dat"

RECIPIENTS = ["mooch@owatagu.siam.edu", "terry@example.net"]
BCC = b"Bcc: terry@example.net\r\n"


def _lines(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


LETTER = _lines(b"""\
From: Fred Foobar <foobar@example.com>
To: Joe Mooch <mooch@owatagu.siam.edu>
Bcc: terry@example.net
Subject: on the train
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Joe, my train is late. Start without me;
I shall be there at four.
""")

# The example of draft-royer-lemonade-submit-00, section 3, with what its copy at hand has lost filled in.
DRAFT_EXAMPLE = _lines(b"""\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <foobar@example.com>
Subject: afternoon meeting
To: mooch@owatagu.siam.edu,badUser@example.com,
    unknownUser@example.com
Message-Id: <B27397-0100000@example.com>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?
""")

FORWARD_START = _lines(b"""\
From: Fred Foobar <foobar@example.com>
To: Joe Mooch <mooch@owatagu.siam.edu>
Bcc: terry@example.net
Subject: Fwd: last night's measurements
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="forward"

--forward
Content-Type: text/plain; charset=us-ascii

Joe, Jane measured this last night. Please have a look.

--forward
""")
FORWARD_END = b"\r\n--forward--\r\n"

REFERENCE = _lines(b"""\
Content-Type: message/external-body; access-type=URL;
  URL="/INBOX;UIDVALIDITY=%d/;UID=%d/;SECTION=2"

Content-Type: application/octet-stream

""")

MAIL_START = _lines(b"""\
From: Jane Doe <jane@example.net>
To: Fred Foobar <foobar@example.com>
Subject: last night's measurements
Date: Sun, 6 Feb 1994 08:30:00 -0800
Message-ID: <measurements-1@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="night"

--night
Content-Type: text/plain; charset=us-ascii

Fred, all of it is in the file.

--night
Content-Type: application/octet-stream; name="measurements.dat"
Content-Disposition: attachment; filename="measurements.dat"
Content-Transfer-Encoding: base64

""")
MAIL_END = b"\r\n--night--\r\n"


def forward_by_reference(uid_validity: int, uid: int) -> bytes:
    """Return a message whose attachment is named by an IMAP URL (RFC 2017, RFC 5092)."""
    return FORWARD_START + REFERENCE % (uid_validity, uid) + FORWARD_END


def forward_in_full(part_header: bytes, part_body: bytes) -> bytes:
    """Return the same message with the attachment in it."""
    return FORWARD_START + part_header + part_body + FORWARD_END


def attachment() -> bytes:
    """Return the attachment's octets as its author saved them."""
    return random.Random(SEED).randbytes(ATTACHMENT_SIZE)


def mail_with_attachment() -> bytes:
    """Return the message that somebody sent to the client's user."""
    octets = attachment()
    rows = (octets[start : start + OCTETS_IN_LINE] for start in range(0, len(octets), OCTETS_IN_LINE))
    return MAIL_START + b"\r\n".join(map(base64.b64encode, rows)) + MAIL_END


def digest(octets: bytes) -> str:
    """Return a SHA-256 digest as one writes it."""
    return hashlib.sha256(octets).hexdigest()


def digest_of_attachment(message: bytes) -> str | None:
    """Return the digest of a message's attachment, found and decoded as a mail program does; None without one."""
    for part in email.message_from_bytes(message).walk():
        if part.get_filename() == ATTACHMENT_NAME:
            content = part.get_payload(decode=True)
            return digest(content) if isinstance(content, bytes) else None
    return None
