"""A part that stands for what lies in a mailbox, as a draft holds it (RFC 2017; RFC 2046, 5.2.3); `reference` reads it.

    Content-Type: message/external-body; access-type=URL;
    <TAB>URL="/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2"

    Content-Disposition: attachment; filename="plans.pdf"

The second header, the phantom one, says what the included part is to be called instead of what it was called.
"""

import re
from collections.abc import Iterator

from imapproxy.message.fields import Field
from imapproxy.message.imap_url import ImapUrl, parse_imap_url
from imapproxy.message.words import transportable

# Of a name or a description, in characters: a file's name has no more octets than that, and no line gets too long.
MAX_TEXT = 255

# Of a URL on one line: RFC 2017, 3.1 has long ones split by white space, RFC 5322, 2.1.1 wants 78 characters at most.
_URL_LINE = 64

# What would end a line somewhere, or is no character; surrogates for octets ("surrogateescape") are one.
_NO_TEXT = re.compile(r"[\0-\x1F\x7F-\x9F\u2028\u2029\uD800-\uDC7F\uDD00-\uDFFF]")


def reference_part(url: str, name: str = "", description: str = "") -> bytes:
    """Return a whole part, header and body with CRLF line ends, that the proxy replaces by what the URL names.

    `url` is that of a message or of a part of one (RFC 5092), absolute or beginning with `/`. `name` is the file name
    that recipients see: with one, it is an attachment called so; without, the part stays what it was. `description`
    is for Content-Description. ValueError, whose text is one line, where the URL is none that can be included, and
    where the texts hold control characters or more than MAX_TEXT characters.
    """
    header = _content_type(parse_imap_url(url))
    phantom = b"".join(
        field.raw for field in _phantom_fields(_checked(name, "name"), _checked(description, "description"))
    )
    return header.raw + b"\r\n" + phantom + b"\r\n"


def _content_type(url: ImapUrl) -> Field:
    written = str(url)
    lines = [written[start : start + _URL_LINE] for start in range(0, len(written), _URL_LINE)]
    folded = "\r\n\t".join(lines)
    return Field.of("Content-Type", f'message/external-body; access-type=URL;\r\n\tURL="{folded}"')


def _phantom_fields(name: str, description: str) -> Iterator[Field]:
    if name:
        quoted = re.sub(r'(["\\])', r"\\\1", name)
        yield transportable(Field.of("Content-Disposition", f'attachment;\r\n\tfilename="{quoted}"'), "us-ascii")
    if description:
        yield transportable(Field.of("Content-Description", description), "us-ascii")


def _checked(text: str, what: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"{what} longer than {MAX_TEXT} characters")
    if _NO_TEXT.search(text):
        raise ValueError(f"character that no {what} may hold")
    return text
