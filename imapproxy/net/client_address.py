"""Who the client is, and where it came to: what is told the servers behind us, which else see nobody but us."""

from dataclasses import dataclass

from imapproxy.message.host import bare_address
from imapproxy.protocol.login import Credentials


@dataclass(frozen=True, slots=True)
class ClientAddress:
    """A client's address and port, and those that it connected to, as numbers; ``is_tls``: by implicit TLS.

    ``is_check``: it is a proxy that came for itself, to see whether we are there (LOCAL in the PROXY protocol).
    """

    host: str
    port: int
    server_host: str
    server_port: int
    is_tls: bool
    is_check: bool = False

    @property
    def client(self) -> tuple[str, int]:
        """Where the client is, as others write it."""
        return str(bare_address(self.host)), self.port

    @property
    def server(self) -> tuple[str, int]:
        """Where the client came to, as others write it."""
        return str(bare_address(self.server_host)), self.server_port


@dataclass(frozen=True, slots=True)
class User:
    """Who the proxy acts for on connections of its own: what the user logged in with, and where the user is."""

    credentials: Credentials
    address: ClientAddress
