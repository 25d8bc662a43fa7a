"""The library (``imapproxy.client``) with a plain ``imaplib`` connection to the real program, as its page shows it."""

import imaplib
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from imapproxy import client
from tests.functional.fake_smtp import Script
from tests.functional.forwarding import PostOffice, post_office
from tests.functional.mail_tree import leaf, multipart

PDF = leaf("application/pdf", b"JVBERi0xLjQK\r\n" * 20, b"Content-Transfer-Encoding: base64\r\n")
STORED = multipart(b"=_stored", leaf("text/plain", b"Hello"), PDF).headed(b"Subject: stored\r\n")
URL = "/INBOX/;UID=20/;SECTION=2"


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostOffice]:
    with post_office(tmp_path_factory.mktemp("library"), {b"INBOX": {20: STORED}}) as office:
        yield office


@pytest.fixture
def office(opened: PostOffice) -> Iterator[PostOffice]:
    with opened.performance():
        yield opened


@pytest.fixture
def imap(office: PostOffice) -> Iterator[imaplib.IMAP4]:
    office.imap.client_comes()
    with imaplib.IMAP4("127.0.0.1", office.proxy.port, timeout=20) as imap:
        imap.login("fred", "secret")
        yield imap


def message() -> EmailMessage:
    message = EmailMessage()
    message["From"] = "Fred <fred@example.com>"
    message["To"] = "joe@example.org"
    message["Bcc"] = "anna@example.org"
    message["Subject"] = "The plans"
    message.set_content("Here they are.\n")
    return message


def octets(message: EmailMessage) -> bytes:
    return message.as_bytes(policy=policy.SMTP)


def test_a_message_with_what_lies_on_the_server(office: PostOffice, imap: imaplib.IMAP4) -> None:
    draft = message()
    draft.make_mixed()
    draft.attach(message_from_bytes(client.reference_part(URL, "pläne.pdf"), policy=policy.SMTP))
    assert client.submit(imap, octets(draft)) == "SUBMIT completed"
    arrived = message_from_bytes(office.received().content, policy=policy.SMTP)
    assert isinstance(arrived, EmailMessage)
    (attachment,) = arrived.iter_attachments()
    assert (attachment.get_content_type(), attachment.get_filename()) == ("application/pdf", "pläne.pdf")
    assert attachment.get_content() == b"%PDF-1.4\n" * 20


def test_a_whole_message_on_the_server(office: PostOffice, imap: imaplib.IMAP4) -> None:
    draft = message()
    draft.make_mixed()
    draft.attach(message_from_bytes(client.reference_part("/INBOX/;UID=20"), policy=policy.SMTP))
    client.submit(imap, octets(draft))
    assert STORED.octets in office.received().content


@pytest.mark.parametrize(
    ("replies", "text", "code", "recipients"),
    [
        ({"RCPT joe@example.org": "550 5.1.1 unknown"}, "", "", ("joe@example.org",)),
        ({"RCPT anna@example.org": "450 4.2.0 later"}, "450 4.2.0 later", "4.2.0", ("anna@example.org",)),
        ({"MAIL": "452 4.3.1 full"}, "452 4.3.1 full", "4.3.1", ()),
    ],
)
def test_a_refusal_carries_what_the_mail_server_said(
    office: PostOffice,
    imap: imaplib.IMAP4,
    replies: dict[str, Script],
    text: str,
    code: str,
    recipients: tuple[str, ...],
) -> None:
    usual, office.smtp.script = office.smtp.script, dict(office.smtp.script) | replies
    with pytest.raises(client.Refused) as caught:
        client.submit(imap, octets(message()))
    assert (caught.value.text, caught.value.code, caught.value.recipients) == (text, code, recipients)
    office.assert_nobody_got_anything()
    office.smtp.script = usual
    assert client.submit(imap, octets(message())) == "SUBMIT completed"


def test_a_reference_to_nothing(office: PostOffice, imap: imaplib.IMAP4) -> None:
    draft = message()
    draft.make_mixed()
    draft.attach(message_from_bytes(client.reference_part("/INBOX/;UID=99"), policy=policy.SMTP))
    with pytest.raises(client.Refused) as caught:
        client.submit(imap, octets(draft))
    assert caught.value.code == "5.6.6"
    office.assert_nobody_got_anything()


def test_no_message_at_all(imap: imaplib.IMAP4) -> None:
    with pytest.raises(client.NotAMessage):
        client.submit(imap, b"no header\r\n")


def test_a_message_of_many_pieces(office: PostOffice, imap: imaplib.IMAP4) -> None:
    draft = octets(message()) + b"x" * 70 + b"\r\n"
    draft += (b"y" * 70 + b"\r\n") * 30_000
    progress: list[int] = []
    client.submit(imap, draft, progress.append)
    assert len(progress) == -(-len(draft) // (256 << 10))
    assert progress[-1] == len(draft)
    assert office.received().content.endswith(draft[-1000:])
