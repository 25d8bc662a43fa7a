"""Messages that are easy to get wrong, and the mailboxes made of them that real clients read."""

import imaplib

DATE = '"07-Feb-1994 21:52:25 -0800"'
BIG = 5 * (1 << 20)
MANY = 500

HEADER = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred Foobar <fred@example.com>\r\nTo: joe@example.com\r\n"

MULTIPART = b"""\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=-1"

--=-1
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

\xc3\xa9t\xc3\xa9
--=-1
Content-Type: message/rfc822

Subject: inside

* BYE from an attached message
--=-1
Content-Type: application/octet-stream
Content-Transfer-Encoding: base64

AAECAwQFBgcICQ==
--=-1--
""".replace(b"\n", b"\r\n")

ODD_MESSAGES = {
    "plain": b"Subject: afternoon meeting\r\n\r\nHello Joe\r\n",
    "eight bits": b"Subject: \xc3\xa9t\xc3\xa9\r\nContent-Type: text/plain; charset=latin1\r\n\r\n\xe9\x80\xff\xa0\r\n",
    "every octet but NUL": b"Subject: octets\r\n\r\n" + bytes(range(1, 256)) + b"\r\n",
    "lone LF": b"Subject: unix\n\nfirst\nsecond\r\nthird\n",
    "lone CR": b"Subject: mac\r\n\r\nfirst\rsecond\r\r\nthird\r\n",
    "no last line end": b"Subject: cut\r\n\r\nthe end",
    "no body": b"Subject: header only\r\n\r\n",
    "long line": b"Subject: long\r\n\r\n" + b"x" * 100_000 + b"\r\n",
    "looks like IMAP": (
        b'Subject: [CAPABILITY IMAP4rev1] "quoted" \\ {5}\r\n\r\n'
        b"* CAPABILITY IMAP4rev1\r\n* OK [CAPABILITY IMAP4rev1] {3}\r\nA1 SUBMIT {10}\r\n)\r\nTAG1 OK {7+}\r\n"
    ),
    "multipart": b"Subject: parts\r\n" + MULTIPART,
}


def big_message() -> bytes:
    """Return a message of ``BIG`` octets, no two of its lines alike."""
    lines = (b"line %069d\r\n" % number for number in range(BIG // 76 + 1))
    return (HEADER + b"Subject: big\r\n\r\n" + b"".join(lines))[: BIG - 2] + b"\r\n"


def fill(client: imaplib.IMAP4) -> None:
    """Put the samples into a logged-in user's empty mailboxes: ``INBOX`` odd ones, ``Many`` small ones, ``Big`` one."""
    for name in ("Many", "Big"):
        client.create(name)
    for number, message in enumerate(ODD_MESSAGES.values()):
        flags = r"(\Seen \Flagged)" if number % 2 else r"(\Answered)"
        client.append("INBOX", flags, DATE, HEADER + message)
    for number in range(MANY):
        client.append("Many", "", DATE, HEADER + b"Subject: message %d\r\n\r\nbody %d\r\n" % (number, number))
    client.append("Big", r"(\Seen)", DATE, big_message())
