"""What one configuration needs, and what a reload takes over."""

import os
import pwd
import signal
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from imapproxy.config import Config, HostPort, parse_command_line
from imapproxy.errors import ConfigError
from imapproxy.net import journal_file, privileges, setup
from imapproxy.net.control import ControlSocket
from imapproxy.net.loop import Loop
from imapproxy.net.privileges import ROOT, Owner
from imapproxy.net.setup import Setup, journal_check, load, prepare, rehearsal, release
from tests.functional.certificates import Certificates, make_certificates
from tests.functional.process import free_ports, public_directory
from tests.net.checks import outcome
from tests.net.peers import listening, port_of


def configuration(*flags: str) -> Config:
    return parse_command_line(["--mail-domain=example.com", *flags]).config


def control_socket(path: str, owner: Owner | None) -> ControlSocket:
    return ControlSocket(path, owner, Loop(), list, {}, close)


def close(streams: Iterable[socket.socket]) -> None:
    for stream in streams:
        stream.close()


def prepared(*flags: str, current: Setup | None = None) -> Setup:
    config = configuration(*flags)
    loaded = load(config)
    if config.journal and (problem := outcome(journal_check(config.journal, loaded.owner))):
        raise ConfigError(problem)
    return prepare(config, loaded, 7, current, control_socket)


@contextmanager
def held(setup: Setup, kept: Setup | None = None) -> Iterator[Setup]:
    try:
        yield setup
    finally:
        release(setup, close, kept)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def ports() -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(3)]


def test_all_addresses_are_bound(ports: list[str], tmp_path: Path) -> None:
    control = tmp_path / "control"
    flags = (f"--listen={ports[0]}", f"--status-listen={ports[2]}", f"--control-socket={control}")
    with held(prepared(*flags)) as setup:
        assert [(str(door.place.address), door.is_tls) for door in setup.assignment.doors] == [(ports[0], False)]
        assert setup.assignment.max_clients == 7
        assert setup.assignment.owner is None
        assert setup.status_listener
        assert port_of(setup.status_listener) == int(ports[2].rpartition(":")[2])
        assert control.exists()
        assert len(setup.streams()) == 3
    assert not control.exists()


def test_without_status_there_is_no_more_than_the_addresses(ports: list[str]) -> None:
    with held(prepared(f"--listen={ports[0]}", f"--listen={ports[1]}")) as setup:
        assert (setup.control, setup.status_listener) == (None, None)
        assert setup.streams() == list(setup.sockets().values())


def test_a_reload_keeps_the_sockets_it_still_wants(ports: list[str], tmp_path: Path) -> None:
    status = (f"--status-listen={ports[2]}", f"--control-socket={tmp_path / 'control'}")
    first = prepared(f"--listen={ports[0]}", *status)
    with held(prepared(f"--listen={ports[0]}", f"--listen={ports[1]}", *status, current=first)) as second:
        before, after = first.sockets(), second.sockets()
        assert [str(place.address) for place in after.keys() - before.keys()] == [ports[1]]
        assert all(after[address] is stream for address, stream in before.items())
        assert second.control is first.control
        assert second.status_listener is first.status_listener
        release(first, close, kept=second)
        assert all(stream.fileno() >= 0 for stream in second.streams())


def test_a_reload_binds_anew_what_a_worker_has_shut_down(ports: list[str], tmp_path: Path) -> None:
    flags = (f"--listen={ports[0]}", f"--status-listen={ports[2]}", f"--control-socket={tmp_path / 'control'}")
    first = prepared(*flags)
    for stream in (*first.sockets().values(), first.status_listener):
        assert stream
        stream.shutdown(socket.SHUT_RDWR)
    with held(prepared(*flags, current=first)) as second:
        assert second.status_listener
        for stream in (*second.sockets().values(), second.status_listener):
            socket.create_connection(stream.getsockname()[:2]).close()
        release(first, close, kept=second)
        assert all(stream.fileno() >= 0 for stream in second.streams())


def test_what_a_reload_does_not_want_is_released(ports: list[str], tmp_path: Path) -> None:
    old, new = (tmp_path / name for name in ("old", "new"))
    first = prepared(f"--listen={ports[0]}", f"--status-listen={ports[2]}", f"--control-socket={old}")
    with held(prepared(f"--listen={ports[1]}", f"--control-socket={new}", current=first)):
        release(first, close)
        assert [stream.fileno() for stream in first.sockets().values()] == [-1]
        assert (old.exists(), new.exists()) == (False, True)


def test_a_port_that_the_kernel_chose_stays_through_a_reload() -> None:
    first = prepared("--listen=127.0.0.1:0")
    with held(prepared("--listen=127.0.0.1:0", current=first)) as second:
        assert second.sockets() == first.sockets()


def test_the_kernel_chooses_another_port_for_tls(certificates: Certificates) -> None:
    tls = (f"--tls-cert={certificates.both}", "--listen-tls=127.0.0.1:0")
    with held(prepared("--listen=127.0.0.1:0", *tls)) as setup:
        assert [door.is_tls for door in setup.assignment.doors] == [False, True]
        assert len({port_of(door.stream) for door in setup.assignment.doors}) == 2


def test_an_address_may_become_one_for_tls(ports: list[str], certificates: Certificates) -> None:
    first = prepared(f"--listen={ports[0]}")
    flags = ("--listen=", f"--listen-tls={ports[0]}", f"--tls-cert={certificates.both}")
    with held(prepared(*flags, current=first)) as second:
        assert second.sockets() == first.sockets()
        assert [door.is_tls for door in second.assignment.doors] == [True]


def test_a_journal_is_made_by_whom_the_workers_become(ports: list[str]) -> None:
    with public_directory("imapproxy-journal-") as directory:
        journal = directory / "journal"
        flags = ["--user=nobody"] if os.geteuid() == ROOT else []
        owner = pwd.getpwnam("nobody").pw_uid if flags else os.geteuid()
        os.chown(directory, owner, -1)
        with held(prepared(f"--listen={ports[0]}", f"--journal={journal}", *flags)):
            assert {path.name for path in directory.iterdir()} == {"journal", "journal-lock"}
            assert {path.stat().st_uid for path in directory.iterdir()} == {owner}


def test_a_disk_that_does_not_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "JOURNAL_PATIENCE", 0.1)
    monkeypatch.setattr(journal_file, "make", lambda path: signal.pause())
    path = str(tmp_path / "journal")
    late = f"journal: {path} could not be opened within 0.1 seconds; mend its disk"
    assert outcome(journal_check(path, None)) == late


def test_a_directory_that_only_the_parent_can_write_to_is_no_place_for_a_journal(ports: list[str]) -> None:
    with public_directory("imapproxy-journal-") as directory:
        with pytest.raises(ConfigError) as caught:
            prepared(f"--listen={ports[0]}", f"--journal={directory / 'journal'}", "--user=nobody")
        assert str(caught.value).startswith(f"journal: cannot use {directory / 'journal'}: Permission denied;")
        assert list(directory.iterdir()) == []


@pytest.mark.parametrize(
    ("module", "name", "surprise", "reason"),
    [
        (privileges, "drop", PermissionError(1, "not permitted"), "[Errno 1] not permitted"),
        (journal_file, "make", RuntimeError("surprise"), "journal: {0} could not be made; the log says why"),
    ],
)
def test_why_a_journal_was_not_made_is_said_or_where_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, surprise: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise surprise

    monkeypatch.setattr(module, name, fail)
    path = str(tmp_path / "journal")
    assert outcome(journal_check(path, Owner("", 0, 0))) == reason.format(path)


# The rehearsal of a new configuration.


def rehearsed(current: Setup, *flags: str) -> str:
    """Return what is wrong with a configuration, as a child finds it."""
    return outcome(rehearsal(lambda: configuration(*flags), current))


def test_a_good_configuration_passes_and_nothing_is_opened(ports: list[str], tmp_path: Path) -> None:
    with held(prepared(f"--listen={ports[0]}")) as current:
        flags = (f"--status-listen={ports[2]}", f"--control-socket={tmp_path / 'control'}")
        assert rehearsed(current, f"--listen={ports[0]}", f"--listen={ports[1]}", *flags) == ""
        assert not (tmp_path / "control").exists()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--log-to={0}", "log-to: cannot log to {0}: Is a directory"),
        ("--listen-tls=127.0.0.1:0 --tls-cert={0}/empty", "{0}/empty: there is no certificate in it"),
        ("--smtp-password-file={0}/none", "--smtp-password-file: cannot read {0}/none: "),
    ],
)
def test_what_is_wrong_is_found_by_the_child(ports: list[str], tmp_path: Path, flags: str, reason: str) -> None:
    (tmp_path / "empty").touch()
    with held(prepared(f"--listen={ports[0]}")) as current:
        problem = rehearsed(current, f"--listen={ports[0]}", *flags.format(tmp_path).split())
    assert problem.startswith(reason.format(tmp_path))


def test_names_that_are_new_are_resolved_by_the_child(ports: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(address: HostPort, option: str) -> None:
        raise ConfigError(f"{option}: {address} is unknown")

    with held(prepared(f"--listen={ports[0]}")) as current:
        monkeypatch.setattr(setup, "resolve", unknown)
        assert rehearsed(current, f"--listen={ports[0]}") == ""
        assert rehearsed(current, f"--listen={ports[1]}") == f"listen: {ports[1]} is unknown"
        status = (f"--status-listen={ports[2]}", "--control-socket=/nowhere")
        assert rehearsed(current, f"--listen={ports[0]}", *status) == f"status-listen: {ports[2]} is unknown"


def test_a_file_that_does_not_answer_is_not_waited_for(
    ports: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "CHECK_PATIENCE", 0.1)
    with held(prepared(f"--listen={ports[0]}")) as current:
        problem = outcome(rehearsal(read_for_ever, current))
    assert problem == "the configuration could not be read within 0.1 seconds; a disk or name server is silent"


def read_for_ever() -> Config:
    signal.pause()
    raise AssertionError


def test_a_surprise_in_the_child_is_one_for_the_log(ports: list[str]) -> None:
    def read() -> Config:
        raise RuntimeError("surprise")

    with held(prepared(f"--listen={ports[0]}")) as current:
        assert outcome(rehearsal(read, current)) == "the configuration could not be read; the log says why"


@pytest.mark.parametrize("what", ["listen", "status-listen", "control-socket", "tls-cert", "journal"])
def test_where_something_is_not_to_be_had_nothing_is_left_open(ports: list[str], tmp_path: Path, what: str) -> None:
    first = prepared(f"--listen={ports[0]}")
    certificate = tmp_path / "cert"
    certificate.touch()
    (tmp_path / "text").write_text("no database\n" * 100, encoding="ascii")
    with held(first), listening() as other:
        flags = {
            "listen": ["--listen", f"127.0.0.1:{port_of(other)}"],
            "status-listen": ["--status-listen", f"127.0.0.1:{port_of(other)}", "--control-socket", f"{tmp_path}/c"],
            "control-socket": ["--control-socket", f"{tmp_path}"],
            "journal": ["--journal", str(tmp_path / "text")],
            "tls-cert": ["--tls-cert", str(certificate), "--listen-tls", ports[2]],
        }
        before = os.listdir("/proc/self/fd")
        with pytest.raises(ConfigError, match="cert" if what == "tls-cert" else what):
            prepared(f"--listen={ports[0]}", f"--listen={ports[1]}", *flags[what], current=first)
        assert os.listdir("/proc/self/fd") == before
        assert all(isinstance(stream, socket.socket) and stream.fileno() >= 0 for stream in first.streams())
