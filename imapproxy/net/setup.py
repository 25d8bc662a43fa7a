"""All that one configuration needs: sockets, keys, and whom the workers become. A reload makes another beside it.

Sockets that are wanted before and after a reload are the same ones, so that nobody who waits at them is lost.
"""

import os
import select
import signal
import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

from imapproxy.config import Config
from imapproxy.errors import ConfigError
from imapproxy.net import journal_file, privileges, workers
from imapproxy.net.contexts import contexts_of
from imapproxy.net.control import ControlSocket
from imapproxy.net.privileges import Owner
from imapproxy.net.server import bind
from imapproxy.net.service import host_name
from imapproxy.net.workers import Assignment, Door, Place

# For the journal to be made or looked through, in seconds; meanwhile the parent answers nobody.
JOURNAL_PATIENCE = 10.0


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """What workers get, and what is for the status."""

    assignment: Assignment
    control: ControlSocket | None
    status_listener: socket.socket | None

    def sockets(self) -> dict[Place, socket.socket]:
        """Return the sockets that clients connect to, by where they are in the configuration."""
        return {door.place: door.stream for door in self.assignment.doors}

    def streams(self) -> list[socket.socket]:
        """Return all sockets that other processes connect to, or are connected to."""
        status = [self.status_listener] if self.status_listener else []
        return [*self.sockets().values(), *status, *(self.control.streams() if self.control else ())]


def prepare(
    config: Config,
    max_clients: int,
    current: Setup | None,
    control_socket: Callable[[str, Owner | None], ControlSocket],
) -> Setup:
    """Return what ``config`` needs; what ``current`` has and is still wanted is taken over.

    Raise ConfigError, with nothing left open, where something is not to be had.
    """
    owner = privileges.owner_of(config.user, config.group)
    contexts = contexts_of(config)
    host = host_name(config.mail_domain[0])
    if config.journal:
        _make_journal(config.journal, owner)
    with ExitStack() as opened:
        sockets = current.sockets() if current else {}
        for place, is_tls in _places(config).items():
            if place not in sockets:
                sockets[place] = opened.enter_context(bind(place.address, "listen-tls" if is_tls else "listen"))
        doors = tuple(Door(place, is_tls, sockets[place]) for place, is_tls in _places(config).items())
        status_listener = _status_listener(config, current, opened)
        control = _control(config, owner, current, control_socket)
        opened.pop_all()
    return Setup(Assignment(config, host, contexts, owner, max_clients, doors), control, status_listener)


def _make_journal(path: str, owner: Owner | None) -> None:
    """Have the journal made, by a child that is whom the workers become: the file is then theirs."""
    reader, writer = os.pipe()
    with open(reader, encoding="utf-8") as stream:
        try:
            pid = workers.fork(lambda: _make_journal_as(owner, path, writer))
        except OSError as failure:
            raise ConfigError(f"journal: cannot start a process that makes it: {failure.strerror}") from failure
        finally:
            os.close(writer)
        if not select.select([stream], [], [], JOURNAL_PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)  # a disk that does not answer may hold it yet
            raise ConfigError(f"journal: {path} could not be opened within {JOURNAL_PATIENCE:g} seconds; mend its disk")
        problem = stream.read()
    if os.waitpid(pid, 0)[1] and not problem:
        problem = f"journal: {path} could not be made; the log says why"
    if problem:
        raise ConfigError(problem)


def _make_journal_as(owner: Owner | None, path: str, writer: int) -> int:
    """Make the journal, or say on the descriptor ``writer`` why that cannot be; return the exit status."""
    try:
        if owner:
            privileges.drop(owner)
        journal_file.make(path)
    except (ConfigError, OSError) as failure:
        os.write(writer, str(failure).encode("utf-8", "replace"))
    return 0


def _places(config: Config) -> dict[Place, bool]:
    """Return where clients connect, and whether they speak TLS from the start there."""
    return {
        Place(address, is_tls and not address.port): is_tls
        for is_tls, addresses in ((False, config.listen), (True, config.listen_tls))
        for address in addresses
    }


def _status_listener(config: Config, current: Setup | None, opened: ExitStack) -> socket.socket | None:
    if config.status_listen is None:
        return None
    if current and current.assignment.config.status_listen == config.status_listen:
        return current.status_listener
    return opened.enter_context(bind(config.status_listen, "status-listen"))


def _control(
    config: Config,
    owner: Owner | None,
    current: Setup | None,
    control_socket: Callable[[str, Owner | None], ControlSocket],
) -> ControlSocket | None:
    if not config.control_socket:
        return None
    if current and current.control and current.control.path == config.control_socket:
        if owner:
            privileges.give(config.control_socket, owner)
        return current.control
    return control_socket(config.control_socket, owner)


def release(setup: Setup, close: Callable[[Iterable[socket.socket]], None], kept: Setup | None = None) -> None:
    """Have ``close`` close what a setup has, except what ``kept`` has, too."""
    if setup.control and not (kept and kept.control is setup.control):
        setup.control.close()
    close(set(setup.streams()) - set(kept.streams() if kept else ()))
