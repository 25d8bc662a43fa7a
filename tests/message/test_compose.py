import email
import email.message
import email.policy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.message.inclusion import Unfit
from imapproxy.message.message import Extensions
from tests.message.samples import ALL, EIGHT_BIT, RECEIVED, SEVEN_BIT, STAMP, Mailbox, checked

U = STAMP.unique
HEAD = "From: fred@example.com\nTo: ann@example.net\nDate: Tue, 24 Nov 2026 03:34:42 +0000\nMessage-ID: <1@b>\n"
MIME = "MIME-Version: 1.0\n"

STORED = b"From: ann@example.net\r\nSubject: stored\r\n\r\nhello\r\n"
PNG_HEADER = b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
PNG = b"iVBORw0KGgo=\r\n"

MAILBOX = {
    "": STORED,
    "HEADER": b"From: ann@example.net\r\nContent-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\n",
    "TEXT": b"hello\r\n",
    "2.MIME": PNG_HEADER,
    "2": PNG,
    "3.MIME": b"Content-Type: multipart/alternative; boundary=i\r\n\r\n",
    "3": b"--i\r\n\r\nplain\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>\r\n--i--",
    "4.MIME": b"",
    "4": STORED,
    "5.MIME": b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n",
    "5": "caf\u00e9".encode(),
    "6.MIME": b"Content-Type: message/rfc822\r\n\r\n",
    "6": "Subject: nested\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf\u00e9\r\n".encode(),
    "7.MIME": b"Content-Type: multipart/signed; boundary=i\r\n\r\n",
    "7": "--i\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ncaf\u00e9\r\n--i--\r\n".encode(),
    "8.MIME": b"Content-Type: text/plain\r\n\r\n",
    "8": b"x" * 2000 + b"\r\n",
}


def to(section: str = "", phantom: str = "Content-Type: image/png\n") -> str:
    url = f"/INBOX/;UID=20{f'/;SECTION={section}' if section else ''}"
    return f'Content-Type: message/external-body; access-type=URL; URL="{url}"\n\n{phantom}\n'


def mixed(*parts: str, boundary: str = "b", kind: str = "multipart/mixed") -> str:
    opened = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return f"Content-Type: {kind}; boundary={boundary}\n\n{opened}--{boundary}--\n"


def mailbox(**changed: bytes) -> Mailbox:
    return Mailbox({**MAILBOX, **changed}, {"4": "message/rfc822"})


def body(sent: bytes) -> str:
    """Return what comes behind the header fields that are the same for all."""
    text = sent.decode("utf-8", "surrogateescape").replace(RECEIVED, "")
    head = (HEAD + MIME).replace("\n", "\r\n")
    assert text.startswith(head)
    return text.removeprefix(head).replace("\r\n", "\n")


def fresh(text: str) -> str:
    """Return the one fresh boundary in a text."""
    (found,) = {line.removeprefix("--").removesuffix("--") for line in text.split("\n") if line.startswith(f"--{U}")}
    return found


def part(section: str, extensions: Extensions = ALL, kind: str = "multipart/mixed", phantom: str = "") -> str:
    """Return what a reference becomes, as the only part of a multipart."""
    text = body(mailbox().sent(HEAD + MIME + mixed(to(section, phantom), kind=kind), extensions))
    boundary = fresh(text)
    start, end = f'Content-Type: {kind};\n\tboundary="{boundary}"\n\n--{boundary}\n', f"\n--{boundary}--\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return text.removeprefix(start).removesuffix(end)


def test_a_whole_message_becomes_a_part_that_holds_it_octet_for_octet() -> None:
    assert part("") == (
        "Content-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n" + STORED.decode().replace("\r\n", "\n")
    )


def test_a_part_becomes_itself_with_its_own_fields() -> None:
    assert part("2") == (PNG_HEADER + PNG).decode().replace("\r\n", "\n")


def test_a_multipart_becomes_itself_with_its_own_boundary() -> None:
    assert part("3") == (MAILBOX["3.MIME"] + MAILBOX["3"]).decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("section", "kind", "header"),
    [
        ("4", "multipart/mixed", "Content-Type: message/rfc822\n"),
        ("4", "multipart/digest", ""),
        ("2", "multipart/digest", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n"),
    ],
)
def test_a_part_keeps_the_type_that_it_had_by_default(section: str, kind: str, header: str) -> None:
    assert part(section, kind=kind).partition("\n\n")[0] == header.rstrip("\n") or header == ""
    assert part(section, kind=kind).startswith(header or "\nFrom: ann")


def test_the_clients_word_on_a_part_is_heard() -> None:
    phantom = "Content-Type: text/html\nContent-Disposition: attachment;\n\tfilename=a.png\nContent-ID: <2@b>\n"
    assert part("2", phantom=phantom).startswith(
        "Content-Type: image/png\nContent-Transfer-Encoding: base64\n"
        "Content-Disposition: attachment;\n\tfilename=a.png\nContent-ID: <2@b>\n\n"
    )


def test_a_phantom_header_in_an_encoding_says_nothing() -> None:
    reference = to("2", "Content-Disposition: inline\n").replace("URL;", "URL;", 1)
    encoded = "Content-Transfer-Encoding: base64\n" + reference
    assert "inline" not in body(mailbox().sent(HEAD + MIME + mixed(encoded)))


def test_what_encloses_a_reference_gets_a_fresh_boundary_and_nothing_else_changes() -> None:
    text = (
        'Content-Type: multipart/mixed (a "b"); charset="x;boundary=y"; boundary="b";\n\tprotocol=z\nX-Own: 1\n\n'
        "preamble --b\n--b\nContent-Type: text/plain\n\nfirst --b\n--bb\n--b \t\n"
        f"{mixed('X: y', to('2'), boundary='c')}--b\n{mixed('inner', boundary='d')}\n--b--\nepilogue\n--b\n"
    )
    outer, inner = (f"{U}-{start:012x}" for start in starts(HEAD + MIME + text))
    assert body(mailbox().sent(HEAD + MIME + text)) == (
        f'Content-Type: multipart/mixed  ; charset="x;boundary=y";\tprotocol=z;\n\tboundary="{outer}"\nX-Own: 1\n\n'
        f"preamble --b\n--{outer}\nContent-Type: text/plain\n\nfirst --b\n--bb\n--{outer} \t\n"
        f'Content-Type: multipart/mixed;\n\tboundary="{inner}"\n\n--{inner}\nX: y\n--{inner}\n'
        + (PNG_HEADER + PNG).decode().replace("\r\n", "\n")
        + f"\n--{inner}--\n--{outer}\n{mixed('inner', boundary='d')}\n--{outer}--\nepilogue\n--b\n"
    )


def starts(text: str) -> list[int]:
    composition = mailbox().message(text).composition
    assert composition is not None
    return [found.start for found in composition.tree.own_parts() if found.is_multipart and composition.holds(found)]


@pytest.mark.parametrize(
    "parameter",
    [
        "boundary=b",
        'BOUNDARY = "b"',
        "boundary*=us-ascii''%62",
        'boundary*0=""; boundary*1=b',
        "boundary=b; boundary=b",
    ],
)
def test_the_boundary_goes_however_it_was_written(parameter: str) -> None:
    text = HEAD + MIME + mixed(to("2")).replace("boundary=b", f"{parameter}; a=b")
    found = body(mailbox().sent(text))
    assert found.lower().count("boundary") == 1
    assert '; a=b;\n\tboundary="' in found
    assert [each.get_content_type() for each in parsed(mailbox().sent(text))] == ["image/png"]


def parsed(sent: bytes) -> list[email.message.Message]:
    message = email.message_from_bytes(sent, policy=email.policy.compat32)
    parts = message.get_payload()
    assert isinstance(parts, list)
    return parts  # type: ignore[return-value]


def test_mime_version_is_there() -> None:
    assert MIME.strip().encode() in mailbox().sent(HEAD + mixed(to("2")))


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (mixed(to("2")).replace("--b--\n", ""), "5.6.0 a multipart that refers to something has no end"),
        (
            f"Content-Type: multipart/mixed; boundary=c\n{mixed(to('2'), boundary='c')}",
            "5.6.0 more than one Content-Type",
        ),
        (mixed(to("2", "no field\n")), "5.6.0 malformed header line"),
    ],
)
def test_drafts_whose_structure_is_in_doubt_are_refused(text: str, want: str) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        mailbox().sent(HEAD + MIME + text)
    assert caught.value.text == want


@pytest.mark.parametrize(
    ("label", "extensions", "want"),
    [
        ("7bit", EIGHT_BIT, "8bit"),
        ("8bit", EIGHT_BIT, "8bit"),
        ("binary", EIGHT_BIT, "binary"),
        ("8bit", SEVEN_BIT, "7bit"),
        ("7bit", SEVEN_BIT, "7bit"),
    ],
)
def test_no_multipart_is_labelled_7bit_around_what_may_not_be(label: str, extensions: Extensions, want: str) -> None:
    text = f"{HEAD}{MIME}Content-Transfer-Encoding: {label}\n{mixed(to('2'))}"
    assert f"\nContent-Transfer-Encoding: {want}\n" in f"\n{body(mailbox().sent(text, extensions))}"


# The whole submission.


def test_a_submission_may_be_what_lies_on_the_server() -> None:
    text = HEAD + "Content-Language: la\n" + to(phantom="Content-Disposition: inline\n")
    assert body(mailbox().sent(text)) == (
        "Content-Type: text/plain; charset=utf-8\nContent-Disposition: inline\n\nhello\n"
    )


def test_a_submission_may_be_a_part_of_what_lies_on_the_server() -> None:
    assert body(mailbox().sent(HEAD + to("2"))) == (PNG_HEADER + PNG).decode().replace("\r\n", "\n")


@pytest.mark.parametrize("stored", [b"hello", b"hello\n", b"hello\r"])
def test_a_submission_ends_in_a_line_end_whatever_lies_on_the_server(stored: bytes) -> None:
    with pytest.raises(Unfit):
        mailbox(TEXT=stored).sent(HEAD + to())
    rendering = mailbox(TEXT=stored).message(HEAD + to()).kept().rendering(ALL)
    assert body(checked(rendering.chunks(), rendering.size)).endswith("\n\nhello\n")


def test_a_submission_may_be_empty() -> None:
    for extensions in (ALL, SEVEN_BIT):
        assert body(mailbox(TEXT=b"").sent(HEAD + to(), extensions)).endswith("charset=utf-8\n\n")


# Streamed and kept.


def test_what_is_fit_is_streamed_to_a_server_with_8bitmime() -> None:
    box = mailbox()
    box.sent(HEAD + MIME + mixed(to(), to("2"), to("5")), EIGHT_BIT)
    assert box.kept_contents == 0


def test_what_has_no_size_is_kept_first() -> None:
    box = mailbox()
    box.sizes = {"3": None}
    box.sent(HEAD + MIME + mixed(to("2"), to("3")))
    assert box.kept_contents == 2


def test_a_kept_message_keeps_nothing_twice() -> None:
    box = mailbox()
    message = box.message(HEAD + MIME + mixed(to("2"))).kept()
    assert message.kept() == message
    message.rendering(SEVEN_BIT)
    assert box.kept_contents == 1


def test_a_message_without_references_has_nothing_to_keep() -> None:
    message = Mailbox({}).message(HEAD + "\nhello\n")
    assert message.kept() is message


@pytest.mark.parametrize("section", ["", "2", "3", "4", "5"])
def test_kept_or_streamed_makes_no_difference_to_what_is_fit(section: str) -> None:
    text = HEAD + MIME + mixed(to(section))
    rendering = mailbox().message(text).kept().rendering(ALL)
    kept = checked(rendering.chunks(), rendering.size)
    streamed = mailbox().sent(text)
    assert kept == (streamed if section else streamed.replace(b"Content-Transfer-Encoding: 8bit\r\n", b""))


def test_a_whole_message_with_8bit_text_is_labelled() -> None:
    box = mailbox(**{"": MAILBOX["6"]})
    label = b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: nested"
    rendering = box.message(HEAD + MIME + mixed(to())).kept().rendering(EIGHT_BIT)
    assert label in b"".join(rendering.chunks())


# Conversion.

QUOTED = "Content-Transfer-Encoding: quoted-printable\n\ncaf=C3=A9"


@pytest.mark.parametrize(
    ("section", "want"),
    [
        ("2", (PNG_HEADER + PNG).decode().replace("\r\n", "\n")),
        ("5", f"Content-Type: text/plain; charset=utf-8\n{QUOTED}"),
        (
            "6",
            "Content-Type: message/rfc822\n\nSubject: nested\nContent-Type: text/plain; charset=utf-8\n"
            f"MIME-Version: 1.0\n{QUOTED}\n",
        ),
    ],
)
def test_a_server_without_8bitmime_gets_it_in_7_bits(section: str, want: str) -> None:
    assert part(section, SEVEN_BIT) == want


def test_a_whole_message_is_converted_within() -> None:
    box = mailbox(**{"": MAILBOX["6"]})
    assert f"message/rfc822\n\nSubject: nested\nContent-Type: text/plain; charset=utf-8\n{MIME}{QUOTED}" in body(
        box.sent(HEAD + MIME + mixed(to()), SEVEN_BIT)
    )


def test_a_boundary_in_the_first_line_of_what_is_kept_is_seen() -> None:
    stored = b"--i\r\n\r\n" + "caf\u00e9".encode() + b"\r\n--i--"
    found = body(mailbox(**{"3": stored}).sent(HEAD + MIME + mixed(to("5"), to("3")), SEVEN_BIT))
    assert (
        "--i\nContent-Type: text/plain; charset=unknown-8bit\nContent-Transfer-Encoding: quoted-printable\n\n" in found
    )


def test_what_is_signed_is_never_altered() -> None:
    assert part("7", ALL).startswith("Content-Type: multipart/signed")
    with pytest.raises(SubmissionRefused, match="a signed part cannot be converted"):
        part("7", SEVEN_BIT)


def test_long_lines_are_encoded_once_they_are_known() -> None:
    text = HEAD + MIME + mixed(to("8"))
    message = mailbox().message(text)
    with pytest.raises(Unfit):
        b"".join(message.rendering(ALL).chunks())
    rendering = message.kept().rendering(ALL)
    (found,) = parsed(checked(rendering.chunks(), rendering.size))
    assert found.get_payload(decode=True) == MAILBOX["8"]


@pytest.mark.parametrize("stored", [b"a\nb", b"a\rb\r", b"a\n\r\nb\n"])
def test_line_ends_are_made_crlf_once_they_are_known(stored: bytes) -> None:
    message = mailbox(**{"8": stored}).message(HEAD + MIME + mixed(to("8")))
    with pytest.raises(Unfit):
        b"".join(message.rendering(ALL).chunks())
    rendering = message.kept().rendering(ALL)
    text = body(checked(rendering.chunks(), rendering.size))
    assert stored.decode().replace("\r\n", "\n").replace("\r", "\n") + f"\n--{fresh(text)}--" in text


def test_a_message_is_too_large_with_what_it_includes() -> None:
    message = replace(mailbox().message(HEAD + MIME + mixed(to("8"))), max_size=2000)
    with pytest.raises(SubmissionRefused, match=r"^5\.3\.4 message too large"):
        message.rendering(ALL)


# The Sent copy.


def test_the_sent_copy_is_what_was_sent_with_its_bcc() -> None:
    message = mailbox().message(HEAD + "Bcc: joe@example.net,\n\tjim@example.net\n" + MIME + mixed(to("2")))
    sent = message.rendering(ALL)
    copy = message.sent_copy(sent)
    want = b"Bcc: joe@example.net,\r\n\tjim@example.net\r\n" + b"".join(sent.chunks())
    assert (b"".join(copy.chunks()), copy.size) == (want, len(want))


@pytest.mark.parametrize(("extensions", "want"), [(ALL, "Jos\u00e9"), (EIGHT_BIT, "=?utf-8?q?Jos=C3=A9?=")])
def test_the_sent_copys_bcc_is_written_as_the_rest(extensions: Extensions, want: str) -> None:
    message = mailbox().message("Bcc: Jos\u00e9 <j@b.example>\nSubject: \u00e9\n\nhello\n")
    copy = message.sent_copy(message.rendering(extensions))
    assert b"".join(copy.chunks()).startswith(f"Bcc: {want} <j@b.example>\r\n".encode())


# What an attacker has put into the mailbox.

HOSTILE = st.lists(
    st.sampled_from(
        [
            *(
                "\r\n",
                "\r\n--b",
                "--",
                "\r\n--b--\r\n",
                "\r\n.\r\n",
                "\r\n--c--",
                "Content-Type: multipart/mixed; boundary=b",
            ),
            *(
                "\r\n\r\n",
                f"\r\n--{U}",
                f"--{U}-",
                "x",
                "\r\n--",
                "\r\nSubject: y",
                "Content-Type: message/rfc822",
                " ",
            ),
            'Content-Type: message/external-body; access-type=URL; URL="/INBOX/;UID=20"',
        ]
    ),
    max_size=12,
).map(lambda pieces: "".join(pieces).encode())


@given(HOSTILE, HOSTILE, st.sampled_from(["", "2", "3"]))
def test_what_is_included_stays_within_its_part(stored: bytes, header: bytes, section: str) -> None:
    box = Mailbox({**MAILBOX, section: stored, f"{section}.MIME": header})
    text = HEAD + MIME + mixed("\nbefore", mixed(to(section), boundary="c"), "\nafter")
    for extensions in (ALL, SEVEN_BIT):
        sent = box.sent(text, extensions)
        outer, inner = (f"--{U}-{start:012x}".encode() for start in starts(text))
        assert sent.split(b"\r\n").count(outer) == 3
        assert sent.split(b"\r\n").count(outer + b"--") == 1
        assert sent.split(b"\r\n").count(inner) == 1
        first, second, third = parsed(sent)
        assert first.get_payload() == "before"
        assert third.get_payload() == "after"
        assert second.get_content_type() == "multipart/mixed"
        within = second.get_payload()
        assert isinstance(within, list)
        (included,) = within
        assert isinstance(included, email.message.Message)
        assert stored in sent or extensions is SEVEN_BIT
        assert included.get_content_type() != "message/external-body" or b"external-body" in header
