"""The demo's stage: an IMAP server, an SMTP server, the proxy between them, all on loopback, and what arrived there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from link import Address
from processes import running

HERE = Path(__file__).resolve().parent
PROXY = HERE.parent.parent / "bin" / "imapproxy"

USER = "foobar"
PASSWORD = "lemonade"
USER_ADDRESS = "foobar@example.com"

CONFIGURATION = """\
[listen]
listen = 127.0.0.1:0

[imap]
imap-server = {imap}

[smtp]
smtp-server = {smtp}

[submit]
mail-domain = example.com
sent-mailbox = Sent
"""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message as the SMTP server got it."""

    sender: str
    recipients: list[str]
    message: bytes

    @property
    def header(self) -> list[bytes]:
        """The lines of the header."""
        return self.message.partition(b"\r\n\r\n")[0].split(b"\r\n")

    @property
    def body(self) -> bytes:
        """All that follows the header."""
        return self.message.partition(b"\r\n\r\n")[2]

    def field(self, name: str) -> str | None:
        """Return a field's first line, without its name."""
        start = name.lower().encode() + b":"
        found = [line for line in self.header if line.lower().startswith(start)]
        return found[0][len(start) :].decode("ascii", "backslashreplace").strip() if found else None


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the three servers listen, and the directory in which the SMTP server keeps what it accepted."""

    imap: Address
    smtp: Address
    proxy: Address
    mail: Path

    def arrivals(self) -> list[Arrival]:
        """Return what has arrived so far, oldest first."""
        messages = sorted(self.mail.glob("*.eml"), key=lambda path: int(path.stem))
        return [_read_arrival(path) for path in messages]


def _read_arrival(path: Path) -> Arrival:
    sender, *recipients = path.with_suffix(".envelope").read_text().splitlines()
    return Arrival(sender, recipients, path.read_bytes())


@contextmanager
def servers(place: Path) -> Iterator[Stage]:
    """Run the three in a directory of theirs, which holds their logs, the proxy's configuration and the mail."""
    mail = place / "mail"
    mail.mkdir()
    configuration = place / "imapproxy.conf"
    python = sys.executable
    with (
        running([python, HERE / "imap_server.py", USER, PASSWORD], place / "imap-server.log") as imap,
        running([python, HERE / "smtp_server.py", mail], place / "smtp-server.log") as smtp,
    ):
        configuration.write_text(CONFIGURATION.format(imap=imap, smtp=smtp))
        with running([python, PROXY, "-c", configuration], place / "imapproxy.log") as proxy:
            yield Stage(imap, smtp, proxy, mail)
