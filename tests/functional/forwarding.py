"""The real program between a server that has mail and one that takes it: both scripted, or both real."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.delivered import Seen, seen, without_trace
from tests.functional.fake_imap import Peer, connect
from tests.functional.fake_mailboxes import FakeMailboxes
from tests.functional.fake_smtp import FakeSmtp, Received
from tests.functional.imap_servers import RealImapServer
from tests.functional.mail_tree import Entity
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Options, Proxy, running_proxy


@dataclass(frozen=True)
class PostOffice:
    """Both servers scripted."""

    proxy: Proxy
    imap: FakeMailboxes
    smtp: FakeSmtp

    @contextmanager
    def performance(self) -> Iterator["PostOffice"]:
        """One test's time, at both servers."""
        usual = dict(self.smtp.script)
        for received in (self.smtp.commands, self.smtp.messages, self.smtp.unfinished):
            received.clear()
        with self.imap.performance():
            yield self
        self.smtp.script = usual

    @contextmanager
    def client(self, login: bytes = b"LOGIN fred secret", address: str = "127.0.0.1") -> Iterator[Peer]:
        """Connect, and log in with that command."""
        self.imap.client_comes()
        with connect(self.proxy.port, address=address) as client:
            client.line()
            client.send(b"L %b\r\n" % login)
            assert client.answer(b"L").startswith(b"OK")
            yield client

    def submit(self, draft: bytes, login: bytes = b"LOGIN fred secret") -> str:
        """Have a user SUBMIT a draft; return the answer without its tag."""
        with self.client(login) as client:
            client.send(b"S SUBMIT {%d+}\r\n%b\r\n" % (len(draft), draft))
            return client.answer(b"S").decode("ascii")

    def received(self) -> Received:
        """Return the one message that came."""
        (message,) = self.smtp.messages
        return message

    def arrived(self) -> Seen:
        """Return what the one message that came looks like."""
        return seen(without_trace(self.received().content))

    def assert_nobody_got_anything(self) -> None:
        """Check that no message came whole, nor was any announced whose size was not known."""
        assert not self.smtp.messages
        assert not self.imap.appended


@contextmanager
def post_office(
    directory: Path, mailboxes: Mapping[bytes, Mapping[int, Entity]], options: Options | None = None
) -> Iterator[PostOffice]:
    """Open one; ``options`` are the proxy's, in which ``{imap}`` stands for the IMAP server's port."""
    with FakeMailboxes(mailboxes) as imap, FakeSmtp() as smtp:
        chosen = {
            section: {key: value.replace("{imap}", str(imap.port)) for key, value in keys.items()}
            for section, keys in (options or {}).items()
        }
        with running_proxy(directory, imap.port, smtp.port, chosen) as proxy:
            yield PostOffice(proxy, imap, smtp)


class Correspondent:
    """A user of the real servers that nobody else is: ``client`` through the proxy, ``direct`` to the IMAP server."""

    def __init__(
        self,
        server: RealImapServer,
        user: str,
        client: RecordingClient,
        direct: RecordingClient,
        postfix: Postfix,
    ) -> None:
        self.user = user
        self.client = client
        self.direct = direct
        self._postfix = postfix
        self._server = server

    def mailbox(self, name: str) -> str:
        """Return a mailbox's full name on this server; ``name`` may be quoted."""
        quote = '"' if name.startswith('"') else ""
        return f"{quote}{self._server.prefix}{name.removeprefix(quote)}"

    def new_mailbox(self, name: str) -> str:
        """Make a mailbox, and return its full name."""
        full_name = self.mailbox(name)
        status, data = self.direct.create(full_name)
        assert status == "OK", data
        return full_name

    def store(self, octets: bytes, mailbox: str = "INBOX") -> int:
        """Put a message into a mailbox, and return its UID."""
        return self.direct.store_message(mailbox, octets)

    def deliver(self, *messages: bytes, mailbox: str = "INBOX") -> list[int]:
        """Let messages come as new mail, which no session has seen then, and return their UIDs."""
        self.direct.select(mailbox)  # Courier gives a mailbox that was never SELECTed another UIDVALIDITY each second
        self.direct.close()
        for message in messages:
            self._server.deliver(self.user, message, mailbox)
        self.direct.select(mailbox, readonly=True)
        _, (uids,) = self.direct.uid("SEARCH", "RECENT")
        self.direct.close()
        return [int(uid) for uid in uids.split()]

    def send(self, draft: bytes) -> bytes:
        """SUBMIT a draft to joe, and return what he gets, without trace."""
        answer = self.client.submit(draft)
        assert answer == "OK SUBMIT completed", answer
        return self.arrival()

    def arrival(self) -> bytes:
        """Return what joe gets next, without trace."""
        return without_trace(self._postfix.take(1)["joe@example.com"].content)

    def forward(self, draft: bytes) -> Seen:
        """SUBMIT a draft to joe, and return what that looks like to him."""
        return seen(self.send(draft))

    def all_of(self, mailbox: str) -> list[bytes]:
        """Return the messages in a mailbox."""
        _, (number,) = self.direct.select(mailbox, readonly=True)
        if number == b"0":
            return []
        _, data = self.direct.fetch("1:*", "(BODY.PEEK[])")
        return [item[1] for item in data if isinstance(item, tuple)]


@contextmanager
def correspondent(server: RealImapServer, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    """Log a new user in, both ways; what an earlier test has left with Postfix is not hers."""
    user = server.new_user()
    postfix.sink.forget()
    with logged_in(proxy.port, user) as client, logged_in(server.port, user) as direct:
        yield Correspondent(server, user, client, direct, postfix)
