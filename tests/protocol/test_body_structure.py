"""Sizes of parts by their numbers, in body structures as servers send them and as they must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.protocol.body_structure import LeafPart, NoSuchPart, is_message_part, leaf_parts, part_size
from imapproxy.protocol.fetched import Piece, ResponseError, Value, fetched

MULTIPART = None  # is there, and its size is not said

# --- Dovecot 2.3 -------------------------------------------------------------------------------------------------

TEXT = rb'("text" "plain" ("charset" "utf-8") NIL NIL "8bit" 7 1 NIL NIL NIL NIL)'

MIXED = (
    rb'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 5 0 NIL NIL NIL NIL)("application" "pdf" '
    rb'("name" "rep \"ort\" \\ x.pdf") "<c@x>" "A report (draft)" "base64" 8 "Q2hlY2sgSW50ZWdyaXR5IQ==" ("attachment" '
    rb"""("size" "12" "filename*" "utf-8''r%C3%A4port.pdf")) ("de" "en") "http://example.com/r")"""
    rb'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 1 0 NIL NIL NIL NIL)("text" "html" '
    rb'("charset" "us-ascii") NIL NIL "7bit" 8 0 NIL NIL NIL NIL) "alternative" ("boundary" "b") NIL NIL NIL) '
    rb'"mixed" ("boundary" "a") NIL NIL NIL)'
)

ENVELOPE = (
    rb'(NIL "Inner" ((NIL NIL "inner" "example.com")) ((NIL NIL "inner" "example.com")) '
    rb'((NIL NIL "inner" "example.com")) NIL NIL NIL NIL NIL)'
)
FORWARDED_MULTIPART = (
    rb'("message" "rfc822" NIL NIL NIL "7bit" 199 ' + ENVELOPE + rb' (("text" "plain" ("charset" "us-ascii") NIL NIL '
    rb'"7bit" 5 0 NIL NIL NIL NIL)("image" "png" NIL NIL NIL "base64" 4 NIL NIL NIL NIL) "mixed" ("boundary" "i") '
    rb'NIL NIL NIL) 14 NIL ("inline" NIL) NIL NIL)'
)
FORWARDED_TEXT = (
    rb'("message" "rfc822" NIL NIL NIL "7bit" 56 ' + ENVELOPE + rb' ("text" "plain" ("charset" "us-ascii") NIL NIL '
    rb'"7bit" 13 1 NIL NIL NIL NIL) 4 NIL NIL NIL NIL)'
)
SEE = rb'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0 NIL NIL NIL NIL)'
WITH_MULTIPART = b"(" + SEE + FORWARDED_MULTIPART + rb' "mixed" ("boundary" "a") NIL NIL NIL)'
WITH_TEXT = b"(" + SEE + FORWARDED_TEXT + rb' "mixed" ("boundary" "a") NIL NIL NIL)'
DIGEST = b"(" + FORWARDED_TEXT + FORWARDED_MULTIPART + rb' "digest" ("boundary" "d") NIL NIL NIL)'

SIGNED = (
    rb'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 6 0 NIL NIL NIL NIL)("application" "pgp-signature" '
    rb'("name" "signature.asc") NIL NIL "7bit" 29 NIL NIL NIL NIL) "signed" ("boundary" "s" "micalg" "pgp-sha256" '
    rb'"protocol" "application/pgp-signature") NIL NIL NIL)'
)

# --- by the grammar, as others write it --------------------------------------------------------------------------

CAPITALS = b"(" + SEE.upper() + FORWARDED_MULTIPART.upper() + rb' "MIXED")'
SPACED = b"( " + SEE + b"  " + FORWARDED_TEXT + rb'  "MIXED" )'
NOT_EXTENSIBLE = rb'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1)("IMAGE" "PNG" NIL NIL NIL "BASE64" 4) "MIXED")'
EXTENDED = (
    rb'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 5 1 NIL NIL NIL NIL 3 (4 ("x" (5)))) "MIXED" ("BOUNDARY" "a") NIL NIL NIL '
    rb'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" 6 1)) 7)'
)
GLOBAL = FORWARDED_TEXT.replace(b"rfc822", b"GLOBAL")
# A server that does not look into a message describes it as it does any other part.
OPAQUE = rb'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 199 NIL ("ATTACHMENT" ("FILENAME" "x.eml")) NIL NIL)'
DELIVERY_STATUS = rb'("message" "delivery-status" NIL NIL NIL "7bit" 30 (NIL) ("text" "plain") 4)'
NOT_SAID = rb'(("TEXT" "PLAIN" NIL NIL NIL "7BIT" NIL NIL) "MIXED")'


def structure(text: bytes) -> Value:
    (message,) = fetched([b"1 (BODYSTRUCTURE " + text + b")"])
    return message.items["BODYSTRUCTURE"]


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        pytest.param(TEXT, {"1": 7}, id="text"),
        pytest.param(MIXED, {"1": 5, "2": 8, "3": MULTIPART, "3.1": 1, "3.2": 8}, id="mixed"),
        pytest.param(WITH_MULTIPART, {"1": 3, "2": 199, "2.1": 5, "2.2": 4}, id="a multipart message within"),
        pytest.param(WITH_TEXT, {"1": 3, "2": 56, "2.1": 13}, id="a message within that is no multipart"),
        pytest.param(FORWARDED_MULTIPART, {"1": 199, "1.1": 5, "1.2": 4}, id="is a multipart message"),
        pytest.param(FORWARDED_TEXT, {"1": 56, "1.1": 13}, id="is a message that is no multipart"),
        pytest.param(DIGEST, {"1": 56, "1.1": 13, "2": 199, "2.1": 5, "2.2": 4}, id="digest"),
        pytest.param(SIGNED, {"1": 6, "2": 29}, id="signed"),
        pytest.param(CAPITALS, {"1": 3, "2": 199, "2.1": 5, "2.2": 4}, id="capitals"),
        pytest.param(SPACED, {"1": 3, "2": 56, "2.1": 13}, id="spaces"),
        pytest.param(NOT_EXTENSIBLE, {"1": 5, "2": 4}, id="no extension data"),
        pytest.param(EXTENDED, {"1": 5}, id="unknown extension data"),
        pytest.param(GLOBAL, {"1": 56, "1.1": 13}, id="message/global"),
        pytest.param(OPAQUE, {"1": 199}, id="message/rfc822, not looked into"),
        pytest.param(DELIVERY_STATUS, {"1": 30}, id="another message type"),
        pytest.param(NOT_SAID, {"1": None}, id="no size"),
    ],
)
def test_sizes_of_all_parts(text: bytes, sizes: dict[str, int | None]) -> None:
    body = structure(text)
    assert {section: part_size(body, section) for section in sizes} == sizes
    for section in absent_around(sizes):
        with pytest.raises(NoSuchPart):
            part_size(body, section)


def absent_around(sizes: dict[str, int | None]) -> set[str]:
    """Return the part numbers one place beside or below those that are there."""
    nearby = {"1", "2", *(f"{section}.1" for section in sizes), *map(next_to, sizes)}
    return nearby - sizes.keys()


def next_to(section: str) -> str:
    *above, last = section.split(".")
    return ".".join([*above, str(int(last) + 1)])


@pytest.mark.parametrize(
    ("pieces", "section", "want"),
    [
        (
            [
                (b'1 (UID 5 BODYSTRUCTURE (("TEXT" "PLAIN" ("NAME" {7}', b'a"b(\\ c'),
                (b") NIL {4}", b"(NIL"),
                b' "7BIT" 12 1 NIL NIL NIL)("IMAGE" "PNG" ("NAME" "a\\\\b\\"c") NIL NIL "BASE64" 34 NIL) "MIXED"))',
                b"2 (FLAGS (\\Seen))",
            ],
            "2",
            34,
        ),
        ([(b"1 (BODYSTRUCTURE ({4}", b"TEXT"), (b" {5}", b"PLAIN"), b' NIL NIL NIL "7BIT" 5 1))'], "1", 5),
    ],
)
def test_literals_in_a_body_structure(pieces: list[Piece], section: str, want: int) -> None:
    assert part_size(fetched(pieces)[0].items["BODYSTRUCTURE"], section) == want


@pytest.mark.parametrize(
    "section",
    [
        *("", "0", "01", "1.", ".1", "1..2", "1.0", "-1", "+1", " 1", "1\n", "1 2", "1.TEXT", "MIME", "٣"),
        *("4", "9999999999", "99999999999", "1" * 100_000, ".".join("1" * 100_000)),
    ],
    ids=lambda section: section[:20],
)
def test_what_names_no_part(section: str) -> None:
    with pytest.raises(NoSuchPart):
        part_size(structure(MIXED), section)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (b"NIL", "1"),
        (b"12", "1"),
        (b"()", "1"),
        (b"(NIL)", "1"),
        (b'("mixed" ("boundary" "a") NIL NIL NIL)', "1"),  # a multipart without parts
        (b'("text" "plain" NIL NIL NIL "7bit")', "1"),
        (b'("text" "plain" NIL NIL NIL "7bit" x)', "1"),
        (b'("text" "plain" NIL NIL NIL "7bit" -1)', "1"),
        (b'("text" "plain" NIL NIL NIL "7bit" 99999999999999999999)', "1"),
        (b'("text" "plain" NIL NIL NIL "7bit" (1))', "1"),
        (b'("text" NIL NIL NIL NIL "7bit" 1)', "1"),
        (b'(() "mixed")', "1"),
        (b'((() "mixed") "mixed")', "1.1"),
    ],
)
def test_what_is_no_body_structure(text: bytes, section: str) -> None:
    body = structure(text)
    with pytest.raises(ResponseError):
        part_size(body, section)


def test_a_message_within_of_no_structure() -> None:
    body = structure(FORWARDED_TEXT.replace(b'("text" "plain" ("charset" "us-ascii") ', b'NIL ("x" '))
    assert part_size(body, "1") == 56
    with pytest.raises(ResponseError):
        part_size(body, "1.1")


# --- written, and read again -------------------------------------------------------------------------------------

# A body, and the sizes of the parts below it by their numbers; the size of the body itself is under "".
Described = tuple[Value, dict[str, int | None]]

SIZES = st.integers(0, 2**63 - 1)
EXTENSION: st.SearchStrategy[tuple[Value, ...]] = st.sampled_from([(), (None,), (b"md5", (b"inline", None), None)])


def leaf(size: int, extension: tuple[Value, ...]) -> Described:
    return (b"image", b"png", None, None, None, b"base64", b"%d" % size, *extension), {"": size}


def multipart(parts: list[Described], extension: tuple[Value, ...]) -> Described:
    sizes = {numbered(at, below): size for at, (_, part) in enumerate(parts, 1) for below, size in part.items()}
    return (*(body for body, _ in parts), b"mixed", *extension), {"": MULTIPART, **sizes}


def message(inner: Described, size: int, extension: tuple[Value, ...]) -> Described:
    body, sizes = inner
    fields = (b"message", b"rfc822", None, None, None, b"7bit", b"%d" % size, (None,) * 10, body, b"3", *extension)
    return fields, {"": size, **of_message(sizes)}


def of_message(sizes: dict[str, int | None]) -> dict[str, int | None]:
    """Return the sizes of a message's parts by their numbers, from those below its body."""
    if sizes[""] is MULTIPART:
        return {section: size for section, size in sizes.items() if section}
    return {numbered(1, below): size for below, size in sizes.items()}


def numbered(position: int, below: str) -> str:
    return f"{position}.{below}" if below else str(position)


BODY = st.recursive(
    st.builds(leaf, SIZES, EXTENSION),
    lambda body: st.one_of(
        st.builds(multipart, st.lists(body, min_size=1, max_size=4), EXTENSION),
        st.builds(message, body, SIZES, EXTENSION),
    ),
    max_leaves=12,
)


@given(BODY)
def test_every_part_of_any_structure_is_found(described: Described) -> None:
    body, below = described
    sizes = of_message(below)
    assert {section: part_size(body, section) for section in sizes} == sizes
    for section in absent_around(sizes):
        with pytest.raises(NoSuchPart):
            part_size(body, section)


VALUE: st.SearchStrategy[Value] = st.recursive(
    st.sampled_from([None, b"", b"1", b"message", b"rfc822", b"x"]),
    lambda value: st.lists(value, max_size=10).map(tuple),
)
SECTION = st.one_of(st.text(), st.lists(st.integers(0, 3), max_size=5).map(lambda n: ".".join(map(str, n))))


@given(VALUE, SECTION)
def test_whatever_comes_is_a_size_or_refused(body: Value, section: str) -> None:
    try:
        size = part_size(body, section)
    except (NoSuchPart, ResponseError):
        return
    assert size is None or size >= 0


@pytest.mark.parametrize(
    ("body", "section", "want"),
    [
        (TEXT, "1", False),
        (MIXED, "2", False),
        (MIXED, "3", False),
        (WITH_TEXT, "1", False),
        (WITH_TEXT, "2", True),
        (WITH_TEXT, "2.1", False),
        (DIGEST, "2", True),
        (GLOBAL, "1", True),
        (OPAQUE, "1", True),
        (b'("application" "rfc822" NIL NIL NIL "7bit" 1)', "1", False),
    ],
)
def test_which_part_is_a_message(body: bytes, section: str, want: bool) -> None:
    assert is_message_part(structure(body), section) is want


def test_a_part_that_is_not_there_is_no_message() -> None:
    with pytest.raises(NoSuchPart):
        is_message_part(structure(TEXT), "2")


# --- all parts ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        pytest.param(TEXT, ["1"], id="text"),
        pytest.param(MIXED, ["1", "2", "3.1", "3.2"], id="mixed"),
        pytest.param(WITH_MULTIPART, ["1", "2", "2.1", "2.2"], id="a multipart message within"),
        pytest.param(WITH_TEXT, ["1", "2", "2.1"], id="a message within that is no multipart"),
        pytest.param(DIGEST, ["1", "1.1", "2", "2.1", "2.2"], id="digest"),
        pytest.param(EXTENDED, ["1"], id="unknown extension data"),
        pytest.param(OPAQUE, ["1"], id="message/rfc822, not looked into"),
    ],
)
def test_leaf_parts_are_all_but_multiparts_in_order(text: bytes, sections: list[str]) -> None:
    body = structure(text)
    leaves = list(leaf_parts(body))
    assert [leaf.section for leaf in leaves] == sections
    assert [leaf.size for leaf in leaves] == [part_size(body, section) for section in sections]


PDF = LeafPart(
    section="2",
    kind=b"application/pdf",
    size=8,
    parameters={b"name": b'rep "ort" \\ x.pdf'},
    disposition=b"attachment",
    disposition_parameters={b"size": b"12", b"filename*": b"utf-8''r%C3%A4port.pdf"},
)


def test_a_leaf_part_is_what_the_server_says_of_it() -> None:
    assert list(leaf_parts(structure(MIXED)))[1] == PDF


@given(BODY)
def test_every_leaf_part_of_any_structure_is_found_once(described: Described) -> None:
    body, below = described
    sizes = {section: size for section, size in of_message(below).items() if size is not MULTIPART}
    leaves = list(leaf_parts(body))
    assert len(leaves) == len(sizes)
    assert {leaf.section: leaf.size for leaf in leaves} == sizes
    assert {leaf.disposition for leaf in leaves} <= {b"", b"inline"}


def first_leaf(text: bytes) -> LeafPart:
    return next(leaf_parts(structure(text)))


@pytest.mark.parametrize(
    "text",
    [
        b'("TEXT" "PLAIN" NIL NIL NIL "7BIT" 1 1 NIL %b)',
        b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 1 "md5" %b ("de") "x" (1))',
        FORWARDED_TEXT.removesuffix(b"NIL NIL NIL NIL)") + b"NIL %b)",
        OPAQUE.replace(b'("ATTACHMENT" ("FILENAME" "x.eml"))', b"%b"),
        DELIVERY_STATUS.partition(b"(NIL)")[0] + b"NIL %b)",
    ],
    ids=["text", "image", "message", "message, not looked into", "another message type"],
)
@pytest.mark.parametrize(
    ("said", "disposition", "parameters"),
    [
        (b'("ATTACHMENT" ("FILENAME" "x" "Size" "1"))', b"attachment", {b"filename": b"x", b"size": b"1"}),
        (b'("inline" NIL)', b"inline", {}),
        (b'("inline" ("filename"))', b"inline", {}),
        (b'("inline" ("a" NIL ("b") "c" "filename" "x"))', b"inline", {b"filename": b"x"}),
        (b'("inline")', b"", {}),
        (b"NIL", b"", {}),
        (b'"inline"', b"", {}),
    ],
)
def test_a_disposition_stands_behind_what_its_type_has(
    text: bytes, said: bytes, disposition: bytes, parameters: dict[bytes, bytes]
) -> None:
    found = first_leaf(text % said)
    assert (found.disposition, found.disposition_parameters) == (disposition, parameters)


@pytest.mark.parametrize("text", [TEXT.partition(b" NIL NIL NIL NIL)")[0] + b")", SPACED, NOT_EXTENSIBLE])
def test_a_disposition_need_not_be_told(text: bytes) -> None:
    assert first_leaf(text).disposition == b""


@pytest.mark.parametrize(
    "text",
    [b"NIL", b"12", b"()", b"(NIL)", b'("text" "plain" NIL NIL NIL "7bit")', b'("text" "plain" NIL NIL NIL "7bit" x)'],
)
def test_a_structure_that_is_none_has_no_leaf_parts(text: bytes) -> None:
    with pytest.raises(ResponseError):
        list(leaf_parts(structure(text)))
