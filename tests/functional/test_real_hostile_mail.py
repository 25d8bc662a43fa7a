"""A message that an attacker placed in the mailbox cannot change the structure of one that includes it.

Each attack is looked at as recipients do: by a careless splitter of lines, by Python's parser, by Dovecot's.
"""

import re
from collections.abc import Iterator

import pytest

from tests.functional.attacks import BODIES, CLOSE, DELIMITER, FORGED, HEADERS, as_part, mended
from tests.functional.delivered import Seen, parsed, seen
from tests.functional.dovecot import Dovecot
from tests.functional.drafts import AFTER, BEFORE, ENVELOPE, EPILOGUE, PREAMBLE, forward
from tests.functional.forwarding import Correspondent, correspondent
from tests.functional.postfix import Postfix
from tests.functional.proxy_process import Proxy, running_proxy


@pytest.fixture(scope="module")
def proxy(dovecot: Dovecot, postfix: Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with running_proxy(tmp_path_factory.mktemp("hostile"), dovecot.port, postfix.port) as running:
        yield running


@pytest.fixture
def fred(dovecot: Dovecot, postfix: Postfix, proxy: Proxy) -> Iterator[Correspondent]:
    with correspondent(dovecot, postfix, proxy) as user:
        yield user


def assert_structure(fred: Correspondent, content: bytes) -> Seen:
    """Check that there are three parts, whoever looks, the client's own two as they were; return the second."""
    before, included, after = seen(content).parts
    assert (before, after) == (seen(BEFORE), seen(AFTER))
    assert seen(content).around == (PREAMBLE, EPILOGUE)
    assert list(seen(content).fields) == ["date", "to", "message-id", "mime-version", "content-type", "from"]
    assert_structure_for_python(content)
    assert_structure_for_dovecot(fred, content)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    return included


def assert_structure_for_python(content: bytes) -> None:
    before, _, after = parsed(content).iter_parts()
    assert [part.get_content().splitlines() for part in (before, after)] == [
        ["See what is attached."],
        ["That was it."],
    ]


def assert_structure_for_dovecot(fred: Correspondent, content: bytes) -> None:
    fred.direct.create("Looked-at")
    uid = fred.store(content, "Looked-at")
    fred.direct.select("Looked-at")
    _, data = fred.direct.uid("FETCH", str(uid), "(BODY.PEEK[1] BODY.PEEK[3] BODY.PEEK[4])")
    told = [item[1] for item in data if isinstance(item, tuple)]
    assert told[:2] == [seen(BEFORE).body, seen(AFTER).body]
    assert not any(told[2:])


def assert_harmless(fred: Correspondent, whole: bytes) -> Seen | None:
    """Submit; check the structure of what joe gets, or that he gets nothing; and that nobody else gets anything."""
    answer = fred.client.submit(whole)
    included = None
    if answer == "OK SUBMIT completed":
        included = assert_structure(fred, fred.arrival())
    else:
        assert re.fullmatch(r"NO 5\.6\.\d [ -+\--~]+,", answer), answer
    assert fred.send(ENVELOPE + b"\r\nnext\r\n").endswith(b"\r\n\r\nnext\r\n")
    return included


@pytest.mark.parametrize("name", BODIES)
def test_body_of_a_whole_message(fred: Correspondent, name: str) -> None:
    message = ENVELOPE + b"Content-Type: text/plain; charset=latin1\r\n\r\n" + BODIES[name]
    uid = fred.store(message)
    included = assert_harmless(fred, forward(f"/INBOX/;UID={uid}"))
    assert included is not None
    assert included.fields["content-type"] == "message/rfc822"
    assert included.body.removesuffix(b"\r\n") == mended(message).removesuffix(b"\r\n")


@pytest.mark.parametrize("name", BODIES)
def test_body_of_a_part(fred: Correspondent, name: str) -> None:
    uid = fred.store(as_part(b"Content-Type: text/plain; charset=latin1\r\n", BODIES[name]))
    included = assert_harmless(fred, forward(f"/INBOX/;UID={uid}/;SECTION=1"))
    assert included is not None
    assert included.fields["content-type"] == "text/plain; charset=latin1"
    assert included.body.removesuffix(b"\r\n") == mended(BODIES[name]).removesuffix(b"\r\n")


@pytest.mark.parametrize("name", HEADERS)
def test_header_of_a_part(fred: Correspondent, name: str) -> None:
    body = b"text\r\n" + DELIMITER + b"\r\n" + FORGED + CLOSE + b"\r\n"
    uid = fred.store(as_part(HEADERS[name], body))
    included = assert_harmless(fred, forward(f"/INBOX/;UID={uid}/;SECTION=1"))
    if included is not None:
        assert all(re.match(rb"content-|[ \t]", line, re.IGNORECASE) for line in included.header.splitlines())
