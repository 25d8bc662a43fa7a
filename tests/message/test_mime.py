import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import Field, read_draft_header
from imapproxy.message.mime import MAX_DEPTH, MAX_PARTS, Part, read_content_type, read_parts, transfer_encoding
from tests.message.samples import draft, mapped


def tree(text: str) -> Part:
    octets = draft(text)
    return read_parts(read_draft_header(octets), octets)


def outline(part: Part, text: str) -> object:
    """Return what kind each part is, and a leaf's body."""
    if part.parts:
        return (part.content_type.kind, *(outline(inner, text) for inner in part.parts))
    body = draft(text)[part.body : part.end].decode().replace("\r\n", "\n")
    return (part.content_type.kind, body) if part.is_readable else ("unreadable", body)


def multipart(*parts: str, boundary: str = "b", subtype: str = "mixed") -> str:
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"Content-Type: multipart/{subtype}; boundary={boundary}\n\n{body}--{boundary}--\n"


PLAIN = "text/plain"
HEAD = "Content-Type: multipart/x; boundary=b\n\n"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("A: b\n\nbody\n", (PLAIN, "body\n")),
        ("A: b\n", (PLAIN, "")),
        ("Content-Type: x\n\nbody\n", (PLAIN, "body\n")),
        (multipart("\na", "Content-Type: A/B\n\nb\n"), ("multipart/mixed", (PLAIN, "a"), ("a/b", "b\n"))),
        (multipart("", "\n", "A: b"), ("multipart/mixed", (PLAIN, ""), (PLAIN, ""), (PLAIN, ""))),
        (multipart("\n--bb\n --b\nx--b\n--b-\n--b --"), ("multipart/mixed", (PLAIN, "--bb\n --b\nx--b\n--b-\n--b --"))),
        (multipart("no header"), ("multipart/mixed", ("unreadable", "no header"))),
        (
            "Content-Type: multipart/x; boundary=b\n\npreamble\n--b \t\n\na\n--b--\t\nepilogue\n--b\n\nc\n",
            ("multipart/x", (PLAIN, "a")),
        ),
        (f"{HEAD}--b\n\na\n--b\n\nb\n", ("multipart/x", (PLAIN, "a"), (PLAIN, "b\n"))),
        ("Content-Type: multipart/x; boundary=b\n\n--b\n--b\n--b--\n", ("multipart/x", (PLAIN, ""), (PLAIN, ""))),
        ("Content-Type: multipart/x; boundary=b\n\n--b--\n--b\n\na\n", ("multipart/x", "--b--\n--b\n\na\n")),
        ("Content-Type: multipart/x; boundary=\"\"\n\n--\n\na\n----\n", ("multipart/x", "--\n\na\n----\n")),
        ("Content-Type: multipart/x\n\n--\n", ("multipart/x", "--\n")),
        ("Content-Type: multipart/x; boundary=b\n", ("multipart/x", "")),
        (
            multipart(multipart("\na", boundary="bb"), "\nb"),
            ("multipart/mixed", ("multipart/mixed", (PLAIN, "a")), (PLAIN, "b")),
        ),
        (
            multipart("Content-Type: multipart/x; boundary=i\n\n--i\n\nunclosed", "\nb"),
            ("multipart/mixed", ("multipart/x", (PLAIN, "unclosed")), (PLAIN, "b")),
        ),
        (
            multipart("Content-Type: message/rfc822\n\nA: b\n\nc"),
            ("multipart/mixed", ("message/rfc822", (PLAIN, "c"))),
        ),
        (
            multipart("\nA: b\n\nc", "Content-Type: text/x\n\nd", subtype="digest"),
            ("multipart/digest", ("message/rfc822", (PLAIN, "c")), ("text/x", "d")),
        ),
        (
            "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nQQ==\n",
            ("message/rfc822", "QQ==\n"),
        ),
        ("Content-Type: message/rfc822\n\nno header\n", ("message/rfc822", ("unreadable", "no header\n"))),
        ("Content-Type: multipart/x; boundary=\"b.*(\"\n\n--b.*(\n\na\n--b.*(--\n", ("multipart/x", (PLAIN, "a"))),
    ],
)  # fmt: skip
def test_trees(text: str, want: object) -> None:
    assert outline(tree(text), text) == want


def test_offsets_cover_each_part_with_its_header() -> None:
    text = multipart("A: b\n\nc", "\nd")
    octets = draft(text)
    parts = tree(text).parts
    assert [octets[part.start : part.end] for part in parts] == [b"A: b\r\n\r\nc", b"\r\nd"]
    assert [field.raw for field in parts[0].fields] == [b"A: b\r\n"]


def test_whole_messages_are_known() -> None:
    top = tree(multipart("Content-Type: message/rfc822\n\nA: b\n\nc", "\nd"))
    attached, plain = top.parts
    assert [part.is_whole for part in (top, attached, attached.parts[0], plain)] == [True, False, True, False]
    assert list(top.own_parts()) == [top, attached, plain]


def test_signed_is_known() -> None:
    assert tree(multipart("\na", subtype="Signed")).is_signed


def test_a_mapping_can_be_closed_after_its_tree_was_read() -> None:
    octets = draft(multipart("\na"))
    mapping = mapped(octets)
    part = read_parts(read_draft_header(mapping), mapping)
    mapping.close()
    assert part == read_parts(read_draft_header(octets), octets)


def test_depth_is_bounded() -> None:
    text = "\na"
    for depth in range(MAX_DEPTH - 1):
        text = multipart(text, boundary=f"b{depth}")
    assert tree(text).parts
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.0 too many parts"):
        tree(multipart(text, boundary="last"))


def test_attached_messages_count_as_depth() -> None:
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.0 too many parts"):
        tree("Content-Type: message/rfc822\n\n" * MAX_DEPTH)


def test_the_number_of_parts_is_bounded() -> None:
    assert len(tree(multipart(*["\na"] * (MAX_PARTS - 1))).parts) == MAX_PARTS - 1
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.0 too many parts"):
        tree(multipart(*["\na"] * MAX_PARTS))


@pytest.mark.parametrize(
    ("text", "kind", "parameters"),
    [
        ("Text/HTML; CharSet=UTF-8", "text/html", {"charset": "UTF-8"}),
        ('a/b;x="y; \\"z";\tq = r', "a/b", {"x": 'y; "z', "q": "r"}),
        ("a/b (c; x=1) ; y=2 (z)", "a/b", {"y": "2"}),
        ("a/b; x*=utf-8'en'%C3%A9%20; y*=z", "a/b", {"x": "é ", "y": "z"}),
        ("a/b; x*1=b; x*0*=us-ascii''%61; x*2*=%63", "a/b", {"x": "abc"}),
        ("a/b; x=1; x=2; *=3; y**=4", "a/b", {"x": "1"}),
        ("a/b; x*=%FF; y=", "a/b", {"x": "\udcff", "y": ""}),
        ("a; x=1", "d/e", {}),
        ("", "d/e", {}),
        ('a/b; x="y', "a/b", {"x": ""}),
    ],
)
def test_content_types(text: str, kind: str, parameters: dict[str, str]) -> None:
    found = read_content_type(text, "d/e")
    assert (found.kind, dict(found.parameters)) == (kind, parameters)


@pytest.mark.parametrize(
    ("text", "want"), [(None, "7bit"), ("BASE64", "base64"), (" (x) 8bit (y)", "8bit"), ("", ""), ("é", "")]
)
def test_transfer_encodings(text: str | None, want: str) -> None:
    fields = [] if text is None else [Field.of("content-transfer-encoding", text)]
    assert transfer_encoding(fields) == want


@pytest.mark.parametrize(
    "text", ['a/b;x="\\' * 50_000, "a/b;" + " " * 200_000, "a/b" + ";x" * 100_000, 'a/b;="' * 50_000]
)
def test_hostile_content_types_take_linear_time(text: str) -> None:
    assert read_content_type(text, "d/e").kind == "a/b"
