"""LOGIN and AUTHENTICATE as they pass: who the user is, and what proved it."""

import base64

import pytest

from imapproxy.errors import ClientError
from imapproxy.protocol.framing import Literal
from imapproxy.protocol.login import (
    MAX_LOGIN_LITERAL,
    MAX_RESPONSES,
    Credentials,
    LoginExchange,
    credentials_from_login,
    credentials_from_sasl,
    login_arguments,
)


def takes_none(_size: int) -> bool:
    return False


@pytest.mark.parametrize(
    ("text", "literals", "want"),
    [
        (b"fred secret", [], (b"fred", b"secret")),
        (b'"fred" "se cret"', [], (b"fred", b"se cret")),
        (b'"a \\"quoted\\" \\\\" x', [], (b'a "quoted" \\', b"x")),
        (b'"" ""', [], (b"", b"")),
        (b"fred*admin pass%(word)", [], (b"fred*admin", b"pass%(word)")),
        ('fred "pässwörd"'.encode(), [], (b"fred", "pässwörd".encode())),
        (b"{4}", [b"fr"], (b"fr",)),
        (b"fred {6+}", [b""], (b"fred", b"")),
        (b"{4} {6}", [b"fred", b"\xff {2}"], (b"fred", b"\xff {2}")),
        (b'{4} "secret"', [b"fred"], (b"fred", b"secret")),
        (b"fred", [], (b"fred",)),
    ],
)
def test_arguments_of_login(text: bytes, literals: list[bytes], want: tuple[bytes, ...]) -> None:
    assert login_arguments(text, literals) == want


@pytest.mark.parametrize(
    "text",
    [b"", b"a b c", b"a  b", b" a b", b"a b ", b'"a', b'"a" b"', b'a "b"c', b"a{4}", b"{4}b c", b'"a\\b" c', b"a\tb c"],
)
def test_what_is_not_of_logins_form(text: bytes) -> None:
    assert login_arguments(text, []) is None
    with pytest.raises(ClientError):
        LoginExchange(None).follow(text, None, takes_none)


@pytest.mark.parametrize("text", [b"{4} x", b"{4+} x", b"fred {6}", b"{4} {6}"])
def test_what_looks_like_a_literals_mark_at_no_lines_end_is_no_argument(text: bytes) -> None:
    """Found by tests/fuzz: the user was "" to the proxy, and whatever the server made of the braces to the server."""
    assert login_arguments(text, [b"fred"] if text.count(b"{") > 1 else []) is None
    with pytest.raises(ClientError):
        LoginExchange(None).follow(text, None, takes_none)


PLAIN = Credentials("fred", "fred", "secret", "PLAIN")


@pytest.mark.parametrize(
    ("mechanism", "responses", "want"),
    [
        ("PLAIN", [b"\0fred\0secret"], PLAIN),
        ("PLAIN", [b"anna\0fred\0secret"], Credentials("anna", "fred", "secret", "PLAIN")),
        ("PLAIN", [b"\0\0secret"], None),
        ("PLAIN", [b"fred\0secret"], None),
        ("PLAIN", [b"\0fred\0se\0cret"], None),
        ("PLAIN", [b"\0fred\0secret", b""], None),
        ("PLAIN", [], None),
        ("LOGIN", [b"fred", b"secret"], Credentials("fred", "fred", "secret", "LOGIN")),
        ("LOGIN", [b"fred"], None),
        (
            "XOAUTH2",
            [b"user=fred@example.com\x01auth=Bearer t0ken=\x01\x01"],
            Credentials("fred@example.com", "fred@example.com", "t0ken=", "XOAUTH2"),
        ),
        ("XOAUTH2", [b"user=fred\x01auth=Basic x\x01\x01"], None),
        (
            "OAUTHBEARER",
            [b"n,a=fr=2Ced=3D,\x01host=h\x01port=143\x01auth=Bearer t0ken\x01\x01"],
            Credentials("fr,ed=", "fr,ed=", "t0ken", "OAUTHBEARER"),
        ),
        ("OAUTHBEARER", [b"n,a=fred,\x01auth=Bearer t\x01\x01"], Credentials("fred", "fred", "t", "OAUTHBEARER")),
        ("OAUTHBEARER", [b"n,,\x01auth=Bearer t0ken\x01\x01"], None),
        ("CRAM-MD5", [b"fred 0123"], None),
    ],
)
def test_credentials_from_sasl(mechanism: str, responses: list[bytes], want: Credentials | None) -> None:
    encoded = [base64.b64encode(response) for response in responses]
    assert credentials_from_sasl(mechanism.encode(), encoded) == want


@pytest.mark.parametrize("responses", [[b"*"], [b"!!!!"], [b"AGZyZWQAc2VjcmV0 "], [b"AGZyZWQAc2VjcmV"]])
def test_what_is_no_base64_names_nobody(responses: list[bytes]) -> None:
    assert credentials_from_sasl(b"PLAIN", responses) is None


def test_an_equals_sign_is_an_empty_response() -> None:
    responses = [base64.b64encode(b"fred"), b"="]
    assert credentials_from_sasl(b"LOGIN", responses) == Credentials("fred", "fred", "", "LOGIN")


@pytest.mark.parametrize("initial", [b"", b"="])
def test_nobody_has_an_empty_name(initial: bytes) -> None:
    """Found by tests/fuzz: AUTHENTICATE LOGIN and a space, which is an empty response to some servers only."""
    assert credentials_from_sasl(b"LOGIN", [initial, base64.b64encode(b"fred")]) is None


def test_octets_that_are_no_utf8_can_be_had_back() -> None:
    credentials = credentials_from_login(b"fr\xe9d", b"\xff")
    assert credentials.user.encode("utf-8", "surrogateescape") == b"fr\xe9d"
    assert credentials.secret.encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("user", "want"),
    [
        ("fred", "fred"),
        ("FRED", "fred"),
        ("fReD@Example.COM", "fred@example.com"),
        ("\u00c9mile", "\u00e9mile"),
        ("STRASSE", "strasse"),
        ("stra\u00dfe", "strasse"),
        ("FR\udce9D", "fr\udce9d"),
    ],
)
def test_an_account_has_one_spelling_whatever_letters_the_client_wrote(user: str, want: str) -> None:
    credentials = Credentials(user, "Admin", "Secret", "PLAIN")
    assert credentials.account == want
    assert (credentials.user, credentials.login, credentials.secret) == (user, "Admin", "Secret")


def test_no_secret_shows() -> None:
    assert "secret" not in repr(PLAIN)
    assert "fred" in repr(PLAIN)


def test_an_exchange_with_literals() -> None:
    login = LoginExchange(None)
    login.follow(b"{4}", Literal(4, synchronizing=True, eight_bit=False), takes_none)
    assert login.credentials() is None
    login.add_literal(memoryview(b"fr"))
    login.add_literal(memoryview(b"ed"))
    login.follow(b' "secret"', None, takes_none)
    assert login.credentials() == Credentials("fred", "fred", "secret", "LOGIN")


@pytest.mark.parametrize(
    ("text", "literal", "says"),
    [
        (b"fred", None, "a user name and a password"),
        (b"{3} {4} {5}", Literal(5, synchronizing=True, eight_bit=False), "a user name and a password"),
        (b"{4097}", Literal(MAX_LOGIN_LITERAL + 1, synchronizing=True, eight_bit=False), "too long"),
        (b"{4+}", Literal(4, synchronizing=False, eight_bit=False), "has not announced"),
    ],
)
def test_what_a_server_might_see_otherwise_is_no_login(text: bytes, literal: Literal | None, says: str) -> None:
    with pytest.raises(ClientError, match=says):
        LoginExchange(None).follow(text, literal, takes_none)


def test_a_literal_comes_unasked_where_the_server_takes_it() -> None:
    login = LoginExchange(None)
    login.follow(b"fred {6+}", Literal(6, synchronizing=False, eight_bit=False), lambda size: size == 6)
    login.add_literal(memoryview(b"secret"))
    assert login.credentials() == Credentials("fred", "fred", "secret", "LOGIN")


# What copies all that it holds with each octet would take minutes here.
def test_a_literal_that_comes_octet_by_octet_is_copied_once() -> None:
    login, octet = LoginExchange(None), memoryview(b"x")
    login.follow(b"fred {5}", Literal(5, synchronizing=True, eight_bit=False), takes_none)
    for _ in range(2_000_000):
        login.add_literal(octet)
    login.follow(b"", None, takes_none)
    assert login.credentials() == Credentials("fred", "fred", "x" * 2_000_000, "LOGIN")


def test_an_exchange_keeps_few_responses() -> None:
    login = LoginExchange(b"LOGIN")
    login.add_response(base64.b64encode(b"fred"))
    login.add_response(base64.b64encode(b"secret"))
    assert login.credentials() == Credentials("fred", "fred", "secret", "LOGIN")
    for _ in range(MAX_RESPONSES * 2):
        login.add_response(b"eA==")
    assert login.credentials() is None
