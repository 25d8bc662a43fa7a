import pytest

from imapproxy.message.host import bare_address


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


@pytest.mark.parametrize("host", ["", "mail.example.com", "192.0.2", "%eth0", "[::1]"])
def test_what_is_no_address(host: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be"):
        bare_address(host)
