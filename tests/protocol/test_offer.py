"""What a client is offered in each state, and that the lists it sees and what it may do say the same."""

from dataclasses import replace
from itertools import product

import pytest

from imapproxy.protocol.offer import Offer
from tests.protocol.script import TERMS

STARTTLS = replace(TERMS, starttls=True)
REQUIRED = replace(TERMS, starttls=True, require_tls=True)


def anything(_mechanism: bytes) -> bool:
    return True


def offered(offer: Offer) -> str:
    """Return what the client sees of a server's list, in this state."""
    line = b"* CAPABILITY X STARTTLS LOGINDISABLED COMPRESS=DEFLATE AUTH=PLAIN\r\n"
    return offer.rewrite(line).decode().removeprefix("* CAPABILITY X ").removesuffix("\r\n")


class TestOnTheClientsHop:
    def test_starttls_is_there_before_login_and_without_tls(self) -> None:
        offer = Offer(STARTTLS, is_secure=False)
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT STARTTLS"
        offer.authenticated()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT COMPRESS=DEFLATE"
        offer.unauthenticated()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT STARTTLS"
        offer.tls_started()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT"
        assert offered(Offer(STARTTLS, is_secure=True)) == "AUTH=PLAIN CAN-SUBMIT"
        assert offered(Offer(TERMS, is_secure=False)) == "AUTH=PLAIN CAN-SUBMIT"

    def test_no_login_is_there_in_the_clear_where_tls_is_demanded(self) -> None:
        offer = Offer(REQUIRED, is_secure=False)
        assert offered(offer) == "CAN-SUBMIT STARTTLS LOGINDISABLED"
        assert not offer.has_mechanism(b"PLAIN")
        offer.tls_started()
        assert offer.has_mechanism(b"PLAIN")
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT"
        assert offered(Offer(REQUIRED, is_secure=True)) == "AUTH=PLAIN CAN-SUBMIT"

    def test_compression_is_there_after_login_and_once(self) -> None:
        offer = Offer(TERMS, is_secure=True)
        offer.authenticated()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT COMPRESS=DEFLATE"
        offer.compressed()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT"
        without = Offer(replace(TERMS, compress=False), is_secure=True)
        without.authenticated()
        assert offered(without) == "AUTH=PLAIN CAN-SUBMIT"

    def test_no_tls_is_there_inside_compression(self) -> None:
        offer = Offer(STARTTLS, is_secure=False)
        offer.authenticated()
        offer.compressed()
        offer.unauthenticated()
        assert offered(offer) == "AUTH=PLAIN CAN-SUBMIT"

    @pytest.mark.parametrize(
        "steps", list(product(("authenticated", "unauthenticated", "tls_started", "compressed"), repeat=3))
    )
    def test_what_is_seen_is_what_may_be_done(self, steps: tuple[str, ...]) -> None:
        offer = Offer(REQUIRED, is_secure=False)
        for step in steps:
            getattr(offer, step)()
            seen = offered(offer).split()
            assert ("STARTTLS" in seen) is offer.has_starttls
            assert ("COMPRESS=DEFLATE" in seen) is offer.has_compress
            assert ("AUTH=PLAIN" in seen) is not offer.disables_login


def test_before_any_list_the_policy_alone_decides() -> None:
    offer = Offer(TERMS, is_secure=False)
    assert offer.has_mechanism(b"PLAIN")
    assert not offer.has_mechanism(b"GSSAPI")
    assert not offer.has_unauthenticate()
    assert not offer.takes_unasked(1)


def test_only_what_the_last_list_held_is_offered() -> None:
    offer = Offer(replace(TERMS, may_offer=anything), is_secure=False)
    offer.rewrite(b"* OK [CAPABILITY AUTH=LOGIN UNAUTHENTICATE] x\r\n")
    offer.rewrite(b"* CAPABILITY auth=plain\r\n")
    assert offer.has_mechanism(b"PLAIN")
    assert not offer.has_mechanism(b"LOGIN")
    assert not offer.has_unauthenticate()
    offer.unauthenticated()
    assert offer.has_mechanism(b"LOGIN")


@pytest.mark.parametrize(
    ("capabilities", "small", "large"),
    [
        (b"IMAP4rev1", False, False),
        (b"IMAP4rev1 LITERAL+", True, True),
        (b"IMAP4rev1 literal-", True, False),
        (b"IMAP4rev2", True, False),
    ],
)
def test_which_literals_the_server_takes_unasked(capabilities: bytes, small: bool, large: bool) -> None:
    offer = Offer(replace(TERMS, may_offer=anything), is_secure=False)
    offer.rewrite(b"* CAPABILITY " + capabilities + b"\r\n")
    assert offer.takes_unasked(4096) is small
    assert offer.takes_unasked(4097) is large
