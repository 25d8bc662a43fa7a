"""Framing of both streams: what is given out for which octets, and that chunk borders change nothing."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import LimitExceeded, UpstreamError
from imapproxy.protocol.framing import (
    MAX_HELD_LINE,
    CommandFramer,
    Line,
    Literal,
    Passage,
    PassedLine,
    ResponseFramer,
    literal_at_end,
)


def framed(stream: bytes, *cuts: int) -> tuple[bytes, list[bytes]]:
    """Return all that a ResponseFramer gives out for a stream, cut there, and the lines to be read among it."""
    framer, given_out, lines = ResponseFramer(), b"", []
    edges = sorted({0, *cuts, len(stream)})
    for start, end in pairwise(edges):
        for event in framer.feed(stream[start:end], end - start):
            if isinstance(event, PassedLine):
                lines.append(given_out.removesuffix(b"\r\n").rpartition(b"\r\n")[2] + b"\r\n")
                assert lines[-1].startswith(event.beginning)
                continue
            given_out += event.octets
            if isinstance(event, Line):
                lines.append(event.octets)
    return given_out, lines


def lines_by_a_slow_reader(stream: bytes) -> list[bytes]:
    """Return the lines to be read of a stream of whole responses: line by line, as the grammar says it."""
    lines, position = [], 0
    within = False
    while position < len(stream):
        end = stream.index(b"\r\n", position) + 2
        line = stream[position:end]
        is_status = re.match(
            rb"(?i)\+|[^* \r][^ \r]* (OK|NO|BAD)[ \r]|\* (OK|NO|BAD|BYE|PREAUTH|CAPABILITY)[ \r]", line
        )
        position = end
        if is_status and not within:
            lines.append(line)
            continue
        literal = re.search(rb"\{(\d+)\}\r\n\Z", line)
        within = literal is not None
        position += int(literal[1]) if literal else 0
    return lines


RESPONSES = [
    b"* OK hello\r\n",
    b"* 1 EXISTS\r\n",
    b"* 23 FETCH (FLAGS (\\Seen) UID 42)\r\n",
    b"a1 OK done\r\n",
    b"+ go ahead\r\n",
    b"+ text that ends in {3}\r\n",
    b"* capability IMAP4rev1\r\n",
    b"* OK [CAPABILITY IMAP4rev1] x\r\n",
    b"* ok [capability] x\r\n",
    b"a OK [CAPABILITYX IMAP4rev1] x\r\n",
    b"a OK [COPYUID 1 1:3 4:6] x\r\n",
    b"a1 OKAY [COPYUID] {1}\r\nx\r\n",
    b"* NAMESPACE NIL NIL NIL\r\n",
    b"* N\r\n",
    b"* \r\n",
    b"*\r\n",
    b"\r\n",
    b"* OK text that ends in {5}\r\n",
    b"b NO no {99}\r\n",
    b"* 1 FETCH (BODY[] {10}\r\na OK x\r\n{3})\r\n",
    b"* 1 FETCH (BODY[] ~{4}\r\n\x00\r\n+)\r\n",
    b"* 1 FETCH (A {0}\r\n B {2}\r\n\r\n C {1}\r\n{)\r\n",
    b"* LIST () {3}\r\n}\r\n\r\n",
    b'* 1 FETCH (ENVELOPE ("{4}" "}{") X {{{1}\r\n})\r\n',
    b"* SEARCH " + b"1234567 " * 40 + b"\r\n",
    b"* BAD lone \r in a status\r\n",
    b"* 4 FETCH lone \r in data\r\n",
    b"* BYEBYE\r\n",
    b"* OK\r\n",  # found by tests/fuzz: the line end belongs to the line, not to how it begins
    b"* CAPABILITY\r\n",
    b"* CAPABILITYX {2}\r\nab\r\n",
    b"HELLO {2}\r\nab\r\n",  # no response at all: data, found by tests/fuzz to be a line where no long run precedes it
    b"a PREAUTH x\r\n",
    b" OK no tag\r\n",
]
LONG_RUN = b"".join(b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (n, n) for n in range(40))
STREAMS = st.lists(st.sampled_from([*RESPONSES, LONG_RUN]), min_size=1, max_size=8).map(b"".join)


@pytest.mark.parametrize("response", [*RESPONSES, LONG_RUN])
def test_octets_out_equal_octets_in_for_every_cut_of_every_response(response: bytes) -> None:
    stream = response + b"z OK end\r\n"
    expected = (stream, lines_by_a_slow_reader(stream))
    assert framed(stream) == expected
    assert framed(stream, *range(len(stream))) == expected
    for cut in range(len(stream)):
        assert framed(stream, cut) == expected


@given(STREAMS, st.lists(st.integers(0, 2000), max_size=12))
def test_any_chunking_gives_what_a_slow_reader_gives(stream: bytes, cuts: list[int]) -> None:
    expected = (stream, lines_by_a_slow_reader(stream))
    assert framed(stream, *(min(cut, len(stream)) for cut in cuts)) == expected


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=12))
def test_whatever_a_server_sends_nothing_is_changed_and_little_is_held(stream: bytes, cuts: list[int]) -> None:
    given_out, lines = framed(stream, *(min(cut, len(stream)) for cut in cuts))
    assert stream.startswith(given_out)
    rest = stream[len(given_out) :]
    assert len(rest) <= 24 or b"\r\n" not in rest  # a line that may have to be read is held until it is whole
    assert all(line.endswith(b"\r\n") for line in lines)


@pytest.mark.parametrize("response", RESPONSES)
def test_a_response_is_seen_behind_a_long_run_of_data(response: bytes) -> None:
    stream = LONG_RUN + response + LONG_RUN + response
    assert framed(stream) == (stream, lines_by_a_slow_reader(stream))


def test_a_passing_literal_is_given_out_as_it_comes_and_in_place() -> None:
    framer = ResponseFramer()
    framer.feed(b"* 1 FETCH (BODY[] {1000000}\r\n", 29)
    buffer = bytearray(b"x" * 5000)
    (passage,) = framer.feed(buffer, 5000)
    assert isinstance(passage, Passage)
    assert passage.octets.obj is buffer


def test_ten_thousand_lines_of_data_are_one_passage() -> None:
    stream = b"".join(b"* %d FETCH (FLAGS (\\Seen) UID %d)\r\n" % (n, n) for n in range(10000))
    assert ResponseFramer().feed(stream, len(stream)) == [Passage(memoryview(stream))]


def test_a_line_of_data_may_have_any_length() -> None:
    stream = b"* SEARCH" + b" 12345678" * 100_000 + b" {3}\r\nabc\r\na OK done\r\n"
    assert framed(stream, *range(0, len(stream), 4096)) == (stream, [b"a OK done\r\n"])


def greeted_framer() -> ResponseFramer:
    framer = ResponseFramer()
    framer.feed(b"* OK hello\r\n", 12)
    return framer


@pytest.mark.parametrize(
    "beginning", [b"a OK [COPYUID 1 ", b"* OK [COPYUID 1 ", b"b NO [MODIFIED ", b"* BYE x", b"c BAD x"]
)
def test_a_status_response_without_a_capability_list_passes_as_it_comes(beginning: bytes) -> None:
    framer = greeted_framer()
    numbers = b"1," * 100_000
    (start,) = framer.feed(beginning, len(beginning))
    assert start == Passage(memoryview(beginning))
    assert not framer.at_boundary
    assert framer.feed(numbers, len(numbers)) == [Passage(memoryview(numbers))]
    assert framer.feed(b"9] {3}\r", 7) == [Passage(memoryview(b"9] {3}"))]
    end = framer.feed(b"\n* 1 EXISTS\r\n", 13)
    state = b" ".join(beginning.split(b" ")[:2])
    assert [*map(tuple, end)] == [(b"\r",), (b"\n",), (state,), (b"* 1 EXISTS\r\n",)]
    assert framer.at_boundary


@pytest.mark.parametrize("beginning", [b"+ ", b"* CAPABILITY ", b"a OK [CAPABILITY ", b"* OK [CAPABILITY "])
def test_a_line_that_must_be_read_whole_is_held(beginning: bytes) -> None:
    framer = greeted_framer()
    line = beginning + b"x" * 5000 + b"\r\n"
    assert framer.feed(line, len(line) - 1) == []
    assert framer.at_boundary
    assert framer.feed(b"\n", 1) == [Line(line)]


@pytest.mark.parametrize(
    ("beginning", "name"),
    [
        (b"* OK [CAPABILITY ", "capability list"),
        (b"* CAPABILITY ", "capability list"),
        (b"a OK [CAPABILITY ", "capability list"),
        (b"+ ", "continuation request"),
        (b"tag", "tag"),
    ],
)
def test_a_line_too_long_to_be_held_is_the_servers_fault_and_named(beginning: bytes, name: str) -> None:
    framer = greeted_framer()
    stream = beginning + b"x" * (MAX_HELD_LINE - len(beginning))
    assert framer.feed(stream, len(stream)) == []
    with pytest.raises(UpstreamError, match=f"sent a {name} of over 65536 octets"):
        framer.feed(b"x", 1)


def test_a_greeting_is_held_and_bounded() -> None:
    framer = ResponseFramer()
    assert framer.feed(b"* OK he", 7) == []
    with pytest.raises(UpstreamError, match="sent a greeting of over 65536 octets"):
        framer.feed(b"x" * MAX_HELD_LINE, MAX_HELD_LINE)


@pytest.mark.parametrize("beginning", [b"* OK [CAPABILITY ", b"* CAPABILITY ", b"+ "])
def test_the_bound_holds_for_a_line_that_comes_at_once(beginning: bytes) -> None:
    stream = beginning + b"x" * MAX_HELD_LINE + b"\r\n"
    with pytest.raises(UpstreamError, match="65536"):
        greeted_framer().feed(stream, len(stream))


def test_a_status_response_can_be_held_until_it_is_whole() -> None:
    """As long as something may have to be said before it."""
    framer = greeted_framer()
    framer.holds_status = True
    assert framer.feed(b"a OK do", 7) == []
    assert framer.feed(b"ne\r\n", 4) == [Line(b"a OK done\r\n")]
    long_line = b"b OK " + b"x" * MAX_HELD_LINE
    with pytest.raises(UpstreamError, match="sent a status response of over 65536 octets"):
        framer.feed(long_line, len(long_line))


def test_a_status_response_passes_once_none_must_be_held() -> None:
    framer = greeted_framer()
    framer.holds_status = True
    framer.holds_status = False
    assert framer.feed(b"b OK do", 7) == [Passage(memoryview(b"b OK do"))]


def test_a_long_status_response_that_comes_at_once_is_one_line() -> None:
    line = b"a OK [COPYUID 1 " + b"1," * MAX_HELD_LINE + b"9] done\r\n"
    assert greeted_framer().feed(line, len(line)) == [Line(line)]


@pytest.mark.parametrize(
    ("octets", "at_boundary"),
    [
        (b"", True),
        (b"* 1 EXISTS\r\n", True),
        (b"* 1 EXIS", False),
        (b"* OK [CAPA", True),  # held, not given out
        (b"* OK par", False),
        (b"a OK par", False),
        (b"* 1 FETCH (X {3}\r\n", False),
        (b"* 1 FETCH (X {3}\r\nabc", False),
        (b"* 1 FETCH (X {3}\r\nabc)", False),
        (b"* 1 FETCH (X {3}\r\nabc)\r\n", True),
    ],
)
def test_a_line_of_ours_may_stand_only_between_responses(octets: bytes, at_boundary: bool) -> None:
    framer = greeted_framer()
    framer.feed(octets, len(octets))
    assert framer.at_boundary is at_boundary


@pytest.mark.parametrize(
    ("line", "literal"),
    [
        (b"a APPEND x {5}\r\n", Literal(5, synchronizing=True, eight_bit=False)),
        (b"a APPEND x {5+}\r\n", Literal(5, synchronizing=False, eight_bit=False)),
        (b"a APPEND x ~{0}\r\n", Literal(0, synchronizing=True, eight_bit=True)),
        (b"a APPEND x ~{5+}\r\n", Literal(5, synchronizing=False, eight_bit=True)),
        (b"{99999999999999999999}\r\n", Literal(99999999999999999999, synchronizing=True, eight_bit=False)),
        (b"~{99999999999999999999+}\r\n", Literal(99999999999999999999, synchronizing=False, eight_bit=True)),
        (b"a APPEND x {5}\n", Literal(5, synchronizing=True, eight_bit=False)),
        (b"a APPEND x {5-}\r\n", None),
        (b"a APPEND x {}\r\n", None),
        (b"a APPEND x {5} \r\n", None),
        (b"a APPEND x {-5}\r\n", None),
        (b"a NOOP\r\n", None),
        (b"a NOOP}\r\n", None),
        (b"{100000000000000000000}\r\n", None),
    ],
)
def test_literal_at_the_end_of_a_clients_line(line: bytes, literal: Literal | None) -> None:
    assert literal_at_end(line) == literal


def test_a_client_is_read_line_by_line_and_octets_by_number() -> None:
    framer = CommandFramer(100)
    stream = b"a APPEND x {5}\r\nhello\r\nb NO"
    framer.receive(stream, len(stream))
    assert framer.line() == b"a APPEND x {5}\r\n"
    assert bytes(framer.octets(5)) == b"hello"
    assert framer.line() == b"\r\n"
    assert framer.line() is None
    assert framer.holds_octets
    framer.settle()
    framer.receive(b"OP\r\n", 4)
    assert framer.line() == b"b NOOP\r\n"
    assert not framer.holds_octets
    framer.settle()
    assert bytes(framer.octets(5)) == b""


def test_what_is_held_survives_the_buffer_it_came_in() -> None:
    framer = CommandFramer(100)
    buffer = bytearray(b"a NOOP\r\nb NO")
    framer.receive(buffer, len(buffer))
    framer.line()
    framer.settle()
    buffer[:] = b"#" * len(buffer)
    framer.receive(b"OP\r\n", 4)
    assert framer.line() == b"b NOOP\r\n"


def test_the_rest_is_all_that_has_come() -> None:
    framer = CommandFramer(100)
    framer.receive(b"a NOOP\r\nb NO", 12)
    framer.line()
    framer.settle()
    framer.receive(b"OP\r\n", 4)
    assert framer.rest() == b"b NOOP\r\n"
    assert framer.rest() == b""
    assert not framer.holds_octets


@pytest.mark.parametrize("stream", [b"x" * 11, b"x" * 10 + b"\n"])
def test_a_clients_line_is_bounded(stream: bytes) -> None:
    framer = CommandFramer(10)
    framer.receive(stream, len(stream))
    with pytest.raises(LimitExceeded, match="too long"):
        framer.line()


@given(
    st.lists(st.sampled_from([b"a NOOP\r\n", b"\n", b"x" * 90 + b"\r\n", b"line\n"]), max_size=10).map(b"".join),
    st.lists(st.integers(0, 500), max_size=10),
)
def test_any_chunking_of_a_client_gives_the_same_lines(stream: bytes, cuts: list[int]) -> None:
    framer, lines = CommandFramer(100), []
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in pairwise(edges):
        framer.receive(stream[start:end], end - start)
        while (line := framer.line()) is not None:
            lines.append(line)
        framer.settle()
    assert lines == stream.splitlines(keepends=True)
