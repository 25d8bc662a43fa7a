from email.headerregistry import AddressHeader, HeaderRegistry
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.address import (
    Address,
    AddressError,
    address_of,
    parse_address,
    parse_address_list,
)

ATEXT = "abcXYZ019!#$%&'*+-/=?^_`{|}~"


def listed(text: str, default_domain: str | None = "example.com") -> list[str]:
    return [mailbox.address.smtp for mailbox in parse_address_list(text, default_domain).mailboxes]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        (" , ,", []),
        ("a@b", ["a@b"]),
        ("mooch", ["mooch@example.com"]),
        ("Joe <mooch>", ["mooch@example.com"]),
        ("mooch@owatagu.siam.edu,badUser@example.com,\t unknownUser@example.com",
         ["mooch@owatagu.siam.edu", "badUser@example.com", "unknownUser@example.com"]),
        ('"a,b"@example.com, <"c d"@e>', ['"a,b"@example.com', '"c d"@e']),
        ('"fred"@example.com', ["fred@example.com"]),
        ('"a\\"\\\\\\b"@c', ['"a\\"\\\\b"@c']),
        ('"a".b."c d"@e', ['"a.b.c d"@e']),
        ('"a..b"@c, ""@d', ['"a..b"@c', '""@d']),
        ("Friends: a@b, C <c@d>;, e@f", ["a@b", "c@d", "e@f"]),
        ("undisclosed-recipients:;", []),
        ("A:a@b,;,B:;", ["a@b"]),
        ("John Q. Public <@x,,@y.z:john@b>, <,@x:j@c>", ["john@b", "j@c"]),
        ("a (c (d) \\) e) . b @ (x) c (y) . d", ["a.b@c.d"]),
        ("a@[192.0.2.1], a@[ IPv6:2001:db8::1 ]", ["a@[192.0.2.1]", "a@[IPv6:2001:db8::1]"]),
        ("josé@EXÄMPLE.de", ["josé@xn--exmple-cua.de"]),
        ("=?utf-8?q?J=C3=A9?= <a@B.c>", ["a@B.c"]),
        ("Jos\udce9 <a@b>", ["a@b"]),
        ("a@exa_mple.com", ["a@exa_mple.com"]),
    ],
)  # fmt: skip
def test_address_lists(text: str, want: list[str]) -> None:
    assert listed(text) == want


@pytest.mark.parametrize(
    "text",
    [
        "Fred Foobar", "a@", "@b", "a@b c@d", "a@b@c", "<a@b", "a@b>", "<>", "<a@b> x", "a@b;", ":;", ":a@b;",
        "A:a@b", "A:B:a@b;;", "A:a@b; c@d", "A:<a@b>:;", "a..b@c", ".a@b", "a.@b", "a@b..c", "a@.b", "a@b.", "a b@c",
        '"a"b@c', 'a@"b"', "a@b!c", "a@-b", "a@b-", "a@[]", "a@[1", "a@[a<b]", "a@b\\c", '"a<b"@c', '"a>b"@c',
        '"a\tb"@c', '"a\u200bb"@c', "a\u2028b@c", "jos\udce9@b", "a@\udce9.b", "a@ex\uff20mple.com", "a@\u200b",
        "a@xn--é",
        "(", '"', "\r", "\n", "\0", "a@b, (", "<@x a@b>", "<@x", f"{'a' * 65}@b", f"{'é' * 33}@b", f"a@{'b.' * 128}c",
        f"a@{'é.' * 60}c", f"a@{'b' * 64}", "<a@b>:c@d;", "a@b,c:d",
    ],
)  # fmt: skip
def test_what_is_no_address_list(text: str) -> None:
    with pytest.raises(AddressError):
        listed(text)


@pytest.mark.parametrize("text", ["mooch", "Joe <mooch>", "a@b, mooch"])
def test_a_bare_name_needs_a_default_domain(text: str) -> None:
    with pytest.raises(AddressError):
        listed(text, None)


def test_bare_names_stand_where_they_were_written() -> None:
    text = 'a@b, fred . b (x), G: "c d", <@e:f>;'
    addresses = parse_address_list(text, "example.com")
    assert [(text[at.start : at.end], at.meaning) for at in addresses.bare_names] == [
        ("fred . b", "fred.b"),
        ('"c d"', "c d"),
        ("f", "f"),
    ]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('"Q, \\"J" (x) .  Public (y) <a@b> (z), G (g): c@d (h);', ['Q, "J (x) .  Public', "G"]),
        ("a@b", []),
    ],
)
def test_phrases_and_comments_do_not_overlap(text: str, want: list[str]) -> None:
    addresses = parse_address_list(text)
    assert [phrase.meaning for phrase in addresses.phrases] == want
    spans = sorted((at.start, at.end) for at in (*addresses.phrases, *addresses.domains, *addresses.comments))
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def test_domains_and_comments_stand_where_they_were_written() -> None:
    text = "(a) b@ö (c) . d (e), <@ü:f@g>"
    addresses = parse_address_list(text)
    assert [(text[at.start : at.end], at.meaning) for at in addresses.domains] == [
        ("ö (c) . d", "xn--nda.d"),
        ("ü", "xn--tda"),
        ("g", "g"),
    ]
    assert [at.meaning for at in addresses.comments] == ["a", "e"]


def test_display_names_are_as_written() -> None:
    addresses = parse_address_list('"F, B"  (x) Foo <a@b>, c@d')
    assert [mailbox.display_name for mailbox in addresses.mailboxes] == ['"F, B"  (x) Foo', ""]


@pytest.mark.parametrize(
    ("address", "printable", "needs_smtputf8", "key"),
    [
        (Address("Fred", "Example.com"), "Fred@Example.com", False, "fred@example.com"),
        (address_of("é\U0001f600", "ö"), "\\x{E9}\\x{1F600}@xn--nda", True, "é\U0001f600@xn--nda"),
        (address_of("a,b", "c"), '"a,b"@c', False, '"a,b"@c'),
        (address_of("Straße", "c"), "Stra\\x{DF}e@c", True, "straße@c"),
    ],
)
def test_an_address_in_its_forms(address: Address, printable: str, needs_smtputf8: bool, key: str) -> None:
    assert (address.printable, address.needs_smtputf8, address.key) == (printable, needs_smtputf8, key)


@pytest.mark.parametrize("text", ["", "a@b, c@d", "a:;"])
def test_one_address_is_one(text: str) -> None:
    assert parse_address("A <a@b>", "c") == Address("a", "b")
    with pytest.raises(AddressError):
        parse_address(text, "c")
    with pytest.raises(AddressError):
        parse_address("a")


@pytest.mark.parametrize(
    "text",
    ["(" * 100_000, "a@b," * 20_000, "<" * 100_000, '"' * 99_999, "a:" * 100_000, "a." * 100_000, "@a," * 100_000,
     "<" + "@a," * 50_000 + "@b", "(a) " * 50_000 + "b <c@d>", '"a\\' * 100_000],
)  # fmt: skip
def test_hostile_lists_take_linear_time(text: str) -> None:
    try:
        listed(text)
    except AddressError:
        return
    assert text[0] in "a("


ATOMS = st.text(ATEXT, min_size=1, max_size=8)
LABELS = st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
LOCALS = st.one_of(
    st.lists(ATOMS, min_size=1, max_size=3).map(".".join),
    st.text(ATEXT + " ,.;:()[]@", min_size=1, max_size=12).map(lambda text: f'"{text}"'),
)
SPECS = st.tuples(LOCALS, DOMAINS).map("@".join)
NAMES = st.one_of(
    st.just(""),
    ATOMS.filter(lambda atom: "=?" not in atom),
    st.text("ab ,.;@<>", max_size=9).map(lambda text: f'"{text}"'),
)
MAILBOXES = st.one_of(SPECS, st.tuples(NAMES, SPECS).map(lambda pair: f"{pair[0]} <{pair[1]}>"))
GROUPS = st.lists(MAILBOXES, max_size=3).map(lambda members: f"grp: {', '.join(members)};")
LISTS = st.lists(st.one_of(MAILBOXES, GROUPS), min_size=1, max_size=4).map(", ".join)


@given(LISTS)
def test_the_standard_library_reads_the_same(text: str) -> None:
    header = HeaderRegistry()("To", text)
    assert isinstance(header, AddressHeader)
    assert [(a.username, a.domain) for a in header.addresses] == [
        (
            mailbox.address.local.strip('"') if mailbox.address.local[0] == '"' else mailbox.address.local,
            mailbox.address.domain,
        )
        for mailbox in parse_address_list(text).mailboxes
    ]


@given(st.text('ab"\\()<>@,;:.[] \té\udce9\u3002\r\n-', max_size=30))
def test_nothing_but_its_own_error_and_nothing_that_breaks_a_command_line(text: str) -> None:
    try:
        addresses = parse_address_list(text, "example.com")
    except AddressError:
        return
    for mailbox in addresses.mailboxes:
        smtp = mailbox.address.smtp
        assert smtp.isprintable()
        assert not set("<>\r\n\0") & set(smtp)
        assert mailbox.address.printable.isascii()
        assert parse_address(smtp, "example.com") == mailbox.address
