import base64
import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.message.draft import BLOCK
from imapproxy.message.message import Extensions
from tests.message.samples import ALL, EIGHT_BIT, MESSAGE_ID, RECEIVED, SEVEN_BIT, checked, draft, message, sent

HEAD = f"From: fred@example.com\nTo: a@b\nDate: Mon, 7 Feb 1994 21:52:25 -0800\nMessage-ID: {MESSAGE_ID}\n"
LONG = "x" * 999


def rendered(rest: str, extensions: Extensions) -> str:
    """Return what follows our usual header when this does in the draft."""
    octets = sent(HEAD + rest, extensions)
    before = (RECEIVED + HEAD).replace("\r\n", "\n")
    text = octets.decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    assert text.startswith(before)
    return text.removeprefix(before)


def refusal(text: str, extensions: Extensions) -> SubmissionRefused:
    with pytest.raises(SubmissionRefused) as caught:
        message(text).rendering(extensions)
    assert "," not in caught.value.text
    return caught.value


def multipart(*parts: str, head: str = "", subtype: str = "mixed", boundary: str = "b") -> str:
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"MIME-Version: 1.0\nContent-Type: multipart/{subtype}; boundary={boundary}\n{head}\n{body}--{boundary}--\n"


@pytest.mark.parametrize(
    ("rest", "extensions"),
    [
        ("\nascii\n.\n..\nFrom x\n \n", SEVEN_BIT),
        ("Content-Transfer-Encoding: 8bit\n\nascii\n", SEVEN_BIT),
        ("\ncafé \udce9\n", EIGHT_BIT),
        ("Subject: café\n\ncafé\n", ALL),
        (multipart("Subject: é\n\né", subtype="signed"), EIGHT_BIT),
        (multipart("Content-Type: text/plain\n\na", subtype="signed"), SEVEN_BIT),
        ("X: " + "a" * 995 + "\n\n" + "b" * 998 + "\n", SEVEN_BIT),
        ("", SEVEN_BIT),
    ],
)
def test_what_is_fit_stays_octet_for_octet(rest: str, extensions: Extensions) -> None:
    assert rendered(rest, extensions) == rest


PLAIN = "Content-Type: text/plain; charset="
QP = "Content-Transfer-Encoding: quoted-printable\n"
B64 = "Content-Transfer-Encoding: base64\n"


@pytest.mark.parametrize(
    ("rest", "want"),
    [
        ("\ncafé au lait\n", f"MIME-Version: 1.0\n{PLAIN}unknown-8bit\n{QP}\ncaf=C3=A9 au lait\n"),
        (
            f"MIME-Version: 1.0\n{PLAIN}x\nContent-Transfer-Encoding: 8bit\n\ncaf\udce9 au lait\n",
            f"MIME-Version: 1.0\n{PLAIN}x\n{QP}\ncaf=E9 au lait\n",
        ),
        (f"{PLAIN}x\n\näöüß\n", f"{PLAIN}x\nMIME-Version: 1.0\n{B64}\nw6TDtsO8w58NCg==\n"),
        (
            "Content-Type: message/global\nMIME-Version: 1.0\n\nSubject: café au lait\n\n",
            f"Content-Type: message/global\nMIME-Version: 1.0\n{QP}\nSubject: caf=C3=A9 au lait\n\n",
        ),
        ("Content-Type: a/b\n\ncafé\n", f"Content-Type: a/b\nMIME-Version: 1.0\n{B64}\nY2Fmw6kNCg==\n"),
        (
            multipart("\ncafé au lait", "\nascii"),
            multipart(f"{PLAIN}unknown-8bit\n{QP}\ncaf=C3=A9 au lait", "\nascii"),
        ),
        (
            multipart("Content-Type: a/b; name=é\n\nascii", head="Content-Transfer-Encoding: 8bit\n"),
            multipart("Content-Type: a/b; name*=utf-8''%C3%A9\n\nascii", head="Content-Transfer-Encoding: 7bit\n"),
        ),
        (
            multipart("Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: é\n\ncafé au lait"),
            multipart(
                "Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\n"
                f"Subject: =?utf-8?b?w6k=?=\nMIME-Version: 1.0\n{PLAIN}unknown-8bit\n{QP}\ncaf=C3=A9 au lait"
            ),
        ),
        (
            multipart(multipart("\na\n--b", boundary="i"), "Subject: é", "Content-Type: multipart/signed\n\na"),
            multipart(
                multipart("\na\n--b", boundary="i"),
                "Subject: =?utf-8?b?w6k=?=\n\n",
                "Content-Type: multipart/signed\n\na",
            ),
        ),
        (
            multipart("Content-Type: multipart/signed; boundary=i\nContent-Description: é\n\n--i\n\na\n--i--"),
            multipart(
                "Content-Type: multipart/signed; boundary=i\nContent-Description: =?utf-8?b?w6k=?=\n\n--i\n\na\n--i--"
            ),
        ),
    ],
)
def test_without_8bitmime_parts_are_encoded(rest: str, want: str) -> None:
    assert rendered(rest, SEVEN_BIT) == want


@pytest.mark.parametrize("extensions", [ALL, SEVEN_BIT])
@pytest.mark.parametrize(
    ("rest", "want"),
    [
        (
            f"\n{LONG}\n",
            f"MIME-Version: 1.0\n{PLAIN}us-ascii\n{QP}\n" + "=\n".join(["x" * 75] * 13 + ["x" * 24]) + "\n",
        ),
        (f"{B64}\n{'QUJD' * 250}\n", f"{B64}MIME-Version: 1.0\n\n" + ("QUJD" * 19 + "\n") * 13 + "QUJD" * 3 + "\n"),
        (
            f"{QP}\n{'=41B' * 250}\n",
            f"MIME-Version: 1.0\n{B64}\n" + base64.encodebytes(b"AB" * 250 + b"\r\n").decode(),
        ),
        (
            multipart(f"{PLAIN}x\n\n{' ' * 999}", "\nascii"),
            multipart(f"{PLAIN}x\n{QP}\n" + "=\n".join([" " * 75] * 13 + [" " * 23 + "=20"]), "\nascii"),
        ),
    ],
)
def test_long_lines_are_encoded_whatever_the_server_offers(rest: str, want: str, extensions: Extensions) -> None:
    assert rendered(rest, extensions) == want


def test_with_8bitmime_only_what_has_long_lines_is_encoded() -> None:
    eight_bit = "Content-Description: é\nContent-Transfer-Encoding: 8bit\n\ncafé"
    long = f"X: é\n{PLAIN}x\n"
    head = "Content-Transfer-Encoding: 8bit\n"
    rest = multipart(eight_bit, f"{long}\n{LONG}", head=head)
    encoded = "=\n".join(["x" * 75] * 13 + ["x" * 24])
    assert rendered(rest, EIGHT_BIT) == multipart(eight_bit, f"{long}{QP}\n{encoded}", head=head)


@pytest.mark.parametrize(
    ("rest", "want"),
    [
        (multipart("\né", subtype="signed"), "5.6.3 a signed part cannot be converted"),
        (multipart(multipart("\né", subtype="Signed", boundary="i")), "5.6.3 a signed part cannot be converted"),
        (multipart("no header é"), "5.6.3 a part without a readable header cannot be converted"),
        ("Content-Type: multipart/x\n\né\n", "5.6.3 a multipart without parts cannot be converted"),
        ("Content-Type: message/partial\n\né\n", "5.6.3 a message part of this type cannot be converted"),
        ("Content-Type: message/delivery-status\n\nA: é\n", "5.6.3 a message part of this type cannot be converted"),
        ("Content-Transfer-Encoding: x-uue\n\né\n", "5.6.3 a part in an unknown encoding cannot be converted"),
        (multipart("\na") + "é\n", "5.6.3 text between the parts cannot be converted"),
        (multipart("\na").replace("--b", "é\n--b", 1), "5.6.3 text between the parts cannot be converted"),
    ],
)
def test_what_cannot_be_converted_is_refused(rest: str, want: str) -> None:
    assert refusal(HEAD + rest, SEVEN_BIT).text == want
    assert refusal(HEAD + rest.replace("é", LONG), ALL).text == want


def test_a_long_header_line_is_folded_and_one_that_cannot_be_is_refused() -> None:
    assert rendered(f"X: {'a ' * 500}b\n\n", ALL).replace("\n", "") == f"X: {'a ' * 500}b"
    assert refusal(f"{HEAD}X: {LONG}\n\n", ALL).text == "5.6.0 header line too long"


@pytest.mark.parametrize(
    ("rest", "extensions", "smtputf8", "want"),
    [
        ("Subject: é\n\n", ALL, True, "Subject: é\n\n"),
        ("Subject: \udce9\n\n", ALL, False, "Subject: =?unknown-8bit?b?6Q==?=\n\n"),
        ("Subject: é\nX: \udce9\n\n", ALL, True, "Subject: é\nX: =?unknown-8bit?b?6Q==?=\n\n"),
        ("Subject: é\n\n", EIGHT_BIT, False, "Subject: =?utf-8?b?w6k=?=\n\n"),
        ("Subject: é\n\n", Extensions(False, True), False, "Subject: =?utf-8?b?w6k=?=\n\n"),
        ("Subject: e\n\né\n", ALL, False, "Subject: e\n\né\n"),
        ("Cc: x@ö.de\n\n", EIGHT_BIT, False, "Cc: x@xn--nda.de\n\n"),
        ("Cc: é@b\n\n", ALL, True, "Cc: é@b\n\n"),
        ("Bcc: é@b\n\n", ALL, True, "\n"),
    ],
)
def test_header_text(rest: str, extensions: Extensions, smtputf8: bool, want: str) -> None:
    assert rendered(rest, extensions) == want
    assert message(HEAD + rest).rendering(extensions).smtputf8 is smtputf8


def test_without_smtputf8_recipients_that_need_it_are_refused() -> None:
    refused = refusal('From: fred@example.com\nTo: josé@b, c@d\nCc: "é,"@ö\n\n', EIGHT_BIT)
    assert (refused.text, refused.recipients) == ("", ("jos\\x{E9}@b", '"\\x{E9},"@xn--nda'))


def test_without_smtputf8_originators_that_need_it_are_refused() -> None:
    text = "From: fred@example.com\nReply-To: é@b\nTo: a@b\n\n"
    assert refusal(text, EIGHT_BIT).text == "5.6.7 Reply-To holds an address that needs a mail server with SMTPUTF8"
    assert message("To: a@b\n\n", user="josé").rendering(ALL).smtputf8
    with pytest.raises(SubmissionRefused, match=r"^5\.6\.7 your address needs"):
        message("To: a@b\n\n", user="josé").rendering(SEVEN_BIT)


LEAF_TEXT = st.text(st.sampled_from("aé€ \t=.-\n"), max_size=120)
LEAVES = st.tuples(
    st.sampled_from(["text/plain; charset=utf-8", "application/x", "text/html; charset=utf-8; name=é"]),
    st.one_of(LEAF_TEXT, LEAF_TEXT.map(lambda text: text * 30)),
).map(lambda pair: f"Content-Type: {pair[0]}\n\n{pair[1]}")


def containers(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    multiparts = st.lists(children, min_size=1, max_size=3).map(
        lambda parts: multipart(*parts, boundary=f"b{len(''.join(parts))}x", head="Content-Transfer-Encoding: 8bit\n")
    )
    return st.one_of(
        multiparts,
        children.map(lambda inner: f"Content-Type: message/rfc822\n\nMIME-Version: 1.0\nSubject: é\n{inner}"),
    )


MESSAGES = st.recursive(LEAVES, containers, max_leaves=6).map(lambda rest: f"{HEAD}MIME-Version: 1.0\n{rest}\n")


def contents(octets: bytes) -> list[tuple[str, object]]:
    """Return what a reader of the message sees of its parts."""
    parsed = email.message_from_bytes(octets, policy=email.policy.SMTP)
    assert isinstance(parsed, EmailMessage)
    return [
        (part.get_content_type(), None if part.is_multipart() else part.get_payload(decode=True))
        for part in parsed.walk()
    ]


@given(MESSAGES)
def test_the_conversion_is_undone_by_a_reader(text: str) -> None:
    converted = sent(text, SEVEN_BIT)
    assert converted.isascii()
    assert contents(converted) == contents(draft(text))


@given(MESSAGES)
def test_with_8bitmime_the_body_is_untouched_but_for_long_lines(text: str) -> None:
    octets = sent(text, EIGHT_BIT)
    assert octets[: octets.index(b"\r\n\r\n")].isascii()
    assert contents(octets) == contents(draft(text))
    body = draft(text).partition(b"\r\n\r\n")[2]
    assert octets.endswith(b"\r\n\r\n" + body) or max(map(len, body.split(b"\r\n"))) > 998


def test_memory_does_not_grow_with_the_message() -> None:
    text = multipart("Content-Type: a/b\n\n" + "é" * (40 * BLOCK), "\n" + "é\n" * (20 * BLOCK))
    rendering = message(HEAD + text).rendering(SEVEN_BIT)
    assert len(checked(rendering.chunks(), rendering.size)) > 60 * BLOCK
