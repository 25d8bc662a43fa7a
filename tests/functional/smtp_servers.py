"""The table of real SMTP servers: what each says in its own words, and what not every one of them can."""

from dataclasses import dataclass
from typing import Protocol

from tests.functional.lmtp_sink import Arrival, LmtpSink


class RealSmtpServer(Protocol):
    """A running server, whichever it is; it knows ``postfix.USERS``, and delivers to a sink."""

    @property
    def sink(self) -> LmtpSink:
        """Where it delivers."""

    @property
    def port(self) -> int:
        """Where it takes mail from everybody on loopback, offering 8BITMIME and SMTPUTF8."""

    @property
    def seven_bit_port(self) -> int:
        """Where it offers neither."""

    @property
    def auth_port(self) -> int:
        """Where it wants AUTH."""

    @property
    def credulous_port(self) -> int:
        """Where it takes unknown recipients."""

    @property
    def xclient_port(self) -> int:
        """Where it offers XCLIENT, if it can, and takes mail from who has logged in according to that."""

    def take(self, recipients: int) -> dict[str, Arrival]:
        """Wait for as many recipients as that to get a message; return what each got."""


@dataclass(frozen=True)
class SmtpServer:
    """A row of the table; ``name`` is the fixture's, too."""

    name: str
    greylisted: str  # the reply to RCPT TO:<grey@example.com>
    with_login: bytes  # how its trace field says that the sender had logged in
    has_xclient: bool


POSTFIX = SmtpServer(
    "postfix",
    greylisted="450 4.2.0 <grey@example.com>: Recipient address rejected: greylisted",
    with_login=b"with ESMTPA",
    has_xclient=True,
)
EXIM = SmtpServer(
    "exim",
    greylisted="451 4.2.0 greylisted",
    with_login=b"with esmtpa",
    has_xclient=False,  # since Exim 4.97
)

SMTP_SERVERS = (POSTFIX, EXIM)
