from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.net.imap import BoundedIMAP, SideConnectionError
from imapproxy.net.imap_login import LOGIN_EXPIRED, NOTHING_FITS, REFUSED, log_in_once_more
from imapproxy.protocol.login import Credentials
from tests.functional.fake_smtp import CLOSE
from tests.net.played import CLIENT, server_of
from tests.net.scripted_imap import HEAR, Script, ScriptedImap, Turns


@contextmanager
def connection(server: ScriptedImap) -> Iterator[BoundedIMAP]:
    imap = BoundedIMAP(server_of(server, 10), CLIENT, lambda: None)
    try:
        yield imap
    finally:
        imap.farewell()


def credentials(mechanism: str, secret: str = "pencil", user: str = "fred") -> Credentials:
    return Credentials(user=user, login="fred", secret=secret, mechanism=mechanism)


def refusal(script: dict[str, Script], capabilities: str, known: Credentials) -> str:
    with ScriptedImap(script) as server:
        server.capabilities = f"IMAP4rev1 {capabilities}"
        with connection(server) as imap, pytest.raises(SubmissionRefused) as caught:
            log_in_once_more(imap, known)
        assert imap.state != "AUTH"
        assert "pencil" not in "".join(server.commands)
        return str(caught.value)


@pytest.mark.parametrize(
    ("capabilities", "known", "said"),
    [
        ("AUTH=PLAIN AUTH=LOGIN", credentials("PLAIN"), [b"\0fred\0pencil"]),
        ("AUTH=PLAIN LOGINDISABLED", credentials("LOGIN"), [b"\0fred\0pencil"]),
        ("AUTH=PLAIN", credentials("PLAIN", user="ann"), [b"ann\0fred\0pencil"]),
        ("AUTH=PLAIN", credentials("LOGIN", "p\udce4\xe4"), [b"\0fred\0p\xe4\xc3\xa4"]),
        ("auth=oauthbearer", credentials("OAUTHBEARER"), [b"n,a=fred,\1auth=Bearer pencil\1\1"]),
        ("AUTH=XOAUTH2 AUTH=PLAIN", credentials("XOAUTH2"), [b"user=fred\1auth=Bearer pencil\1\1"]),
        ("AUTH=CRAM-MD5", credentials("LOGIN"), [b"fred", b"pencil"]),
        ("PLAIN", credentials("PLAIN"), [b"fred", b"pencil"]),
        ("", credentials("LOGIN", 'p "\\ \udce4\xe4{5}\r\n'), [b"fred", b'p "\\ \xe4\xc3\xa4{5}\r\n']),
        ("", credentials("LOGIN", ""), [b"fred", b""]),
    ],
)
def test_logs_in(capabilities: str, known: Credentials, said: list[bytes]) -> None:
    with ScriptedImap() as server:
        server.capabilities = f"IMAP4rev1 {capabilities}"
        with connection(server) as imap:
            log_in_once_more(imap, known)
            assert imap.state == "AUTH"
        assert server.answers == said
        assert len(server.commands) == 3


@pytest.mark.parametrize(
    ("capabilities", "known"),
    [
        ("AUTH=PLAIN", credentials("XOAUTH2")),
        ("AUTH=XOAUTH2 LOGINDISABLED", credentials("PLAIN")),
        ("LOGINDISABLED", credentials("LOGIN")),
        ("AUTH=LOGIN", credentials("PLAIN", user="ann")),
        ("", credentials("OAUTHBEARER")),
        ("AUTH=PLAIN", credentials("LOGIN", "a\0b")),
    ],
)
def test_nothing_that_the_server_offers_fits(capabilities: str, known: Credentials) -> None:
    assert refusal({}, capabilities, known) == NOTHING_FITS


@pytest.mark.parametrize("greeting", ["* PREAUTH you are root", "* PREAUTH [CAPABILITY IMAP4rev1] hello"])
def test_a_server_that_asks_for_no_login_is_not_believed(greeting: str) -> None:
    assert refusal({"GREETING": greeting}, "AUTH=PLAIN", credentials("PLAIN")) == NOTHING_FITS


@pytest.mark.parametrize(
    ("answer", "mechanism", "text"),
    [
        ("TAG NO [AUTHENTICATIONFAILED] pencil is wrong", "PLAIN", REFUSED),
        ("TAG NO wrong", "LOGIN", REFUSED),
        ("TAG BAD what?", "PLAIN", REFUSED),
        ("TAG NO [AUTHENTICATIONFAILED] no", "XOAUTH2", LOGIN_EXPIRED),
        ("TAG NO [EXPIRED] no", "OAUTHBEARER", LOGIN_EXPIRED),
        ("TAG NO [UNAVAILABLE] try later", "PLAIN", "4.7.0 try later"),
        ("TAG NO [UNAVAILABLE] try later", "OAUTHBEARER", "4.7.0 try later"),
        ("TAG NO [LIMIT] too many", "PLAIN", "4.7.0 too many"),
        ("TAG NO [INUSE]", "PLAIN", "4.7.0 INUSE"),
        (
            "TAG NO [ALERT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
            "PLAIN",
            "4.7.0 Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)",
        ),
        (
            "TAG NO Too many open connections (1 of 1 for fred)",
            "PLAIN",
            "4.7.0 Too many open connections (1 of 1 for fred)",
        ),
    ],
)
def test_is_refused(answer: str, mechanism: str, text: str) -> None:
    capabilities = f"AUTH={mechanism}" if mechanism != "LOGIN" else ""
    assert refusal({"AUTHENTICATE": answer, "LOGIN": answer}, capabilities, credentials(mechanism)) == text


@pytest.mark.parametrize(
    ("mechanism", "last"), [("PLAIN", "*"), ("XOAUTH2", ""), ("OAUTHBEARER", b64encode(b"\1").decode())]
)
def test_an_exchange_that_goes_on(mechanism: str, last: str) -> None:
    """Where a token has expired, the server says more about it first."""
    script: Script = ("+ ", HEAR, "+ eyJzdGF0dXMiOiI0MDEifQ==", HEAR, "TAG NO [AUTHENTICATIONFAILED] no")
    with ScriptedImap({"AUTHENTICATE": script}) as server:
        server.capabilities = f"IMAP4rev1 AUTH={mechanism}"
        with connection(server) as imap, pytest.raises(SubmissionRefused):
            log_in_once_more(imap, credentials(mechanism))
        assert server.heard[-1] == last


@pytest.mark.parametrize("capabilities", ["AUTH=PLAIN", ""])
@pytest.mark.parametrize("script", [CLOSE, ("* BYE go away", CLOSE), ("+ ", "+ ", "+ ", "+ "), "+", Turns("what?")])
def test_a_server_that_fails_meanwhile(capabilities: str, script: Script) -> None:
    with ScriptedImap({"AUTHENTICATE": script, "LOGIN": script}) as server:
        server.capabilities = f"IMAP4rev1 {capabilities}"
        with connection(server) as imap, pytest.raises(SideConnectionError) as caught:
            log_in_once_more(imap, credentials("LOGIN"))
        assert "pencil" not in str(caught.value) + repr(vars(imap))


def test_nothing_keeps_the_secret() -> None:
    for capabilities in ("AUTH=PLAIN", ""):
        with ScriptedImap() as server:
            server.capabilities = f"IMAP4rev1 {capabilities}"
            with connection(server) as imap:
                log_in_once_more(imap, credentials("LOGIN"))
                assert "pencil" not in repr(vars(imap))
                assert b64encode(b"\0fred\0pencil").decode() not in repr(vars(imap))
