import mmap
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import ClientError
from imapproxy.message.draft import (
    BLOCK,
    LineEnds,
    Octets,
    blocks,
    contains,
    find_spans,
    has_long_line,
    is_ascii,
    with_crlf,
)
from imapproxy.message.segments import Base64, WrappedBase64, quoted_printable
from tests.message.samples import mapped, normalised

OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b".", b"a", b"\xe9"])).map(b"".join)


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"", b""),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\rc\r\nd", b"a\r\nb\r\nc\r\nd\r\n"),
        (b"\r\r\n\n\r", b"\r\n\r\n\r\n"),
        (b"a\r\r\nb\r\r\r\n\r\r\n", b"a\r\nb\r\n\r\n"),
        (b"a\rb\r\r\nc\r\rd\r\r", b"a\r\nb\r\nc\r\n\r\nd\r\n\r\n"),
        (b"a\n\rb\n", b"a\r\n\r\nb\r\n"),
    ],
)
def test_each_line_end_becomes_crlf(octets: bytes, want: bytes) -> None:
    assert normalised(octets) == want
    assert normalised(*(octets[at : at + 1] for at in range(len(octets)))) == want


def test_cve_2023_51764_end_of_data_forged_by_bare_line_ends() -> None:
    ends = [b"\n", b"\r\n", b"\r", b"\r\r\n", b"\r\r\r\n"]
    for forged in (before + b"." + behind for before in ends for behind in ends):
        assert normalised(b"body" + forged + b"MAIL FROM:<admin@x>\r\n") == b"body\r\n.\r\nMAIL FROM:<admin@x>\r\n"


@given(OCTETS, st.lists(st.integers(0, 40)))
def test_chunk_borders_make_no_difference(octets: bytes, cuts: list[int]) -> None:
    borders = [0, *sorted(cuts), max([len(octets), *cuts])]
    chunks = [octets[start:end] for start, end in pairwise(borders)]
    assert normalised(*chunks) == normalised(octets)


@given(OCTETS)
def test_no_bare_line_end_is_left_and_nothing_else_changes(octets: bytes) -> None:
    output = normalised(octets)
    assert output.count(b"\r\n") == output.count(b"\r") == output.count(b"\n")
    assert not output or output.endswith(b"\r\n")
    assert b"".join(output.split()) == b"".join(octets.split())
    assert output == b"".join(line + b"\r\n" for line in re.sub(rb"\r+\n", b"\n", octets).splitlines())
    assert with_crlf(octets + b"\n") == normalised(octets + b"\n")


LONG_RUN = b"\r" * (3 * BLOCK + 7)


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"a" + LONG_RUN + b"\nb", b"a\r\nb\r\n"),
        (b"a" + LONG_RUN + b"b", b"a" + b"\r\n" * len(LONG_RUN) + b"b\r\n"),
        (LONG_RUN, b"\r\n" * len(LONG_RUN)),
        (b"a" * (BLOCK - 1) + b"\r\r\n", b"a" * (BLOCK - 1) + b"\r\n"),
        (b"a" * (BLOCK - 2) + b"\r\r\n", b"a" * (BLOCK - 2) + b"\r\n"),
    ],
    ids=["before LF", "before text", "at the end", "a block ends behind CR", "a block ends before LF"],
)
def test_a_run_of_crs_may_be_of_any_length(octets: bytes, want: bytes) -> None:
    assert normalised(octets) == want
    assert normalised(*(octets[at : at + 1] for at in range(len(octets)))) == want


def test_pieces_are_of_bounded_size() -> None:
    line_ends = LineEnds()
    pieces = [*line_ends.feed(b"a" + b"\r" * 10_000_000 + b"b\n" * BLOCK), *line_ends.finish()]
    assert max(map(len, pieces)) <= 2 * BLOCK
    assert len(set(map(id, pieces))) < 10  # the line ends are one piece, told again and again


# In quadratic time, one of these would take minutes.
@pytest.mark.parametrize(
    ("octets", "lines"),
    [
        (b"\r" * 10_000_000 + b"\n", 1),
        (b"\r" * 10_000_000 + b"x", 10_000_000),
        ((b"\r" * 1000 + b"x") * 5_000 + b"\r\r\n", 5_000_001),
        (b"\r\r\n" * 1_000_000, 1_000_000),
    ],
    ids=["a run before LF", "a run before text", "runs before text", "empty lines"],
)
def test_runs_of_crs_take_linear_time(octets: bytes, lines: int) -> None:
    assert with_crlf(octets).count(b"\r\n") == lines


def test_nul_is_the_clients_error() -> None:
    with pytest.raises(ClientError):
        LineEnds().feed(b"a\0b")


def test_chunks_may_be_views_of_a_buffer() -> None:
    line_ends = LineEnds()
    assert line_ends.feed(memoryview(b"a\nb")[0:2]) + line_ends.feed(bytearray(b"c\r")) == [b"a\r\n", b"c"]
    assert line_ends.finish() == [b"\r\n"]
    assert line_ends.finish() == []


def test_blocks_are_the_octets_in_pieces() -> None:
    octets = bytes(BLOCK) + b"ab"
    assert [len(block) for block in blocks(octets, 1, BLOCK + 2)] == [BLOCK, 1]


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"a" * 998 + b"\r\n", False),
        (b"a" * 999 + b"\r\n", True),
        (b"a" * 999, True),
        (b"a\r\n" * 1000 + b"b" * 998, False),
        (b"a\r\n" * 1000 + b"b" * 999 + b"\r\nc\r\n", True),
        (b"", False),
    ],
)
def test_long_lines_are_found(octets: bytes, want: bool) -> None:
    assert has_long_line(octets, 0, len(octets)) is want
    assert has_long_line(b"x\r\n" + octets, 3, len(octets) + 3) is want
    if octets:
        assert has_long_line(mapped(octets), 0, len(octets)) is want


def test_ascii_is_asked_of_the_range_only() -> None:
    octets = b"\xe9" + b"a" * BLOCK + b"\xe9"
    assert is_ascii(octets, 1, BLOCK + 1)
    assert not is_ascii(octets, 1, BLOCK + 2)


@pytest.mark.parametrize("before", [0, BLOCK - 5, BLOCK, 3 * BLOCK - 1])
def test_a_word_is_found_across_blocks(before: int) -> None:
    assert contains(b"." * before + b"External-BODY", b"external-body")
    assert not contains(b"." * before + b"external-bod", b"external-body")


@pytest.mark.parametrize("before", [0, 1, *range(1024 * 1024 - 4, 1024 * 1024 + 2)])
def test_a_pattern_is_found_once_wherever_it_stands(before: int) -> None:
    octets = b"." * before + b"--b" + b"." * 1024 * 1024 + b"--b--"
    want = [(before, before + 3, False), (before + 3 + 1024 * 1024, len(octets), True)]
    assert find_spans(re.compile(rb"--b(--)?"), octets, 0, len(octets), 9) == want


def test_a_mapping_that_was_searched_can_be_closed() -> None:
    mapping = mapped(b"a--b--\r\n--b\r\n")
    assert find_spans(re.compile(rb"--b(--)?"), mapping, 0, len(mapping), 9) == [(1, 6, True), (8, 11, False)]
    assert find_spans(re.compile(rb"--b(--)?"), mapping, 0, len(mapping), 1) == [(1, 6, True)]
    mapping.close()


def mapped_octets() -> int:
    """Return how much of mapped files this process has in memory."""
    (line,) = re.findall(r"^RssFile:\s*([0-9]+) kB$", Path("/proc/self/status").read_text("ascii"), re.MULTILINE)
    return int(line) * 1024


@pytest.mark.parametrize(
    "passing",
    [
        lambda octets: sum(map(len, blocks(octets, 0, len(octets)))),
        lambda octets: has_long_line(octets, 0, len(octets)),
        lambda octets: contains(octets, b"external-body"),
        lambda octets: is_ascii(octets, 0, len(octets)),
        lambda octets: find_spans(re.compile(rb"\n(-)-b"), octets, 0, len(octets), 10),
        lambda octets: sum(map(len, Base64(octets, 0, len(octets)).chunks())),
        lambda octets: quoted_printable(octets, 0, len(octets)).size,
        lambda octets: sum(map(len, WrappedBase64(octets, 0, len(octets)).chunks())),
    ],
)
def test_of_a_mapped_draft_little_is_in_memory_at_a_time(passing: Callable[[Octets], object]) -> None:
    with TemporaryFile() as file:
        file.truncate(16 << 20)
        file.seek(0)
        file.write((b"a" * 78 + b"\r\n") * ((16 << 20) // 80))
        file.flush()
        octets = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        before = mapped_octets()
        passing(octets)
        assert mapped_octets() - before < 4 << 20
        octets.close()


@pytest.mark.parametrize(
    ("text", "want"), [(b"", b""), (b"a", b"a"), (b"a\r", b"a\r\n"), (b"a\n", b"a\r\n"), (b"a\r\n", b"a\r\n")]
)
def test_what_is_no_draft_may_end_inside_a_line(text: bytes, want: bytes) -> None:
    line_ends = LineEnds()
    assert b"".join([*line_ends.feed(text), *line_ends.flush()]) == want
    assert with_crlf(text) == want
