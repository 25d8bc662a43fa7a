"""A log line that cannot be forged, and where the lines go."""

import fcntl
import logging
import logging.handlers
import multiprocessing
import os
import re
import shlex
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imapproxy import logs
from imapproxy.errors import ConfigError
from imapproxy.logs import LOGGER, LONGEST_VALUE, SharedFile, record, separate, set_up, syslog_handler

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"

LINES: list[tuple[dict[str, object], str]] = [
    ({}, "event"),
    ({"user": "fred", "client": "192.0.2.1"}, "event user=fred client=192.0.2.1"),
    ({"client": "2001:db8::1", "size": 42, "seconds": 0.5}, "event client=2001:db8::1 size=42 seconds=0.5"),
    ({"message_id": "<a+b.c@example.org>"}, "event message_id=<a+b.c@example.org>"),
    ({"user": None, "size": 0}, "event size=0"),
    ({"user": ""}, 'event user=""'),
    ({"user": b"fred"}, "event user=fred"),
    ({"user": b"fred\xff"}, r'event user="fred\xff"'),
    ({"user": "fr\u00e9d"}, r'event user="fr\xc3\xa9d"'),
    ({"user": "fred\udcff"}, r'event user="fred\xed\xb3\xbf"'),
    ({"user": "fred client=10.0.0.1"}, 'event user="fred client=10.0.0.1"'),
    ({"user": "a=b"}, 'event user="a=b"'),
    ({"user": 'fred" client="10.0.0.1'}, r'event user="fred\" client=\"10.0.0.1"'),
    ({"user": "fred\\"}, r'event user="fred\\"'),
    ({"user": "\\x41"}, r'event user="\\x41"'),
    ({"user": "fred\r\nlogin user=root"}, r'event user="fred\x0d\x0alogin user=root"'),
    ({"user": "\x1b[2J\x00\x7f\t"}, r'event user="\x1b[2J\x00\x7f\x09"'),
    ({"user": "\u2028\x85"}, r'event user="\xe2\x80\xa8\xc2\x85"'),
    ({"user": "x" * LONGEST_VALUE}, "event user=" + "x" * LONGEST_VALUE),
    ({"user": "x" * (LONGEST_VALUE + 1)}, 'event user="' + "x" * LONGEST_VALUE + '..."'),
]


@pytest.mark.parametrize(("fields", "want"), LINES)
def test_record(fields: dict[str, object], want: str) -> None:
    assert record("event", **fields) == want


@given(st.binary(max_size=LONGEST_VALUE), st.text(max_size=50))
def test_values_can_be_told_apart_and_read_back(octets: bytes, text: str) -> None:
    line = record("event", first=octets, second=text)
    assert re.fullmatch("[ -~]+", line)
    match = re.fullmatch(r'event first=([^" ]+|"(?:[^"\\]|\\.)*") second=([^" ]+|"(?:[^"\\]|\\.)*")', line)
    assert match
    assert unquoted(match[1]) == octets
    assert unquoted(match[2]) == text.encode("utf-8")


def unquoted(value: str) -> bytes:
    if not value.startswith('"'):
        return value.encode("ascii")
    return value[1:-1].encode("ascii").decode("unicode_escape").encode("latin-1")


def test_a_shell_reads_it_too() -> None:
    assert shlex.split(record("event", user="a b", text='say "hi"')) == ["event", "user=a b", 'text=say "hi"']


@pytest.fixture(autouse=True)
def _logger_as_it_was() -> Iterator[None]:
    handlers, level, propagate = LOGGER.handlers[:], LOGGER.level, LOGGER.propagate
    raises = logging.raiseExceptions
    yield
    logging.raiseExceptions = raises
    for handler in LOGGER.handlers[:]:
        if handler not in handlers:
            LOGGER.removeHandler(handler)
            handler.close()
    LOGGER.handlers[:], LOGGER.propagate = handlers, propagate
    LOGGER.setLevel(level)


def test_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("stderr", logging.INFO)
    LOGGER.debug("unheard")
    LOGGER.info(record("login", user="fred"))
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(TIME + r" imapproxy\[\d+\]: INFO login user=fred\n", err)


def test_a_file_that_logrotate_moves(tmp_path: Path) -> None:
    log = tmp_path / "imapproxy.log"
    set_up(str(log), logging.WARNING)
    LOGGER.warning("first")
    log.rename(tmp_path / "imapproxy.log.1")
    LOGGER.warning("second %s", "\u00e9\udcff")
    LOGGER.info("unheard")
    assert re.fullmatch(TIME + r" imapproxy\[\d+\]: WARNING first\n", (tmp_path / "imapproxy.log.1").read_text())
    assert log.read_text(encoding="utf-8").endswith("WARNING second \u00e9\\udcff\n")


def test_a_file_that_cannot_be_opened_anew_is_written_where_it_is_now(tmp_path: Path) -> None:
    """As by a worker without the right to make files there, where logrotate makes none for it."""
    directory = tmp_path / "log"
    directory.mkdir()
    set_up(str(directory / "imapproxy.log"), logging.INFO)
    directory.rename(tmp_path / "moved")
    LOGGER.info("here")
    assert (tmp_path / "moved" / "imapproxy.log").read_text().endswith(" here\n")
    directory.mkdir()
    LOGGER.info("there")
    assert (directory / "imapproxy.log").read_text().endswith(" there\n")


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    set_up("/dev/full", logging.INFO)
    LOGGER.info("unheard")


def test_lines_of_several_processes_do_not_mix(tmp_path: Path) -> None:
    log = tmp_path / "imapproxy.log"
    set_up(str(log), logging.INFO)
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=log_long_lines, args=(letter,)) for letter in "abcd"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 4 * 50
    assert all(re.fullmatch(TIME + r" imapproxy\[\d+\]: INFO ([abcd])\1{19999}", line) for line in lines)


def log_long_lines(letter: str) -> None:
    for _ in range(50):
        LOGGER.info(letter * 20_000)


def test_a_log_is_no_business_of_others(tmp_path: Path) -> None:
    set_up(str(tmp_path / "log"), logging.INFO)
    assert (tmp_path / "log").stat().st_mode & 0o007 == 0


def test_a_closed_file_is_closed_once(tmp_path: Path) -> None:
    handler = SharedFile(str(tmp_path / "log"))
    handler.close()
    handler.close()


def test_a_traceback_stays_on_the_line_of_its_event(tmp_path: Path) -> None:
    log = tmp_path / "imapproxy.log"
    set_up(str(log), logging.INFO)
    try:
        raise ValueError("hostile\nlogin user=root\x1b[2J\u2028")
    except ValueError:
        LOGGER.exception("failure")
    (line,) = log.read_text(encoding="utf-8").splitlines()
    assert r"ERROR failure\nTraceback" in line
    assert line.endswith(r"ValueError: hostile\nlogin user=root\x1b[2J\u2028")


def test_the_system_log(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        handler = syslog_handler(str(tmp_path / "log"))
        handler.handle(logging.LogRecord("imapproxy", logging.WARNING, "", 0, record("login", user="é"), None, None))
        handler.close()
        datagram = daemon.recv(1024)
    # RFC 3164, 4.1.1: facility mail is 2, severity warning 4.
    assert re.fullmatch(rb'<20>imapproxy\[\d+\]: WARNING login user="\\xc3\\xa9"', datagram)


def forked(body: Callable[[], object]) -> None:
    """Have ``body`` done by a child, which is a worker or another of the parent's children."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            separate()
            body()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def test_a_child_cannot_connect_its_parents_socket_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SYSTEM_LOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        daemon.settimeout(10)
        set_up("syslog", logging.INFO)
        LOGGER.info("first")
        (handler,) = LOGGER.handlers
        assert isinstance(handler, logging.handlers.SysLogHandler)

        def tamper() -> None:
            LOGGER.info("second")
            vars(handler)["socket"].connect("\0nowhere-" + str(tmp_path))

        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nowhere:
            nowhere.bind("\0nowhere-" + str(tmp_path))
            forked(tamper)
            LOGGER.info("third")
        assert [daemon.recv(100).split()[-1] for _ in range(3)] == [b"first", b"second", b"third"]


def test_a_child_has_a_log_file_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    set_up(str(log), logging.INFO)
    (handler,) = LOGGER.handlers
    assert isinstance(handler, SharedFile)
    log.rename(tmp_path / "moved")

    def tamper() -> None:
        (tmp_path / "log").touch()
        fcntl.fcntl(handler._fd, fcntl.F_SETFL, os.O_DIRECT)  # after that it takes no lines

    forked(tamper)
    (tmp_path / "log").unlink()
    (tmp_path / "moved").rename(log)
    LOGGER.info("here")
    assert log.read_text().endswith(" here\n")


@contextmanager
def leased(path: Path) -> Iterator[None]:
    """Have another process that makes the file, and that the kernel asks before anybody else may open it."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            signal.signal(signal.SIGIO, signal.SIG_IGN)
            lease = os.open(path, os.O_RDWR | os.O_CREAT)
            fcntl.fcntl(lease, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            os.write(writer, b"\n")
            signal.pause()
        finally:
            os._exit(1)
    try:
        os.read(reader, 1)
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)
        os.close(writer)


def test_a_log_file_that_somebody_has_a_lease_on_is_not_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "log"
    set_up(str(log), logging.INFO)
    log.rename(tmp_path / "moved")
    began = time.monotonic()
    with leased(log):
        LOGGER.info("first")
    assert time.monotonic() - began < 30  # a lease is broken by force after 45 s (/proc/sys/fs/lease-break-time)
    LOGGER.info("second")
    assert (tmp_path / "moved").read_text().endswith(" first\n")
    assert log.read_text().endswith(" second\n")


def test_without_a_daemon_for_the_system_log_lines_are_lost_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "SYSTEM_LOG", str(tmp_path / "log"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(tmp_path / "log"))
        set_up("syslog", logging.INFO)
    LOGGER.info("unheard")
    assert capfd.readouterr() == ("", "")


def test_set_up_again_replaces_what_was(tmp_path: Path) -> None:
    set_up(str(tmp_path / "first"), logging.INFO)
    set_up(str(tmp_path / "second"), logging.INFO)
    LOGGER.info("here")
    assert (tmp_path / "first").read_text() == ""
    assert (tmp_path / "second").read_text().endswith(" here\n")


def test_a_file_that_cannot_be_opened_leaves_the_log_where_it_was(tmp_path: Path) -> None:
    log, missing = tmp_path / "log", tmp_path / "missing" / "log"
    set_up(str(log), logging.INFO)
    with pytest.raises(ConfigError) as caught:
        set_up(str(missing), logging.INFO)
    assert str(caught.value) == f"log-to: cannot log to {missing}: No such file or directory"
    LOGGER.info("still here")
    assert log.read_text().endswith(" still here\n")


def test_the_system_log_is_where_it_always_is() -> None:
    set_up("syslog", logging.INFO)
    (handler,) = LOGGER.handlers
    assert isinstance(handler, logging.handlers.SysLogHandler)
    assert handler.address == "/dev/log"
