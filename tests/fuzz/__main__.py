"""Fuzz what reads hostile octets: ``python -m tests.fuzz SECONDS [TARGET...]``.

The time is shared by the targets, one after the other. A quarter of each share goes to growing inputs, which shows
work that is not linear in them (``budget``). Inputs that led further are kept in build/fuzz, where the next run begins.
What is found is printed, and the exit status is 1: the input lies in build/fuzz and becomes a named test in the
module's ordinary test file, once the fault is mended.
"""

import argparse
import sys

from tests.fuzz.campaign import coverage, fuzz, grow
from tests.fuzz.target import PACKAGE, TARGETS, Target

FOLDER = PACKAGE.parent / "build" / "fuzz"
ROW = "{:<15} {:>7} {:>11} {:>8} {:>9} {:>7}"


def main() -> int:
    """Fuzz, and print a table."""
    options = _options()
    targets = [Target(name) for name in options.targets] or TARGETS
    seconds = max(1, options.seconds // len(targets))
    to_grow = max(1, seconds // 4)
    print(ROW.format("target", "seconds", "executions", "edges", "coverage", "grown"))
    failures = 0
    for target in targets:
        folder = FOLDER / target.name
        outcome = fuzz(target, max(1, seconds - to_grow), folder)
        covered = "" if outcome.failure else f"{coverage(target, folder)} %"
        growth = grow(target, to_grow, folder)
        row = ROW.format(target.name, seconds, outcome.executions, outcome.edges, covered, growth.inputs)
        print(row, flush=True)
        for failure in filter(None, (outcome.failure, growth.failure)):
            failures += 1
            print(f"{failure}\nThe input and the log are in {folder}", file=sys.stderr)
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="tests.fuzz", description=__doc__, allow_abbrev=False)
    parser.add_argument("seconds", metavar="SECONDS", type=int, help="for all targets together")
    parser.add_argument("targets", metavar="TARGET", nargs="*", help=f"all of them by default: {', '.join(names)}")
    options = parser.parse_args()
    unknown = {*options.targets} - {*names}
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
