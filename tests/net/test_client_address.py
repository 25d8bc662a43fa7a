from imapproxy.net.client_address import ClientAddress, User
from imapproxy.protocol.login import Credentials


def test_both_ends_of_a_connection() -> None:
    address = ClientAddress("::ffff:192.0.2.7", 40_000, "fe80::1%eth0", 993, is_tls=True)
    assert (address.client, address.server) == (("192.0.2.7", 40_000), ("fe80::1", 993))


def test_a_password_does_not_show() -> None:
    address = ClientAddress("192.0.2.7", 40_000, "192.0.2.1", 993, is_tls=True)
    assert "pencil" not in repr(User(Credentials("fred", "fred", "pencil", "PLAIN"), address))
