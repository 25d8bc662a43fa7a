from email import message_from_bytes
from email.header import decode_header, make_header
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import Field, read_header
from imapproxy.message.words import Repertoire, transportable


def converted(line: str, repertoire: Repertoire = "us-ascii") -> str:
    name = line.partition(":")[0]
    raw = (line + "\r\n").encode("utf-8", "surrogateescape")
    field = transportable(Field(name, raw), repertoire)
    assert field.name == name
    assert read_header(field.raw, 0, len(field.raw)).fields == (field,)
    return field.raw.decode("utf-8", "surrogateescape").removesuffix("\r\n")


@pytest.mark.parametrize(
    ("line", "repertoire"),
    [
        ("Subject:  a\r\n\tb ", "us-ascii"),
        ("Subject:  é\r\n\tb ", "utf-8"),
        ("Subject:  \udce9\r\n\tb ", "any"),
        (f"X: {'a' * 995}", "us-ascii"),
    ],
)
def test_what_may_stand_keeps_its_octets(line: str, repertoire: Repertoire) -> None:
    assert converted(line, repertoire) == line


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("Subject: é", "Subject: =?utf-8?b?w6k=?="),
        ("Subject: Grüße aus Köln", "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus =?utf-8?q?K=C3=B6ln?="),
        ("Subject: Re: naïve  café, yes", "Subject: Re: =?utf-8?q?na=C3=AFve__caf=C3=A9=2C?= yes"),
        ("Subject: caf\udce9", "Subject: =?unknown-8bit?q?caf=E9?="),
        ("Subject: =?x?q?y?= caf\u00e9 =?x?q?z?=", "Subject: =?x?q?y?= =?utf-8?q?_caf=C3=A9_?= =?x?q?z?="),
        ("Subject:\u00e9", "Subject: =?utf-8?b?w6k=?="),
        ("X-Empty: \r\n é", "X-Empty: =?utf-8?b?w6k=?="),
        ("From: José <a@b>", "From: =?utf-8?q?Jos=C3=A9?= <a@b>"),
        ('To: "Muñoz, \\"J\\"" X <a@b>, C <c@d>', "To: =?utf-8?q?Mu=C3=B1oz=2C_=22J=22_X?= <a@b>, C <c@d>"),
        ("To: A: Ünal <a@b>;", "To: A: =?utf-8?q?=C3=9Cnal?= <a@b>;"),
        ("Cc: a@ö.de (böse (tief) Ecke)", "Cc: a@xn--nda.de (=?utf-8?q?b=C3=B6se_=28tief=29_Ecke?=)"),
        (
            "Cc: a (ascii) <b@ö (x) . de>, mooch, é <mooch>",
            "Cc: a (ascii) <b@xn--nda.de>, mooch, =?utf-8?b?w6k=?= <mooch>",
        ),
        ("Reply-To: José at home", "Reply-To: =?utf-8?q?Jos=C3=A9?= at home"),
        ("Resent-To: \udce9 <a@b>", "Resent-To: =?unknown-8bit?b?6Q==?= <a@b>"),
        ('Content-Type: a/b; x="é"; name="a b"', "Content-Type: a/b; x*=utf-8''%C3%A9; name=\"a b\""),
        (
            'Content-Disposition: attachment; filename="\udce9\\".x"',
            "Content-Disposition: attachment; filename*=unknown-8bit''%E9%22.x",
        ),
        (
            f"Content-Disposition: attachment; filename={'é' * 12}",
            "Content-Disposition: attachment;\r\n filename*0*=utf-8''"
            + "%C3%A9" * 9
            + ";\r\n filename*1*="
            + "%C3%A9" * 3,
        ),
    ],
)
def test_text_is_encoded_where_it_stands(line: str, want: str) -> None:
    assert converted(line) == want


def test_text_that_is_no_utf8_is_encoded_whatever_the_server_offers() -> None:
    assert converted("Subject: caf\udce9", "utf-8") == "Subject: =?unknown-8bit?q?caf=E9?="


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("From: josé@example.com", "5.6.7 From holds an address that needs a mail server with SMTPUTF8"),
        ("Reply-To: a@b, X <é@b>", "5.6.7 Reply-To holds an address that needs a mail server with SMTPUTF8"),
        ("Content-Type: text/plain (é)", "5.6.7 Content-Type needs a mail server with SMTPUTF8"),
        ("Content-Type: text/plain; x*=é", "5.6.7 Content-Type needs a mail server with SMTPUTF8"),
        (f"X: {'a' * 999}", "5.6.0 header line too long"),
        (f"X: a{' ' * 1000}a", "5.6.0 header line too long"),
    ],
)
def test_what_cannot_be_written_is_refused(line: str, want: str) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        converted(line)
    assert caught.value.text == want


def test_long_lines_are_folded_before_white_space() -> None:
    line = "References: " + "\t ".join(f"<{number}@example.com>" for number in range(100))
    folded = converted(line)
    assert folded.replace("\r\n", "") == line
    assert max(map(len, folded.split("\r\n"))) <= 76


def test_a_long_word_may_stand_below_the_name() -> None:
    assert converted(f"X: {'a' * 996}") == f"X:\r\n {'a' * 996}"


# What is searched for the next word from each of its octets would take an hour here.
@pytest.mark.parametrize("space", [" ", "\t", " \t"])
def test_white_space_behind_the_last_word_is_dropped_and_gone_through_once(space: str) -> None:
    assert converted(f"Subject: Hello{space * 500_000}") == "Subject: Hello"


TEXT = st.text(st.sampled_from('abé €\U0001f600=?_,"()<>@ '), min_size=1).map(lambda text: " ".join(text.split()))


@given(TEXT)
def test_encoded_text_says_what_it_said(text: str) -> None:
    line = converted(f"Subject: {text}")
    if "=?" not in text:
        assert str(make_header(decode_header(line.removeprefix("Subject:").replace("\r\n", "")))).strip() == text
    assert line.isascii()
    assert max(map(len, line.split("\r\n"))) <= 76 or text.isascii()


@given(TEXT.filter(lambda name: '"' not in name and "=?" not in name))
def test_encoded_display_names_say_what_they_said(name: str) -> None:
    line = converted(f'To: a@b, "{name}" <c@d>, e@f')
    read = getaddresses([line.removeprefix("To:").replace("\r\n", "")])
    assert [(str(make_header(decode_header(found))), address) for found, address in read] == [
        ("", "a@b"),
        (name, "c@d"),
        ("", "e@f"),
    ]


@given(TEXT.filter(lambda name: not {'"', "<"} & set(name)))
def test_encoded_parameters_say_what_they_said(name: str) -> None:
    line = converted(f'Content-Disposition: attachment; filename="{name}"; size=1')
    message = message_from_bytes(f"{line}\r\n\r\n".encode())
    assert message.get_filename() == name.strip()
    assert message.get_param("size", header="content-disposition") == "1"
