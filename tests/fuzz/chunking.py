"""How a stream may come in: the ways that every reader of a stream must not see a difference between."""

import random
import zlib
from collections.abc import Iterator, Sequence


def chunkings(stream: bytes) -> Iterator[Sequence[bytes]]:
    """Yield the stream whole, octet by octet, and in irregular pieces."""
    yield [stream] if stream else []
    yield [stream[index : index + 1] for index in range(len(stream))]
    yield irregular(stream)


def irregular(stream: bytes) -> Sequence[bytes]:
    """Return the stream in pieces that depend on its octets alone, so that a failure can be had again."""
    chance = random.Random(zlib.crc32(stream))
    pieces, position = [], 0
    while position < len(stream):
        end = position + chance.choice((1, 2, 3, 7, 20, 60))
        pieces.append(stream[position:end])
        position = end
    return pieces
