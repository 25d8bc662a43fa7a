"""The home of somebody who sends by imap-submit: his account is configured there, and programs run as in his shell."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.functional.dovecot import PASSWORD
from tests.functional.process import PATIENCE

PROGRAM = Path(__file__).resolve().parents[2] / "bin" / "imap-submit"
DOMAIN = "example.com"


@dataclass(frozen=True)
class Ran:
    """What a program came to: its exit status, and all that it said, on either output."""

    status: int
    said: str


@dataclass(frozen=True)
class Home:
    """A directory with imap-submit in ``bin``; ``user`` has an account with ``PASSWORD`` and the address ``from_``."""

    directory: Path
    user: str

    @property
    def from_(self) -> str:
        return f"{self.user}@{DOMAIN}"

    @property
    def imap_submit(self) -> Path:
        return self.directory / "bin" / "imap-submit"

    @property
    def environment(self) -> dict[str, str]:
        """What a login leaves; EMAIL is known to mutt and git."""
        return {
            "HOME": str(self.directory),
            "PATH": f"{self.imap_submit.parent}:/usr/bin:/bin",
            "EMAIL": self.from_,
            "LANG": "C.UTF-8",
            "TERM": "dumb",
        }

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *command: str, given: str | bytes = b"", environment: Mapping[str, str] | None = None) -> Ran:
        """Run a program here with that as its input, without a terminal."""
        ended = subprocess.run(
            command,
            input=given.encode() if isinstance(given, str) else given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.directory,
            env=environment or self.environment,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout.decode(errors="replace"))

    def run_script(self, script: str) -> Ran:
        """Have the shell run what a person types."""
        return self.run("/bin/sh", "-e", "-c", script)

    def answer_at_terminal(self, script: str, prompt: str, answer: str) -> Ran:
        """Run what a person types at a terminal, and type the answer when that prompt comes."""
        screen, terminal = pty.openpty()
        command = ["setsid", "--ctty", "/bin/sh", "-e", "-c", script]
        with (
            subprocess.Popen(
                command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=self.directory, env=self.environment
            ) as process,
            open(screen, "r+b", buffering=0) as person,
        ):
            os.close(terminal)
            said = b""
            while prompt.encode() not in said:
                said += seen_at(screen)
            person.write(f"{answer}\n".encode())
            # Linux says EIO when the last process that had the terminal is gone.
            with suppress(OSError):
                while octets := seen_at(screen):
                    said += octets
            return Ran(process.wait(PATIENCE), said.decode().replace("\r\n", "\n"))


def seen_at(screen: int) -> bytes:
    """Wait for what comes next at a terminal."""
    assert select.select([screen], [], [], PATIENCE)[0], "nothing comes"
    return os.read(screen, 4096)


def move_in(directory: Path, user: str, server: str, ca: Path, more: str = "") -> Home:
    """Furnish a home: the user's password is had by a command, and the server, reached by TLS, is known to ``ca``.

    ``more`` are further lines of the configuration.
    """
    home = Home(directory, user)
    home.write("secret", f"{PASSWORD}\n")
    home.write(
        ".config/imap-submit.conf",
        f"server = {server}\ntls-ca = {ca}\nuser = {user}\nfrom = {home.from_}\n"
        f'password-command = cat "$HOME/secret"\n{more}',
    )
    # With the interpreter, and thus the libraries, that runs the tests.
    home.write("bin/imap-submit", f'#!/bin/sh\nexec "{sys.executable}" "{PROGRAM}" "$@"\n').chmod(0o755)
    return home
