"""Search criteria: what a person types, and what the server then gets, which is never more than words."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.search import MAX_CRITERIA, criteria


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("FROM anna SINCE 1-Nov-2026", b"FROM anna SINCE 1-Nov-2026"),
        ("from anna@example.com", b"from anna@example.com"),
        ("  ALL  ", b"ALL"),
        ('SUBJECT "the plans"', b'SUBJECT "the plans"'),
        (r'SUBJECT "a \"b\" \\ c"', rb'SUBJECT "a \"b\" \\ c"'),
        ('SUBJECT ""', b'SUBJECT ""'),
        ('"anna"', b'"anna"'),
        ("HEADER X-Spam yes NOT SEEN LARGER 1000", b"HEADER X-Spam yes NOT SEEN LARGER 1000"),
        ("UID 20:* 1,2:3", b"UID 20:* 1,2:3"),
        ("KEYWORD $Forwarded", b"KEYWORD $Forwarded"),
        ("OR (FROM a TO b) (CC c)", b"OR (FROM a TO b) (CC c)"),
        ("OR( FROM a TO b )(CC c)", b"OR (FROM a TO b) (CC c)"),
        ("((ALL))", b"((ALL))"),
        # What is no atom becomes a string
        ("SUBJECT 100%", b'SUBJECT "100%"'),
        ("SUBJECT a*", b'SUBJECT "a*"'),
        ("SUBJECT {5}", b'SUBJECT "{5}"'),
        ("SUBJECT {5+}", b'SUBJECT "{5+}"'),
        (r"SUBJECT a\b", rb'SUBJECT "a\\b"'),
        ('SUBJECT "(" FROM ")"', b'SUBJECT "(" FROM ")"'),
    ],
)
def test_words_of_ascii_go_in_one_line(text: str, want: bytes) -> None:
    assert criteria(text) == (want,)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("FROM jörg", (b"CHARSET UTF-8 FROM {5}", "jörg".encode())),
        ('SUBJECT "für Anna" ALL', (b"CHARSET UTF-8 SUBJECT {9}", "für Anna ALL".encode())),
        (
            'OR (SUBJECT "ü (" FROM é) ALL',
            (b"CHARSET UTF-8 OR (SUBJECT {4}", "ü ( FROM {2}".encode(), "é) ALL".encode()),
        ),
        ("SUBJECT ü\u2028\u0301", (b"CHARSET UTF-8 SUBJECT {7}", "ü\u2028\u0301".encode())),
    ],
)
def test_other_words_are_literals_in_utf_8(text: str, want: tuple[bytes, ...]) -> None:
    assert criteria(text) == want


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "nothing to look for"),
        ("  ", "nothing to look for"),
        ("x" * (MAX_CRITERIA + 1), "longer than"),
        ("SUBJECT a\r\nB LOGOUT", "control character"),
        ("SUBJECT a\nb", "control character"),
        ('SUBJECT "a\tb"', "control character"),
        ("SUBJECT \x85", "control character"),
        ("SUBJECT \udce4", "not UTF-8"),
        ('SUBJECT "the plans', "left open"),
        ('SUBJECT "the plans\\"', "left open"),
        ('SUBJECT the"plans"', "where none belongs"),
        ('SUBJECT "the"plans', "where none belongs"),
        ("(ALL", "parentheses"),
        ("ALL)", "parentheses"),
        ("ALL) (ALL", "parentheses"),
        ("charset ISO-8859-1 ALL", "no CHARSET"),
        ("RETURN (COUNT) ALL", "no CHARSET or RETURN"),
    ],
)
def test_what_is_no_sequence_of_words_is_refused(text: str, reason: str) -> None:
    with pytest.raises(Failure, match=reason) as caught:
        criteria(text)
    assert caught.value.status == os.EX_USAGE
    assert str(caught.value).isprintable()


WORDS = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)


def quoted(word: str) -> str:
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(WORDS, min_size=1, max_size=10))
def test_the_server_reads_the_words_that_were_typed(words: list[str]) -> None:
    lines = criteria("SUBJECT " + " ".join(map(quoted, words)))
    assert read_by_server(lines) == ["SUBJECT", *words]


def read_by_server(lines: tuple[bytes, ...]) -> list[str]:
    """Read atoms, quoted strings and literals as RFC 9051 has them, character by character."""
    rest = b"\r\n".join(lines).removeprefix(b"CHARSET UTF-8 ")
    found = []
    while rest:
        if rest.startswith(b'"'):
            word, rest = read_quoted(rest[1:])
        elif rest.startswith(b"{"):
            size, _, after = rest[1:].partition(b"}\r\n")
            word, rest = after[: int(size)], after[int(size) :]
        else:
            word, space, rest = rest.partition(b" ")
            rest = space + rest
        assert rest[:1] in {b"", b" "}
        rest = rest[1:]
        found.append(word.decode())
    return found


def read_quoted(rest: bytes) -> tuple[bytes, bytes]:
    word = b""
    while not rest.startswith(b'"'):
        rest = rest[1:] if rest.startswith(b"\\") else rest
        word, rest = word + rest[:1], rest[1:]
    return word, rest[1:]


@given(st.text(max_size=60) | st.text('ab (){}"\\ü5+*', max_size=30))
def test_whatever_is_typed_each_line_is_one(text: str) -> None:
    try:
        first, *others = criteria(text)
    except Failure:
        return
    assert first.isascii()
    assert first.startswith(b"CHARSET UTF-8 ") == bool(others)
    assert all(octet >= 0x20 for line in (first, *others) for octet in line)
    # What announces a literal is ours, and stands where one follows (at the end of one, it is what was typed).
    assert all(re.search(rb"\{[0-9]+\}\Z", line) for line in (first, *others)[:-1])
    assert others or not re.search(rb"\{[0-9]+\+?\}\Z", first)
