"""SUBMIT, as scripts: see ``script``."""

import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from tests.protocol.script import GREETING, LOGIN, Scene, play


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
