"""Real IMAP clients, each doing something whose result is bytes that can be compared."""

import imaplib
import io
import os
import pty
import re
import socket
import ssl
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.functional.dovecot import PASSWORD
from tests.functional.process import PATIENCE

# Dovecot ends a tagged OK with how long the command took.
STOPWATCH = re.compile(rb"\([0-9.]+(?: \+ [0-9.]+)* secs\)")

# imaplib's tags begin with four random letters.
TAG_PREFIX = re.compile(rb"^[A-P]{4}(?=[0-9]+ )")

# mbsync marks what it copies with a random number.
X_TUID = re.compile(rb"^X-TUID: .{12}$", re.MULTILINE)


imaplib.Commands["SUBMIT"] = ("AUTH", "SELECTED")
imaplib.Commands["COMPRESS"] = ("AUTH", "SELECTED")
imaplib.Commands["ID"] = ("NONAUTH", "AUTH", "SELECTED")


class RecordingClient(imaplib.IMAP4):
    """``imaplib``, remembering every octet that the server said but for its stopwatch and the tags' random prefix.

    ``context`` is for TLS from the start, ``source`` is the address that it connects from; the certificate must be for
    ``server_name``, or for ``host``.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        source: str = "127.0.0.1",
        host: str = "127.0.0.1",
        server_name: str = "",
    ) -> None:
        self._heard = bytearray()
        self.sent = 0  # octets, before they are compressed
        self._context, self._source, self._server_name = context, source, server_name or host
        self._deflater: zlib._Compress | None = None
        super().__init__(host, port, PATIENCE)
        # Else the line end behind a literal waits for the acknowledgement of the literal: 40 ms each time.
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)

    def _create_socket(self, timeout: float | None) -> socket.socket:
        stream = socket.create_connection((self.host, self.port), timeout, (self._source, 0))
        if self._context is None:
            return stream
        return self._context.wrap_socket(stream, server_hostname=self._server_name)

    def begin_compression(self) -> None:
        """COMPRESS DEFLATE (RFC 4978): from the next octet on, in both directions."""
        status, data = self._simple_command("COMPRESS", "DEFLATE")
        assert status == "OK", data
        self._deflater = zlib.compressobj(wbits=-15)
        self.file = io.BufferedReader(Inflating(self.sock))

    @property
    def received_compressed(self) -> int:
        """How many octets have come since ``begin_compression``."""
        assert isinstance(self.file, io.BufferedReader)
        assert isinstance(self.file.raw, Inflating)
        return self.file.raw.received

    def send(self, data: bytes) -> None:  # type: ignore[override]  # typeshed takes any buffer
        deflater = self._deflater
        super().send(deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH) if deflater else data)
        self.sent += len(data)

    def read(self, size: int) -> bytes:
        octets = super().read(size)
        self._heard += octets
        return octets

    def readline(self) -> bytes:
        line = super().readline()
        self._heard += STOPWATCH.sub(b"(stopwatch)", TAG_PREFIX.sub(b"TAG", line))
        return line

    def heard(self) -> bytes:
        """Return what the server said since the last call."""
        heard = bytes(self._heard)
        self._heard.clear()
        return heard

    def submit(self, draft: bytes) -> str:
        """Send a draft by SUBMIT, as ``imaplib`` sends any command with a literal, and return the tagged answer."""
        self.literal = draft  # type: ignore[assignment]  # typeshed takes it for text
        status, data = self._simple_command("SUBMIT")
        return f"{status} {data[-1].decode('ascii')}"

    def store_message(self, mailbox: str, octets: bytes) -> int:
        """APPEND a message as it is, which ``append`` would not, and return its UID; ``mailbox`` is quoted already."""
        self.literal = octets  # type: ignore[assignment]  # typeshed takes it for text
        _, data = self._simple_command("APPEND", mailbox)
        found = re.search(rb"APPENDUID \d+ (\d+)", data[-1])
        assert found, data
        return int(found[1])

    def converse(self, lines: bytes, last_tag: bytes) -> None:
        """Send bytes as they are, and read until the answer with that tag."""
        self.send(lines)
        while not (line := self.readline()).startswith(last_tag + b" "):
            assert line, f"the server has ended the connection: {self.heard()[-500:]!r}"


class Inflating(io.RawIOBase):
    """What a socket brings, inflated, and how much it was before."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self._inflater = zlib.decompressobj(wbits=-15)
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        octets = b""
        while not octets:
            if not self._inflater.unconsumed_tail:
                compressed = self._stream.recv(1 << 16)
                if not compressed:
                    return 0
                self.received += len(compressed)
            octets = self._inflater.decompress(self._inflater.unconsumed_tail or compressed, len(buffer))
        buffer[: len(octets)] = octets
        return len(octets)


def logged_in(
    port: int, user: str, context: ssl.SSLContext | None = None, source: str = "127.0.0.1"
) -> RecordingClient:
    client = RecordingClient(port, context, source)
    client.login(user, PASSWORD)
    return client


def curl(port: int, user: str, path: str, *options: str, scheme: str = "imap") -> bytes:
    """Return what curl prints about ``imap://…/path``."""
    url = f"{scheme}://127.0.0.1:{port}/{path}"
    command = ["curl", "--silent", "--show-error", "--user", f"{user}:{PASSWORD}", *options, url]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=PATIENCE).stdout


MBSYNC_CONFIGURATION = """\
IMAPAccount server
Host {host}
Port {port}
User {user}
Pass {password}
{tls}
AuthMechs LOGIN

IMAPStore server
Account server

MaildirStore local
Path {directory}/mail/
Inbox {directory}/mail/INBOX
SubFolders Verbatim

Channel all
Far :server:
Near :local:
Patterns *
Sync All
Create Both
Expunge Both
SyncState {directory}/state/
"""


def mbsync(port: int, user: str, directory: Path, tls: str = "SSLType None", host: str = "127.0.0.1") -> None:
    """Synchronize the user's mailboxes with the maildirs in ``directory/mail``, both ways.

    With TLS ``host`` must be a name: mbsync looks for no addresses in a certificate.
    """
    for name in ("mail", "state"):
        (directory / name).mkdir(exist_ok=True)
    configuration = MBSYNC_CONFIGURATION.format(
        port=port, user=user, password=PASSWORD, directory=directory, tls=tls, host=host
    )
    (directory / "mbsyncrc").write_text(configuration)
    subprocess.run(["mbsync", "--quiet", "--config", directory / "mbsyncrc", "all"], check=True, timeout=PATIENCE)


def maildirs(directory: Path) -> dict[str, list[tuple[str, bytes]]]:
    """Return folder -> flags and content of each message, sorted; file names hold the time."""
    return {
        str(folder.relative_to(directory)): sorted(messages(folder), key=lambda message: message[1])
        for folder in sorted([*directory.rglob("cur"), *directory.rglob("new")])
    }


def messages(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in folder.iterdir():
        yield path.name.rpartition(":")[2] if ":" in path.name else "", X_TUID.sub(b"X-TUID: random", path.read_bytes())


MUTT_CONFIGURATION = """\
set folder="" spoolfile="" record="" header_cache="" mbox_type=mbox
set imap_user="{user}" imap_pass="{password}" imap_check_subscribed=no
{settings}
set quit=yes copy=yes confirmappend=no confirmcreate=no wait_key=no delete=no mark_old=no sleep_time=0
push "<tag-pattern>~A<enter><tag-prefix><copy-message>{output}<enter><quit>"
"""


def mutt(
    port: int,
    user: str,
    mailbox: str,
    directory: Path,
    settings: str = "set ssl_starttls=no ssl_force_tls=no",
    scheme: str = "imap",
) -> bytes:
    """Let mutt open a mailbox and copy all its messages into a local mbox file, which is returned."""
    output = directory / "mbox"
    configuration = MUTT_CONFIGURATION.format(user=user, password=PASSWORD, output=output, settings=settings)
    (directory / "muttrc").write_text(configuration)
    run_in_terminal(
        ["mutt", "-n", "-F", str(directory / "muttrc"), "-f", f"{scheme}://127.0.0.1:{port}/{mailbox}"], directory
    )
    return output.read_bytes()


def run_in_terminal(command: list[str], home: Path) -> None:
    """Run a full-screen program with nobody looking at it."""
    screen, terminal = pty.openpty()
    environment = {**os.environ, "HOME": str(home), "TERM": "vt100", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment) as process:
        os.close(terminal)
        # Linux says EIO when the last process that had the terminal is gone.
        with suppress(OSError), open(screen, "rb", buffering=0) as output:
            while output.read(4096):
                pass
        assert process.wait(PATIENCE) == 0
