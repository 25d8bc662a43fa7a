"""Soak itself, for a moment: with real servers, nothing is lost, doubled or left behind."""

import subprocess
import sys
from pathlib import Path

from tests.functional.dovecot import PROGRAM
from tests.functional.packages import require
from tests.functional.postfix import MASTER

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_soak_finds_nothing() -> None:
    require(PROGRAM, MASTER)
    ran = subprocess.run(
        [sys.executable, "-m", "bench.soak", "6", "24"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "nothing lost, nothing doubled, nothing left behind" in ran.stdout
