"""The running sessions as people read them."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.net.session_table import WIDEST, shown, size, table
from tests.net.figures import SINCE, figures, session, worker


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_a_table_has_a_line_a_session_by_user_and_time() -> None:
    later = session(tls="TLSv1.3", compress="deflate", since=SINCE + 60, sent=5 << 20, doing="fetch")
    ann = session(user="ann", client="2001:db8::1", received=1536)
    nobody = session(user=None, doing="TLS handshake", received=0, sent=0)
    answer = figures(
        worker(10, later, nobody, logins_accepted=4, logins_refused=1),
        worker(11, ann, session(), logins_accepted=1, submissions_accepted=1, retiring=True),
    )
    assert table(answer).splitlines() == [
        "USER  CLIENT       TLS      COMPRESS  SINCE                RECEIVED  SENT  DOING",
        "-     192.0.2.1    -        -         2023-11-14 22:13:20         0     0  TLS handshake",
        "ann   2001:db8::1  -        -         2023-11-14 22:13:20      1.5K  2.0K  idle",
        "fred  192.0.2.1    -        -         2023-11-14 22:13:20        10  2.0K  idle",
        "fred  192.0.2.1    TLSv1.3  deflate   2023-11-14 22:14:20        10  5.0M  fetch",
        "imapproxy 1.2.3: 4 sessions, 2 workers (1 retiring), 5 logins (1 refused), 1 submission",
    ]


def test_without_sessions_there_is_one_line() -> None:
    assert table(figures(worker(10))) == "imapproxy 1.2.3: 0 sessions, 1 worker, 0 logins, 0 submissions\n"


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        *((0, "0"), (1023, "1023"), (1024, "1.0K"), (10_000, "9.8K"), (10_240, "10K"), (1_000_000, "977K")),
        *((1_023_000, "999K"), (1_023_999, "1.0M"), (1 << 20, "1.0M"), (20 << 20, "20M"), (3 << 30, "3.0G")),
        *((1 << 50, "1.0P"), (5000 << 50, "5000P")),
    ],
)
def test_size(octets: int, want: str) -> None:
    assert size(octets) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        *((None, "-"), ("", "-"), ("fred", "fred"), ("fred smith", "fred smith")),
        *(("\x1b[2J\n", r"\x1b[2J\x0a"), ("fr\u00e9d", r"fr\xc3\xa9d"), ("\udcff", r"\xed\xb3\xbf")),
        ("a\\b", r"a\x5cb"),
        ("x" * 1000, "x" * (WIDEST - 3) + "..."),
    ],
)
def test_shown(text: str | None, want: str) -> None:
    assert shown(text) == want


@given(st.text())
def test_no_name_leaves_its_cell(name: str) -> None:
    lines = table(figures(worker(10, session(user=name)))).split("\n")
    assert len(lines) == 4
    assert all(line.isascii() and (line.isprintable() or not line) for line in lines)
