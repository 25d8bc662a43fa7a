"""The rules of ARCHITECTURE, read from the sources: who imports whom, where I/O lives, and a test file each module."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "imapproxy"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")

# What each part may import of the project; a part is a module or a folder, and may always import itself.
ALLOWED_PARTS = {
    "errors": set(),
    "values": set(),
    "options": {"values"},
    "consistency": {"options", "values"},
    "ini": {"errors"},
    "config": {"consistency", "errors", "ini", "options", "values"},
    "logs": {"errors"},
    "protocol": {"errors"},
    "message": {"errors"},
    "submission": {"errors", "message"},
    "client": {"errors", "message", "protocol"},
    "net": {"config", "errors", "logs", "message", "protocol", "submission"},
    "main": {"config", "errors", "logs", "message", "net", "protocol", "submission"},
    "sendmail": {"client", "errors", "ini", "message", "net", "protocol", "values"},
}

PURE_PARTS = {"errors", "protocol", "message", "sendmail"}

# What of imap-submit meets files, terminals and servers. All else that it does is pure.
SHELL_OF_SENDMAIL = {
    PACKAGE / "sendmail" / f"{name}.py"
    for name in ("accounts", "command_line", "connection", "credentials", "main", "progress")
}

# All that bytes and mail need. No clock, log, environment or random source: time and ids are arguments.
PURE_MODULES = {
    *("abc", "base64", "binascii", "bisect", "codecs", "collections", "contextlib", "dataclasses", "datetime"),
    *("email", "enum", "functools", "idna", "io", "ipaddress", "itertools", "mmap", "operator", "quopri", "re"),
    *("string", "struct", "types", "typing", "unicodedata", "urllib.parse"),
}

# Of os, its numbers for sysexits.h are pure.
EXIT_STATUS = re.compile(r"os\.EX_[A-Z]+")

NETS_OWN = {
    *("asyncio", "imaplib", "select", "selectors", "smtplib", "socket", "socketserver", "ssl", "threading"),
    *("fcntl", "hashlib", "sqlite3"),
}

# The library speaks over a connection of its user's, which is an object of that module.
BESIDE_NET = {"client": {"imaplib"}}

COMMANDS = {"imapproxy": "imapproxy.main", "imap-submit": "imapproxy.sendmail.main"}

THIRD_PARTY = {"configargparse", "daemon", "idna", "prometheus_client", "_typeshed"}  # the last is there for mypy only


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of each module that a source file imports, wherever in it that happens."""
    for node in ast.walk(ast.parse(path.read_bytes(), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            # 'from imapproxy import errors' names a part in its list, not in its module; and os has many sides.
            names = [alias.name for alias in node.names] if node.module in (PACKAGE.name, "os") else []
            yield from (f"{node.module}.{name}" for name in names)
            yield from () if names else (node.module,)


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported_parts(path: Path) -> set[str]:
    names = (name.split(".") for name in imported(path))
    return {parts[1] for parts in names if parts[0] == PACKAGE.name and len(parts) > 1}


def imported_from_outside(path: Path) -> set[str]:
    return {name for name in imported(path) if top(name) != PACKAGE.name}


def top(name: str) -> str:
    return name.partition(".")[0]


def is_pure(path: Path) -> bool:
    return part_of(path) in PURE_PARTS and path not in SHELL_OF_SENDMAIL


def is_pure_import(name: str) -> bool:
    if top(name) == PACKAGE.name:
        return is_pure(PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py"))
    return bool({name, top(name)} & PURE_MODULES or EXIT_STATUS.fullmatch(name))


def described(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_module_imports_only_the_parts_below_it(module: Path) -> None:
    part = part_of(module)
    assert imported_parts(module) - {part, "__version__"} <= ALLOWED_PARTS[part]


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_only_declared_packages_come_from_outside_the_standard_library(module: Path) -> None:
    assert {top(name) for name in imported_from_outside(module)} <= sys.stdlib_module_names | THIRD_PARTY


@pytest.mark.parametrize("module", [path for path in MODULES if is_pure(path)], ids=described)
def test_pure_module_imports_nothing_that_does_io(module: Path) -> None:
    assert {name for name in imported(module) if not is_pure_import(name)} == set()


@pytest.mark.parametrize("module", [path for path in MODULES if part_of(path) != "net"], ids=described)
def test_what_is_net_s_own_is_used_in_net_only(module: Path) -> None:
    used = {top(name) for name in imported_from_outside(module)} & NETS_OWN
    assert used <= BESIDE_NET.get(part_of(module), set())


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_module_has_its_test_file(module: Path) -> None:
    inside = module.relative_to(PACKAGE)
    assert (ROOT / "tests" / inside.parent / f"test_{inside.name}").is_file()


@pytest.mark.parametrize("command", COMMANDS)
def test_command_only_calls_main(command: str) -> None:
    assert set(imported(ROOT / "bin" / command)) == {"sys", COMMANDS[command]}


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_architecture_names_the_module(module: Path) -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert re.search(rf"\b{module.stem}\b", page)
