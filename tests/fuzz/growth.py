"""Inputs are grown, and what an octet of them costs is held against the budget: ``python -m tests.fuzz.growth TARGET``.

What is repeated is a piece of an input of the corpora, a word of the dictionary, or an octet that means something
somewhere. A process of its own does it, since a hang must not be the caller's.
"""

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from time import monotonic

from tests.fuzz.budget import SIZES, Grown, excess
from tests.fuzz.replay import inputs
from tests.fuzz.target import Target

# Octets by which some grammar here tells things apart, and others.
_TELLING = b" \t\r\n\0\x01\"\\()[]{}<>@,;:.=?%&+-*/'~aZ09\x7f\x80\xc3\xff"
# The longest piece of an input that is repeated: longer ones are whole lines, which the dictionary has shorter.
_LONGEST_PIECE = 24
# Words, or telling octets, of what is repeated.
_MOST_WORDS = 3


def found(target: Target, seed: Sequence[bytes], chance: Random) -> Iterator[tuple[Grown, int, str]]:
    """Yield for each grown input how it goes over the budget; an empty text if it does not."""
    while True:
        grown, packet = _grown(seed, target.words, chance), chance.choice(target.packets)
        yield grown, packet, excess(target.work, grown, packet)


def _grown(seed: Sequence[bytes], words: Sequence[bytes], chance: Random) -> Grown:
    octets = chance.choice(seed)
    start = chance.randint(0, len(octets))
    end = min(len(octets), start + chance.randint(0, _LONGEST_PIECE))
    middle = chance.choice((octets[start:end], _some_of(words, chance), _some_of(_singles(), chance)))
    tail = chance.choice((octets[end:], octets[start:], b"", chance.choice(words)))
    return Grown(octets[:start], middle or _some_of(_singles(), chance), tail)


def _singles() -> Sequence[bytes]:
    return [_TELLING[at : at + 1] for at in range(len(_TELLING))]


def _some_of(words: Sequence[bytes], chance: Random) -> bytes:
    return b"".join(chance.choices(words, k=chance.randint(1, _MOST_WORDS)))


def seed_of(target: Target, folder: Path) -> list[bytes]:
    """Return the inputs of the target's own corpus, and of what fuzzing added to it in the folder."""
    paths = [target.corpus, *(path for path in (folder / "corpus",) if path.is_dir())]
    return [file.read_bytes() for path in paths for file in inputs(path)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Grow inputs until one goes over the budget: its octets are then in the folder; 1 is the exit status."""
    options = _options(arguments)
    target, end = Target(options.target), monotonic() + options.seconds
    seed = seed_of(target, options.folder)
    count = 0
    for grown, packet, reason in found(target, seed, Random(options.seed)):
        count += 1
        if reason:
            octets = grown.of(SIZES[packet])
            path = options.folder / f"slow-{hashlib.sha1(octets, usedforsecurity=False).hexdigest()}"
            path.write_bytes(octets)
            sys.stdout.write(f"{reason}\n{grown}\nThe grown input was written to {path}\n")
            return 1
        if monotonic() >= end or count == options.inputs:
            break
    sys.stdout.write(f"{count} inputs\n")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.fuzz.growth", description=__doc__, allow_abbrev=False)
    parser.add_argument("target")
    parser.add_argument("folder", type=Path, help="where fuzzing has left its corpus, and a grown input is written to")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--inputs", type=int, help="end after so many")
    parser.add_argument("--seed", help="of what is chosen; another each time by default")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
