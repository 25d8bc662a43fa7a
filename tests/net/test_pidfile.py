"""The pidfile: one instance, a stale file, and what is no pidfile."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from imapproxy.errors import ConfigError
from imapproxy.net.pidfile import Pidfile
from tests.net.peers import Log


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "imapproxy.pid"


def test_it_names_the_process_is_readable_for_all_and_goes_at_the_end(path: Path) -> None:
    usual = os.umask(0o077)
    try:
        with Pidfile(str(path)):
            assert path.read_text(encoding="ascii") == f"{os.getpid()}\n"
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(usual)
    assert not path.exists()


def test_a_second_instance_is_refused_and_the_file_left_alone(path: Path) -> None:
    with Pidfile(str(path)):
        with pytest.raises(ConfigError) as caught, Pidfile(str(path)):
            pass
        assert str(caught.value) == (
            f"pidfile: {path} is held by process {os.getpid()}: imapproxy runs already;"
            " stop it, or give this one a pidfile of its own"
        )
        assert path.exists()
    with Pidfile(str(path)):
        pass


def test_one_that_has_not_written_its_number_yet_holds_it_too(path: Path) -> None:
    with path.open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="is held by process of unknown number"), Pidfile(str(path)):
            pass


@pytest.mark.parametrize("content", ["4000000\n", "1", " 17 \n"])
def test_a_stale_file_is_taken_and_said_so(path: Path, content: str, log: Log) -> None:
    path.write_text(content, encoding="ascii")
    with Pidfile(str(path)):
        assert path.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert log.lines == [f"pidfile-stale pidfile={path} pid={content.strip()}"]


def test_an_empty_file_is_taken_without_a_word(path: Path, log: Log) -> None:
    path.touch()
    with Pidfile(str(path)):
        pass
    assert log.lines == []


@pytest.mark.parametrize("content", ["root:x:0:0:root:/root:/bin/bash\n", "-1\n", "1 2\n", "12345678901\n"])
def test_a_file_that_is_no_pidfile_is_left_alone(path: Path, content: str) -> None:
    path.write_text(content, encoding="ascii")
    with pytest.raises(ConfigError, match=f"^pidfile: {path} is there and is no pidfile"), Pidfile(str(path)):
        pass
    assert path.read_text(encoding="ascii") == content


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    path.symlink_to(target)
    with pytest.raises(ConfigError, match=f"^pidfile: cannot write {path}: "), Pidfile(str(path)):
        pass
    assert not target.exists()


def test_a_directory_that_is_missing_is_said(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "pid"
    with (
        pytest.raises(ConfigError, match=f"^pidfile: cannot write {path}: No such file or directory$"),
        Pidfile(str(path)),
    ):
        pass


def test_no_descriptor_is_left_open(path: Path) -> None:
    before = os.listdir("/proc/self/fd")
    with Pidfile(str(path)), pytest.raises(ConfigError), Pidfile(str(path)):
        pass
    assert os.listdir("/proc/self/fd") == before


def test_a_child_that_closes_it_holds_no_lock(path: Path) -> None:
    reader, writer = os.pipe()
    pidfile = Pidfile(str(path))
    with pidfile:
        if (pid := os.fork()) == 0:
            os.close(writer)
            pidfile.close()
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
    with Pidfile(str(path)):
        assert path.exists()
    os.close(writer)
    os.waitpid(pid, 0)


def test_a_file_that_its_last_owner_removes_is_not_taken_for_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening and locking it: the lock would be on a file without a name."""
    usual = fcntl.flock
    taken: list[int] = []

    def flock(fd: int, how: int) -> None:
        if not taken:
            path.unlink()
        taken.append(fd)
        usual(fd, how)

    monkeypatch.setattr(fcntl, "flock", flock)
    with Pidfile(str(path)):
        assert path.read_text(encoding="ascii") == f"{os.getpid()}\n"
    assert len(taken) == 2
