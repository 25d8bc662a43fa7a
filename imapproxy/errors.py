"""The failures that the program foresees; each class says whose fault it is.

``protocol.response`` is the one place that turns them into response lines; ``net.session`` is the one place that
catches them, but for those of the parent, which ``net.process`` catches.
"""

from collections.abc import Sequence


class ProxyError(Exception):
    """Any failure that the program foresees."""


class ConfigError(ProxyError):
    """The administrator's: a configuration that cannot be used. The text names file, section and key."""


class WorkerError(ProxyError):
    """A worker's: it told its parent what it may not. The worker is killed; the text says why, for the log."""


class ClientError(ProxyError):
    """The client's: a command or a draft that is no such thing. The text becomes that of a tagged BAD."""


class UpstreamError(ProxyError):
    """The IMAP server's: it vanished, refused us, or said what cannot be framed. The session ends with BYE."""


class UpstreamUnavailable(UpstreamError):
    """The IMAP server cannot be reached, or does not greet. The client may try again later."""


class LimitExceeded(ProxyError):
    """A peer went past a bound that the session cannot survive. The text becomes that of an untagged BYE."""


class SubmissionRefused(ProxyError):
    """A submission that reached nobody: a tagged NO (draft-royer-lemonade-submit-00, section 3).

    ``text`` is what is not about any one recipient, and may be empty; ``recipients`` are those refused, each as it
    is to stand in the answer (printable US-ASCII, as in RCPT TO), in the order of the message.
    """

    def __init__(self, text: str = "", recipients: Sequence[str] = ()) -> None:
        super().__init__(text, tuple(recipients))
        self.text = text
        self.recipients = tuple(recipients)

    def __str__(self) -> str:
        return ",".join((self.text, *self.recipients))


class DeliveryUncertain(SubmissionRefused):
    """The one NO that does not say that nobody got it: the SMTP server vanished after the final dot."""
