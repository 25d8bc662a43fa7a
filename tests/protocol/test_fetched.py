"""FETCH and LIST responses as imaplib hands them over: from servers as they are, and as they must not be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.protocol.fetched import (
    MAX_DEPTH,
    MAX_NUMBER,
    MAX_VALUES,
    Fetched,
    Listed,
    Piece,
    ResponseError,
    Value,
    fetched,
    listed,
    number,
)


@pytest.mark.parametrize(
    ("pieces", "want"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([None], [], id="imaplib, where no response came"),
        pytest.param([b"1 ()"], [Fetched(1, {})], id="no item"),
        pytest.param([b"2 (UID 20)"], [Fetched(2, {"UID": b"20"})], id="a number"),
        pytest.param(
            [
                (b"2 (UID 2 RFC822.SIZE 770 BODY[HEADER]<0> {30}", b"From: Fred <fred@example.com>\n"),
                b")",
            ],
            [Fetched(2, {"UID": b"2", "RFC822.SIZE": b"770", "BODY[HEADER]<0>": b"From: Fred <fred@example.com>\n"})],
            id="Dovecot: a literal",
        ),
        pytest.param(
            [(b"2 (UID 2 BODY[2.MIME]<0> {9}", b"Type: a\r\n"), (b" BODY[2]<0> {8}", b"AAECAwQF"), b")"],
            [Fetched(2, {"UID": b"2", "BODY[2.MIME]<0>": b"Type: a\r\n", "BODY[2]<0>": b"AAECAwQF"})],
            id="Dovecot: two literals",
        ),
        pytest.param(
            [(b"2 (UID 2 BODY[9] {0}", b""), b")"], [Fetched(2, {"UID": b"2", "BODY[9]": b""})], id="Dovecot: no part"
        ),
        pytest.param(
            [(b"2 (UID 2 BINARY.SIZE[2] 6 BINARY[2]<0> ~{3}", b"\0\1\2"), b")"],
            [Fetched(2, {"UID": b"2", "BINARY.SIZE[2]": b"6", "BINARY[2]<0>": b"\0\1\2"})],
            id="Dovecot: a literal8",
        ),
        pytest.param(
            [(b"2 (UID 2 BODY[HEADER.FIELDS (FROM SUBJECT)] {2}", b"\r\n"), b")"],
            [Fetched(2, {"UID": b"2", "BODY[HEADER.FIELDS (FROM SUBJECT)]": b"\r\n"})],
            id="Dovecot: a list in an item's name",
        ),
        pytest.param(
            [
                (b"2 (UID 2 BODY[HEADER]<0> {10}", b"From: Fred"),
                b")",
                b"1 (FLAGS (\\Flagged \\Seen $Forwarded))",
                b"2 (FLAGS ())",
            ],
            [
                Fetched(2, {"UID": b"2", "BODY[HEADER]<0>": b"From: Fred"}),
                Fetched(1, {"FLAGS": (b"\\Flagged", b"\\Seen", b"$Forwarded")}),
                Fetched(2, {"FLAGS": ()}),
            ],
            id="Dovecot: flags of other messages between",
        ),
        pytest.param(
            [
                (
                    b'2 (INTERNALDATE "24-Nov-2026 06:59:39 +0000" ENVELOPE ("Mon, 1 Jan 2024" {16}',
                    b'Hi (there) "you"',
                ),
                b' (("Fred" NIL "fred" "example.com")) NIL "<1@example.com>"))',
            ],
            [
                Fetched(
                    2,
                    {
                        "INTERNALDATE": b"24-Nov-2026 06:59:39 +0000",
                        "ENVELOPE": (
                            b"Mon, 1 Jan 2024",
                            b'Hi (there) "you"',
                            ((b"Fred", None, b"fred", b"example.com"),),
                            None,
                            b"<1@example.com>",
                        ),
                    },
                )
            ],
            id="Dovecot: a literal within a list",
        ),
        pytest.param(
            [b'3 (BODY[1]<0> "short" uid 7)'],
            [Fetched(3, {"BODY[1]<0>": b"short", "UID": b"7"})],
            id="a quoted string where others send a literal, a name in lower case",
        ),
        pytest.param(
            [b'3 (body[header.fields ("From")]<0> NIL BODY[TEXT] "NIL" UID nil)'],
            [Fetched(3, {'BODY[HEADER.FIELDS ("FROM")]<0>': None, "BODY[TEXT]": b"NIL", "UID": None})],
            id="NIL is none, in quotes it is a string",
        ),
        pytest.param(
            [b"4 (FLAGS (\\Seen [Gmail]/x* a]b% \xe4 \\*) MODSEQ (12))"],
            [Fetched(4, {"FLAGS": (b"\\Seen", b"[Gmail]/x*", b"a]b%", b"\xe4", b"\\*"), "MODSEQ": (b"12",)})],
            id="atoms as servers send them",
        ),
        pytest.param(
            [b'5 (X ("a \\"b\\" \\\\ c" "\\\\" "" "\xc3\xa4\t\x7f" "C:\\dir"))'],
            [Fetched(5, {"X": (b'a "b" \\ c', b"\\", b"", b"\xc3\xa4\t\x7f", b"C:dir")})],
            id="quoted strings",
        ),
        pytest.param(
            [b'6 ( X  (("a")( "b" ) (c)"d")Y(e) ) '],
            [Fetched(6, {"X": ((b"a",), (b"b",), (b"c",), b"d"), "Y": (b"e",)})],
            id="no spaces, and others, around parentheses",
        ),
        pytest.param([b"7 (UID 1 UID 2)"], [Fetched(7, {"UID": b"2"})], id="the later value of an item holds"),
        pytest.param(
            [b"8 (BODY[ (BODY[1) BODY[1]<0>x 1)"],
            [Fetched(8, {"BODY[": (b"BODY[1",), "BODY[1]<0>X": b"1"})],
            id="what is no section",
        ),
    ],
)
def test_fetch_responses(pieces: list[Piece], want: list[Fetched]) -> None:
    assert fetched(pieces) == want


NO_RESPONSES: list[list[Piece]] = [
    [b""],
    [b" "],
    [b"1"],
    [b"()"],
    [b"1 UID 20"],
    [b"1 (UID 20) x"],
    [b"(UID 20) 1"],
    [b"NIL (UID 20)"],
    [b"x (UID 20)"],
    [b"-1 (UID 20)"],
    [b"1 (UID)"],
    [b"1 (UID 20 FLAGS)"],
    [b"1 (NIL 20)"],
    [b"1 ((UID) 20)"],
    [b"1 (U\xcfD 20)"],
    [b'1 ("" 20)'],
    [b'1 ("U\tD" 20)'],
    [b"1 (UID 20"],
    [b"1 (UID (20)"],
    [b"1 (UID 20))"],
    [b"1 )UID 20("],
    [b"1 (UID\t20)"],
    [b"1 (UID \x0020)"],
    [b"1 (UID 20\r\n)"],
    [b'1 (X "a)'],
    [b'1 (X "a\\")'],
    [b'1 (X "a\\'],
    [b'1 (X "a\rb")'],
    [b'1 (X "a\nb")'],
    [b'1 (X "a\0b")'],
    [b'1 (X "a\\\0b")'],
    [b'1 (X a"b")'],
    [b'1 (X "a""b" Y)'],
    [b'1 (X "a"b Y)'],
    [b"1 (X {1})"],
    [b"1 (X {1}\r\n)"],
    [(b"1 (X {1}", b"a")],
    [(b"1 (X {1}", b"a"), None],
    [(b"1 (X {1}", b"ab"), b")"],
    [(b"1 (X {2}", b"a"), b")"],
    [(b"1 (X {1+}", b"a"), b")"],
    [(b"1 (X {}", b""), b")"],
    [(b"1 (X {%d}" % 10**20, b""), b")"],
    [(b"1 (X ", b"a"), b")"],
    [(b"1 (X a{1}", b"a"), b")"],
    [(b'1 (X "a{1}', b"a"), b'")'],
    [(b"1 (X {1}", b"a"), b"b Y)"],
    [(b"1 (X {1} Y {1}", b"a"), b")"],
    [(b"1 (X {1}\r\n Y", b"a"), b")"],
]


@pytest.mark.parametrize("pieces", NO_RESPONSES, ids=repr)
def test_what_is_no_fetch_response(pieces: list[Piece]) -> None:
    with pytest.raises(ResponseError) as error:
        fetched(pieces)
    assert str(error.value).isprintable()


def test_a_string_or_a_number_of_an_item() -> None:
    items: dict[str, Value] = {"UID": b"20", "X": b"x", "NONE": None, "LIST": (b"20",)}
    message = Fetched(1, items)
    assert message.octets("X") == b"x"
    assert message.octets("NONE") is None
    assert message.octets("ABSENT") is None
    assert message.number_of("UID") == 20
    assert message.number_of("NONE") is None
    assert message.number_of("ABSENT") is None
    with pytest.raises(ResponseError, match="list"):
        message.octets("LIST")
    with pytest.raises(ResponseError, match="list"):
        message.number_of("LIST")
    with pytest.raises(ResponseError, match="number"):
        message.number_of("X")


def test_numbers_are_bounded() -> None:
    assert number(b"0") == 0
    assert number(b"%d" % MAX_NUMBER) == MAX_NUMBER
    assert number(b"%020d" % 7) == 7
    for octets in (b"%d" % (MAX_NUMBER + 1), b"%021d" % 7, b"9" * 100_000, b"", b"-1", b"+1", b"1.0", b" 1", b"1\n"):
        with pytest.raises(ResponseError):
            number(octets)
    with pytest.raises(ResponseError):
        number("٣".encode())


def test_lists_are_bounded_in_depth() -> None:
    within = MAX_DEPTH - 1  # but for the list of items
    (message,) = fetched([b"1 (X " + b"(" * within + b")" * within + b")"])
    value, depth = message.items["X"], 0
    while isinstance(value, tuple):
        value, depth = (value[0] if value else None), depth + 1
    assert depth == within
    for end in (b")" * MAX_DEPTH + b")", b"x", b""):
        with pytest.raises(ResponseError, match="deep"):
            fetched([b"1 (X " + b"(" * MAX_DEPTH + end])


def test_values_of_a_response_are_bounded_in_number() -> None:
    most = MAX_VALUES - 4  # but for 1, X and the two lists
    (message,) = fetched([b"1 (X (" + b"a " * most + b"))"])
    assert message.items["X"] == (b"a",) * most
    with pytest.raises(ResponseError, match="many"):
        fetched([b"1 (X (" + b"a " * (most + 1) + b"))"])
    with pytest.raises(ResponseError, match="many"):
        fetched([b"1 (X (" + b"()" * (most + 1) + b"))"])


# As long as a line that imaplib reads. In quadratic time, one of these would take minutes.
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"(" * 1_000_000, id="parentheses"),
        pytest.param(b"(" * 10_000 + b")" * 10_000, id="parentheses that are closed"),
        pytest.param(b"()" * 500_000, id="lists"),
        pytest.param(b" " * 1_000_000, id="spaces"),
        pytest.param(b"a" * 1_000_000 + b'"', id="an atom that goes on"),
        pytest.param(b'"' + b"a" * 1_000_000, id="a string without end"),
        pytest.param(b'"' + b"\\" * 1_000_000, id="backslashes"),
        pytest.param(b'"' + b"\\a" * 500_000 + b'"a', id="a string that goes on"),
        pytest.param(b"BODY[ " * 160_000, id="sections without end"),
        pytest.param(b"BODY[" + b" BODY" * 160_000, id="one section without end"),
        pytest.param(b"BODY[" + b"]BODY[" * 160_000, id="sections in a row"),
        pytest.param(b"{" * 1_000_000, id="marks"),
        pytest.param(b"{0}\r\n" * 200_000, id="marks without literals"),
        pytest.param(b"9" * 1_000_000, id="digits"),
    ],
)
def test_hostile_text_is_refused_in_linear_time(text: bytes) -> None:
    responses: tuple[list[Piece], list[Piece]] = [b"1 (X " + text], [(text, b""), b")"]
    for pieces in responses:
        with pytest.raises(ResponseError):
            fetched(pieces)


@pytest.mark.parametrize(
    ("pieces", "want"),
    [
        ([None], []),
        ([b'(\\HasNoChildren) "." "q\\"uo\\\\te"'], [Listed(frozenset({"\\hasnochildren"}), b'q"uo\\te')]),
        (
            [b'(\\HasNoChildren \\Sent) "." Entw&APw-rfe', b'() "/" "a b"', b"() NIL INBOX"],
            [
                Listed(frozenset({"\\hasnochildren", "\\sent"}), b"Entw&APw-rfe"),
                Listed(frozenset(), b"a b"),
                Listed(frozenset(), b"INBOX"),
            ],
        ),
        ([(b'(\\Sent) "\\\\" {6}', b'Se"t\xe4\\'), b""], [Listed(frozenset({"\\sent"}), b'Se"t\xe4\\')]),
        (
            [(b'() "/" {1}', b"a"), b' (OLDNAME ("b"))', b'() "/" c'],
            [Listed(frozenset(), b"a"), Listed(frozenset(), b"c")],
        ),
        ([b'(\\Noselect) "." ""'], [Listed(frozenset({"\\noselect"}), b"")]),
        ([b'() "/" NIL', b'() "/" "nil"'], [Listed(frozenset(), b"NIL"), Listed(frozenset(), b"nil")]),
        ([b'() "/" [Gmail]/100%'], [Listed(frozenset(), b"[Gmail]/100%")]),
    ],
)
def test_list_responses(pieces: list[Piece], want: list[Listed]) -> None:
    assert listed(pieces) == want


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"()"],
        [b'() "/"'],
        [b'\\Sent "/" Sent'],
        [b'NIL "/" Sent'],
        [b'() ("/") Sent'],
        [b'() "/" (Sent)'],
        [b'(NIL) "/" Sent'],
        [b'((\\Sent)) "/" Sent'],
        [b'(\\S\xebnt) "/" Sent'],
        [b'() "/" "Sent'],
        [(b'() "/" {4}', b"Sent")],
    ],
)
def test_what_is_no_list_response(pieces: list[Piece]) -> None:
    with pytest.raises(ResponseError):
        listed(pieces)


# --- written, and read again -------------------------------------------------------------------------------------

# A value, and how it is written: texts with the literals that are between them.
Written = tuple[Value, list[bytes]]


def as_atom(octets: bytes) -> Written:
    return (None if octets.upper() == b"NIL" else octets), [octets]


def as_quoted(octets: bytes) -> Written:
    return octets, [b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"']


def as_literal(octets: bytes) -> Written:
    return octets, [b"{%d}" % len(octets), octets, b""]


def as_list(written: list[Written]) -> Written:
    return tuple(value for value, _ in written), joined([[b"("], *separated(written), [b")"]])


def separated(written: list[Written]) -> list[list[bytes]]:
    parts = [part for _, texts in written for part in ([b" "], texts)]
    return parts[1:]


def joined(parts: list[list[bytes]]) -> list[bytes]:
    """Join texts and literals in turn, the last text of each part with the first of the next."""
    texts = [b""]
    for first, *rest in parts:
        texts[-1] += first
        texts += rest
    return texts


def pieces_of(texts: list[bytes]) -> list[Piece]:
    return [*zip(texts[:-1:2], texts[1::2], strict=True), texts[-1]]


ATOM = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='(){"'), min_size=1)
QUOTED = st.text(st.characters(min_codepoint=1, max_codepoint=0xFF, exclude_characters="\r\n"))
STRING = st.one_of(
    ATOM.map(str.encode).map(as_atom),
    QUOTED.map(lambda text: text.encode("latin-1")).map(as_quoted),
    st.binary().map(as_literal),
)
VALUE = st.recursive(STRING, lambda value: st.lists(value, max_size=5).map(as_list), max_leaves=20)
NAME = st.sampled_from(["UID", "BODY[]<0>", "BODY[2.MIME]", "BODY[HEADER.FIELDS (TO CC)]<5>", "X-GM-LABELS"])
MESSAGE = st.tuples(st.integers(1, 2**32 - 1), st.dictionaries(NAME, VALUE))


@given(st.lists(MESSAGE, max_size=3))
def test_what_is_written_is_read_the_same(messages: list[tuple[int, dict[str, Written]]]) -> None:
    pieces: list[Piece] = []
    for sequence, items in messages:
        named = [written for name, item in items.items() for written in ((None, [name.encode()]), item)]
        _, texts = as_list(named)
        pieces += pieces_of(joined([[b"%d " % sequence], texts]))
    want = [Fetched(sequence, {name: value for name, (value, _) in items.items()}) for sequence, items in messages]
    assert fetched(pieces) == want


TEXT = st.lists(
    st.sampled_from(
        [b"(", b")", b" ", b'"', b"\\", b"{1}", b"~{0}", b"\r\n", b"1 (", b"NIL", b"BODY[", b"]<0>", b"\xff"]
    )
).map(b"".join)
PIECES = st.lists(st.one_of(TEXT, st.binary(), st.none(), st.tuples(TEXT, st.binary(max_size=1))))


@given(PIECES)
def test_whatever_comes_is_read_or_refused(pieces: list[Piece]) -> None:
    for read in (fetched, listed):
        try:
            read(pieces)
        except ResponseError:
            continue
