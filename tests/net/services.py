"""Services for sessions under test, and the ledger that counts for them."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from imapproxy.message.message import Site
from imapproxy.net.channel import Channel
from imapproxy.net.deliver import SmtpServer
from imapproxy.net.ledger import Book, Ledger, Limits, answer, ledger_pair
from imapproxy.net.registry import Registry
from imapproxy.net.relay import Patience
from imapproxy.net.service import FAREWELL_HANDSHAKES, Service
from imapproxy.net.upstream import UpstreamServer
from imapproxy.protocol.capability import CAN_SUBMIT, CAN_SUBMIT_URL, is_reusable
from imapproxy.protocol.terms import Terms
from tests.net.peers import PATIENCE

MAX_MESSAGE_SIZE = 4 << 20

SITE = Site(
    mail_domains=("example.com",),
    from_policy="check",
    identities={},
    max_recipients=100,
    host_name="proxy.example",
    received_client_address=True,
    references=True,
    max_composed_size=2 * MAX_MESSAGE_SIZE,
    sent_mailbox="",
    server_names=frozenset({"imap.example"}),
)
TERMS = Terms(MAX_MESSAGE_SIZE, is_reusable, announced=(CAN_SUBMIT, CAN_SUBMIT_URL))


def service_for(imap_port: int, smtp_port: int, stop_fd: int, **changes: Any) -> Service:
    """Return a service with nothing special about it but ``changes``."""
    service = Service(
        imap=UpstreamServer("127.0.0.1", imap_port),
        terms=TERMS,
        patience=Patience(2 * PATIENCE, 2 * PATIENCE),
        site=SITE,
        smtp=SmtpServer("127.0.0.1", smtp_port, "none", "", "", PATIENCE, "proxy.example"),
        tls=None,
        proxies=(),
        running_submissions=threading.BoundedSemaphore(5),
        farewell_handshakes=threading.BoundedSemaphore(FAREWELL_HANDSHAKES),
        ledger=permissive_ledger(),
        registry=Registry(),
        journal=None,
        stop_fd=stop_fd,
    )
    return replace(service, **changes)


def permissive_ledger() -> Ledger:
    """Return a ledger whose parent has gone, so that everything is allowed."""
    parent, gone = ledger_pair()
    parent.close()
    gone.close()
    return Ledger(gone)


@contextmanager
def counting(clients: int = 1000, clients_per_address: int = 0, submissions_per_hour: int = 0) -> Iterator[Ledger]:
    """Have a ledger with these limits, and a parent that answers it."""
    book = Book(Limits(clients, clients_per_address, submissions_per_hour))
    parent, worker = ledger_pair()
    with parent, worker:
        parent.set_blocking(is_blocking=True)
        thread = threading.Thread(target=_answer, args=(book, parent))
        thread.start()
        try:
            yield Ledger(worker)
        finally:
            worker.close()
            thread.join()


def _answer(book: Book, channel: Channel) -> None:
    while answer(book, 1, channel, time.monotonic()):
        pass
