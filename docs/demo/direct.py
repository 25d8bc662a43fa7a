"""What the demo does at the IMAP server itself, past the proxy and unseen."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from imap_client import Answer, ImapClient
from link import connect
from stage import PASSWORD, USER, Stage


class Filed(NamedTuple):
    """A message in a mailbox."""

    is_read: bool
    message: bytes


def ask(stage: Stage, command: bytes) -> Answer:
    """Give a command."""
    with _client(stage) as client:
        return client.command(command)


def deliver(stage: Stage, message: bytes) -> None:
    """Put a message into the user's inbox, as an MTA does with mail that arrives."""
    with _client(stage) as client:
        client.append(b"INBOX", b"", message)


def newest(stage: Stage, mailbox: bytes) -> Filed:
    """Read the last message in a mailbox, and leave it as it is."""
    with _client(stage) as client:
        client.command(b"EXAMINE " + mailbox)
        answer = client.command(b"FETCH * (FLAGS BODY.PEEK[])")
        return Filed(rb"\Seen" in b"".join(answer.untagged), b"".join(answer.literals))


@contextmanager
def _client(stage: Stage) -> Iterator[ImapClient]:
    with connect(stage.imap) as link:
        client = ImapClient(link, watch=lambda _speaker, _line: None)
        client.login(USER, PASSWORD)
        yield client
