"""What ``--find`` prints of what a server says, as a person picks from it and as ``cut -f1`` reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.message.imap_url import MAX_SECTION_DEPTH, UrlError, parse_imap_url
from imapproxy.protocol.fetched import Fetched, ResponseError, Value, fetched
from imapproxy.sendmail.candidates import lines
from tests.protocol.test_body_structure import DIGEST, MIXED, SIGNED, TEXT, WITH_MULTIPART

ENVELOPE = (
    b'("7 Feb 1994 21:52:25 -0800" "The plans" (("Anna" NIL "anna" "example.com")) NIL NIL NIL NIL NIL NIL "<1@x>")'
)
MESSAGE = b'UID 20 RFC822.SIZE 1258291 INTERNALDATE " 1-Nov-2026 10:00:59 +0100"'
FIRST = "/INBOX;UIDVALIDITY=1/;UID=20\t1.2M\t2026-11-01 10:00\tAnna <anna@example.com>\tThe plans"


def described(
    structure: bytes = TEXT, envelope: bytes = ENVELOPE, message: bytes = MESSAGE, mailbox: str = "INBOX"
) -> list[str]:
    """Return the lines of a message that a server describes so."""
    answer = b"1 (%b ENVELOPE %b BODYSTRUCTURE %b)" % (message, envelope, structure)
    return list(lines(mailbox, 1, fetched([answer])))


def parts(structure: bytes) -> list[str]:
    """Return the lines of its parts, section first."""
    first, *others = described(structure)
    assert first == FIRST
    return [line.removeprefix("/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=") for line in others]


# --- messages -----------------------------------------------------------------------------------------------------


def test_a_message_is_its_url_its_size_its_date_and_whose_it_is_and_of_what() -> None:
    assert described() == [FIRST]


def test_the_newest_comes_first_and_what_is_told_piecemeal_is_put_together() -> None:
    pieces: list[bytes | tuple[bytes, bytes] | None] = [
        b"1 (UID 20 RFC822.SIZE 5 ENVELOPE %b)" % ENVELOPE,
        b"2 (UID 100 RFC822.SIZE 7 ENVELOPE %b BODYSTRUCTURE %b)" % (ENVELOPE, TEXT),
        b"3 (UID 101 FLAGS (\\Seen))",
        b"4 (FLAGS (\\Seen))",
        b"1 (UID 20 BODYSTRUCTURE %b)" % TEXT,
    ]
    found = [line.split("\t")[:2] for line in lines("INBOX", None, fetched(pieces))]
    assert found == [["/INBOX/;UID=100", "7"], ["/INBOX/;UID=20", "5"]]


def test_no_messages_no_lines() -> None:
    assert list(lines("INBOX", 1, fetched([None]))) == []


@pytest.mark.parametrize(
    ("mailbox", "want"), [("Entwürfe/a b", "/Entw%C3%BCrfe/a%20b"), ("a;UID=3/\tb", None), ("R&D", "/R&D")]
)
def test_any_mailbox_that_a_url_can_name(mailbox: str, want: str | None) -> None:
    if want is None:
        with pytest.raises(UrlError):
            described(mailbox=mailbox)
        return
    assert described(mailbox=mailbox)[0].startswith(f"{want};UIDVALIDITY=1/;UID=20\t")


@pytest.mark.parametrize(
    ("envelope", "sender", "subject"),
    [
        (b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)", "", ""),
        (b'(NIL "x" () NIL NIL NIL NIL NIL NIL NIL)', "", "x"),
        (b'(NIL "x" ((NIL NIL "anna" "example.com")(NIL NIL "b" "c")))', "anna@example.com", "x"),
        (b'(NIL "=?utf-8?q?f=C3=BCr?=" (("=?utf-8?q?J=C3=B6?=" NIL "j" "x")))', "Jö <j@x>", "für"),
        (b'(NIL "a\tb" (("A\x1b[2J" NIL "j\tk" "x")))', "A\ufffd[2J <j k@x>", "a b"),
        (b'(NIL "x" ((NIL NIL "friends" NIL)(NIL NIL "b" "c")(NIL NIL NIL NIL)))', "friends@", "x"),
    ],
)
def test_who_and_what_is_decoded_and_harmless(envelope: bytes, sender: str, subject: str) -> None:
    assert described(envelope=envelope)[0].split("\t")[3:] == [sender, subject]


@pytest.mark.parametrize(
    ("said", "want"),
    [
        (b'INTERNALDATE "24-Nov-2026 23:59:00 +0000"', "2026-11-24 23:59"),
        (b'INTERNALDATE "04-Jan-0001 23:59:00 -1200"', "0001-01-04 23:59"),
        (b'INTERNALDATE "24-Foo-2026 23:59:00 +0000"', ""),
        (b'INTERNALDATE "yesterday"', ""),
        (b"INTERNALDATE NIL", ""),
        (b"INTERNALDATE (1 2)", ""),
        (b"FLAGS ()", ""),
    ],
)
def test_a_date_as_the_server_has_it(said: bytes, want: str) -> None:
    assert described(message=b"UID 20 " + said)[0].split("\t")[2] == want


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        *((b"0", "0"), (b"1023", "1023"), (b"1024", "1.0K"), (b"1025", "1.1K"), (b"10240", "10K"), (b"10241", "11K")),
        *(
            (b"1047552", "1023K"),
            (b"1048575", "1024K"),
            (b"1048576", "1.0M"),
            (b"20971520", "20M"),
            (b"5368709120", "5.0G"),
        ),
        *((b"9223372036854775807", "8.0E"), (b"NIL", "")),
    ],
)
def test_a_size_as_a_person_reads_it(octets: bytes, want: str) -> None:
    assert described(message=b"UID 20 RFC822.SIZE " + octets)[0].split("\t")[1] == want


# --- parts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("structure", "want"),
    [
        pytest.param(TEXT, [], id="text alone"),
        pytest.param(MIXED, ["2\t8\tapplication/pdf\träport.pdf"], id="an attachment"),
        pytest.param(
            WITH_MULTIPART, ["2\t199\tmessage/rfc822\t", "2.2\t4\timage/png\t"], id="a message and what is in it"
        ),
        pytest.param(
            DIGEST, ["1\t56\tmessage/rfc822\t", "2\t199\tmessage/rfc822\t", "2.2\t4\timage/png\t"], id="a digest"
        ),
        pytest.param(SIGNED, ["2\t29\tapplication/pgp-signature\tsignature.asc"], id="a name in the type"),
        pytest.param(b'("APPLICATION" "PDF" NIL NIL NIL "BASE64" 8)', ["1\t8\tapplication/pdf\t"], id="no multipart"),
        pytest.param(
            b'("text" "plain" NIL NIL NIL "7bit" 8 1 NIL ("attachment" NIL))',
            ["1\t8\ttext/plain\t"],
            id="text attached",
        ),
        pytest.param(
            b'("text" "plain" ("name" "a\tb") NIL NIL "7bit" 8 1)', ["1\t8\ttext/plain\ta b"], id="text with a name"
        ),
        pytest.param(
            b'("text" "plain" NIL NIL NIL "7bit" 8 1 NIL ("inline" ("filename" "a.txt")))',
            ["1\t8\ttext/plain\ta.txt"],
            id="text shown, with a name",
        ),
        pytest.param(
            b'("text" "calendar" NIL NIL NIL "7bit" NIL 1)', ["1\t\ttext/calendar\t"], id="other text, no size"
        ),
        pytest.param(b'("x\x07" "\ty" NIL NIL NIL "7bit" 1)', ["1\t1\tx\ufffd/ y\t"], id="a type that is none"),
    ],
)
def test_parts_that_can_be_picked(structure: bytes, want: list[str]) -> None:
    assert parts(structure) == want


def test_what_lies_too_deep_for_a_url_is_left_out() -> None:
    structure = b'("IMAGE" "PNG" NIL NIL NIL "BASE64" 4)'
    for _ in range(MAX_SECTION_DEPTH + 1):
        structure = b'(("IMAGE" "GIF" NIL NIL NIL "BASE64" 4)%b "MIXED")' % structure
    sections = [line.partition("\t")[0] for line in parts(structure)]
    assert len(sections) == MAX_SECTION_DEPTH
    assert max(section.count(".") for section in sections) == MAX_SECTION_DEPTH - 1


@pytest.mark.parametrize(
    ("envelope", "structure"),
    [
        (b"NIL", TEXT),
        (b"()", TEXT),
        (b'(NIL "x" "anna@example.com")', TEXT),
        (b'(NIL ("x") NIL)', TEXT),
        (b'(NIL "x" ((NIL NIL "anna")))', TEXT),
        (b'(NIL "x" (NIL))', TEXT),
        (ENVELOPE, b"NIL"),
        (ENVELOPE, b'("text" "plain")'),
        (ENVELOPE, b'("text" "plain" NIL NIL NIL "7bit" x)'),
    ],
)
def test_a_server_that_describes_nothing_is_told_from_one_that_has_nothing(envelope: bytes, structure: bytes) -> None:
    with pytest.raises(ResponseError):
        described(structure, envelope)


@pytest.mark.parametrize("uid", [b"0", b"4294967296", b"x"])
def test_a_uid_that_is_none(uid: bytes) -> None:
    with pytest.raises(ResponseError):
        described(message=b"UID " + uid)


VALUES = st.recursive(
    st.none() | st.binary(max_size=10) | st.sampled_from([b"text", b"message", b"rfc822", b"1"]),
    lambda values: st.lists(values, max_size=12).map(tuple),
)


@given(st.dictionaries(st.sampled_from(["ENVELOPE", "BODYSTRUCTURE", "INTERNALDATE", "RFC822.SIZE"]), VALUES))
def test_whatever_a_server_says_a_line_is_one_and_begins_with_a_url(items: dict[str, Value]) -> None:
    usual: dict[str, Value] = {
        "UID": b"20",
        "ENVELOPE": (None, b"x", None),
        "BODYSTRUCTURE": (b"a", b"b", None, None, None, None, b"1"),
    }
    try:
        found = list(lines("INBOX", 1, [Fetched(1, usual | items)]))
    except ResponseError:
        return
    for line in found:
        assert line.replace("\t", "").isprintable()
        assert parse_imap_url(line.partition("\t")[0]).uid == 20
