"""The daemon, and the process that was started and waits for its word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from imapproxy.net.detach import HIGHEST_LIMIT
from tests.net.peers import PATIENCE

DETACH = """
import os, sys
from imapproxy.net.detach import detach
report = sys.argv[1]
starter = detach()
"""


def run(script: str, report: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that goes on as a daemon; return what the process that was started said and how it ended."""
    return subprocess.run(
        [sys.executable, "-c", DETACH + script, str(report)],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report"


def test_the_starter_waits_until_the_daemon_is_ready(report: Path) -> None:
    started = run("import time; time.sleep(0.2); open(report, 'w').write('done'); starter.ready()", report)
    assert (started.returncode, started.stdout, started.stderr) == (0, "", "")
    assert report.read_text(encoding="ascii") == "done"


def test_it_says_what_the_daemon_says_went_wrong(report: Path) -> None:
    started = run("starter.fail('imapproxy: the port is büsy\\nand so on', 2)", report)
    assert (started.returncode, started.stderr) == (2, "imapproxy: the port is büsy\nand so on\n")


def test_it_notices_that_the_daemon_died(report: Path) -> None:
    started = run("os._exit(0)", report)
    assert started.returncode == 1
    assert started.stderr == "imapproxy: the daemon ended before it was ready; its log says why\n"


def test_only_the_first_word_counts(report: Path) -> None:
    started = run("starter.ready(); starter.fail('no', 2); starter.ready(); starter.close()", report)
    assert (started.returncode, started.stderr) == (0, "")


def test_a_child_of_the_daemon_does_not_keep_the_starter_waiting(report: Path) -> None:
    """Even one that has not closed its end."""
    started = run("starter.ready() if os.fork() else __import__('time').sleep(1)", report)
    assert started.returncode == 0


def test_the_daemon_has_no_terminal_and_is_in_the_same_directory(report: Path) -> None:
    script = """
import resource
links = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
umask = os.umask(0)
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
cores = resource.getrlimit(resource.RLIMIT_CORE)
is_leader = os.getsid(0) == os.getpid()
open(report, "w").write(repr((links, os.getcwd(), oct(umask), hard, cores, is_leader, os.getsid(0))))
starter.ready()
"""
    assert run(script, report).returncode == 0
    links, cwd, umask, hard, cores, is_leader, session = eval(report.read_text(encoding="utf-8"))
    assert links == ["/dev/null"] * 3
    assert (cwd, umask, cores, is_leader) == (os.getcwd(), "0o27", (0, 0), False)
    assert session != os.getsid(0)
    assert 0 < hard <= HIGHEST_LIMIT


def test_descriptors_that_were_open_before_are_closed(report: Path) -> None:
    script = "import re; open(report, 'w').write(' '.join(os.listdir('/proc/self/fd'))); starter.ready()"
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    try:
        started = subprocess.run(
            [sys.executable, "-c", DETACH + script, str(report)],
            pass_fds=(writer,),
            timeout=PATIENCE,
            check=False,
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert started.returncode == 0
    assert str(writer) not in re.findall(r"\d+", report.read_text(encoding="ascii"))[3:]


@pytest.mark.parametrize(
    ("limits", "highest", "after"),
    [((200, 300), 250, (200, 250)), ((300, 300), 250, (250, 250)), ((200, 300), 300, (200, 300))],
)
def test_a_limit_of_descriptors_that_is_too_high_is_lowered(
    report: Path, limits: tuple[int, int], highest: int, after: tuple[int, int]
) -> None:
    before = f"""
import resource
from imapproxy.net import detach as module
module.HIGHEST_LIMIT = {highest}
resource.setrlimit(resource.RLIMIT_NOFILE, {limits})
"""
    script = "open(report, 'w').write(repr(resource.getrlimit(resource.RLIMIT_NOFILE))); starter.ready()"
    arguments = [sys.executable, "-c", before + DETACH + script, str(report)]
    assert subprocess.run(arguments, timeout=PATIENCE, check=False).returncode == 0
    assert report.read_text(encoding="ascii") == repr(after)
