"""One set of requirements, told four times: to pip, to Debian, to ``make install`` and to the test machine."""

import re

from imapproxy import __version__
from tests.installation.machine import PACKAGES
from tests.installation.make import ROOT

# What Debian 12 calls each of them, and which version it has.
IN_DEBIAN_12 = {
    "configargparse": ("python3-configargparse", (1, 5, 3)),
    "idna": ("python3-idna", (3, 3)),
    "prometheus-client": ("python3-prometheus-client", (0, 16, 0)),
    "python-daemon": ("python3-daemon", (2, 3, 2)),
}


def requirements() -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """Return setup.py's: name -> the lowest version, and the first that is too high."""
    listed = re.search(r"install_requires=\[(.*?)\]", (ROOT / "setup.py").read_text(), re.DOTALL)
    assert listed is not None
    found = re.findall(r'"([a-z-]+)>=([0-9.]+),<([0-9.]+)"', listed[1])
    return {name: (version(lowest), version(bound)) for name, lowest, bound in found}


def version(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split(".")))


def test_ranges_admit_what_debian_has() -> None:
    assert requirements().keys() == IN_DEBIAN_12.keys()
    for name, (lowest, bound) in requirements().items():
        assert lowest <= IN_DEBIAN_12[name][1] < bound


def test_package_depends_on_the_same() -> None:
    control = (ROOT / "debian/control").read_text()
    depends = re.search(r"\nDepends:(.*?)\n\S", control, re.DOTALL)
    assert depends is not None
    found = dict(re.findall(r"(python3-[a-z-]+) \(>= ([0-9.]+)\)", depends[1]))
    assert {name: version(lowest) for name, lowest in found.items()} == {
        IN_DEBIAN_12[name][0]: lowest for name, (lowest, _) in requirements().items()
    }


def test_make_install_asks_for_the_same() -> None:
    listed = re.search(r"^RUN_PACKAGES := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    assert set(listed[1].split()) == {package for package, _ in IN_DEBIAN_12.values()}


def test_machine_has_the_same() -> None:
    assert {package for package, _ in IN_DEBIAN_12.values()} <= set(PACKAGES)


def test_package_has_the_program_s_version() -> None:
    changelog = (ROOT / "debian/changelog").read_text()
    assert changelog.startswith(f"imapproxy ({__version__}) bookworm;")
