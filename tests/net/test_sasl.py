import pytest

from imapproxy.net.sasl import Exchange, exchange
from imapproxy.protocol.login import Credentials

ALL = ("CRAM-MD5", "LOGIN", "PLAIN", "XOAUTH2", "OAUTHBEARER")


def credentials(mechanism: str, user: str = "fred", login: str = "fred", secret: str = "pencil") -> Credentials:
    return Credentials(user=user, login=login, secret=secret, mechanism=mechanism)


@pytest.mark.parametrize(
    ("known", "offered", "want"),
    [
        (credentials("LOGIN"), ALL, Exchange("PLAIN", (b"\0fred\0pencil",))),
        (credentials("PLAIN"), ALL, Exchange("PLAIN", (b"\0fred\0pencil",))),
        (credentials("PLAIN", login="admin"), ALL, Exchange("PLAIN", (b"fred\0admin\0pencil",))),
        (credentials("LOGIN", secret="pä€"), ALL, Exchange("PLAIN", (b"\0fred\0p\xc3\xa4\xe2\x82\xac",))),
        (credentials("LOGIN", secret="p\udce4"), ALL, Exchange("PLAIN", (b"\0fred\0p\xe4",))),
        (credentials("PLAIN"), ("LOGIN",), Exchange("LOGIN", (b"fred", b"pencil"))),
        (credentials("PLAIN", login="admin"), ("LOGIN",), None),
        (credentials("XOAUTH2"), ALL, Exchange("XOAUTH2", (b"user=fred\1auth=Bearer pencil\1\1", b""))),
        (
            credentials("OAUTHBEARER", user="a,b=c"),
            ALL,
            Exchange("OAUTHBEARER", (b"n,a=a=2Cb=3Dc,\1auth=Bearer pencil\1\1", b"\1")),
        ),
        (
            credentials("XOAUTH2"),
            ("PLAIN", "OAUTHBEARER"),
            Exchange("OAUTHBEARER", (b"n,a=fred,\1auth=Bearer pencil\1\1", b"\1")),
        ),
        (
            credentials("OAUTHBEARER"),
            ("PLAIN", "XOAUTH2"),
            Exchange("XOAUTH2", (b"user=fred\1auth=Bearer pencil\1\1", b"")),
        ),
        (credentials("XOAUTH2"), ("PLAIN", "LOGIN"), None),
        (credentials("OAUTHBEARER"), ("PLAIN", "LOGIN"), None),
        (credentials("PLAIN"), ("CRAM-MD5", "XOAUTH2"), None),
        (credentials("PLAIN"), (), None),
        (credentials("LOGIN", login="x\0y", user="x\0y"), ALL, None),
        (credentials("XOAUTH2", secret="token\1host=elsewhere"), ALL, None),
    ],
)
def test_exchange(known: Credentials, offered: tuple[str, ...], want: Exchange | None) -> None:
    assert exchange(known, offered) == want


@pytest.mark.parametrize(
    ("mechanism", "bearer"), [("LOGIN", False), ("PLAIN", False), ("XOAUTH2", True), ("OAUTHBEARER", True)]
)
def test_bearer_tokens_are_known_as_such(mechanism: str, bearer: bool) -> None:
    found = exchange(credentials(mechanism), ALL)
    assert found is not None
    assert found.bearer is bearer


def test_no_secret_shows() -> None:
    assert "pencil" not in repr(exchange(credentials("PLAIN"), ALL))
