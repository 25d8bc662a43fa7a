"""LOGIN, AUTHENTICATE and UNAUTHENTICATE as scripts (see ``script``): who the user is, and who may not be one yet."""

from dataclasses import replace

import pytest

from imapproxy.errors import LimitExceeded, UpstreamError
from imapproxy.protocol.capability import is_transparent
from tests.protocol.script import GREETING, LOGIN, TERMS, Scene, play


class TestTheUser:
    @pytest.mark.parametrize(
        "script",
        [
            r"""
            C: a LOGIN "fred" "se\\"cret"
            U: a LOGIN "fred" "se\\"cret"
            """,
            r"""
            C: a login {4}
            U: a login {4}
            S: + go
            P: + go
            C: fred {6}
            U: fred {6}
            S: + go
            P: + go
            C: secret
            U: secret
            """,
            r"""
            C: a LOGIN {4+}\r\nfred {6+}\r\nsecret
            U: a LOGIN {4+}\r\nfred {6+}\r\nsecret
            """,
            r"""
            C: a AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0
            U: a AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0
            """,
            r"""
            C: a authenticate plain
            U: a authenticate plain
            C: AGZyZWQAc2VjcmV0
            S: +
            P: +
            U: AGZyZWQAc2VjcmV0
            """,
            r"""
            C: a AUTHENTICATE LOGIN
            U: a AUTHENTICATE LOGIN
            S: + VXNlcm5hbWU6
            P: + VXNlcm5hbWU6
            C: ZnJlZA==
            U: ZnJlZA==
            S: + UGFzc3dvcmQ6
            P: + UGFzc3dvcmQ6
            C: c2VjcmV0
            U: c2VjcmV0
            """,
        ],
    )
    def test_is_who_the_server_says_ok_to(self, script: str) -> None:
        play(
            GREETING
            + script
            + r"""
            S: a OK hello
            P: a OK hello
            !: LoggedIn fred
            """
        )

    def test_is_nobody_when_the_server_says_no(self) -> None:
        play(
            GREETING
            + r"""
            C: a LOGIN fred wrong
            U: a LOGIN fred wrong
            S: a NO [AUTHENTICATIONFAILED] no
            P: a NO [AUTHENTICATIONFAILED] no
            !: LoginRefused fred
            C: b AUTHENTICATE XOAUTH2 dXNlcj1mcmVkAWF1dGg9QmVhcmVyIHQBAQ==
            U: b AUTHENTICATE XOAUTH2 dXNlcj1mcmVkAWF1dGg9QmVhcmVyIHQBAQ==
            S: + eyJzdGF0dXMiOiI0MDEifQ==
            P: + eyJzdGF0dXMiOiI0MDEifQ==
            C:
            U:
            S: b NO expired
            P: b NO expired
            !: LoginRefused fred
            C: c SUBMIT {1+}
            C: x
            P: c BAD Log in first
            """
        )

    def test_is_unknown_where_the_exchange_cannot_be_read(self) -> None:
        play(
            r"""
            S: * OK hi
            P: * OK hi
            C: a AUTHENTICATE CRAM-MD5
            U: a AUTHENTICATE CRAM-MD5
            S: + PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+
            P: + PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2U+
            C: ZnJlZCAwMTIz
            U: ZnJlZCAwMTIz
            S: a OK hello
            P: a OK hello
            !: LoggedIn unknown
            C: b SUBMIT {5}
            P: b NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,
            """,
            replace(TERMS, may_offer=is_transparent),
        )

    def test_is_unknown_with_preauth(self) -> None:
        scene = play(
            r"""
            S: * PREAUTH hi fred
            P: * PREAUTH hi fred
            C: b SUBMIT {5}
            P: b NO 5.7.8 cannot tell who you are; log in with a password or a bearer token,
            """
        )
        assert scene.dialogue.authenticated

    def test_is_not_changed_by_a_second_login(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a LOGIN anna {6+}
            U: a LOGIN anna {6+}
            C: secret
            U: secret
            C: b LOGIN anna secret
            U: b LOGIN anna secret
            S: a OK never
            P: a OK never
            S: b OK never
            P: b OK never
            C: c SUBMIT {1+}\r\nx
            !: Submit fred
            """
        )

    def test_is_not_changed_by_an_exchange_after_the_login(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a AUTHENTICATE PLAIN AGFubmEAc2VjcmV0
            U: a AUTHENTICATE PLAIN AGFubmEAc2VjcmV0
            S: a OK never
            P: a OK never
            C: b SUBMIT {1+}\r\nx
            !: Submit fred
            """
        )

    def test_is_the_first_of_two_that_the_server_accepts(self) -> None:
        play(
            GREETING
            + r"""
            C: a LOGIN fred secret
            U: a LOGIN fred secret
            C: b LOGIN anna secret
            S: a OK hello
            P: a OK hello
            !: LoggedIn fred
            U: b LOGIN anna secret
            S: b OK never
            P: b OK never
            """
        )

    def test_is_guessed_once_an_answer(self) -> None:
        play(
            GREETING
            + r"""
            C: a LOGIN fred guess\r\nb LOGIN fred {5+}\r\nguess\r\nc AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0
            U: a LOGIN fred guess
            S: a NO wrong
            P: a NO wrong
            !: LoginRefused fred
            U: b LOGIN fred {5+}\r\nguess
            S: b NO wrong
            P: b NO wrong
            !: LoginRefused fred
            U: c AUTHENTICATE PLAIN AGZyZWQAc2VjcmV0
            S: c OK hello
            P: c OK hello
            !: LoggedIn fred
            """
        )

    def test_is_forgotten_with_unauthenticate(self) -> None:
        play(
            GREETING.replace("SASL-IR", "UNAUTHENTICATE")
            + LOGIN
            + r"""
            C: a UNAUTHENTICATE
            U: a UNAUTHENTICATE
            S: a OK who was that
            P: a OK who was that
            !: LoggedOut
            C: b SUBMIT {1}
            P: b BAD Log in first
            """
        )

    def test_stays_with_a_refused_unauthenticate(self) -> None:
        play(
            GREETING.replace("SASL-IR", "UNAUTHENTICATE")
            + LOGIN
            + r"""
            C: a UNAUTHENTICATE
            U: a UNAUTHENTICATE
            S: a NO not now
            P: a NO not now
            C: b SUBMIT {1+}\r\nx
            !: Submit fred
            """
        )

    def test_a_cancelled_exchange_names_nobody(self) -> None:
        play(
            GREETING
            + r"""
            C: a AUTHENTICATE PLAIN
            U: a AUTHENTICATE PLAIN
            S: +
            P: +
            C: *
            U: *
            S: a BAD cancelled
            P: a BAD cancelled
            !: LoginRefused unknown
            C: b NOOP
            U: b NOOP
            """
        )

    def test_an_exchange_that_the_server_ends_makes_the_next_line_a_command(self) -> None:
        play(
            GREETING
            + r"""
            C: a AUTHENTICATE PLAIN
            U: a AUTHENTICATE PLAIN
            C: b NOOP
            S: a NO unavailable
            P: a NO unavailable
            !: LoginRefused unknown
            U: b NOOP
            """
        )


@pytest.mark.parametrize(
    ("script", "octets"),
    [
        ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b"x {9}\r\n"),
        ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b" {5000}\r\n"),
        ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b"\r\n"),
        ("C: a AUTHENTICATE PLAIN\nU: a AUTHENTICATE PLAIN\nS: +\nP: +", b"AGZyZWQAc2VjcmV0\n"),
    ],
)
def test_a_login_that_goes_on_as_it_may_not_ends_the_session(script: str, octets: bytes) -> None:
    scene = Scene()
    scene.play(GREETING + script)
    with pytest.raises(LimitExceeded):
        scene.client(octets)


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("a UNAUTHENTICATE", "a BAD This command was not offered"),
        ("a AUTHENTICATE GSSAPI", "a NO [CANNOT] This mechanism was not offered"),
        ("a AUTHENTICATE {5}", "a BAD AUTHENTICATE takes no literal"),
        ("a LOGIN fred", "a BAD LOGIN takes a user name and a password"),
        ("a LOGIN fred secret {3}", "a BAD LOGIN takes a user name and a password"),
        ("a LOGIN fred{3+}\\r\\nb NOOP", "a BAD LOGIN takes a user name and a password"),
        ("a LOGIN fred {5000}", "a BAD User name or password too long"),
    ],
)
def test_what_is_refused_does_not_reach_the_server(line: str, answer: str) -> None:
    play(GREETING + f"C: {line}\nP: {answer}\nC: z NOOP\nU: z NOOP")


def test_unasked_literals_of_login_without_literal_plus() -> None:
    play(
        r"""
        S: * OK [CAPABILITY IMAP4rev1] hi
        P: * OK [CAPABILITY IMAP4rev1 CAN-SUBMIT] hi
        C: a LOGIN {6+}\r\nt NOOP {6+}\r\nt NOOP
        P: a BAD The server has not announced that it takes non-synchronizing literals
        C: b LOGIN fred {6}
        U: b LOGIN fred {6}
        """
    )


class TestInTheClear:
    """Where TLS is demanded, no name and no password is passed on without it."""

    TERMS = replace(TERMS, require_tls=True, starttls=True)
    GREETING = r"""
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR AUTH=PLAIN AUTH=XOAUTH2] hello
        P: * OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR CAN-SUBMIT STARTTLS LOGINDISABLED] hello
        """

    @pytest.mark.parametrize(
        "line",
        [
            "a LOGIN fred secret",
            "a login fred {6}",
            "a LOGIN {4+}\\r\\nfred {6+}\\r\\nsecret",
            "a LOGIN {6+}\\r\\nb NOOP {8+}\\r\\nc LOGIN ",
            "a LOGIN fred",
            "a AUTHENTICATE PLAIN",
            "a authenticate plain AGZyZWQAc2VjcmV0",
            "a AUTHENTICATE PLAIN =",
            "a AUTHENTICATE PLAIN {6+}\\r\\nb NOOP",
            "a AUTHENTICATE GSSAPI",
        ],
    )
    def test_nobody_logs_in(self, line: str) -> None:
        play(
            self.GREETING + f"C: {line}\nP: a NO [PRIVACYREQUIRED] Start TLS first\nC: z NOOP\nU: z NOOP",
            self.TERMS,
        )

    def test_submit_is_not_to_be_had(self) -> None:
        play(self.GREETING + "C: a SUBMIT {3+}\nC: abc\nP: a BAD Log in first", self.TERMS)

    def test_everybody_may_in_tls(self) -> None:
        play(GREETING + LOGIN, self.TERMS, is_secure=True)

    def test_a_server_that_logs_everybody_in_is_none_to_speak_to(self) -> None:
        scene = Scene(terms=self.TERMS)
        with pytest.raises(UpstreamError, match="PREAUTH"):
            scene.server(b"* PREAUTH hi fred\r\n")
        assert scene.to_client == b""
        play("S: * PREAUTH hi fred\nP: * PREAUTH hi fred", self.TERMS, is_secure=True)
