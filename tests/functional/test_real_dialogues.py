r"""What a client and Dovecot say to each other, command by command: the same directly and through the proxy.

Each dialogue is a script (``dialogue``) that is played twice, by users with equal mailboxes: directly, where Dovecot
must answer as the script says, and through the proxy, where every octet must be the same.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.dialogue import Player, exchanges
from tests.functional.dovecot import Dovecot
from tests.functional.process import free_ports
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.samples import DATE, HEADER, MULTIPART, ODD_MESSAGES

# A mailbox that a dialogue makes has the time as its UIDVALIDITY.
MADE_NOW = re.compile(rb"(UIDVALIDITY|APPENDUID|COPYUID) [0-9]+")

# What the proxy adds to a list of capabilities before the login.
OURS = re.compile(rb" CAN-SUBMIT CAN-SUBMIT=URL(?=\r\n)")
CONTINUATION = re.compile(rb"(?m)^\+ [^\r]*")


def letter(number: int, sender: str, subject: str, day: int, more: str = "", text: str = "Hello\r\n") -> bytes:
    return (
        f"Date: {day} Feb 1994 21:52:25 -0800\r\nFrom: {sender}\r\nTo: joe@example.com\r\nSubject: {subject}\r\n"
        f"Message-ID: <{number}@example.com>\r\n{more}\r\n{text}"
    ).encode()


LETTERS = [
    letter(1, "Zoe <zoe@example.com>", "lunch", 7),
    letter(2, "Fred <fred@example.com>", "Re: lunch", 9, "In-Reply-To: <1@example.com>\r\n"),
    letter(3, "Anna <anna@example.com>", "afternoon meeting", 3, text="Bring the plans.\r\n" * 40),
    letter(4, "Zoe <zoe@example.com>", "Re: Re: lunch", 8, "References: <1@example.com> <2@example.com>\r\n"),
    letter(5, "fred@example.com", "=?utf-8?q?=C3=A9t=C3=A9?=", 5, "Cc: zoe@example.com\r\nX-Mark: one two\r\n"),
]

TEXTS = {
    "letter": letter(9, "Fred <fred@example.com>", "new", 7),
    "parts": HEADER + b"Subject: parts\r\n" + MULTIPART,
    "odd": HEADER + ODD_MESSAGES["looks like IMAP"],
    "binary": HEADER + b"Content-Transfer-Encoding: binary\r\n\r\n\0\1\2\r\n",
    "no-name": b"Absent",
    "other": b"Other",
    "quoted": b'a "quoted" \\ name',
    "ete": "été".encode(),
    "nil": b"From: nil@NIL\r\nSubject: NIL\r\n\r\nNIL\r\n",
    "nothing": b"",
    "lunch": b"lunch",
}

# Selecting and looking at mailboxes

MAILBOXES = {
    "select": r"""
        C: SELECT Talk
        S: * FLAGS (...)
        S: * 5 EXISTS
        S: * OK [UIDVALIDITY ...]
        S: * OK [UIDNEXT 6]
        S: OK [READ-WRITE]
        C: EXAMINE <other>
        S: * OK [CLOSED]
        S: * 0 EXISTS
        S: OK [READ-ONLY]
        C: SELECT <no-name+>
        S: NO Mailbox doesn't exist: Absent
        C: UNSELECT
        S: BAD
        C: SELECT "Talk" (CONDSTORE)
        S: * OK [HIGHESTMODSEQ ...]
        S: OK
        C: UNSELECT
        S: OK
        C: SELECT
        S: BAD
    """,
    "create, rename, delete": r"""
        C: CREATE <quoted>
        S: OK
        C: CREATE "Neu &- Alt"
        C: RENAME "Neu &- Alt" Alt.neu
        C: LIST "" *
        S: OK
        S: OK
        S: * LIST (\HasNoChildren) "." Alt.neu
        S: OK
        C: RENAME Alt.neu Alt/neu
        S: NO [CANNOT]
        C: CREATE Talk
        S: NO [ALREADYEXISTS]
        C: DELETE <quoted+>
        S: OK
        C: DELETE Absent
        S: NO [NONEXISTENT]
        C: RENAME INBOX Old
        S: NO [CANNOT]
    """,
    "list": r"""
        C: LIST "" ""
        S: * LIST (\Noselect) "." ""
        S: OK
        C: LIST "" %
        S: * LIST (...) "." INBOX
        S: * LIST (...) "." Talk
        S: OK
        C: LIST "" (Talk <other>)
        S: * LIST (...) "." Other
        S: OK
        C: LIST (SUBSCRIBED) "" * RETURN (CHILDREN SPECIAL-USE)
        S: OK
        C: LIST "" % RETURN (STATUS (MESSAGES UNSEEN UIDNEXT SIZE))
        S: * STATUS Talk (MESSAGES 5 ...
        S: OK
        C: LIST (RECURSIVEMATCH) "" *
        S: BAD
    """,
    "subscribe": r"""
        C: SUBSCRIBE Talk
        S: OK
        C: LSUB "" *
        S: * LSUB () "." Talk
        S: OK
        C: SUBSCRIBE Absent
        S: NO
        C: UNSUBSCRIBE <other>
        S: OK
        C: UNSUBSCRIBE Talk
        C: LSUB "" *
        S: OK
        S: OK
    """,
    "status": r"""
        C: STATUS Talk (MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN HIGHESTMODSEQ SIZE)
        S: * STATUS Talk (MESSAGES 5 ... UIDNEXT 6 UIDVALIDITY ...
        S: OK
        C: STATUS Absent (MESSAGES)
        S: NO Mailbox doesn't exist: Absent
        C: STATUS Talk (NONSENSE)
        S: BAD
    """,
    "NIL as a name": r"""
        C: CREATE NIL
        S: OK
        C: LIST "" NIL
        S: * LIST (...) "." "NIL"
        S: OK
        C: APPEND NIL <nil>
        S: OK [APPENDUID ... 1]
        C: EXAMINE "nil"
        S: NO
        C: EXAMINE "NIL"
        S: * 1 EXISTS
        S: OK
        C: FETCH 1 ENVELOPE
        S: * 1 FETCH (ENVELOPE (NIL "NIL" ((NIL NIL "nil" "NIL")) ...
        S: OK
    """,
    "namespace, enable and ID": r"""
        C: NAMESPACE
        S: * NAMESPACE (("" ".")) NIL NIL
        S: OK
        C: ENABLE CONDSTORE QRESYNC NONSENSE
        S: * ENABLED CONDSTORE QRESYNC
        S: OK
        C: ID ("name" "x" "version" NIL)
        S: * ID ("name" "Dovecot")
        S: OK
        C: ID NIL
        S: * ID ("name" "Dovecot")
        S: OK
    """,
}

# Putting messages there and taking them away

MESSAGES = {
    "append": r"""
        C: APPEND Other (\Seen $Forwarded) "07-Feb-1994 21:52:25 -0800" <letter>
        S: OK [APPENDUID ... 1]
        C: APPEND Other () <odd+>
        S: OK [APPENDUID ... 2]
        C: SELECT Other
        S: * 2 EXISTS
        S: OK
        C: FETCH 1:2 (FLAGS BODY.PEEK[])
        S: * 1 FETCH (FLAGS (\Seen ...$Forwarded) BODY[] {
        S: * 2 FETCH (...A1 SUBMIT {10}...
        S: OK
        C: APPEND Absent <letter>
        S: NO [TRYCREATE]
        C: APPEND Other <nothing>
        S: NO
        C: APPEND Other (\Nonsense) <letter>
        S: BAD
    """,
    "several messages in one APPEND": r"""
        C: APPEND Other (\Flagged) <letter> (\Seen) <odd> <parts>
        S: OK [APPENDUID ... 1:3]
        C: APPEND Other <letter+> <odd+>
        S: OK [APPENDUID ... 4:5]
        C: STATUS Other (MESSAGES)
        S: * STATUS Other (MESSAGES 5)
        S: OK
    """,
    "append of parts that are there": r"""
        C: APPEND Other CATENATE (URL "/Talk/;UID=1/;SECTION=HEADER" TEXT <letter> URL "/Talk/;UID=3/;SECTION=TEXT")
        S: OK [APPENDUID ... 1]
        C: APPEND Other CATENATE (URL "/Talk/;UID=99" TEXT <letter+>)
        S: NO [BADURL /Talk/;UID=99]
        C: EXAMINE Other
        S: OK
        C: FETCH 1 BODY.PEEK[]
        S: * 1 FETCH (BODY[] ...Bring the plans.
        S: OK
    """,
    "binary": r"""
        C: APPEND Other ~<binary>
        S: OK [APPENDUID ... 1]
        C: SELECT Other
        S: OK
        C: FETCH 1 (BINARY.SIZE[] BINARY.PEEK[])
        S: * 1 FETCH (BINARY.SIZE[] ...
        S: OK
        C: SELECT INBOX
        S: OK
        C: FETCH 10 (BINARY.SIZE[3] BINARY[3] BINARY.PEEK[3]<2.4> BINARY[1])
        S: * 10 FETCH (...BINARY.SIZE[3] 10 BINARY[3] ~{10}...
        S: OK
    """,
    "copy": r"""
        C: SELECT Talk
        S: OK
        C: COPY 1:3 Other
        S: OK [COPYUID ... 1:3 1:3]
        C: UID COPY 5,1 <other>
        S: OK [COPYUID ... 1,5 4:5]
        C: UID COPY 77 Other
        S: OK
        C: COPY 77 Other
        S: BAD
        C: COPY 1 Absent
        S: NO [TRYCREATE]
        C: STATUS Other (MESSAGES UIDNEXT)
        S: * STATUS Other (MESSAGES 5 UIDNEXT 6)
        S: OK
    """,
    "move": r"""
        C: SELECT Talk
        S: OK
        C: MOVE 2,4 Other
        S: * OK [COPYUID ... 2,4 1:2]
        S: * 4 EXPUNGE
        S: * 2 EXPUNGE
        S: OK
        C: UID MOVE 1:* <other+>
        S: * OK [COPYUID ... 1,3,5 3:5]
        S: OK
        C: NOOP
        S: OK
    """,
    "store": r"""
        C: SELECT Talk
        S: OK
        C: STORE 1,3 FLAGS (\Seen \Answered)
        S: * 1 FETCH (FLAGS (\Answered \Seen...
        S: * 3 FETCH (FLAGS (\Answered \Seen...
        S: OK
        C: STORE 1:* +FLAGS ($Forwarded work)
        S: * 5 FETCH (FLAGS (...$Forwarded work))
        S: OK
        C: UID STORE 2:4 -FLAGS.SILENT ($Forwarded \Seen)
        S: OK
        C: FETCH 1:5 FLAGS
        S: * 2 FETCH (FLAGS (...work))
        S: OK
        C: STORE 9 +FLAGS (\Seen)
        S: BAD
        C: EXAMINE Talk
        S: OK
        C: STORE 1 +FLAGS (\Seen)
        S: OK Store ignored with read-only mailbox
    """,
    "expunge, before another client": r"""
        C: SELECT Talk
        S: OK
        2C: SELECT Talk
        2S: OK
        C: STORE 2,4 +FLAGS.SILENT (\Deleted)
        C: EXPUNGE
        S: OK
        S: * 4 EXPUNGE
        S: * 2 EXPUNGE
        S: OK
        2C: FETCH 3 UID
        2S: * 3 FETCH (UID 3)
        2S: OK
        2C: NOOP
        2S: * 4 EXPUNGE
        2S: * 2 EXPUNGE
        2S: OK
        2C: UID STORE 1:* +FLAGS (\Deleted)
        2S: OK
        2C: UID EXPUNGE 3
        2S: * 2 EXPUNGE
        2S: OK
        C: CLOSE
        S: OK
        C: STATUS Talk (MESSAGES)
        S: * STATUS Talk (MESSAGES 0)
        S: OK
    """,
    "new messages, before another client": r"""
        C: SELECT Other
        S: OK
        2C: APPEND Other () <letter>
        2S: OK
        C: NOOP
        S: * 1 EXISTS
        S: OK
        2C: APPEND Other (\Seen) <odd+>
        2S: OK
        C: CHECK
        S: * 2 EXISTS
        S: OK
    """,
}

# Reading

READING = {
    "fetch of everything": r"""
        C: SELECT INBOX
        S: OK
        C: FETCH 1:* ALL
        S: * 10 FETCH (FLAGS (...) INTERNALDATE "08-Feb-1994 05:52:25 +0000" RFC822.SIZE ...
        S: OK
        C: FETCH 1,3:5 FULL
        S: OK
        C: FETCH 1:* (UID FLAGS INTERNALDATE RFC822 RFC822.HEADER RFC822.TEXT RFC822.SIZE)
        S: OK
        C: FETCH 1:* (MODSEQ EMAILID)
        S: BAD
        C: UID FETCH 1:* (UID MODSEQ)
        S: * 1 FETCH (UID 1 MODSEQ (...))
        S: OK
        C: UID FETCH 500 FLAGS
        S: OK
        C: FETCH 500 FLAGS
        S: BAD
    """,
    "fetch of parts": r"""
        C: EXAMINE INBOX
        S: OK
        C: FETCH 10 (BODY BODYSTRUCTURE)
        S: * 10 FETCH (BODY (("text" "plain" ... "mixed") BODYSTRUCTURE ...
        S: OK
        C: FETCH 10 (BODY[1] BODY[1.MIME] BODY[2] BODY[2.HEADER] BODY[2.TEXT] BODY[2.1] BODY[3.MIME] BODY[4] BODY[])
        S: * 10 FETCH (...
        S: OK
        C: FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[HEADER.FIELDS.NOT (TO)] BODY.PEEK[TEXT]<3.10>)
        S: * 1 FETCH (BODY[HEADER.FIELDS (SUBJECT FROM)] {...
        S: OK
        C: FETCH 3 (BODY[]<0.5> BODY[]<5.1000000> BODY[]<9999999.5> BODY[TEXT]<10.20>)
        S: * 3 FETCH (BODY[]<0> {5}...
        S: OK
        C: FETCH 1 BODY[NONSENSE]
        S: BAD
    """,
    "fetch of envelopes and previews": r"""
        C: EXAMINE Talk
        S: OK
        C: FETCH 1:* ENVELOPE
        S: * 5 FETCH (ENVELOPE ("5 Feb 1994 21:52:25 -0800" "=?utf-8?q?=C3=A9t=C3=A9?=" ((NIL NIL "fred" ...
        S: OK
        C: FETCH 1:* (PREVIEW PREVIEW (LAZY))
        S: * 1 FETCH (...
        S: OK
    """,
    "search": r"""
        C: SELECT Talk
        S: OK
        C: SEARCH SUBJECT lunch
        S: * SEARCH 1 2 4
        S: OK
        C: UID SEARCH OR FROM anna SUBJECT <lunch> NOT SEEN
        S: * SEARCH 1 2 3 4
        S: OK
        C: SEARCH CHARSET UTF-8 SUBJECT <ete+>
        S: * SEARCH 5
        S: OK
        C: SEARCH CHARSET X-NONSENSE SUBJECT <ete>
        S: NO [BADCHARSET]
        C: SEARCH TEXT "plans" SENTBEFORE 4-Feb-1994 LARGER 500 HEADER Message-ID <nothing>
        S: * SEARCH 3
        S: OK
        C: SEARCH HEADER X-Mark "one two" KEYWORD work UNDELETED (1:3 UID 2:5)
        S: * SEARCH
        S: OK
        C: SEARCH ANSWERED
        S: * SEARCH
        S: OK
        C: SEARCH NONSENSE
        S: BAD
    """,
    "search with results of other forms": r"""
        C: SELECT Talk
        S: OK
        C: SEARCH RETURN (MIN MAX COUNT ALL) SUBJECT lunch
        S: * ESEARCH (TAG "X2") MIN 1 MAX 4 ALL 1:2,4 COUNT 3
        S: OK
        C: UID SEARCH RETURN (SAVE) FROM zoe
        S: OK
        C: FETCH $ UID
        S: * 1 FETCH (UID 1)
        S: * 4 FETCH (UID 4)
        S: OK
        C: SEARCH RETURN (PARTIAL 1:2) ALL
        S: OK
        C: SEARCH RETURN (UPDATE COUNT) UNSEEN
        S: OK
        2C: SELECT Talk
        2C: STORE 1 +FLAGS (\Seen)
        2S: OK
        2S: OK
        C: NOOP
        S: OK
        C: SEARCH RETURN (ALL) MODSEQ 1
        S: * ESEARCH (TAG ...) ALL 1:5 MODSEQ
        S: OK
    """,
    "sort": r"""
        C: SELECT Talk
        S: OK
        C: SORT (SUBJECT) US-ASCII ALL
        S: * SORT ...
        S: OK
        C: SORT (REVERSE DATE) UTF-8 ALL
        S: * SORT 2 4 1 5 3
        S: OK
        C: UID SORT (FROM TO CC SIZE ARRIVAL) UTF-8 SUBJECT <ete>
        S: * SORT 5
        S: OK
        C: SORT (DISPLAYFROM REVERSE DISPLAYTO) UTF-8 ALL
        S: * SORT 3 ...
        S: OK
        C: SORT RETURN (MIN COUNT) (SIZE) UTF-8 ALL
        S: * ESEARCH (TAG "X6") MIN ... COUNT 5
        S: OK
        C: SORT (NONSENSE) UTF-8 ALL
        S: BAD
    """,
    "thread": r"""
        C: SELECT Talk
        S: OK
        C: THREAD REFERENCES UTF-8 ALL
        S: * THREAD (3)(5)(1 2 4)
        S: OK
        C: UID THREAD REFS UTF-8 ALL
        S: * THREAD ...(1 2 4)
        S: OK
        C: THREAD ORDEREDSUBJECT US-ASCII SUBJECT lunch
        S: * THREAD (1 ...
        S: OK
        C: THREAD NONSENSE UTF-8 ALL
        S: BAD
    """,
    "condstore": r"""
        C: SELECT Talk (CONDSTORE)
        S: * OK [HIGHESTMODSEQ ...
        S: OK
        C: STORE 1 (UNCHANGEDSINCE 1000) +FLAGS (\Flagged)
        S: * 1 FETCH (...MODSEQ ...
        S: OK
        C: STORE 1:3 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\Seen)
        S: OK [MODIFIED 1:3]
        C: UID STORE 1,5 (UNCHANGEDSINCE 0) FLAGS ($Forwarded)
        S: OK [MODIFIED 1,5]
        C: FETCH 1:* (FLAGS) (CHANGEDSINCE 1)
        S: * 1 FETCH (...MODSEQ ...
        S: OK
        C: SEARCH MODSEQ 2
        S: * SEARCH 1 ...(MODSEQ ...
        S: OK
    """,
    "qresync": r"""
        C: ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: OK
        C: SELECT Talk (QRESYNC (1 1))
        S: OK
        C: STORE 2 +FLAGS.SILENT (\Deleted)
        C: EXPUNGE
        S: OK
        S: * VANISHED 2
        S: OK [HIGHESTMODSEQ ...
        C: UID FETCH 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)
        S: * VANISHED (EARLIER) 2
        S: OK
        C: UNSELECT
        S: OK
    """,
}

# What a client ought not to say, or says in an unusual way

UNUSUAL = {
    "nonsense": r"""
        C: NONSENSE
        S: BAD
        C: UID NONSENSE
        S: BAD
        C: FETCH 1 FLAGS
        S: BAD
        C: LOGIN again <nothing>
        S: BAD
        C: NOOP with arguments
        S: OK
        C: select talk
        S: NO
        C: sElEcT "Talk"
        S: OK
        C: FETCH 1 (
        S: BAD
        C: FETCH 1 "unfinished
        S: BAD
    """,
    "many at once": r"""
        C: SELECT Talk
        C: STATUS <other+> (MESSAGES)
        C: LIST "" <other+>
        C: NONSENSE
        C: UNSELECT
        C: STATUS INBOX (MESSAGES)
        S: OK
        S: * STATUS Other (MESSAGES 0)
        S: OK
        S: * LIST (...) "." Other
        S: OK
        S: BAD
        S: OK
        S: * STATUS INBOX (MESSAGES 10)
        S: OK
    """,
    "a line as long as Dovecot takes it": r"""
        C: EXAMINE Talk
        S: OK
        C: UID FETCH 1{longest-set} UID
        S: * 4 FETCH (UID 4)
        S: OK
    """,
    "logout": r"""
        C: LOGOUT
        S: * BYE Logging out
        S: OK
    """,
}


DIALOGUES = {**MAILBOXES, **MESSAGES, **READING, **UNUSUAL}

# ID (RFC 2971), which a client may say before its login, and again: 30 fields at most, of 30 octets and 1,024

IDS = {
    "of nothing": r"""
        C: ID NIL
        S: * ID ("name" "Dovecot")
        S: OK
        C: ID ()
        S: * ID ("name" "Dovecot")
        S: OK
    """,
    "of fields": r"""
        C: ID ("name" "x" "version" NIL "support-url" "")
        S: * ID ("name" "Dovecot")
        S: OK
        C: id ( "os" "a \"quoted\" \\ system" )
        S: OK
    """,
    "with literals": r"""
        C: ID ("name" <other> "vendor" <nothing>)
        S: * ID ("name" "Dovecot")
        S: OK
    """,
    "with all that it may have": r"""
        C: ID ({thirty-fields})
        S: * ID ("name" "Dovecot")
        S: OK
    """,
    "several at once": r"""
        C: ID ("name" "x")
        C: NOOP
        C: ID ({thirty-fields})
        C: CAPABILITY
        C: ID ("name" "y")
        S: OK
        S: OK
        S: OK
        S: * CAPABILITY ...
        S: OK
        S: OK
    """,
}

NO_IDS = r"""
    C: ID
    S: OK
    C: ID ("name")
    S: OK
    C: ID name
    S: BAD
    C: ID (name x)
    S: BAD
    C: ID ("a-field-of-more-than-thirty-octets" "x")
    S: BAD
"""

ABBREVIATIONS = {
    # 60 KB: Dovecot takes lines of 64 KiB.
    "{longest-set}": "".join(f",{uid}" for uid in range(2, 20_000, 2))[:60_000].rpartition(",")[0],
    # 31 KB.
    "{thirty-fields}": " ".join(f'"{number:030}" "{"v" * 1024}"' for number in range(30)),
}


@pytest.fixture(scope="module")
def mail(dovecot: Dovecot) -> Path:
    """Return the maildir that every user of this module starts with."""
    user = dovecot.new_user()
    with logged_in(dovecot.port, user) as client:
        for name in ("Talk", "Other"):
            client.create(name)
            client.subscribe(name)
        for message in ODD_MESSAGES.values():
            client.append("INBOX", "", DATE, HEADER + message)
        for message in LETTERS:
            client.append("Talk", "", DATE, message)
    return dovecot.maildir(user)


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    [nobody] = free_ports(1)
    with running_proxy(tmp_path_factory.mktemp("proxy"), dovecot.port, smtp_port=nobody) as proxy:
        yield proxy


class OctetByOctet(RecordingClient):
    """A client whose every octet may come in a packet of its own."""

    piece = 1  # octets

    def send(self, data: bytes) -> None:  # type: ignore[override]  # typeshed takes any buffer
        for start in range(0, len(data), self.piece):
            super().send(data[start : start + self.piece])


class InPieces(OctetByOctet):
    """A client whose long lines come in several packets.

    Dovecot 2.3 takes an ID before the login for malformed where what it reads ends behind the command's name.
    """

    piece = 1000


def heard(port: int, user: str, script: str, way: str) -> list[bytes]:
    """Play a dialogue; return what each of the clients has heard since its login."""
    kind = OctetByOctet if way == "octet by octet" else RecordingClient
    with ExitStack() as stack:
        clients = [kind(port) for _ in range(1 + ("2C:" in script))]
        for client in clients:
            stack.callback(client.shutdown)
            client.login(user, "secret")
            if way == "compressed":
                client.begin_compression()
            client.heard()
        players = [Player(client, TEXTS) for client in clients]
        for exchange in exchanges(in_full(script)):
            players[exchange.client].play(exchange)
        return [MADE_NOW.sub(rb"\1 N", client.heard()) for client in clients]


def in_full(script: str) -> str:
    for abbreviation, text in ABBREVIATIONS.items():
        script = script.replace(abbreviation, text)
    return script


@pytest.fixture(scope="module")
def direct(dovecot: Dovecot, mail: Path) -> Callable[[str], list[bytes]]:
    """Return what plays a dialogue directly, each once."""
    return cache(lambda script: heard(dovecot.port, dovecot.new_user(mail), script, "whole"))


@pytest.mark.parametrize("way", ["whole", "octet by octet", "compressed"])
@pytest.mark.parametrize("script", DIALOGUES.values(), ids=DIALOGUES)
def test_dialogue_is_the_same_through_the_proxy(
    dovecot: Dovecot, proxy: Proxy, mail: Path, direct: Callable[[str], list[bytes]], script: str, way: str
) -> None:
    assert heard(proxy.port, dovecot.new_user(mail), script, way) == direct(script)


@pytest.fixture(scope="module", params=["off", "id"])
def each_proxy(
    request: pytest.FixtureRequest, dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxy]:
    """Return a proxy that says nothing to the server itself, or an ID of its own first."""
    [nobody] = free_ports(1)
    options = {"imap": {"imap-server": f"127.0.0.1:{dovecot.port}", "imap-send-client-ip": request.param}}
    with running_proxy(tmp_path_factory.mktemp("proxy"), dovecot.port, smtp_port=nobody, options=options) as proxy:
        yield proxy


def say_before_login(port: int, user: str, script: str, kind: type[RecordingClient]) -> bytes:
    """Play a dialogue, and log in; return what was heard before, but for what the proxy says in its own words."""
    client = kind(port)
    try:
        client.heard()
        player = Player(client, TEXTS)
        for exchange in exchanges(in_full(script)):
            player.play(exchange)
        heard = client.heard()
        client.login(user, "secret")
    finally:
        client.shutdown()
    return CONTINUATION.sub(b"+ (go on)", OURS.sub(b"", heard))


@pytest.mark.parametrize("kind", [RecordingClient, InPieces], ids=["whole", "in pieces"])
@pytest.mark.parametrize("script", IDS.values(), ids=IDS)
def test_id_before_login_is_the_same_through_the_proxy(
    dovecot: Dovecot, each_proxy: Proxy, script: str, kind: type[RecordingClient]
) -> None:
    """The proxy that says an ID of its own reads the client's as a whole, and so asks for its literals itself."""
    direct, proxied = (
        say_before_login(port, dovecot.new_user(), script, kind) for port in (dovecot.port, each_proxy.port)
    )
    assert proxied == direct


def test_id_that_is_none_is_the_same_through_the_proxy(dovecot: Dovecot, proxy: Proxy) -> None:
    """Dovecot takes some of what RFC 2971 does not have."""
    direct, proxied = (
        say_before_login(port, dovecot.new_user(), NO_IDS, RecordingClient) for port in (dovecot.port, proxy.port)
    )
    assert proxied == direct
