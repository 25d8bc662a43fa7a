"""Measure the proxy beside nginx's mail proxy, HAProxy and a direct connection: ``python -m bench``.

Everything runs on loopback. The proxy that is measured has one processor for itself; the load, the canned upstream and
nginx's authentication server share another: the direct connection's figures show what these two can do at most.

The measure 'forward' has servers of its own, throw-away Dovecot and Postfix: attachments of 1, 10 and 50 MiB are
forwarded by reference, one at a time and eight at once, with a copy in Sent, beside a client that does it the classic
way (FETCH, SMTP, APPEND to Sent) without a proxy and has the proxy's processor. It tells the time, by how much the
proxy's peak memory (VmHWM) rises, and the octets on the client's link; each attachment's digest is checked at the
recipient and in Sent. It wants dovecot-imapd, postfix and pytest (else it is left out, and the report says so), 2 GiB
where temporary files go (TMPDIR), and a minute a round on a slow disk.

The measure 'costs' tells whether an octet costs the same whatever came before it, in this tree's modules, and what
twenty clients that send an octet now and then do to the NOOPs of another.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bench import costs, forward, report
from bench.measures import MEASURES, Fresh, Measure, Values
from bench.processes import busy_seconds, explained, own_seconds, priority, raise_descriptor_limit
from bench.proxies import (
    CLASSIC,
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

FORWARD = "forward"
COSTS = "costs"
NAMES = (*MEASURES, FORWARD, COSTS)

Entry = TypeVar("Entry")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", action="append", choices=NAMES, metavar="NAME", help=", ".join(NAMES))
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


def own_programs(proxy_commands: Sequence[str]) -> list[Contestant]:
    """Return the proxy, and what else the command line names."""
    commands = {IMAPPROXY: IMAPPROXY_COMMAND}
    for name, _, command in (text.partition("=") for text in proxy_commands):
        commands[name] = command
    return [program(name, command) for name, command in commands.items() if command]


def processors() -> tuple[frozenset[int], frozenset[int]]:
    """Return the processor of the load and that of the proxy: the same one where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return frozenset(available[:1]), frozenset(available[-1:])


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured in one go of each contestant, named; an OSError is a failure."""

    name: str
    measures: Mapping[str, Callable[[], Values]]


def passages(
    stack: contextlib.ExitStack, entrants: Sequence[Contestant], measures: Mapping[str, Measure], cpus: frozenset[int]
) -> Iterator[Job]:
    """Start all `entrants` before the canned upstream; yield the jobs of what passes through them."""
    server = stack.enter_context(upstream())
    instances = {entrant: stack.enter_context(running(entrant, server, cpus)) for entrant in entrants}
    for name, once in measures.items():
        yield Job(
            name,
            {
                entrant.name: functools.partial(
                    passage, once, instance, functools.partial(running, entrant, server, cpus)
                )
                for entrant, instance in instances.items()
            },
        )


def passage(once: Measure, instance: Instance, fresh: Fresh) -> Values:
    """Measure once; a failure says what the program wrote last."""
    with explained(instance.process):
        return once(instance, fresh)


def forwardings(stack: contextlib.ExitStack, programs: Sequence[Contestant], cpus: frozenset[int]) -> Iterator[Job]:
    """Start the real servers; yield the jobs of what is forwarded between them, by each of `programs` and without."""
    sizes = sorted({cell.size * forward.MEBIBYTE for cell in forward.CELLS})
    host = stack.enter_context(forward.mail_host([forward.SMALL, *sizes]))
    for cell in forward.CELLS:
        classic = {CLASSIC: functools.partial(forward.classic, host, cell, cpus)}
        proxies = {each.name: functools.partial(forward.by_reference, each, host, cell, cpus) for each in programs}
        yield Job(cell.name, {**classic, **proxies})


def measure(jobs: Sequence[Job], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Do all `jobs`, interleaved; each round another contestant begins."""
    names = dict.fromkeys(name for job in jobs for name in job.measures)
    samples: dict[str, dict[str, list[float]]] = {
        name: {} for name in sorted(names, key=lambda name: name not in report.REFERENCES)
    }
    for turn in range(rounds):
        for job in jobs:
            for name, once in rotated(list(job.measures.items()), turn):
                progress(f"round {turn + 1} of {rounds}: {job.name}, {name}")
                try:
                    values = once()
                except OSError as error:
                    raise ChildProcessError(f"{job.name}, {name}: {error}") from error
                for figure, value in values.items():
                    samples[name].setdefault(figure, []).append(value)
    progress("")
    return samples


def rotated(entries: list[Entry], turn: int) -> list[Entry]:
    """Return the entries in their order, from another one on each turn."""
    first = turn % len(entries)
    return entries[first:] + entries[:first]


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
    start, busy, own = time.monotonic(), busy_seconds(), own_seconds()
    with priority(), contextlib.ExitStack() as stack:
        jobs, left_out = prepared(stack, options, proxy_cpus)
        samples = measure(jobs, options.rounds)
    # All that was started has ended, so that its processor time is ours to the last.
    others = busy_seconds() - busy - (own_seconds() - own)
    elapsed = time.monotonic() - start
    environment = {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "rounds": options.rounds,
        "load_processors": sorted(load_cpus),
        "proxy_processors": sorted(proxy_cpus),
        "seconds": round(elapsed),
        "others_used_processors": round(max(0.0, others) / elapsed, 2),
        "left_out": left_out,
    }
    show(samples, environment)
    if options.json:
        document = report.document(samples, environment)
        options.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def prepared(
    stack: contextlib.ExitStack, options: argparse.Namespace, cpus: frozenset[int]
) -> tuple[list[Job], list[str]]:
    """Start what all rounds need; return the jobs, and why some are left out that nobody has asked for by name."""
    programs = own_programs(options.proxy_command)
    names = options.only or NAMES
    passing = {name: MEASURES[name] for name in names if name in MEASURES}
    jobs = list(passages(stack, [*standard(), *programs], passing, cpus)) if passing else []
    if COSTS in names:
        jobs.append(Job(COSTS, {IMAPPROXY: costs.in_process}))
        jobs += passages(stack, programs, {f"{COSTS}, drips": costs.beside_drips}, cpus)
    left_out = []
    if FORWARD in names:
        try:
            jobs += forwardings(stack, programs, cpus)
        except forward.Lacking as error:
            if options.only:
                raise
            left_out.append(str(error))
    return jobs, left_out


def show(samples: report.Samples, environment: Mapping[str, Any]) -> None:
    """Print the report."""
    print(
        "Python {python}, Linux {kernel}, {rounds} rounds in {seconds} s. Proxies and the classic client on processor\n"
        "{proxy_processors}, load, upstream, nginx's authentication server, Dovecot and Postfix on {load_processors}. "
        "Other programs of\nthis machine used {others_used_processors} processors meanwhile.".format_map(environment)
    )
    for reason in environment["left_out"]:
        print(f"Left out: {reason}")
    print()
    print(*report.table(samples), sep="\n")
    for name in samples:
        if name not in report.REFERENCES:
            print()
            print(*report.marks(samples, name), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
