"""``KEEP=1``: the servers stay, for a person to try them with a mail program or by hand."""

import textwrap
import time
from typing import NoReturn

from stage import PASSWORD, USER, USER_ADDRESS, Stage

POLL_INTERVAL = 0.3  # seconds between two looks at what has arrived

KEEP_TEXT = """
Everything keeps running until Ctrl-C. A mail program reads through the proxy:
   IMAP server {stage.proxy.host}, port {stage.proxy.port}, without encryption
   user name {user}, password {password}, address {address}
mutt, for one:
   mutt -n -F /dev/null -e 'set ssl_starttls=no ssl_force_tls=no' \\
      -e 'set folder=imap://{user}@{stage.proxy}/ imap_pass={password}' \\
      -f +INBOX
Mail programs do not speak SUBMIT. By hand, telnet (or nc -C) sends a message:
   telnet {stage.proxy.host} {stage.proxy.port}
   a LOGIN {user} {password}
   b SUBMIT {{{size}}}"""

# What KEEP=1 proposes to type by hand.
HAND_TYPED = "To: joe@example.net\n\nHi\n"


def keep_running(stage: Stage) -> None:
    """Explain how to connect, and say what arrives, until Ctrl-C."""
    try:
        _explain(stage)
        _announce_arrivals(stage)
    except KeyboardInterrupt:
        print("\nEnding the servers.")


def _explain(stage: Stage) -> None:
    size = len(HAND_TYPED.replace("\n", "\r\n"))
    print(KEEP_TEXT.format(stage=stage, user=USER, password=PASSWORD, address=USER_ADDRESS, size=size))
    print(textwrap.indent(HAND_TYPED, "   "))
    print(f"and an empty line. What is sent shows up here, and in\n   {stage.mail}\n", flush=True)


def _announce_arrivals(stage: Stage) -> NoReturn:
    announced = len(stage.arrivals())
    while True:
        time.sleep(POLL_INTERVAL)
        for arrival in stage.arrivals()[announced:]:
            announced += 1
            recipients = ", ".join(arrival.recipients)
            print(f"Arrived: {announced}.eml from {arrival.sender} to {recipients}", flush=True)
