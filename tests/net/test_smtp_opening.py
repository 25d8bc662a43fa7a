import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Literal

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.net.client_address import ClientAddress, User
from imapproxy.net.smtp import INSECURE, LOST, NOT_RESPONDING, BoundedSMTP, SmtpError
from imapproxy.net.smtp_opening import NO_STARTTLS, SmtpServer, begin
from imapproxy.net.tls import server_context
from imapproxy.protocol.login import Credentials
from tests.functional.certificates import Certificates
from tests.functional.fake_smtp import CLOSE, FakeSmtp, Script, Turns
from tests.net.peers import PATIENCE, nothing_left
from tests.net.played import CLIENT, played

Tls = Literal["off", "starttls", "on"]
SHORT = 0.4  # seconds, for what is to fail


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    with nothing_left():
        yield


def server_of(port: int, tls: Tls = "off", context: ssl.SSLContext | None = None, timeout: float = 10) -> SmtpServer:
    return SmtpServer("localhost", port, "none", "", "", timeout, "proxy.example", tls, context)


def credentials(mechanism: str, secret: str = "pencil", user: str = "fred") -> Credentials:
    return Credentials(user=user, login="fred", secret=secret, mechanism=mechanism)


PLAIN = credentials("PLAIN")


def open_dialogue(server: SmtpServer, known: Credentials = PLAIN, address: ClientAddress = CLIENT) -> dict[str, str]:
    """Return the extensions that the server has in the end."""
    with closing(BoundedSMTP(server.host_name, server.timeout, lambda: None, PATIENCE)) as smtp:
        begin(smtp, server, User(known, address))
        return smtp.esmtp_features


def failure(server: SmtpServer, known: Credentials = PLAIN) -> str:
    with pytest.raises((SmtpError, SubmissionRefused)) as caught:
        open_dialogue(server, known)
    return str(caught.value)


# TLS


def test_tls_from_the_first_octet_on(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    with played("TLS\nS: 220 hello\nC: ehlo proxy.example\nS: 250-fake\nS: 250 SIZE 1000", as_server) as port:
        assert open_dialogue(server_of(port, "on", as_client)) == {"size": "1000"}


STARTTLS = """
    S: 220 hello
    C: ehlo proxy.example
    S: 250-fake
    S: 250-AUTH FORGED
    S: 250 STARTTLS
    C: STARTTLS
"""


def test_after_starttls_the_extensions_are_asked_for_anew(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    script = f"{STARTTLS}\nS: 220 go on\nTLS\nC: ehlo proxy.example\nS: 250-fake\nS: 250 SIZE 1000"
    with played(script, as_server) as port:
        assert open_dialogue(server_of(port, "starttls", as_client)) == {"size": "1000"}


def test_after_starttls_the_login(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    login = "AUTH PLAIN " + b64("\0fred\0pencil")
    script = f"{STARTTLS}\nS: 220 go\nTLS\nC: ehlo proxy.example\nS: 250-fake\nS: 250 AUTH PLAIN\nC: {login}\nS: 235 ok"
    with played(script, as_server) as port:
        open_dialogue(replace(server_of(port, "starttls", as_client), auth="user"))


@pytest.mark.parametrize(
    ("tls", "script", "why"),
    [
        ("starttls", "S: 220 hello\nC: ehlo proxy.example\nS: 250 fake", NO_STARTTLS),
        ("starttls", "S: 220 hello\nC: ehlo proxy.example\nS: 502\nC: helo proxy.example\nS: 250 fake", NO_STARTTLS),
        ("starttls", STARTTLS + "S: 454 4.7.0 not today", "454 4.7.0 not today"),
        (
            "starttls",
            STARTTLS + "S\\: 220 go on\nS: 250 AUTH EVIL",
            f"{INSECURE}: octets in plaintext where TLS was to begin",
        ),
        (
            "starttls",
            STARTTLS + "S: 220 go on\nHELLO\nS: 250 AUTH EVIL\nSILENCE",
            f"{INSECURE}: TLS handshake failed: wrong version number",
        ),
        ("starttls", STARTTLS + "S: 220 go on\nHELLO\nSILENCE", NOT_RESPONDING),
        ("starttls", STARTTLS + "CLOSE", LOST),
        (
            "starttls",
            STARTTLS + "S: 220 go on\nNO TLS",
            f"{INSECURE}: certificate verify failed: Hostname mismatch, certificate is not valid for 'localhost'.",
        ),
        (
            "on",
            "NO TLS",
            f"{INSECURE}: certificate verify failed: Hostname mismatch, certificate is not valid for 'localhost'.",
        ),
        ("on", "HELLO\nS: 220 hello\nSILENCE", f"{INSECURE}: TLS handshake failed: wrong version number"),
        ("on", "HELLO\nRESET", f"{INSECURE}: TLS handshake failed: the peer closed the connection"),
        ("on", "HELLO\nSILENCE", NOT_RESPONDING),
    ],
)
def test_without_the_tls_that_is_wanted_nothing_more_is_said(
    tls: Tls, script: str, why: str, certificates: Certificates, as_client: ssl.SSLContext
) -> None:
    context = server_context(str(certificates.wrong_name.cert), str(certificates.wrong_name.key))
    with played(script, context) as port:
        timeout = SHORT if why == NOT_RESPONDING else PATIENCE
        server = replace(server_of(port, tls, as_client, timeout), auth="user", xclient=True)
        assert failure(server) == why


# XCLIENT

ALL = "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"


def xclient(offered: str, user: str = "fred", address: ClientAddress = CLIENT, **changes: str) -> list[str]:
    """Return what the server is asked besides EHLO at first."""
    with FakeSmtp((offered, "AUTH PLAIN"), {"XCLIENT": "220 hello again"}) as fake:
        server = replace(server_of(fake.port), xclient=True, **changes)  # type: ignore[arg-type]
        open_dialogue(server, credentials("PLAIN", user=user), address)
    return fake.commands[1:]


@pytest.mark.parametrize(
    ("offered", "user", "host", "said"),
    [
        (ALL, "fred", "192.0.2.7", "ADDR=192.0.2.7 PORT=40000 LOGIN=fred"),
        (ALL, "fred", "::ffff:192.0.2.7", "ADDR=192.0.2.7 PORT=40000 LOGIN=fred"),
        (ALL, "fred@example.com", "2001:db8::7", "ADDR=IPV6:2001:db8::7 PORT=40000 LOGIN=fred@example.com"),
        ("xclient addr port", "fred", "192.0.2.7", "ADDR=192.0.2.7 PORT=40000"),
        ("XCLIENT LOGIN", "a+b=c d\xe9\r\nRSET", "192.0.2.7", "LOGIN=a+2Bb+3Dc+20d+C3+A9+0D+0ARSET"),
    ],
)
def test_the_server_is_told_who_the_client_is(offered: str, user: str, host: str, said: str) -> None:
    address = replace(CLIENT, host=host)
    assert xclient(offered, user, address) == [f"XCLIENT {said}", "ehlo proxy.example"]


@pytest.mark.parametrize("offered", ["SIZE", "XCLIENT", "XCLIENT NAME HELO"])
def test_a_server_that_takes_nothing_is_told_nothing(offered: str) -> None:
    assert xclient(offered) == []


def test_nobody_is_told_without_being_asked_to() -> None:
    with FakeSmtp((ALL,)) as fake:
        open_dialogue(server_of(fake.port))
    assert fake.verbs() == ["EHLO"]


@pytest.mark.parametrize("auth", ["user", "fixed"])
def test_the_login_is_left_to_auth_where_there_is_one(auth: str) -> None:
    told, again, login = xclient(ALL, auth=auth, username="proxy", password="secret")
    assert (told, again) == ("XCLIENT ADDR=192.0.2.7 PORT=40000", "ehlo proxy.example")
    assert login.startswith("AUTH PLAIN ")


@pytest.mark.parametrize(
    ("replies", "why"),
    [
        ({"XCLIENT": "554 5.7.1 that one is not welcome"}, "554 5.7.1 that one is not welcome"),
        ({"XCLIENT": "220 ok", "EHLO": Turns(f"250-fake\n250 {ALL}", "550 5.7.1 no"), "HELO": "550 no"}, "550 no"),
        ({"XCLIENT": CLOSE}, LOST),
    ],
)
def test_what_the_server_says_to_xclient(replies: dict[str, Script], why: str) -> None:
    with FakeSmtp((ALL,), replies) as fake:
        assert failure(replace(server_of(fake.port), xclient=True)) == why


def test_a_server_that_takes_no_such_address_does_not_take_ours_for_it() -> None:
    with FakeSmtp((ALL,), {"XCLIENT": Turns("501 5.5.4 Bad ADDR syntax", "220 hello again")}) as fake:
        open_dialogue(replace(server_of(fake.port), xclient=True), address=replace(CLIENT, host="2001:db8::7"))
    assert fake.commands[1:] == [
        "XCLIENT ADDR=IPV6:2001:db8::7 PORT=40000 LOGIN=fred",
        "XCLIENT ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] LOGIN=fred",
        "ehlo proxy.example",
    ]


@pytest.mark.parametrize("offered", [ALL, "XCLIENT LOGIN"])
def test_a_server_that_does_not_take_what_it_offers(offered: str) -> None:
    with FakeSmtp((offered,), {"XCLIENT": "501 5.5.4 Bad syntax"}) as fake:
        assert failure(replace(server_of(fake.port), xclient=True)) == "501 5.5.4 Bad syntax"


def test_who_the_client_is_is_said_by_tls_only(as_server: ssl.SSLContext, as_client: ssl.SSLContext) -> None:
    hello = f"C: ehlo proxy.example\nS: 250-fake\nS: 250 {ALL}"
    script = f"{STARTTLS}\nS: 220 go\nTLS\n{hello}\nC: XCLIENT ADDR=192.0.2.7 PORT=40000 LOGIN=fred\nS: 220 ok\n{hello}"
    with played(script, as_server) as port:
        open_dialogue(replace(server_of(port, "starttls", as_client), xclient=True))


# smtp-auth


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


ERROR = "334 " + b64(json.dumps({"status": "invalid_token"}))
LONG = "t" * 400


@pytest.mark.parametrize(
    ("offered", "known", "replies", "said"),
    [
        ("PLAIN LOGIN", credentials("LOGIN", "pä"), Turns("235 ok"), ["AUTH PLAIN " + b64("\0fred\0pä")]),
        ("login", credentials("PLAIN"), Turns("334 UGFzc3dvcmQ6", "235"), ["AUTH LOGIN " + b64("fred"), b64("pencil")]),
        (
            "XOAUTH2",
            credentials("XOAUTH2"),
            Turns("235 ok"),
            ["AUTH XOAUTH2 " + b64("user=fred\1auth=Bearer pencil\1\1")],
        ),
        (
            "OAUTHBEARER",
            credentials("OAUTHBEARER", LONG),
            Turns("334 ", "235 ok"),
            ["AUTH OAUTHBEARER", b64(f"n,a=fred,\1auth=Bearer {LONG}\1\1")],
        ),
    ],
)
def test_logs_in(offered: str, known: Credentials, replies: Script, said: list[str]) -> None:
    with FakeSmtp((f"AUTH {offered}",), {"AUTH": replies}) as fake:
        open_dialogue(replace(server_of(fake.port), auth="user"), known)
    assert fake.commands[1:] == said


@pytest.mark.parametrize(
    ("offered", "known", "replies", "answer", "last"),
    [
        ("XOAUTH2", credentials("PLAIN"), "235", "5.7.4 mail server offers no authentication that fits the login", ""),
        ("PLAIN", credentials("PLAIN"), "535 5.7.8 no", "535 5.7.8 no", ""),
        ("PLAIN", credentials("PLAIN"), "454 4.7.0 later", "454 4.7.0 later", ""),
        ("PLAIN", credentials("PLAIN"), CLOSE, LOST, ""),
        ("PLAIN", credentials("PLAIN"), Turns("334 more", "501 5.0.0 cancelled"), "501 5.0.0 cancelled", "*"),
        ("XOAUTH2", credentials("XOAUTH2"), "535 5.7.8 no", "5.7.8 login expired; log in again", ""),
        ("XOAUTH2", credentials("XOAUTH2"), Turns(ERROR, "535 no"), "5.7.8 login expired; log in again", ""),
        ("OAUTHBEARER", credentials("OAUTHBEARER"), Turns(ERROR, "535"), "5.7.8 login expired; log in again", "AQ=="),
        ("OAUTHBEARER", credentials("OAUTHBEARER"), "454 4.7.0 later", "454 4.7.0 later", ""),
    ],
)
def test_is_not_logged_in(offered: str, known: Credentials, replies: Script, answer: str, last: str) -> None:
    with FakeSmtp((f"AUTH {offered}",), {"AUTH": replies}) as fake:
        assert failure(replace(server_of(fake.port), auth="user"), known) == answer
    assert fake.commands[-1] == last or not last


def test_the_proxys_own_login() -> None:
    with FakeSmtp(("AUTH PLAIN",)) as fake:
        server = replace(server_of(fake.port), auth="fixed", username="proxy", password="secret")
        open_dialogue(server, credentials("XOAUTH2"))
    assert fake.commands[1] == "AUTH PLAIN " + b64("\0proxy\0secret")


def test_no_login_where_none_is_wanted() -> None:
    with FakeSmtp(("AUTH PLAIN",)) as fake:
        open_dialogue(server_of(fake.port))
    assert fake.verbs() == ["EHLO"]


def test_the_password_does_not_show() -> None:
    assert "secret" not in repr(SmtpServer("h", 25, "fixed", "proxy", "secret", 1.0, "proxy.example"))
