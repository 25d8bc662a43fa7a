"""Drafts that refer to what lies on the server, put together octet by octet."""

ENVELOPE = b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nTo: joe@example.com\r\nMessage-ID: <1@example.com>\r\n"
BOUNDARY = b"=_client"  # the client's; an attacker may know it
BEFORE = b"Content-Type: text/plain\r\n\r\nSee what is attached.\r\n"
AFTER = b"Content-Type: text/plain\r\nContent-Disposition: inline\r\n\r\nThat was it.\r\n"
PREAMBLE, EPILOGUE = b"A reader without MIME sees this.", b"And this.\r\n"


def reference(url: str, phantom: bytes = b"", fields: bytes = b"") -> bytes:
    """Return a part that refers to what the URL names (RFC 2017); ``phantom`` is the header that it holds."""
    return b'%bContent-Type: message/external-body; access-type=URL;\r\n\tURL="%b"\r\n\r\n%b\r\n' % (
        fields,
        url.encode("ascii"),
        phantom,
    )


def draft(*parts: bytes, fields: bytes = b"", subtype: str = "mixed", boundary: bytes = BOUNDARY) -> bytes:
    """Return a message of these parts."""
    return ENVELOPE + fields + b"MIME-Version: 1.0\r\n" + composite(*parts, subtype=subtype, boundary=boundary)


def composite(*parts: bytes, subtype: str = "mixed", boundary: bytes = BOUNDARY) -> bytes:
    """Return a multipart, with text before its parts and behind them."""
    header = b'Content-Type: multipart/%b; boundary="%b"; x=y\r\n\r\n' % (subtype.encode(), boundary)
    body = b"".join(b"\r\n--%b\r\n%b" % (boundary, part) for part in parts)
    return header + PREAMBLE + body + b"\r\n--%b--\r\n" % boundary + EPILOGUE


def nested(part: bytes, depth: int) -> bytes:
    """Return the part in that many multiparts, one in the other."""
    for level in range(depth):
        part = composite(part, boundary=b"=_level%d" % level)
    return part


def forward(url: str, phantom: bytes = b"", fields: bytes = b"") -> bytes:
    """Return the usual forward: a text, what is referred to, another text."""
    return draft(BEFORE, reference(url, phantom), AFTER, fields=fields)
