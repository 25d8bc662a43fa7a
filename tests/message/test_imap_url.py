"""IMAP URLs: what they name, what is refused and why, and that nothing in one can reach an IMAP command."""

import re
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imapproxy.message.imap_url import MAX_URL, ImapUrl, UrlError, has_scheme, is_imap_url, parse_imap_url

LAST = 2**32 - 1
NAMED = ImapUrl("INBOX", 20)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        # absolute path: the user's own server
        ("/INBOX/;UID=20", NAMED),
        ("/INBOX;UIDVALIDITY=1/;UID=20", ImapUrl("INBOX", 20, uidvalidity=1)),
        ("/INBOX/;UID=20/;SECTION=2", ImapUrl("INBOX", 20, section="2")),
        ("/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=1.2.3", ImapUrl("INBOX", 20, uidvalidity=1, section="1.2.3")),
        ("/INBOX;uidvalidity=1/;uid=20/;Section=2", ImapUrl("INBOX", 20, uidvalidity=1, section="2")),
        (f"/INBOX;UIDVALIDITY={LAST}/;UID={LAST}", ImapUrl("INBOX", LAST, uidvalidity=LAST)),
        (f"/INBOX/;UID=1/;SECTION={LAST}", ImapUrl("INBOX", 1, section=str(LAST))),
        ("/INBOX/;UID=1/;SECTION=1" + ".1" * 31, ImapUrl("INBOX", 1, section="1" + ".1" * 31)),
        ("/INBOX/;UID=1/;SECTION=1%2E2", ImapUrl("INBOX", 1, section="1.2")),
        # mailbox names
        ("/gray%20council/;UID=20", ImapUrl("gray council", 20)),
        ("/~peter/%E6%97%A5%E6%9c%ac%E8%AA%9E/%E5%8F%B0%E5%8C%97/;UID=20", ImapUrl("~peter/日本語/台北", 20)),
        ("/%f0%9f%98%80/;UID=20", ImapUrl("😀", 20)),
        ("/%49nbox/;UID=20", ImapUrl("Inbox", 20)),
        ("/a/b.c/;UID=20", ImapUrl("a/b.c", 20)),
        ("/a&b/;UID=20", ImapUrl("a&b", 20)),
        ("/&ZeVnLIqe-/;UID=20", ImapUrl("&ZeVnLIqe-", 20)),
        ("/-._~!$'()*+,&=:@/;UID=20", ImapUrl("-._~!$'()*+,&=:@", 20)),
        ("/%22%5C%7B5%7D%3F%23%25%5B%5D%26/;UID=20", ImapUrl('"\\{5}?#%[]&', 20)),
        ("/a%3BUIDVALIDITY=3%2F%3BUID=4/;UID=20", ImapUrl("a;UIDVALIDITY=3/;UID=4", 20)),
        ("/%252F/;UID=20", ImapUrl("%2F", 20)),
        ("/INBOX//;UID=20", ImapUrl("INBOX/", 20)),
        ("/%2Fabc/;UID=20", ImapUrl("/abc", 20)),
        ("/a/../b/./..;UIDVALIDITY=1/;UID=20", ImapUrl("a/../b/./..", 20, uidvalidity=1)),
        ("/imap://x/INBOX/;UID=20", ImapUrl("imap://x/INBOX", 20)),
        # absolute
        ("imap://mail.example.com/INBOX/;UID=20", ImapUrl("INBOX", 20, host="mail.example.com")),
        ("IMAP://Mail.Example.COM/INBOX/;UID=20", ImapUrl("INBOX", 20, host="mail.example.com")),
        ("imap://mail.example.com//abc/;UID=20", ImapUrl("/abc", 20, host="mail.example.com")),
        ("imap://my_host-1:1143/INBOX/;UID=20", ImapUrl("INBOX", 20, host="my_host-1", port=1143)),
        ("imap://h:/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h")),
        ("imap://h:00143/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", port=143)),
        ("imap://192.0.2.1/INBOX/;UID=20", ImapUrl("INBOX", 20, host="192.0.2.1")),
        ("imap://[2001:DB8::1]/INBOX/;UID=20", ImapUrl("INBOX", 20, host="2001:db8::1")),
        ("imap://[2001:db8:0:0:0:0:0:1]:143/INBOX/;UID=20", ImapUrl("INBOX", 20, host="2001:db8::1", port=143)),
        ("imap://[::ffff:192.0.2.1]/INBOX/;UID=20", ImapUrl("INBOX", 20, host=str(IPv6Address("::ffff:192.0.2.1")))),
        ("imap://h//;UIDVALIDITY=1/;UID=20", ImapUrl("/", 20, uidvalidity=1, host="h")),  # found by tests/fuzz
        # users; the mechanism is of no use here
        ("imap://fred@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", user="fred")),
        ("imap://fred%40example.com@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", user="fred@example.com")),
        ("imap://fr%C3%A9d@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", user="fréd")),
        ("imap://fred;AUTH=*@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", user="fred")),
        ("imap://fred;auth=GSSAPI@h:1/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", port=1, user="fred")),
        ("imap://;AUTH=*@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h")),
        ("imap://;AUTH=SCRAM-SHA-256@[::1]/INBOX/;UID=20", ImapUrl("INBOX", 20, host="::1")),
        ("imap://a%3BAUTH=b@h/INBOX/;UID=20", ImapUrl("INBOX", 20, host="h", user="a;AUTH=b")),
        # white space, of folding and of RFC 2017's words
        (" \t/INB\r\n\tOX/;U ID=2\r\n 0 ", NAMED),
        ("imap:// mail.example.com/INBOX/;UID=20", ImapUrl("INBOX", 20, host="mail.example.com")),
        # as long as they get
        (f"/{'a' * (MAX_URL - 8)}/;UID=1", ImapUrl("a" * (MAX_URL - 8), 1)),
    ],
)
def test_what_a_url_names(text: str, want: ImapUrl) -> None:
    assert parse_imap_url(text) == want


NO_START = "neither imap:// nor / at the beginning"
NOT_ENCODED = "character that must be percent-encoded"
NO_MAILBOX = "no mailbox name"
NO_UID = "no /;UID= in it"
NO_MESSAGE = "not the URL of a message or part"
NO_SECTION = "SECTION is not part numbers"
NO_SERVER = "no server of the form user@host:port"
BAD_NAME = "character that no mailbox name may hold"
BAD_USER = "character that no user name may hold"
BAD_UID = f"UID is not a number from 1 to {LAST}"
BAD_UIDVALIDITY = f"UIDVALIDITY is not a number from 1 to {LAST}"
BAD_PORT = "port is not a number from 1 to 65535"
TOO_LONG = f"longer than {MAX_URL} characters"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        # no URL of this scheme
        ("", NO_START),
        ("INBOX/;UID=20", NO_START),
        (";UID=20", NO_START),
        ("..;UIDVALIDITY=1/;UID=20", NO_START),
        ("http://h/INBOX/;UID=20", NO_START),
        ("\0imap://h/INBOX/;UID=20", NO_START),
        ("\u00a0/INBOX/;UID=20", NO_START),
        ("imaps://h/INBOX/;UID=20", "no scheme but imap is supported"),
        ("IMAP+tls://h/INBOX/;UID=20", "no scheme but imap is supported"),
        ("imap:/INBOX/;UID=20", "no // after imap:"),
        ("imap:INBOX/;UID=20", "no // after imap:"),
        ("//h/INBOX/;UID=20", "no imap: before //"),
        ("//;UID=20", "no imap: before //"),
        # what cannot be included
        ("/INBOX/;UID=20#x", "a fragment is not supported"),
        ("/INBOX?SUBJECT%20x", "a search is not supported"),
        ("/INBOX/;UID=20?x", "a search is not supported"),
        ("/INBOX/;UID=20/;PARTIAL=0.1024", "PARTIAL is not supported"),
        ("/INBOX/;UID=20/;SECTION=1/;partial=0", "PARTIAL is not supported"),
        ("/INBOX/;UID=20;URLAUTH=submit+fred:internal:91354a473744909de610943775f92038", "URLAUTH is not supported"),
        ("/INBOX/;UID=20/;section=1;urlauth=anonymous", "URLAUTH is not supported"),
        ("/INBOX/;UID=20;EXPIRE=2026-01-01T00:00:00Z;URLAUTH=authuser", "URLAUTH is not supported"),
        ("/INBOX/;UID=20/;SECTION=HEADER", "section HEADER is not supported"),
        ("/INBOX/;UID=20/;SECTION=1.2.header", "section HEADER is not supported"),
        ("/INBOX/;UID=20/;SECTION=HEADER.FIELDS%20(Subject)", "section HEADER is not supported"),
        ("/INBOX/;UID=20/;SECTION=1.HEADER.FIELDS.NOT%20(Bcc)", "section HEADER is not supported"),
        ("/INBOX/;UID=20/;SECTION=TEXT", "section TEXT is not supported"),
        ("/INBOX/;UID=20/;SECTION=1.text", "section TEXT is not supported"),
        ("/INBOX/;UID=20/;SECTION=1.MIME", "section MIME is not supported"),
        # no part
        ("/INBOX/;UID=20/;SECTION=", NO_MESSAGE),
        ("/INBOX/;UID=20/;SECTION=0", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1.0", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=01", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1.", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=.1", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1..2", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1/", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=-1", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=%D9%A1", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=4294967296", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1" + ".1" * 32, NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1%5D%20BODY%5B", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1%0D%0Ax", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1%00", NO_SECTION),
        ("/INBOX/;UID=20/;SECTION=1%0A", NO_SECTION),
        # no message
        ("/", NO_UID),
        ("/INBOX", NO_UID),
        ("/INBOX;UIDVALIDITY=1", NO_UID),
        ("/INBOX;UID=20", NO_UID),
        ("/INBOX/;SECTION=1", NO_UID),
        ("/etc/passwd", NO_UID),
        ("imap://h", NO_UID),
        ("imap://h/", NO_UID),
        ("imap://h/INBOX;TYPE=LIST", NO_UID),
        ("/INBOX/;UID=", BAD_UID),
        ("/INBOX/;UID=0", BAD_UID),
        ("/INBOX/;UID=020", BAD_UID),
        ("/INBOX/;UID=+20", BAD_UID),
        ("/INBOX/;UID=*", BAD_UID),
        ("/INBOX/;UID=20:21", BAD_UID),
        ("/INBOX/;UID=20,21", BAD_UID),
        ("/INBOX/;UID=%32%30", BAD_UID),
        ("/INBOX/;UID=4294967296", BAD_UID),
        (f"/INBOX/;UID={'9' * 4000}", BAD_UID),
        ("/INBOX;UIDVALIDITY=/;UID=20", BAD_UIDVALIDITY),
        ("/INBOX;UIDVALIDITY=0/;UID=20", BAD_UIDVALIDITY),
        ("/INBOX;UIDVALIDITY=4294967296/;UID=20", BAD_UIDVALIDITY),
        ("/INBOX/;UID=20/", NO_MESSAGE),
        ("/INBOX/;UID=20/..", NO_MESSAGE),
        ("/INBOX/;UID=20/;UID=21", NO_MESSAGE),
        ("/INBOX/;UID=20;UIDVALIDITY=1", NO_MESSAGE),
        ("/INBOX/;UID=20;SECTION=1", NO_MESSAGE),
        ("/INBOX/;UID=20/;SECTION=1/;SECTION=2", NO_MESSAGE),
        ("/INBOX;X=1/;UID=20", NO_MESSAGE),
        # no mailbox
        ("/;UID=20", NO_MAILBOX),
        ("/;UIDVALIDITY=1/;UID=20", NO_MAILBOX),
        ("imap://h/;UID=20", NO_MAILBOX),
        ("imap://h//;UID=20", NO_MAILBOX),
        ("/a%0D%0Aa1%20LOGOUT%0D%0A/;UID=20", BAD_NAME),
        ("/a%0a/;UID=20", BAD_NAME),
        ("/a%00/;UID=20", BAD_NAME),
        ("/a%09/;UID=20", BAD_NAME),
        ("/a%7F/;UID=20", BAD_NAME),
        ("/a%C2%85/;UID=20", BAD_NAME),
        ("/a%E2%80%A8/;UID=20", BAD_NAME),
        ("/a%E2%80%A9/;UID=20", BAD_NAME),
        # no text
        ("/%E9/;UID=20", "not UTF-8"),
        ("/%C0%8A/;UID=20", "not UTF-8"),
        ("/%ED%A0%80/;UID=20", "not UTF-8"),
        ("imap://%E9@h/INBOX/;UID=20", "not UTF-8"),
        ("/INBOX/;UID=20/;SECTION=%FF", "not UTF-8"),
        ("/%/;UID=20", "bad percent-encoding"),
        ("/%4/;UID=20", "bad percent-encoding"),
        ("/%zz/;UID=20", "bad percent-encoding"),
        ("/%u0041/;UID=20", "bad percent-encoding"),
        ("/INBOX/;UID=20%", "bad percent-encoding"),
        ("/é/;UID=20", NOT_ENCODED),
        ("/\udce9/;UID=20", NOT_ENCODED),
        ("/a\0/;UID=20", NOT_ENCODED),
        ("/a\x0b/;UID=20", NOT_ENCODED),
        ("/a\u00a0/;UID=20", NOT_ENCODED),
        ('/"/;UID=20', NOT_ENCODED),
        ("/a\\b/;UID=20", NOT_ENCODED),
        ("/{5}/;UID=20", NOT_ENCODED),
        ("/a[1]/;UID=20", NOT_ENCODED),
        ("imap://[::1]/a]/;UID=20", NOT_ENCODED),
        ("/INBOX/;\u016aID=20", NOT_ENCODED),
        # no server
        ("imap:///INBOX/;UID=20", NO_SERVER),
        ("imap://@h/INBOX/;UID=20", NO_SERVER),
        ("imap://fred@/INBOX/;UID=20", NO_SERVER),
        ("imap://fred:secret@h/INBOX/;UID=20", NO_SERVER),
        ("imap://fred@example.com@h/INBOX/;UID=20", NO_SERVER),
        ("imap://fred;AUTH=@h/INBOX/;UID=20", NO_SERVER),
        ("imap://fred;X=1@h/INBOX/;UID=20", NO_SERVER),
        ("imap://h:143:1/INBOX/;UID=20", NO_SERVER),
        ("imap://h:imap/INBOX/;UID=20", NO_SERVER),
        ("imap://h:100000/INBOX/;UID=20", NO_SERVER),
        ("imap://::1/INBOX/;UID=20", NO_SERVER),
        ("imap://[::1/INBOX/;UID=20", NO_SERVER),
        ("imap://[h]/INBOX/;UID=20", NO_SERVER),
        ("imap://h:65536/INBOX/;UID=20", BAD_PORT),
        ("imap://h:0/INBOX/;UID=20", BAD_PORT),
        ("imap://m%C3%BCnchen.example/INBOX/;UID=20", "not a host name"),
        ("imap://h;AUTH=*/INBOX/;UID=20", "not a host name"),
        ("imap://[v1.a:b]/INBOX/;UID=20", "not a host name"),
        ("imap://[fe80::1%25eth0]/INBOX/;UID=20", "not a host name"),
        (f"imap://{'a' * 256}/INBOX/;UID=20", "not a host name"),
        ("imap://[1::2::3]/INBOX/;UID=20", "not an IPv6 address"),
        ("imap://[:]/INBOX/;UID=20", "not an IPv6 address"),
        ("imap://a%0D%0A@h/INBOX/;UID=20", BAD_USER),
        ("imap://a%00@h/INBOX/;UID=20", BAD_USER),
        # too long as it is, or as it is written
        (f"/{'a' * (MAX_URL - 7)}/;UID=1", TOO_LONG),
        (f"/a{'/.' * 1500}/;UID=1", TOO_LONG),
    ],
)
def test_what_is_refused_and_why(text: str, reason: str) -> None:
    with pytest.raises(UrlError) as refused:
        parse_imap_url(text)
    assert str(refused.value) == reason


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("imap://h/INBOX/;UID=20", True),
        ("IMAP:", True),
        ("imaps://h/", True),
        ("imap+x://h/", True),
        ("imap-4.rev2:x", True),
        ("/INBOX/;UID=20", True),
        ("//h/INBOX/;UID=20", True),
        (" \r\n\tim ap : x", True),
        ("\t/", True),
        ("", False),
        (";UID=20", False),
        ("INBOX/;UID=20", False),
        ("imap", False),
        ("ximap:", False),
        ("pop://h/imap:", False),
        ("https://example.com/imap:", False),
        ("imap\u017f://h/", False),
    ],
)
def test_what_is_an_imap_url_by_its_beginning(text: str, want: bool) -> None:
    assert is_imap_url(text) is want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("imap://h/INBOX/;UID=20", True),
        ("https://example.com/", True),
        ("CID:1@example.com", True),
        (" z39.50s+x-\r\n\ty:", True),
        ("/INBOX:a/;UID=20", False),
        ("", False),
        (":", False),
        ("4imap:", False),
        ("https//example.com", False),
        (";UID=20:", False),
        ("INBOX/:", False),
        ("imap\u017f://h/", False),
    ],
)
def test_what_has_a_scheme(text: str, want: bool) -> None:
    assert has_scheme(text) is want


@pytest.mark.parametrize(
    ("url", "want"),
    [
        (NAMED, "/INBOX/;UID=20"),
        (
            ImapUrl("a b", 20, uidvalidity=1, section="1.2", host="::1", port=143, user="fréd@example.com"),
            "imap://fr%C3%A9d%40example.com@[::1]:143/a%20b;UIDVALIDITY=1/;UID=20/;SECTION=1.2",
        ),
        (ImapUrl("日本語/台北", 1, host="h"), "imap://h/%E6%97%A5%E6%9C%AC%E8%AA%9E/%E5%8F%B0%E5%8C%97/;UID=1"),
        (ImapUrl("a&b;c?#%", 1), "/a&b%3Bc%3F%23%25/;UID=1"),
        (ImapUrl("/", 1), "/%2F/;UID=1"),
        (ImapUrl("/..", 1), "/%2F%2E%2E/;UID=1"),
        (ImapUrl("../a/./.b/c../...", 1), "/%2E%2E/a/%2E/.b/c../.../;UID=1"),
    ],
)
def test_the_canonical_form(url: ImapUrl, want: str) -> None:
    assert str(url) == want
    assert parse_imap_url(want) == url


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mailbox": ""}, NO_MAILBOX),
        ({"mailbox": "a\r\nb"}, BAD_NAME),
        ({"mailbox": "a\ud800"}, BAD_NAME),
        ({"mailbox": "é" * 700}, TOO_LONG),
        ({"uid": 0}, BAD_UID),
        ({"uid": 2**32}, BAD_UID),
        ({"uidvalidity": 0}, BAD_UIDVALIDITY),
        ({"section": "1]"}, NO_SECTION),
        ({"section": "1\n"}, NO_SECTION),
        ({"host": "h", "user": "a\n"}, BAD_USER),
        ({"host": "h", "user": ""}, "no user name"),
        ({"host": "h", "port": 0}, BAD_PORT),
        ({"user": "fred"}, "no host name"),
        ({"port": 143}, "no host name"),
        ({"host": ""}, "not a host name"),
        ({"host": "h\n"}, "not a host name"),
        ({"host": "a/b"}, "not a host name"),
        ({"host": "\u017f"}, "not a host name"),
        ({"host": "fe80::1%eth0"}, "not a host name"),
        ({"host": "::x"}, "not a host name"),
        ({"host": "1:2"}, "not an IPv6 address"),
        ({"host": "H"}, "not a host name as it is compared"),
        ({"host": "::FFFF"}, "not a host name as it is compared"),
        ({"host": "::0001"}, "not a host name as it is compared"),
    ],
)
def test_no_url_can_be_made_that_could_not_be_read(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(UrlError) as refused:
        ImapUrl(**{"mailbox": "INBOX", "uid": 20, **fields})
    assert str(refused.value) == reason


NUMBERS = st.integers(1, LAST)
NAMES = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]) | st.sampled_from("/.;%&=@:+"), min_size=1, max_size=60
)
HOSTS = st.from_regex(r"[a-z0-9._-]{1,40}", fullmatch=True) | st.ip_addresses(v=6).map(str)
URLS = st.builds(
    ImapUrl,
    mailbox=NAMES,
    uid=NUMBERS,
    uidvalidity=st.none() | NUMBERS,
    section=st.lists(NUMBERS, max_size=32).map(lambda numbers: ".".join(map(str, numbers))),
) | st.builds(
    ImapUrl,
    mailbox=NAMES,
    uid=NUMBERS,
    host=HOSTS,
    port=st.none() | st.integers(1, 65535),
    user=st.none() | NAMES,
)


@given(URLS)
@example(ImapUrl("//..//./", 1, host="h"))
def test_what_is_written_is_read_as_the_same(url: ImapUrl) -> None:
    text = str(url)
    assert re.fullmatch(r"[!-~]+", text)
    assert is_imap_url(text)
    assert parse_imap_url(text) == url
    assert parse_imap_url("\r\n\t".join(text)) == url


# Pieces of URLs, good and bad, put together at random come further than random text.
PIECES = st.lists(
    st.sampled_from(["imap:", "//", "/", "a", "INBOX", ";UIDVALIDITY=", "/;UID=", "1", "20", "/;SECTION=", ".", "%00"])
    | st.sampled_from(["%0D%0A", "%C2%85", "%C3%A9", "%2F", "%", "@", ":", "[::1]", ";AUTH=*", "fred@h", "MIME", " "])
    | st.text(max_size=2),
    max_size=12,
).map("".join)


def outcome(text: str) -> ImapUrl | str:
    """Return what the text names, or why it is refused; nothing but a UrlError may come of it."""
    try:
        return parse_imap_url(text)
    except UrlError as refused:
        return str(refused)


@given(st.text() | PIECES | PIECES.map(lambda text: f"/{text}/;UID=20") | PIECES.map(lambda text: f"imap://{text}"))
def test_any_text_is_a_url_without_controls_or_is_refused_in_one_phrase(text: str) -> None:
    url = outcome(text)
    if isinstance(url, str):
        assert re.fullmatch(r"[ -+\--~]{1,80}", url)
        return
    assert is_imap_url(text)
    assert parse_imap_url(str(url)) == url
    assert not re.search(r"[\0-\x1f\x7f-\x9f]", url.mailbox + (url.user or ""))
    assert re.fullmatch(r"[0-9.]*", url.section)
    assert re.fullmatch(r"[a-z0-9._:-]*", url.host or "")


@pytest.mark.parametrize(
    "piece", ["/", "a", " ", ";", "%", "%41", "1.", "9", "/;UID=1", ";UID=", "imap:", "@", ":", "[", "/.", "\ud800"]
)
@pytest.mark.parametrize("start", ["", "/a", "imap://", "imap", "/a/;UID=1/;SECTION="])
def test_hostile_text_takes_linear_time(start: str, piece: str) -> None:
    for length in (MAX_URL - len(start), 1_000_000):
        text = start + piece * (length // len(piece))
        is_imap_url(text)
        has_scheme(text)
        outcome(text)
