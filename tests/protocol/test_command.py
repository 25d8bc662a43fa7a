"""A command line is read as tag, name and the rest; what servers may read otherwise is no command."""

import pytest

from imapproxy.protocol.command import Command, is_clean, is_sole_literal, parse_command, tag_of


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"a NOOP\r\n", Command(b"a", b"NOOP", b"")),
        (b"a noop\r\n", Command(b"a", b"NOOP", b"")),
        (b"a NOOP \r\n", Command(b"a", b"NOOP", b"")),
        (b"]] UID FETCH 1:* (FLAGS)\r\n", Command(b"]]", b"UID", b"FETCH 1:* (FLAGS)")),
        (b"SUBMIT SELECT SUBMIT\r\n", Command(b"SUBMIT", b"SELECT", b"SUBMIT")),
        (b"a SUBMIT {3+}\r\n", Command(b"a", b"SUBMIT", b"{3+}")),
        (b'a LOGIN fred "\xc3\xa9 {3}"\r\n', Command(b"a", b"LOGIN", b'fred "\xc3\xa9 {3}"')),
        (b"a X-FOO.BAR  two spaces\r\n", Command(b"a", b"X-FOO.BAR", b" two spaces")),
    ],
)
def test_a_command(line: bytes, command: Command) -> None:
    assert parse_command(line) == command


@pytest.mark.parametrize(
    ("line", "tag"),
    [
        (b"\r\n", b"*"),
        (b"a\r\n", b"a"),
        (b"DONE\r\n", b"DONE"),
        (b"a  NOOP\r\n", b"a"),
        (b" NOOP\r\n", b"*"),
        (b"a NOOP\n", b"a"),
        (b"a NO\rOP\r\n", b"a"),
        (b"a NOOP\r\r\n", b"a"),
        (b"a NOOP x\x00y\r\n", b"a"),
        (b"+ NOOP\r\n", b"*"),
        (b"a+b NOOP\r\n", b"*"),
        (b"* OK forged\r\n", b"*"),
        (b"a{3} NOOP\r\n", b"*"),
        (b"\xff NOOP\r\n", b"*"),
        (b"a (NOOP)\r\n", b"a"),
    ],
)
def test_no_command_and_the_tag_of_its_answer(line: bytes, tag: bytes) -> None:
    assert parse_command(line) is None
    assert tag_of(line) == tag


@pytest.mark.parametrize(
    ("line", "clean"),
    [(b"x\r\n", True), (b"\r\n", True), (b"x\n", False), (b"x\ry\r\n", False), (b"x\x00\r\n", False), (b"x", False)],
)
def test_a_clean_line_is_one_line_to_every_server(line: bytes, clean: bool) -> None:
    assert is_clean(line) is clean


@pytest.mark.parametrize(
    ("arguments", "sole"),
    [(b"{3}", True), (b"{3+}", True), (b"~{3}", False), (b"{3} {3}", False), (b"x {3}", False), (b"", False)],
)
def test_the_mark_of_one_literal_and_nothing_else(arguments: bytes, sole: bool) -> None:
    assert is_sole_literal(arguments) is sole
