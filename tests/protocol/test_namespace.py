"""NAMESPACE responses as imaplib hands them over, and the full names of a user's mailboxes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.protocol.fetched import MAX_DEPTH, MAX_VALUES, Piece, ResponseError
from imapproxy.protocol.namespace import MAX_NAMESPACES, MAX_PREFIX, Namespaces, namespaces

COURIER = Namespaces((b"INBOX.",), (b"#shared.", b"shared."))
CYRUS = Namespaces((b"INBOX.",), (b"user.", b""))  # without altnamespace
CYRUS_ALTERNATIVE = Namespaces((b"",), (b"Other Users/", b"Shared Folders/"))


@pytest.mark.parametrize(
    ("pieces", "want"),
    [
        pytest.param([], Namespaces(), id="nothing"),
        pytest.param([None], Namespaces(), id="imaplib, where no response came"),
        pytest.param([b"NIL NIL NIL"], Namespaces(), id="no namespaces"),
        pytest.param([b'(("" ".")) NIL NIL'], Namespaces((b"",)), id="Dovecot"),
        pytest.param(
            [b'(("INBOX." ".")) NIL (("#shared." ".")("shared." "."))'],
            Namespaces((b"INBOX.",), (b"#shared.", b"shared.")),
            id="Courier",
        ),
        pytest.param([b'(("INBOX." ".")) (("user." ".")) (("" "."))'], CYRUS, id="Cyrus"),
        pytest.param(
            [b'(("" "/")) (("Other Users/" "/")) (("Shared Folders/" "/"))'],
            CYRUS_ALTERNATIVE,
            id="Cyrus, altnamespace",
        ),
        pytest.param(
            [b'(("" "/") ("#mh/" "/" "X-PARAM" ("FLAG1" "FLAG2"))) NIL NIL'], Namespaces((b"", b"#mh/")), id="extended"
        ),
        pytest.param([(b"(({6}", b"INBOX."), b' ".")) NIL NIL'], Namespaces((b"INBOX.",)), id="a literal"),
        pytest.param([b'(("~" NIL)) NIL NIL'], Namespaces((b"~",)), id="no hierarchy"),
        pytest.param([b"() () ()"], Namespaces(), id="empty lists"),
        pytest.param([b'(("a." ".")) NIL NIL', b'(("b." ".")) NIL NIL'], Namespaces((b"b.",)), id="the last one holds"),
        pytest.param(
            [b'(("%b" "/")) NIL NIL' % (b"a" * MAX_PREFIX)], Namespaces((b"a" * MAX_PREFIX,)), id="the longest prefix"
        ),
        pytest.param(
            [b"(%b) NIL NIL" % (b'("a" "/")' * MAX_NAMESPACES)], Namespaces((b"a",) * MAX_NAMESPACES), id="the most"
        ),
    ],
)
def test_responses(pieces: list[Piece], want: Namespaces) -> None:
    assert namespaces(pieces) == want


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b""], id="nothing said"),
        pytest.param([b"NIL NIL"], id="two kinds"),
        pytest.param([b"NIL NIL NIL NIL"], id="four kinds"),
        pytest.param([b'"" NIL NIL'], id="a string for a list"),
        pytest.param([b'("" "/") NIL NIL'], id="no list of lists"),
        pytest.param([b"(()) NIL NIL"], id="an empty namespace"),
        pytest.param([b'(("INBOX.")) NIL NIL'], id="no delimiter"),
        pytest.param([b'(("INBOX." ("."))) NIL NIL'], id="a list for a delimiter"),
        pytest.param([b'((NIL ".")) NIL NIL'], id="no prefix"),
        pytest.param([b'((("") ".")) NIL NIL'], id="a list for a prefix"),
        pytest.param([b'NIL NIL (("" "/") x)'], id="among the shared ones"),
        pytest.param([b'(("INBOX." ".") NIL NIL'], id="a parenthesis that is not closed"),
        pytest.param([b'(("INBOX." "."))) NIL NIL'], id="a parenthesis too many"),
        pytest.param([b'(("%b" "/")) NIL NIL' % (b"a" * (MAX_PREFIX + 1))], id="a prefix too long"),
        pytest.param([b'(%b) NIL (("" "/"))' % (b'("a" "/")' * MAX_NAMESPACES)], id="too many in all"),
        pytest.param([b"(%b) NIL NIL" % (b"()" * MAX_VALUES)], id="too many values"),
        pytest.param([b"%b NIL NIL" % (b"(" * (MAX_DEPTH + 1))], id="too deep"),
        pytest.param([(b"(({7}", b"INBOX."), b' ".")) NIL NIL'], id="a literal of another size"),
    ],
)
def test_what_is_no_response(pieces: list[Piece]) -> None:
    with pytest.raises(ResponseError) as error:
        namespaces(pieces)
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("server", "name", "full"),
    [
        pytest.param(COURIER, b"Sent", b"INBOX.Sent", id="plain"),
        pytest.param(COURIER, b"Gesendet &- weg", b"INBOX.Gesendet &- weg", id="plain, not in ASCII for users"),
        pytest.param(COURIER, b"INBOX.Sent", b"INBOX.Sent", id="full"),
        pytest.param(COURIER, b"inbox.Sent", b"inbox.Sent", id="full, INBOX in lower case"),
        pytest.param(COURIER, b"INBOX", b"INBOX", id="INBOX"),
        pytest.param(COURIER, b"Inbox", b"Inbox", id="INBOX in either case"),
        pytest.param(COURIER, b"INBOX2", b"INBOX.INBOX2", id="a name that begins like INBOX"),
        pytest.param(COURIER, b"shared.office.Sent", b"shared.office.Sent", id="in a shared mailbox"),
        pytest.param(CYRUS, b"Sent", b"INBOX.Sent", id="shared mailboxes without a prefix"),
        pytest.param(CYRUS, b"user.bob.Sent", b"user.bob.Sent", id="another user's"),
        pytest.param(CYRUS_ALTERNATIVE, b"Sent", b"Sent", id="no prefix"),
        pytest.param(Namespaces((b"Mail/", b"")), b"Sent", b"Sent", id="one of two has no prefix"),
        pytest.param(Namespaces((b"Mail/", b"#mh/")), b"Sent", b"Mail/Sent", id="the first of two"),
        pytest.param(Namespaces((b"Mail/", b"#mh/")), b"#mh/Sent", b"#mh/Sent", id="full by the second of two"),
        pytest.param(Namespaces((b"Mail/",)), b"mail/Sent", b"Mail/mail/Sent", id="only INBOX has no case"),
        pytest.param(Namespaces((), (b"user.",)), b"Sent", b"Sent", id="no personal namespace"),
        pytest.param(Namespaces(), b"Sent", b"Sent", id="no namespaces"),
    ],
)
def test_full_name_of_a_users_own_mailbox(server: Namespaces, name: bytes, full: bytes) -> None:
    assert server.own_name(name) == full


# --- written, and read again -------------------------------------------------------------------------------------

PREFIXES = st.lists(st.binary(max_size=20), max_size=5)
TEXT = st.lists(
    st.sampled_from([b"(", b")", b" ", b'"', b"\\", b"{1}", b"NIL", b"INBOX.", b'(("" "."))', b"\r\n", b"\xff", b"\0"])
).map(b"".join)
PIECES = st.lists(st.one_of(TEXT, st.binary(), st.none(), st.tuples(TEXT, st.binary(max_size=1))))


def written(kinds: list[list[bytes]]) -> list[Piece]:
    """Write each prefix as a literal, which holds any bytes."""
    pieces: list[Piece] = []
    text = b""
    for prefixes in kinds:
        text += b" ("
        for prefix in prefixes:
            pieces.append((text + b"({%d}" % len(prefix), prefix))
            text = b' "/")'
        text += b")"
    return [*pieces, text]


@given(PREFIXES, PREFIXES, PREFIXES)
def test_what_is_written_is_read_the_same(personal: list[bytes], others: list[bytes], shared: list[bytes]) -> None:
    assert namespaces(written([personal, others, shared])) == Namespaces((*personal,), (*others, *shared))


@given(PIECES)
def test_whatever_comes_is_read_or_refused(pieces: list[Piece]) -> None:
    try:
        found = namespaces(pieces)
    except ResponseError:
        return
    assert len(found.personal) + len(found.foreign) <= MAX_NAMESPACES
    assert all(len(prefix) <= MAX_PREFIX for prefix in (*found.personal, *found.foreign))


@given(PREFIXES, PREFIXES, st.binary(min_size=1, max_size=20))
def test_a_name_gets_a_prefix_once(personal: list[bytes], foreign: list[bytes], name: bytes) -> None:
    server = Namespaces((*personal,), (*foreign,))
    full = server.own_name(name)
    assert full in {name, *(prefix + name for prefix in personal[:1])}
    assert server.own_name(full) == full
