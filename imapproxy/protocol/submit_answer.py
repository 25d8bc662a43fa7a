"""What a client reads in the NO that answers its SUBMIT: why nobody got the message, and who was refused.

``response.not_submitted`` writes it (draft-royer-lemonade-submit-00, section 3; DESIGN 4). Whatever the server says,
what is read is printable US-ASCII; the line's length, which is for the connection to bound, bounds it.
"""

import re
from dataclasses import dataclass

from imapproxy.protocol.response import printable, printable_whole

# status-code = class "." subject "." detail ; class = "2" / "4" / "5" ; subject and detail = 1*3digit  (RFC 3463, 2)
# RFC 2034, 4: behind an SMTP reply code, which has the same first digit.
_STATUS_CODE = re.compile(r"(?:([245])[0-5][0-9] (?=\1))?(?P<code>[245]\.[0-9]{1,3}\.[0-9]{1,3})(?![^ ])")
# Reply-code = %x32-35 %x30-35 %x30-39                                   (RFC 5321, 4.2)
_REPLY_CODE = re.compile(r"(?P<code>[245][0-5][0-9])(?![^ ])")

# DESIGN 4: the one NO that does not mean that nobody got the message.
_UNCERTAIN = "4.4.2 delivery uncertain"

# Quoted-string = DQUOTE *QcontentSMTP DQUOTE ; QcontentSMTP = qtextSMTP / quoted-pairSMTP   (RFC 5321, 4.1.2)
# Only a local part is quoted, and it begins the recipient. A quote left open is a character like any other.
_RECIPIENT = re.compile(r'(?:"[^"\\]*(?:\\.[^"\\]*)*")?[^,]+')


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why nobody got a message: a text, empty where the recipients say it all, and the recipients that were refused.

    A recipient is as in RCPT TO: its local part may be quoted, and is written in US-ASCII (RFC 6533).
    """

    text: str
    recipients: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """The RFC 3463 code at the beginning of the text, else the SMTP server's reply code there, else ``""``."""
        match = _STATUS_CODE.match(self.text) or _REPLY_CODE.match(self.text)
        return match["code"] if match else ""

    @property
    def is_temporary(self) -> bool:
        """Whether the same message may be taken later; recipients without a text were refused for good."""
        return self.code.startswith("4")

    @property
    def is_uncertain(self) -> bool:
        """Whether the message may have been sent all the same: the mail server vanished before it replied."""
        return self.text.startswith(_UNCERTAIN)


def read_refusal(answer: bytes) -> Refusal:
    """Return what stands behind ``NO `` of a SUBMIT's answer: ``text,`` or ``text,recipient,recipient``.

    An answer without a comma, which no proxy of ours gives, is a text.
    """
    text, _, recipients = answer.decode("ascii", "replace").partition(",")
    return Refusal(_shown(printable(text)), tuple(_RECIPIENT.findall(_shown(printable_whole(recipients)))))


def _shown(octets: bytes) -> str:
    return octets.decode("ascii")
