import pytest

from imapproxy.message.site import Extensions


@pytest.mark.parametrize(("eight_bit_mime", "smtputf8", "want"), [(1, 1, True), (0, 1, False), (1, 0, False)])
def test_smtputf8_needs_8bitmime(eight_bit_mime: int, smtputf8: int, want: bool) -> None:
    assert Extensions(bool(eight_bit_mime), bool(smtputf8)).internationalized is want
