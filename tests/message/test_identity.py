"""What tells a draft from every other."""

import pytest

from imapproxy.message.identity import identity_of


@pytest.mark.parametrize(
    ("draft", "identity"),
    [
        (b"Message-ID: <1@example.com>\r\nTo: ann@example.com\r\n\r\nhello\r\n", "<1@example.com>"),
        (b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nmessage-id:\r\n <1@example.com>\r\n\r\n", "<1@example.com>"),
        (b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\n\r\n", "Mon, 7 Feb 1994 21:52:25 -0800"),
        (b"DATE : yesterday\r\n", "yesterday"),
        (b"Message-ID: \r\nDate: yesterday\r\n\r\n", "yesterday"),
        (b"To: ann@example.com\r\n\r\nMessage-ID: <1@example.com>\r\n", ""),
        (b"Message-ID:\r\nDate: \t\r\n\r\n", ""),
        (b"Resent-Date: yesterday\r\nResent-Message-ID: <1@example.com>\r\n\r\n", ""),
    ],
)
def test_a_message_id_is_one_messages_and_so_is_a_date(draft: bytes, identity: str) -> None:
    assert identity_of(draft) == identity


@pytest.mark.parametrize("draft", [b"", b"no message\r\n", b"Message-ID: <1@example.com>\r\nno field\r\n\r\n"])
def test_what_will_not_be_sent_has_none(draft: bytes) -> None:
    assert identity_of(draft) == ""
