import pytest

from imapproxy.net.client_address import ClientAddress, User, bare_address
from imapproxy.protocol.login import Credentials


@pytest.mark.parametrize(
    ("host", "bare"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::7"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("fe80::7%eth0", "fe80::7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
    ],
)
def test_an_address_as_others_write_it(host: str, bare: str) -> None:
    assert str(bare_address(host)) == bare


def test_both_ends_of_a_connection() -> None:
    address = ClientAddress("::ffff:192.0.2.7", 40_000, "fe80::1%eth0", 993, is_tls=True)
    assert (address.client, address.server) == (("192.0.2.7", 40_000), ("fe80::1", 993))


def test_a_password_does_not_show() -> None:
    address = ClientAddress("192.0.2.7", 40_000, "192.0.2.1", 993, is_tls=True)
    assert "pencil" not in repr(User(Credentials("fred", "fred", "pencil", "PLAIN"), address))
