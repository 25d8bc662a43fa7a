"""Mailbox names on the wire, the examples of RFC 3501 (5.1.3) and RFC 5092 (9) among them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.mailbox_name import from_modified_utf7, modified_utf7

NAMES = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("&-+,/ ~"))


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("", ""),
        ("INBOX", "INBOX"),
        ('a "b" \\c ~%*(){', 'a "b" \\c ~%*(){'),
        ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("~peter/日本語/台北", "~peter/&ZeVnLIqe-/&U,BTFw-"),
        ("台北日本語", "&U,BTF2XlZyyKng-"),
        ("Jo & Co", "Jo &- Co"),
        ("&", "&-"),
        ("&&", "&-&-"),
        ("&-", "&--"),
        ("é&é", "&AOk-&-&AOk-"),
        ("Entwürfe", "Entw&APw-rfe"),
        ("Envoyés", "Envoy&AOk-s"),
        ("☺!", "&Jjo-!"),
        ("😀", "&2D3eAA-"),
        ("a\r\nb", "a&AA0ACg-b"),
        ("\0", "&AAA-"),
        ("\x7f", "&AH8-"),
    ],
)
def test_a_name_as_commands_take_it(name: str, want: str) -> None:
    assert modified_utf7(name) == want
    assert from_modified_utf7(want) == name


@given(NAMES)
def test_whatever_a_name_holds_its_form_is_printable_and_says_it(name: str) -> None:
    text = modified_utf7(name)
    assert re.fullmatch(r"[ -~]*", text)
    assert from_modified_utf7(text) == name


@pytest.mark.parametrize("name", ["\ud800", "a\udcffb", "\udc00\ud800"])
def test_a_lone_surrogate_is_no_character(name: str) -> None:
    with pytest.raises(ValueError, match="surrogates"):
        modified_utf7(name)


@pytest.mark.parametrize(
    "text",
    [
        "Jo & Co",  # not shifted back
        "&",
        "&AOk",
        "&AOk&AOk-",
        "&A/8-",  # "/" is "," here
        "&AOk=-",  # padded
        "é",  # not US-ASCII
        "a\r\nb",
        "a\0",
        "a\x7f",
        "&AGE-",  # printable US-ASCII, shifted
        "&ACY-",  # an "&", shifted
        "&AOkA-",  # half a character
        "&A-",
        "&AO-",
        "&AOl-",  # bits left over that are not zero
        "&U,BTFw-&ZeVnLIqe-",  # shifted back and forth between two characters
        "&2D0-",  # half a pair
        "&3gDYPQ-",  # a pair, reversed
    ],
)
def test_what_is_not_canonical_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not (canonical )?modified UTF-7$"):
        from_modified_utf7(text)


@given(st.text(st.sampled_from("&-A1+,e "), max_size=12) | st.text())
def test_two_texts_are_never_one_name(text: str) -> None:
    try:
        name = from_modified_utf7(text)
    except ValueError:
        return
    assert modified_utf7(name) == text


@pytest.mark.parametrize("text", ["&" * 300_000, "&-" * 150_000, "&" + "A" * 300_000, "é" * 300_000, "é&" * 150_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    assert len(modified_utf7(text)) <= 5 * len(text)
    try:
        assert len(from_modified_utf7(text)) <= len(text)
    except ValueError:
        return
