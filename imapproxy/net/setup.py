"""All that one configuration needs: sockets, keys, and the workers' user. A reload makes another beside it.

Sockets that are wanted before and after a reload are the same ones, so that no client that waits at them is lost.
"""

import logging
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from imapproxy import logs
from imapproxy.config import Config
from imapproxy.logs import LOGGER
from imapproxy.net import journal_file, privileges
from imapproxy.net.checker import Check
from imapproxy.net.children import Close
from imapproxy.net.contexts import TlsContexts, contexts_of
from imapproxy.net.control import ControlSocket
from imapproxy.net.privileges import Owner
from imapproxy.net.server import bind, is_listening, resolve
from imapproxy.net.service import host_name
from imapproxy.net.workers import Assignment, Door, Place

# How long reading a new configuration and all that it names may take, and then making or looking through the journal;
# in seconds.
CHECK_PATIENCE = 10.0
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


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is read for a configuration and not opened: the workers' user, keys, and this machine's name."""

    owner: Owner | None
    contexts: TlsContexts
    host: str


def load(config: Config) -> Loaded:
    """Return what ``config`` names; raise ConfigError if something of it is missing."""
    owner = privileges.owner_of(config.user, config.group)
    return Loaded(owner, contexts_of(config), host_name(config.mail_domain[0]))


def rehearsal(read: Callable[[], Config], current: Setup) -> Check:
    """Return the check of a new configuration, all that may take long but the journal.

    The parent does the same again, which is quick then: what a child has read it cannot hand over.
    """

    def rehearse() -> None:
        LOGGER.setLevel(logging.ERROR)  # what is doubtful, the parent says
        config = read()
        logs.set_up(config.log_to, logging.ERROR)
        load(config)
        for place, is_tls in _places(config).items():
            if place not in current.sockets():
                resolve(place.address, _option(is_tls))
        if config.status_listen:
            resolve(config.status_listen, "status-listen")

    late = f"the configuration could not be read within {CHECK_PATIENCE:g} seconds; a disk or name server is silent"
    return Check(rehearse, CHECK_PATIENCE, late, "the configuration could not be read; the log says why")


def journal_check(path: str, owner: Owner | None) -> Check:
    """Return the check that makes the journal as the workers' user, who then owns the file."""

    def make() -> None:
        if owner:
            privileges.drop(owner)
        journal_file.make(path)

    late = f"journal: {path} could not be opened within {JOURNAL_PATIENCE:g} seconds; mend its disk"
    return Check(make, JOURNAL_PATIENCE, late, f"journal: {path} could not be made; the log says why")


def prepare(
    config: Config,
    loaded: Loaded,
    max_clients: int,
    current: Setup | None,
    control_socket: Callable[[str, Owner | None], ControlSocket],
) -> Setup:
    """Return what ``config`` needs; what ``current`` has and is still wanted is taken over.

    Raise ConfigError, with nothing left open, if something is missing.
    """
    owner, contexts, host = loaded.owner, loaded.contexts, loaded.host
    with ExitStack() as opened:
        sockets = {
            place: stream for place, stream in (current.sockets() if current else {}).items() if is_listening(stream)
        }
        for place, is_tls in _places(config).items():
            if place not in sockets:
                sockets[place] = opened.enter_context(bind(place.address, _option(is_tls)))
        doors = tuple(Door(place, is_tls, sockets[place]) for place, is_tls in _places(config).items())
        status_listener = _status_listener(config, current, opened)
        control = _control(config, owner, current, control_socket)
        opened.pop_all()
    return Setup(Assignment(config, host, contexts, owner, max_clients, doors), control, status_listener)


def _option(is_tls: bool) -> str:
    return "listen-tls" if is_tls else "listen"


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
    listener = current.status_listener if current else None
    if (
        current
        and listener
        and current.assignment.config.status_listen == config.status_listen
        and is_listening(listener)
    ):
        return listener
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


def release(setup: Setup, close: Close, kept: Setup | None = None) -> None:
    """Have ``close`` close what a setup has, except what ``kept`` has, too."""
    if setup.control and not (kept and kept.control is setup.control):
        setup.control.close()
    close(set(setup.streams()) - set(kept.streams() if kept else ()))
