import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import ClientError, SubmissionRefused
from imapproxy.message.fields import named, read_draft_header
from imapproxy.message.headers import message_id_of
from imapproxy.message.message import Extensions
from tests.message.samples import (
    ALL,
    DATE,
    EIGHT_BIT,
    MESSAGE_ID,
    RECEIVED,
    SEVEN_BIT,
    checked,
    draft,
    mapped,
    message,
    message_of,
    sent,
)

# draft-royer-lemonade-submit-00, section 3, with what its copy has lost.
EXAMPLE = """\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <fred@example.com>
Subject: afternoon meeting
To: mooch@owatagu.siam.edu,badUser@example.com,
    unknownUser@example.com
Message-Id: <B27397-0100000@Blurdybloop.COM>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?

"""


def test_the_drafts_example() -> None:
    found = message(EXAMPLE)
    assert found.sender.smtp == "fred@example.com"
    assert [recipient.smtp for recipient in found.recipients] == [
        "mooch@owatagu.siam.edu",
        "badUser@example.com",
        "unknownUser@example.com",
    ]
    assert found.message_id == "<B27397-0100000@Blurdybloop.COM>"
    assert sent(EXAMPLE, SEVEN_BIT) == draft(RECEIVED + EXAMPLE)


def test_a_message_id_that_was_lost_is_made() -> None:
    found = message(EXAMPLE.replace("<B27397-0100000@Blurdybloop.COM>", ""))
    assert found.message_id == MESSAGE_ID


def test_bcc_is_served_and_goes() -> None:
    found = message("From: fred@example.com\nBcc: secret@x\nTo: a@b\n\n")
    assert [recipient.smtp for recipient in found.recipients] == ["secret@x", "a@b"]
    rendering = found.rendering(ALL)
    assert b"secret" not in checked(rendering.chunks(), rendering.size)


def test_a_message_does_not_show_its_text_in_a_log() -> None:
    assert "secret" not in repr(message("Subject: secret\nTo: a@b\n\nsecret\n"))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("From: boss@example.com\nTo: a@b\n\n", "5.7.1 From is not one of your addresses"),
        ("From: fred@example.com\n\n", "5.1.3 no recipients"),
        (
            'To: a@b\nContent-Type: message/external-body; access-type=URL; URL="imap://x/a/;UID=1"\n\n\n',
            "5.6.6 cannot read imap://x/a/;UID=1: it is on another server",
        ),
    ],
)
def test_refusals(text: str, want: str) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        message(text)
    assert caught.value.text == want


def test_no_message_at_all() -> None:
    with pytest.raises(ClientError):
        message("hello\n")


def test_a_mapped_draft_can_be_closed_after_it_was_sent_or_refused() -> None:
    octets = draft(f"To: a@b\nContent-Type: multipart/x; boundary=b\n\n--b\n\n{'é' * 999}\n--b--\nexternal-body\n")
    mapping = mapped(octets)
    found = message_of(mapping)
    for extensions in (EIGHT_BIT, SEVEN_BIT):
        rendering = found.rendering(extensions)
        checked(rendering.chunks(), rendering.size)
    chunks = rendering.chunks()
    next(chunks)
    mapping.close()
    for text in ("To: a@\n\n", "To: a@b\nContent-Type: multipart/signed; boundary=b\n\n--b\n\né\n"):
        mapping = mapped(draft(text))
        try:
            message_of(mapping).rendering(SEVEN_BIT)
        except SubmissionRefused:
            mapping.close()
        assert mapping.closed


VALUES = st.text(st.sampled_from('ab é"\\<>(),;:=?_\t@'), max_size=30)
NAMES = st.sampled_from(["Subject", "X-Foo", "Reply-To", "Comments", "DKIM-Signature", "x-empty", "In-Reply-To"])
UNTOUCHED = st.lists(st.tuples(NAMES, VALUES, VALUES).map(lambda line: f"{line[0]}:{line[1]}\n\t{line[2]}\n")).map(
    "".join
)
BODIES = st.text(st.sampled_from("abé.\r\n \udce9"), max_size=60)


@given(UNTOUCHED, BODIES)
def test_fields_that_we_have_no_business_with_and_the_body_stay_octet_for_octet(untouched: str, body: str) -> None:
    head = f"From: fred@example.com\nTo: a@b\nDate: {DATE}\nMessage-ID: {MESSAGE_ID}\n"
    text = f"{head}{untouched}\n{body}"
    assert sent(text, ALL) == draft(RECEIVED + text)


PIECES = [
    *(
        "From",
        "To",
        "Bcc",
        "Sender",
        "Resent-To",
        "Resent-From",
        "Date",
        "Message-ID",
        "Content-Type",
        "Reply-To",
        ":",
        ": ",
    ),
    *("multipart/mixed", "message/rfc822", "message/external-body", "text/plain", "; boundary=b", "; access-type=URL"),
    *(
        "\n--b\n",
        "\n--b--\n",
        "\n\n",
        "\n",
        "\n ",
        "\r",
        "fred@example.com",
        "a@b",
        "<",
        ">",
        "(",
        ")",
        '"',
        ",",
        ";",
        "\\",
    ),
    *(
        "é",
        "\udce9",
        "=?",
        "?=",
        "\x00",
        "x" * 1000,
        ".",
        "\t",
        "Content-Transfer-Encoding: 8bit\n",
        "multipart/signed",
    ),
]
WILD = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(WILD, WILD, st.sampled_from(["check", "rewrite", "trust"]), st.sampled_from([ALL, EIGHT_BIT, SEVEN_BIT]))
def test_whatever_comes_is_refused_or_sent_in_a_form_that_the_server_takes(
    header: str, body: str, policy: str, extensions: Extensions
) -> None:
    try:
        found = message(f"To: a@b\n{header}\n\n{body}", policy=policy)
        rendering = found.rendering(extensions)
    except (ClientError, SubmissionRefused):
        return
    octets = checked(rendering.chunks(), rendering.size)
    assert octets.isascii() or extensions.eight_bit_mime
    assert octets.partition(b"\r\n\r\n")[0].isascii() or rendering.smtputf8
    assert extensions.smtputf8 or not rendering.smtputf8
    sent_header = read_draft_header(octets)
    assert not named(sent_header.fields, "bcc", "resent-bcc", "return-path")
    assert len(named(sent_header.fields, "received")) == 1
    assert named(sent_header.fields, "date")
    assert found.message_id == message_id_of(sent_header.fields)
    assert found.message_id.isascii()
    assert found.message_id.isprintable()
