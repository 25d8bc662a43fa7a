"""Parts added to a message (RFC 2046, 5.1.3): to those it has, or behind its body, which becomes the first part.

Only a multipart/mixed takes more parts without meaning something else then. All others, signed and encrypted ones
among them, become a part as they are, octet for octet.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import count
from os import EX_DATAERR

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.encoding import with_mime_version
from imapproxy.message.fields import Field, Header, read_draft_header
from imapproxy.message.inclusion import is_content_field
from imapproxy.message.mime import Part, read_parts
from imapproxy.sendmail.failure import Failure

# Neither base64 nor quoted-printable text can hold "=_"; all are of one length, so that none begins another.
_BOUNDARY = "=_imap-submit_{:09d}"
_TAKEN = re.compile(rb"=_imap-submit_(\d{9})")


def with_attachments(draft: bytes, parts: Sequence[bytes]) -> bytes:
    """Return a draft with these parts, each whole, US-ASCII, and with CRLF line ends, behind all that it holds.

    Failure (EX_DATAERR) where its header, or its own parts, are more than can be sent.
    """
    try:
        header = read_draft_header(draft)
        tree = read_parts(header, draft)
    except ClientError as error:
        raise Failure(EX_DATAERR, str(error)) from None
    except SubmissionRefused as refused:
        raise Failure(EX_DATAERR, refused.text) from None
    if tree.content_type.kind == "multipart/mixed" and tree.is_closed:
        return _joined(draft, header, tree, parts)
    return _enclosed(draft, header, parts)


def _joined(draft: bytes, header: Header, tree: Part, parts: Sequence[bytes]) -> bytes:
    """Put the parts before the last delimiter of those that are there."""
    start, end = tree.boundaries[-1]
    delimiter = start - len("--")
    added = _delimited(parts, draft[start:end])
    return b"".join(
        [_written(with_mime_version(header.fields)), draft[header.end : delimiter], added, draft[delimiter:]]
    )


def _enclosed(draft: bytes, header: Header, parts: Sequence[bytes]) -> bytes:
    """Make the body the first part of a new multipart, the fields that describe it that part's header."""
    described = _written(field for field in header.fields if is_content_field(field))
    first = described + b"\r\n" + draft[header.body :]
    boundary = _fresh_boundary([first, *parts])
    fields = [*(field for field in header.fields if not is_content_field(field)), *_mixed(boundary, first)]
    multipart = _delimited([first, *parts], boundary.encode("ascii")) + f"--{boundary}--\r\n".encode("ascii")
    return _written(with_mime_version(fields)) + b"\r\n" + multipart


def _mixed(boundary: str, first: bytes) -> Iterable[Field]:
    yield Field.of("Content-Type", f'multipart/mixed; boundary="{boundary}"')
    if not first.isascii():  # RFC 2045, 6.4
        yield Field.of("Content-Transfer-Encoding", "8bit")


def _delimited(parts: Iterable[bytes], boundary: bytes) -> bytes:
    """Return each part behind its delimiter; the CRLF behind a part is the next delimiter's."""
    return b"".join(b"--%b\r\n%b\r\n" % (boundary, part) for part in parts)


def _fresh_boundary(parts: Iterable[bytes]) -> str:
    taken = {int(found[1]) for part in parts for found in _TAKEN.finditer(part)}
    return _BOUNDARY.format(next(number for number in count() if number not in taken))


def _written(fields: Iterable[Field]) -> bytes:
    return b"".join(field.raw for field in fields)
