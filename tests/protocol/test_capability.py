"""Capability lists: rewritten wherever they may stand, and nowhere else."""

import pytest

from imapproxy.protocol.capability import (
    CAN_SUBMIT,
    CAN_SUBMIT_SENT,
    CAN_SUBMIT_URL,
    Policy,
    is_reusable,
    is_transparent,
    rewritten,
)


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
    found = rewritten(line, is_reusable, (CAN_SUBMIT,))
    assert found is not None
    assert found[0] == want
    assert b"CAN-SUBMIT" in found[1]


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
    assert rewritten(line, is_reusable, (CAN_SUBMIT,)) is None


@pytest.mark.parametrize(
    ("announced", "want"),
    [
        ((CAN_SUBMIT,), b"* CAPABILITY A CAN-SUBMIT\r\n"),
        ((CAN_SUBMIT, CAN_SUBMIT_URL), b"* CAPABILITY A CAN-SUBMIT CAN-SUBMIT=URL\r\n"),
        ((CAN_SUBMIT, CAN_SUBMIT_SENT), b"* CAPABILITY A CAN-SUBMIT CAN-SUBMIT=SENT\r\n"),
    ],
)
def test_each_list_announces_what_was_said_and_nothing_of_another(announced: tuple[bytes, ...], want: bytes) -> None:
    for _ in range(2):
        found = rewritten(b"* CAPABILITY A CAN-SUBMIT=SENT\r\n", is_reusable, announced)
        assert found == (want, frozenset({b"A", *announced}))


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
