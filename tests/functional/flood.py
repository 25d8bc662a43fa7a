"""A peer that floods: it says something again and again, whatever becomes of it, while the test looks at others."""

import threading
from contextlib import suppress
from typing import Self

from tests.functional.fake_imap import READ_SIZE, Peer

CHUNK = 1 << 18  # octets at a time
JOIN_TIME = 30.0  # seconds


class Flood:
    """One end of a session says ``head`` and then ``filler`` without end; what both hear is read, and forgotten.

    The session is over afterwards.
    """

    def __init__(self, source: Peer, head: bytes, filler: bytes, sink: Peer) -> None:
        self._source = source
        self._sink = sink
        self._head = head
        self._filler = filler * max(1, CHUNK // len(filler))
        self._listening = threading.Thread(target=drain, args=(source,), daemon=True)
        self._threads = [
            threading.Thread(target=self._pour, daemon=True),
            self._listening,
            threading.Thread(target=drain, args=(sink,), daemon=True),
        ]

    @property
    def is_broken_off(self) -> bool:
        """Whether the proxy has ended the connection of the one who floods, as that one sees it."""
        return not self._listening.is_alive()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._source.hang_up()
        self._sink.hang_up()
        for thread in self._threads:
            thread.join(JOIN_TIME)
            assert not thread.is_alive()

    def _pour(self) -> None:
        with suppress(OSError):
            self._source.send(self._head)
            while True:
                self._source.send(self._filler)


def drain(peer: Peer) -> None:
    """Read until the other end stops or breaks off."""
    with suppress(OSError):
        while peer.drain(READ_SIZE):
            pass
