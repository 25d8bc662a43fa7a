"""From a draft to a message: the one entry to this package.

    octets -> header -> user, recipients (envelope) -> what the site makes of the header -> Draft
    Draft + what its references name -> Message
    Message + what the SMTP server offers -> Rendering

A draft is read once for its header; its body is looked at for references, if it may have any, and when it is rendered,
then only for what must be converted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from imapproxy.errors import SubmissionRefused
from imapproxy.message.address import Address
from imapproxy.message.compose import Composition, composition_of, render
from imapproxy.message.draft import Octets
from imapproxy.message.encoding import written
from imapproxy.message.envelope import recipients_of, user_of
from imapproxy.message.fields import Field, Header, named, read_draft_header
from imapproxy.message.headers import message_id_of, site_fields
from imapproxy.message.inclusion import Keep, Named
from imapproxy.message.reference import Outline, Reference, outline_of
from imapproxy.message.segments import Rendering, rendering_of, whole
from imapproxy.message.site import Extensions, Site, Stamp, Submitter

__all__ = ["Draft", "Extensions", "Message", "Rendering", "Site", "Stamp", "Submitter", "read_draft"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that may be sent: its envelope, its header as it leaves the site, its body where it lies."""

    sender: Address
    recipients: tuple[Address, ...]
    message_id: str
    header: Header = field(repr=False)
    bcc: tuple[Field, ...] = field(repr=False)  # what the header does not show to its recipients
    draft: Octets = field(repr=False)
    composition: Composition | None = field(repr=False)
    keep: Keep = field(repr=False)
    max_size: int  # octets, of a message with references

    def rendering(self, extensions: Extensions) -> Rendering:
        """Return the message as a server with these extensions can take it; SubmissionRefused if it cannot.

        What is included is streamed, if it can be; a server without 8BITMIME needs to be told how it is encoded first.
        """
        composition = self.composition
        if composition is not None and not (extensions.eight_bit_mime and composition.is_streamable):
            composition = composition.kept(self.keep)
        rendering = render(self.header, self.draft, composition, (self.sender, *self.recipients), extensions)
        if composition is not None and rendering.size > self.max_size:
            raise SubmissionRefused("5.3.4 message too large with what it includes")
        return rendering

    def kept(self) -> "Message":
        """Return the message with all that it includes read beforehand, so that it can be converted."""
        return self if self.composition is None else replace(self, composition=self.composition.kept(self.keep))

    def sent_copy(self, sent: Rendering) -> Rendering:
        """Return the message as it was sent, with its Bcc on top."""
        bcc = written(self.bcc, "utf-8" if sent.smtputf8 else "us-ascii")
        return rendering_of([whole(bcc), *sent.segments], sent.smtputf8)


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft that may be sent once it is known what it refers to."""

    octets: Octets = field(repr=False)
    header: Header = field(repr=False)
    leaving: Header = field(repr=False)
    sender: Address
    recipients: tuple[Address, ...]
    outline: Outline | None
    unique: str
    max_size: int

    @property
    def references(self) -> tuple[Reference, ...]:
        """What it refers to, in the order of the draft."""
        return tuple(referring.reference for referring in self.outline.referring) if self.outline else ()

    def message(self, found: Sequence[Named], keep: Keep) -> Message:
        """Return the message with what its references name; ``keep`` reads it beforehand where that must be."""
        return Message(
            sender=self.sender,
            recipients=self.recipients,
            message_id=message_id_of(self.leaving.fields),
            header=self.leaving,
            bcc=tuple(named(self.header.fields, "bcc", "resent-bcc")),
            draft=self.octets,
            composition=composition_of(self.outline, self.octets, found, self.unique) if self.outline else None,
            keep=keep,
            max_size=self.max_size,
        )


def read_draft(octets: Octets, site: Site, submitter: Submitter, stamp: Stamp) -> Draft:
    """Return a draft read; ClientError if it is no message at all, SubmissionRefused if it may not go."""
    header = read_draft_header(octets)
    user = user_of(submitter.user, site)
    recipients = recipients_of(header.fields, site)
    fields = site_fields(header.fields, user, site, submitter, stamp)
    return Draft(
        octets=octets,
        header=header,
        leaving=Header(fields, header.end, header.body),
        sender=user.address,
        recipients=recipients,
        outline=outline_of(header, octets, user, site, submitter),
        unique=stamp.unique,
        max_size=site.max_composed_size,
    )
