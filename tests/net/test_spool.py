import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.net.spool import MEMORY_LIMIT, Keep, Spool

LINE = b"x" * 62 + b"\r\n"
LARGE = LINE * (2 * MEMORY_LIMIT // len(LINE))


def open_files() -> set[str]:
    return {path.readlink().name for path in Path("/proc/self/fd").iterdir() if path.is_symlink()}


@pytest.mark.parametrize(
    ("chunks", "content"),
    [
        ([], b""),
        ([b"a\r\nb\r\n"], b"a\r\nb\r\n"),
        ([b"a\r", b"\nb\nc\rd"], b"a\r\nb\r\nc\r\nd\r\n"),
        ([bytearray(b"a"), memoryview(b"b\r")], b"ab\r\n"),
    ],
)
def test_holds_a_draft_with_its_line_ends_made_crlf(
    chunks: list[bytes | bytearray | memoryview], content: bytes
) -> None:
    with Spool() as spool:
        for chunk in chunks:
            spool.write(chunk)
        assert spool.content() == content


def test_the_digest_is_of_the_octets_as_they_came() -> None:
    with Spool() as spool:
        spool.write(b"a\n")
        spool.write(b"b\r\n")
        assert spool.digest() == hashlib.sha256(b"a\nb\r\n").digest()
        assert spool.content() == b"a\r\nb\r\n"
        assert spool.digest() == hashlib.sha256(b"a\nb\r\n").digest()


@pytest.mark.parametrize(
    ("size", "kind"), [(MEMORY_LIMIT, bytes), (MEMORY_LIMIT + len(LINE), mmap.mmap), (5 * MEMORY_LIMIT, mmap.mmap)]
)
def test_a_large_draft_lies_in_a_file(size: int, kind: type) -> None:
    with Spool() as spool:
        for _ in range(size // len(LINE)):
            spool.write(LINE)
        content = spool.content()
        assert isinstance(content, kind)
        assert content[:] == LINE * (size // len(LINE))


def test_the_file_has_no_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with Spool() as spool:
        spool.write(LARGE)
        assert len(spool.content()) == len(LARGE)
        assert list(tmp_path.iterdir()) == []


def test_nothing_stays_open() -> None:
    before = open_files()
    with Spool() as spool:
        spool.write(LARGE)
        content = spool.content()
        assert isinstance(content, mmap.mmap)
    assert content.closed
    assert open_files() == before


def test_a_mapped_draft_needs_one_descriptor() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Spool() as spool:
        spool.write(LARGE)
        assert len(spool.content()) == len(LARGE)
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 1


def test_a_message_may_outlive_the_spool_with_its_piece_of_the_draft() -> None:
    with Spool() as spool:
        spool.write(LARGE)
        piece = memoryview(spool.content())[: len(LINE)]
    assert piece == LINE


def test_nul_is_no_text() -> None:
    with Spool() as spool, pytest.raises(ClientError):
        spool.write(b"Subject: a\0b\r\n")


def fill_disk(spool: Spool | Keep) -> None:
    """Let the disk be full from now on: no file system is small enough to be filled in a test."""
    with open("/dev/full", "wb") as full:
        os.dup2(full.fileno(), spool._store._file.fileno())


def test_a_full_disk_refuses_the_draft() -> None:
    with Spool() as spool:
        spool.write(LARGE)
        fill_disk(spool)
        with pytest.raises(SubmissionRefused, match=r"^4\.3\.1 "):
            spool.write(LARGE)


def test_a_disk_that_is_full_in_the_end_refuses_the_draft_too() -> None:
    with Spool() as spool:
        spool.write(LARGE)
        spool.write(LINE)
        fill_disk(spool)
        with pytest.raises(SubmissionRefused, match=r"^4\.3\.1 "):
            spool.content()


# What is kept of other people's mail: nothing is added to it.


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ([], b""),
        ([b""], b""),
        ([b"no end"], b"no end"),
        ([b"a\r\nb\nc\rd\r\n"], b"a\r\nb\r\nc\r\nd\r\n"),
        ([b"a\r", b"\nb\r", b"c\r"], b"a\r\nb\r\nc\r\n"),
        ([b"\r"], b"\r\n"),
    ],
)
def test_keeps_texts_with_their_line_ends_made_crlf(text: list[bytes], kept: bytes) -> None:
    with closing(Keep(1000)) as keep:
        spans = keep.spans([text, [b"\nnext"], text])
        assert [span.octets[span.start : span.end] for span in spans] == [kept, b"\r\nnext", kept]


def test_keeps_much_in_a_file_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = open_files()
    with closing(Keep(2 * (2 + len(LARGE)))) as keep:
        spans = keep.spans([[LARGE], [LINE] * (len(LARGE) // len(LINE))])
        assert list(tmp_path.iterdir()) == []
        assert isinstance(spans[0].octets, mmap.mmap)
        assert spans[1].octets[spans[1].start : spans[1].end] == LARGE
    assert open_files() == before


def test_keeps_no_more_than_it_may() -> None:
    with closing(Keep(9)) as keep:
        assert len(keep.spans([[b"ab"], [b"c\n"]])) == 2
    with closing(Keep(9)) as keep, pytest.raises(SubmissionRefused, match=r"^5\.3\.4 "):
        keep.spans([[b"ab"], [b"cd\n"]])
    with closing(Keep(7)) as keep, pytest.raises(SubmissionRefused, match=r"^5\.3\.4 "):
        keep.spans([[b"abcd\r"]])


def test_each_text_begins_a_line() -> None:
    with closing(Keep(100)) as keep:
        spans = keep.spans([[b"ab"], [b"--c"]])
        assert spans[1].octets[spans[1].start - 2 : spans[1].end] == b"\r\n--c"


def test_keeps_no_nul() -> None:
    with closing(Keep(100)) as keep, pytest.raises(SubmissionRefused, match=r"^5\.6\.0 "):
        keep.spans([[b"a\0b"]])


def test_a_full_disk_keeps_nothing() -> None:
    with closing(Keep(1 << 30)) as keep, pytest.raises(SubmissionRefused, match=r"^4\.3\.1 "):
        keep.spans([[LARGE], filling_disk(keep)])


def filling_disk(keep: Keep) -> Iterator[bytes]:
    fill_disk(keep)
    yield LARGE
