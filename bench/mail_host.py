"""The real servers for `forward`: ``python -m bench.mail_host`` runs throw-away Dovecot and Postfix on loopback.

Their set-up is that of the functional tests. No other module of the bench imports from ``tests``; this one needs what
they need: pytest, and the Debian packages. If packages are missing it prints ``lacks`` and their names. Otherwise the
first line is the IMAP port, the SMTP port and everybody's password, and each line after it the digest of a delivered
attachment: where Postfix delivers, nothing is kept. The process ends when its standard input does, and its servers with
it.
"""

import signal
import sys
import threading

from bench.attachment import Digest
from tests.functional.dovecot import PASSWORD, PROGRAM, running_dovecot
from tests.functional.lmtp_sink import LmtpSession, LmtpSink
from tests.functional.packages import PACKAGE_OF, installed, is_root
from tests.functional.postfix import MASTER, running_postfix

READ_SIZE = 256 * 1024
END_OF_DATA = b"\r\n.\r\n"


class DigestingSession(LmtpSession):
    """Takes a message without keeping it: the arrival's content is its attachment's digest."""

    def read_message(self) -> bytes:
        """Read up to the final dot; of the dots that are doubled, none is in the attachment."""
        digest, end = Digest(), b"\r\n"
        while not end.endswith(END_OF_DATA):
            # After the final dot, Postfix sends nothing before it has our reply.
            piece = self.rfile.read1(READ_SIZE)
            if not piece:
                raise ConnectionError("Postfix went away within a message")
            digest.feed(piece)
            end = (end + piece[-len(END_OF_DATA) :])[-len(END_OF_DATA) :]
        return str(digest).encode("ascii")


def lacking() -> list[str]:
    """Return the Debian packages that are not installed."""
    programs = [PROGRAM, MASTER, *(() if is_root() else ("fakeroot",))]
    return [PACKAGE_OF[program] for program in programs if not installed(program)]


def print_digests(sink: LmtpSink) -> None:
    """Print what arrives, for ever."""
    while True:
        print(sink.arrivals.get().content.decode("ascii"), flush=True)


def main() -> None:
    """Serve until standard input ends, or SIGTERM comes."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if missing := lacking():
        print("lacks", *missing)
        return
    with running_dovecot() as dovecot, running_postfix(dovecot.auth_port) as postfix:
        postfix.sink.RequestHandlerClass = DigestingSession
        threading.Thread(target=print_digests, args=(postfix.sink,), daemon=True).start()
        print(dovecot.port, postfix.large_port, PASSWORD, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
