"""Measure the proxy beside nginx's mail proxy, HAProxy and a direct connection: ``python -m bench``.

Everything runs on loopback. The proxy that is measured has one processor for itself; the load, the canned upstream and
nginx's authentication server share another: the direct connection's figures show what these two can do at most.
"""

import argparse
import contextlib
import functools
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench import report
from bench.load import TIMEOUT
from bench.measures import MEASURES, Fresh, Values
from bench.processes import busy_seconds, own_seconds, priority, raise_descriptor_limit
from bench.proxies import (
    IMAPPROXY,
    IMAPPROXY_COMMAND,
    Contestant,
    Instance,
    program,
    running,
    standard,
    upstream,
)

# More than what a proxy with 1,100 clients needs: three descriptors a session, some more of its own.
DESCRIPTORS = 4_096


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=MEASURES, metavar="NAME", help=", ".join(MEASURES))
    parser.add_argument("--rounds", type=int, default=7, help="rounds of all measures (7)")
    parser.add_argument(
        "--proxy-command",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="measure this program, too; {config}, {port} and {upstream} (a port) are replaced; repeatable. "
        f"{IMAPPROXY}=COMMAND takes the place of bin/imapproxy, {IMAPPROXY}= leaves it out",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round's values to FILE")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        parser.error("--rounds: at least 1")
    if not all("=" in command for command in options.proxy_command):
        parser.error("--proxy-command: NAME=COMMAND is expected")
    return options


def contestants(proxy_commands: Sequence[str]) -> list[Contestant]:
    """Return everything that is to be measured."""
    commands = {IMAPPROXY: IMAPPROXY_COMMAND}
    for name, _, command in (text.partition("=") for text in proxy_commands):
        commands[name] = command
    return standard() + [program(name, command) for name, command in commands.items() if command]


def processors() -> tuple[frozenset[int], frozenset[int]]:
    """Return the processor of the load and that of the proxy: the same one where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return frozenset(available[:1]), frozenset(available[-1:])


def measure(
    entrants: Sequence[Contestant], names: Sequence[str], rounds: int, cpus: frozenset[int]
) -> dict[str, dict[str, list[float]]]:
    """Measure all `entrants`, interleaved; each round another one begins."""
    samples: dict[str, dict[str, list[float]]] = {entrant.name: {} for entrant in entrants}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(upstream())
        instances = {entrant.name: stack.enter_context(running(entrant, server, cpus)) for entrant in entrants}
        for turn in range(rounds):
            first = turn % len(entrants)
            for name in names:
                for entrant in (*entrants[first:], *entrants[:first]):
                    progress(f"round {turn + 1} of {rounds}: {name}, {entrant.name}")
                    fresh = functools.partial(running, entrant, server, cpus)
                    values = measure_one(name, entrant.name, instances[entrant.name], fresh)
                    for figure, value in values.items():
                        samples[entrant.name].setdefault(figure, []).append(value)
    progress("")
    return samples


def measure_one(name: str, entrant: str, instance: Instance, fresh: Fresh) -> Values:
    """Measure once; a failure says of whom, and what that program wrote last."""
    try:
        return MEASURES[name](instance, fresh)
    except OSError as error:
        reason = f"no answer within {TIMEOUT} s" if isinstance(error, BlockingIOError) else error
        words = "" if instance.process is None else instance.process.last_words()
        raise ChildProcessError(f"{name}, {entrant}: {reason}\n{words}") from error


def progress(text: str) -> None:
    """Show what is being done, where somebody is watching."""
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)


def terminate(*_: object) -> None:
    """End by way of an exception, so that what was started is ended too; once, whatever signals follow."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the bench; return the exit status."""
    options = parse(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, terminate)
    try:
        run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> None:
    """Measure and report as `options` say."""
    if options.json:
        options.json.touch()  # an error is better now than after minutes
    raise_descriptor_limit(DESCRIPTORS)
    load_cpus, proxy_cpus = processors()
    os.sched_setaffinity(0, load_cpus)
    entrants = contestants(options.proxy_command)
    start, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    with priority():
        samples = measure(entrants, options.only or list(MEASURES), options.rounds, proxy_cpus)
    elapsed = time.monotonic() - start
    environment = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "rounds": options.rounds,
        "load_processors": sorted(load_cpus),
        "proxy_processors": sorted(proxy_cpus),
        "seconds": round(elapsed),
        "others_used_processors": round(max(0.0, busy_seconds() - busy - (own_seconds() - own)) / elapsed, 2),
    }
    show(samples, environment, [entrant.name for entrant in entrants if entrant.name not in report.REFERENCES])
    if options.json:
        document = report.document(samples, environment)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def show(samples: report.Samples, environment: dict[str, object], judged: Sequence[str]) -> None:
    """Print the report."""
    print(
        "Python {python}, Linux {kernel}, {rounds} rounds in {seconds} s. Proxies on processor {proxy_processors},\n"
        "load, upstream and nginx's authentication server on {load_processors}. Other programs of this machine used\n"
        "{others_used_processors} processors meanwhile.\n".format_map(environment)
    )
    print(*report.table(samples), sep="\n")
    for name in judged:
        print()
        print(*report.marks(samples, name), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
