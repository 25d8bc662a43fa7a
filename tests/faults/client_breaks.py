"""The client goes: behind each octet of its command, and at each step of what the proxy does for it."""

import ssl
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from threading import Event

from tests.faults.breaks import Break, Submit, break_of
from tests.faults.house import STARTTLS, House
from tests.faults.steps import Moment, imap_moments, smtp_moments
from tests.faults.submissions import ALL, PLAIN, SECURED, USUAL, Draft
from tests.functional.fake_imap import Peer
from tests.functional.process import PATIENCE

Leave = Callable[[Peer], None]
LEAVES: Mapping[str, Leave] = {"FIN": Peer.close, "RST": Peer.reset}

# Of a longer command: each octet this near to its ends, and each so many-th of its middle.
EDGE = 40
STRIDE = 20
# How much of its first message by TLS the client sends.
HANDSHAKE_SHARES = (0.0, 0.5, 1.0)


def vanishing(way: str) -> Iterator[Break]:
    """The client sends its command up to there, and goes."""
    for submission in (*USUAL, SECURED):
        length = len(submission.draft(0).command)
        for cut in range(length + 1) if submission is PLAIN else _cuts(length):
            broken = break_of(submission, f"behind octet {cut} of {length}", _vanish(LEAVES[way], cut))
            yield replace(broken, is_sent=_is_sent(way, is_whole=cut == length))


def _cuts(length: int) -> Iterable[int]:
    return sorted({*range(EDGE), *range(0, length, STRIDE), *range(length - EDGE, length + 1)})


def _is_sent(way: str, is_whole: bool) -> bool | None:
    """Tell whether the proxy must have sent it; behind an RST, the command's end may never have been read."""
    return None if is_whole and way == "RST" else is_whole


def _vanish(leave: Leave, cut: int) -> Submit:
    return lambda house, draft: _send_and_leave(house, draft.command[:cut], leave)


def vanishing_before_the_literal(way: str) -> Iterator[Break]:
    """The client announces a synchronizing literal up to there, and goes; last, when it is invited to send it."""
    line_length = PLAIN.draft(0).synchronizing_command.index(b"\n") + 1
    for cut in range(line_length + 1):
        broken = break_of(PLAIN, f"behind octet {cut} of the line", _vanish_in_line(LEAVES[way], cut))
        yield replace(broken, is_sent=False)
    broken = break_of(PLAIN, "behind the +", _vanish_in_line(_once_invited(LEAVES[way]), line_length))
    yield replace(broken, is_sent=False)


def _vanish_in_line(leave: Leave, cut: int) -> Submit:
    return lambda house, draft: _send_and_leave(house, draft.synchronizing_command[:cut], leave)


def _once_invited(leave: Leave) -> Leave:
    def leave_then(client: Peer) -> None:
        assert client.line().startswith(b"+ ")
        leave(client)

    return leave_then


def vanishing_in_starttls(way: str) -> Iterator[Break]:
    """The client asks for TLS up to there, and goes; last, in the middle of its first words by TLS."""
    for cut in range(len(STARTTLS) + 1):
        broken = break_of(SECURED, f"behind octet {cut} of STARTTLS", _vanish_in_starttls(LEAVES[way], cut, 0.0))
        yield replace(broken, is_sent=False)
    for share in HANDSHAKE_SHARES:
        broken = break_of(
            SECURED, f"behind {share} of its hello", _vanish_in_starttls(LEAVES[way], len(STARTTLS), share)
        )
        yield replace(broken, is_sent=False)


def _vanish_in_starttls(leave: Leave, cut: int, share: float) -> Submit:
    def attempt(house: House, _: Draft) -> None:
        with house.stranger() as client:
            client.send(STARTTLS[:cut])
            if cut == len(STARTTLS):
                assert client.answer(b"T").startswith(b"OK")
                hello = _client_hello()
                client.send(hello[: round(share * len(hello))])
            leave(client)
            house.met.set()

    return attempt


def _client_hello() -> bytes:
    """Return what a client says first by TLS."""
    said = ssl.MemoryBIO()
    stream = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname="localhost")
    with suppress(ssl.SSLWantReadError):
        stream.do_handshake()
    return said.read()


def _send_and_leave(house: House, octets: bytes, leave: Leave) -> None:
    with house.client() as client:
        client.send(octets)
        leave(client)
        house.met.set()


def vanishing_meanwhile(way: str) -> Iterator[Break]:
    """The client goes while one of the servers has the proxy wait."""
    for submission in ALL:
        for moment in (*smtp_moments(submission), *imap_moments(submission)):
            yield replace(break_of(submission, f"at {moment.name}", _vanish_at(moment, LEAVES[way])), is_sent=True)


def _vanish_at(moment: Moment, leave: Leave) -> Submit:
    def attempt(house: House, draft: Draft) -> None:
        gone = Event()
        with house.client() as client:
            moment.arm(house, lambda: gone.wait(PATIENCE))
            client.send(draft.command)
            house.await_met()
            leave(client)
            gone.set()

    return attempt
