"""A user's mailboxes: what a submission refers to is read from them, its Sent copy filed in one (RFC 9051).

Never anybody else's, never on another server. All failures are ``SubmissionRefused``, with the reason.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from types import TracebackType

from imapproxy.errors import SubmissionRefused
from imapproxy.message.inclusion import Content, Named, Span
from imapproxy.message.reference import Reference
from imapproxy.message.segments import Rendering
from imapproxy.net.catenation import mailboxes_of, pieces_of
from imapproxy.net.cleanup import cleanup
from imapproxy.net.client_address import User
from imapproxy.net.imap import (
    BoundedIMAP,
    ImapRefusal,
    SideConnectionError,
    name_on_the_wire,
    quoted,
)
from imapproxy.net.imap_login import log_in_once_more
from imapproxy.net.patient import WAITING_INTERVAL
from imapproxy.net.reading import Reader
from imapproxy.net.spool import Keep
from imapproxy.net.upstream import UpstreamServer

# The configuration's word for the mailbox that the server marks as the one for what was sent.
AUTOMATIC = "auto"
# What it is called where the server marks none.
USUAL_NAME = "Sent"


class Mailboxes:
    """The mailboxes of a user, for one submission; connects when it is first needed.

    ``most`` bounds what is read of one content, and what ``kept`` writes. ``waiting`` is called each ``interval``
    seconds that the server keeps us waiting; what it raises ends it all.
    """

    def __init__(
        self,
        server: UpstreamServer,
        user: User,
        most: int,
        waiting: Callable[[], None],
        interval: float = WAITING_INTERVAL,
    ) -> None:
        self._server = server
        self._user = user
        self._most = most
        self._waiting = waiting
        self._interval = interval
        self._reader = Reader(self._connection, most)
        self._keeps: list[Keep] = []

    def __enter__(self) -> "Mailboxes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reader.close()
        for keep in self._keeps:
            with cleanup("close"):
                keep.close()
        del self._reader  # which refers to us: what it read is free now, not when the collector comes by

    def named(self, reference: Reference) -> Named:
        """Return what a reference names; its content is read later, by the same connection."""
        return self._reader.named(reference)

    def kept(self, contents: Sequence[Content]) -> Sequence[Span]:
        """Read all of these into a temporary file, their line ends made CRLF."""
        keep = Keep(self._most)
        self._keeps.append(keep)
        return keep.spans(content.chunks() for content in contents)

    def append(self, mailbox: str, message: Rendering) -> None:
        """File a message, as one that was read; what its chunks raise passes."""
        try:
            self._append(mailbox, message)
        except SideConnectionError as failure:
            raise SubmissionRefused(str(failure)) from failure
        except ImapRefusal as refusal:
            raise SubmissionRefused(refusal.words) from refusal

    def _append(self, mailbox: str, message: Rendering) -> None:
        """File a message by the connection that was read by, unless it is needed to read what the message includes.

        That need not be read if the server puts the message together from what it has in the mailbox that is
        EXAMINEd. What lies in several mailboxes is read: no URL of another mailbox is sure to change nothing there.
        """
        reading, included = self._reader.connection, mailboxes_of(message)
        if reading is not None and not included:
            _file(reading, mailbox, lambda argument: reading.append_seen(argument, message))
        elif reading is None or included != {self._reader.examined} or not _catenated(reading, mailbox, message):
            imap = self._connection()
            try:
                _file(imap, mailbox, lambda argument: imap.append_seen(argument, message))
            finally:
                imap.farewell()

    def _connection(self) -> BoundedIMAP:
        """Return a connection on which the user is logged in."""
        imap = BoundedIMAP(self._server, self._user.address, self._waiting, self._interval)
        try:
            log_in_once_more(imap, self._user.credentials)
        except BaseException:
            imap.farewell()
            raise
        return imap


def _catenated(imap: BoundedIMAP, mailbox: str, message: Rendering) -> bool:
    """File a message in pieces, if the server takes that (RFC 4469); return True if it did."""
    if "CATENATE" not in imap.announced():
        return False
    try:
        _file(imap, mailbox, lambda argument: imap.append_catenated(argument, pieces_of(message)))
    except ImapRefusal:  # it may take the message as one
        return False
    return True


def _file(imap: BoundedIMAP, mailbox: str, append_to: Callable[[str], None]) -> None:
    """File a message in a mailbox, which is made if the server says so: [TRYCREATE] (RFC 9051 6.3.12)."""
    argument = _sent_mailbox(imap) if mailbox == AUTOMATIC else _own_mailbox(imap, mailbox)
    try:
        append_to(argument)
    except ImapRefusal as refusal:
        if refusal.code != "TRYCREATE":
            raise
        _create(imap, argument)
        append_to(argument)


def _create(imap: BoundedIMAP, argument: str) -> None:
    """Make a mailbox, and subscribe to it, so that it is shown; another session may just have made it."""
    for command in (imap.create, imap.subscribe):
        try:
            imap.ask(command, argument)
        except ImapRefusal as refusal:
            if command == imap.create and refusal.code != "ALREADYEXISTS":
                raise


def _sent_mailbox(imap: BoundedIMAP) -> str:
    r"""Return the argument for the mailbox that the server marks \Sent (RFC 6154); for `Sent` if there is none.

    Dovecot marks no mailbox before it is made, and then the one of the name that is configured: `Sent`, in Debian.
    """
    selection = "(SPECIAL-USE)" if "SPECIAL-USE" in imap.announced() else ""
    for found in imap.list_mailboxes(selection):
        if r"\sent" in found.attributes and r"\noselect" not in found.attributes:
            return quoted(found.name.decode("latin-1"))  # what is not ASCII cannot be said again, and is refused
    return _own_mailbox(imap, USUAL_NAME)


def _own_mailbox(imap: BoundedIMAP, name: str) -> str:
    """Return the argument for a mailbox of the user's, with the prefix that the server wants (RFC 2342).

    IMAP4rev2 includes NAMESPACE (RFC 9051 6.3.10). If the server does not answer, the name stays as it is.
    """
    wire = name_on_the_wire(name)
    if imap.announced() & {"NAMESPACE", "IMAP4REV2"}:
        with suppress(ImapRefusal):
            # What is not ASCII cannot be said again, and is refused.
            return quoted(imap.namespaces().own_name(wire.encode("ascii")).decode("latin-1"))
    return quoted(wire)
