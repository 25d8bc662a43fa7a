"""Who the workers are: each becomes ``user`` and ``group`` before it serves anybody; the parent keeps its user."""

import grp
import os
import pwd
from dataclasses import dataclass

from imapproxy.errors import ConfigError

ROOT = 0


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom to become; ``user`` is "" where only the group changes."""

    user: str
    uid: int
    gid: int


def owner_of(user: str, group: str) -> Owner | None:
    """Return whom ``user`` and ``group`` mean, None where nothing changes; raise ConfigError where that cannot be."""
    if not user and not group:
        return None
    try:
        account = pwd.getpwnam(user) if user else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise ConfigError(f"user: there is no user {user or os.geteuid()!r}; adduser(8) makes one") from None
    try:
        gid = grp.getgrnam(group).gr_gid if group else account.pw_gid
    except KeyError:
        raise ConfigError(f"group: there is no group {group!r}; addgroup(8) makes one") from None
    owner = Owner(account.pw_name, account.pw_uid, gid)
    if os.geteuid() == ROOT:
        return owner
    if (owner.uid, owner.gid) == (os.geteuid(), os.getegid()):
        return None
    changed = f"user: only root can become {user!r}" if user else f"group: only root can change to {group!r}"
    raise ConfigError(f"{changed}; start imapproxy as root, or leave it out")


def drop(owner: Owner) -> None:
    """Become ``owner`` for good, groups included; raise OSError where that fails, with nothing of it undone."""
    os.initgroups(owner.user, owner.gid)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)


def give(path: str, owner: Owner) -> None:
    """Let ``owner`` have a file of ours, which the workers open anew; what is theirs, or not there, is left alone.

    Raise ConfigError where that cannot be.
    """
    try:
        if os.lstat(path).st_uid != owner.uid:
            os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    except FileNotFoundError:
        return
    except OSError as failure:
        raise ConfigError(f"user: cannot give {path} to {owner.user}: {failure.strerror}") from failure
