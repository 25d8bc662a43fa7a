"""What makes each call a message of its own: the Message-ID, which sendmail gives to what has none, and so do we.

The proxy sends what says to be one message once (``message.identity``), so that who tries again does not send twice.
Sendmail's callers mean a message by each call, though: two that are alike, with a Date in whole seconds, are two. Who
tries the same message again gives it a Message-ID himself, and keeps it.
"""

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.envelope import first_resent_block
from imapproxy.message.fields import Field, named, read_draft_header
from imapproxy.sendmail.originator import author_of


def with_message_id(draft: bytes, unique: str, default_domain: str) -> bytes:
    """Return a draft with a Message-ID, as it is if it has one; one that is sent on with a Resent-Message-ID.

    ``unique`` stands in no other; it is followed by the domain of who sends, or, where that is not said, by the default
    one. What the server cannot read stays as it is: it says so.
    """
    try:
        header = read_draft_header(draft)
    except (ClientError, SubmissionRefused):
        return draft
    block = first_resent_block(header.fields)
    stretch, prefix = (range(len(header.fields)), "") if block is None else (block, "Resent-")
    fields = header.fields[stretch.start : stretch.stop]
    name = f"{prefix}Message-ID"
    if named(fields, name.lower()):
        return draft
    author = author_of(fields, prefix)
    added = Field.of(name, f"<{unique}@{author.domain if author else default_domain}>")
    end = sum(len(field.raw) for field in header.fields[: stretch.stop])
    return b"".join([draft[:end], added.raw, draft[end:]])
