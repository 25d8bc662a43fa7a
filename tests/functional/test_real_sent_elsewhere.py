"""The copy in Sent (DESIGN 4.3) on every real IMAP server: where it goes, and that nothing else changes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.functional.courier import Courier, account
from tests.functional.dovecot import give_to
from tests.functional.drafts import ENVELOPE, draft, forward, reference
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.imap_servers import ImapServer, RealImapServer
from tests.functional.mail_tree import leaf
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

STORED = leaf("text/plain", b"Hello\r\n").headed(b"Subject: stored\r\n")
PLAIN = ENVELOPE + b"\r\nHello\r\n"


@pytest.fixture(scope="module")
def automatic(imap: RealImapServer, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    options = {"submit": {"sent-mailbox": "auto"}}
    with running_proxy(tmp_path_factory.mktemp("auto"), imap.port, postfix.port, options) as running:
        yield running


@pytest.fixture
def ann(imap: RealImapServer, postfix: Postfix, automatic: Proxy) -> Iterator[Correspondent]:
    with correspondent(imap, postfix, automatic) as user:
        yield user


def subscribed(user: Correspondent) -> list[str]:
    """Return the names of the mailboxes that the user is subscribed to."""
    lines = [line.decode() for line in user.direct.lsub()[1] if isinstance(line, bytes)]
    return [line.rpartition(" ")[2].strip('"') for line in lines]


# Where it goes


def test_automatic_mailbox_of_a_server_that_marks_none(ann: Correspondent) -> None:
    """It is Sent, below INBOX if all of a user's mailboxes are; made and subscribed to if it is not there."""
    ann.direct.delete(ann.mailbox("Sent"))  # Cyrus has made it, and nobody is subscribed to it
    for number in range(2):
        sent = ann.send(PLAIN)
        copies = ann.all_of(ann.mailbox("Sent"))
        assert len(copies) == number + 1
        assert copies[-1].endswith(sent)
    assert ann.mailbox("Sent") in subscribed(ann)


@pytest.mark.parametrize("is_full", [False, True], ids=["without its prefix", "with its prefix"])
def test_named_mailbox(imap: RealImapServer, postfix: Postfix, tmp_path: Path, is_full: bool) -> None:
    """A prefix that is missing is added; one that is there is not added again."""
    full_name = f"{imap.prefix}Weg"
    name = full_name if is_full else "Weg"
    options = {"submit": {"sent-mailbox": name}}
    with (
        running_proxy(tmp_path, imap.port, postfix.port, options) as proxy,
        correspondent(imap, postfix, proxy) as user,
    ):
        sent = user.send(PLAIN)
        (copy,) = user.all_of(full_name)
        assert copy.endswith(sent)
        assert full_name in subscribed(user)


# What changes nothing

NOTHING_SEEN = rb"MESSAGES 2\b.*RECENT 2\b.*UNSEEN 2\b|MESSAGES 2\b.*UNSEEN 2\b.*RECENT 2\b"


def state(row: ImapServer, user: Correspondent, mailbox: str) -> bytes:
    """Return what STATUS says, which changes nothing itself."""
    items = "MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN" + (" HIGHESTMODSEQ" if row.has_modseq else "")
    _, (said,) = user.direct.status(mailbox, f"({items})")
    assert isinstance(said, bytes)
    return said


@pytest.mark.parametrize("whole", [False, True], ids=["parts", "whole submission"])
def test_what_is_referred_to_stays_recent_and_unseen(imap_row: ImapServer, ann: Correspondent, whole: bool) -> None:
    first, second = ann.deliver(STORED.octets, STORED.octets)
    before = state(imap_row, ann, "INBOX")
    assert re.search(NOTHING_SEEN, before), before
    if whole:
        ann.send(ENVELOPE + reference(f"/INBOX/;UID={first}"))
    else:
        urls = f"/INBOX/;UID={first}", f"/INBOX/;UID={second}/;SECTION=1"
        assert len(ann.forward(draft(*map(reference, urls))).parts) == 2
    assert state(imap_row, ann, "INBOX") == before
    assert len(ann.all_of(ann.mailbox("Sent"))) == 1


def test_what_is_referred_to_in_several_mailboxes_stays_recent_and_unseen(
    imap_row: ImapServer, ann: Correspondent
) -> None:
    other = ann.new_mailbox("Archive")
    for mailbox in ("INBOX", other):
        assert ann.deliver(STORED.octets, STORED.octets, mailbox=mailbox) == [1, 2]
    before = [state(imap_row, ann, mailbox) for mailbox in ("INBOX", other)]
    assert all(re.search(NOTHING_SEEN, each) for each in before), before
    urls = "/INBOX/;UID=1", f"/{other}/;UID=1", "/INBOX/;UID=2"
    assert len(ann.forward(draft(*map(reference, urls))).parts) == 3
    assert [state(imap_row, ann, mailbox) for mailbox in ("INBOX", other)] == before
    assert len(ann.all_of(ann.mailbox("Sent"))) == 1


def test_relative_urls_are_taken_where_there_is_catenate(imap_row: ImapServer, ann: Correspondent) -> None:
    """So a copy is put together on Dovecot and Cyrus; where they were not taken, it would be streamed."""
    offered = b"CATENATE" in ann.direct.capability()[1][0].split()
    assert offered is imap_row.has_catenate
    if offered:
        ann.store(STORED.octets)
        ann.direct.select("INBOX", readonly=True)
        status, said = ann.direct.xatom("APPEND", ann.new_mailbox("Weg"), 'CATENATE (URL ";UID=1/;SECTION=TEXT")')
        assert status == "OK", said


# What is stored in lines of CR CR LF


def test_maildir_file_in_crlf_lines_behind_courier(courier: Courier, postfix: Postfix, tmp_path: Path) -> None:
    """Courier makes CR CR LF of each CRLF; what is included has each line end once."""
    with (
        running_proxy(tmp_path, courier.port, postfix.port) as proxy,
        correspondent(courier, postfix, proxy) as user,
    ):
        path = courier.maildir(user.user) / "new" / "1.example"
        path.write_bytes(STORED.octets)
        give_to(account(), path)
        assert user.all_of("INBOX") == [STORED.octets.replace(b"\r\n", b"\r\r\n")]
        assert user.forward(forward("/INBOX/;UID=1")).parts[1].body == STORED.octets
