"""Header text as a terminal shows it, whatever its writer had in mind."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.sendmail.header_text import MAX_SHOWN, decoded, parameter, shown


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (None, ""),
        (b"", ""),
        (b"The plans", "The plans"),
        ("Pläne".encode(), "Pläne"),
        (b"Pl\xe4ne", "Pl\ufffdne"),
        (b"=?utf-8?q?Pl=C3=A4ne?=", "Pläne"),
        (b"=?ISO-8859-1?B?UGzkbmU=?= for Anna", "Pläne for Anna"),
        (b"Re: =?utf-8?q?a=C3?= =?utf-8?q?=A4?= b", "Re: aä b"),
        ("=?utf-8?q?=C3=A4?= ü 報".encode(), "ä ü 報"),
        (b"folded\r\n =?utf-8?q?=C3=A4?=", "folded ä"),
        # Encodings that are none
        (b"=?x-unknown?q?a=FF?=", "a\ufffd"),
        (b"=?zlib?q?abc?=", "abc"),
        (b"=?undefined?q?abc?=", "abc"),
        (b"=?idna?q?=FF?=", "\ufffd"),
        (b"=?a\0b?q?abc?=", "abc"),
        (b"=?utf-8?b?*?=", ""),
        (b"=?utf-8?b?A?=", "=?utf-8?b?A?="),
        (b"=?utf-8?q?", "=?utf-8?q?"),
    ],
)
def test_encoded_words_are_read(octets: bytes | None, want: str) -> None:
    assert decoded(octets) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a\tb\r\nc\u2028d", "a b  c d"),
        ("\x1b[2J\x07\x7f\x9b", "\ufffd[2J\ufffd\ufffd\ufffd"),
        ("gpj.\u202eexe", "gpj.\ufffdexe"),
        ("x" * MAX_SHOWN, "x" * MAX_SHOWN),
        ("x" * (MAX_SHOWN + 1), "x" * (MAX_SHOWN - 1) + "…"),
    ],
)
def test_what_is_shown_is_one_line_of_bounded_length(text: str, want: str) -> None:
    assert shown(text) == want


@pytest.mark.parametrize(
    ("parameters", "want"),
    [
        ({}, ""),
        ({b"name": b"plans.pdf"}, ""),
        ({b"filename": b"plans.pdf"}, "plans.pdf"),
        ({b"filename": "Pläne.pdf".encode()}, "Pläne.pdf"),
        ({b"filename": b"=?utf-8?q?Pl=C3=A4ne?=.pdf"}, "Pläne.pdf"),
        ({b"filename*": b"utf-8''Pl%C3%A4ne.pdf"}, "Pläne.pdf"),
        ({b"filename*": b"iso-8859-1'de'Pl%E4ne.pdf"}, "Pläne.pdf"),
        ({b"filename*": b"utf-8''it's.pdf", b"filename": b"its.pdf"}, "it's.pdf"),
        ({b"filename*0": b"Pl", b"filename*1": b"ans%41", b"filename*3": b"x"}, "Plans%41"),
        ({b"filename*1*": b"%A4ne", b"filename*0*": b"utf-8''Pl%C3", b"filename*2": b".p%df"}, "Pläne.p%df"),
        ({b"filename*%d" % number: b"x" for number in range(1000)}, "x" * (MAX_SHOWN - 1) + "…"),
        # What is no such thing
        ({b"filename*": b"plans%2Epdf"}, "plans.pdf"),
        ({b"filename*": b"''plans"}, "plans"),
        ({b"filename*": b"zlib''plans%ff"}, "plans\ufffd"),
        ({b"filename*": b"\xff''plans%0A%1b"}, "plans \ufffd"),
        ({b"filename*1": b"x", b"filename": b"plans"}, "plans"),
    ],
)
def test_a_parameter_is_put_together_and_decoded(parameters: dict[bytes, bytes], want: str) -> None:
    assert parameter(parameters, b"filename") == want


NAMES = st.sampled_from([b"a", b"a*", b"a*0", b"a*0*", b"a*1", b"a*1*", b"a*01"])


@given(st.dictionaries(NAMES, st.binary(max_size=300) | st.from_regex(rb"=\?[a-z0-9-]+\?[qb]\?[^?]*\?=")))
def test_whatever_others_write_is_one_line_of_printable_characters(parameters: dict[bytes, bytes]) -> None:
    for text in (parameter(parameters, b"a"), *map(decoded, parameters.values())):
        assert text.isprintable()
        assert len(text) <= MAX_SHOWN
