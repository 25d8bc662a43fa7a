"""Give a target the inputs in files and folders, without atheris: ``python -m tests.fuzz.replay TARGET PATH...``."""

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.fuzz.target import Target


def inputs(path: Path) -> Iterator[Path]:
    """Yield a file, or the files in a folder."""
    yield from sorted(path.iterdir()) if path.is_dir() else [path]


def main(arguments: list[str]) -> None:
    """Replay; the first input that fails ends it."""
    name, *paths = arguments
    check = Target(name).check
    for path in map(Path, paths):
        for file in inputs(path):
            check(file.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
