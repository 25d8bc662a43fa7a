"""On what terms clients are served: what the configuration lets a dialogue offer, demand and bound."""

from dataclasses import dataclass

from imapproxy.protocol.capability import CAN_SUBMIT, Policy


@dataclass(frozen=True, slots=True)
class Terms:
    """The same for all dialogues.

    ``max_draft`` is in octets. ``may_offer`` is told a SASL mechanism in upper case and says whether a client may use
    it. ``announced`` are the capabilities of the proxy's own that hold in every state. ``starttls``: there is a
    certificate, so STARTTLS may be offered. ``require_tls``: nobody logs in without TLS. ``compress``: COMPRESS=DEFLATE
    is offered. ``hides_forwarding_ids``: what says whose connection is forwarded is taken out of a client's ID, since
    the server believes it of the proxy.
    """

    max_draft: int
    may_offer: Policy
    announced: tuple[bytes, ...] = (CAN_SUBMIT,)
    starttls: bool = False
    require_tls: bool = False
    compress: bool = True
    hides_forwarding_ids: bool = False
