"""What a style means: the configuration of the program, and the two servers that it meets."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults.style import PREFIX, Style
from tests.faults.submissions import MAILBOXES
from tests.functional.certificates import ADDRESSES, NAMES, Pair, authority, signed
from tests.functional.fake_mailboxes import FakeMailboxes
from tests.functional.fake_smtp import FakeSmtp
from tests.functional.secured import trusting

IDLE_PATIENCE = 300.0  # seconds that the IMAP server keeps a connection on which the proxy says nothing

# What LIST (SPECIAL-USE) finds (RFC 6154).
_LISTING = b'* LIST (\\HasNoChildren \\Drafts) "/" Drafts\r\n* LIST (\\HasNoChildren \\Sent) "/" "%b"\r\n'


@dataclass(frozen=True)
class Tls:
    """The files by which the proxy and both servers speak TLS."""

    ca: Path
    good: Pair

    def server_context(self) -> ssl.SSLContext:
        """Return what a server needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.good.cert, self.good.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        """Return what a client needs."""
        return trusting(self.ca)


class Setup:
    """Everything that a style decides; its files are in ``directory``."""

    def __init__(self, directory: Path, style: Style) -> None:
        self.journal = directory / "journal"
        self.control_socket = directory / "control"
        self.tls = _tls(directory) if style.is_secured else None
        self._style = style

    def _server_context(self) -> ssl.SSLContext | None:
        return self.tls.server_context() if self.tls else None

    def new_imap(self, port: int = 0) -> FakeMailboxes:
        """Return an IMAP server that is not started."""
        style = self._style
        imap = FakeMailboxes(MAILBOXES, port, IDLE_PATIENCE, self._server_context())
        if style.is_catenating:
            imap.capabilities += b" CATENATE"
        if style.is_prefixed:
            imap.capabilities += b" NAMESPACE"
            imap.namespaces = b'* NAMESPACE (("%b" ".")) NIL NIL\r\n' % PREFIX
            imap.prefix = PREFIX
        if style.sent_mailbox == "auto":
            imap.capabilities += b" SPECIAL-USE"
            imap.listing = _LISTING % style.sent_name
        if style.is_secured:
            imap.capabilities += b" STARTTLS"
        return imap

    def new_smtp(self, port: int = 0) -> FakeSmtp:
        """Return an SMTP server that is not started."""
        style = self._style
        offers = {
            "AUTH PLAIN": style.is_authenticating,
            "XCLIENT ADDR PORT LOGIN": style.is_told_of_client,
            "STARTTLS": style.is_secured,
        }
        extensions = ("8BITMIME", "SMTPUTF8", *(extension for extension, is_offered in offers.items() if is_offered))
        return FakeSmtp(extensions, port=port, context=self._server_context())

    def options(self) -> dict[str, dict[str, str]]:
        """Return the program's options, but for the addresses of the servers."""
        style = self._style
        tls = self.tls
        return {
            "listen": {"listen": "127.0.0.1:0", "workers": str(style.workers), **_certificate(tls)},
            "imap": _to_server("imap", tls),
            "smtp": {
                "smtp-timeout": str(style.smtp_timeout),
                "smtp-auth": "user" if style.is_authenticating else "none",
                "smtp-xclient": "on" if style.is_told_of_client else "off",
                **_to_server("smtp", tls),
            },
            "submit": {
                "mail-domain": "example.com",
                "max-submissions-per-hour": "0",
                "journal": str(self.journal),
                **({"sent-mailbox": style.sent_mailbox} if style.is_filed else {}),
            },
            "status": {"control-socket": str(self.control_socket)},
        }

    def check(self, imap_commands: Sequence[bytes], smtp_verbs: Sequence[str]) -> None:
        """See in what the servers were told that the style is what it says."""
        style, verbs = self._style, {command.split(maxsplit=2)[1].upper() for command in imap_commands}
        assert style.is_catenating == any(b"CATENATE" in command for command in imap_commands)
        assert style.is_sent_missing == (b"CREATE" in verbs)
        assert style.is_prefixed == (b"NAMESPACE" in verbs)
        assert (style.sent_mailbox == "auto") == (b"LIST" in verbs)
        assert style.is_authenticating == ("AUTH" in smtp_verbs)
        assert style.is_told_of_client == ("XCLIENT" in smtp_verbs)
        assert (style.is_secured, style.is_secured) == (b"STARTTLS" in verbs, "STARTTLS" in smtp_verbs)


def _tls(directory: Path) -> Tls:
    ca = authority(directory, "ca")
    return Tls(ca.cert, signed(directory, "good", ca, NAMES, ADDRESSES))


def _certificate(tls: Tls | None) -> dict[str, str]:
    return {"tls-cert": str(tls.good.cert), "tls-key": str(tls.good.key)} if tls else {}


def _to_server(protocol: str, tls: Tls | None) -> dict[str, str]:
    return {f"{protocol}-tls": "starttls", f"{protocol}-tls-ca": str(tls.ca)} if tls else {}
