from dataclasses import replace

import pytest

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import parse_address
from imapproxy.message.envelope import first_resent_block, recipients_of, user_of
from imapproxy.message.fields import Field, read_draft_header
from imapproxy.message.site import Site
from tests.message.samples import SITE, draft


def fields(text: str) -> tuple[Field, ...]:
    return read_draft_header(draft(text)).fields


def refusal(text: str, site: Site = SITE) -> str:
    with pytest.raises(SubmissionRefused) as caught:
        recipients_of(fields(text), site)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("fred", "fred@example.com"),
        ("Fred", "Fred@example.com"),
        ("joe@example.org", "joe@example.org"),
        ("joe@EXAMPLE.ORG", "joe@EXAMPLE.ORG"),
        ("fred b", '"fred b"@example.com'),
        ("a@b@example.com", '"a@b"@example.com'),
        ("josé", "josé@example.com"),
        ("guest@foreign.net", "guest@foreign.net"),
    ],
)
def test_the_user_sends_in_his_own_name(name: str, address: str) -> None:
    site = replace(SITE, identities={"guest@foreign.net": ()})
    assert user_of(name, site).address.smtp == address


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("joe@foreign.net", "5.7.1 your login name is in no domain of this site"),
        ("fred@foreign.net", "5.7.1 your login name is in no domain of this site"),
        ("joe@example.com.foreign.net", "5.7.1 your login name is in no domain of this site"),
        ("fred\r\nRCPT TO:<x@y>", "5.7.1 your login name makes no mail address"),
        ("<fred>", "5.7.1 your login name makes no mail address"),
        ("fred@", "5.7.1 your login name makes no mail address"),
        ("f" * 65, "5.7.1 your login name makes no mail address"),
    ],
)
def test_a_strangers_name_is_refused(name: str, want: str) -> None:
    with pytest.raises(SubmissionRefused) as caught:
        user_of(name, SITE)
    assert caught.value.text == want


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("fred", "fred"),
        ("fred", "FRED"),
        ("fred", "fred@example.com"),
        ("fred@example.com", "fred"),
        ("fred@example.com", "Fred@Example.com"),
        ("fred@example.org", "fred@example.org"),
    ],
)
def test_identities_are_found_under_each_spelling_of_the_user(key: str, name: str) -> None:
    user = user_of(name, replace(SITE, identities={key: ("Sales@example.com", "info", "a@ö.net")}))
    for own in (name.lower(), "sales@EXAMPLE.com", "info@example.com", "a@xn--nda.net"):
        assert user.owns([parse_address(own, "example.com")])
    assert not user.owns([])
    assert not user.owns([user.address, parse_address("x@example.com", "")])


def test_a_name_whose_domain_was_stripped_at_login_is_known_by_the_address_it_made() -> None:
    site = replace(SITE, identities={"fred": ("sales@example.com", "Fred@foreign.net"), "joe": ("fred@other.net",)})
    user = user_of("fred@foreign.net", site)
    assert user.address.smtp == "fred@foreign.net"
    assert not user.owns([parse_address("sales@example.com", "")])
    with pytest.raises(SubmissionRefused):
        user_of("fred@other.net", site)


@pytest.mark.parametrize("name", ["fred", "fred@example.org"])
def test_identities_of_another_are_not_the_users(name: str) -> None:
    user = user_of(name, replace(SITE, identities={"joe": ("a@b",), "fred@example.net": ("a@b",)}))
    assert not user.owns([parse_address("a@b", "")])


@pytest.mark.parametrize("broken", [{"identities": {"fred": ("a@b, c@d",)}}, {"mail_domains": ("example.com", "a b")}])
def test_a_configuration_that_cannot_be_used_sends_nothing(broken: dict[str, object]) -> None:
    site = replace(SITE, **broken)  # type: ignore[arg-type]
    with pytest.raises(SubmissionRefused, match=r"^5\.3\.5 "):
        user_of("fred", site)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("To: a@b\nCc: c@d\nBcc: e@f\n", ["a@b", "c@d", "e@f"]),
        ("Bcc: e@f\nX-To: x@y\nTO : a@b\n", ["e@f", "a@b"]),
        ("To: a@b, A@B, mooch\nTo: mooch@example.com, c@d\n", ["a@b", "mooch@example.com", "c@d"]),
        ("To: G: a@b, C <c@d>;,\n e@f\n", ["a@b", "c@d", "e@f"]),
        ("To: é@ö.de\n", ["é@xn--nda.de"]),
        ("To: a@b\nResent-To: c@d\n", ["c@d"]),
        ("Resent-To: a@b\nResent-Cc: c@d\nResent-Bcc: e@f\nTo: x@y\n", ["a@b", "c@d", "e@f"]),
        ("Resent-From: x@y\nResent-To: a@b\nResent-From: x@y\nResent-To: c@d\n", ["a@b"]),
        ("Resent-To: a@b\nX: y\nResent-Cc: c@d\n", ["a@b"]),
    ],
)
def test_recipients(text: str, want: list[str]) -> None:
    assert [recipient.smtp for recipient in recipients_of(fields(text), SITE)] == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("Subject: x\n", "5.1.3 no recipients"),
        ("To: undisclosed-recipients:;\nCc:\n", "5.1.3 no recipients"),
        ("Resent-From: a@b\nX: y\nResent-To: c@d\nTo: e@f\n", "5.1.3 no recipients"),
        ("To: a@b\nCC: Fred Foobar\n", "5.1.3 CC cannot be read"),
        ("Resent-To: a@\nTo: a@b\n", "5.1.3 Resent-To cannot be read"),
        ("To: a, b, c\nCc: d, e, f\n", "5.5.3 too many recipients"),
    ],
)
def test_recipients_that_are_refused(text: str, want: str) -> None:
    assert refusal(text) == want


def test_duplicates_do_not_count() -> None:
    assert len(recipients_of(fields("To: a, b, c, A, B, C, d, e\n"), SITE)) == 5


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("To: a\n", None),
        ("Received: x\nResent-From: a\nResent-To: b\nTo: c\n", range(1, 3)),
        ("Resent-From: a\nResent-To: b\nRESENT-FROM: a\nResent-To: b\n", range(2)),
        ("To: a\nResent-To: b\n", range(1, 2)),
    ],
)
def test_the_newest_block_of_resent_fields(text: str, want: range | None) -> None:
    assert first_resent_block(fields(text)) == want
