"""The demo's SMTP server, a process of its own: aiosmtpd, which keeps in a directory what it accepts.

It refuses recipients that a demo can choose: those whose address begins with ``bad`` or ``unknown``, and everybody at
``nobody.example.com``. Message 1 becomes two files: ``1.envelope`` (sender, then the recipients, an address a line)
and ``1.eml`` (the message, octet for octet). Where it listens it says as ``imap_server.py`` does.
"""

import asyncio
import itertools
import sys
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session

HOST_NAME = "smtp.example.com"


class Keeper:
    """The aiosmtpd handler that refuses the refusable and keeps the rest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._numbers = itertools.count(1)

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's names and arguments
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Answer RCPT TO (RFC 5321 4.1.1.3)."""
        if is_refused(address):
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 recipient ok"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a message; its files are there before the client reads the answer."""
        number = next(self._numbers)
        addresses = [str(envelope.mail_from), *envelope.rcpt_tos]
        (self._directory / f"{number}.envelope").write_text("".join(f"{address}\n" for address in addresses))
        (self._directory / f"{number}.eml").write_bytes(envelope.original_content or b"")
        return f"250 2.0.0 kept as number {number}"


def is_refused(address: str) -> bool:
    """Tell whether this server pretends not to know a recipient."""
    return address.lower().startswith(("bad", "unknown")) or address.lower().endswith("@nobody.example.com")


async def serve(directory: Path) -> None:
    """Accept mail, without TLS and login, until the process is ended."""
    keeper = Keeper(directory)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname=HOST_NAME, ident="demo", enable_SMTPUTF8=True, loop=loop), "127.0.0.1", 0
    )
    host, port = server.sockets[0].getsockname()
    print(f"listening address={host}:{port}", file=sys.stderr, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(directory=Path(sys.argv[1])))
