"""Debian packages that some tests need: real servers, clients and tools.

Without them such a test is skipped, and the reason says what to install; with CI in the environment
``tests/conftest.py`` makes that skip a failure.
"""

import os
import shutil
from pathlib import Path

import pytest

# Daemons are named by their path: an ordinary user's PATH may lack /usr/sbin. So is what is no command, or not by name.
PACKAGE_OF = {
    "/usr/bin/bsd-mailx": "bsd-mailx",
    "/usr/bin/fail2ban-server": "fail2ban",
    "/usr/bin/mail.mailutils": "mailutils",
    "/usr/lib/git-core/git-send-email": "git-email",
    "/usr/sbin/dovecot": "dovecot-imapd",
    "/usr/sbin/haproxy": "haproxy",
    "/usr/lib/postfix/sbin/master": "postfix",
    "/usr/share/perl5/Mail/Address.pm": "libmailtools-perl",
    "curl": "curl",
    "dh": "debhelper",
    "dh_python3": "dh-python",
    "fakeroot": "fakeroot",
    "groff": "groff-base",
    "mbsync": "isync",
    "mmdebstrap": "mmdebstrap",
    "mutt": "mutt",
    "systemd-analyze": "systemd",
}


def require(*programs: str) -> None:
    """Skip the test that asks, unless all these programs are installed."""
    missing = sorted({PACKAGE_OF[program] for program in programs if not installed(program)})
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: 'sudo make packages' installs all that is missing")


def installed(program: str) -> bool:
    # Not shutil.which for a path: Postfix's daemons may be executable by root only.
    return Path(program).exists() if program.startswith("/") else shutil.which(program) is not None


def is_root() -> bool:
    return os.geteuid() == 0
