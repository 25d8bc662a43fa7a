import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.protocol.condition import MAX_WORDS, Condition, RespText, capabilities, condition, greeting, printable


@pytest.mark.parametrize(
    ("line", "want"),
    [
        (b"* OK hello\r\n", Condition(b"*", b"OK", RespText("", "hello"))),
        (b"* ok [capability IMAP4rev1] hello\r\n", Condition(b"*", b"OK", RespText("CAPABILITY", "hello"))),
        (b"* PREAUTH come in\r\n", Condition(b"*", b"PREAUTH", RespText("", "come in"))),
        (b"* BYE\r\n", Condition(b"*", b"BYE", RespText("", ""))),
        (b"A1 NO [ALERT]\r\n", Condition(b"A1", b"NO", RespText("ALERT", ""))),
        (b"A1 BAD {5}\n", Condition(b"A1", b"BAD", RespText("", "{5}"))),
        (b"* OK caf\xc3\xa9 \x1b[0m\0\r\n", Condition(b"*", b"OK", RespText("", "caf?? ?[0m?"))),
        (b"* OK [no end\r\n", Condition(b"*", b"OK", RespText("", "[no end"))),
        (b"* OKAY\r\n", None),
        (b"* 1 EXISTS\r\n", None),
        (b"+ OK\r\n", Condition(b"+", b"OK", RespText("", ""))),
        (b" OK x\r\n", None),
        (b"* OK half", None),
        (b"", None),
    ],
)
def test_a_condition(line: bytes, want: Condition | None) -> None:
    assert condition(line) == want


@pytest.mark.parametrize(
    ("line", "want"),
    [
        (b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n", b"IMAP4rev1 AUTH=PLAIN"),
        (b"* capability IMAP4rev1 \r\n", b"IMAP4rev1"),
        (b"* CAPABILITY\r\n", None),
        (b"* CAPABILITY IMAP4rev1] * OK forged\r\n", None),
        (b"* CAPABILITY a  b\r\n", None),
        (b"* CAPABILITY a\rb\r\n", None),
        (b"* OK [CAPABILITY IMAP4rev1] hello\r\n", None),
    ],
)
def test_what_is_listed(line: bytes, want: bytes | None) -> None:
    assert capabilities(line) == want


@pytest.mark.parametrize(
    ("listed", "words", "want"),
    [
        (None, "hello", b"* OK hello\r\n"),
        (b"IMAP4rev1 AUTH=PLAIN", "hello", b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hello\r\n"),
        (None, "", b"* OK ready\r\n"),
        (None, "[ALERT] pay now", b"* OK ready\r\n"),
    ],
)
def test_a_greeting(listed: bytes | None, words: str, want: bytes) -> None:
    assert greeting(listed, words) == want


@given(st.binary(), st.binary())
def test_a_greeting_is_one_response_without_any_code_but_ours(code: bytes, text: bytes) -> None:
    words = RespText.of(b"[" + code + b"] " + text).words
    said = greeting(b"IMAP4rev1", words)
    assert said.count(b"\r\n") == 1
    assert condition(said) == Condition(
        b"*", b"OK", RespText("CAPABILITY", said.partition(b"] ")[2].rstrip(b"\r\n").decode())
    )
    bare = condition(greeting(None, words))
    assert bare is not None
    assert bare.text.code == ""


def test_words_are_printable_and_bounded() -> None:
    assert printable(b" a\tb\r\n\x1b\xc3\xa9 ") == "a b ???"
    assert printable(b"x" * 1000) == "x" * MAX_WORDS


# What an expression goes back over for each octet would take half an hour here.
@pytest.mark.parametrize("code", [b"A" * (1 << 20), b"A " * (1 << 19)])
def test_a_code_without_its_end_is_gone_through_once(code: bytes) -> None:
    assert RespText.of(b"[" + code) == RespText("", "[" + code.decode("ascii")[: MAX_WORDS - 1])
