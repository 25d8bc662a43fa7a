"""What a client says and hears is the same through the proxy as directly, on each IMAP server, octet for octet."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.delivered import seen, without_trace
from tests.functional.dovecot import PASSWORD
from tests.functional.drafts import forward
from tests.functional.imap_servers import ImapServer, RealImapServer
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy
from tests.functional.samples import DATE, HEADER, ODD_MESSAGES, big_message

LogIn = Callable[[RecordingClient, str], None]
Command = tuple[bytes, ...]  # what is said; before each piece but the first the server says that it may come

# What a server offers that holds for the connection to it, and what the proxy offers instead.
HOP = re.compile(rb" (?:STARTTLS|LOGINDISABLED|COMPRESS=DEFLATE|CAN-SUBMIT(?:=URL)?)(?=[ \]\r])")


@pytest.fixture(scope="module")
def proxy(imap: RealImapServer, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("passage"), imap.port, postfix.port) as running:
        yield running


def append(mailbox: bytes, flags: bytes, message: bytes) -> Command:
    return with_literal(b"APPEND %b (%b) %b" % (mailbox, flags, DATE.encode()), message)


def with_literal(line: bytes, literal: bytes) -> Command:
    return b"%b {%d}" % (line, len(literal)), literal


def script(prefix: bytes) -> Iterator[Command]:
    """Return a session's commands; mailboxes are named with this prefix."""
    yield from making(prefix)
    yield from reading(prefix)
    yield from changing(prefix)
    yield from ending(prefix)


def making(prefix: bytes) -> Iterator[Command]:
    yield (b"NOOP",)
    yield (b"NAMESPACE",)
    yield (b'ID ("name" "test")',)
    yield (b'LIST "" "*"',)
    yield (b"CREATE %bOne" % prefix,)
    yield (b'CREATE "%bTwo &- more"' % prefix,)
    yield (b"SUBSCRIBE %bOne" % prefix,)
    yield (b'LSUB "" "*"',)
    yield with_literal(b'LIST ""', prefix + b"%")
    yield append(b"INBOX", rb"\Seen", HEADER + ODD_MESSAGES["multipart"])
    yield append(b"INBOX", rb"\Flagged $Label", HEADER + ODD_MESSAGES["every octet but NUL"])
    yield append(b"INBOX", rb"\Answered", HEADER + ODD_MESSAGES["looks like IMAP"])
    yield append(b"INBOX", b"", big_message()[: 1 << 20])
    yield append(b"%bAbsent" % prefix, b"", HEADER)


def reading(prefix: bytes) -> Iterator[Command]:
    yield (b"STATUS INBOX (MESSAGES RECENT UIDNEXT UNSEEN)",)
    yield (b"SELECT INBOX",)
    yield (b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)",)
    yield (b"FETCH 1 (BODYSTRUCTURE)",)
    yield (b"FETCH 1:* FULL",)
    yield (b"FETCH 1:* (BODY.PEEK[])",)
    yield (b"FETCH 1:* (BODY[HEADER.FIELDS (SUBJECT FROM)] BODY.PEEK[TEXT]<3.10>)",)
    yield (b"FETCH 1 (BODY[2.HEADER] BODY.PEEK[3.MIME] BODY[1])",)
    yield (b"UID FETCH 1:3 RFC822.HEADER",)
    yield (b"SEARCH SEEN",)
    yield with_literal(b"UID SEARCH CHARSET UTF-8 SUBJECT", "été".encode())
    yield (b"SORT (SUBJECT) US-ASCII ALL",)
    yield (b"THREAD REFERENCES US-ASCII ALL",)
    yield (b"GETQUOTAROOT INBOX",)
    yield b"IDLE", b"DONE"
    yield (b"FETCH 99 FLAGS",)
    yield (b"STATUS %bAbsent (MESSAGES)" % prefix,)


def changing(prefix: bytes) -> Iterator[Command]:
    yield (rb"STORE 1:2 +FLAGS (\Deleted $Forwarded)",)
    yield (rb"STORE 3 -FLAGS.SILENT (\Answered)",)
    yield (rb"UID STORE 3 FLAGS (\Draft)",)
    yield (b"SEARCH DELETED",)
    yield (b"COPY 2:3 %bOne" % prefix,)
    yield (b"UID COPY 3 %bAbsent" % prefix,)
    yield (b"CHECK",)
    yield (b"EXPUNGE",)
    yield (b"FETCH 1 BODY[]<0.5000000>",)


def ending(prefix: bytes) -> Iterator[Command]:
    yield (b"NONSENSE",)
    yield (b"LOGIN again secret",)
    yield with_literal(b"LOGIN again", b"secret")
    yield (b"SELECT",)
    yield (b"EXAMINE %bOne" % prefix,)
    yield (b"FETCH 1:* (FLAGS BODY[])",)
    yield (b"CLOSE",)
    yield (b"UNSELECT",)
    yield (b"RENAME %bOne %bThree" % (prefix, prefix),)
    yield (b"DELETE %bThree" % prefix,)
    yield (b"DELETE %bThree" % prefix,)
    yield (b"LOGOUT",)


def answer(client: RecordingClient, tag: bytes, command: Command) -> bytes:
    """Say a command, piece by piece, and return all that is said to it."""
    client.heard()
    first, *others = command
    client.send(b"%b %b\r\n" % (tag, first))
    line = client.readline()
    for piece in others:
        while not line.startswith((b"+", tag + b" ")):
            line = client.readline()
        if line.startswith(b"+"):
            client.send(piece + b"\r\n")
            line = client.readline()
    while not line.startswith(tag + b" "):
        assert line, client.heard()
        line = client.readline()
    return client.heard()


def test_every_command_is_answered_the_same(imap: RealImapServer, imap_row: ImapServer, proxy: Proxy) -> None:
    """What the table says of a server varies between any two sessions."""
    users = imap.new_user(), imap.new_user()
    clients = logged_in(imap.port, users[0]), logged_in(proxy.port, users[1])
    different = []
    # Both at the same time: Courier takes two seconds for a RENAME and for a DELETE.
    with ThreadPoolExecutor(len(clients)) as pool:
        for number, command in enumerate(script(imap.prefix.encode())):
            tag = b"T%d" % number
            answers = pool.map(answer, clients, repeat(tag), repeat(command))
            direct, proxied = (
                imap_row.varying.sub(b"", heard.replace(user.encode(), b""))
                for heard, user in zip(answers, users, strict=True)
            )
            if direct != proxied:
                different.append((command[0], direct[-1000:], proxied[-1000:]))
    assert not different


# Logging in


def login(client: RecordingClient, user: str) -> None:
    client.login(user, PASSWORD)


def authenticate(client: RecordingClient, user: str) -> None:
    client.authenticate("PLAIN", lambda _: f"\0{user}\0{PASSWORD}".encode())


@pytest.mark.parametrize("log_in", [login, authenticate])
def test_login_differs_by_what_the_proxy_offers(
    imap: RealImapServer, imap_row: ImapServer, proxy: Proxy, postfix: Postfix, log_in: LogIn
) -> None:
    """And what refers to the user's mail is read by the same login."""
    user = imap.new_user()
    heard = []
    for port in (imap.port, proxy.port):
        client = RecordingClient(port)
        log_in(client, user)
        client.capability()
        heard.append(client.heard())
    direct, proxied = heard
    assert same_but_for_hop(direct, imap_row) == same_but_for_hop(proxied, imap_row)
    offered = proxied.rpartition(b"* CAPABILITY ")[2].partition(b"\r\n")[0].split()
    assert offered[-3:] == [b"CAN-SUBMIT", b"CAN-SUBMIT=URL", b"COMPRESS=DEFLATE"]
    assert not {b"STARTTLS", b"LOGINDISABLED"} & set(offered)
    assert len(set(offered)) == len(offered)
    uid = client.store_message("INBOX", HEADER + ODD_MESSAGES["plain"])
    assert client.submit(forward(f"/INBOX/;UID={uid}")) == "OK SUBMIT completed"
    arrival = postfix.take(1)["joe@example.com"]
    assert arrival.sender == f"{user}@example.com"
    assert seen(without_trace(arrival.content)).parts[1].body == HEADER + ODD_MESSAGES["plain"]


def same_but_for_hop(heard: bytes, row: ImapServer) -> bytes:
    return row.varying.sub(b"", HOP.sub(b"", heard))


def test_new_mail_is_told_while_idle(imap: RealImapServer, proxy: Proxy) -> None:
    user = imap.new_user()
    with logged_in(proxy.port, user) as client:
        client.select("INBOX")
        client.send(b"X1 IDLE\r\n")
        assert client.readline().startswith(b"+ ")
        imap.deliver(user, HEADER + ODD_MESSAGES["plain"], "INBOX")
        while not (line := client.readline()).startswith(b"* 1 EXISTS"):
            assert line
        client.converse(b"DONE\r\n", last_tag=b"X1")
