import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imapproxy.message.address import Address, parse_address_list
from imapproxy.message.display_name import readdressed

FRED = Address("fred", "example.com")


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Joe Doe <joe@elsewhere.example>", "Joe Doe <fred@example.com>"),
        ('"Doe, Joe" <joe@elsewhere.example>', '"Doe, Joe" <fred@example.com>'),
        ('Joe "the (best)" Doe <joe@elsewhere.example>', 'Joe "the (best)" Doe <fred@example.com>'),
        ("=?utf-8?q?J=C3=B6?= Doe <joe@elsewhere.example>", "=?utf-8?q?J=C3=B6?= Doe <fred@example.com>"),
        ("J\u00f6 Doe <joe@elsewhere.example>", "J\u00f6 Doe <fred@example.com>"),
        ("J\udcf6 Doe <joe@elsewhere.example>", "J\udcf6 Doe <fred@example.com>"),
        ("Joe (at work) Doe <joe@elsewhere.example> (now)", "Joe (at work) Doe <fred@example.com>"),
        ("joe@elsewhere.example (Joe Doe)", "fred@example.com (Joe Doe)"),
        ("joe@elsewhere.example (=?utf-8?q?J=C3=B6?=) (x)", "fred@example.com (=?utf-8?q?J=C3=B6?=)"),
        ("Joe <joe@elsewhere.example>, Ann <ann@elsewhere.example>", "Joe <fred@example.com>"),
        ("joe@elsewhere.example", "fred@example.com"),
        ("<joe@elsewhere.example>", "fred@example.com"),
        ("joe@elsewhere.example, Ann <ann@elsewhere.example> (x)", "fred@example.com"),
        ("Nobody:; (x)", "fred@example.com"),
    ],
)
def test_the_name_of_an_address_that_can_be_read_is_kept(text: str, want: str) -> None:
    assert readdressed(text, FRED) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Fred Foobar", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <>", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <fred>", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <fred@>", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <fred@bad..example>", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <fred@example.com", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar <fred\\@example.com>", "Fred Foobar <fred@example.com>"),
        ('Fred Foobar <"fred@example.com>', "Fred Foobar <fred@example.com>"),
        ("Fred Foobar fred@example.com", "Fred Foobar <fred@example.com>"),
        ("Fred Foobar [fred@example.com]", "Fred Foobar <fred@example.com>"),
        ("Fred J. Foobar <", "Fred J. Foobar <fred@example.com>"),
        ('"Fred Foobar"', '"Fred Foobar" <fred@example.com>'),
        ('"Foobar, Fred" <>', '"Foobar, Fred" <fred@example.com>'),
        ('"Fred <x> Foobar" <>', '"Fred <x> Foobar" <fred@example.com>'),
        ('"Fred \\"F\\" Foobar" <fred>', '"Fred \\"F\\" Foobar" <fred@example.com>'),
        ("=?utf-8?q?Fr=C3=A9d?=", "=?utf-8?q?Fr=C3=A9d?= <fred@example.com>"),
        ("=?utf-8?q?Fr=C3=A9d?= =?utf-8?q?Foobar?= <>", "=?utf-8?q?Fr=C3=A9d?= =?utf-8?q?Foobar?= <fred@example.com>"),
        ("Fr\u00e9d Foobar", "Fr\u00e9d Foobar <fred@example.com>"),
        ("Fr\udce9d Foobar <>", "Fr\udce9d Foobar <fred@example.com>"),
        ("Fred (the boss) Foobar <> (x)", "Fred (the boss) Foobar <fred@example.com>"),
        ("(the boss) Fred Foobar (x <y>) <>", "Fred Foobar <fred@example.com>"),
        ("(Fred (the boss) Foobar) <>", "fred@example.com (Fred (the boss) Foobar)"),
        ("fred (Fred Foobar)", "fred@example.com (Fred Foobar)"),
        ("fred@bad..example (Fred Foobar)", "fred@example.com (Fred Foobar)"),
        ("Fred Foobar <>, Ann <ann@example.com>", "Fred Foobar <fred@example.com>"),
    ],
)
def test_where_an_address_cannot_be_read_the_name_is_kept(text: str, want: str) -> None:
    assert readdressed(text, FRED) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Foobar, Fred <fred@example.com>", '"Foobar, Fred" <fred@example.com>'),
        ("Fred [work] <fred@example.com>", '"Fred [work]" <fred@example.com>'),
        ("Fred: work <fred@example.com>", '"Fred: work" <fred@example.com>'),
        ('Fred "F" Foobar, Esq. <>', '"Fred \\"F\\" Foobar, Esq." <fred@example.com>'),
        ('"Fred Foobar <fred@example.com>', '"Fred Foobar" <fred@example.com>'),
        ("Fred (the boss <fred@example.com>", '"Fred (the boss" <fred@example.com>'),
        ("Fred\\Foobar <>", '"Fred\\\\Foobar" <fred@example.com>'),
        ("Fred\x01\x1b[1m \x7f Foobar <>", '"Fred [1m Foobar" <fred@example.com>'),
        ("ann@example.com, Fred Foobar, Esq. <>", '"Fred Foobar, Esq." <fred@example.com>'),
        ("ann@example.com Fred @ work <>", "Fred  work <fred@example.com>"),
    ],
)
def test_a_name_that_is_no_phrase_is_quoted(text: str, want: str) -> None:
    assert readdressed(text, FRED) == want


@pytest.mark.parametrize(
    "text", ["", " ", "fred", "joe.doe", "<>", "<joe>", "@", "joe@", "@example.com", '"', '""', "\x01", ",;:", "<<>>"]
)
def test_where_there_is_no_name_the_address_stands_alone(text: str) -> None:
    assert readdressed(text, FRED) == "fred@example.com"


PIECES = st.lists(
    st.sampled_from(["Fred", "Foobar", " ", "\t", '"', '""', '"a b"', "\\", "(", ")", "(c)", "<", ">", "@", ","])
    | st.sampled_from(
        [";", ":", ".", "[", "]", "=?utf-8?q?x?=", "\u00e9", "\udce9", "\x01", "\x7f", "fred@example.com"]
    )
    | st.text(max_size=2),
    max_size=10,
).map("".join)


@given(st.text() | PIECES)
@example("(")
@example('"\\')
def test_whatever_the_text_it_names_the_user_alone(text: str) -> None:
    written = readdressed(text, FRED)
    assert [mailbox.address for mailbox in parse_address_list(written).mailboxes] == [FRED]
    assert not re.search(r"[\0-\x08\x0a-\x1f\x7f]", written)
    assert readdressed(written, FRED) == written


@pytest.mark.parametrize("piece", ["(", ")", '"', '\\"', "\\", "<", "@", " @", "a@", "a ", ",", "=?", ".", "[", "\x01"])
def test_hostile_text_takes_linear_time(piece: str) -> None:
    for start in ("", "a ", '"', "(", "<"):
        readdressed(start + piece * (100_000 // len(piece)), FRED)
