"""The end of the story: the same mail is sent the classic way, and what that cost is put beside what SUBMIT cost.

The classic way, a client sends over a second connection, to the SMTP server, and sends once more to the IMAP server,
for the copy in Sent. What it forwards it fetches before.
"""

from collections.abc import Iterable

import direct
import smtp_client
from evidence import same_but_bcc
from forwarding import Spot
from imap_client import ImapClient
from letters import ATTACHMENT_SIZE, BCC, LETTER, RECIPIENTS, attachment, digest, digest_of_attachment, forward_in_full
from link import Cost, connect
from report import Report
from stage import USER_ADDRESS, Stage

MEGABIT = 1_000_000 / 8  # in octets

Steps = dict[str, Cost]  # what each step of the classic way cost


def send_classically(client: ImapClient, stage: Stage, report: Report) -> Steps:
    """Send the small message without SUBMIT."""
    return _send_and_file(client, LETTER, stage, report)


def forward_classically(client: ImapClient, spot: Spot, stage: Stage, report: Report) -> Steps:
    """Forward the attachment without SUBMIT."""
    before = client.link.cost
    fetched = client.command(b"UID FETCH %d (BODY.PEEK[2.MIME] BODY.PEEK[2])" % spot.uid)
    cost = client.link.cost.since(before)
    message = forward_in_full(*fetched.literals)
    steps = {"FETCH, on the first connection": cost, **_send_and_file(client, message, stage, report)}
    received = digest_of_attachment(stage.arrivals()[-1].message)
    report.check("its attachment has the same digest", received == digest(attachment()))
    return steps


def compare(letter: tuple[Steps, Cost], forwarded: tuple[Steps, Cost], report: Report) -> None:
    """Put the costs side by side."""
    report.row("octets are TCP payload", "octets sent", "received", "round trips")
    report.heading(f"A message of {len(LETTER)} octets:")
    _compare_one(*letter, report)
    report.heading(f"An attachment of {ATTACHMENT_SIZE // 1024 // 1024} MiB, forwarded:")
    _compare_one(*forwarded, report)
    report.note("")
    report.note(
        "Counted at the client's sockets. This SMTP server wants neither TLS nor a login, which would cost four round "
        "trips more (STARTTLS, handshake, EHLO, AUTH), and has no PIPELINING, which would save three. Neither way "
        "counts what they have in common: the first connection, and the look at what there is to forward."
    )
    classic, submitted = (cost.octets / MEGABIT for cost in (_together(forwarded[0].values()), forwarded[1]))
    report.note(
        f"A link of 1 Mbit/s would be busy with the attachment for {classic:.0f} s the classic way, and for "
        f"{submitted:.3f} s with SUBMIT."
    )
    _check_one("a small message", *letter, report)
    _check_one("the attachment", *forwarded, report)


def _send_and_file(client: ImapClient, message: bytes, stage: Stage, report: Report) -> Steps:
    without_bcc = message.replace(BCC, b"")
    with connect(stage.smtp) as link:
        smtp_client.send(link, USER_ADDRESS, RECIPIENTS, without_bcc)
        smtp = link.cost
    report.note("(It sends the message on a second connection, by SMTP.)")
    before = client.link.cost
    client.append(b"Sent", rb"\Seen", message)
    append = client.link.cost.since(before)
    arrived = stage.arrivals()[-1].message
    report.check("the message arrived the classic way, too", arrived == without_bcc)
    report.check("and is in Sent", same_but_bcc(direct.newest(stage, b"Sent").message, arrived))
    return {"SMTP, on a second connection": smtp, "APPEND to Sent, on the first": append}


def _compare_one(classic: Steps, submitted: Cost, report: Report) -> None:
    for step, cost in classic.items():
        report.row(f"  {step}", *cost)
    report.row("the classic way, together", *_together(classic.values()))
    report.row("SUBMIT, on the first connection", *submitted)


def _check_one(what: str, classic: Steps, submitted: Cost, report: Report) -> None:
    whole = _together(classic.values())
    fewer, times = whole.round_trips - submitted.round_trips, whole.octets // submitted.octets
    report.check(f"{what}: SUBMIT cost {fewer} round trips fewer", fewer > 0)
    report.check(f"and one octet for {times:,} of the classic way's", times > 1)


def _together(costs: Iterable[Cost]) -> Cost:
    return Cost(*map(sum, zip(*costs, strict=True)))
