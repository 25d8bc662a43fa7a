"""The dialogue with the server: what it is asked, and what comes of each of its answers."""

import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imapproxy.net.tls import server_context
from imapproxy.protocol.login import Credentials
from imapproxy.sendmail.accounts import Account
from imapproxy.sendmail.connection import MAX_FOUND, MAX_LEFT_OUT, MAX_SIGNS_OF_LIFE, Connection, Found
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.search import criteria
from imapproxy.values import HostPort
from tests.functional.certificates import Certificates, make_certificates
from tests.functional.fake_imap import FakeImap, Peer
from tests.functional.fake_smtp import CLOSE, RESET, SILENCE
from tests.functional.scripted import refusing_port
from tests.net.scripted_imap import HEAR, TAKE, USUAL, Script, ScriptedImap, Turns

MESSAGE = b"From: fred@example.com\r\nTo: joe@example.org\r\n\r\nHello\r\n"
CAPABILITIES = "IMAP4rev1 AUTH=PLAIN LITERAL+ CAN-SUBMIT"
PASSWORD = Credentials("fred", "fred", "pencil", "PLAIN")
TOKEN = Credentials("fred", "fred", "ya29", "OAUTHBEARER")

SENT = "TAG OK SUBMIT completed"

UNCERTAIN = "; the message may have been sent"

# Words that would do something to a terminal, and lines that would be another's.
HOSTILE = b"\x1b]0;you\x07 \x9b31m\xff no\rimap-submit: sent"


def account(port: int) -> Account:
    return Account(
        server=HostPort("127.0.0.1", port),
        tls="off",
        tls_verify=True,
        tls_ca="",
        user="fred",
        from_="fred@example.com",
        set_from=False,
        password_file="",
        password_command="",
        token_command="",
        timeout=20,
    )


@contextmanager
def server(script: Mapping[str, Script] | None = None, capabilities: str = CAPABILITIES) -> Iterator[ScriptedImap]:
    with ScriptedImap(script) as server:
        server.capabilities = capabilities
        yield server


def submit(server: ScriptedImap, message: bytes = MESSAGE, timeout: float = 20) -> str:
    with Connection(replace(account(server.port), timeout=timeout), PASSWORD) as connection:
        return connection.submit(message, lambda _: None)


def found(server: ScriptedImap, wanted: str = "ALL", mailbox: str = "INBOX", limit: int = 20) -> Found:
    with Connection(account(server.port), PASSWORD) as connection:
        return connection.found(mailbox, criteria(wanted), limit)


def find(server: ScriptedImap, wanted: str = "ALL", mailbox: str = "INBOX", limit: int = 20) -> list[str]:
    what = found(server, wanted, mailbox, limit)
    assert what.notes == ()
    return [*what.lines]


@contextmanager
def failing(status: int, text: str) -> Iterator[None]:
    with pytest.raises(Failure) as caught:
        yield
    assert (caught.value.status, str(caught.value)) == (status, text)


# --- sending -----------------------------------------------------------------------------------------------------


def test_a_send_is_one_round_trip_behind_the_login_and_nobody_waits_for_a_goodbye() -> None:
    with server({"LOGOUT": SILENCE}) as imap:
        assert submit(imap) == "SUBMIT completed"
    assert imap.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", f"SUBMIT {{{len(MESSAGE)}+}}", "LOGOUT"]
    assert imap.submitted == [MESSAGE]


def test_a_send_is_two_round_trips_where_the_server_must_ask_for_the_message() -> None:
    with server(capabilities="IMAP4rev1 AUTH=PLAIN CAN-SUBMIT") as imap:
        submit(imap)
    assert imap.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", f"SUBMIT {{{len(MESSAGE)}}}", "LOGOUT"]
    assert imap.submitted == [MESSAGE]


def test_what_is_announced_at_the_login_need_not_be_asked_for() -> None:
    login = ("+ ", HEAR, f"TAG OK [CAPABILITY {CAPABILITIES}] logged in")
    with server({"AUTHENTICATE": login}, "IMAP4rev1 AUTH=PLAIN LITERAL+") as imap:
        submit(imap)
    assert imap.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", f"SUBMIT {{{len(MESSAGE)}+}}", "LOGOUT"]


def test_progress_is_told_in_octets_of_the_message() -> None:
    large = MESSAGE + b"x" * (2 << 20) + b"\r\n"
    told: list[int] = []
    with server() as imap, Connection(account(imap.port), PASSWORD) as connection:
        connection.submit(large, told.append)
    assert imap.submitted == [large]
    assert told == sorted({*range(256 << 10, len(large), 256 << 10), len(large)})


def test_what_an_interruption_leaves_open_is_known() -> None:
    """Until the last octets are given to the network nothing can have been sent; from then on that is not certain."""
    large = MESSAGE + b"x" * (2 << 20) + b"\r\n"
    known: list[bool] = []
    with server() as imap, Connection(account(imap.port), PASSWORD) as connection:
        known.append(connection.may_have_sent)
        connection.submit(large, lambda _: known.append(connection.may_have_sent))
        assert known == [*[False] * (len(known) - 1), True]
        assert connection.may_have_sent


def test_an_interruption_before_the_server_asks_for_the_message_leaves_nothing_open() -> None:
    capabilities = "IMAP4rev1 AUTH=PLAIN CAN-SUBMIT"
    with (
        server({"SUBMIT": "TAG NO 5.7.1 no,"}, capabilities) as imap,
        Connection(account(imap.port), PASSWORD) as connection,
    ):
        with pytest.raises(Failure):
            connection.submit(MESSAGE, lambda _: None)
        assert not connection.may_have_sent


def test_the_server_has_its_time_again_whenever_it_says_that_it_is_at_work() -> None:
    at_work: list[Script] = ["* OK Still submitting", 0.3] * 5
    with server({"SUBMIT": (TAKE, *at_work, SENT)}) as imap:
        assert submit(imap, timeout=1) == "SUBMIT completed"


def test_the_server_cannot_keep_us_for_ever_by_saying_that_it_is_at_work() -> None:
    at_work: list[Script] = ["* OK Still submitting"] * MAX_SIGNS_OF_LIFE
    with (
        server({"SUBMIT": (TAKE, *at_work, 0.3, "* OK Still submitting", 0.3, SENT)}) as imap,
        failing(os.EX_TEMPFAIL, "the IMAP server does not respond" + UNCERTAIN),
    ):
        submit(imap, timeout=0.5)


# --- refusals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "text"),
    [
        (
            "TAG NO ,joe@example.org,anna@example.org",
            os.EX_NOUSER,
            "recipients were refused; nobody got the message\njoe@example.org\nanna@example.org",
        ),
        (
            "TAG NO 450 4.2.0 try later,joe@example.org",
            os.EX_TEMPFAIL,
            "450 4.2.0 try later\njoe@example.org",
        ),
        ("TAG NO 4.4.1 no mail server,", os.EX_TEMPFAIL, "4.4.1 no mail server"),
        ("TAG NO 5.7.1 From is not yours,", os.EX_NOPERM, "5.7.1 From is not yours"),
        ("TAG NO 5.6.6 no such message,", os.EX_NOINPUT, "5.6.6 no such message"),
        ("TAG NO no reason", os.EX_UNAVAILABLE, "no reason"),
        ("TAG NO ", os.EX_UNAVAILABLE, "the server refused the message, and did not say why"),
        ("TAG NO ,", os.EX_UNAVAILABLE, "the server refused the message, and did not say why"),
        ("TAG NO 5.1.7 From cannot be read,", os.EX_DATAERR, "5.1.7 From cannot be read"),
        ("TAG NO 5.5.3 too many recipients,", os.EX_DATAERR, "5.5.3 too many recipients"),
        ("TAG BAD no header", os.EX_DATAERR, "the server takes it for no message: no header"),
        ("* BYE shutting down", os.EX_TEMPFAIL, "the IMAP server has ended the connection: shutting down" + UNCERTAIN),
        (CLOSE, os.EX_TEMPFAIL, "the connection to the IMAP server is lost" + UNCERTAIN),
        (RESET, os.EX_TEMPFAIL, "the connection to the IMAP server is lost" + UNCERTAIN),
        ("nonsense", os.EX_PROTOCOL, "the IMAP server sent what cannot be understood" + UNCERTAIN),
        (b"* FLAGS {99999999}\r\n", os.EX_PROTOCOL, "the IMAP server sent what cannot be understood" + UNCERTAIN),
        (b"* " + b"x" * (2 << 20), os.EX_PROTOCOL, "the IMAP server sent what cannot be understood" + UNCERTAIN),
    ],
)
def test_a_message_that_is_not_sent(answer: Script, status: int, text: str) -> None:
    then = () if isinstance(answer, str) and answer.startswith("TAG") else (CLOSE,)
    with server({"SUBMIT": (TAKE, answer, *then)}) as imap, failing(status, text):
        submit(imap)
    assert imap.submitted == [MESSAGE]


def test_the_connection_is_as_good_as_before_when_a_message_is_refused() -> None:
    answers = Turns((TAKE, "TAG NO 4.3.0 later,"), (TAKE, "TAG BAD no header"), USUAL)
    with server({"SUBMIT": answers}) as imap, Connection(account(imap.port), PASSWORD) as connection:
        for _ in range(2):
            with pytest.raises(Failure):
                connection.submit(MESSAGE, lambda _: None)
        assert connection.submit(MESSAGE, lambda _: None) == "SUBMIT completed"
    assert imap.commands[-1] == "LOGOUT"


def test_a_message_that_did_not_get_there_was_not_sent() -> None:
    capabilities = "IMAP4rev1 AUTH=PLAIN CAN-SUBMIT"
    with (
        server({"SUBMIT": CLOSE}, capabilities) as imap,
        failing(os.EX_TEMPFAIL, "the connection to the IMAP server is lost"),
    ):
        submit(imap)


def test_a_silent_server_is_left() -> None:
    with (
        server({"SUBMIT": (TAKE, SILENCE)}) as imap,
        failing(os.EX_TEMPFAIL, "the IMAP server does not respond" + UNCERTAIN),
    ):
        submit(imap, timeout=0.2)


def test_a_server_without_submit_gets_no_message() -> None:
    with (
        server(capabilities="IMAP4rev1 AUTH=PLAIN LITERAL+") as imap,
        failing(os.EX_UNAVAILABLE, "the server does not announce CAN-SUBMIT"),
    ):
        submit(imap)
    assert imap.commands == ["CAPABILITY", "AUTHENTICATE PLAIN", "CAPABILITY", "LOGOUT"]


# --- opening and login -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status", "text"),
    [
        ({"AUTHENTICATE": "TAG NO [AUTHENTICATIONFAILED] wrong"}, os.EX_NOPERM, "login refused: wrong"),
        ({"AUTHENTICATE": ("+ ", HEAR, "TAG NO wrong")}, os.EX_NOPERM, "login refused: wrong"),
        ({"AUTHENTICATE": "TAG NO [UNAVAILABLE] later"}, os.EX_TEMPFAIL, "login refused: later"),
        ({"AUTHENTICATE": CLOSE}, os.EX_TEMPFAIL, "the connection to the IMAP server is lost"),
        ({"GREETING": "* BYE full"}, os.EX_TEMPFAIL, "the IMAP server has ended the connection: full"),
        ({"GREETING": "220 smtp.example.com"}, os.EX_PROTOCOL, "the IMAP server sent what cannot be understood"),
        (
            {"GREETING": "* PREAUTH as somebody"},
            os.EX_NOPERM,
            "the server offers no way to log in for which there is a secret",
        ),
    ],
)
def test_a_login_that_does_not_come_about(script: dict[str, Script], status: int, text: str) -> None:
    with server(script) as imap, failing(status, text):
        submit(imap)
    assert imap.submitted == []


def test_a_server_to_whom_the_secret_cannot_be_shown() -> None:
    capabilities = "IMAP4rev1 LOGINDISABLED AUTH=CRAM-MD5 CAN-SUBMIT"
    with (
        server(capabilities=capabilities) as imap,
        failing(os.EX_NOPERM, "the server offers no way to log in for which there is a secret"),
    ):
        submit(imap)


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        ("AUTH=OAUTHBEARER AUTH=XOAUTH2", b"n,a=fred,\1auth=Bearer ya29\1\1"),
        ("AUTH=PLAIN AUTH=XOAUTH2", b"user=fred\1auth=Bearer ya29\1\1"),
    ],
)
def test_a_token_is_shown_as_the_server_wants_it(offered: str, answer: bytes) -> None:
    with server(capabilities=f"IMAP4rev1 LITERAL+ CAN-SUBMIT {offered}") as imap:
        with Connection(account(imap.port), TOKEN) as connection:
            connection.submit(MESSAGE, lambda _: None)
        assert imap.answers == [answer]


def test_nobody_listens() -> None:
    with refusing_port() as port, failing(os.EX_TEMPFAIL, "the IMAP server cannot be reached"):
        Connection(account(port), PASSWORD)


def test_no_secret_goes_out_without_the_tls_that_is_wanted() -> None:
    with server({"STARTTLS": "TAG NO none here"}) as imap:
        with pytest.raises(Failure) as caught:
            Connection(replace(account(imap.port), tls="starttls"), PASSWORD)
        assert caught.value.status == os.EX_PROTOCOL
        assert str(caught.value).startswith("no secure connection to the IMAP server: ")
    assert [command for command in imap.commands if "AUTH" in command] == []


@pytest.mark.parametrize("tls", ["", "On", "no"])
def test_no_secret_goes_out_where_tls_is_neither_wanted_nor_unwanted(tls: str) -> None:
    with server() as imap, pytest.raises(AssertionError):
        Connection(replace(account(imap.port), tls=tls), PASSWORD)  # type: ignore[arg-type]
    assert imap.connections == 0


def with_tls(certificates: Certificates) -> FakeImap:
    """A server with TLS from the first octet, that says goodbye and nothing else."""
    context = server_context(str(certificates.cert), str(certificates.key))

    def serve(peer: Peer) -> None:
        with suppress(ssl.SSLError):
            peer.begin_tls(context)
            peer.send(b"* BYE over TLS\r\n")
            peer.rest()

    return FakeImap(serve)


@pytest.mark.parametrize(
    ("ca", "tls_verify", "status", "text"),
    [
        ("ca", True, os.EX_TEMPFAIL, "the IMAP server has ended the connection: over TLS"),
        ("unknown", False, os.EX_TEMPFAIL, "the IMAP server has ended the connection: over TLS"),
        ("unknown", True, os.EX_PROTOCOL, "no secure connection to the IMAP server: "),
    ],
)
def test_only_a_server_that_an_authority_vouches_for_is_spoken_to(
    tmp_path: Path, ca: str, tls_verify: bool, status: int, text: str
) -> None:
    certificates = make_certificates(tmp_path)
    authority = certificates.ca if ca == "ca" else certificates.unknown.cert
    with with_tls(certificates) as imap, pytest.raises(Failure) as caught:
        Connection(replace(account(imap.port), tls="on", tls_ca=str(authority), tls_verify=tls_verify), PASSWORD)
    assert caught.value.status == status
    assert str(caught.value).startswith(text)


def test_authorities_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text("no certificate")
    with pytest.raises(Failure) as caught:
        Connection(replace(account(1), tls="on", tls_ca=str(path)), PASSWORD)
    assert caught.value.status == os.EX_CONFIG
    assert str(caught.value).startswith(f"tls-ca: {path}: ")


def test_where_the_authorities_are_named_is_said(tmp_path: Path) -> None:
    path = tmp_path / "none.pem"
    with failing(os.EX_CONFIG, f"FILE: [club] tls-ca: {path}: cannot be read: No such file or directory"):
        places = {"tls-ca": "FILE: [club] tls-ca"}
        Connection(replace(account(1), tls="on", tls_ca=str(path), places=places), PASSWORD)


def test_authorities_whose_file_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "none.pem"
    with failing(os.EX_CONFIG, f"tls-ca: {path}: cannot be read: No such file or directory"):
        Connection(replace(account(1), tls="on", tls_ca=str(path)), PASSWORD)


# --- search ------------------------------------------------------------------------------------------------------


def described(uid: int) -> str:
    envelope = f'(NIL "Subject {uid}" ((NIL NIL "anna" "example.com")) NIL NIL NIL NIL NIL NIL NIL)'
    structure = '("TEXT" "PLAIN" NIL NIL NIL "7BIT" 3 1)'
    return (
        f'* 1 FETCH (UID {uid} RFC822.SIZE 5 INTERNALDATE "24-Nov-2026 11:34:00 +0000"'
        f" ENVELOPE {envelope} BODYSTRUCTURE {structure})"
    )


def line(uid: int) -> str:
    return f"/INBOX;UIDVALIDITY=7/;UID={uid}\t5\t2026-11-24 11:34\tanna@example.com\tSubject {uid}"


def test_what_matches_is_described_the_newest_first_and_nothing_is_downloaded() -> None:
    answer = "\n".join(described(uid) for uid in (3, 20)) + "\nTAG OK done"
    with server({"UID SEARCH": "* SEARCH 2 20 3\nTAG OK done", "UID FETCH": answer}) as imap:
        assert find(imap, "FROM anna", limit=2) == [line(20), line(3)]
    assert imap.commands[2:] == [
        'EXAMINE "INBOX"',
        "UID SEARCH FROM anna",
        "UID FETCH 20,3 (UID RFC822.SIZE INTERNALDATE ENVELOPE BODYSTRUCTURE)",
        "LOGOUT",
    ]


def test_words_that_are_not_ascii_are_sent_when_the_server_asks_for_them() -> None:
    with server({"UID SEARCH": ("+ go on", HEAR, "* SEARCH\nTAG OK done")}) as imap:
        assert find(imap, "FROM jörg") == []
    assert imap.commands[3] == "UID SEARCH CHARSET UTF-8 FROM {5}"
    assert imap.heard == ["jörg".encode().decode("latin-1")]


def test_nothing_matches() -> None:
    with server({"UID SEARCH": "* SEARCH\nTAG OK done"}) as imap:
        assert find(imap) == []
    assert imap.commands[-1] == "LOGOUT"
    assert not any(command.startswith("UID FETCH") for command in imap.commands)


def test_many_are_described_in_batches() -> None:
    uids = " ".join(map(str, range(1, 51)))
    with server({"UID SEARCH": f"* SEARCH {uids}\nTAG OK done", "UID FETCH": "TAG OK done"}) as imap:
        assert find(imap, limit=45) == []
    batches = [command.split(" ")[2] for command in imap.commands if command.startswith("UID FETCH")]
    assert [batch.split(",")[0] for batch in batches] == ["50", "30", "10"]
    assert batches[-1] == "10,9,8,7,6"


def test_of_many_messages_that_match_the_newest_are_listed() -> None:
    """Their numbers are more than another answer may be long."""
    uids = range(1_000_000, 1_160_000)
    answer = f"* SEARCH {' '.join(map(str, uids))}\nTAG OK done"
    assert len(answer) > 1 << 20
    with server({"UID SEARCH": answer, "UID FETCH": f"{described(uids[-1])}\nTAG OK done"}) as imap:
        assert find(imap, limit=1) == [line(uids[-1])]
    assert imap.commands[4].startswith(f"UID FETCH {uids[-1]} (")


def test_numbers_on_several_lines_all_count_and_once() -> None:
    answer = "* SEARCH 20 5\n* SEARCH\n* SEARCH 7 20\nTAG OK done"
    with server({"UID SEARCH": answer, "UID FETCH": "TAG OK done"}) as imap:
        assert find(imap, limit=3) == []
    assert imap.commands[4].startswith("UID FETCH 20,7,5 (")


def test_more_matches_than_can_be_looked_at_are_refused() -> None:
    endless = b"* SEARCH" + b" 4294967295" * (MAX_FOUND // 11 + 1) + b"\r\nTAG OK done\r\n"
    with (
        server({"UID SEARCH": endless}) as imap,
        failing(os.EX_USAGE, "--find: more messages match than can be looked at"),
    ):
        find(imap)


def long_description(uid: int, octets: int) -> str:
    """What describes a message whose subject is so long that a few of its kind are more than an answer may be."""
    return described(uid).replace("Subject", "x" * octets)


def long_line(uid: int) -> str:
    return line(uid).partition("Subject")[0] + "x" * 199 + "…"


def test_messages_whose_descriptions_are_long_are_asked_for_alone() -> None:
    """Behind an answer that is too long the connection is no good; there is one more login, and one only."""
    script: dict[str, Script] = {
        "UID SEARCH": f"* SEARCH {' '.join(map(str, range(1, 25)))}\nTAG OK done",
        "UID FETCH 24,23": "\n".join(long_description(uid, 100_000) for uid in range(5, 25)) + "\nTAG OK done",
    }
    alone = {f"UID FETCH {uid} ": f"{long_description(uid, 100_000)}\nTAG OK done" for uid in range(1, 25)}
    with server({**script, **alone}) as imap:
        assert find(imap, limit=24) == [long_line(uid) for uid in range(24, 0, -1)]
    assert imap.connections == 2
    assert [command.split(" ")[0] for command in imap.commands].count("EXAMINE") == 2


def test_a_message_whose_description_is_too_long_is_left_out_and_that_is_said() -> None:
    script: dict[str, Script] = {"UID SEARCH": "* SEARCH 1 2 3\nTAG OK done"}
    script |= {f"UID FETCH {uid} ": f"{described(uid)}\nTAG OK done" for uid in (1, 3)}
    script |= dict.fromkeys(["UID FETCH 3,2,1 ", "UID FETCH 2 "], long_description(2, 2 << 20) + "\nTAG OK done")
    with server(script) as imap:
        what = found(imap)
    assert what.lines == (line(3), line(1))
    assert what.notes == ("/INBOX;UIDVALIDITY=7/;UID=2 is left out: its description is too long",)
    assert imap.connections == 3
    assert imap.submitted == []


def test_a_server_that_describes_all_at_too_much_length_is_left() -> None:
    numbers = " ".join(map(str, range(1, 41)))
    script: dict[str, Script] = {
        "UID SEARCH": f"* SEARCH {numbers}\nTAG OK done",
        "UID FETCH": b"* " + b"x" * (2 << 20),
    }
    with server(script) as imap, failing(os.EX_PROTOCOL, "the IMAP server sent what cannot be understood"):
        find(imap, limit=40)
    assert imap.connections == MAX_LEFT_OUT + 2


def test_only_what_was_asked_for_is_listed() -> None:
    answer = f"{described(3)}\n{described(99)}\nTAG OK done"
    with server({"UID SEARCH": "* SEARCH 3\nTAG OK done", "UID FETCH": answer}) as imap:
        assert find(imap) == [line(3)]


@pytest.mark.parametrize(
    ("script", "status", "text"),
    [
        ({"EXAMINE": "TAG NO [NONEXISTENT] none"}, os.EX_NOINPUT, "Möbel: none"),
        ({"UID SEARCH": "TAG BAD what?"}, os.EX_USAGE, "--find: what?"),
        ({"UID SEARCH": "TAG NO [BADCHARSET] no"}, os.EX_USAGE, "--find: no"),
        (
            {"UID SEARCH": "* SEARCH 3\nTAG OK done", "UID FETCH": "TAG NO [EXPUNGEISSUED] gone"},
            os.EX_UNAVAILABLE,
            "the server does not describe its messages: gone",
        ),
    ],
)
def test_a_search_that_is_refused(script: dict[str, Script], status: int, text: str) -> None:
    with server({"EXAMINE": "TAG OK done", **script}) as imap, failing(status, text):
        find(imap, mailbox="Möbel")
    assert imap.commands[2] == 'EXAMINE "M&APY-bel"'


@pytest.mark.parametrize(
    "script",
    [
        {"UID SEARCH": "* SEARCH x\nTAG OK done"},
        {"UID SEARCH": f"* SEARCH {'9' * 5000}\nTAG OK done"},
        {"UID SEARCH": f"* SEARCH {2**32}\nTAG OK done", "UID FETCH": f"{described(2**32)}\nTAG OK done"},
        {"UID SEARCH": "* SEARCH 3\nTAG OK done", "UID FETCH": "* 1 FETCH ((((\nTAG OK done"},
        {"UID SEARCH": b"* SEARCH \x1b[31m\r\nTAG OK done\r\n"},
    ],
)
def test_what_the_server_says_of_its_mail_makes_no_sense(script: dict[str, Script]) -> None:
    with server(script) as imap:
        with pytest.raises(Failure) as caught:
            find(imap)
        assert caught.value.status == os.EX_PROTOCOL
        assert str(caught.value).isprintable()


# --- what the server says, and who hears it ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        {"GREETING": b"* BYE " + HOSTILE + b"\r\n"},
        {"AUTHENTICATE": b"TAG NO " + HOSTILE + b"\r\n"},
        {"SUBMIT": (TAKE, b"TAG NO " + HOSTILE + b"\r\n")},
        {"SUBMIT": (TAKE, b"TAG NO ,joe" + HOSTILE + b",b" + HOSTILE + b"\r\n")},
        {"SUBMIT": (TAKE, b"TAG BAD " + HOSTILE + b"\r\n")},
        {"SUBMIT": (TAKE, b"* BYE " + HOSTILE + b"\r\n", CLOSE)},
        {"SUBMIT": (TAKE, HOSTILE + b"\r\n", CLOSE)},
    ],
)
def test_words_of_the_servers_cannot_harm_a_terminal(script: dict[str, Script]) -> None:
    with server(script) as imap:
        with pytest.raises(Failure) as caught:
            submit(imap)
        assert all(text.isprintable() for text in str(caught.value).split("\n"))


@pytest.mark.parametrize("step", ["EXAMINE", "UID SEARCH", "UID FETCH"])
def test_nor_can_they_in_a_search(step: str) -> None:
    script: dict[str, Script] = {"UID SEARCH": "* SEARCH 3\nTAG OK done", step: b"TAG NO " + HOSTILE + b"\r\n"}
    with server(script) as imap:
        with pytest.raises(Failure) as caught:
            find(imap)
        assert str(caught.value).isprintable()


def test_words_of_an_ok_are_printable() -> None:
    with server({"SUBMIT": (TAKE, b"TAG OK " + HOSTILE + b"\r\n")}) as imap:
        assert submit(imap).isprintable()
