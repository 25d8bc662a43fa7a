"""Courier takes the octets of a literal that it has not asked for as commands: it knows no LITERAL+ (RFC 7888).

So a client and Courier may see other commands in the same octets. A proxy that saw them as the client does would take
Courier's OK to a hidden LOGIN for the OK to a LOGIN with somebody else's name, and send mail in that name.
"""

from collections.abc import Iterator

import pytest

from tests.functional.clients import RecordingClient, logged_in
from tests.functional.courier import Courier
from tests.functional.dovecot import PASSWORD
from tests.functional.drafts import ENVELOPE
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy

PLAIN = ENVELOPE + b"\r\nHello\r\n"
VICTIM = "boss"


@pytest.fixture(scope="module")
def proxy(courier: Courier, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("courier"), courier.port, postfix.port) as running:
        yield running


def hidden_login(line: bytes, user: str) -> bytes:
    """Return a command whose literal is a LOGIN with the same tag; ``%d`` in the line is for the literal's size."""
    hidden = f"T LOGIN {user} {PASSWORD}\r\n".encode()
    return line % len(hidden) + b"\r\n" + hidden


def test_courier_takes_octets_of_such_a_literal_for_a_command(courier: Courier) -> None:
    """What the others rest upon."""
    user = courier.new_user()
    client = RecordingClient(courier.port)
    client.heard()
    client.converse(hidden_login(b"T LOGIN boss {%d+}", user), last_tag=b"T OK")
    assert client.heard() == b"T NO Error in IMAP command received by server.\r\nT OK LOGIN Ok.\r\n"


@pytest.mark.parametrize(
    "line",
    [
        b"T LOGIN boss {%d+}",
        b"T LOGIN {4+}\r\nboss {%d+}",
        b'T LOGIN "boss" ~{%d+}',
        b"T LOGIN {%d+}",
        b"T AUTHENTICATE PLAIN {%d+}",
        b"T ID {%d+}",
        b"T NOOP {%d+}",
        b"T SELECT {%d+}",
    ],
)
def test_client_cannot_pass_for_somebody_else_before_login(
    courier: Courier, postfix: Postfix, proxy: Proxy, line: bytes
) -> None:
    """Courier does not hear of it; the client may log in then, and sends mail in its own name."""
    courier.new_user()
    user = courier.new_user()
    since = len(proxy.log())
    client = RecordingClient(proxy.port)
    client.heard()
    client.converse(hidden_login(line, user) + b"\r\nN NOOP\r\n", last_tag=b"N")
    heard = client.heard()
    assert b"T OK" not in heard
    assert b"T BAD" in heard
    client.login(user, PASSWORD)
    assert client.submit(PLAIN) == "OK SUBMIT completed"
    assert postfix.take(1)["joe@example.com"].sender == f"{user}@example.com"
    assert VICTIM not in proxy.log()[since:]


def test_client_cannot_pass_for_somebody_else_after_login(courier: Courier, postfix: Postfix, proxy: Proxy) -> None:
    """What a client says after login passes as it is, such a literal, too; but nobody logs in twice."""
    user = courier.new_user()
    courier.new_user()
    with logged_in(proxy.port, user) as client:
        client.converse(hidden_login(b"T APPEND INBOX {%d+}", VICTIM) + b"\r\nN NOOP\r\n", last_tag=b"N")
        assert b"T OK" not in client.heard()
        assert client.submit(PLAIN) == "OK SUBMIT completed"
        assert postfix.take(1)["joe@example.com"].sender == f"{user}@example.com"
