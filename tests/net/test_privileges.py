"""Who the workers become."""

import grp
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from imapproxy.errors import ConfigError
from imapproxy.net.privileges import Owner, give, owner_of

IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
AS_NOBODY = """
import os, sys
from imapproxy.errors import ConfigError
from imapproxy.net.privileges import drop, give, owner_of
drop(owner_of("nobody", sys.argv[1]))
"""


def run(script: str, group: str = "") -> str:
    run = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + script, group], capture_output=True, text=True, check=False, timeout=30
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_without_user_and_group_nothing_changes() -> None:
    assert owner_of("", "") is None


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
@pytest.mark.parametrize(("group", "gid"), [("", NOBODY.pw_gid), ("daemon", grp.getgrnam("daemon").gr_gid)])
def test_root_can_become_anybody_in_the_group_of_his_or_another(group: str, gid: int) -> None:
    assert owner_of("nobody", group) == Owner("nobody", NOBODY.pw_uid, gid)


@pytest.mark.parametrize(
    ("user", "group", "said"),
    [
        ("no-such-user", "", "^user: there is no user 'no-such-user'"),
        ("nobody", "no-such-group", "^group: there is no group 'no-such-group'"),
    ],
)
def test_whoever_is_not_there_is_named(user: str, group: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        owner_of(user, group)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_privileges_are_gone_for_good() -> None:
    said = run("""
print(os.getresuid(), os.getresgid(), os.getgroups())
for become in (os.setuid, os.setgid):
    try: become(0)
    except PermissionError: print("refused")
""")
    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    assert said == f"({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) [{gid}]\nrefused\nrefused\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_the_group_may_be_another() -> None:
    daemon = grp.getgrnam("daemon").gr_gid
    assert run("print(os.getresgid(), os.getgroups())", "daemon") == f"({daemon}, {daemon}, {daemon}) [{daemon}]\n"


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_who_is_not_root_stays_who_he_is() -> None:
    said = run("""
print(owner_of("nobody", ""), owner_of("", grp := "nogroup"))
for wanted in (("daemon", ""), ("", "daemon")):
    try: owner_of(*wanted)
    except ConfigError as failure: print(failure)
""")
    assert said == (
        "None None\n"
        "user: only root can become 'daemon'; start imapproxy as root, or leave it out\n"
        "group: only root can change to 'daemon'; start imapproxy as root, or leave it out\n"
    )


@pytest.mark.skipif(not IS_ROOT, reason="only root can give files away")
def test_a_file_is_given_once(tmp_path: Path) -> None:
    file, link = tmp_path / "log", tmp_path / "link"
    file.touch()
    link.symlink_to(file)
    owner = Owner("nobody", NOBODY.pw_uid, NOBODY.pw_gid)
    give(str(link), owner)
    assert file.stat().st_uid == 0
    give(str(file), owner)
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    os.chown(file, NOBODY.pw_uid, 0)
    give(str(file), owner)
    assert file.stat().st_gid == 0  # logrotate made it so
    give(str(tmp_path / "missing"), owner)


@pytest.mark.skipif(not IS_ROOT, reason="only root can become another user")
def test_a_file_that_cannot_be_given_is_named() -> None:
    said = run("""
from imapproxy.net.privileges import Owner
try: give("/etc/hostname", Owner("daemon", 1, 1))
except ConfigError as failure: print(failure)
""")
    assert said == "user: cannot give /etc/hostname to daemon: Operation not permitted\n"
