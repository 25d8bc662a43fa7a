"""The middle of the story: an attachment that lies in the mailbox is forwarded without passing the client's link."""

from typing import NamedTuple

import direct
from evidence import check_envelope, check_sent_copy, show_arrival
from imap_client import ImapClient
from letters import attachment, digest, digest_of_attachment, forward_by_reference, mail_with_attachment
from link import Cost
from report import Report
from stage import Arrival, Stage


class Spot(NamedTuple):
    """Where a message lies in the inbox."""

    uid_validity: int
    uid: int


def receive(client: ImapClient, stage: Stage, report: Report) -> Spot:
    """Let mail arrive, have the client look at it, and return where it is."""
    direct.deliver(stage, mail_with_attachment())
    selected = client.command(b"SELECT INBOX")
    looked = client.command(b"FETCH * (UID FLAGS BODY)")
    shown = any(b'"application" "octet-stream"' in line for line in looked.untagged)
    report.check("there it is; part 2 of it is the attachment", shown)
    return Spot(selected.number(b"UIDVALIDITY"), looked.number(b"UID"))


def forward(client: ImapClient, spot: Spot, stage: Stage, report: Report) -> Cost:
    """Submit a message that names the attachment, check both copies of what became of it, and return what it cost."""
    arrived_before = len(stage.arrivals())
    flags_before = client.command(b"UID FETCH %d (FLAGS)" % spot.uid).untagged
    cost_before = client.link.cost
    draft = forward_by_reference(spot.uid_validity, spot.uid)
    answer = client.submit_at_once(draft)
    cost = client.link.cost.since(cost_before)
    report.check("accepted", answer.tagged.endswith(b" OK SUBMIT completed"))
    report.check("it took one round trip", cost.round_trips == 1)
    report.check(f"and {cost.sent} octets from the client, which is less than a kilobyte", cost.sent < 1000)
    flags = client.command(b"UID FETCH %d (FLAGS)" % spot.uid).untagged
    report.check("the message is as it was: not even marked as read", flags == flags_before)

    arrivals = stage.arrivals()[arrived_before:]
    report.check("one message arrived at the SMTP server", len(arrivals) == 1)
    for arrival in arrivals[:1]:
        show_arrival(arrival, report)
        check_envelope(arrival, report)
        check_copies(arrival, stage, report)
    return cost


def check_copies(arrival: Arrival, stage: Stage, report: Report) -> None:
    """Compare the attachments that the recipient and Sent have with what its author saved."""
    expected = digest(attachment())
    filed = check_sent_copy(arrival, stage, report)
    report.note(f"The attachment's SHA-256 digest, as its author saved it: {expected}")
    report.check("the recipient's copy of it has the same", digest_of_attachment(arrival.message) == expected)
    report.check("so has the copy in Sent", digest_of_attachment(filed) == expected)
