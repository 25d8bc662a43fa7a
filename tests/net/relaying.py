"""A relay in a thread between two peers, with a stage in its session's place: for the tests of ``net.relay``."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from imapproxy.net.connection import Connection
from imapproxy.net.deflate import DeflatedConnection
from imapproxy.net.relay import Patience, Pause, Relay
from imapproxy.net.tls import accept_tls
from imapproxy.protocol.action import Action, Compress, DraftOctets, LoggedIn, LoginRefused, StartTls
from imapproxy.protocol.capability import is_reusable
from imapproxy.protocol.dialogue import Dialogue
from imapproxy.protocol.terms import Terms
from tests.net.layers import contexts, deflated, secured
from tests.net.peers import PATIENCE, Background, Peer, Stop, stop_descriptor, tcp_pair

GREETING = b"* OK ready\r\n"
NOT_SOON = 2 * PATIENCE
PATIENT = Patience(NOT_SOON, NOT_SOON)
SOON = 0.3  # seconds
SMALL_BUFFERS = 16 * 1024
MAX_DRAFT = 8 << 20

# What is between the octets and TCP, outermost last.
Layers = tuple[str, ...]
PLAIN: Layers = ()
TLS: Layers = ("tls",)
DEFLATE: Layers = ("deflate",)
BOTH: Layers = ("tls", "deflate")


class Stage:
    """A session without its surroundings: each submission is noted and answered with OK."""

    def __init__(self, client: Connection | DeflatedConnection, upstream: Connection, patience: Patience, stop_fd: int):
        self.handled: list[Action] = []
        self.draft = b""
        self.submitted: list[bytes] = []
        self.amid_submission: Callable[[], None] = lambda: None
        self.hold = 0.0  # seconds for which the client is not read after a login, accepted or refused
        self.dialogue = Dialogue(Terms(MAX_DRAFT, is_reusable, starttls=True), is_secure=False)
        plain = client if isinstance(client, Connection) else Connection(client.socket)
        deadline = time.monotonic() + patience.login
        self.relay = Relay(plain, upstream, self.dialogue, self.handle, patience, deadline, stop_fd)
        if client is not plain:
            self.relay.replace_client(client)
        self._stop_fd = stop_fd

    def handle(self, action: Action) -> None:
        if isinstance(action, DraftOctets):
            self.draft += action.octets
        else:
            self.handled.append(action)
        if isinstance(action, LoggedIn | LoginRefused) and self.hold:
            self.relay.hold_client(self.hold)

    def run(self) -> str:
        """Relay to the end, close both sockets, and return the reason."""
        with self.relay.upstream.socket:
            try:
                while (pause := self.relay.run()) is not None:
                    self._pause(pause)
            finally:
                self.relay.client.socket.close()
        return self.relay.end

    def _pause(self, pause: Pause) -> None:
        client = self.relay.client
        if isinstance(pause, StartTls):
            assert isinstance(client, Connection)
            stream = accept_tls(client.socket, contexts().server, time.monotonic() + PATIENCE, self._stop_fd)
            self.relay.replace_client(client.continued_over(stream))
            self.dialogue.tls_started()
        elif isinstance(pause, Compress):
            assert isinstance(client, Connection)
            self.relay.replace_client(DeflatedConnection(client, self.dialogue.taken_back()))
        else:
            self.submitted.append(self.draft)
            self.draft = b""
            self.amid_submission()
            self.relay.perform(self.dialogue.submitted())

    def held(self) -> int:
        """Return how many octets wait to be sent."""
        return max(self.relay.client.backlog_size, self.relay.upstream.backlog_size)


class Running:
    """A relay that runs, its two peers, and the end of the session."""

    def __init__(self, client: Peer, server: Peer, stage: Stage, stop: Stop) -> None:
        self.client = client
        self.server = server
        self.stage = stage
        self.stop = stop
        self._work: Background[str] | None = None

    def begin(self) -> None:
        self._work = Background(self.stage.run)

    def end(self) -> str:
        """Return why the session ended, which it must do now."""
        assert self._work is not None
        return self._work.result()

    def greet(self) -> None:
        """Have the server greet before the relay runs."""
        self.stage.relay.perform(self.stage.dialogue.from_upstream(GREETING, len(GREETING)))
        self.client.expect(GREETING)

    def log_in(self) -> None:
        exchange = [(b"", GREETING), (b"a LOGIN fred pencil\r\n", b"a OK done\r\n")]
        for command, answer in exchange:
            self.converse(command, answer)

    def converse(self, command: bytes, answer: bytes) -> None:
        """Have a command pass, and its answer."""
        if command:
            self.client.say(command)
            self.server.expect(command)
        self.server.say(answer)
        self.client.expect(answer)


@contextmanager
def standing_by(
    patience: Patience = PATIENT,
    buffer_size: int | None = None,
    client_layers: Layers = PLAIN,
    server_layers: Layers = PLAIN,
) -> Iterator[Running]:
    """Connect two peers to a relay that does not run yet."""
    with ExitStack() as stack:
        stop = stack.enter_context(stop_descriptor())
        client, client_side = layered(buffer_size, client_layers, is_server=False)
        stack.callback(client.close)
        stack.callback(client_side.socket.close)
        server, server_side = layered(buffer_size, server_layers, is_server=True)
        stack.callback(server.close)
        stack.callback(server_side.socket.close)
        assert isinstance(server_side, Connection)
        yield Running(client, server, Stage(client_side, server_side, patience, stop.fd), stop)


def layered(buffer_size: int | None, layers: Layers, is_server: bool) -> tuple[Peer, Connection | DeflatedConnection]:
    """Return a peer and our connection to it; ``is_server`` says what the peer is."""
    peer, stream = tcp_pair(buffer_size)
    connection = Connection(stream)
    if "tls" in layers:
        peer, connection = secured(peer, connection, is_server)
    return deflated(peer, connection) if "deflate" in layers else (peer, connection)


@contextmanager
def relaying(
    patience: Patience = PATIENT,
    buffer_size: int | None = None,
    client_layers: Layers = PLAIN,
    server_layers: Layers = PLAIN,
) -> Iterator[Running]:
    """Have two peers connected by a relay; it must end when they have gone."""
    with standing_by(patience, buffer_size, client_layers, server_layers) as running:
        running.begin()
        try:
            yield running
        finally:
            running.client.close()
            running.server.close()
            running.end()


@contextmanager
def logged_in(
    patience: Patience = PATIENT,
    buffer_size: int | None = None,
    client_layers: Layers = PLAIN,
    server_layers: Layers = PLAIN,
) -> Iterator[Running]:
    with relaying(patience, buffer_size, client_layers, server_layers) as running:
        running.log_in()
        yield running


def resident() -> int:
    """Return how many octets of memory this process occupies."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
