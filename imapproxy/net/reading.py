r"""Read what references name: sizes and headers first, content later and in windows (RFC 9051 6.4.5).

Without a trace: mailboxes are EXAMINEd and messages read with PEEK, so that no flag, no \Recent and nothing that the
client has selected changes. Nothing of a content is held but the window under way.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imapproxy.errors import SubmissionRefused
from imapproxy.message.fields import MAX_HEADER, named
from imapproxy.message.inclusion import Named, content_fields
from imapproxy.message.mime import read_content_type
from imapproxy.message.reference import Reference
from imapproxy.net.imap import MAX_ANSWER, BoundedIMAP, ImapRefusal, SideConnectionError, mailbox_argument, out_of_step
from imapproxy.protocol.body_structure import NoSuchPart, is_message_part, part_size
from imapproxy.protocol.fetched import Fetched, ResponseError

# Octets of a content that are read at a time. Each window costs a round trip, and Dovecot a search for its place: 128K
# read at 90 to 120 MB/s, 512K at 160 to 330, larger ones no faster. It is held twice or thrice on its way.
WINDOW = 512 * 1024

# RFC 5530: nothing is wrong with what was asked, but the server cannot do it now.
_TEMPORARY = frozenset({"UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN"})


@dataclass(frozen=True, slots=True)
class Stored:
    """What a reference names, where it lies (``message.inclusion.Content``)."""

    reader: "Reader" = field(repr=False)
    reference: Reference
    uidvalidity: int | None
    size: int | None

    @property
    def relative_url(self) -> str:
        """The URL by which the server finds it in the selected mailbox (RFC 5092 section 7.2).

        irelative-path = ... / imsg-or-part ; imsg-or-part = ... / iuid-only ["/" isection-only]
        """
        section = self.reference.content_section
        return f";UID={self.reference.url.uid}" + (f"/;SECTION={section}" if section else "")

    def chunks(self) -> Iterator[bytes]:
        """Read it; SubmissionRefused if that fails.

        Where it ends is for the server to show, not for the size it announced: what is longer must not be cut off.
        """
        offset, is_over = 0, False
        while not is_over:
            window = self.reader.window(self, offset)
            offset += len(window)
            # RFC 9051 6.4.5: beyond the end an empty string. A server may give less than it was asked for.
            is_over = not window or (len(window) < WINDOW and offset >= (self.size or 0))
            yield window
            del window  # before the next one comes


class Reader:
    """Reads by one connection, which it makes when it is first needed; ``most`` octets of a content."""

    def __init__(self, connection: Callable[[], BoundedIMAP], most: int) -> None:
        self._connect = connection
        self._most = most
        self._imap: BoundedIMAP | None = None
        self._examined: str | None = None
        self._uidvalidity: int | None = None

    @property
    def connection(self) -> BoundedIMAP | None:
        """The connection that was read by last, if there is one still."""
        return self._imap

    @property
    def examined(self) -> str | None:
        """The name of the mailbox that is selected on that connection, if any is."""
        return self._examined

    def close(self) -> None:
        """Log out, if need be."""
        if self._imap is not None:
            self._imap.farewell()
            self._imap, self._examined = None, None

    def named(self, reference: Reference) -> Named:
        """Return what a reference names: how large it is, and what describes it."""
        items = ["UID", "BODYSTRUCTURE" if reference.url.section else "RFC822.SIZE"]
        if reference.header_section is not None:
            items.append(_header_item(reference.header_section))
        with self._told_of(reference):
            imap = self._examine(reference, reference.url.uidvalidity)
            found = imap.fetch_message(reference.url.uid, " ".join(items), MAX_HEADER + 1 + MAX_ANSWER)
            if found is None:
                raise _unreadable(reference, "no such message")
            size = _size(reference, found)
            header = self._header(reference, found)
        if len(header) > MAX_HEADER:
            raise _unreadable(reference, "its header is too large", "5.3.4")
        if reference.content_section == "TEXT":
            size = size - len(header) if size is not None and size >= len(header) else None
        return Named(header, Stored(self, reference, self._uidvalidity, size), _kind(reference, found))

    def window(self, stored: Stored, offset: int) -> bytes:
        """Return the octets of a content from there on, ``WINDOW`` of them if there are so many."""
        reference, section = stored.reference, stored.reference.content_section
        with self._told_of(reference):
            imap = self._examine(reference, stored.uidvalidity)
            item = f"BODY.PEEK[{section}]<{offset}.{WINDOW}>"
            found = imap.fetch_message(reference.url.uid, f"UID {item}", WINDOW)
            octets = found.octets(f"BODY[{section}]<{offset}>") if found else None
            if octets is not None and len(octets) > WINDOW:
                raise out_of_step()
        if octets is None and offset < (stored.size or 1):
            raise _unreadable(reference, "no such part" if found and section else "no such message")
        if offset + len(octets or b"") > self._most:
            raise SubmissionRefused("5.3.4 message too large")
        return octets or b""

    def _examine(self, reference: Reference, uidvalidity: int | None) -> BoundedIMAP:
        """Return the connection, with the reference's mailbox selected, which must be the one that it was."""
        mailbox = reference.url.mailbox
        if self._imap is None:
            self._imap = self._connect()
        if self._examined != mailbox:
            self._examined = None  # a mailbox that cannot be selected leaves none that is
            try:
                self._uidvalidity = self._imap.examine(mailbox_argument(mailbox))
            except ImapRefusal as refusal:
                if refusal.code in {"", "NONEXISTENT"}:
                    raise _unreadable(reference, "no such mailbox") from refusal
                raise
            self._examined = mailbox
        if uidvalidity not in {None, self._uidvalidity}:
            raise _unreadable(reference, "UIDVALIDITY has changed")
        return self._imap

    def _header(self, reference: Reference, found: Fetched) -> bytes:
        """Return the octets of the header that the reference is described by, ``MAX_HEADER`` and one at most."""
        if reference.header_section is None:
            return b""
        header = found.octets(f"BODY[{reference.header_section}]<0>") or b""
        *enclosing, number = reference.url.section.split(".")
        return header or (
            self._header_of_message(reference, ".".join([*enclosing, "HEADER"])) if number == "1" else b""
        )

    def _header_of_message(self, reference: Reference, section: str) -> bytes:
        """Return the header of the message whose only part is named, b"" if it has several.

        No text says what describes the body of a message that is no multipart (``1.MIME``). Dovecot shows the
        message's header then, other servers nothing.
        """
        assert self._imap is not None
        try:
            found = self._imap.fetch_message(reference.url.uid, f"UID {_header_item(section)}", MAX_HEADER + 1)
        except ImapRefusal:
            return b""
        header = (found.octets(f"BODY[{section}]<0>") if found else None) or b""
        kinds = [read_content_type(kind.text, "").kind for kind in named(content_fields(header), "content-type")]
        return b"" if any(kind.startswith("multipart/") for kind in kinds) else header

    @contextmanager
    def _told_of(self, reference: Reference) -> Iterator[None]:
        """Tell what fails as a failure to read what is referred to; a connection that is lost is not used again."""
        try:
            yield
        except NoSuchPart as failure:
            raise _unreadable(reference, "no such part") from failure
        except ImapRefusal as refusal:
            code = "4.2.0" if refusal.code in _TEMPORARY else "5.6.6"
            raise _unreadable(reference, refusal.words, code) from refusal
        except ResponseError as failure:
            self._drop()
            raise _unreadable(reference, out_of_step().reason, out_of_step().code) from failure
        except SideConnectionError as failure:
            self._drop()
            raise _unreadable(reference, failure.reason, failure.code) from failure

    def _drop(self) -> None:
        if self._imap is not None:
            self._imap.shutdown()
            self._imap, self._examined = None, None


def _header_item(section: str) -> str:
    return f"BODY.PEEK[{section}]<0.{MAX_HEADER + 1}>"


def _kind(reference: Reference, found: Fetched) -> str:
    """Return the type that a part has whose header does not say it: another in a digest (RFC 2046, 5.1.5)."""
    section = reference.url.section
    is_message = bool(section) and is_message_part(found.items.get("BODYSTRUCTURE"), section)
    return "message/rfc822" if is_message else "text/plain"


def _size(reference: Reference, found: Fetched) -> int | None:
    if reference.url.section:
        return part_size(found.items.get("BODYSTRUCTURE"), reference.url.section)
    return found.number_of("RFC822.SIZE")


def _unreadable(reference: Reference, reason: str, code: str = "5.6.6") -> SubmissionRefused:
    return SubmissionRefused(f"{code} cannot read {reference.text}: {reason}")
