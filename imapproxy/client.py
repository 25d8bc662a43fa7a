r"""SUBMIT for programs that speak IMAP with ``imaplib``: send a message over the connection that is there already.

    import imaplib
    from email import message_from_bytes, policy
    from email.message import EmailMessage

    from imapproxy import client

    message = EmailMessage()
    message["From"] = "Fred <fred@example.com>"
    message["To"] = "joe@example.org"
    message["Subject"] = "The plans"
    message.set_content("Here they are.\n")
    message.make_mixed()
    plans = client.reference_part("/INBOX;UIDVALIDITY=1/;UID=20/;SECTION=2", "plans.pdf")
    message.attach(message_from_bytes(plans, policy=policy.SMTP))  # never downloaded

    with imaplib.IMAP4_SSL("mail.example.com") as imap:
        imap.login("fred", "secret")
        try:
            client.submit(imap, message.as_bytes(policy=policy.SMTP))
        except client.Refused as refused:
            print("Nobody got it:", refused.text, *refused.recipients)

Recipients are those that the message's header names, Bcc included, which the server takes out. Either all of them get
it or nobody does. Command and answers: draft-royer-lemonade-submit-00, section 3; literals: RFC 7888.
"""

import imaplib
from collections.abc import Callable
from typing import Protocol, cast

from imapproxy.message.reference_part import reference_part
from imapproxy.protocol.response import printable
from imapproxy.protocol.submit_answer import Refusal, read_refusal

__all__ = ["NotAMessage", "Refused", "SubmitError", "Unsupported", "reference_part", "submit"]

_CAN_SUBMIT = "CAN-SUBMIT"

# RFC 7888, 5: what a server that announces LITERAL- takes unasked.
_MAX_SMALL_LITERAL = 4096

# Octets of a message that is sent at once, and of a piece of a larger one: progress on a slow link is seen to be made.
_MAX_AT_ONCE = 1 << 20
_PIECE = 256 << 10


class SubmitError(Exception):
    """The server did not send a message, and said so: the connection goes on. The text is one printable line."""


class Unsupported(SubmitError):
    """The server does not announce CAN-SUBMIT; nothing was sent to it."""


class NotAMessage(SubmitError):
    """The server answered BAD: what it was given has no header, or holds a NUL."""


class Refused(SubmitError):
    """The server answered NO: nobody got the message, unless ``is_uncertain``."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(": ".join(filter(None, [refusal.text, ", ".join(refusal.recipients)])))
        self.text = refusal.text
        """Why, as far as it is not about recipients; may be empty."""
        self.recipients = refusal.recipients
        """Who was refused, each as in RCPT TO, in the order of the message; all others would have been taken."""
        self.code = refusal.code
        """The RFC 3463 code that the text begins with, else the SMTP reply code, else an empty string."""
        self.is_temporary = refusal.is_temporary
        """Whether the same message may be taken later."""
        self.is_uncertain = refusal.is_uncertain
        """Whether it may have been sent all the same: the mail server vanished before it replied."""


def submit(imap: imaplib.IMAP4, message: bytes, progress: Callable[[int], None] | None = None) -> str:
    """Have the server send a message to all recipients in its header, and return what it says to that.

    ``imap`` is logged in, whether or not a mailbox is selected, and stays so whatever the answer. ``message`` is whole,
    its line ends CRLF or LF. ``progress`` is called with the octets of the message sent so far, after each piece of
    256 KiB of one over 1 MiB, else once; what it raises leaves the connection unusable.

    One round trip where the server announces LITERAL+ (LITERAL-, up to 4096 octets), else two. One more, which tells
    what ``imap.capabilities`` then holds, if neither they nor a response since announced CAN-SUBMIT.

    SubmitError where the message was not sent. Where the connection is lost (``imap.abort``, OSError), it may have been
    sent. ``imap.error`` before the login.
    """
    if imap.state not in {"AUTH", "SELECTED"}:
        raise imap.error(f"command SUBMIT illegal in state {imap.state}")
    capabilities = _capabilities(imap)
    if _CAN_SUBMIT not in capabilities:
        raise Unsupported("the server does not announce CAN-SUBMIT")
    if not message:
        raise NotAMessage("the message is empty")
    dialogue = cast(_Dialogue, imap)
    tag = dialogue._new_tag()
    command = b"%b SUBMIT {%d" % (tag, len(message))
    if _is_taken_unasked(len(message), capabilities):
        _send(imap, command + b"+}\r\n", message, progress)
    else:
        imap.send(command + b"}\r\n")
        if _is_asked_for(dialogue, tag):
            _send(imap, b"", message, progress)
    return _text_of(imap, *dialogue._get_tagged_response(tag))


class _Dialogue(Protocol):
    """What imaplib has no public way for: a literal that goes with its command, and in pieces.

    Its commands take arguments of one line (newer releases refuse CR and LF in them), and literals that wait until the
    server has asked for them.
    """

    tagged_commands: dict[bytes, tuple[str, list[bytes]] | None]

    def _new_tag(self) -> bytes: ...
    def _get_response(self) -> bytes | None: ...  # None: a continuation request
    def _get_tagged_response(self, tag: bytes) -> tuple[str, list[bytes]]: ...


def _capabilities(imap: imaplib.IMAP4) -> frozenset[str]:
    """Return what the server has announced; it is asked if CAN-SUBMIT is not among that."""
    # As code of the login's OK, or unasked behind it: imaplib keeps both, and looks at neither.
    since = [piece for piece in imap.untagged_responses.get("CAPABILITY", ()) if isinstance(piece, bytes)]
    announced = frozenset(imap.capabilities).union(*map(_words, since))
    if _CAN_SUBMIT in announced:
        return announced
    status, listed = imap.capability()
    if status == "OK" and listed[-1]:
        imap.capabilities = _words(listed[-1])
    return frozenset(imap.capabilities)


def _words(listed: bytes) -> tuple[str, ...]:
    return tuple(listed.decode("ascii", "replace").upper().split())


def _is_taken_unasked(size: int, capabilities: frozenset[str]) -> bool:
    return "LITERAL+" in capabilities or ("LITERAL-" in capabilities and size <= _MAX_SMALL_LITERAL)


def _is_asked_for(dialogue: _Dialogue, tag: bytes) -> bool:
    """Wait until the server asks for the literal; False where it has answered the command instead."""
    while dialogue._get_response() is not None:
        if dialogue.tagged_commands[tag] is not None:
            return False
    return True


def _send(imap: imaplib.IMAP4, head: bytes, message: bytes, progress: Callable[[int], None] | None) -> None:
    """Send what precedes the message, the message, and the CRLF that ends the command, in as few pieces as may be."""
    step = len(message) if len(message) <= _MAX_AT_ONCE else _PIECE
    for start in range(0, len(message), step):
        end = min(start + step, len(message))
        before = head if start == 0 else b""
        behind = b"\r\n" if end == len(message) else b""
        imap.send(b"".join((before, memoryview(message)[start:end], behind)))
        if progress is not None:
            progress(end)


def _text_of(imap: imaplib.IMAP4, status: str, data: list[bytes]) -> str:
    """Return the text of an OK; any other answer is an exception."""
    if status == "OK":
        return _shown(data[-1])
    if status == "NO":
        raise Refused(read_refusal(data[-1]))
    if status == "BAD":
        raise NotAMessage(_shown(data[-1]))
    raise imap.abort("SUBMIT was answered with none of OK, NO and BAD")


def _shown(text: bytes) -> str:
    return printable(text.decode("ascii", "replace")).decode("ascii")
