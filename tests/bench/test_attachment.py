"""Messages with an attachment, and the digest by which it is known again."""

from email import message_from_bytes, policy
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.attachment import ATTACHMENT_HEADER, Digest, attachment, draft, forwarded, original

SOME = attachment(1000)
MIME_HEADER = ATTACHMENT_HEADER.replace("\n", "\r\n").encode()
FORWARDED = forwarded(MIME_HEADER, SOME.body, 7)


def digest(*pieces: bytes) -> str:
    taken = Digest()
    for piece in pieces:
        taken.feed(piece)
    return str(taken)


@pytest.mark.parametrize("size", [0, 1, 57, 58, 16_384])
def test_attachment_is_found_in_the_original_and_in_what_is_forwarded(size: int) -> None:
    content = attachment(size)
    assert digest(original(content)) == content.digest
    assert digest(forwarded(MIME_HEADER, content.body, 1)) == content.digest


@given(st.lists(st.integers(0, len(FORWARDED))))
def test_digest_is_the_same_however_a_message_is_cut(cuts: list[int]) -> None:
    ends = [0, *sorted(cuts), len(FORWARDED)]
    assert digest(*(FORWARDED[start:end] for start, end in pairwise(ends))) == SOME.digest


def test_digest_of_something_else_is_another() -> None:
    at = FORWARDED.index(SOME.body)
    assert digest(FORWARDED[:at] + b"!" + FORWARDED[at + 1 :]) != SOME.digest


@pytest.mark.parametrize("cut", [b"", FORWARDED[:100], FORWARDED[: FORWARDED.index(SOME.body) + 500]])
def test_no_digest_of_a_message_cut_short(cut: bytes) -> None:
    assert digest(cut) == "no whole attachment"


def test_what_is_forwarded_is_a_multipart_with_the_attachment_second() -> None:
    message = message_from_bytes(FORWARDED, policy=policy.default)
    text, file = message.iter_parts()
    assert (text.get_content_type(), file.get_filename(), len(file.get_content())) == ("text/plain", "attachment", 1000)


def test_draft_has_a_reference_in_place_of_the_attachment_and_is_small() -> None:
    message = message_from_bytes(draft(20, 7), policy=policy.default)
    _, reference = message.iter_parts()
    assert reference.get_content_type() == "message/external-body"
    assert dict(reference["Content-Type"].params) == {"access-type": "URL", "url": "/INBOX/;UID=20/;SECTION=2"}
    assert len(draft(20, 7)) < 2048
