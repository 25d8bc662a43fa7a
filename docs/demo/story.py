"""The demo's story: each step shows what passes over the client's connection, and checks what it claims.

A step is a function; ``tell`` puts them in their order.
"""

import direct
from comparison import compare, forward_classically, send_classically
from evidence import check_envelope, check_sent_copy, show_arrival
from forwarding import forward, receive
from imap_client import Answer, ImapClient
from letters import BCC, DRAFT_EXAMPLE, LETTER
from link import Cost, connect
from report import Report
from stage import PASSWORD, USER, Arrival, Stage

PROXY_WORDS = {b"CAN-SUBMIT", b"CAN-SUBMIT=URL", b"CAN-SUBMIT=SENT", b"COMPRESS=DEFLATE"}


def tell(stage: Stage, report: Report) -> None:
    """Tell the story, step by step; one connection to the proxy serves it all."""
    introduce(stage, report)
    with connect(stage.proxy) as link:
        report.step("The client logs in, as it would at any IMAP server")
        client = ImapClient(link, report.conversation)
        log_in(client, stage, report)
        report.step("It looks into its mailbox: all but SUBMIT passes through")
        look_into_mailbox(client, stage, report)
        report.step("It sends a message over the same connection: SUBMIT")
        letter = send(client, stage, report)
        report.step("The draft's own example: two of three recipients are refused")
        send_to_refused(client, stage, report)
        report.step("A message with an attachment of 4 MiB arrives")
        spot = receive(client, stage, report)
        report.step("The client forwards the attachment, which stays where it is")
        forwarded = forward(client, spot, stage, report)
        report.step("The classic way, for comparison: the small message")
        letter_classically = send_classically(client, stage, report)
        report.step("The classic way: the attachment comes, and goes twice")
        forwarded_classically = forward_classically(client, spot, stage, report)
    report.step("What sending cost on the client's link")
    compare((letter_classically, letter), (forwarded_classically, forwarded), report)


def introduce(stage: Stage, report: Report) -> None:
    """Say what runs where."""
    print("imapproxy: mail sent over the IMAP connection that reads it")
    report.step("Three servers run on this host's loopback")
    report.note(f"IMAP server  {stage.imap}  pymap, a mailbox with some mail")
    report.note(f"SMTP server  {stage.smtp}  aiosmtpd, knows no bad... and unknown...")
    report.note(f"imapproxy    {stage.proxy}  between them; the client talks to it only")


def log_in(client: ImapClient, stage: Stage, report: Report) -> None:
    """Log in through the proxy, and compare the capabilities with the IMAP server's own."""
    answer = client.login(USER, PASSWORD)
    report.check("logged in, by the IMAP server behind the proxy", answer.is_ok)
    through_proxy = capabilities(client.command(b"CAPABILITY"))
    of_server = capabilities(direct.ask(stage, b"CAPABILITY"))
    announced = through_proxy - of_server
    is_ours = announced == PROXY_WORDS
    report.check("CAN-SUBMIT is announced, with URL and SENT, and COMPRESS: the proxy's words", is_ours)
    report.check("all else is the IMAP server's", of_server <= through_proxy)


def look_into_mailbox(client: ImapClient, stage: Stage, report: Report) -> None:
    """Ask for something the proxy has no part in, and compare the answer with the IMAP server's own."""
    question = b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)"
    through_proxy = client.command(question)
    of_server = direct.ask(stage, question)
    report.check(
        "the answer is the one that the IMAP server gives when asked directly",
        through_proxy.is_ok and through_proxy.untagged == of_server.untagged,
    )


def send(client: ImapClient, stage: Stage, report: Report) -> Cost:
    """Submit a message, show what arrived at the SMTP server, and return what it cost."""
    before = client.link.cost
    answer = client.submit_at_once(LETTER)
    cost = client.link.cost.since(before)
    report.check("accepted", answer.tagged.endswith(b" OK SUBMIT completed"))
    report.check("it took one round trip", cost.round_trips == 1)

    arrivals = stage.arrivals()
    report.check("one message arrived at the SMTP server", len(arrivals) == 1)
    for arrival in arrivals[:1]:
        show_arrival(arrival, report)
        check_arrival(arrival, report)
        check_sent_copy(arrival, stage, report)
    return cost


def check_arrival(arrival: Arrival, report: Report) -> None:
    """Compare what arrived with what the client had submitted."""
    check_envelope(arrival, report)
    report.check("Received was added, on top", arrival.header[0].startswith(b"Received:"))
    report.check("so were Date and Message-ID", bool(arrival.field("Date") and arrival.field("Message-ID")))
    header, _, body = LETTER.replace(BCC, b"").partition(b"\r\n\r\n")
    kept = is_subsequence(header.split(b"\r\n"), arrival.header)
    report.check("the other header lines are as they were, in their order", kept)
    report.check("the text is octet for octet the same", arrival.body == body)


def send_to_refused(client: ImapClient, stage: Stage, report: Report) -> None:
    """Submit to one good and two bad recipients: nobody gets it, and the answer names the bad ones."""
    before = len(stage.arrivals())
    answer = client.submit(DRAFT_EXAMPLE)
    report.check(
        "the answer is the draft's, and names the two",
        answer.status == b"NO ,badUser@example.com,unknownUser@example.com",
    )
    report.check("nobody got it: nothing arrived at the SMTP server", len(stage.arrivals()) == before)
    report.check("the connection serves on", client.command(b"NOOP").is_ok)


def capabilities(answer: Answer) -> set[bytes]:
    """Return what a CAPABILITY command was answered."""
    start = b"* CAPABILITY "
    return {word for line in answer.untagged if line.startswith(start) for word in line.removeprefix(start).split()}


def is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    """Tell whether the lines of ``part`` are all in ``whole``, in their order."""
    remaining = iter(whole)
    return all(line in remaining for line in part)
