"""The client's octets in their turn: see ``script``."""

import pytest

from imapproxy.errors import LimitExceeded
from imapproxy.protocol.intake import MAX_DOING, MAX_JUNK_LINES, MAX_LINE, MAX_LINE_BEFORE_LOGIN, MAX_OUTSTANDING
from imapproxy.protocol.output import MAX_UNTAKEN
from tests.protocol.script import GREETING, LOGIN, Scene, play


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

    def test_no_more_is_answered_than_the_client_takes(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.client(b"a SUBMIT\r\n" * 25_000)
        answer = b"a BAD SUBMIT takes one argument: the message as a literal\r\n"
        answered = len(scene.to_client) // len(answer)
        assert scene.to_client == answer * answered
        assert MAX_UNTAKEN <= len(scene.to_client) < MAX_UNTAKEN + len(answer)
        assert scene.dialogue.waits_for_reader
        assert scene.dialogue.is_behind
        assert not scene.dialogue.wants_client
        while scene.dialogue.waits_for_reader:
            scene.take(scene.dialogue.answers_taken())
        assert scene.to_client == answer * 25_000
        assert scene.dialogue.wants_client


class TestOneOctetAtATime:
    """If each octet were searched again with each that follows, these would take many minutes."""

    @pytest.mark.parametrize(
        ("script", "length"), [("", MAX_LINE_BEFORE_LOGIN), (LOGIN, MAX_LINE)], ids=["before login", "after it"]
    )
    @pytest.mark.parametrize("beginning", [b"a ID (", b"a FETCH ", b"a", b"a LOGIN ", b"{", b"a CAPABILITY {3}"])
    def test_a_line(self, script: str, length: int, beginning: bytes) -> None:
        scene = Scene(chunk=1)
        scene.play(GREETING + script)
        scene.client(beginning + b"x" * (length - len(beginning)))
        assert not scene.to_upstream
        with pytest.raises(LimitExceeded):
            scene.client(b"x")

    def test_octets_that_wait_for_the_server(self) -> None:
        appends = 8000
        scene = Scene(chunk=1)
        scene.play(GREETING + LOGIN)
        scene.client(b"a APPEND x {1}\r\nb\r\n" * appends)
        for _ in range(appends):
            scene.server(b"+\r\na OK\r\n")
        assert scene.to_upstream == b"a APPEND x {1}\r\nb\r\n" * appends
        assert scene.to_client == b"+\r\na OK\r\n" * appends


def test_the_longest_legal_id_passes_before_login() -> None:
    field = b'"%b" "%b"' % (b"\\\\" * 30, b'\\"' * 1024)  # RFC 2971 section 3.3: 30 of 30 and 1024 octets
    line = b"a ID (" + b" ".join([field] * 30) + b")\r\n"
    for chunk in (1 << 20, 1000, 1):
        scene = Scene(chunk)
        scene.play(GREETING)
        scene.client(line)
        assert scene.to_upstream == line


@pytest.mark.parametrize(
    ("script", "octets"), [("", b"x" * (MAX_LINE_BEFORE_LOGIN + 1)), (LOGIN, b"x" * (MAX_LINE + 1))]
)
def test_an_endless_line_ends_the_session(script: str, octets: bytes) -> None:
    scene = Scene()
    scene.play(GREETING + script)
    with pytest.raises(LimitExceeded):
        scene.client(octets)


def test_lines_that_are_no_commands_end_the_session_once_there_are_too_many() -> None:
    scene = Scene()
    scene.play(GREETING + LOGIN)
    scene.client(b"\r\n" * (MAX_JUNK_LINES - 1) + b"a NOOP\r\n\r\n")
    assert scene.to_client.count(b"* BAD ") == MAX_JUNK_LINES
    with pytest.raises(LimitExceeded):
        scene.client(b"\r\n")


class TestAwaitingTheServer:
    """Whether the server still has to say something to a client that sends no more."""

    def test_it_has_to_greet(self) -> None:
        scene = Scene()
        assert scene.dialogue.awaits_server
        scene.play(GREETING)
        assert not scene.dialogue.awaits_server

    @pytest.mark.parametrize(
        ("client", "server"),
        [
            ("a NOOP\r\n", ""),
            ("a IDLE\r\n", ""),
            ("a AUTHENTICATE PLAIN\r\n", ""),
            ("a APPEND x {3}\r\n", ""),
            ("a APPEND x {3+}\r\nabc\r\n", ""),
            ("a NOOP\r\nb APPEND x {3+}\r\na", ""),
            ("a NOOP\r\nb STARTTLS {3+}\r\na", ""),  # dropped, since it is refused
            ("a NOOP\r\nb SUBMIT {3+}\r\na", ""),
            ("", "* 1 FETCH (BODY[] {3}\r\na"),
            ("\r\n", "* 1 FETCH (BODY[] {3}\r\na"),  # whose BAD waits for the end of the response
        ],
    )
    def test_it_has_to_answer(self, client: str, server: str) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.server(server.encode())
        scene.client(client.encode())
        assert scene.dialogue.awaits_server

    @pytest.mark.parametrize(
        ("client", "server"),
        [
            ("", ""),
            ("a NOO", ""),
            ("a NOOP\r\n", "a OK\r\n"),
            ("a IDLE\r\n", "+\r\n"),
            ("a AUTHENTICATE PLAIN\r\n", "+\r\n"),
            ("a APPEND x {3}\r\n", "+\r\n"),
            ("a APPEND x {3}\r\n", "+\r\na NO\r\n"),
            ("a APPEND x {3}\r\n", "a NO\r\n"),
            ("a APPEND x {3+}\r\na", ""),
            ("a NOOP\r\nb APPEND x {3+}\r\na", "a OK\r\n"),
            ("a SUBMIT {3+}\r\na", ""),
            ("a STARTTLS {3+}\r\na", ""),
        ],
    )
    def test_it_has_said_all_that_it_can(self, client: str, server: str) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.client(client.encode())
        scene.server(server.encode())
        assert not scene.dialogue.awaits_server


@pytest.mark.parametrize(
    ("script", "doing"),
    [
        ("", "login"),
        ("C: a LOGIN x y\nU: a LOGIN x y", "login"),
        ("C: a AUTHENTICATE PLAIN\nU: a AUTHENTICATE PLAIN", "login"),
        ("C: a NOOP\nU: a NOOP", "noop"),
        (LOGIN, "idle"),
        (LOGIN + "C: a IDLE\nU: a IDLE", "idle"),
        (LOGIN + "C: a UID FETCH 1 BODY[]\nU: a UID FETCH 1 BODY[]\nC: b NOOP\nU: b NOOP", "uid"),
        (LOGIN + "C: a APPEND x {3}\nU: a APPEND x {3}", "append"),
        (LOGIN + "C: a NOOP\nU: a NOOP\nC: b SUBMIT {3}", "noop"),
        (LOGIN + "C: b SUBMIT {3+}", "submit"),
        (LOGIN + "C: b SUBMIT {3+}\nC: abc\n!: Submit fred", "submitting"),
        (LOGIN + "C: b COMPRESS DEFLATE\nP: b OK DEFLATE active\n!: Compress", "compress"),
        (LOGIN + f"C: a {'X' * 500}\nU: a {'X' * 500}", "x" * MAX_DOING),
    ],
)
def test_what_a_client_is_doing_is_one_word(script: str, doing: str) -> None:
    assert play(GREETING + script).dialogue.doing == doing
