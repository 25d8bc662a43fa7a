"""``python -m tests.faults``: break a submission at every step, and print what came of it; see the package."""

import argparse
import re
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import monotonic

from tests.faults.breaks import Break
from tests.faults.judge import GOOD
from tests.faults.kinds import KINDS, sample
from tests.faults.runner import Result, run
from tests.faults.table import table


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return 1 if a message was lost or doubled, or anything else went wrong."""
    chosen = _chosen(_parsed(arguments))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that what was started is ended too
    results: list[Result] = []
    began = monotonic()

    def report(result: Result) -> None:
        results.append(result)
        if result.verdict not in GOOD:
            print(f"{result.verdict.value}: {result.kind}: {result.name}", *result.complaints, sep="\n    ", flush=True)

    try:
        with tempfile.TemporaryDirectory(prefix="imapproxy-faults-") as directory:
            run(chosen, Path(directory), report)
    except KeyboardInterrupt:
        return 130
    finally:
        for kind in (kind for kind, breaks in chosen.items() if not breaks):
            print(f"not broken, for want of what that needs: {kind}")
        print(*table(results, list(chosen)), sep="\n")
        print(f"\n{len(results)} breaks in {monotonic() - began:.0f} s")
    return 0 if {result.verdict for result in results} <= GOOD else 1


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.faults", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", type=re.compile, default="", metavar="REGEX", help="kinds whose name has that in it")
    parser.add_argument("--sample", type=int, default=sys.maxsize, metavar="N", help="no more than N breaks a kind")
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace) -> Mapping[str, Sequence[Break]]:
    return {kind: sample(kind, options.sample) for kind in KINDS if re.search(options.only, kind)}


if __name__ == "__main__":
    sys.exit(main())
