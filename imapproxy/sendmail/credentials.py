"""What proves to the server who the user is: from a file, a command, the keyring, or who sits at the terminal.

No secret is shown, and none is taken from the command line or the environment, which others on the machine can read.
"""

import getpass
import importlib
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from os import EX_CONFIG, EX_NOPERM
from pathlib import Path
from time import monotonic
from typing import IO

from imapproxy.protocol.login import ENCODING_ERRORS, Credentials
from imapproxy.sendmail.accounts import Account
from imapproxy.sendmail.failure import Failure
from imapproxy.sendmail.header_text import shown
from imapproxy.values import CONTROL

# Octets of a secret with its line end: access tokens are the long ones, up to some thousand.
MAX_SECRET = 16 * 1024

# Octets of what a command complains of.
MAX_COMPLAINT = 4 * 1024

# Seconds for a command, in which a person may have to type a passphrase.
COMMAND_TIMEOUT = 120.0

# By this name the keyring knows the program: `keyring set imap-submit USER@HOST`.
KEYRING_SERVICE = "imap-submit"

# Octets that a pipe holds, and a read may bring.
_PIPE = 64 * 1024

# Seconds between two looks at what a command complains of, which may be more than its pipe holds.
_GLANCE = 0.05

_TERMINAL = "/dev/tty"


def credentials_of(
    account: Account, ask: Callable[[str], str], command_timeout: float = COMMAND_TIMEOUT
) -> Credentials:
    """Return what the account's user logs in with; ``ask`` shows a prompt and returns what the person types.

    ``command_timeout`` is in seconds. Failure: EX_CONFIG where the file is not as it should be, EX_NOPERM where nobody
    says the secret.
    """
    if account.token_command:
        token = _first_line_of_command("token-command", account.token_command, command_timeout)
        return Credentials(account.user, account.user, token, "OAUTHBEARER")
    return Credentials(account.user, account.user, _password(account, ask, command_timeout), "PLAIN")


def exposure(account: Account) -> str | None:
    """Return what is to be said of a password file that everybody on this machine can read, None of another."""
    if not account.password_file:
        return None
    try:
        mode = Path(account.password_file).stat().st_mode
    except OSError:
        return None  # credentials_of says it
    if not mode & 0o004:
        return None
    return f"password-file: {account.password_file} can be read by everybody; chmod o-r is advised"


def ask_at_terminal(prompt: str) -> str:
    """Return what is typed, unseen, at the terminal, since standard input is the message.

    Failure (EX_NOPERM) where there is no terminal, it is closed, or its encoding is not the one that LANG names.
    """
    try:
        # getpass reads standard input where there is no terminal.
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
        return getpass.getpass(prompt)
    except OSError:
        raise Failure(
            EX_NOPERM, "no password, and no terminal to ask for it at; give the account a password-command"
        ) from None
    except EOFError:
        raise Failure(EX_NOPERM, "no password was typed") from None
    except UnicodeDecodeError as error:
        raise Failure(
            EX_NOPERM,
            f"what was typed cannot be read as {error.encoding}: LANG must name the terminal's own encoding, "
            "or a password-command say the password",
        ) from None


def _password(account: Account, ask: Callable[[str], str], command_timeout: float) -> str:
    if account.password_file:
        return _first_line_of_file(account.place("password-file"), account.password_file)
    if account.password_command:
        return _first_line_of_command("password-command", account.password_command, command_timeout)
    return _in_keyring(account) or ask(f"Password of {shown(account.user)} at {account.server.host}: ")


# A file, a command ------------------------------------------------------------------------------------------------


def _first_line_of_file(place: str, file: str) -> str:
    try:
        with open(file, "rb") as stream:
            octets = stream.read(MAX_SECRET + 1)
    except OSError as error:
        raise Failure(EX_CONFIG, f"{place}: cannot read {file}: {error.strerror}") from None
    secret = _secret_in(octets)
    if secret is None:
        raise Failure(EX_CONFIG, f"{place}: the first line of {file} must be the password")
    return secret


def _first_line_of_command(key: str, command: str, timeout: float) -> str:
    octets = _output(key, command, timeout)
    secret = _secret_in(octets)
    if secret is None:
        raise Failure(EX_NOPERM, f"{key}: the first line that it prints must be the {key.partition('-')[0]}")
    return secret


def _secret_in(octets: bytes) -> str | None:
    """Return the first line, if it can be a secret."""
    line = octets.partition(b"\n")[0].removesuffix(b"\r")
    secret = line.decode("utf-8", ENCODING_ERRORS)
    return secret if 0 < len(line) < MAX_SECRET and not CONTROL.search(secret) else None


def _output(key: str, command: str, timeout: float) -> bytes:
    """Have the shell run a command; return what it prints, as far as that can be a secret.

    That is not read before the command has ended: so a pipe's capacity bounds what there can be, and nobody who still
    has the pipe then is waited for. What it complains of may be more, and all but the beginning is dropped.
    """
    process = subprocess.Popen(
        ["/bin/sh", "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        status, complaint = _end(process, process.stderr, monotonic() + timeout)
        if status is None:
            process.kill()
            raise Failure(EX_NOPERM, f"{key}: it did not end within {timeout:g} seconds")
        if status:
            words = shown(complaint.decode("utf-8", "replace").strip())
            raise Failure(EX_NOPERM, f"{key}: it failed ({words or f'status {status}'})")
        return _what_is_there(process.stdout, MAX_SECRET + 1)


def _end(process: subprocess.Popen[bytes], stderr: IO[bytes], deadline: float) -> tuple[int | None, bytes]:
    """Return the status of a process, None where it has not ended by the deadline, and how what it says begins."""
    said = b""
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, min(_GLANCE, deadline - monotonic())))
        said += _what_is_there(stderr, _PIPE)[: MAX_COMPLAINT - len(said)]
        if process.returncode is not None or monotonic() >= deadline:
            return process.returncode, said


def _what_is_there(pipe: IO[bytes], most: int) -> bytes:
    os.set_blocking(pipe.fileno(), False)
    with suppress(BlockingIOError):
        return os.read(pipe.fileno(), most)
    return b""


# The keyring ------------------------------------------------------------------------------------------------------


def _in_keyring(account: Account) -> str | None:
    """Return the password that the person's keyring holds, if the library is there, and has it."""
    try:
        keyring = importlib.import_module("keyring")
        errors = importlib.import_module("keyring.errors")
    except ImportError:
        return None
    try:
        password: str | None = keyring.get_password(KEYRING_SERVICE, f"{account.user}@{account.server.host}")
    except errors.KeyringError:
        return None  # there is none here, or it stays locked
    return password
