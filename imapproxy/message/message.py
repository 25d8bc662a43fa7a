"""From a draft to a message: the one entry to this package.

    draft -> header -> user, recipients (envelope) -> what the site makes of the header -> Message
    Message + what the SMTP server offers -> Rendering

A draft is read once for its header; its body is looked at when it is rendered, and then only for what must be
converted.
"""

from dataclasses import dataclass, field

from imapproxy.message.address import Address
from imapproxy.message.compose import Rendering
from imapproxy.message.draft import Octets
from imapproxy.message.encoding import render
from imapproxy.message.envelope import recipients_of, user_of
from imapproxy.message.fields import Header, read_draft_header
from imapproxy.message.headers import message_id_of, site_fields
from imapproxy.message.reference import refuse_references
from imapproxy.message.site import Extensions, Site, Stamp, Submitter

__all__ = ["Extensions", "Message", "Rendering", "Site", "Stamp", "Submitter", "message_from_draft"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message that may be sent: its envelope, its header as it leaves the site, its body where it lies."""

    sender: Address
    recipients: tuple[Address, ...]
    message_id: str
    header: Header = field(repr=False)
    draft: Octets = field(repr=False)

    def rendering(self, extensions: Extensions) -> Rendering:
        """Return the message as a server with these extensions can take it; SubmissionRefused if it cannot."""
        return render(self.header, self.draft, (self.sender, *self.recipients), extensions)


def message_from_draft(draft: Octets, site: Site, submitter: Submitter, stamp: Stamp) -> Message:
    """Return what a draft becomes; ClientError if it is no message at all, SubmissionRefused if it may not go."""
    header = read_draft_header(draft)
    user = user_of(submitter.user, site)
    recipients = recipients_of(header.fields, site)
    fields = site_fields(header.fields, user, site, submitter, stamp)
    refuse_references(header, draft)
    leaving = Header(fields, header.end, header.body)
    return Message(user.address, recipients, message_id_of(fields), leaving, draft)
