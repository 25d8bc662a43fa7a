"""Commands that are passed on, as scripts (see ``script``): literals piece by piece, IDLE, and what may not go on."""

import pytest

from imapproxy.errors import LimitExceeded
from tests.protocol.script import GREETING, LOGIN, Scene, play


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


class TestTheEnd:
    """What goes on as it may not cannot be refused any more: the session ends."""

    @pytest.mark.parametrize(
        ("script", "octets"),
        [
            (LOGIN + "C: a APPEND x {1+}\\r\\nx\\\nU: a APPEND x {1+}\\r\\nx\\", b"\n"),
            (LOGIN + "C: a APPEND x {1+}\\r\\nx\\\nU: a APPEND x {1+}\\r\\nx\\", b"a\rb\r\n"),
            (LOGIN + "C: a IDLE\nU: a IDLE\nS: +\nP: +", b"DONE\n"),
            ("C: a ID (x {1}\nU: a ID (x {1}\nS: +\nP: +\nC: x\\\nU: x\\", b" x {6+}\r\n"),
        ],
    )
    def test_of_the_session(self, script: str, octets: bytes) -> None:
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
