"""The rules of ARCHITECTURE, read from the sources: who imports whom, where I/O lives, and a test file each module."""

import ast
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
    "config": {"consistency", "errors", "options", "values"},
    "logs": {"errors"},
    "protocol": {"errors"},
    "message": {"errors"},
    "submission": {"errors", "message"},
    "net": {"config", "errors", "logs", "message", "protocol", "submission"},
    "main": {"config", "errors", "logs", "message", "net", "protocol", "submission"},
}

PURE_PARTS = {"errors", "protocol", "message"}

# All that bytes and mail need. No clock, log, environment or random source: time and ids are arguments.
PURE_MODULES = {
    *("abc", "base64", "binascii", "bisect", "codecs", "collections", "contextlib", "dataclasses", "datetime"),
    *("email", "enum", "functools", "idna", "io", "ipaddress", "itertools", "mmap", "operator", "quopri", "re"),
    *("string", "struct", "types", "typing", "unicodedata", "urllib.parse"),
}

NETWORK_MODULES = {
    *("asyncio", "imaplib", "select", "selectors", "smtplib", "socket", "socketserver", "ssl", "threading"),
}

THIRD_PARTY = {"configargparse", "daemon", "idna", "prometheus_client", "_typeshed"}  # the last is there for mypy only


def imported(path: Path) -> Iterator[str]:
    """Yield the dotted name of each module that a source file imports, wherever in it that happens."""
    for node in ast.walk(ast.parse(path.read_bytes(), path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            assert node.module is not None
            # 'from imapproxy import errors' names a part in its list, not in its module.
            names = [alias.name for alias in node.names] if node.module == PACKAGE.name else []
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


def described(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_module_imports_only_the_parts_below_it(module: Path) -> None:
    part = part_of(module)
    assert imported_parts(module) - {part, "__version__"} <= ALLOWED_PARTS[part]


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_only_declared_packages_come_from_outside_the_standard_library(module: Path) -> None:
    assert {top(name) for name in imported_from_outside(module)} <= sys.stdlib_module_names | THIRD_PARTY


@pytest.mark.parametrize("module", [path for path in MODULES if part_of(path) in PURE_PARTS], ids=described)
def test_pure_module_imports_nothing_that_does_io(module: Path) -> None:
    assert {name for name in imported_from_outside(module) if not {name, top(name)} & PURE_MODULES} == set()


@pytest.mark.parametrize("module", [path for path in MODULES if part_of(path) != "net"], ids=described)
def test_network_is_used_in_net_only(module: Path) -> None:
    assert {top(name) for name in imported_from_outside(module)}.isdisjoint(NETWORK_MODULES)


@pytest.mark.parametrize("module", MODULES, ids=described)
def test_module_has_its_test_file(module: Path) -> None:
    inside = module.relative_to(PACKAGE)
    assert (ROOT / "tests" / inside.parent / f"test_{inside.name}").is_file()


def test_command_only_calls_main() -> None:
    assert imported_parts(ROOT / "bin" / "imapproxy") == {"main"}
