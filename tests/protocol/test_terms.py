"""Terms are values with sensible defaults."""

import pytest

from imapproxy.protocol.capability import CAN_SUBMIT, is_reusable
from imapproxy.protocol.terms import Terms


def test_what_needs_no_configuration_is_offered_and_nothing_else() -> None:
    terms = Terms(1000, is_reusable)
    assert terms == Terms(
        max_draft=1000,
        may_offer=is_reusable,
        announced=(CAN_SUBMIT,),
        starttls=False,
        require_tls=False,
        compress=True,
        hides_forwarding_ids=False,
    )


def test_no_session_can_change_them() -> None:
    with pytest.raises(AttributeError):
        Terms(1000, is_reusable).require_tls = True  # type: ignore[misc]
