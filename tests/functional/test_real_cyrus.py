"""Cyrus as it is without Debian's settings: a user's mailboxes stand beside INBOX, and their names have slashes."""

from pathlib import Path

from tests.functional.cyrus import running_cyrus
from tests.functional.drafts import forward
from tests.functional.forwarding import correspondent
from tests.functional.mail_tree import leaf
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import running_proxy
from tests.functional.unpacked import Unpacked

STORED = leaf("text/plain", b"Hello\r\n").headed(b"Subject: stored\r\n")


def test_forward_from_a_mailbox_with_slashes(programs: Unpacked, postfix: Postfix, tmp_path: Path) -> None:
    """In a URL, too, the names have slashes; the copy goes to Sent, which has no prefix."""
    options = {"submit": {"sent-mailbox": "auto"}}
    with (
        running_cyrus(programs, beside_inbox=True) as cyrus,
        running_proxy(tmp_path, cyrus.port, postfix.port, options) as proxy,
        correspondent(cyrus, postfix, proxy) as user,
    ):
        user.new_mailbox("Projects")
        uid = user.store(STORED.octets, user.new_mailbox("Projects/Old"))
        assert user.forward(forward(f"/Projects/Old/;UID={uid}")).parts[1].body == STORED.octets
        assert len(user.all_of("Sent")) == 1
