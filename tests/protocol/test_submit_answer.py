"""A SUBMIT's NO as a client reads it: the inverse of what the proxy writes, and harmless whoever wrote it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.protocol.response import MAX_TEXT, not_submitted
from imapproxy.protocol.submit_answer import Refusal, read_refusal


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        # The draft's own examples (section 3), and DESIGN's table.
        (
            b",badUser@example.com,unknownUser@example.com",
            Refusal("", ("badUser@example.com", "unknownUser@example.com")),
        ),
        (b"MX server not responding,", Refusal("MX server not responding")),
        (b"450 4.2.0 greylisted,bad1@example.com", Refusal("450 4.2.0 greylisted", ("bad1@example.com",))),
        (b",", Refusal("")),
        # A comma in a quoted local part is the recipient's; a quote in it stands behind a backslash.
        (
            rb',"a,b"@x.example,j\x{F6}rg@x.example,"\",\\"@[192.0.2.1]',
            Refusal("", ('"a,b"@x.example', r"j\x{F6}rg@x.example", r'"\",\\"@[192.0.2.1]')),
        ),
        # What the proxy does not write
        (b"no comma", Refusal("no comma")),
        (b"", Refusal("")),
        (b"[ALERT] on fire", Refusal("[ALERT] on fire")),
        (b",,a@b,,c@d,", Refusal("", ("a@b", "c@d"))),
        (b',"a,b@c', Refusal("", ('"a', "b@c"))),
        (b',a"b,c"@d', Refusal("", ('a"b', 'c"@d'))),
        (b"a\x1b[2J\tb\xc3\xa9,c\x07\xff", Refusal("a?[2J b??", ("c??",))),
        (b"x" * 5000 + b",", Refusal("x" * MAX_TEXT)),
    ],
)
def test_text_and_recipients(answer: bytes, want: Refusal) -> None:
    assert read_refusal(answer) == want


@pytest.mark.parametrize(
    ("text", "code", "is_temporary"),
    [
        ("5.6.6 cannot read /INBOX/;UID=20", "5.6.6", False),
        ("4.3.0 try later", "4.3.0", True),
        ("4.4.1", "4.4.1", True),
        # An SMTP server's own words: its reply code, mostly with one of RFC 3463 behind it
        ("450 4.2.0 greylisted", "4.2.0", True),
        ("550 5.7.1 no", "5.7.1", False),
        ("451 try later", "451", True),
        ("554", "554", False),
        # Codes that contradict each other: what SMTP says counts (RFC 2034, 4)
        ("450 5.1.1 no such user", "450", True),
        # No codes
        ("", "", False),
        ("MX server not responding", "", False),
        ("4500 recipients", "", False),
        ("4.3.0.1 is an address", "", False),
        ("5.1.", "", False),
        ("3.1.1 no class", "", False),
        ("480 no reply code", "", False),
        ("no 4.3.0", "", False),
    ],
)
def test_code_says_whether_to_try_later(text: str, code: str, is_temporary: bool) -> None:
    refusal = Refusal(text, ("bad@example.com",))
    assert (refusal.code, refusal.is_temporary) == (code, is_temporary)


@pytest.mark.parametrize(
    ("text", "is_uncertain"),
    [
        ("4.4.2 delivery uncertain; no reply from the mail server", True),
        ("4.4.2 the mail server closed the connection", False),
        ("451 4.4.2 delivery uncertain", False),
        ("", False),
    ],
)
def test_one_text_says_that_the_message_may_have_been_sent(text: str, is_uncertain: bool) -> None:
    assert Refusal(text).is_uncertain is is_uncertain


TEXTS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E, exclude_characters=","), max_size=60).map(
    lambda text: text.lstrip("[ ")
)
DOT_ATOMS = st.from_regex(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z\\]+)?", fullmatch=True)
QUOTED = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=20).map(
    lambda local: '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
)
RECIPIENTS = st.builds(lambda local, at: f"{local}@{at}", DOT_ATOMS | QUOTED, st.sampled_from(["x.example", "[::1]"]))


@given(TEXTS, st.lists(RECIPIENTS, max_size=4))
def test_reads_back_what_the_proxy_writes(text: str, recipients: list[str]) -> None:
    written = not_submitted(b"t", SubmissionRefused(text, recipients))
    assert read_refusal(written.removeprefix(b"t NO ").removesuffix(b"\r\n")) == Refusal(text, tuple(recipients))


@given(st.binary())
def test_whatever_a_server_says_is_printable(answer: bytes) -> None:
    refusal = read_refusal(answer)
    for shown in (refusal.text, *refusal.recipients):
        assert shown.isascii()
        assert shown.isprintable() or not shown


@given(st.lists(st.sampled_from([b",", b'"', b"\\", b"a", b"@"]), max_size=30).map(b"".join))
def test_only_commas_that_separate_are_dropped(recipients: bytes) -> None:
    found = read_refusal(b"," + recipients).recipients
    assert "".join(found).replace(",", "") == recipients.decode().replace(",", "")
