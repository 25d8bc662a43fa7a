"""The process in which libFuzzer, by way of atheris, thinks up inputs for one target: see ``campaign``."""

import importlib
import sys

from tests.fuzz.target import Target


def main(arguments: list[str]) -> None:
    """Fuzz the target that the first argument names; the others are libFuzzer's. Does not return."""
    name, *options = arguments
    atheris = importlib.import_module("atheris")  # it has no types
    # The slow readers look at every octet: their branches lead to inputs where an expression has none to show.
    with atheris.instrument_imports(include=["imapproxy", "tests.fuzz.reference"]):
        check = Target(name).check
    atheris.Setup([__file__, *options], check)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
