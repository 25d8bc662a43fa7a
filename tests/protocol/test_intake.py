"""What the client's octets are, and what becomes of them, as scripts: see ``script``."""

import pytest

from imapproxy.errors import ClientError, LimitExceeded, SubmissionRefused
from imapproxy.protocol.capability import is_transparent
from imapproxy.protocol.intake import DROP_BEYOND_DRAFT, MAX_LINE, MAX_LINE_BEFORE_LOGIN, MAX_OUTSTANDING
from tests.protocol.script import GREETING, LOGIN, MAX_DRAFT, Scene, play


class TestLiterals:
    def test_the_server_says_plus_and_the_octets_are_the_literals(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND INBOX {12}
            U: a APPEND INBOX {12}
            C: b SUBMIT {1}\
            S: + go on
            P: + go on
            U: b SUBMIT {1}\
            C:  ~{2}
            U:  ~{2}
            S: + and on
            P: + and on
            C: \x00\x01
            U: \x00\x01
            S: a OK done
            P: a OK done
            """
        )

    def test_the_server_refuses_and_the_octets_are_a_command(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND nowhere {13}
            U: a APPEND nowhere {13}
            C: b NOOP
            S: a NO [TRYCREATE] no
            P: a NO [TRYCREATE] no
            U: b NOOP
            S: b OK done
            P: b OK done
            """
        )

    def test_an_answer_to_another_command_with_the_same_tag_decides_nothing(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a NOOP
            U: a NOOP
            C: a APPEND INBOX {8}
            U: a APPEND INBOX {8}
            C: 12345678
            S: a OK noop done
            P: a OK noop done
            S: + go
            P: + go
            U: 12345678
            S: a OK append done
            P: a OK append done
            """
        )

    def test_a_plus_cannot_be_taken_back(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND INBOX {8}
            U: a APPEND INBOX {8}
            S: + go
            P: + go
            S: a NO over quota
            P: a NO over quota
            C: c STARTT
            U: c STARTT
            C: d NOOP
            U: d NOOP
            """
        )

    def test_non_synchronizing_literals_pass_at_once(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a APPEND INBOX {3+}\r\nabc {0+}\r\n ~{2+}\r\n\x00\x01
            U: a APPEND INBOX {3+}\r\nabc {0+}\r\n ~{2+}\r\n\x00\x01
            C: b NOOP
            U: b NOOP
            """
        )

    def test_a_plus_that_nobody_waits_for_is_passed_on(self) -> None:
        play(GREETING + LOGIN + "S: + idle talk\nP: + idle talk\nC: a NOOP\nU: a NOOP")


class TestIdle:
    def test_what_comes_before_the_plus_is_held_and_one_line_ends_it(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a IDLE
            U: a IDLE
            C: DONE
            C: b SUBMIT
            S: + idling
            P: + idling
            U: DONE
            S: * 4 EXISTS
            P: * 4 EXISTS
            S: a OK done
            P: a OK done
            P: b BAD SUBMIT takes one argument: the message as a literal
            """
        )

    def test_done_ends_it(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a IDLE
            U: a IDLE
            S: + idling
            P: + idling
            C: DONE
            U: DONE
            C: b NOOP
            U: b NOOP
            """
        )

    def test_a_refused_idle_makes_the_next_line_a_command(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a IDLE
            U: a IDLE
            C: b NOOP
            S: a BAD no idling
            P: a BAD no idling
            U: b NOOP
            """
        )

    def test_an_idle_that_the_server_ends_makes_the_next_line_a_command(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a IDLE
            U: a IDLE
            S: + idling
            P: + idling
            S: a NO enough
            P: a NO enough
            C: b NOOP
            U: b NOOP
            """
        )

    def test_idle_takes_no_arguments(self) -> None:
        play(GREETING + LOGIN + "C: a IDLE {2+}\nC: xx\nP: a BAD IDLE takes no arguments")


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
            is_transparent,
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

    def test_is_the_first_of_two_that_the_server_accepts(self) -> None:
        play(
            GREETING
            + r"""
            C: a LOGIN fred secret
            U: a LOGIN fred secret
            C: b LOGIN anna secret
            U: b LOGIN anna secret
            S: a OK hello
            P: a OK hello
            !: LoggedIn fred
            S: b OK never
            P: b OK never
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


class TestSubmit:
    @pytest.mark.parametrize("chunk", [1, 1000])
    def test_takes_the_literal_and_hands_it_over(self, chunk: int) -> None:
        scene = Scene(chunk)
        scene.play(GREETING + LOGIN + "C: a SUBMIT {8}\nP: + Ready for the message")
        scene.client(b"To: x\r\n\r\r")
        assert (scene.draft, scene.other) == (b"To: x\r\n\r", [])
        scene.client(b"\n")
        scene.play("!: Submit fred")

    @pytest.mark.parametrize("name", ["SUBMIT", "submit", "SubMit"])
    def test_is_answered_once_and_what_waits_goes_on(self, name: str) -> None:
        for chunk in (1, 1000):
            scene = Scene(chunk)
            scene.play(GREETING + LOGIN + f"C: a {name} {{3+}}\\r\\nabc\\r\\nb NOOP\n!: Submit fred")
            assert scene.dialogue.is_behind
            scene.take(scene.dialogue.submitted())
            scene.play("P: a OK SUBMIT completed\nU: b NOOP")

    def test_that_fails_says_why(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN + "C: a SUBMIT {3+}\nC: abc\n!: Submit fred")
        scene.take(scene.dialogue.not_submitted(SubmissionRefused("", ["bad@example.com"])))
        scene.play("P: a NO ,bad@example.com\nC: b SUBMIT {3+}\nC: abc\n!: Submit fred")
        scene.take(scene.dialogue.not_submitted(ClientError("not a message")))
        scene.play("P: b BAD not a message")

    def test_starts_when_all_before_it_is_complete(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a FETCH 1 FLAGS
            U: a FETCH 1 FLAGS
            C: a NOOP
            U: a NOOP
            C: c SUBMIT {3}
            S: a OK
            P: a OK
            S: a OK
            P: a OK
            P: + Ready for the message
            """
        )

    def test_may_be_pipelined_behind_the_login_that_it_needs(self) -> None:
        play(
            GREETING
            + r"""
            C: a LOGIN fred secret
            U: a LOGIN fred secret
            C: b SUBMIT {3+}
            C: abc
            S: a OK hello
            P: a OK hello
            !: LoggedIn fred
            !: Submit fred
            """
        )

    @pytest.mark.parametrize("chunk", [1, 1000])
    def test_neither_starts_nor_answers_inside_a_response(self, chunk: int) -> None:
        scene = Scene(chunk)
        scene.play(GREETING + LOGIN)
        scene.server(b"* 1 FETCH (X {3}\r\na")
        scene.client(b"a SUBMIT {3}\r\n")
        scene.server(b"bc)\r\n")
        assert scene.to_client == b"* 1 FETCH (X {3}\r\nabc)\r\n+ Ready for the message\r\n"
        scene.client(b"abc")
        scene.server(b"* 2 FETCH (X {3}\r\n")
        scene.client(b"\r\n")
        assert scene.other == []
        scene.server(b"abc)\r\n")
        assert scene.other == ["Submit fred"]

    @pytest.mark.parametrize(
        ("command", "answer"),
        [
            ("a SUBMIT", "BAD SUBMIT takes one argument: the message as a literal"),
            ('a SUBMIT "To: x"', "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT ~{3}", "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT x {3}", "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT {1} {3}", "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT x {3+}\\r\\nabc", "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT x {3+}\\r\\nabc {2+}\\r\\nde x {9}", "BAD SUBMIT takes one argument: the message as a literal"),
            ("a SUBMIT {1001}", "NO 5.3.4 message too large,"),
        ],
    )
    def test_of_another_form_is_refused_and_the_framing_kept(self, command: str, answer: str) -> None:
        play(GREETING + LOGIN + f"C: {command}\nP: a {answer}\nC: b NOOP\nU: b NOOP")

    def test_too_large_and_unasked_is_dropped_first(self) -> None:
        play(
            GREETING
            + LOGIN
            + "C: a SUBMIT {1001+}\nC: "
            + "b NOOP" * 100
            + "\\\nC: "
            + "x" * 401
            + "\nP: a NO 5.3.4 message too large,\nC: b NOOP\nU: b NOOP"
        )

    def test_with_more_behind_the_literal_is_refused_and_its_draft_dropped(self) -> None:
        play(
            GREETING
            + LOGIN
            + r"""
            C: a SUBMIT {3+}
            C: abc {2+}
            !: DropDraft
            C: xx
            P: a BAD SUBMIT takes one argument, and CRLF behind it
            C: b NOOP
            U: b NOOP
            """
        )

    @pytest.mark.parametrize(
        "line",
        ["SUBMIT NOOP", "a SELECT SUBMIT", 'a SELECT "SUBMIT"', "a SUBMITX {3}", "a XSUBMIT x", "a UID SUBMIT"],
    )
    def test_is_a_command_only_where_a_name_stands(self, line: str) -> None:
        play(GREETING + LOGIN + f"C: {line}\nU: {line}")

    def test_in_sasl_data_or_a_literal_is_no_command(self) -> None:
        play(
            GREETING
            + r"""
            C: a AUTHENTICATE PLAIN
            U: a AUTHENTICATE PLAIN
            S: +
            P: +
            C: a SUBMIT {3}
            U: a SUBMIT {3}
            """
        )

    def test_that_the_client_leaves_before_its_end_is_none(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN + "C: a SUBMIT {3+}")
        scene.client(b"abc\r")
        assert scene.other == []
        assert not scene.dialogue.is_behind

    def test_that_waits_when_the_client_leaves_still_counts(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN + "C: n NOOP\nU: n NOOP\nC: a SUBMIT {3+}\\r\\nabc")
        assert scene.dialogue.is_behind
        scene.play("S: n OK\nP: n OK\n!: Submit fred")


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "answer"),
        [
            ("a STARTTLS", "a BAD This command was not offered"),
            ("a COMPRESS DEFLATE", "a BAD This command was not offered"),
            ("a UNAUTHENTICATE", "a BAD This command was not offered"),
            ("a AUTHENTICATE GSSAPI", "a NO [CANNOT] This mechanism was not offered"),
            ("a AUTHENTICATE {5}", "a BAD AUTHENTICATE takes no literal"),
            ("a LOGIN fred", "a BAD LOGIN takes a user name and a password"),
            ("a LOGIN fred secret {3}", "a BAD LOGIN takes a user name and a password"),
            ("a LOGIN fred{3+}\\r\\nb NOOP", "a BAD LOGIN takes a user name and a password"),
            ("a LOGIN fred {5000}", "a BAD User name or password too long"),
            ("a SELECT {5}", "a BAD No literal here before login"),
            ("a NOOP {6+}\\r\\nb NOOP", "a BAD No literal here before login"),
            ("a ID (x {6+}\\r\\nb NOOP)", "a BAD No literal here before login"),
            ("", "* BAD Not a command: a tag, a space, a name, CRLF at the end"),
            ("DONE", "DONE BAD Not a command: a tag, a space, a name, CRLF at the end"),
            ("a NO\\rOP", "a BAD Not a command: a tag, a space, a name, CRLF at the end"),
            ("a NOOP \\x00", "a BAD Not a command: a tag, a space, a name, CRLF at the end"),
            ("a NOOP\\n\\", "a BAD Not a command: a tag, a space, a name, CRLF at the end"),
            ("a NOOP {8+}\\nb NOOP\\r\\n", "a BAD Not a command: a tag, a space, a name, CRLF at the end"),
        ],
    )
    def test_by_the_proxy_and_not_passed_on(self, line: str, answer: str) -> None:
        play(GREETING + f"C: {line}\nP: {answer}\nC: z NOOP\nU: z NOOP")

    def test_unasked_literals_of_login_without_literal_plus(self) -> None:
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

    @pytest.mark.parametrize("chunk", [1, 1000])
    def test_answers_wait_for_the_end_of_a_response(self, chunk: int) -> None:
        scene = Scene(chunk)
        scene.play(GREETING + LOGIN)
        scene.server(b"* 1 FETCH (X {3}\r\nab")
        scene.client(b"a STARTTLS\r\nb COMPRESS x\r\n")
        assert scene.to_client == b"* 1 FETCH (X {3}\r\nab"
        scene.server(b"c)\r\n* 2 EXISTS\r\n* OK x\r\n")
        said = b"a BAD This command was not offered\r\nb BAD This command was not offered\r\n"
        before, _, after = scene.to_client.partition(said)
        assert before + after == b"* 1 FETCH (X {3}\r\nabc)\r\n* 2 EXISTS\r\n* OK x\r\n"
        assert before.startswith(b"* 1 FETCH (X {3}\r\nabc)\r\n")


class TestTheEnd:
    """What cannot be refused any more, or is past all bounds, ends the session."""

    @pytest.mark.parametrize(
        ("script", "octets"),
        [
            ("C: a APPEND x {1+}\\r\\nx\\\nU: a APPEND x {1+}\\r\\nx\\", b"\n"),
            ("C: a APPEND x {1+}\\r\\nx\\\nU: a APPEND x {1+}\\r\\nx\\", b"a\rb\r\n"),
            ("C: a IDLE\nU: a IDLE\nS: +\nP: +", b"DONE\n"),
            ("", b"x" * (MAX_LINE + 1)),
            ("", b"a SUBMIT x {%d+}\r\n" % (MAX_DRAFT + DROP_BEYOND_DRAFT + 1)),
            ("", b"a SUBMIT x {%d+}\r\n" % 10**19),
        ],
    )
    def test_after_login(self, script: str, octets: bytes) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN + script)
        with pytest.raises(LimitExceeded):
            scene.client(octets)

    @pytest.mark.parametrize(
        ("script", "octets"),
        [
            ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b"x {9}\r\n"),
            ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b" {5000}\r\n"),
            ("C: a LOGIN {4+}\\r\\nfred\\\nU: a LOGIN {4+}\\r\\nfred\\", b"\r\n"),
            ("C: a ID (x {1}\nU: a ID (x {1}\nS: +\nP: +\nC: x\\\nU: x\\", b" x {6+}\r\n"),
            ("C: a AUTHENTICATE PLAIN\nU: a AUTHENTICATE PLAIN\nS: +\nP: +", b"AGZyZWQAc2VjcmV0\n"),
            ("", b"x" * (MAX_LINE_BEFORE_LOGIN + 1)),
        ],
    )
    def test_before_login(self, script: str, octets: bytes) -> None:
        scene = Scene()
        scene.play(GREETING + script)
        with pytest.raises(LimitExceeded):
            scene.client(octets)

    def test_is_not_the_end_for_an_id_that_the_server_asks_for(self) -> None:
        play(
            GREETING
            + r"""
            C: a ID (x {1}
            U: a ID (x {1}
            S: +
            P: +
            C: x y)
            U: x y)
            S: a OK
            P: a OK
            C: b NOOP
            U: b NOOP
            """
        )


class TestPilingUp:
    def test_a_client_is_not_wanted_while_its_octets_are_held(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN + "C: a IDLE\nU: a IDLE")
        assert scene.dialogue.wants_client
        scene.client(b"DONE\r\n")
        assert not scene.dialogue.wants_client
        scene.play("S: +\nP: +\nU: DONE")
        assert scene.dialogue.wants_client

    def test_a_client_is_not_wanted_with_too_many_commands_outstanding(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.client(b"a NOOP\r\n" * (MAX_OUTSTANDING + 2))
        assert scene.to_upstream == b"a NOOP\r\n" * MAX_OUTSTANDING
        assert not scene.dialogue.wants_client
        scene.server(b"a OK\r\n" * 2)
        assert scene.to_upstream == b"a NOOP\r\n" * (MAX_OUTSTANDING + 2)
        assert scene.dialogue.wants_client
