from dataclasses import replace

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.envelope import user_of
from imapproxy.message.fields import read_draft_header
from imapproxy.message.headers import message_id_of, site_fields
from imapproxy.message.site import Site
from tests.message.samples import DATE, FRED, MESSAGE_ID, RECEIVED, SITE, STAMP, draft

COMPLETE = f"Date: {DATE}\nMessage-ID: <a@b>\n"


def outgoing(text: str, policy: str = "check", *, site: Site = SITE, client: str | None = "192.0.2.1") -> str:
    """Return the header that a header becomes; without our Received where that is the usual one."""
    site = replace(site, from_policy=policy)  # type: ignore[arg-type]
    fields = read_draft_header(draft(text)).fields
    left = site_fields(fields, user_of("fred", site), site, replace(FRED, client_address=client), STAMP)
    octets = b"".join(field.raw for field in left)
    return octets.decode("utf-8", "surrogateescape").removeprefix(RECEIVED).replace("\r\n", "\n")


def refusal(text: str, policy: str = "check") -> str:
    with pytest.raises(SubmissionRefused) as caught:
        outgoing(text + COMPLETE, policy)
    assert "," not in str(caught.value)
    return str(caught.value)


def test_what_is_complete_stays_octet_for_octet() -> None:
    text = (
        "X-One:  a\n\t b \n"
        'From: "B, Fred" (work)\n <FRED@example.com>\n'
        "to : a@b , c@d\n"
        f"date: {DATE} (x)\nMESSAGE-id: (x) <a@[b]> \n"
        "Subject: =?x?q?y?= \udce9\n \n"
        "DKIM-Signature: v=1;\n\tb=x\n"
    )
    assert outgoing(text) == text


def test_what_goes() -> None:
    gone = "Bcc: a@b,\n c@d\nBCC: e@f\nReturn-Path: <x@y>\nReceived: from x\n\tby y\nDelivered-To: z\n"
    assert outgoing(f"{gone}From: fred@example.com\nResent-Bccs: x\n{gone}{COMPLETE}", "trust").startswith("From: ")
    assert "Bcc: " not in outgoing(f"From: fred@example.com\n{gone}{COMPLETE}")
    resent = f"Resent-From: fred@example.com\nResent-Date: {DATE}\nResent-Bcc: a@b\nResent-From: x@y\nResent-Bcc: c@d\n"
    assert (
        outgoing(resent + COMPLETE)
        == resent.replace("Resent-Bcc: a@b\n", "").replace("Resent-Bcc: c@d\n", "") + COMPLETE
    )


@pytest.mark.parametrize(
    ("client", "shown", "want"),
    [
        ("192.0.2.1", True, "[192.0.2.1]"),
        ("2001:DB8::1", True, "[IPv6:2001:db8::1]"),
        ("fe80::1%eth0", True, "[IPv6:fe80::1]"),
        ("::ffff:192.0.2.1", True, "[192.0.2.1]"),
        ("192.0.2.1", False, "mail.example.com"),
        (None, True, "mail.example.com"),
    ],
)
def test_one_received_comes_and_names_the_client_or_this_host(client: str | None, shown: bool, want: str) -> None:
    header = outgoing(
        f"From: fred@example.com\n{COMPLETE}", site=replace(SITE, received_client_address=shown), client=client
    )
    received = RECEIVED.replace("\r\n", "\n").replace("[192.0.2.1]", want)
    assert (received + header).endswith(f"{received}From: fred@example.com\n{COMPLETE}")
    assert header.count("Received") == (want != "[192.0.2.1]")
    assert "fred" not in received


@pytest.mark.parametrize(
    "date",
    [
        "",
        "yesterday",
        "24",
        ":" * 9,
        "Mon, 99 Foo 2026 99:99:99 +0000",
        "Tue, 31 Feb 2026 00:00:00 +0000",
        "Tue, 24 Nov 2026 03:34:42 +99999999999999",
        f"\udce9 {DATE}",
        f"{DATE} (é)",
    ],
)
def test_a_date_that_cannot_be_read_is_replaced(date: str) -> None:
    text = f"From: fred@example.com\nMessage-ID: <a@b>\nDate: {date}\n"
    assert outgoing(text) == f"From: fred@example.com\nMessage-ID: <a@b>\nDate: {DATE}\n"


@pytest.mark.parametrize("date", ["Mon, 7 Feb 1994 21:52:25 -0800 (PST)", "7 Feb 94 21:52 EST", f" {DATE}"])
def test_a_date_that_can_be_read_stays(date: str) -> None:
    text = f"From: fred@example.com\nDate: {date}\nMessage-ID: <a@b>\n"
    assert outgoing(text) == text


@pytest.mark.parametrize(
    "message_id", ["", "<a>", "a@b", "<a@b", "<é@b>", "<a b@c>", "<@>", f"<{'a' * 900}@b>", "<a@b><c@d>"]
)
def test_a_message_id_that_cannot_be_read_is_replaced(message_id: str) -> None:
    text = f"From: fred@example.com\nMessage-Id: {message_id}\nDate: {DATE}\n"
    assert outgoing(text) == f"From: fred@example.com\nDate: {DATE}\nMessage-ID: {MESSAGE_ID}\n"


def test_of_several_those_that_can_be_read_stay() -> None:
    text = f"From: fred@example.com\nDate: {DATE}\nMessage-ID: <a@b>\nMessage-ID: x\n"
    assert outgoing(text) == text.replace("Message-ID: x\n", "")


def test_the_message_id_is_known() -> None:
    assert message_id_of(read_draft_header(draft("Message-ID: (c) <a@b>\n")).fields) == "<a@b>"


@pytest.mark.parametrize(
    "text",
    [
        "From: fred@example.com\n",
        "From: Fred <FRED@EXAMPLE.COM>\n",
        'From: Sales <sales@example.com>, "F" <fred@example.com>\n',
        "From: fred@example.com\nSender: sales@example.com\n",
        "From: Us: fred@example.com, sales@example.com;\n",
    ],
)
@pytest.mark.parametrize("policy", ["check", "rewrite", "trust"])
def test_the_users_own_addresses_pass_as_they_are(text: str, policy: str) -> None:
    assert outgoing(text + COMPLETE, policy) == text + COMPLETE


@pytest.mark.parametrize("policy", ["check", "rewrite", "trust"])
def test_a_missing_from_becomes_the_users_address(policy: str) -> None:
    assert outgoing(COMPLETE, policy) == f"{COMPLETE}From: fred@example.com\n"


@pytest.mark.parametrize("policy", ["check", "rewrite", "trust"])
@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: fred@example.com\nX: y\nfrom: fred@example.com\n", "5.6.0 more than one From"),
        ("From: fred@example.com\nSender: fred@example.com\nSender: fred@example.com\n", "5.6.0 more than one Sender"),
    ],
)
def test_two_froms_are_refused_whatever_the_policy(text: str, want: str, policy: str) -> None:
    assert refusal(text, policy) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: boss@example.com\n", "5.7.1 From is not one of your addresses"),
        ("From: fred@example.com, boss@example.com\n", "5.7.1 From is not one of your addresses"),
        ("From: fred@example.com.net\n", "5.7.1 From is not one of your addresses"),
        ('From: "fred@example.com" <boss@example.com>\n', "5.7.1 From is not one of your addresses"),
        ("From:\n", "5.7.1 From is not one of your addresses"),
        ("From: Nobody:;\n", "5.7.1 From is not one of your addresses"),
        ("From: fred@example.com\nSender: boss@example.com\n", "5.7.1 Sender is not one of your addresses"),
        ("From: fred@example.com\nSender:\n", "5.7.1 Sender is not one of your addresses"),
        ("From: fred\n", "5.1.7 From cannot be read"),
        ("From: Fred Foobar\n", "5.1.7 From cannot be read"),
        ("Resent-From: boss@example.com\nFrom: fred@example.com\n", "5.7.1 Resent-From is not one of your addresses"),
        ("Resent-From: fred@example.com\nResent-Sender: a@b\n", "5.7.1 Resent-Sender is not one of your addresses"),
    ],
)
def test_check_refuses_what_is_not_the_users(text: str, want: str) -> None:
    assert refusal(text) == want


def test_a_from_hidden_behind_a_bare_cr_is_checked() -> None:
    assert refusal("Subject: x\rFrom: boss@example.com\n") == "5.7.1 From is not one of your addresses"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: boss@example.com\n", "From: fred@example.com\n"),
        (
            'From: =?utf-8?q?B=C3=B6ss?= "x, y" <boss@example.com> (z)\n',
            'From: =?utf-8?q?B=C3=B6ss?= "x, y" <fred@example.com>\n',
        ),
        ("From: B\udce9 <a@b>, C <c@d>\nX: y\n", "From: B\udce9 <fred@example.com>\nX: y\n"),
        ("from: Fred Foobar\n", "from: Fred Foobar <fred@example.com>\n"),
        ("From: Fred Foobar <>\n", "From: Fred Foobar <fred@example.com>\n"),
        ("From: Fred Foobar <fred>\n", "From: Fred Foobar <fred@example.com>\n"),
        ('From: "Foobar,\n Fred" <fred>\n', 'From: "Foobar, Fred" <fred@example.com>\n'),
        ("From: Fred\n Foobar (x\n y) <z\n", "From: Fred Foobar <fred@example.com>\n"),
        ("From: boss@example.com (The Boss)\n", "From: fred@example.com (The Boss)\n"),
        ("From: fred\n", "From: fred@example.com\n"),
        ("Resent-From: Fred F. <>\nResent-Date: z\n", "Resent-From: Fred F. <fred@example.com>\nResent-Date: z\n"),
        ("From: Nobody:;\nSender: X <x@y>\n", "From: fred@example.com\nSender: X <fred@example.com>\n"),
        (
            "Resent-From: X <x@y>\nResent-Date: z\nFrom: a@b\n",
            "Resent-From: X <fred@example.com>\nResent-Date: z\nFrom: a@b\n",
        ),
    ],
)
def test_rewrite_keeps_the_display_name(text: str, want: str) -> None:
    assert outgoing(text + COMPLETE, "rewrite") == want + COMPLETE


@pytest.mark.parametrize(
    ("text", "kept", "sender"),
    [
        ("From: boss@example.com\n", "From: boss@example.com\n", "Sender: fred@example.com\n"),
        ("From: fred@example.com, a@b\n", "From: fred@example.com, a@b\n", "Sender: fred@example.com\n"),
        ("From: a@b\nSender: Boss <boss@example.com>\n", "From: a@b\n", "Sender: fred@example.com\n"),
        ("From: fred@example.com\nSender: a@b\n", "From: fred@example.com\n", "Sender: fred@example.com\n"),
        ("From: a@b\nSender: Sales <sales@example.com>\n", "From: a@b\nSender: Sales <sales@example.com>\n", ""),
        ("From: Nobody:;\n", "From: Nobody:;\n", "Sender: fred@example.com\n"),
    ],
)
def test_trust_says_who_sent_it(text: str, kept: str, sender: str) -> None:
    assert outgoing(text + COMPLETE, "trust") == kept + COMPLETE + sender


def test_trust_does_not_trust_what_cannot_be_read() -> None:
    assert refusal("From: Fred Foobar\n", "trust") == "5.1.7 From cannot be read"


def test_in_a_resent_message_only_the_newest_block_is_examined_and_completed() -> None:
    text = "X: y\nResent-To: a@b\nReceived: z\nResent-From: old@x\nFrom: boss@x\nSender: c@d\n"
    completed = f"X: y\nResent-To: a@b\nResent-From: fred@example.com\nResent-Date: {DATE}\n"
    assert outgoing(text + COMPLETE) == f"{completed}Resent-From: old@x\nFrom: boss@x\nSender: c@d\n{COMPLETE}"


def test_trust_sets_resent_sender_in_the_block() -> None:
    text = f"Resent-From: boss@x\nResent-Date: {DATE}\nFrom: a@b\n"
    want = f"Resent-From: boss@x\nResent-Date: {DATE}\nResent-Sender: fred@example.com\nFrom: a@b\n"
    assert outgoing(text + COMPLETE, "trust") == want + COMPLETE
