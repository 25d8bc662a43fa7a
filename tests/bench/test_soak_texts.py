"""Soak's texts: whoever has the numbers has the octets; and what arrives is known by them."""

import pytest

from bench.soak.texts import Arrival, Referred, Text, arrival, plain_draft, referring_draft, stored

TEXT, OTHER = Text(1, 1000), Text(2, 200)
JOE = "joe@example.com"
TRACE = b"Received: from x\r\n\tby y; Mon, 7 Feb 1994 21:52:25 -0800\r\n"


def test_a_text_is_the_same_each_time_and_another_one_is_another() -> None:
    assert Text(1, 1000).octets() == TEXT.octets() != Text(3, 1000).octets()
    assert TEXT.octets().count(b"\r\n") == TEXT.octets().count(b"\n") == 1000 // 57 + 1


def test_a_stored_message_holds_its_text() -> None:
    assert stored(TEXT).endswith(b"\r\n\r\n" + TEXT.octets())


def test_a_message_arrives_whole() -> None:
    draft = plain_draft("a-1", "a", JOE, TEXT)
    assert arrival(TRACE + draft) == Arrival("a-1", JOE, is_whole=True)


@pytest.mark.parametrize("damage", [b"", b"\r\n", b"x"])
def test_a_message_that_lacks_an_octet_or_has_another_is_damaged(damage: bytes) -> None:
    draft = plain_draft("a-1", "a", JOE, TEXT)
    assert arrival(draft[:-100] + damage + draft[-99:]) == Arrival("a-1", JOE, is_whole=False)


def test_a_reference_that_was_not_followed_is_damage() -> None:
    draft = referring_draft("a-1", "a", JOE, TEXT, Referred(7, OTHER))
    assert arrival(draft) == Arrival("a-1", JOE, is_whole=False)
    assert arrival(included(draft)) == Arrival("a-1", JOE, is_whole=True)


def test_a_composed_message_whose_end_is_cut_off_is_damaged() -> None:
    draft = included(referring_draft("a-1", "a", JOE, TEXT, Referred(7, OTHER)))
    assert arrival(draft.rpartition(b"\r\n--")[0]) == Arrival("a-1", JOE, is_whole=False)


@pytest.mark.parametrize(
    ("octets", "damage"),
    [
        (b"From: a@", b"From: mallory@"),
        (b"Subject: a-1\r\n", b""),
        (b"Subject", b"To: joe@example.com\r\nSubject"),
        (b"Subject", b"Cc: joe@example.com\r\nSubject"),
        (b"MIME-Version", b"Bcc: joe@example.com\r\nMIME-Version"),
        (TEXT.octets(), 2 * TEXT.octets()),
        (TEXT.octets(), TEXT.octets() + b"\0"),
    ],
)
def test_a_message_with_another_field_or_with_more_than_its_text_is_damaged(octets: bytes, damage: bytes) -> None:
    draft = plain_draft("a-1", "a", JOE, TEXT)
    assert arrival(draft.replace(octets, damage)) == Arrival("a-1", JOE, is_whole=False)


def test_an_arrival_is_told_with_what_is_wrong_with_it() -> None:
    assert Arrival("a-1", JOE, is_whole=True).as_event(JOE) == "a-1 whole"
    assert Arrival("a-1", JOE, is_whole=False).as_event(JOE) == "a-1 damaged"


@pytest.mark.parametrize("recipient", ["mooch@owatagu.siam.edu", ""])
def test_what_comes_to_somebody_to_whom_it_is_not_addressed_is_misdirected(recipient: str) -> None:
    assert Arrival("a-1", JOE, is_whole=True).as_event(recipient) == "a-1 misdirected"


def included(draft: bytes) -> bytes:
    """What the proxy makes of a draft that refers to OTHER."""
    reference = draft[draft.index(b"Content-Type: message/external-body") : draft.rindex(b"\r\n--=_a-1--")]
    return draft.replace(reference, b"Content-Type: text/plain\r\n\r\n" + OTHER.octets())


def test_what_is_none_of_ours() -> None:
    with pytest.raises(ValueError, match=r"no message of ours: b'Subject: x'"):
        arrival(b"Subject: x\r\n\r\nMessage-ID: <a-1@soak.example>\r\nX-Soak-Texts: 1:1\r\n")
