"""Package metadata; the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

# There are wheels of it for Linux only.
FUZZER = "atheris>=3,<4; platform_system == 'Linux'"


def version() -> str:
    """Return the version that ``imapproxy/__init__.py`` states, without importing it."""
    text = (HERE / "imapproxy" / "__init__.py").read_text(encoding="utf-8")
    match = re.search(r'^__version__ = "([^"]+)"$', text, re.MULTILINE)
    if match is None:
        raise RuntimeError("imapproxy/__init__.py states no __version__")
    return match.group(1)


setup(
    name="imapproxy",
    version=version(),
    description="An IMAP proxy through which a client also sends mail (SUBMIT, draft-royer-lemonade-submit-00)",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=["imapproxy", "imapproxy.*"]),
    package_data={"imapproxy": ["py.typed"]},
    scripts=["bin/imap-submit", "bin/imapproxy"],
    # Each range admits Debian 12's own package as its lowest version; README says what each is for.
    install_requires=[
        "configargparse>=1.5.3,<2",
        "idna>=3.3,<4",
        "prometheus-client>=0.16,<1",
        "python-daemon>=2.3,<4",
    ],
    extras_require={
        "demo": ["pymap>=0.36,<0.37", "aiosmtpd>=1.4.4,<2"],
        "fuzz": [FUZZER],
        "test": [
            FUZZER,
            "hypothesis>=6.100,<7",
            "mypy>=1.10,<3",
            "pytest>=8,<10",
            "pytest-cov>=5,<8",
            "pytest-xdist>=3.5,<4",
            "ruff>=0.6,<0.18",
        ],
    },
)
