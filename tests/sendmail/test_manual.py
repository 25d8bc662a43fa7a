"""The manual page of imap-submit, which says all that the program takes, and what its exit status means."""

import os
import re
from pathlib import Path

import pytest

from imapproxy.protocol.submit_answer import read_refusal
from imapproxy.sendmail import accounts
from imapproxy.sendmail.accounts import KEYS, Key, Wanted, account_of
from imapproxy.sendmail.command_line import parse_command_line
from imapproxy.values import HostPort

SOURCES = Path(accounts.__file__).parent
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "man" / "imap-submit.1").read_text("utf-8").replace(r"\-", "-")


def section(heading: str) -> str:
    """Return the page's text below a heading, without its fonts."""
    text = re.split(rf'^\.SH "?{heading}"?$', PAGE, flags=re.MULTILINE)[1].partition("\n.SH ")[0]
    return re.sub(r"^\.(?:B|BI|BR|IR|RB) |\\f[BIRP]", "", text, flags=re.MULTILINE)


def test_every_option_that_help_names_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_command_line(["--help"])
    flags = set(re.findall(r"(?m)^  (-[a-zA-Z]|--[a-z-]+)\b", capsys.readouterr().out))
    keys = {f"--{key.name}" for key in KEYS}
    assert {flag for flag in flags - keys if f"{flag} " not in section("OPTIONS").replace("\n", " ")} == set()


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
def test_every_key_is_described_with_its_default(key: Key) -> None:
    described = re.search(rf"(?m)^{key.name} [^.]*?\n((?:.*\n)*?)(?=\.TP|\.P)", section("ACCOUNTS"))
    assert described
    if key.default:
        assert f"Default: {key.default}." in described[1]


@pytest.mark.parametrize(
    ("number", "from_address", "user"),
    [
        (0, None, "anna"),
        (1, None, "anna"),
        (1, "Anna@example.com", "anna"),
        (1, "treasurer@CLUB.example.org", "treasurer"),
    ],
)
def test_the_examples_have_the_accounts_that_they_mean(
    tmp_path: Path, number: int, from_address: str | None, user: str
) -> None:
    examples = re.findall(r"(?ms)^\.EX\n(.*?)^\.EE$", section("ACCOUNTS"))
    file = tmp_path / "imap-submit.conf"
    file.write_text(examples[number], encoding="utf-8")
    account = account_of(Wanted(file=str(file)), {}, from_address)
    assert account.server == HostPort("mail.example.com", 993)
    assert account.user == user


def test_every_exit_status_is_described() -> None:
    """Whichever module ends with it."""
    described = dict(re.findall(r"(?m)^(\d+) \" \((EX_[A-Z]+)\)\"$", section("EXIT STATUS")))
    assert described
    assert {name: int(number) for number, name in described.items()} == {
        name: getattr(os, name) for name in described.values()
    }
    sources = "".join(path.read_text(encoding="utf-8") for path in SOURCES.glob("*.py"))
    assert set(re.findall(r"\bEX_[A-Z]+\b", sources)) == set(described.values())


def test_the_words_for_a_message_that_may_have_been_sent_are_those_of_the_program_and_the_proxy() -> None:
    assert re.findall(r"(?s)may have been\s+sent", section("EXIT STATUS"))
    assert "may have been sent" in (SOURCES / "connection.py").read_text(encoding="utf-8")
    assert read_refusal(b"4.4.2 delivery uncertain,").is_uncertain
    assert re.search(r"delivery\s+is\s+uncertain", section("EXIT STATUS"))
