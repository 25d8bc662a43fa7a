"""The relay, in a thread between two TCP peers: nobody blocks anybody, and each way to end is an orderly one."""

from collections.abc import Callable, Iterator
from time import process_time

import pytest

from imapproxy.errors import UpstreamUnavailable
from imapproxy.net import relay as relay_module
from imapproxy.net.connection import BUFFER_SIZE
from imapproxy.net.relay import JOIN_LIMIT, Patience
from imapproxy.protocol.action import Action, Close, DropDraft, LoggedIn, Submit, ToClient, ToUpstream
from imapproxy.protocol.login import Credentials
from imapproxy.protocol.output import MAX_UNTAKEN
from tests.net.peers import SILENCE, Background, Peer, nothing_left
from tests.net.relaying import (
    GREETING,
    NOT_SOON,
    PLAIN,
    SMALL_BUFFERS,
    SOON,
    TLS,
    Layers,
    Running,
    logged_in,
    relaying,
    standing_by,
)

MEGABYTE = b"0123456789abcdef" * (1 << 16)
DOWNLOAD = 32 * MEGABYTE

LOST = b"* BYE The IMAP server closed the connection\r\n"
IDLE = b"* BYE Nothing happened for too long\r\n"
LATE = b"* BYE Login takes too long\r\n"
STOPPED = b"* BYE The server is shutting down\r\n"


@pytest.fixture(autouse=True)
def tidiness() -> Iterator[None]:
    with nothing_left():
        yield


# Passing on.


def test_commands_and_responses_pass_both_ways() -> None:
    with relaying() as running:
        running.log_in()
        running.client.say(b"b APPEND INBOX {3}\r\n")
        running.server.expect(b"b APPEND INBOX {3}\r\n")
        running.server.say(b"+ go\r\n")
        running.client.expect(b"+ go\r\n")
        running.client.say(b"\0\xff\n\r\n")
        running.server.expect(b"\0\xff\n\r\n")
        running.server.say(b"* 1 FETCH (BODY[] {4}\r\n* \r\n)\r\nb OK done\r\n")
        running.client.expect(b"* 1 FETCH (BODY[] {4}\r\n* \r\n)\r\nb OK done\r\n")


def test_a_client_that_sends_ahead_is_read_on_as_soon_as_the_server_has_decided() -> None:
    with logged_in() as running:
        running.client.say(b"b APPEND INBOX {4}\r\nab")
        running.server.expect(b"b APPEND INBOX {4}\r\n")
        running.server.say(b"+ go\r\n")
        running.server.expect(b"ab")
        running.client.say(b"cd\r\n")
        running.server.expect(b"cd\r\n")


def test_a_client_that_sends_ahead_is_not_read_for_ever() -> None:
    ahead = b"b APPEND INBOX {%d}\r\n" % len(DOWNLOAD)
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        said = running.client.say_what_is_taken(ahead + DOWNLOAD)
        assert said < len(MEGABYTE)
        running.server.expect(ahead)
        assert not running.server.is_spoken_to()
        running.server.say(b"+ go\r\n")
        rest = Background(lambda: running.client.say(DOWNLOAD[said - len(ahead) :]))
        assert running.server.hear(len(DOWNLOAD)) == DOWNLOAD
        rest.result()


def test_what_both_said_before_the_relay_began_is_not_lost() -> None:
    with standing_by() as running:
        running.client.say(b"a LOGIN fred pencil\r\nb NOOP\r\n")
        running.server.say(GREETING)
        running.begin()
        running.server.expect(b"a LOGIN fred pencil\r\nb NOOP\r\n")
        running.client.expect(GREETING)
        running.server.close()
        running.end()


def test_an_upload_beside_an_unread_download_does_not_deadlock_and_little_is_held() -> None:
    append = b"c APPEND INBOX {%d+}\r\n" % len(DOWNLOAD)
    response = b"* 1 FETCH (BODY[] {%d}\r\n" % len(DOWNLOAD)
    with logged_in() as running:
        running.client.say(b"b FETCH 1 BODY[]\r\n")
        running.server.expect(b"b FETCH 1 BODY[]\r\n")
        download = Background(lambda: running.server.say(response + DOWNLOAD + b")\r\nb OK done\r\n"))
        upload = Background(lambda: running.server.hear(len(append) + len(DOWNLOAD) + 2))
        held = []
        running.client.say(append)
        for _ in range(32):
            running.client.say(MEGABYTE)  # and nothing is read meanwhile
            held.append(running.stage.held())
        running.client.say(b"\r\n")
        assert upload.result() == append + DOWNLOAD + b"\r\n"
        assert max(held) <= BUFFER_SIZE
        assert running.client.hear(len(response) + len(DOWNLOAD)) == response + DOWNLOAD
        running.client.expect(b")\r\nb OK done\r\n")
        download.result()


def test_the_server_is_not_read_while_the_client_does_not_read() -> None:
    literal = b"* 1 FETCH (BODY[] {%d}\r\n" % len(DOWNLOAD)
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        running.server.say(literal)
        said = running.server.say_what_is_taken(DOWNLOAD)
        assert said < len(MEGABYTE)
        assert 0 < running.stage.held() <= BUFFER_SIZE
        rest = Background(lambda: running.server.say(DOWNLOAD[said:]))
        assert running.client.hear(len(literal) + len(DOWNLOAD)) == literal + DOWNLOAD
        rest.result()


def test_the_client_is_not_read_while_the_server_does_not_read() -> None:
    append = b"c APPEND INBOX {%d+}\r\n" % len(DOWNLOAD)
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        running.client.say(append)
        said = running.client.say_what_is_taken(DOWNLOAD)
        assert said < len(MEGABYTE)
        assert 0 < running.stage.held() <= BUFFER_SIZE
        rest = Background(lambda: running.client.say(DOWNLOAD[said:]))
        assert running.server.hear(len(append) + len(DOWNLOAD)) == append + DOWNLOAD
        rest.result()


REFUSED = b"x SUBMIT\r\n"
REFUSAL = b"x BAD SUBMIT takes one argument: the message as a literal\r\n"  # the proxy's own


def test_a_client_that_only_asks_and_never_reads_is_not_read_for_ever() -> None:
    refused = REFUSED * (1 << 20)
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        said = running.client.say_what_is_taken(refused)
        assert said < len(refused)
        assert running.stage.held() < MAX_UNTAKEN + len(REFUSAL)


def test_a_client_that_asks_first_and_reads_later_gets_every_answer() -> None:
    count = 40_000
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        asking = Background(lambda: running.client.say(REFUSED * count))
        assert running.client.hear(len(REFUSAL) * count) == REFUSAL * count
        asking.result()
        running.converse(b"y NOOP\r\n", b"y OK\r\n")


def test_a_client_that_asks_and_goes_ends_the_session() -> None:
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        running.client.say_what_is_taken(REFUSED * (1 << 20))
        running.client.reset()
        running.server.close()
        running.end()


# The client's end.


def test_a_half_close_is_passed_on_and_the_rest_of_the_answer_still_arrives() -> None:
    answer = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MEGABYTE) + MEGABYTE + b")\r\nb OK done\r\n* BYE\r\nc OK bye\r\n"
    with logged_in() as running:
        running.client.say(b"b FETCH 1 BODY[]\r\nc LOGOUT\r\n")
        running.client.end_output()
        assert running.server.hear_rest() == b"b FETCH 1 BODY[]\r\nc LOGOUT\r\n"
        answering = Background(lambda: running.server.say(answer))
        running.client.expect(answer)
        answering.result()
        running.server.close()
        assert running.client.hear_rest() == b""
        assert running.end() == "server said goodbye"


def test_a_half_close_waits_for_what_is_held() -> None:
    with relaying() as running:
        running.client.say(b"a LOGIN {4}\r\nfred pencil\r\nb LOGOUT\r\n")
        running.client.end_output()
        running.server.say(GREETING)
        running.server.expect(b"a LOGIN {4}\r\n")
        assert not running.server.is_spoken_to()
        running.server.say(b"+ go\r\n")
        assert running.server.hear_rest() == b"fred pencil\r\nb LOGOUT\r\n"


def test_a_half_close_behind_a_submission_leaves_it_its_answer() -> None:
    with logged_in() as running:
        running.client.say(b"b SUBMIT {5+}\r\nhello\r\n")
        running.client.end_output()
        running.client.expect(b"b OK SUBMIT completed\r\n")
        assert running.server.hear_rest() == b""
    assert running.stage.submitted == [b"hello"]


# What reaches the server before a client ends its side, what the client says besides, and the server's answer. The
# server never ends the connection.
LAST_WORDS = [
    pytest.param(b"", b"", b"", id="nothing"),
    pytest.param(b"b NOOP\r\n", b"", b"b OK done\r\n", id="a command"),
    pytest.param(b"b NOOP\r\n", b"c NO", b"b OK done\r\n", id="half a line"),
    pytest.param(b"b AUTHENTICATE PLAIN\r\n", b"", b"+ \r\n", id="half an exchange"),
]


def end_side(running: Running, passed: bytes, besides: bytes, answer: bytes) -> None:
    """Have the client say its last words and hear the answer to them."""
    running.client.say(passed + besides)
    running.client.end_output()
    running.server.expect(passed)
    running.server.say(answer)
    running.client.expect(answer)


@pytest.mark.parametrize(
    ("passed", "besides", "answer"),
    [*LAST_WORDS, pytest.param(b"b LOGIN {4}\r\n", b"fr", b"+ go\r\n", id="half a login")],
)
def test_a_client_that_ends_its_side_before_login_ends_the_session_once_it_has_its_answers(
    passed: bytes, besides: bytes, answer: bytes
) -> None:
    with relaying() as running:
        running.converse(b"", GREETING)
        end_side(running, passed, besides, answer)
        assert running.client.hear_rest() == b""
        assert running.end() == "client left"


def test_a_client_that_ends_its_side_before_the_greeting_hears_it_and_its_answers() -> None:
    with relaying() as running:
        running.client.say(b"b NOOP\r\n")
        running.client.end_output()
        assert not running.client.is_spoken_to()
        running.server.say(GREETING)
        running.server.expect(b"b NOOP\r\n")
        running.server.say(b"b OK done\r\n")
        assert running.client.hear_rest() == GREETING + b"b OK done\r\n"
        assert running.end() == "client left"


@pytest.mark.parametrize(
    ("passed", "besides", "answer"),
    [
        *LAST_WORDS,
        pytest.param(b"b IDLE\r\n", b"", b"+ go\r\n", id="idle"),
        pytest.param(b"b APPEND INBOX {5+}\r\nhel", b"", b"", id="half an upload"),
        pytest.param(b"", b"b SUBMIT {5+}\r\nhel", b"", id="half a submission"),
    ],
)
def test_a_client_that_ends_its_side_after_login_ends_the_session_once_it_has_its_answers(
    passed: bytes, besides: bytes, answer: bytes
) -> None:
    with logged_in() as running:
        end_side(running, passed, besides, answer)
        assert running.client.hear_rest() == b""
        assert running.end() == "client left"


def test_a_client_that_ends_its_side_has_a_response_whole_even_behind_its_last_answer() -> None:
    with logged_in() as running:
        running.client.say(b"b NOOP\r\n")
        running.client.end_output()
        running.server.say(b"b OK done\r\n* 1 FETCH (BODY[] {5}\r\nhe")
        running.client.expect(b"b OK done\r\n* 1 FETCH (BODY[] {5}\r\nhe")
        assert not running.client.is_spoken_to()
        running.server.say(b"llo)\r\n")
        assert running.client.hear_rest() == b"llo)\r\n"
        assert running.end() == "client left"


def test_a_client_that_ends_its_side_waits_for_a_failed_login_all_the_same() -> None:
    with relaying() as running:
        running.stage.hold = 2 * SOON
        running.converse(b"", GREETING)
        running.client.say(b"a LOGIN fred guess\r\n")
        running.client.end_output()
        assert running.server.hear_rest() == b"a LOGIN fred guess\r\n"
        running.server.say(b"a NO wrong\r\n")
        running.client.expect(b"a NO wrong\r\n")
        assert not running.client.is_spoken_to(within=SOON)
        assert running.client.hear_rest() == b""
        assert running.end() == "client left"


def vanish(client: Peer) -> None:
    client.reset()


def close(client: Peer) -> None:
    client.close()


GOING = pytest.mark.parametrize("go", [close, vanish])


@GOING
def test_a_client_that_goes_in_an_upload_has_sent_what_it_sent(go: Callable[[Peer], None]) -> None:
    with logged_in() as running:
        running.client.say(b"b APPEND INBOX {1000+}\r\nhalf")
        go(running.client)
        assert running.server.hear_rest() == b"b APPEND INBOX {1000+}\r\nhalf"
        running.server.close()
        running.end()


def test_a_client_that_vanishes_in_a_download_ends_the_session() -> None:
    def download() -> None:
        with pytest.raises(ConnectionError):
            running.server.say(DOWNLOAD)

    with logged_in() as running:
        running.server.say(b"* 1 FETCH (BODY[] {%d}\r\n" % len(DOWNLOAD))
        downloading = Background(download)
        running.client.hear(1000)
        running.client.reset()
        assert running.end() == "client left"
        downloading.result()


@GOING
def test_a_client_that_goes_with_a_whole_submission_at_the_barrier_has_submitted_it(
    go: Callable[[Peer], None],
) -> None:
    with logged_in() as running:
        running.client.say(b"b NOOP\r\nc SUBMIT {5+}\r\nhello\r\n")
        go(running.client)
        running.server.expect(b"b NOOP\r\n")
        running.server.say(b"b OK done\r\n")
        running.server.hear_rest()
        running.server.close()
        running.end()
    assert running.stage.submitted == [b"hello"]


@GOING
def test_a_client_that_goes_has_submitted_what_is_read_of_it_only_afterwards(go: Callable[[Peer], None]) -> None:
    draft = MEGABYTE[:40_000]
    with logged_in() as running:
        running.client.say(b"b NOOP\r\nc SUBMIT {40000+}\r\n" + draft[:10_000])
        running.server.expect(b"b NOOP\r\n")
        running.client.say(draft[10_000:] + b"\r\n")  # not read while the barrier stands
        go(running.client)
        running.server.say(b"b OK done\r\n")
        running.server.hear_rest()
        running.server.close()
        running.end()
    assert running.stage.submitted == [draft]


@GOING
def test_a_client_that_goes_inside_a_response_of_the_servers_has_submitted_too(go: Callable[[Peer], None]) -> None:
    with logged_in() as running:
        running.server.say(b"* 1 FETCH (BODY[] {4}\r\nab")
        running.client.expect(b"* 1 FETCH (BODY[] {4}\r\nab")
        running.client.say(b"c SUBMIT {5+}\r\nhello\r\n")
        go(running.client)
        running.server.say(b"cd)\r\n")
        running.server.hear_rest()
        running.server.close()
        running.end()
    assert running.stage.submitted == [b"hello"]


@GOING
@pytest.mark.parametrize("rest", [b"", b"hel", b"hello", b"hello\r"])
def test_a_client_that_goes_with_half_a_submission_has_submitted_nothing(
    go: Callable[[Peer], None], rest: bytes
) -> None:
    with logged_in() as running:
        running.client.say(b"b NOOP\r\nc SUBMIT {5+}\r\n" + rest)
        go(running.client)
        running.server.expect(b"b NOOP\r\n")
        running.server.say(b"b OK done\r\n")
        running.server.hear_rest()
        running.server.close()
        running.end()
    assert running.stage.submitted == []


# The server's end.


@pytest.mark.parametrize("go", [close, vanish])
@pytest.mark.parametrize(
    ("said", "heard", "end"),
    [
        (b"", LOST, "server closed the connection"),
        (b"* 1 EXISTS\r\n", b"* 1 EXISTS\r\n" + LOST, "server closed the connection"),
        (b"* BYE at last\r\n", b"* BYE at last\r\n", "server said goodbye"),
        (b"* 1 FETCH (BODY[] {5}\r\nab", b"* 1 FETCH (BODY[] {5}\r\nab", "server closed the connection"),
        (b"* 1 FETCH (BODY[] {2}\r\nab", b"* 1 FETCH (BODY[] {2}\r\nab", "server closed the connection"),
    ],
)
def test_a_server_that_goes_is_excused_with_bye_where_that_can_be_said(
    said: bytes, heard: bytes, end: str, go: Callable[[Peer], None]
) -> None:
    with logged_in() as running:
        running.server.say(said)
        go(running.server)
        assert running.client.hear_rest() == heard
        assert running.end() == end


def test_a_server_that_goes_in_the_middle_of_a_line_is_not_excused_there() -> None:
    said = b"* 1 FETCH (FLAGS (\\Seen \\Answered \\Flagged) UID 4827313 RFC822.SI"
    with logged_in() as running:
        running.server.say(said)
        running.server.close()
        heard = running.client.hear_rest()
        assert heard
        assert said.startswith(heard)


@pytest.mark.parametrize("words", [b"", b"* OK rea"])
@pytest.mark.parametrize("go", [close, vanish])
def test_a_server_that_goes_before_it_greets_is_unavailable(go: Callable[[Peer], None], words: bytes) -> None:
    with standing_by() as running:
        running.server.say(words)
        go(running.server)
        running.begin()
        with pytest.raises(UpstreamUnavailable, match=r"^the IMAP server ended the connection before its greeting$"):
            running.end()


def test_a_server_that_goes_before_it_greets_is_unavailable_for_a_client_that_waits_to_be_heard() -> None:
    with standing_by() as running:
        running.client.say(b"a NOOP\r\n")
        running.client.end_output()
        running.begin()
        assert not running.client.is_spoken_to()
        running.server.close()
        with pytest.raises(UpstreamUnavailable):
            running.end()


def test_a_server_need_not_greet_a_client_that_has_left() -> None:
    with relaying() as running:
        running.client.end_output()
        assert running.server.hear_rest() == b""
        running.server.close()
        assert running.client.hear_rest() == LOST
        assert running.end() == "client left"


def test_a_server_that_goes_in_an_upload_ends_it() -> None:
    def upload() -> None:
        with pytest.raises(ConnectionError):
            running.client.say(b"b APPEND INBOX {%d+}\r\n" % len(DOWNLOAD) + DOWNLOAD)

    with logged_in() as running:
        uploading = Background(upload)
        running.server.hear(1000)
        running.server.reset()
        uploading.result()
        assert running.end() == "server closed the connection"


def test_what_is_said_before_the_server_goes_arrives_whole() -> None:
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        said = b"* 1 FETCH (BODY[] {%d}\r\n" % len(MEGABYTE) + MEGABYTE + b")\r\n"
        saying = Background(lambda: running.server.say(said))
        assert running.client.hear(len(said)) == said
        saying.result()
        running.server.close()
        assert running.client.hear_rest() == LOST


# Time.


def test_a_login_has_its_time() -> None:
    with standing_by(Patience(SOON, NOT_SOON)) as running:
        running.greet()
        running.begin()
        assert running.client.hear_rest() == LATE
        assert running.server.hear_rest() == b""
        assert running.end() == "login timeout"


def test_a_server_that_does_not_greet_in_that_time_is_unavailable() -> None:
    with standing_by(Patience(SOON, NOT_SOON)) as running:
        running.server.say(b"* OK rea")
        running.begin()
        with pytest.raises(UpstreamUnavailable, match=r"^the IMAP server does not greet$"):
            running.end()


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_login_has_no_more_time_for_one_that_drips_octets(who: str) -> None:
    with relaying(Patience(3 * SOON, NOT_SOON)) as running:
        running.server.say(GREETING)
        running.client.expect(GREETING)
        drip = b"a" if who == "client" else b"* OK still here\r\n"
        peer: Peer = getattr(running, who)
        ended = running.server if who == "client" else running.client
        while not ended.is_spoken_to(within=SOON / 10):
            peer.say(drip)
            if who == "server":
                running.client.expect(drip)
        assert running.end() == "login timeout"


def test_a_login_refused_is_none() -> None:
    with relaying(Patience(SOON, NOT_SOON)) as running:
        running.client.say(b"a LOGIN fred guess\r\n")
        running.server.say(GREETING)
        running.server.expect(b"a LOGIN fred guess\r\n")
        running.server.say(b"a NO wrong\r\n")
        assert running.client.hear_rest() == GREETING + b"a NO wrong\r\n" + LATE


def test_after_the_login_its_time_is_of_no_account() -> None:
    with logged_in(Patience(SOON, NOT_SOON)) as running:
        assert not running.client.is_spoken_to(within=3 * SOON)


def test_a_user_who_is_forgotten_has_the_whole_time_for_another_login() -> None:
    with relaying(Patience(3 * SOON, NOT_SOON)) as running:
        running.client.say(b"a LOGIN fred pencil\r\n")
        running.server.say(b"* OK [CAPABILITY IMAP4rev1 UNAUTHENTICATE] ready\r\n")
        running.server.expect(b"a LOGIN fred pencil\r\n")
        running.server.say(b"a OK done\r\n")
        running.client.hear_line()
        running.client.hear_line()
        assert not running.client.is_spoken_to(within=4 * SOON)
        running.client.say(b"b UNAUTHENTICATE\r\n")
        running.server.expect(b"b UNAUTHENTICATE\r\n")
        running.server.say(b"b OK forgotten\r\n")
        running.client.expect(b"b OK forgotten\r\n")
        assert not running.client.is_spoken_to(within=SOON)
        assert running.client.hear_rest() == LATE


def test_a_session_in_which_nothing_happens_ends() -> None:
    with logged_in(Patience(NOT_SOON, SOON)) as running:
        assert running.client.hear_rest() == IDLE
        assert running.server.hear_rest() == b""
        assert running.end() == "idle timeout"


@pytest.mark.parametrize("who", ["client", "server"])
def test_a_session_in_which_one_side_speaks_goes_on(who: str) -> None:
    with logged_in(Patience(NOT_SOON, 3 * SOON)) as running:
        speaker, hearer = (running.client, running.server) if who == "client" else (running.server, running.client)
        for _ in range(5):
            speaker.say(b"* 1 EXISTS\r\n" if who == "server" else b"b NOOP\r\n")
            hearer.hear_line()
            assert not running.client.is_spoken_to(within=SOON)
        assert running.client.hear_rest() == IDLE


def test_an_idle_session_says_no_bye_inside_a_response() -> None:
    with logged_in(Patience(NOT_SOON, SOON)) as running:
        running.server.say(b"* 1 FETCH (BODY[] {5}\r\nab")
        assert running.client.hear_rest() == b"* 1 FETCH (BODY[] {5}\r\nab"
        assert running.end() == "idle timeout"


def test_a_client_that_reads_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "FAREWELL_PATIENCE", SOON)
    with logged_in(Patience(NOT_SOON, 2 * SOON), SMALL_BUFFERS) as running:
        running.server.say(b"* 1 FETCH (BODY[] {%d}\r\n" % len(DOWNLOAD))
        running.server.say_what_is_taken(DOWNLOAD)
        assert running.end() == "idle timeout"


SUBMIT = Submit(Credentials("fred", "fred", "pencil", "LOGIN"))


def test_a_submission_begins_when_the_client_has_taken_all_that_came_before() -> None:
    with standing_by() as running:
        running.stage.relay.perform([ToClient(DOWNLOAD), SUBMIT])
        work = Background(running.stage.relay.run)
        assert running.client.hear(len(DOWNLOAD)) == DOWNLOAD
        assert work.result() is SUBMIT


def test_a_submission_does_not_begin_for_a_client_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "FAREWELL_PATIENCE", SOON)
    with standing_by(Patience(SOON, NOT_SOON)) as running:
        running.greet()
        running.stage.relay.perform([ToClient(DOWNLOAD), SUBMIT])
        running.begin()
        assert running.end() == "login timeout"
        assert running.stage.submitted == []


TWO_SUBMISSIONS = b"b SUBMIT {5+}\r\nhello\r\nc SUBMIT {5+}\r\nagain\r\n"


def test_no_submission_begins_once_the_program_stops() -> None:
    """Those that the client has sent ahead follow each other without a look at anything else, else."""
    with logged_in() as running:
        running.stage.amid_submission = running.stop.give
        running.client.say(TWO_SUBMISSIONS)
        assert running.client.hear_rest() == b"b OK SUBMIT completed\r\n" + STOPPED
        assert running.end() == "stopped"
    assert running.stage.submitted == [b"hello"]


@pytest.mark.parametrize(
    ("said", "heard", "end"),
    [(b"", LOST, "server closed the connection"), (b"* BYE at last\r\n", b"* BYE at last\r\n", "server said goodbye")],
)
@pytest.mark.parametrize("layers", [PLAIN, TLS], ids=str)
def test_no_submission_begins_once_the_server_has_gone(said: bytes, heard: bytes, end: str, layers: Layers) -> None:
    with logged_in(server_layers=layers) as running:

        def go() -> None:
            running.server.say(said)
            running.server.close()

        running.stage.amid_submission = go
        running.client.say(TWO_SUBMISSIONS)
        assert running.client.hear_rest() == b"b OK SUBMIT completed\r\n" + heard
        assert running.end() == end
    assert running.stage.submitted == [b"hello"]


def test_what_clients_have_submitted_when_they_and_the_server_are_gone_is_soon_over() -> None:
    """Else the session would go on for as long as its socket holds submissions, which can be hundred thousands."""
    with logged_in() as running:

        def go() -> None:
            running.client.close()
            running.server.close()

        running.stage.amid_submission = go
        running.client.say(b"b SUBMIT {0+}\r\n\r\n" * 10_000)
        running.end()
    assert len(running.stage.submitted) == 1


def half_close(running: Running) -> Peer:
    running.client.say(b"b NOOP\r\n")
    running.client.end_output()
    running.server.hear_rest()
    return running.client


def leave_at_the_barrier(running: Running) -> Peer:
    running.client.say(b"b NOOP\r\nc SUBMIT {5+}\r\nhello\r\n")
    running.client.reset()
    running.server.expect(b"b NOOP\r\n")
    return running.server


def send_ahead(running: Running) -> Peer:
    running.client.say(b"b APPEND INBOX {4}\r\nab")
    running.server.expect(b"b APPEND INBOX {4}\r\n")
    running.client.say(b"cd")
    return running.server


def leave_a_download_unread(running: Running) -> Peer:
    running.server.say(b"* 1 FETCH (BODY[] {%d}\r\n" % len(DOWNLOAD))
    running.server.say_what_is_taken(DOWNLOAD)
    return running.server


def leave_an_upload_unread(running: Running) -> Peer:
    running.client.say(b"b APPEND INBOX {%d+}\r\n" % len(DOWNLOAD))
    running.client.say_what_is_taken(DOWNLOAD)
    return running.client


@pytest.mark.parametrize(
    "what_happens",
    [half_close, leave_at_the_barrier, send_ahead, leave_a_download_unread, leave_an_upload_unread],
)
def test_a_session_that_waits_costs_no_cpu_time(what_happens: Callable[[Running], Peer]) -> None:
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        hears_nothing = what_happens(running)
        before = process_time()
        assert not hears_nothing.is_spoken_to(within=SILENCE)
        assert process_time() - before < SILENCE / 2


# Held clients.


def test_while_a_client_is_held_neither_it_nor_the_server_is_read() -> None:
    """What the dialogue holds of the client's would be let go by the server's answers, else."""
    with relaying() as running:
        running.stage.hold = 3 * SOON
        running.log_in()
        running.client.say(b"b NOOP\r\n")
        before = process_time()
        assert not running.server.is_spoken_to(within=SOON)
        assert process_time() - before < SOON / 2
        running.server.say(b"* 1 EXISTS\r\n")
        assert not running.client.is_spoken_to(within=SOON)
        running.client.expect(b"* 1 EXISTS\r\n")
        running.server.expect(b"b NOOP\r\n")
        running.converse(b"c NOOP\r\n", b"c OK done\r\n")


def test_a_client_may_be_held_after_a_login_that_failed() -> None:
    with relaying() as running:
        running.stage.hold = 2 * SOON
        running.converse(b"", GREETING)
        running.converse(b"a LOGIN fred guess\r\n", b"a NO wrong\r\n")
        running.client.say(b"b LOGIN fred pencil\r\n")
        assert not running.server.is_spoken_to(within=SOON)
        running.server.expect(b"b LOGIN fred pencil\r\n")


def test_the_time_for_a_login_passes_for_a_client_that_is_held() -> None:
    with standing_by(Patience(SOON, NOT_SOON)) as running:
        running.greet()
        running.stage.relay.hold_client(NOT_SOON)
        running.begin()
        assert running.client.hear_rest() == LATE
        assert running.end() == "login timeout"


def test_a_client_that_is_held_hears_of_a_stop() -> None:
    with standing_by() as running:
        running.stage.relay.hold_client(NOT_SOON)
        running.begin()
        running.stop.give()
        assert running.client.hear_rest() == STOPPED


# The stop.


def test_a_stop_is_said_at_the_end_of_a_response() -> None:
    with logged_in() as running:
        running.stop.give()
        assert running.client.hear_rest() == STOPPED
        assert running.server.hear_rest() == b""
        assert running.end() == "stopped"


def test_a_stop_inside_a_response_is_not_said() -> None:
    with logged_in() as running:
        running.server.say(b"* 1 FETCH (BODY[] {5}\r\nab")
        running.client.expect(b"* 1 FETCH (BODY[] {5}\r\nab")
        running.stop.give()
        assert running.client.hear_rest() == b""
        assert running.end() == "stopped"


def test_a_stop_before_the_greeting_is_said() -> None:
    with relaying() as running:
        running.stop.give()
        assert running.client.hear_rest() == STOPPED


def test_a_stop_waits_for_a_client_that_still_reads() -> None:
    with logged_in(buffer_size=SMALL_BUFFERS) as running:
        line = b"* 1 EXISTS\r\n"
        said = running.server.say_what_is_taken(line * 50_000)
        running.stop.give()
        heard = running.client.hear_rest()
        assert len(heard) <= said + len(STOPPED)
        assert heard.removesuffix(STOPPED).startswith(line * 100)
        assert running.end() == "stopped"


def test_of_two_reasons_to_end_the_first_counts() -> None:
    with standing_by() as running:
        running.stop.give()
        running.server.close()
        running.stage.relay.stop("First", "first")
        running.begin()
        assert running.client.hear_rest() == b"* BYE First\r\n"
        assert running.end() == "first"


# Carrying out actions.

LONG = memoryview(MEGABYTE)[: JOIN_LIMIT - 1]


@pytest.mark.parametrize(
    "actions",
    [
        [],
        [ToClient(b"one")],
        [ToClient(b"one"), ToClient(b"two"), ToUpstream(b"three"), ToUpstream(memoryview(b"four")), ToClient(b"five")],
        [ToClient(b"1"), DropDraft(), ToClient(b"2"), LoggedIn(None), ToUpstream(b"3"), LoggedIn(None)],
        [ToClient(LONG), ToClient(b"1"), ToClient(b"2"), ToClient(LONG), ToClient(LONG), ToClient(b"end")],
        [ToUpstream(LONG), ToClient(LONG), ToUpstream(LONG), ToUpstream(b"1"), ToUpstream(b"2")],
    ],
)
def test_actions_are_carried_out_in_order(actions: list[Action]) -> None:
    with standing_by() as running:
        reading_client = Background(running.client.hear_rest)
        reading_server = Background(running.server.hear_rest)
        running.stage.relay.perform([*actions, Close()])
        running.begin()
        to_client = b"".join(action.octets for action in actions if isinstance(action, ToClient))
        to_upstream = b"".join(action.octets for action in actions if isinstance(action, ToUpstream))
        assert reading_client.result() == to_client
        assert reading_server.result() == to_upstream
        assert running.stage.handled == [action for action in actions if isinstance(action, DropDraft | LoggedIn)]
        running.end()
