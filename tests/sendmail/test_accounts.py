"""Accounts: from flags, environment and file to what is needed to send, or to all that is wrong with them."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from imapproxy.sendmail.accounts import FILE_NAME, KEYS, Account, Key, Wanted, account_of
from imapproxy.sendmail.failure import Failure
from imapproxy.values import HostPort

ONE = "server = mail.example.com:993\nuser = anna\n"
TWO = f"""\
{ONE}from = anna@example.com
password-command = pass show mail; true # all of this

[club]
from = Treasurer@club.example.org
user = treasurer

[work]
server = mail.work.example:143
tls = starttls
from = anna@work.example
password-file = /secret
"""


def account(
    directory: Path,
    text: str = ONE,
    flags: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    name: str = "",
    from_address: str | None = None,
) -> Account:
    file = directory / FILE_NAME
    file.write_text(text, encoding="utf-8")
    home = {"XDG_CONFIG_HOME": str(directory)}
    return account_of(Wanted(name, "", tuple(flags)), {**home, **(environ or {})}, from_address)


def refusal(directory: Path, text: str, flags: Sequence[str] = (), name: str = "") -> str:
    with pytest.raises(Failure) as caught:
        account(directory, text, flags, name=name)
    assert caught.value.status == os.EX_CONFIG
    return str(caught.value).replace(str(directory / FILE_NAME), "FILE")


def test_a_file_without_sections_is_one_account_and_the_rest_is_default(tmp_path: Path) -> None:
    assert account(tmp_path) == Account(
        server=HostPort("mail.example.com", 993),
        tls="on",
        tls_verify=True,
        tls_ca="",
        user="anna",
        from_="",
        set_from=False,
        password_file="",
        password_command="",
        token_command="",
        timeout=120.0,
    )


def test_all_keys(tmp_path: Path) -> None:
    text = """\
server = [::1]:143
tls = off
tls-verify = off
tls-ca = /etc/ca.pem
user = anna@example.com
from = anna@example.com
set-from = yes
token-command = token %s [a]
timeout = 5.5
"""
    assert account(tmp_path, text) == Account(
        HostPort("::1", 143),
        "off",
        False,
        "/etc/ca.pem",
        "anna@example.com",
        "anna@example.com",
        True,
        "",
        "",
        "token %s [a]",
        5.5,
    )


def test_a_command_is_all_that_stands_in_its_line(tmp_path: Path) -> None:
    assert account(tmp_path, TWO).password_command == "pass show mail; true # all of this"


def test_a_file_lies_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / FILE_NAME).write_text(ONE + "password-file = ~/secret\n", encoding="utf-8")
    assert account_of(Wanted(), {}, None).password_file == f"{tmp_path}/secret"


def test_another_file(tmp_path: Path) -> None:
    other = tmp_path / "other [1]"
    other.write_text(ONE.replace("anna", "bob"), encoding="utf-8")
    assert account_of(Wanted(file=str(other)), {}, None).user == "bob"


def test_no_file_is_needed_where_flags_and_environment_say_enough(tmp_path: Path) -> None:
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "absent"), "IMAP_SUBMIT_USER": "anna"}
    assert account_of(Wanted(flags=("--server=a.example:993",)), environ, None).server == ("a.example", 993)


def test_no_home_is_needed_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a user that the machine does not know; and a directory that happens to be called so is nobody's home."""
    (tmp_path / "~nosuchuser").mkdir()
    (tmp_path / "~nosuchuser" / FILE_NAME).write_text("user = eve\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    homeless = {"XDG_CONFIG_HOME": "~nosuchuser", "IMAP_SUBMIT_USER": "anna"}
    assert account_of(Wanted(flags=("--server=a.example:993", "--password-file=/f")), homeless, None).user == "anna"
    with pytest.raises(Failure, match=rf"^server: must be given: in ~nosuchuser/{FILE_NAME}, as --server or "):
        account_of(Wanted(), homeless, None)


def test_an_account_knows_where_each_of_its_keys_was_given(tmp_path: Path) -> None:
    text = f"{ONE}[x]\npassword-file = /f\n"
    chosen = account(tmp_path, text, ["--from=a@b"], {"IMAP_SUBMIT_TIMEOUT": "5"})
    file = tmp_path / FILE_NAME
    assert [chosen.place(key) for key in ("password-file", "user", "from", "timeout", "tls")] == [
        *(f"{file}: [x] password-file", f"{file}: user", "--from", "IMAP_SUBMIT_TIMEOUT", "tls")
    ]


# Which account ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "from_address", "user", "server", "secret"),
    [
        ("", None, "treasurer", "mail.example.com", "pass show mail; true # all of this"),  # the first
        ("", "nobody@example.net", "treasurer", "mail.example.com", "pass show mail; true # all of this"),
        ("", "treasurer@CLUB.example.org", "treasurer", "mail.example.com", "pass show mail; true # all of this"),
        ("", "anna@work.example", "anna", "mail.work.example", ""),
        ("work", None, "anna", "mail.work.example", ""),
        ("work", "treasurer@club.example.org", "anna", "mail.work.example", ""),
    ],
)
def test_the_account_is_the_named_one_else_the_one_of_the_address_else_the_first(
    name: str, from_address: str | None, user: str, server: str, secret: str, tmp_path: Path
) -> None:
    chosen = account(tmp_path, TWO, name=name, from_address=from_address)
    assert (chosen.user, chosen.server.host, chosen.password_command) == (user, server, secret)


SPELLED = f"""\
{ONE}from = shared@example.com
[one]
from = one@example.com
[two]
user = two
from = anna@exämple.de
[three]
user = three
from = Anna <anna@club.example>
[four]
user = four
from = four@club.example
[five]
user = five
"""


@pytest.mark.parametrize(
    ("from_address", "user"),
    [
        ("anna@xn--exmple-cua.de", "two"),
        ("Anna@EXÄMPLE.de", "two"),
        ("anna@club.example", "three"),
        ("<four@club.example>", "four"),
        ("Vier <four@club.example>", "four"),
        ("shared@example.com", "five"),  # which has it from the keys for all
        ("four", "anna"),
        ("", "anna"),
        ("a b", "anna"),
    ],
)
def test_an_address_chooses_its_account_however_it_is_spelled(from_address: str, user: str, tmp_path: Path) -> None:
    assert account(tmp_path, SPELLED, from_address=from_address).user == user


@pytest.mark.parametrize("text", ["anna", "@@", "a@b, c@d", "anna@club.example extra"])
def test_an_account_whose_address_is_none_is_not_passed_over(text: str, tmp_path: Path) -> None:
    """It may have been meant to be the message's."""
    file = f"{ONE}[one]\nfrom = one@example.com\n[club]\nfrom = {text}\n"
    with pytest.raises(Failure, match=r": \[club\] from: '.*' is not an address such as anna@example\.com: ") as caught:
        account(tmp_path, file, from_address="anna@club.example")
    assert caught.value.status == os.EX_CONFIG
    assert account(tmp_path, file, name="one", from_address="anna@club.example").from_ == "one@example.com"


def test_keys_before_the_first_section_are_for_all_and_a_section_goes_before_them(tmp_path: Path) -> None:
    work = account(tmp_path, TWO, name="work")
    assert (work.user, work.tls, work.from_) == ("anna", "starttls", "anna@work.example")


def test_an_empty_value_takes_back_what_is_for_all(tmp_path: Path) -> None:
    assert account(tmp_path, f"{ONE}from = a@example.com\ntimeout = 5\n[x]\nfrom =\n", name="x").from_ == ""


# What has precedence ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "environ", "text", "user"),
    [
        (["--user=f"], {"IMAP_SUBMIT_USER": "e"}, f"{ONE}[x]\nuser = s\n", "f"),
        ([], {"IMAP_SUBMIT_USER": "e"}, f"{ONE}[x]\nuser = s\n", "e"),
        ([], {"IMAP_SUBMIT_USER": ""}, f"{ONE}[x]\nuser = s\n", "s"),
        ([], {}, f"{ONE}[x]\nfrom = s@example.com\n", "anna"),
    ],
)
def test_a_flag_then_the_environment_then_the_section_then_what_is_for_all(
    flags: list[str], environ: dict[str, str], text: str, user: str, tmp_path: Path
) -> None:
    assert account(tmp_path, text, flags, environ).user == user


@pytest.mark.parametrize("key", KEYS, ids=[key.name for key in KEYS])
def test_an_empty_flag_takes_back_what_is_given_elsewhere(key: Key, tmp_path: Path) -> None:
    """What counts then is the default: an empty text means neither no TLS nor TLS with anybody."""
    others = {"server": "b.example:1", "user": "bob"}
    flags = [f"--{name}={text}" for name, text in others.items() if name != key.name]
    texts = {"tls": "off", "tls-verify": "off", "tls-ca": "/ca", "from": "b@c", "set-from": "off", "timeout": "7"}
    given = f"{key.name} = {texts.get(key.name, '/x')}\n"
    if key.name in others:
        assert refusal(tmp_path, ONE, [*flags, f"--{key.name}="]).startswith(f"{key.name}: must be given")
    else:
        assert account(tmp_path, given, [*flags, f"--{key.name}="]) == account(tmp_path, "", flags)


@pytest.mark.parametrize(
    ("flags", "environ"),
    [
        (["--token-command=t"], {"IMAP_SUBMIT_PASSWORD_FILE": "/f"}),
        ([], {"IMAP_SUBMIT_TOKEN_COMMAND": "t"}),
    ],
)
def test_who_names_a_secret_names_the_only_one(flags: list[str], environ: dict[str, str], tmp_path: Path) -> None:
    """Whatever the key: a password of the file's does not stand beside a token of the command line's."""
    chosen = account(tmp_path, f"{ONE}password-command = c\n[x]\npassword-file = /s\n", flags, environ)
    assert (chosen.token_command, chosen.password_command, chosen.password_file) == ("t", "", "")


@pytest.mark.parametrize("key", KEYS, ids=[key.name for key in KEYS])
def test_every_key_is_a_flag_and_a_variable(key: Key, tmp_path: Path) -> None:
    name = key.name
    variable = f"IMAP_SUBMIT_{name.upper().replace('-', '_')}"
    switched = {"tls": "off", "tls-verify": "off", "set-from": "on"}
    text = {**switched, "server": "b.example:1", "timeout": "7", "from": "b@c"}.get(name, "/x")
    file = f"{ONE}from = anna@example.com\n"
    assert account(tmp_path, file, [f"--{name}={text}"]) == account(tmp_path, file, environ={variable: text})
    assert account(tmp_path, file, [f"--{name}={text}"]) != account(tmp_path, file)


# What is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "flags", "name", "want"),
    [
        (f"{ONE}colour = red\n", [], "", "FILE: colour: no such key"),
        (f"{ONE}[x]\nusr = red\n", [], "", "FILE: [x] usr: no such key; is user meant?"),
        (f"{ONE}[x]\nuser = b\n[y]\ntls = no\n", [], "y", "FILE: [y] tls: 'no' is not one of on, starttls, off"),
        (f"{ONE}tls = no\n[x]\n", [], "", "FILE: tls: 'no' is not one of on, starttls, off"),
        (ONE, ["--tls=no"], "", "--tls: 'no' is not one of on, starttls, off"),
        (
            f"{ONE}[x]\nfrom = anna\n",
            [],
            "x",
            "FILE: [x] from: 'anna' is not an address such as anna@example.com: address without a domain",
        ),
        (
            f"{ONE}from = a@b, c@d\n",
            [],
            "",
            "FILE: from: 'a@b, c@d' is not an address such as anna@example.com: not one address",
        ),
        (f"{ONE}[x]\nset-from = on\n", [], "x", "FILE: [x] set-from: needs the account's own address (from)"),
        (f"{ONE}from = a@b\n", ["--set-from=on", "--from="], "", "--set-from: needs the account's own address (from)"),
        (
            f"{ONE}[x]\npassword-file = ~nosuchuser/x\n",
            [],
            "x",
            "FILE: [x] password-file: '~nosuchuser/x': this machine does not know where that home is",
        ),
        (
            ONE,
            ["--tls-ca=~nosuchuser/x"],
            "",
            "--tls-ca: '~nosuchuser/x': this machine does not know where that home is",
        ),
        (f"{ONE}from = a\n b\n", [], "", "FILE: from: takes one line, not 'a\\nb'"),
        (f"{ONE}user = b\n", [], "", "FILE: line 3: user: is given twice"),
        (f"{ONE}password\n", [], "", "FILE: line 3: 'password\\n' is neither 'key = value' nor a [section]"),
        (f"{ONE}[work]\n", [], "wrk", "FILE: there is no account [wrk]; is [work] meant?"),
        (
            f"{ONE}password-file = /f\npassword-command = c\n",
            [],
            "",
            "FILE: password-file and FILE: password-command: only one of password-file, password-command, "
            "token-command can be given",
        ),
        (
            "tls = on\n",
            [],
            "",
            "server: must be given: in FILE, as --server or as IMAP_SUBMIT_SERVER\n"
            "user: must be given: in FILE, as --user or as IMAP_SUBMIT_USER",
        ),
    ],
)
def test_what_cannot_be_used_is_said_by_file_section_and_key(
    text: str, flags: list[str], name: str, want: str, tmp_path: Path
) -> None:
    assert refusal(tmp_path, text, flags, name) == want


def test_a_variable_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"^IMAP_SUBMIT_TIMEOUT: 'soon' is not a number of seconds"):
        account(tmp_path, environ={"IMAP_SUBMIT_TIMEOUT": "soon"})


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"^there is no file {tmp_path}/x$") as caught:
        account_of(Wanted(file=f"{tmp_path}/x"), {}, None)
    assert caught.value.status == os.EX_CONFIG


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=f"^cannot read {tmp_path}: Is a directory$"):
        account_of(Wanted(file=str(tmp_path)), {}, None)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    file = tmp_path / "latin"
    file.write_bytes(b"user = J\xf6rg\n")
    with pytest.raises(Failure, match=r"latin: it is not UTF-8 text$"):
        account_of(Wanted(file=str(file)), {}, None)


def test_an_account_in_no_file(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=rf"^{tmp_path}/{FILE_NAME}: there is no account \[work\]$"):
        account_of(Wanted("work"), {"XDG_CONFIG_HOME": str(tmp_path)}, None)


EXAMPLE = (Path(__file__).resolve().parents[2] / "etc" / FILE_NAME).read_text(encoding="utf-8")


def test_the_example_has_every_key_and_says_nothing() -> None:
    assert re.findall(r"(?m)^(?!#|$).*", EXAMPLE) == []
    assert {key.name for key in KEYS} <= set(re.findall(r"(?m)^#([a-z-]+) =", EXAMPLE))


def test_the_example_has_each_key_at_its_default() -> None:
    settings = dict(re.findall(r"(?m)^#([a-z-]+) = (.*)$", EXAMPLE))
    assert {key.name: settings[key.name] for key in KEYS if key.default} == {
        key.name: key.default for key in KEYS if key.default
    }


def test_the_example_uncommented_has_two_accounts(tmp_path: Path) -> None:
    """Of its three ways to a secret, one is left."""
    text = re.sub(r"(?m)^#([a-z-]+ =|\[)", r"\1", EXAMPLE)
    text = re.sub(r"(?m)^(password-file|token-command) = .*", "", text)
    assert account(tmp_path, text).password_command == "pass show private"
    assert account(tmp_path, text, name="club").server == ("mail.example.com", 993)


def test_no_key_takes_a_secret() -> None:
    """Which others on this machine could read in the list of processes."""
    assert {key.name for key in KEYS if "password" in key.name or "token" in key.name} == {
        "password-file",
        "password-command",
        "token-command",
    }
