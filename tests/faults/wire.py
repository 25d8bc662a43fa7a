"""A wire between two programs: it passes octets, counts them, and breaks behind a given one.

A house has three wires: from its clients to the proxy, and from the proxy to each of the two servers. One thread passes
what comes on all of them. A ``Trap`` waits on one of them, in one direction, for a number of octets: exactly so many
pass, then it acts before any other does. What it does to the connection on which that octet came is a method of
``Line``; it may as well kill a process, or fill a disk.
"""

import heapq
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from time import monotonic

HOST = "127.0.0.1"
BACKLOG = 64
READ_SIZE = 1 << 16
CONNECT_TIMEOUT = 10.0  # seconds, for a program of ours on loopback
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: what is on its way is dropped


@dataclass(frozen=True)
class Stretch:
    """What came in one direction of a wire before anything came in the other: from octet ``start`` on."""

    wire: str
    is_up: bool
    start: int
    length: int


@dataclass(eq=False)
class Trap:
    """Acts once, ``delay`` seconds after ``octets`` have passed on a wire towards the server (``is_up``) or from it."""

    wire: str
    is_up: bool
    octets: int
    act: Callable[["Line"], object]
    delay: float = 0.0
    met: threading.Event = field(default_factory=threading.Event)


@dataclass(eq=False)
class _Flow:
    """One direction of a line; ``pending`` is what ``target`` does not take now, and then ``source`` is not read."""

    source: socket.socket
    target: socket.socket
    is_up: bool
    pending: bytearray = field(default_factory=bytearray)
    has_ended: bool = False


class Line:
    """A connection by wire, both ends of it. Its methods are for traps: they run in the wires' own thread."""

    def __init__(self, wires: "Wires", wire: str, client: socket.socket, server: socket.socket) -> None:
        self.wire = wire
        self._wires = wires
        self._client, self._server = client, server
        self._flows = (_Flow(client, server, True), _Flow(server, client, False))
        self._is_stalled = False
        self._is_drained = False
        self._is_open = True
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self._watch()

    @property
    def is_broken(self) -> bool:
        """Whether it passes nothing any more."""
        return self._is_stalled or self._is_drained

    # How it may break -------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Break: a FIN to both ends. What they still say is read and dropped."""
        if self._is_open:
            self._is_drained = True
            for flow in self._flows:
                flow.pending.clear()
                with suppress(OSError):
                    flow.target.shutdown(socket.SHUT_WR)
            self._watch()

    def reset(self) -> None:
        """Break: an RST to both ends."""
        for end in (self._client, self._server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._close()

    def stall(self) -> None:
        """Pass nothing more, as a link that is dead: not even that an end has gone."""
        if self._is_open:
            self._is_stalled = True
            self._watch()

    def resume(self) -> None:
        """Pass octets again."""
        if self._is_open:
            self._is_stalled = False
            self._watch()

    def garble(self, octets: bytes) -> None:
        """Break: these octets to the client's end, then a FIN to both."""
        if self._is_open:
            with suppress(OSError):
                self._client.send(octets)
            self.finish()

    # Passing ----------------------------------------------------------------------------------------------------------

    def turn(self, end: socket.socket, events: int) -> None:
        """Do what can be done now at one of the ends."""
        for flow in self._flows:
            try:
                if flow.target is end and events & selectors.EVENT_WRITE and flow.pending:
                    self._send(flow)
                if flow.source is end and events & selectors.EVENT_READ and self._is_open and not flow.pending:
                    self._receive(flow)
            except BlockingIOError:
                pass
            except OSError:
                self.reset()
        if self._is_open:
            self._watch()

    def _receive(self, flow: _Flow) -> None:
        octets = flow.source.recv(READ_SIZE)
        if not octets:
            flow.has_ended = True
            if all(other.has_ended for other in self._flows):
                self._close()
            elif not self._is_drained:
                flow.target.shutdown(socket.SHUT_WR)
            return
        if self._is_drained:
            return
        self._wires.passing(self, flow.is_up, octets, lambda part: self._pass(flow, part))

    def _pass(self, flow: _Flow, octets: bytes | memoryview) -> None:
        if self._is_open and not self._is_drained:
            flow.pending += octets
            if not self._is_stalled:
                self._send(flow)

    def _send(self, flow: _Flow) -> None:
        with suppress(BlockingIOError):
            del flow.pending[: flow.target.send(flow.pending)]

    def _watch(self) -> None:
        """Have the wires' thread wait for what can be done next."""
        up, down = self._flows
        self._wires.watch(self, self._client, self._events(up, down))
        self._wires.watch(self, self._server, self._events(down, up))

    def _events(self, read: _Flow, written: _Flow) -> int:
        if self._is_stalled or not self._is_open:
            return 0
        reads = not read.has_ended and not read.pending
        writes = bool(written.pending) and not self._is_drained
        return selectors.EVENT_READ * reads | selectors.EVENT_WRITE * writes

    def _close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._watch()
            self._client.close()
            self._server.close()
            self._wires.forget(self)


class Wires:
    """Wires by their names, and where each leads to: ``targets`` may change. Open as long as the ``with`` lasts."""

    def __init__(self, targets: Mapping[str, int]) -> None:
        self.targets = dict(targets)
        self._lock = threading.RLock()
        self._selector = selectors.DefaultSelector()
        self._watched: dict[socket.socket, int] = {}
        self._lines: set[Line] = set()
        self._passed: dict[tuple[str, bool], int] = {}
        self._traps: list[Trap] = []
        self._out: set[str] = set()
        self._record: list[Stretch] | None = None
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._is_closing = False
        self._failures: list[Exception] = []

    @contextmanager
    def open(self) -> Iterator[None]:
        """Listen, and pass what comes."""
        with ExitStack() as stack:
            self._listeners = {name: socket.create_server((HOST, 0), backlog=BACKLOG) for name in self.targets}
            for listener in self._listeners.values():
                stack.enter_context(listener)
                listener.setblocking(False)
                self._selector.register(listener, selectors.EVENT_READ)
            self._alarm, alarmed = socket.socketpair()
            for end in (self._alarm, alarmed):
                stack.enter_context(end)
                end.setblocking(False)
            self._selector.register(alarmed, selectors.EVENT_READ)
            self._alarmed = alarmed
            stack.callback(self._selector.close)
            thread = threading.Thread(target=self._serve, daemon=True)
            thread.start()
            try:
                yield
            finally:
                self._is_closing = True
                self._wake()
                thread.join()
                for line in list(self._lines):
                    line.reset()

    def port(self, name: str) -> int:
        """Return where a wire begins on 127.0.0.1."""
        port: int = self._listeners[name].getsockname()[1]
        return port

    # What may happen on them ------------------------------------------------------------------------------------------

    def arm(self, trap: Trap) -> None:
        """Count octets anew, from none, and have the trap wait for its own; no other waits then."""
        with self._lock:
            self._passed.clear()
            self._traps = [trap]

    def disarm(self) -> None:
        """Have no trap wait any more, and nothing happen later; raise what went wrong with what happened."""
        with self._lock:
            self._traps.clear()
            self._timers.clear()
            failures, self._failures = self._failures, []
        if failures:
            raise failures[0]

    def mend(self) -> None:
        """Have all wires pass again; what is broken or stalled ends."""
        with self._lock:
            self._out.clear()
            for line in [line for line in self._lines if line.is_broken]:
                line.reset()

    def cut(self, name: str) -> None:
        """Break all lines of a wire, and each that is tried from now on."""
        with self._lock:
            self._out.add(name)
            for line in [line for line in self._lines if line.wire == name]:
                line.reset()

    def restore(self, name: str) -> None:
        """Have a wire pass again that was cut."""
        with self._lock:
            self._out.discard(name)

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Have the wires' thread do that, if nothing is cleared before."""
        with self._lock:
            heapq.heappush(self._timers, (monotonic() + seconds, next(self._order), act))
        self._wake()

    @contextmanager
    def recorded(self) -> Iterator[Sequence[Stretch]]:
        """Count octets from none, and note what passes for as long as this lasts."""
        record: list[Stretch] = []
        with self._lock:
            self._passed.clear()
            self._record = record
        yield record
        with self._lock:
            self._record = None

    # For lines --------------------------------------------------------------------------------------------------------

    def passing(self, line: Line, is_up: bool, octets: bytes, pass_on: Callable[[bytes | memoryview], None]) -> None:
        """Count octets that come on a line, pass them on, and act in between where a trap waits for that."""
        where = (line.wire, is_up)
        view = memoryview(octets)
        passed = self._passed.get(where, 0)
        self._passed[where] = passed + len(octets)
        self._note(where, passed, len(octets))
        for trap in [trap for trap in self._traps if (trap.wire, trap.is_up) == where]:
            if trap.octets <= passed + len(view):
                before = max(0, trap.octets - passed)
                pass_on(view[:before])
                passed, view = passed + before, view[before:]
                self._spring(trap, line)
        pass_on(view)

    def _spring(self, trap: Trap, line: Line) -> None:
        self._traps.remove(trap)
        if trap.delay:
            self.later(trap.delay, lambda: self._act(trap, line))
        else:
            self._act(trap, line)

    def _act(self, trap: Trap, line: Line) -> None:
        try:
            trap.act(line)
        except Exception as failure:  # it is raised in the thread of the break
            self._failures.append(failure)
        trap.met.set()

    def _note(self, where: tuple[str, bool], start: int, length: int) -> None:
        if self._record is None:
            return
        wire, is_up = where
        last = next((index for index in reversed(range(len(self._record))) if self._record[index].wire == wire), None)
        if last is not None and self._record[last].is_up == is_up:
            before = self._record[last]
            self._record[last] = Stretch(wire, is_up, before.start, before.length + length)
        else:
            self._record.append(Stretch(wire, is_up, start, length))

    def watch(self, line: Line, end: socket.socket, events: int) -> None:
        """Have ``line.turn`` called when one of the events comes at its end."""
        before = self._watched.get(end, 0)
        if events == before:
            return
        if not before:
            self._selector.register(end, events, line)
        elif events:
            self._selector.modify(end, events, line)
        else:
            self._selector.unregister(end)
        if events:
            self._watched[end] = events
        else:
            del self._watched[end]

    def forget(self, line: Line) -> None:
        """Take notice that a line is closed."""
        self._lines.discard(line)

    # The thread -------------------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        listeners = {listener.fileno(): name for name, listener in self._listeners.items()}
        while not self._is_closing:
            ready = self._selector.select(self._wait())
            with self._lock:
                for key, events in ready:
                    if isinstance(key.data, Line):
                        # An act of another line may have closed this one meanwhile.
                        if isinstance(key.fileobj, socket.socket) and key.fileobj in self._watched:
                            key.data.turn(key.fileobj, events)
                    elif key.fd in listeners:
                        self._accept(listeners[key.fd])
                    else:
                        self._alarmed.recv(READ_SIZE)
                self._act_in_time()

    def _wait(self) -> float | None:
        with self._lock:
            return max(0.0, self._timers[0][0] - monotonic()) if self._timers else None

    def _act_in_time(self) -> None:
        while self._timers and self._timers[0][0] <= monotonic():
            heapq.heappop(self._timers)[2]()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._alarm.send(b"!")

    def _accept(self, name: str) -> None:
        try:
            client, _ = self._listeners[name].accept()
        except OSError:
            return
        server = None if name in self._out else self._connected(name)
        if server is None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            client.close()
            return
        line = Line(self, name, client, server)
        self._lines.add(line)
        for trap in [trap for trap in self._traps if trap.wire == name and trap.octets == 0]:
            self._spring(trap, line)

    def _connected(self, name: str) -> socket.socket | None:
        try:
            return socket.create_connection((HOST, self.targets[name]), CONNECT_TIMEOUT)
        except OSError:
            return None
