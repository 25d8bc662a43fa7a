"""The mail host: ``python -m bench.soak.host DIRECTORY`` runs throw-away Dovecot and Postfix on loopback.

As `bench.mail_host`, and like it the one module here that imports from ``tests``. If packages are missing it prints
``lacks`` and their names. Otherwise the first line is the IMAP port, the SMTP port, everybody's password, and the files
of an authority, of a certificate for localhost that it has signed, and of its key. Each line after it is a message
that was delivered: its name, and whether it is ``whole``, ``damaged``, or ``misdirected`` to somebody to whom it is not
addressed; or why it is none of ours. The process ends when its standard input does, and its servers with it.
"""

import signal
import sys
import threading
from pathlib import Path

from bench.mail_host import lacking
from bench.soak.texts import arrival
from tests.functional.certificates import make_certificates
from tests.functional.dovecot import PASSWORD, running_dovecot
from tests.functional.lmtp_sink import LmtpSink
from tests.functional.postfix import running_postfix

# Of Dovecot: a session is a process, and Debian's limits are those of a small host.
MANY_CLIENTS = """\
service imap-login {
  service_count = 0
  client_limit = 1000
}
service imap {
  process_limit = 2000
}
"""


def print_arrivals(sink: LmtpSink) -> None:
    """Print what arrives, for ever."""
    while True:
        came = sink.arrivals.get()
        try:
            print(arrival(came.content).as_event(came.recipient), flush=True)
        except ValueError as error:
            print(str(error).replace("\n", " "), flush=True)


def main() -> None:
    """Serve until standard input ends, or SIGTERM comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if missing := lacking():
        print("lacks", *missing)
        return
    files = make_certificates(Path(sys.argv[1]))
    with running_dovecot(MANY_CLIENTS) as dovecot, running_postfix(dovecot.auth_port) as postfix:
        threading.Thread(target=print_arrivals, args=(postfix.sink,), daemon=True).start()
        print(dovecot.port, postfix.port, PASSWORD, files.ca, files.cert, files.key, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
