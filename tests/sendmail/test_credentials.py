"""Where the secret comes from: a file, a command, the keyring, the terminal; and what is said where it does not."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from imapproxy.protocol.login import Credentials
from imapproxy.sendmail.accounts import Account
from imapproxy.sendmail.credentials import MAX_SECRET, credentials_of, exposure
from imapproxy.sendmail.failure import Failure
from imapproxy.values import HostPort
from tests.functional.home import seen_at

ROOT = Path(__file__).resolve().parents[2]

ACCOUNT = Account(
    server=HostPort("mail.example.com", 993),
    tls="on",
    tls_verify=True,
    tls_ca="",
    user="fred",
    from_="",
    set_from=False,
    password_file="",
    password_command="",
    token_command="",
    timeout=60,
)

# Of a command that does end, on a machine with much to do.
PATIENCE = 30.0

NO_KEYRING = "raise ImportError"
KEYRING = """
from keyring.errors import KeyringError

PASSWORDS = {("imap-submit", "fred@mail.example.com"): "from the keyring"}

def get_password(service, name):
    if name.startswith("locked"):
        raise KeyringError("locked")
    return PASSWORDS.get((service, name))
"""


@pytest.fixture(autouse=True)
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library keyring, as if it was not installed; a test may write another one."""
    package = tmp_path / "libraries" / "keyring"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(NO_KEYRING)
    (package / "errors.py").write_text("class KeyringError(Exception): ...")
    for name in ("keyring", "keyring.errors"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(package.parent)
    return package / "__init__.py"


def nobody(prompt: str) -> str:
    raise AssertionError(prompt)


def secret_of(account: Account) -> str:
    return credentials_of(account, nobody, PATIENCE).secret


def failure_of(account: Account, timeout: float = PATIENCE) -> tuple[int, str]:
    with pytest.raises(Failure) as caught:
        credentials_of(account, nobody, timeout)
    assert str(caught.value).isprintable()
    return caught.value.status, str(caught.value)


def with_file(path: Path, octets: bytes) -> Account:
    path.write_bytes(octets)
    return replace(ACCOUNT, password_file=str(path))


def with_command(command: str) -> Account:
    return replace(ACCOUNT, password_command=command)


# --- a file ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("octets", "want"),
    [
        (b"pencil\n", "pencil"),
        (b"pencil", "pencil"),
        (b"pencil\r\n", "pencil"),
        (b"pencil\nuser: fred\n\x00", "pencil"),
        (b" pen cil \n", " pen cil "),
        ("Bleistift für €5\n".encode(), "Bleistift für €5"),
        (b"p\xe4\n", "p\udce4"),
        (b"x" * (MAX_SECRET - 1) + b"\n", "x" * (MAX_SECRET - 1)),
    ],
)
def test_the_first_line_of_a_file_is_the_password(tmp_path: Path, octets: bytes, want: str) -> None:
    assert credentials_of(with_file(tmp_path / "password", octets), nobody) == Credentials(
        "fred", "fred", want, "PLAIN"
    )


@pytest.mark.parametrize(
    "octets", [b"", b"\n", b"\r\n", b"\npencil\n", b"pen\0cil\n", b"pen\rcil\n", b"pen\tcil", b"x" * MAX_SECRET]
)
def test_a_file_whose_first_line_can_be_no_password(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "password"
    status, text = failure_of(with_file(path, octets))
    assert (status, text) == (os.EX_CONFIG, f"password-file: the first line of {path} must be the password")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    account = replace(ACCOUNT, password_file=f"{tmp_path}/none")
    want = f"password-file: cannot read {tmp_path}/none: No such file or directory"
    assert failure_of(account) == (os.EX_CONFIG, want)


def test_where_the_file_is_named_is_said(tmp_path: Path) -> None:
    places = {"password-file": "FILE: [club] password-file"}
    account = replace(ACCOUNT, password_file=f"{tmp_path}/none", places=places)
    assert failure_of(account)[1].startswith(f"FILE: [club] password-file: cannot read {tmp_path}/none: ")
    account = replace(with_file(tmp_path / "password", b"\n"), places=places)
    assert failure_of(account)[1].startswith("FILE: [club] password-file: the first line of ")


def test_a_file_without_an_end_is_not_read_to_it() -> None:
    assert failure_of(replace(ACCOUNT, password_file="/dev/zero"))[0] == os.EX_CONFIG


def test_a_password_file_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "password"
    account = with_file(path, b"pencil\n")
    path.chmod(0o644)
    assert exposure(account) == f"password-file: {path} can be read by everybody; chmod o-r is advised"
    path.chmod(0o640)
    assert exposure(account) is None


def test_nothing_is_told_of_no_file(tmp_path: Path) -> None:
    assert exposure(ACCOUNT) is None
    assert exposure(replace(ACCOUNT, password_file=f"{tmp_path}/none")) is None


# --- a command ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "want"),
    [
        ("echo pencil", "pencil"),
        ("printf 'pencil\\nuser: fred\\n'", "pencil"),
        ("echo none >&2; echo pencil | tr p P", "Pencil"),
        ('test "$(cat)" = "" && echo pencil', "pencil"),
        ("head -c 300000 /dev/zero | tr '\\0' x >&2; echo pencil", "pencil"),
        ("exec 2>&-; sleep 0.1; echo pencil", "pencil"),
    ],
)
def test_the_first_line_that_a_command_prints_is_the_password(command: str, want: str) -> None:
    assert credentials_of(with_command(command), nobody) == Credentials("fred", "fred", want, "PLAIN")


def test_whom_a_command_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    """An agent that it has started may have the pipe as long as it lives."""
    agent = tmp_path / "agent"
    assert secret_of(with_command(f"sleep 600 & echo $! >{agent}; echo pencil")) == "pencil"
    os.kill(int(agent.read_text()), signal.SIGTERM)


def test_nor_is_it_waited_for_where_nothing_is_printed(tmp_path: Path) -> None:
    agent = tmp_path / "agent"
    status, _ = failure_of(with_command(f"sleep 600 & echo $! >{agent}"))
    assert status == os.EX_NOPERM
    os.kill(int(agent.read_text()), signal.SIGTERM)


def test_a_token_is_for_oauth() -> None:
    account = replace(ACCOUNT, token_command="echo ya29.token")
    assert credentials_of(account, nobody) == Credentials("fred", "fred", "ya29.token", "OAUTHBEARER")


@pytest.mark.parametrize(
    ("command", "want"),
    [
        ("true", "password-command: the first line that it prints must be the password"),
        ("printf 'a\\tb\\n'", "password-command: the first line that it prints must be the password"),
        ("echo pencil; exit 3", "password-command: it failed (status 3)"),
        ("echo no key >&2; exit 2", "password-command: it failed (no key)"),
        ("echo no >&2; sleep 0.2; echo key >&2; exit 2", "password-command: it failed (no key)"),
        ("echo no key >&2; head -c 300000 /dev/zero >&2; exit 2", "password-command: it failed (no key "),
        ("printf '\\033[31mno\\nkey\\377' >&2; exit 2", "password-command: it failed (\ufffd[31mno key\ufffd)"),
        ("kill -9 $$", "password-command: it failed (status -9)"),
        (f"head -c {MAX_SECRET} /dev/zero | tr '\\0' x", "password-command: the first line that it prints must be the"),
    ],
)
def test_a_command_that_does_not_say_the_password(command: str, want: str) -> None:
    status, text = failure_of(with_command(command))
    assert status == os.EX_NOPERM
    assert text.startswith(want)


def test_a_complaint_is_shortened() -> None:
    _, text = failure_of(with_command("head -c 50000 /dev/zero | tr '\\0' x >&2; false"))
    assert text.startswith("password-command: it failed (xxx")
    assert len(text) < 250


def test_the_key_of_a_token_is_named() -> None:
    account = replace(ACCOUNT, token_command="true")
    assert failure_of(account) == (os.EX_NOPERM, "token-command: the first line that it prints must be the token")


@pytest.mark.parametrize("command", ["exec sleep 600", "exec cat /dev/zero", "exec cat /dev/zero >&2"])
def test_a_command_that_does_not_end_is_ended(command: str) -> None:
    assert failure_of(with_command(command), timeout=0.1) == (
        os.EX_NOPERM,
        "password-command: it did not end within 0.1 seconds",
    )


# --- the keyring and the person ----------------------------------------------------------------------------------


def test_the_keyring_is_asked_where_no_key_says_the_password(keyring: Path) -> None:
    keyring.write_text(KEYRING)
    assert secret_of(ACCOUNT) == "from the keyring"


def test_a_key_has_precedence_over_the_keyring(keyring: Path) -> None:
    keyring.write_text(KEYRING)
    assert secret_of(with_command("echo from the command")) == "from the command"


@pytest.mark.parametrize("user", ["anna", "locked"])
def test_the_person_is_asked_what_the_keyring_does_not_say(keyring: Path, user: str) -> None:
    keyring.write_text(KEYRING)
    prompts = []

    def person(prompt: str) -> str:
        prompts.append(prompt)
        return "typed"

    account = replace(ACCOUNT, user=user)
    assert credentials_of(account, person) == Credentials(user, user, "typed", "PLAIN")
    assert prompts == [f"Password of {user} at mail.example.com: "]


def test_the_person_is_asked_where_there_is_no_keyring() -> None:
    assert credentials_of(ACCOUNT, lambda prompt: prompt[:8]).secret == "Password"


ASKING = """
import sys
from imapproxy.sendmail.credentials import ask_at_terminal
from imapproxy.sendmail.failure import Failure
try:
    print("heard", ask_at_terminal("Who goes there? ").upper())
except Failure as failure:
    print(failure)
    sys.exit(failure.status)
"""


def answer_typed(keys: bytes, environment: Mapping[str, str] | None = None) -> tuple[int, str]:
    """The status of a process that asks at a terminal, where these keys are typed, and all that is seen there."""
    screen, terminal = pty.openpty()
    with subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-c", ASKING],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    ) as process:
        os.close(terminal)
        seen = b""
        while b"there? " not in seen:
            seen += seen_at(screen)
        os.write(screen, keys)
        # Linux says EIO when the last process that had the terminal is gone.
        with suppress(OSError):
            while octets := seen_at(screen):
                seen += octets
        os.close(screen)
        return process.wait(PATIENCE), seen.decode().replace("\r\n", "\n")


def test_what_is_typed_at_the_terminal_is_not_seen() -> None:
    assert answer_typed(b"pencil\n") == (0, "Who goes there? \nheard PENCIL\n")


def test_a_terminal_that_is_closed_says_no_password() -> None:
    assert answer_typed(b"\x04") == (os.EX_NOPERM, "Who goes there? no password was typed\n")


@pytest.mark.parametrize(
    ("environment", "keys", "encoding"),
    [
        ({"LC_ALL": "C.UTF-8"}, "Jörg".encode("latin-1"), "utf-8"),
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, "Jörg".encode(), "ascii"),
    ],
)
def test_a_terminal_of_another_encoding_is_said(environment: dict[str, str], keys: bytes, encoding: str) -> None:
    status, seen = answer_typed(keys + b"\n", environment)
    assert (status, seen.partition(": LANG")[0]) == (
        os.EX_NOPERM,
        f"Who goes there? what was typed cannot be read as {encoding}",
    )


def test_standard_input_is_no_terminal_but_the_message() -> None:
    ran = subprocess.run(
        ["setsid", "--wait", sys.executable, "-c", ASKING],
        input="From: fred\n",
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=PATIENCE,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (os.EX_NOPERM, "")
    assert ran.stdout == "no password, and no terminal to ask for it at; give the account a password-command\n"
