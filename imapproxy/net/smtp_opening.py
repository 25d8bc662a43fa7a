"""How an SMTP dialogue begins: EHLO, TLS, who the client is, and who we are (RFC 5321 3.2, RFC 3207, RFC 4954).

TLS that was asked for is never done without, and comes before all that only the server may read: what is secret, and
what it is told of the client by XCLIENT (Postfix XCLIENT_README). After each of the two all is as at the beginning.
"""

import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from imapproxy.errors import SubmissionRefused
from imapproxy.message.host import bare_address
from imapproxy.net.client_address import User
from imapproxy.net.sasl import exchange
from imapproxy.net.smtp import BoundedSMTP, Reply, require
from imapproxy.protocol.login import ENCODING_ERRORS, Credentials

MAX_COMMAND_LINE = 512  # octets, CRLF included (RFC 5321 4.5.3.1.4)

SYNTAX_ERROR = 501  # in parameters or arguments (RFC 5321 4.2.2)
UNAVAILABLE = "[UNAVAILABLE]"  # what XCLIENT calls a value that nobody knows

NO_STARTTLS = "4.7.4 mail server does not offer STARTTLS"


@dataclass(frozen=True, slots=True)
class SmtpServer:
    """Where mail goes, and how: ``timeout`` in seconds a step, ``host_name`` is ours, for EHLO.

    ``context`` is what TLS needs, None where ``tls`` is off; ``xclient``: the server is told who the client is.
    """

    host: str
    port: int
    auth: Literal["none", "user", "fixed"]
    username: str
    password: str = field(repr=False)
    timeout: float
    host_name: str
    tls: Literal["off", "starttls", "on"] = "off"
    context: ssl.SSLContext | None = None
    xclient: bool = False


def begin(smtp: BoundedSMTP, server: SmtpServer, user: User) -> None:
    """Connect, and say what comes before a transaction on the user's behalf; SubmissionRefused or SmtpError."""
    _connect(smtp, server)
    if server.tls == "starttls":
        _start_tls(smtp, server)
    if server.xclient:
        _tell_of_client(smtp, server, user)
    _authenticate(smtp, server, user.credentials)


def _connect(smtp: BoundedSMTP, server: SmtpServer) -> None:
    if server.tls == "on":
        assert server.context is not None
        greeting = smtp.connect_by_tls(server.host, server.port, server.context)
    else:
        greeting = smtp.connect(server.host, server.port)
    require(Reply.of(*greeting))
    _introduce(smtp)


def _introduce(smtp: BoundedSMTP) -> None:
    """Introduce ourselves: with EHLO, or HELO to a server that knows no better (RFC 5321 3.2)."""
    answer = Reply.of(*smtp.ehlo())
    if answer.code >= 500:
        answer = Reply.of(*smtp.helo())
    require(answer)


def _start_tls(smtp: BoundedSMTP, server: SmtpServer) -> None:
    if not smtp.has_extn("starttls"):
        raise SubmissionRefused(NO_STARTTLS)
    require(smtp.ask("STARTTLS"))
    assert server.context is not None
    smtp.speak_tls(server.context, server.host)
    _introduce(smtp)


def _tell_of_client(smtp: BoundedSMTP, server: SmtpServer, user: User) -> None:
    """Tell the server what it takes from us of who the client is; a server that takes nothing is none the wiser."""
    offered = smtp.esmtp_features.get("xclient", "").upper().split()
    attributes = {name: value for name, value in _attributes(server, user).items() if name in offered}
    if not attributes:
        return
    reply = smtp.ask("XCLIENT", _said(attributes))
    if reply.code == SYNTAX_ERROR and "ADDR" in attributes:
        # A Postfix with "inet_protocols = ipv4" takes no IPv6 address. It must not take ours for the client's instead.
        reply = smtp.ask("XCLIENT", _said({**attributes, **dict.fromkeys(attributes.keys() - {"LOGIN"}, UNAVAILABLE)}))
    require(reply)
    _introduce(smtp)


def _attributes(server: SmtpServer, user: User) -> dict[str, str]:
    host, port = user.address.client
    told = {"ADDR": f"IPV6:{host}" if bare_address(host).version == 6 else host, "PORT": str(port)}
    # A client that has a login is refused AUTH: "already authenticated".
    return {**told, "LOGIN": user.credentials.user} if server.auth == "none" else told


def _said(attributes: Mapping[str, str]) -> str:
    """Return what is said after ``XCLIENT``: attribute *(SP attribute) ; attribute = name "=" xtext."""
    return " ".join(f"{name}={_xtext(value)}" for name, value in attributes.items())


def _xtext(value: str) -> str:
    """Return a value as xtext (RFC 3461 section 4).

    xtext = *( xchar / hexchar ) ; xchar = any ASCII CHAR between "!" and "~" inclusive, except for "+" and "="
    """
    octets = value.encode("utf-8", ENCODING_ERRORS)
    return "".join(chr(o) if 33 <= o <= 126 and o not in b"+=" else f"+{o:02X}" for o in octets)


def _authenticate(smtp: BoundedSMTP, server: SmtpServer, credentials: Credentials) -> None:
    """Log in (RFC 4954) as the configuration says: as nobody, as the user, as the proxy itself."""
    if server.auth == "none":
        return
    if server.auth == "fixed":
        credentials = Credentials(server.username, server.username, server.password, "PLAIN")
    login = exchange(credentials, smtp.esmtp_features.get("auth", "").upper().split())
    if login is None:
        raise SubmissionRefused("5.7.4 mail server offers no authentication that fits the login")
    reply = _converse(smtp, login.mechanism, login.answers)
    if login.bearer and reply.code == 535:
        raise SubmissionRefused("5.7.8 login expired; log in again")
    require(reply)


def _converse(smtp: BoundedSMTP, mechanism: str, answers: Sequence[bytes]) -> Reply:
    """Return how the SASL exchange ended; one that wants more answers than there are is cancelled with ``*``.

    The initial response goes with AUTH if the line can hold it, else after a 334 (RFC 4954 section 4).
    """
    lines = [b64encode(answer).decode() for answer in answers]
    command = f"AUTH {mechanism}"
    if len(f"{command} {lines[0]}\r\n") <= MAX_COMMAND_LINE:
        command = f"{command} {lines.pop(0)}"
    reply = smtp.ask(command)
    for line in (*lines, "*"):
        if reply.code != 334:
            break
        reply = smtp.ask(line)
    return reply
