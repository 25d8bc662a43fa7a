"""Capability lists: rewritten wherever they may stand, and nowhere else."""

import pytest

from imapproxy.protocol.capability import (
    CAN_SUBMIT,
    CAN_SUBMIT_SENT,
    CAN_SUBMIT_URL,
    Offer,
    Policy,
    is_reusable,
    is_transparent,
)


def anything(_mechanism: bytes) -> bool:
    return True


@pytest.mark.parametrize(
    ("line", "want"),
    [
        (b"* CAPABILITY IMAP4rev1\r\n", b"* CAPABILITY IMAP4rev1 CAN-SUBMIT\r\n"),
        (b"* capability imap4REV1 idle\r\n", b"* capability imap4REV1 idle CAN-SUBMIT\r\n"),
        (b"* CAPABILITY\r\n", b"* CAPABILITY CAN-SUBMIT\r\n"),
        (b"* CAPABILITY IMAP4rev1 \r\n", b"* CAPABILITY IMAP4rev1  CAN-SUBMIT\r\n"),
        (b"* CAPABILITY A STARTTLS B\r\n", b"* CAPABILITY A B CAN-SUBMIT\r\n"),
        (b"* CAPABILITY LOGINDISABLED A\r\n", b"* CAPABILITY A CAN-SUBMIT\r\n"),
        (b"* CAPABILITY A compress=DEFLATE\r\n", b"* CAPABILITY A CAN-SUBMIT\r\n"),
        (b"* CAPABILITY A can-submit B\r\n", b"* CAPABILITY A B CAN-SUBMIT\r\n"),
        (b"* CAPABILITY A CAN-SUBMIT=URL can-submit=x B\r\n", b"* CAPABILITY A B CAN-SUBMIT\r\n"),
        (b"* CAPABILITY CAN-SUBMITTED COMPRESSED\r\n", b"* CAPABILITY CAN-SUBMITTED COMPRESSED CAN-SUBMIT\r\n"),
        (b"* CAPABILITY AUTH=PLAIN AUTH=GSSAPI\r\n", b"* CAPABILITY AUTH=PLAIN CAN-SUBMIT\r\n"),
        (b"* CAPABILITY auth=login AUTH=SCRAM-SHA-1\r\n", b"* CAPABILITY auth=login CAN-SUBMIT\r\n"),
        (b"* OK [CAPABILITY A] hi\r\n", b"* OK [CAPABILITY A CAN-SUBMIT] hi\r\n"),
        (b"* OK [CAPABILITY A]\r\n", b"* OK [CAPABILITY A CAN-SUBMIT]\r\n"),
        (b"* ok [capability A] ]]{5}\r\n", b"* ok [capability A CAN-SUBMIT] ]]{5}\r\n"),
        (b"* PREAUTH [CAPABILITY A] hi\r\n", b"* PREAUTH [CAPABILITY A CAN-SUBMIT] hi\r\n"),
        (b"* BYE [CAPABILITY] x\r\n", b"* BYE [CAPABILITY CAN-SUBMIT] x\r\n"),
        (b"a1 OK [CAPABILITY A] done\r\n", b"a1 OK [CAPABILITY A CAN-SUBMIT] done\r\n"),
        (b"a1 NO [CAPABILITY STARTTLS] no\r\n", b"a1 NO [CAPABILITY CAN-SUBMIT] no\r\n"),
    ],
)
def test_a_list_is_rewritten(line: bytes, want: bytes) -> None:
    assert Offer(is_reusable).rewrite(line) == want


@pytest.mark.parametrize(
    "line",
    [
        b"* 1 FETCH (X [CAPABILITY A])\r\n",
        b"* OK text [CAPABILITY A] behind the code's place\r\n",
        b"* OK [CAPABILITY A without an end\r\n",
        b"* OK [CAPABILITYX A] x\r\n",
        b"* CAPABILITYX A\r\n",
        b"a OK done\r\n",
        b"* OK hello\r\n",
        b"+ [CAPABILITY A]\r\n",
        b"CAPABILITY OK done\r\n",
        b"* OK [UIDNEXT 5] x\r\n",
    ],
)
def test_no_list(line: bytes) -> None:
    assert Offer(is_reusable).rewrite(line) == line


@pytest.mark.parametrize(
    ("announced", "want"),
    [
        ((CAN_SUBMIT,), b"* CAPABILITY A CAN-SUBMIT\r\n"),
        ((CAN_SUBMIT, CAN_SUBMIT_URL), b"* CAPABILITY A CAN-SUBMIT CAN-SUBMIT=URL\r\n"),
        ((CAN_SUBMIT, CAN_SUBMIT_SENT), b"* CAPABILITY A CAN-SUBMIT CAN-SUBMIT=SENT\r\n"),
    ],
)
def test_each_offer_announces_what_it_was_told_and_nothing_of_another(
    announced: tuple[bytes, ...], want: bytes
) -> None:
    for _ in range(2):
        assert Offer(is_reusable, announced).rewrite(b"* CAPABILITY A CAN-SUBMIT=SENT\r\n") == want


@pytest.mark.parametrize(
    ("policy", "offered", "kept_back"),
    [
        (is_reusable, b"PLAIN LOGIN XOAUTH2 OAUTHBEARER", b"CRAM-MD5 SCRAM-SHA-256 GSSAPI DIGEST-MD5 EXTERNAL"),
        (is_transparent, b"PLAIN CRAM-MD5 SCRAM-SHA-256 EXTERNAL NTLM", b"GSSAPI DIGEST-MD5 SRP SCRAM-SHA-256-PLUS"),
    ],
)
def test_mechanisms_by_policy(policy: Policy, offered: bytes, kept_back: bytes) -> None:
    assert all(policy(mechanism) for mechanism in offered.split())
    assert not any(policy(mechanism) for mechanism in kept_back.split())


def test_before_any_list_the_policy_alone_decides() -> None:
    offer = Offer(is_reusable)
    assert offer.has_mechanism(b"PLAIN")
    assert not offer.has_mechanism(b"GSSAPI")
    assert not offer.has_unauthenticate()
    assert not offer.takes_unasked(1)


def test_only_what_the_last_list_held_is_offered() -> None:
    offer = Offer(anything)
    offer.rewrite(b"* OK [CAPABILITY AUTH=LOGIN UNAUTHENTICATE] x\r\n")
    offer.rewrite(b"* CAPABILITY auth=plain\r\n")
    assert offer.has_mechanism(b"PLAIN")
    assert not offer.has_mechanism(b"LOGIN")
    assert not offer.has_unauthenticate()
    offer.forget()
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
    offer = Offer(anything)
    offer.rewrite(b"* CAPABILITY " + capabilities + b"\r\n")
    assert offer.takes_unasked(4096) is small
    assert offer.takes_unasked(4097) is large
