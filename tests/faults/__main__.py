"""``python -m tests.faults``: break a submission at every step and at random, and print what came of it."""

import argparse
import re
import secrets
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from tests.faults.breaks import Break
from tests.faults.judge import GOOD
from tests.faults.kinds import KINDS, sample
from tests.faults.outcome import Result
from tests.faults.random_breaks import RandomBreak, random_breaks
from tests.faults.runner import run
from tests.faults.table import table

# Breaks at random if nothing else is said: about a minute.
BREAKS = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return 1 if a message was lost or doubled, or anything else went wrong."""
    options = _parsed(arguments)
    chosen, at_random = _chosen(options), _at_random(options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended too
    print(f"{sum(map(len, chosen.values()))} breaks at steps; at random, with --seed {options.seed}: ", end="")
    print(sum(map(len, at_random.values())), flush=True)
    results: list[Result] = []
    began = monotonic()

    def report(result: Result) -> None:
        results.append(result)
        if result.verdict not in GOOD:
            print(f"{result.verdict.value}: {result.kind}: {result.name}", *result.complaints, sep="\n    ", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="imapproxy-faults-") as directory:
            run(chosen, Path(directory, "steps"), report)
            run(at_random, Path(directory, "random"), report)
    except KeyboardInterrupt:
        return 130
    finally:
        for kind in (kind for kind, breaks in {**chosen, **at_random}.items() if not breaks):
            print(f"not broken: {kind}")
        print(*table(results, [*chosen, *at_random]), sep="\n")
        print(f"\n{len(results)} breaks in {monotonic() - began:.0f} s; --seed {options.seed}")
    return 0 if {result.verdict for result in results} <= GOOD else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", type=re.compile, default="", metavar="REGEX", help="kinds whose name has that in it")
    parser.add_argument("--sample", type=int, default=sys.maxsize, metavar="N", help="no more than N breaks a step")
    parser.add_argument("--breaks", type=int, default=BREAKS, metavar="N", help=f"so many at random; else {BREAKS}")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="what these are drawn from, to have them again")
    parser.add_argument("--replay", type=int, action="append", metavar="NUMBER", help="only that one of these")
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace) -> Mapping[str, Sequence[Break]]:
    """Return the breaks at each step."""
    kinds = () if options.replay else KINDS
    return {kind: sample(kind, options.sample) for kind in kinds if re.search(options.only, kind)}


def _at_random(options: argparse.Namespace) -> Mapping[str, Sequence[RandomBreak]]:
    numbers = options.replay or range(options.breaks)
    breaks = random_breaks(options.seed, numbers) if numbers else {}
    return {kind: of for kind, of in breaks.items() if re.search(options.only, kind)}


if __name__ == "__main__":
    sys.exit(main())
