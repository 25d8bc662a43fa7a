"""The demo's story: each step shows what passes over the client's connection, and checks what it claims.

A step is a function; ``tell`` puts them in their order.
"""

import smtp_client
from imap_client import Answer, ImapClient
from link import Cost, connect
from report import Report
from stage import PASSWORD, USER, USER_ADDRESS, Arrival, Stage

DRAFT = b"""\
From: Fred Foobar <foobar@example.com>
To: Joe Mooch <mooch@owatagu.siam.edu>
Bcc: terry@example.net
Subject: on the train
MIME-Version: 1.0
Content-Type: text/plain; charset=us-ascii

Joe, my train is late. Start without me;
I shall be there at four.
""".replace(b"\n", b"\r\n")

DRAFT_RECIPIENTS = ["mooch@owatagu.siam.edu", "terry@example.net"]
BCC = b"Bcc: terry@example.net\r\n"

# The example of draft-royer-lemonade-submit-00, section 3, with what its copy at hand has lost filled in.
DRAFT_EXAMPLE = b"""\
Date: Mon, 7 Feb 1994 21:52:25 -0800 (PST)
From: Fred Foobar <foobar@example.com>
Subject: afternoon meeting
To: mooch@owatagu.siam.edu,badUser@example.com,
    unknownUser@example.com
Message-Id: <B27397-0100000@example.com>
MIME-Version: 1.0
Content-Type: TEXT/PLAIN; CHARSET=US-ASCII

Hello Joe, do you think we can meet at 3:30 tomorrow?
""".replace(b"\n", b"\r\n")


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
        submitted = send(client, stage, report)
        report.step("The draft's own example: two of three recipients are refused")
        send_to_refused(client, stage, report)
    report.step("What sending cost on the client's link")
    compare_cost(submitted, stage, report)


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
    of_server = capabilities(ask_directly(stage, b"CAPABILITY"))
    report.check("CAN-SUBMIT is announced, and it is the proxy's word", through_proxy - of_server == {b"CAN-SUBMIT"})
    report.check("all else is the IMAP server's", of_server <= through_proxy)


def look_into_mailbox(client: ImapClient, stage: Stage, report: Report) -> None:
    """Ask for something the proxy has no part in, and compare the answer with the IMAP server's own."""
    question = b"STATUS INBOX (MESSAGES UIDNEXT UIDVALIDITY)"
    through_proxy = client.command(question)
    of_server = ask_directly(stage, question)
    report.check(
        "the answer is the one that the IMAP server gives when asked directly",
        through_proxy.is_ok and through_proxy.untagged == of_server.untagged,
    )


def send(client: ImapClient, stage: Stage, report: Report) -> Cost:
    """Submit a message, show what arrived at the SMTP server, and return what it cost."""
    before = client.link.cost
    answer = client.submit_at_once(DRAFT)
    cost = client.link.cost.since(before)
    report.check("accepted", answer.tagged.endswith(b" OK SUBMIT completed"))
    report.check("it took one round trip", cost.round_trips == 1)

    arrivals = stage.arrivals()
    report.check("one message arrived at the SMTP server", len(arrivals) == 1)
    for arrival in arrivals[:1]:
        show_arrival(arrival, report)
        check_arrival(arrival, report)
    return cost


def show_arrival(arrival: Arrival, report: Report) -> None:
    """Show an envelope and a message as they came."""
    report.note("As it came there:")
    report.mail(b"MAIL FROM:<%b>" % arrival.sender.encode())
    for recipient in arrival.recipients:
        report.mail(b"RCPT TO:<%b>" % recipient.encode())
    report.mail(b"")
    for line in arrival.message.splitlines():
        report.mail(line)


def check_arrival(arrival: Arrival, report: Report) -> None:
    """Compare what arrived with what the client had submitted."""
    report.check("the envelope sender is the user who had logged in", arrival.sender == USER_ADDRESS)
    report.check("the recipients are those of To and Bcc", arrival.recipients == DRAFT_RECIPIENTS)
    report.check("no Bcc in the message", arrival.field("Bcc") is None and b"terry" not in arrival.message)
    report.check("Received was added, on top", arrival.header[0].startswith(b"Received:"))
    report.check("so were Date and Message-ID", bool(arrival.field("Date") and arrival.field("Message-ID")))
    header, _, body = DRAFT.replace(BCC, b"").partition(b"\r\n\r\n")
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


def compare_cost(submitted: Cost, stage: Stage, report: Report) -> None:
    """Send the same message the classic way, and put both costs side by side."""
    message = DRAFT.replace(BCC, b"")
    with connect(stage.smtp) as link:
        smtp_client.send(link, USER_ADDRESS, DRAFT_RECIPIENTS, message)
        classic = link.cost
    report.row("octets are TCP payload", "octets sent", "received", "round trips")
    report.row("SUBMIT, on the connection it has", *submitted)
    report.row("SMTP, on a second connection", *classic)
    report.note(
        f"Counted at the client's sockets, for one message: {len(DRAFT)} octets with its Bcc line, which only SUBMIT "
        f"takes, {len(message)} without. This SMTP server wants neither TLS nor a login, which would cost four round "
        "trips more (STARTTLS, handshake, EHLO, AUTH), and has no PIPELINING, which would save three."
    )
    report.check("the same message went the classic way, too", stage.arrivals()[-1].message == message)
    report.check("SUBMIT cost fewer octets", submitted.octets < classic.octets)
    report.check(
        f"and {classic.round_trips - submitted.round_trips} round trips fewer",
        submitted.round_trips < classic.round_trips,
    )


def ask_directly(stage: Stage, command: bytes) -> Answer:
    """Give the IMAP server itself a command, past the proxy and unseen."""
    with connect(stage.imap) as link:
        client = ImapClient(link, watch=lambda _speaker, _line: None)
        client.login(USER, PASSWORD)
        return client.command(command)


def capabilities(answer: Answer) -> set[bytes]:
    """Return what a CAPABILITY command was answered."""
    start = b"* CAPABILITY "
    return {word for line in answer.untagged if line.startswith(start) for word in line.removeprefix(start).split()}


def is_subsequence(part: list[bytes], whole: list[bytes]) -> bool:
    """Tell whether the lines of ``part`` are all in ``whole``, in their order."""
    remaining = iter(whole)
    return all(line in remaining for line in part)
