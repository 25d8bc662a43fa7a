"""What init and systemd read, checked without either of them running."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.functional.packages import require
from tests.functional.process import taking
from tests.installation.make import ROOT

UNIT = ROOT / "etc/imapproxy.service"
INIT_SCRIPT = ROOT / "etc/imapproxy.init"

# systemd's own measure, in tenths, of what the unit leaves open: 26 at present. A service that starts as root, to bind
# port 143 and to read keys of root's, and that speaks to the network hardly comes below 2.
MOST_EXPOSURE = 30


def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    require("systemd-analyze")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/imapproxy", sys.executable))  # it wants a program that is there
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    # Of the host's own units it may have much to say.
    assert [line for line in said.splitlines() if unit.name in line] == []


def test_systemd_calls_the_unit_well_hardened() -> None:
    require("systemd-analyze")
    threshold = f"--threshold={MOST_EXPOSURE}"
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", threshold, str(UNIT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr


def test_unit_reloads_by_a_signal_without_a_kill_on_the_disk(tmp_path: Path) -> None:
    """Debian's is in procps, which a small system lacks."""
    _, signalling = re.findall(r"(?m)^ExecReload=(.*)$", UNIT.read_text())
    program, *arguments = shlex.split(signalling)
    with taking(signal.SIGHUP):
        process = subprocess.Popen(["sleep", "60"])
    environment = {"MAINPID": str(process.pid), "PATH": str(tmp_path)}
    subprocess.run([shutil.which(program) or program, *arguments], env=environment, check=True)
    assert process.wait(timeout=60) == -signal.SIGHUP


@pytest.mark.parametrize(
    "keyword",
    [
        *("Provides", "Required-Start", "Required-Stop", "Default-Start", "Default-Stop", "Short-Description"),
        "Description",
    ],
)
def test_init_script_tells_what_the_lsb_asks_for(keyword: str) -> None:
    header = re.search(r"### BEGIN INIT INFO\n(.*)### END INIT INFO\n", INIT_SCRIPT.read_text(), re.DOTALL)
    assert header is not None
    assert re.search(rf"^# {keyword}: +\S", header[1], re.MULTILINE)


@pytest.mark.parametrize("script", [INIT_SCRIPT, ROOT / "etc/make-account"], ids=lambda path: path.name)
def test_script_is_good_for_any_shell(script: Path) -> None:
    subprocess.run(["sh", "-n", script], check=True)
