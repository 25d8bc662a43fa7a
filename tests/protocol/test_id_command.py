"""ID where the server believes whose connection is forwarded, as scripts: see ``script``."""

from dataclasses import replace

import pytest

from imapproxy.protocol.id_command import MAX_ID
from tests.protocol.script import GREETING, LOGIN, TERMS, Scene, play

FILTERED = replace(TERMS, hides_forwarding_ids=True)


def test_without_forwarding_an_id_is_nobodys_affair() -> None:
    play(GREETING + 'C: a ID ("x-originating-ip" "127.0.0.1")\nU: a ID ("x-originating-ip" "127.0.0.1")')


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ('a ID ("name" "m")', 'a ID ("name" "m")'),
        ("a id NIL", "a id NIL"),
        ('a ID ("x-originating-ip" "127.0.0.1")', "a ID NIL"),
        ('a iD ("name" "m" "X-Connected-IP" "127.0.0.1" "os" NIL)', 'a iD ("name" "m" "os" NIL)'),
    ],
)
def test_what_only_a_proxy_may_say_does_not_pass(sent: str, passed: str) -> None:
    play(
        GREETING
        + f"""
        C: {sent}
        U: {passed}
        S: * ID NIL
        P: * ID NIL
        S: a OK done
        P: a OK done
        C: b NOOP
        U: b NOOP
        """,
        FILTERED,
    )


def test_names_and_values_may_be_literals_that_the_proxy_asks_for() -> None:
    play(
        GREETING
        + r"""
        C: a ID ({16}
        P: + Go ahead
        C: x-originating-ip {9}
        P: + Go ahead
        C: 127.0.0.1 {4}
        P: + Go ahead
        C: name {1}
        P: + Go ahead
        C: m)
        U: a ID ({4}
        S: + OK
        U: name {1}
        C: b NOOP
        S: + OK
        U: m)
        U: b NOOP
        S: a OK done
        P: a OK done
        """,
        FILTERED,
    )


def test_a_server_that_refuses_a_literal_gets_no_octets_of_it() -> None:
    play(
        GREETING
        + r"""
        C: a ID ({8}
        P: + Go ahead
        C: b LOGIN  x)
        U: a ID ({8}
        S: a BAD no literals here
        P: a BAD no literals here
        C: c NOOP
        U: c NOOP
        """,
        FILTERED,
    )


def test_a_server_that_asks_for_a_literal_gets_its_octets_though_it_refuses_early() -> None:
    for chunk in (1, 1000):
        scene = Scene(chunk, FILTERED)
        scene.play(GREETING + "C: a ID ({4}\nP: + Go ahead\nC: name x)\nU: a ID ({4}")
        scene.server(b"+ go\r\na NO no\r\n")
        scene.play("P: a NO no\nU: name x)\nC: b NOOP\nU: b NOOP")


def test_a_plus_for_another_command_is_the_clients() -> None:
    play(
        GREETING
        + LOGIN
        + r"""
        C: a ID ({4}
        P: + Go ahead
        C: name x)
        U: a ID ({4}
        S: + go
        U: name x)
        C: b IDLE
        U: b IDLE
        S: + idling
        P: + idling
        S: a OK
        P: a OK
        """,
        FILTERED,
    )


@pytest.mark.parametrize("chunk", [1, 1000])
def test_the_proxy_asks_between_responses_only(chunk: int) -> None:
    scene = Scene(chunk, FILTERED)
    scene.play(GREETING)
    scene.server(b"* X {3}\r\na")
    scene.client(b"a ID ({4}\r\n")
    assert scene.to_client == b"* X {3}\r\na"
    scene.server(b"bc\r\n")
    assert scene.to_client == b"* X {3}\r\nabc\r\n+ Go ahead\r\n"


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("a ID", "ID takes names and values in parentheses, or NIL"),
        ('a ID ("name")', "ID takes names and values in parentheses, or NIL"),
        ('a ID (("x-originating-ip" "1"))', "ID takes names and values in parentheses, or NIL"),
        ("a ID ({4+}\\r\\nname {6+}\\r\\nb NOOP)", "No literal here before login"),
        (f"a ID ({{{MAX_ID}}}", "ID too long"),
        (f"a ID ({{{MAX_ID}+}}\\r\\n{'x' * MAX_ID})", "ID too long"),
    ],
)
def test_what_is_refused_does_not_reach_the_server(line: str, answer: str) -> None:
    play(GREETING + f"C: {line}\nP: a BAD {answer}\nC: z NOOP\nU: z NOOP", FILTERED)


@pytest.mark.parametrize("end", ["x\\n\\", "a\\rb", "\\x00"])
def test_a_line_that_is_not_clean_is_refused(end: str) -> None:
    play(
        GREETING
        + f"""
        C: a ID ({{4}}
        P: + Go ahead
        C: name{end}
        P: a BAD A line must end in CRLF, and hold no other CR, LF or NUL
        C: z NOOP
        U: z NOOP
        """,
        FILTERED,
    )


def test_after_login_literals_may_come_unasked() -> None:
    play(
        GREETING
        + LOGIN
        + r"""
        C: a ID ({11+}\r\nx-proxy-ttl {1+}\r\n9 {4+}\r\nname {3+}\r\nx y)
        U: a ID ({4+}\r\nname {3+}\r\nx y)
        C: b NOOP
        U: b NOOP
        """,
        FILTERED,
    )


# A server that answers one ID before login, which was the proxy's


CYRUS = b'* ID ("name" "Cyrus IMAPD")\r\n'


def scene_behind_own_id(chunk: int, answer: bytes = CYRUS) -> Scene:
    scene = Scene(chunk, FILTERED)
    scene.dialogue.identified(answer)
    scene.play(GREETING)
    return scene


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_an_id_without_answer_gets_the_one_to_the_proxys(chunk: int) -> None:
    scene_behind_own_id(chunk).play(
        """
        C: a ID ("name" "m")
        U: a ID ("name" "m")
        S: a OK NIL
        P: * ID ("name" "Cyrus IMAPD")\\r\\na OK NIL
        C: b id nil
        U: b id nil
        S: b OK NIL
        P: * ID ("name" "Cyrus IMAPD")\\r\\nb OK NIL
        """
    )


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_an_answer_of_the_servers_is_the_only_one(chunk: int) -> None:
    scene_behind_own_id(chunk).play(
        """
        C: a ID ("name" "m")
        U: a ID ("name" "m")
        S: * ID ("name" {7}\\r\\nDovecot)
        P: * ID ("name" {7}\\r\\nDovecot)
        S: a OK done
        P: a OK done
        """
    )


@pytest.mark.parametrize("status", ["NO", "BAD"])
def test_an_id_that_is_refused_gets_no_answer(status: str) -> None:
    scene_behind_own_id(1000).play(f"C: a ID NIL\nU: a ID NIL\nS: a {status} no\nP: a {status} no")


def test_after_login_a_server_that_gives_no_answer_is_left_alone() -> None:
    scene_behind_own_id(1000).play(LOGIN + "C: a ID NIL\nU: a ID NIL\nS: a OK NIL\nP: a OK NIL")


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_the_answer_stands_right_before_the_tagged_response(chunk: int) -> None:
    """Whatever the server says to commands before it and behind it."""
    scene_behind_own_id(chunk).play(
        """
        C: a NOOP\\r\\nb ID NIL\\r\\nc NOOP
        U: a NOOP\\r\\nb ID NIL\\r\\nc NOOP
        S: * X 1\\r\\na OK done\\r\\n* OK wait\\r\\nb OK NIL\\r\\n* X 2\\r\\nc OK done
        P: * X 1\\r\\na OK done\\r\\n* OK wait\\r\\n* ID ("name" "Cyrus IMAPD")\\r\\nb OK NIL\\r\\n* X 2\\r\\nc OK done
        """
    )


def test_no_answer_is_made_up() -> None:
    scene_behind_own_id(1000, answer=b"").play("C: a ID NIL\nU: a ID NIL\nS: a OK NIL\nP: a OK NIL")


def test_data_without_a_command_is_no_answer() -> None:
    scene_behind_own_id(1000).play(
        """
        S: * XLIST nothing
        P: * XLIST nothing
        C: a ID NIL
        U: a ID NIL
        S: a OK NIL
        P: * ID ("name" "Cyrus IMAPD")\\r\\na OK NIL
        """
    )
