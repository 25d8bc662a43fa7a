"""What an attacker may have placed in the mailbox of who forwards it: bodies, and headers of parts."""

import re

from tests.functional.drafts import BOUNDARY, ENVELOPE, composite, reference

DELIMITER, CLOSE = b"--" + BOUNDARY, b"--" + BOUNDARY + b"--"
FORGED = b"Content-Type: text/html\r\n\r\nforged\r\n"
COMMANDS = (
    b"MAIL FROM:<boss@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\nSubject: forged\r\n\r\nforged\r\n.\r\n"
)

BODIES = {
    "delimiter": b"text\r\n" + DELIMITER + b"\r\n" + FORGED,
    "delimiter at once": DELIMITER + b"\r\n" + FORGED,
    "padded delimiter": b"text\r\n" + DELIMITER + b" \t\r\n" + FORGED,
    "close delimiter": b"text\r\n" + CLOSE + b"\r\n" + FORGED,
    "close delimiter at the end": b"text\r\n" + CLOSE,
    "close delimiter, then another part": CLOSE + b"\r\n" + DELIMITER + b"\r\n" + FORGED,
    "delimiters between lone CRs": b"text\r" + DELIMITER + b"\r" + FORGED + b"\r" + CLOSE + b"\r",
    "delimiters of all levels": b"".join(b"\r\n--=_level%d--" % level for level in range(5)) + b"\r\n" + CLOSE,
    "dot": b"text\r\n.\r\n" + COMMANDS,
    "dot between lone CRs": b"text\r.\r" + COMMANDS.replace(b"\r\n", b"\r"),
    "dot before CR": b"text\r\n.\r" + COMMANDS,
    "dots": b".\r\n..\r\n...\r\n.",
    "reference": composite(reference("/INBOX/;UID=1"), boundary=b"=_inner"),
    "reference at once": reference("/INBOX/;UID=1"),
    "open multipart": b'Content-Type: multipart/mixed; boundary="x"\r\n\r\n--x\r\n\r\nnever closed\r\n',
    "header once more": b"\r\nBcc: ann@example.com\r\n\r\n" + FORGED,
    "no line end": b"text",
    "CR at the end": b"text\r",
    "hyphens": b"--\r\n--\r\n----\r\n--",
    "nothing": b"",
    "all octets but NUL": bytes(range(1, 256)),
}

HEADERS = {
    "boundary of the client": b'Content-Type: multipart/mixed; boundary="%b"\r\n' % BOUNDARY,
    "boundary that begins like the client's": b'Content-Type: multipart/mixed; boundary="%b--"\r\n' % BOUNDARY,
    "open quote": b'Content-Type: multipart/mixed; boundary="' + BOUNDARY + b"\r\n",
    "fields behind lone CRs": b"Content-Type: text/plain\rBcc: ann@example.com\rFrom: forged@example.com\r\n",
    "end behind lone CRs": b"Content-Type: text/plain\r\r" + CLOSE + b"\r\r\n",
    "delimiter folded": b"Content-Type: text/plain;\r\n" + b" x=y\r\n\t" + CLOSE + b"\r\n",
    "delimiter for a field": DELIMITER + b"\r\nContent-Type: text/plain\r\n",
    "external body": b'Content-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=1"\r\n',
    "two types": b'Content-Type: text/plain\r\nContent-Type: multipart/mixed; boundary="' + BOUNDARY + b'"\r\n',
    "two encodings": b"Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: 8bit\r\n",
    "space before the colon": b'Content-Type : multipart/mixed; boundary="' + BOUNDARY + b'"\r\nContent-ID: <x>\r\n',
    "foreign fields": b"Bcc: ann@example.com\r\nFrom: forged@example.com\r\nContent-ID: <x>\r\nReceived: forged\r\n",
    "not a field": b"Content-Type: text/plain\r\nnot a field at all\r\nContent-ID: <x>\r\n",
    "mbox": b"From boss Mon Feb  7 21:52:25 1994\r\nContent-Type: text/plain\r\n",
    "line of 5000": b"Content-Type: text/plain; x=" + b"y" * 5000 + b"\r\n",
    "lines of spaces": b"Content-Type: text/plain\r\n \r\n\t\r\n  \r\nContent-ID: <x>\r\n",
    "5000 fields": b"Content-X: y\r\n" * 5000,
    "eight bits": b"Content-Description: \xff\xc3\xbc\x80\r\n",
    "nothing": b"",
}


def as_part(header: bytes, body: bytes) -> bytes:
    """Return a message whose first part is this; where its boundary stands in the part, Dovecot is the one to know."""
    return ENVELOPE + b'Content-Type: multipart/mixed; boundary="=_a"\r\n\r\n--=_a\r\n%b\r\n%b\r\n--=_a--\r\n' % (
        header,
        body,
    )


def mended(octets: bytes) -> bytes:
    return re.sub(rb"\r+\n|\r|\n", b"\r\n", octets)
