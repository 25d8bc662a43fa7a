"""A machine with everything running that a guide has on it, its certificate, and what its users send."""

from dataclasses import dataclass
from pathlib import Path

from tests.functional.certificates import Pair, signed
from tests.functional.clients import RecordingClient
from tests.functional.dovecot import PASSWORD
from tests.functional.guide import WORLD, Machine
from tests.functional.proxy_process import Proxy
from tests.functional.secured import FAR_AWAY, trusting

DRAFT = (
    b"Date: Mon, 7 Feb 1994 21:52:25 -0800\r\nFrom: Fred <fred@example.com>\r\nTo: %b\r\n"
    b"Message-ID: <1@example.com>\r\n\r\nHello\r\n"
)
TO_THE_WORLD = DRAFT % f"someone@{WORLD}".encode()


def certificate_for(machine: Machine, ca: Pair, name: str) -> Pair:
    """Return a new certificate of the service's, good for all the addresses of the guides."""
    machine.path("/tls/x")
    addresses = [f"127.0.0.{number}" for number in (1, 5, 10, 20)]
    return signed(machine.root / "tls", name, ca, ["mail.example.com", "localhost"], addresses)


def install(machine: Machine, pair: Pair) -> None:
    """Put a certificate where any of the guides wants one."""
    live = "/etc/letsencrypt/live/mail.example.com"
    for name, parts in {
        f"{live}/fullchain.pem": [pair.cert],
        f"{live}/privkey.pem": [pair.key],
        "/etc/imapproxy/mail.example.com.pem": [pair.cert, pair.key],
        "/etc/haproxy/mail.example.com.pem": [pair.cert, pair.key],
        "/etc/dovecot/private/dovecot.pem": [pair.cert],
        "/etc/dovecot/private/dovecot.key": [pair.key],
    }.items():
        machine.path(name).write_bytes(b"".join(part.read_bytes() for part in parts))


@dataclass(frozen=True)
class MailHost:
    """A machine with everything running that a guide has on it."""

    machine: Machine
    proxy: Proxy
    ca: Path

    @property
    def tls_port(self) -> int:
        return self.machine.ports[993]

    def client(self, user: str = "fred") -> RecordingClient:
        return connected(self.machine.address, self.tls_port, user, self.ca)

    def log(self, name: str) -> str:
        return (self.machine.root / name).read_text(errors="replace")


def connected(address: str, port: int, user: str, ca: Path) -> RecordingClient:
    """Return a client that comes from far away over TLS, and has logged in."""
    client = RecordingClient(port, trusting(ca), FAR_AWAY, address)
    client.login(user, PASSWORD)
    return client
