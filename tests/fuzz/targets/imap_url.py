"""An IMAP URL: read as a slow reader reads it, or refused in one printable phrase."""

import dataclasses
from contextlib import suppress

from imapproxy.message.imap_url import MAX_URL, ImapUrl, UrlError, is_imap_url, parse_imap_url
from tests.fuzz.reference.url import Url, read_url


def check(octets: bytes) -> None:
    """Read text that came in a draft: UTF-8, and octets that are none as surrogates."""
    text = octets.decode("utf-8", "surrogateescape")
    expected = read_url(text)
    try:
        url = parse_imap_url(text)
    except UrlError as refusal:
        _check_refusal(str(refusal), expected)
        return
    assert expected is not None, url
    assert dataclasses.astuple(url) == dataclasses.astuple(expected)
    assert is_imap_url(text)
    _check_canonical_form(url)


def work(octets: bytes, _packet: int) -> None:
    """Read text that came in a draft."""
    text = octets.decode("utf-8", "surrogateescape")
    is_imap_url(text)
    with suppress(UrlError):
        str(parse_imap_url(text))


def _check_refusal(reason: str, expected: Url | None) -> None:
    assert reason.isprintable()
    assert reason.isascii()
    assert "," not in reason
    # What can be read may be too long when it is written: each octet of it as three characters.
    assert expected is None or reason.startswith("longer than"), (reason, expected)


def _check_canonical_form(url: ImapUrl) -> None:
    text = str(url)
    assert len(text) <= MAX_URL
    assert all("!" <= char <= "~" for char in text)
    assert parse_imap_url(text) == url
