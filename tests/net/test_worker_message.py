"""What a worker may say to its parent, when, and that nothing else is believed."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import WorkerError
from imapproxy.net.registry import LONGEST_USER, Registry, SessionReport
from imapproxy.net.worker_message import (
    LONGEST_LINE,
    LONGEST_REASON,
    LONGEST_TEXT,
    Ended,
    Failed,
    Hearing,
    Message,
    Ready,
    Reported,
    Retired,
    encode,
    is_session,
)
from tests.net.figures import session

TOTALS = Registry().report()["totals"]
READY = encode("ready")
SESSION = encode("session", session())
REPORT = encode("report", [1, TOTALS])
SMILE = "\N{GRINNING FACE}"


def heard(*lines: bytes, hearing: Hearing | None = None) -> list[Message]:
    return list((hearing or Hearing(3)).receive(b"".join(lines)))


def asked(number: int = 1, most_sessions: int = 3) -> Hearing:
    """Return what hears a worker that serves and has been asked for a report."""
    hearing = Hearing(most_sessions)
    assert heard(READY, hearing=hearing) == [Ready()]
    hearing.expect_report(number)
    return hearing


def figures(message: Message) -> Any:
    assert isinstance(message, Reported)
    return json.loads(message.report)


# What it may say.


def test_a_worker_says_that_it_is_ready_or_why_it_could_not_start() -> None:
    assert heard(READY) == [Ready()]
    assert heard(encode("failed", "no room")) == [Failed("no room")]


def test_a_reason_is_made_printable() -> None:
    assert heard(encode("failed", "\x1b[2Jé\n" + SMILE)) == [Failed("?[2Jé?" + SMILE)]


def test_a_report_is_one_line_a_session_and_one_at_its_end() -> None:
    others = [encode("session", session(user=user)) for user in (None, SMILE * LONGEST_USER)]
    (told,) = heard(SESSION, *others, REPORT, hearing=asked())
    assert told == Reported(1, told.report)  # type: ignore[union-attr]
    assert [one["user"] for one in figures(told)["sessions"]] == ["fred", None, SMILE * LONGEST_USER]
    assert figures(told)["totals"] == TOTALS


def test_a_report_without_sessions_is_one_line() -> None:
    assert figures(heard(REPORT, hearing=asked())[0]) == {"sessions": [], "totals": TOTALS}


def test_one_report_after_another_is_asked_for() -> None:
    hearing = asked()
    assert len(heard(SESSION, REPORT, hearing=hearing)) == 1
    hearing.expect_report(2)
    (told,) = heard(encode("report", [2, TOTALS]), hearing=hearing)
    assert figures(told)["sessions"] == []


def test_what_is_held_of_a_report_is_known_and_free_at_its_end() -> None:
    hearing = asked()
    heard(SESSION, SESSION, hearing=hearing)
    assert hearing.held == 2 * len(json.dumps(session()))
    heard(REPORT, hearing=hearing)
    assert hearing.held == 0


def test_it_retires_when_it_was_told_to_and_ends_at_any_time() -> None:
    hearing = asked()
    hearing.expect_retired()
    ended = encode("ended", TOTALS | {"sent": 5})
    assert heard(encode("retired"), ended, hearing=hearing) == [Retired(), Ended(TOTALS | {"sent": 5})]


@given(sizes=st.lists(st.integers(1, 40)))
def test_the_borders_of_what_is_read_at_once_do_not_matter(sizes: list[int]) -> None:
    data = SESSION + SESSION + REPORT + encode("ended", TOTALS)
    hearing = asked()
    messages: list[Message] = []
    for size in sizes:
        messages += hearing.receive(data[:size])
        data = data[size:]
    messages += hearing.receive(data)
    assert [type(message) for message in messages] == [Reported, Ended]


def test_the_longest_session_fits_into_a_line() -> None:
    texts = dict.fromkeys(("client", "tls", "compress", "doing"), "x" * LONGEST_TEXT)
    longest = session(user=SMILE * LONGEST_USER, received=2**63 - 1, sent=2**63 - 1, since=9.4e10 / 3, **texts)
    assert len(encode("session", longest)) <= LONGEST_LINE
    assert len(heard(encode("session", longest), REPORT, hearing=asked())) == 1


def test_every_field_of_a_session_is_looked_at() -> None:
    for name in SessionReport.__required_keys__:
        assert not is_session(session(**{name: []}))


# What it may not.


def refusal(*lines: bytes, hearing: Hearing | None = None) -> str:
    with pytest.raises(WorkerError) as caught:
        heard(*lines, hearing=hearing)
    return str(caught.value)


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([b"\n"], id="nothing"),
        pytest.param([b"hello null\n"], id="no word of ours"),
        pytest.param([b"\xff\xfe null\n"], id="no text"),
        pytest.param([READY, READY], id="ready twice"),
        pytest.param([READY, encode("failed", "late")], id="failed after ready"),
        pytest.param([encode("failed", "so"), READY], id="ready after failed"),
        pytest.param([encode("ended", TOTALS)], id="ended before ready"),
        pytest.param([READY, encode("ended", TOTALS), encode("ended", TOTALS)], id="ended twice"),
        pytest.param([READY, encode("retired")], id="retired without being told to"),
        pytest.param([READY, SESSION], id="a session nobody asked for"),
        pytest.param([READY, REPORT], id="a report nobody asked for"),
    ],
)
def test_a_word_that_is_not_expected_now_is_refused(lines: Sequence[bytes]) -> None:
    assert refusal(*lines) == "this word is not expected now"


def test_a_report_is_given_once() -> None:
    assert refusal(REPORT, REPORT, hearing=asked()) == "this word is not expected now"
    hearing = asked()
    hearing.expect_retired()
    assert refusal(encode("retired"), encode("retired"), hearing=hearing) == "this word is not expected now"


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"{", b"'x'", b"nul", b"null null", b"NaN", b"Infinity", b"-Infinity", b"[1, NaN]", b"\xc3\xa9", b"\0"),
        *(
            b"\xff\xfen\0u\0l\0l\0",
            b"9" * 4301,
            b"-" + b"9" * 4301,
            b"[" * 4000,
            b'{"a":' * 900,
            b"[" * 2000 + b"]" * 2000,
        ),
    ],
)
@pytest.mark.parametrize("word", [b"session", b"report", b"retired", b"ended"])
def test_what_is_no_json_is_refused(word: bytes, value: bytes) -> None:
    hearing = asked()
    hearing.expect_retired()
    assert refusal(word + b" " + value + b"\n", hearing=hearing) == "this is no JSON"


NO_TEXTS: list[object] = [1, 1.5, False, [], {}]
NO_TIMES: list[object] = [-1.0, 1, 1e11, 1e308, None, True, "1", []]
NO_COUNTS: list[object] = [-1, 2**63, 10**4000, 1.0, 1e308, True, None, "1", [], {}]


@pytest.mark.parametrize(
    "changes",
    [
        *({"user": value} for value in [*NO_TEXTS, "x" * (LONGEST_USER + 1)]),
        *({name: value} for name in ("client", "doing") for value in [*NO_TEXTS, None, "x" * (LONGEST_TEXT + 1)]),
        *({name: value} for name in ("tls", "compress") for value in [*NO_TEXTS, "x" * (LONGEST_TEXT + 1)]),
        *({"since": value} for value in NO_TIMES),
        *({name: count} for name in ("received", "sent") for count in NO_COUNTS),
        {"more": 1},
    ],
)
def test_a_session_with_a_field_of_another_kind_or_range_is_refused(changes: dict[str, Any]) -> None:
    assert refusal(encode("session", session(**changes)), hearing=asked()) == "this is no session"


@pytest.mark.parametrize("value", [b"1e999", b"-0.1", b"1E400"])
def test_a_time_without_end_is_refused(value: bytes) -> None:
    without_time = json.dumps(session(since=0.5)).encode()
    line = b"session " + without_time.replace(b"0.5", value) + b"\n"
    assert refusal(line, hearing=asked()) == "this is no session"


def test_a_session_that_lacks_a_field_or_is_no_object_is_refused() -> None:
    lacking = dict(session())
    del lacking["tls"]
    for value in (lacking, {}, [], None, 1, "session", [session()]):
        assert refusal(encode("session", value), hearing=asked()) == "this is no session"


def test_a_key_that_comes_twice_is_told_once() -> None:
    twice = b'session {"user": [[[[1]]]], ' + json.dumps(session()).encode()[1:] + b"\n"
    (told,) = heard(twice, REPORT, hearing=asked())
    assert figures(told)["sessions"] == [session()]
    assert b"[[" not in told.report  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "value",
    [
        *(None, [], {}, 1, [1], [1, TOTALS, 1], [2, TOTALS], [0, TOTALS], [-1, TOTALS], ["1", TOTALS], [1.0, TOTALS]),
        *([1, None], [1, []], [1, {}], [1, {**TOTALS, "more": 1}]),
        *([1, {**TOTALS, "sent": count}] for count in NO_COUNTS),
    ],
)
def test_a_report_of_another_shape_or_number_is_refused(value: object) -> None:
    assert refusal(encode("report", value), hearing=asked()) == "this is not the report that was asked for"


@pytest.mark.parametrize("value", [None, [], 1, {}, {"sessions": 1}, {**TOTALS, "x" * 1000: 1}, {**TOTALS, "sent": -1}])
def test_totals_at_the_end_are_those_we_know(value: object) -> None:
    assert refusal(READY, encode("ended", value)) == "these are no totals"


def test_words_without_a_value_have_none() -> None:
    hearing = asked()
    hearing.expect_retired()
    assert refusal(encode("retired", 1), hearing=hearing) == "retired has no value"
    assert refusal(encode("ready", {})) == "ready has no value"


@pytest.mark.parametrize("reason", [None, 1, [], {}, "x" * (LONGEST_REASON + 1)])
def test_a_reason_is_a_string_that_is_not_too_long(reason: object) -> None:
    assert refusal(encode("failed", reason)) == "a reason is a string"


def test_there_are_no_more_sessions_than_a_worker_can_have() -> None:
    assert refusal(*[SESSION] * 4, hearing=asked()) == "there are more sessions than it can have"


@pytest.mark.parametrize("data", [b"x", b"session ", b'session {"user": "', b"ready  "])
def test_a_line_without_end_is_refused_before_much_of_it_is_held(data: bytes) -> None:
    hearing = asked()
    taken: list[bytes] = []

    def say_on() -> None:
        while True:
            list(hearing.receive(data))
            taken.append(data)

    with pytest.raises(WorkerError, match=r"^a line is too long$"):
        say_on()
    assert len(b"".join(taken)) <= LONGEST_LINE


def test_a_whole_line_may_be_no_longer_either() -> None:
    assert refusal(b"ready" + b" " * LONGEST_LINE + b"null\n") == "a line is too long"


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=50),
            st.sampled_from([READY, SESSION, REPORT, encode("retired"), encode("ended", TOTALS), b"\n", b" ", b"["]),
        )
    )
)
def test_whatever_comes_is_a_message_or_refused(pieces: list[bytes]) -> None:
    hearing = Hearing(2)
    hearing.expect_report(1)
    hearing.expect_retired()
    messages: list[Message] = []
    try:
        for piece in pieces:
            messages += hearing.receive(piece)
            assert hearing.held <= 2 * LONGEST_LINE
    except WorkerError:
        pass
    kinds = [type(message) for message in messages]
    assert len(kinds) == len(set(kinds))
