"""Commands that are refused and not passed on, as scripts (see ``script``): what belongs to them goes with them."""

import pytest

from imapproxy.errors import LimitExceeded
from imapproxy.protocol.refusal import DROP_BEYOND_DRAFT
from tests.protocol.script import GREETING, LOGIN, MAX_DRAFT, Scene, play


class TestRefused:
    @pytest.mark.parametrize(
        ("line", "answer"),
        [
            ("a STARTTLS", "a BAD This command was not offered"),
            ("a COMPRESS DEFLATE", "a BAD This command was not offered"),
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

    @pytest.mark.parametrize("chunk", [1, 1000])
    def test_answers_wait_for_the_end_of_a_response(self, chunk: int) -> None:
        scene = Scene(chunk)
        scene.play(GREETING + LOGIN)
        scene.server(b"* 1 FETCH (X {3}\r\nab")
        scene.client(b"a UNAUTHENTICATE\r\nb UNAUTHENTICATE\r\n")
        assert scene.to_client == b"* 1 FETCH (X {3}\r\nab"
        scene.server(b"c)\r\n* 2 EXISTS\r\n* OK x\r\n")
        said = b"a BAD This command was not offered\r\nb BAD This command was not offered\r\n"
        before, _, after = scene.to_client.partition(said)
        assert before + after == b"* 1 FETCH (X {3}\r\nabc)\r\n* 2 EXISTS\r\n* OK x\r\n"
        assert before.startswith(b"* 1 FETCH (X {3}\r\nabc)\r\n")

    @pytest.mark.parametrize("size", [MAX_DRAFT + DROP_BEYOND_DRAFT + 1, 10**19])
    def test_what_is_too_much_to_drop_ends_the_session(self, size: int) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        with pytest.raises(LimitExceeded):
            scene.client(b"a SUBMIT x {%d+}\r\n" % size)

    def test_what_is_dropped_bit_by_bit_counts_together(self) -> None:
        scene = Scene()
        scene.play(GREETING + LOGIN)
        scene.client(b"a SUBMIT x {600+}\r\n" + b"x" * 600)
        with pytest.raises(LimitExceeded):
            scene.client(b" {%d+}\r\n" % (MAX_DRAFT + DROP_BEYOND_DRAFT - 599))
