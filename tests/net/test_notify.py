"""What the service manager is told: sd_notify(3)."""

import os
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imapproxy.net import notify
from tests.net.peers import PATIENCE


@pytest.fixture(params=["/", "@"])
def manager(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager's socket, by its path or abstract."""
    path = str(tmp_path / "notify@here")
    shown = path if request.param == "/" else f"@{path}"
    monkeypatch.setenv(notify.VARIABLE, shown)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as stream:
        stream.settimeout(PATIENCE)
        stream.bind(path if request.param == "/" else f"\0{path}")
        yield stream


@pytest.mark.parametrize(
    ("say", "said"),
    [
        (notify.ready, rf"READY=1\nMAINPID={os.getpid()}"),
        (notify.reloading, r"RELOADING=1\nMONOTONIC_USEC=\d+"),
        (notify.stopping, "STOPPING=1"),
    ],
    ids=["ready", "reloading", "stopping"],
)
def test_the_manager_is_told(manager: socket.socket, say: Callable[[], None], said: str) -> None:
    say()
    assert re.fullmatch(said, manager.recv(1000).decode("ascii"))


@pytest.mark.parametrize("address", [None, "", "/nowhere/at/all", "@nobody-listens", "vsock:2:1"])
def test_without_one_nothing_happens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv(notify.VARIABLE, raising=False)
    if address is not None:
        monkeypatch.setenv(notify.VARIABLE, address)
    notify.ready()
